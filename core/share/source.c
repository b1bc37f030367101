#define _GNU_SOURCE 1
#include "share/source.h"

#include <string.h>

#include "share/areas.h"

enum {
	SOURCE_WINDOW = 16,       /* a client's slot is one of so many */
	SOURCE_SECOND_MOST = (1 << 24) - 1,
	SOURCE_COUNT_BITS = 20,
	SOURCE_COUNT_MOST = (1 << SOURCE_COUNT_BITS) - 1,
};

/* One process's table, written by it alone. A slot keeps its id when nothing is open any more, so
 * that the rate is known, until another client needs it. */
struct source_table {
	_Atomic uint64_t id[BOARD_SOURCES];  /* 0: free */
	_Atomic uint64_t rate[BOARD_SOURCES]; /* see source_rate() */
	_Atomic uint32_t active[BOARD_SOURCES];
};

_Static_assert(!(BOARD_SOURCES & (BOARD_SOURCES - 1)), "slots are found with a mask");

size_t
source_area_size(void)
{
	return (sizeof(struct source_table) + 4095) / 4096 * 4096;
}

static uint64_t
source_id(const struct board *board, uint64_t group, const struct sy_addr *client)
{
	struct {
		uint64_t group;
		struct sy_addr net;
		uint32_t zero;
	} key = { .group = group };
	uint64_t id;

	key.net = sy_addr_mask(*client, client->family == SY_IPV6 ? 64 : 32);
	id = hash_64(board_key(board), &key, sizeof(key));

	return id ? id : 1;
}

/* A rate is the second in which something arrived last, how much arrived in it, and how much in the
 * second before: one word, so that readers see it whole. Arrivals in the last 1000 ms are taken as
 * all of this second and as much of the one before as the last 1000 ms reach into it. */
static uint64_t
source_rate(uint64_t second, uint64_t now, uint64_t before)
{
	second &= SOURCE_SECOND_MOST;
	return second << 2 * SOURCE_COUNT_BITS | now << SOURCE_COUNT_BITS | before;
}

static void
source_rate_at(uint64_t rate, uint64_t second, uint64_t *now, uint64_t *before)
{
	uint64_t since = (second - (rate >> 2 * SOURCE_COUNT_BITS)) & SOURCE_SECOND_MOST;
	uint64_t counted = rate >> SOURCE_COUNT_BITS & SOURCE_COUNT_MOST;

	*now = since == 0 ? counted : 0;
	*before = since == 0 ? rate & SOURCE_COUNT_MOST : since == 1 ? counted : 0;
}

/* In thousandths. */
static uint64_t
source_recent(uint64_t rate, uint64_t now_ms)
{
	uint64_t now, before;

	source_rate_at(rate, now_ms / 1000, &now, &before);
	return now * 1000 + before * (1000 - now_ms % 1000);
}

static void
source_arrived(_Atomic uint64_t *rate, uint64_t now_ms)
{
	uint64_t now, before;

	source_rate_at(atomic_load_explicit(rate, memory_order_relaxed), now_ms / 1000, &now,
	               &before);
	now += now < SOURCE_COUNT_MOST;
	atomic_store_explicit(rate, source_rate(now_ms / 1000, now, before), memory_order_relaxed);
}

static uint32_t
source_find(const struct source_table *table, uint64_t id)
{
	for (uint32_t i = 0; i < SOURCE_WINDOW; i++) {
		uint32_t slot = (uint32_t)(id + i) & (BOARD_SOURCES - 1);

		if (atomic_load_explicit(&table->id[slot], memory_order_acquire) == id)
			return slot;
	}
	return UINT32_MAX;
}

struct source_count
source_look(struct board *board, uint64_t group, const struct sy_addr *client, uint64_t now_ms)
{
	uint64_t id = source_id(board, group, client);
	struct source_count count = { 0 };
	uint64_t recent = 0;

	for (unsigned i = 0; i < board_workers(board); i++) {
		const struct source_table *table = board_source_area(board, ROW_WORKER + i);
		uint32_t slot = source_find(table, id), active;
		uint64_t rate;

		if (slot == UINT32_MAX)
			continue;
		active = atomic_load_explicit(&table->active[slot], memory_order_relaxed);
		rate = atomic_load_explicit(&table->rate[slot], memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		/* Given to another client meanwhile: this one has nothing open there. */
		if (atomic_load_explicit(&table->id[slot], memory_order_relaxed) != id)
			continue;
		count.active += active;
		recent += source_recent(rate, now_ms);
	}
	count.recent = (uint32_t)((recent + 500) / 1000);
	return count;
}

/* A slot of the client's window that is free, or else the one with the lowest rate of those that
 * have nothing open. */
static uint32_t
source_choose(const struct source_table *table, uint64_t id, uint64_t now_ms)
{
	uint32_t best = UINT32_MAX;
	uint64_t best_recent = UINT64_MAX;

	for (uint32_t i = 0; i < SOURCE_WINDOW; i++) {
		uint32_t slot = (uint32_t)(id + i) & (BOARD_SOURCES - 1);
		uint64_t recent;

		if (atomic_load_explicit(&table->id[slot], memory_order_relaxed) == 0)
			return slot;
		if (atomic_load_explicit(&table->active[slot], memory_order_relaxed))
			continue;
		recent = source_recent(table->rate[slot], now_ms);
		if (recent < best_recent) {
			best = slot;
			best_recent = recent;
		}
	}
	return best;
}

uint32_t
source_more(struct board *board, unsigned row, uint64_t group, const struct sy_addr *client,
            uint64_t now_ms)
{
	struct source_table *table = board_source_area(board, row);
	uint64_t id = source_id(board, group, client);
	uint32_t slot = source_find(table, id);

	if (slot == UINT32_MAX) {
		slot = source_choose(table, id, now_ms);
		if (slot == UINT32_MAX)
			return UINT32_MAX;
		atomic_store_explicit(&table->id[slot], 0, memory_order_relaxed);
		atomic_thread_fence(memory_order_release);
		atomic_store_explicit(&table->rate[slot], 0, memory_order_relaxed);
		atomic_store_explicit(&table->active[slot], 0, memory_order_relaxed);
		atomic_store_explicit(&table->id[slot], id, memory_order_release);
	}
	source_arrived(&table->rate[slot], now_ms);
	tally_add(table->active[slot], 1);
	return slot;
}

void
source_less(struct board *board, unsigned row, uint32_t slot)
{
	struct source_table *table = board_source_area(board, row);

	if (slot == UINT32_MAX)
		return;
	must(slot < BOARD_SOURCES && table->active[slot] > 0);
	tally_add(table->active[slot], -1u);
}
