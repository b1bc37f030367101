#define _GNU_SOURCE 1
#include "share/ids.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "share/seq.h"

enum {
	IDS_SPINS = 64,
	IDS_PATIENCE_MS = 10000,
};

uint32_t
ids_slots(uint32_t places)
{
	uint32_t n = 2;

	while (n / 2 < places)
		n *= 2;
	return n;
}

static uint32_t
ids_search(const struct ids *ids, uint64_t id)
{
	uint32_t mask = ids->n_slots - 1;
	uint32_t at = (uint32_t)id & mask;

	for (uint32_t i = 0; i < ids->n_slots; i++, at = (at + 1) & mask) {
		uint32_t slot = atomic_load_explicit(&ids->slots[at], memory_order_acquire);

		if (!slot)
			break;
		if (atomic_load_explicit(ids_id(ids, slot - 1), memory_order_acquire) == id)
			return slot - 1;
	}
	return IDS_NONE;
}

uint32_t
ids_find(const struct ids *ids, uint64_t id)
{
	unsigned tries = 0;

	/* What is found is right; what is not found may be on its way to another slot. */
	do {
		uint32_t was = seq_look(&ids->head->seq);
		uint32_t place = ids_search(ids, id);

		if (place != IDS_NONE || seq_same(&ids->head->seq, was))
			return place;
	} while (seq_again(&tries));
	return IDS_NONE;
}

static void
ids_insert(const struct ids *ids, uint64_t id, uint32_t place)
{
	uint32_t mask = ids->n_slots - 1;
	uint32_t at = (uint32_t)id & mask;

	while (atomic_load_explicit(&ids->slots[at], memory_order_relaxed))
		at = (at + 1) & mask;
	atomic_store_explicit(&ids->slots[at], place + 1, memory_order_release);
}

/* Writes the table anew. Can be done again from the start at any point. */
static void
ids_rebuild(const struct ids *ids)
{
	uint32_t used = ids_used(ids);

	for (uint32_t at = 0; at < ids->n_slots; at++)
		atomic_store_explicit(&ids->slots[at], 0, memory_order_relaxed);
	ids->head->lowest = 0;
	for (uint32_t place = 0; place < used; place++) {
		uint64_t id = atomic_load_explicit(ids_id(ids, place), memory_order_relaxed);

		if (id)
			ids_insert(ids, id, place);
	}
}

static bool
ids_gone(uint32_t pid)
{
	return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* The table is ours. If its last owner was killed in the middle of a change, complete it. */
static void
ids_entered(const struct ids *ids)
{
	if (!(seq_look(&ids->head->seq) & 1))
		return;
	seq_begin(&ids->head->seq);
	ids_rebuild(ids);
	seq_end(&ids->head->seq);
}

static bool
ids_enter(const struct ids *ids)
{
	static const struct timespec pause = { .tv_nsec = 50000 };
	uint32_t own = (uint32_t)getpid();
	uint64_t until = 0;

	for (unsigned tries = 1;; tries++) {
		uint32_t other = 0;

		if (atomic_compare_exchange_strong(&ids->head->inside, &other, own))
			break;
		if (tries % IDS_SPINS)
			continue;
		if (ids_gone(other) &&
		    atomic_compare_exchange_strong(&ids->head->inside, &other, own))
			break;
		if (!until)
			until = clock_ms() + IDS_PATIENCE_MS;
		else if (clock_ms() > until)
			return false;
		nanosleep(&pause, NULL);
	}
	ids_entered(ids);
	return true;
}

static void
ids_leave(const struct ids *ids)
{
	atomic_store_explicit(&ids->head->inside, 0, memory_order_release);
}

static uint32_t
ids_give(const struct ids *ids, uint64_t id)
{
	struct ids_head *head = ids->head;
	uint32_t place = head->lowest;

	while (place < ids->n_places &&
	       atomic_load_explicit(ids_id(ids, place), memory_order_relaxed))
		place++;
	head->lowest = place;
	if (place == ids->n_places)
		return IDS_NONE;
	seq_begin(&head->seq);
	if (ids_used(ids) <= place)
		atomic_store_explicit(&head->used, place + 1, memory_order_release);
	atomic_store_explicit(ids_id(ids, place), id, memory_order_release);
	ids_insert(ids, id, place);
	seq_end(&head->seq);
	return place;
}

uint32_t
ids_claim(const struct ids *ids, uint64_t id)
{
	uint32_t place;

	must(id != 0);
	place = ids_search(ids, id);
	if (place != IDS_NONE || !ids_enter(ids))
		return place;
	place = ids_search(ids, id); /* nobody changes it now */
	if (place == IDS_NONE)
		place = ids_give(ids, id);
	ids_leave(ids);
	return place;
}

size_t
ids_bury(const struct ids *ids, bool (*bury)(void *context, uint32_t place, uint64_t id),
         void *context)
{
	size_t buried = 0;

	if (!ids_used(ids) || !ids_enter(ids))
		return 0;
	seq_begin(&ids->head->seq);
	for (uint32_t place = 0; place < ids_used(ids); place++) {
		uint64_t id = atomic_load_explicit(ids_id(ids, place), memory_order_relaxed);

		if (!id || !bury(context, place, id))
			continue;
		memset(ids_id(ids, place) + 1, 0, ids->place_size - sizeof(uint64_t));
		atomic_store_explicit(ids_id(ids, place), 0, memory_order_release);
		buried++;
	}
	if (buried)
		ids_rebuild(ids);
	seq_end(&ids->head->seq);
	ids_leave(ids);
	return buried;
}

void
ids_repair(const struct ids *ids, uint32_t pid)
{
	uint32_t inside = pid;

	/* Takes the place of the dead, so that nobody comes in before the table is whole. */
	if (!pid || !atomic_compare_exchange_strong(&ids->head->inside, &inside,
	                                            (uint32_t)getpid()))
		return;
	ids_entered(ids);
	ids_leave(ids);
}
