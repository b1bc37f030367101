#include "share/flow.h"

#include <string.h>

#include "share/areas.h"
#include "share/seq.h"

enum { FLOW_WAYS = 8 };           /* records in a bucket */

struct flow_entry {
	_Atomic uint32_t seq;     /* odd while it is written */
	uint32_t pid;             /* who wrote it; 0: free */
	struct flow_record record;
};

_Static_assert(sizeof(struct flow_entry) == 96, "copied in words; nothing is padded");

size_t
flow_area_size(uint32_t entries)
{
	return ((size_t)entries * sizeof(struct flow_entry) + 4095) / 4096 * 4096;
}

static uint32_t
flow_entries(const struct board *board)
{
	uint32_t n = board->head->size.flow_entries;

	return n < FLOW_WAYS ? 0 : n;
}

static struct flow_entry *
flow_table(const struct board *board, unsigned row)
{
	must(row < BOARD_ROWS);
	return board_area(board, AREA_FLOWS, row * flow_area_size(flow_entries(board)));
}

static uint32_t
flow_bucket(const struct board *board, uint64_t hash)
{
	return (uint32_t)(hash >> 32) & (flow_entries(board) - 1) & ~(uint32_t)(FLOW_WAYS - 1);
}

uint64_t
flow_hash(const struct board *board, const struct flow_key *key)
{
	return hash_64(board_key(board), key, sizeof(*key));
}

static bool
flow_same(const struct flow_key *a, const struct flow_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Which record is written over; NULL: all are needed. Only this process writes here, so its own words
 * are read plainly. */
static struct flow_entry *
flow_place(struct flow_entry *bucket, uint32_t pid, const struct flow_key *key, uint64_t now_ms)
{
	struct flow_entry *best = NULL;

	for (struct flow_entry *entry = bucket; entry < bucket + FLOW_WAYS; entry++)
		if (entry->pid && flow_same(&entry->record.key, key))
			return entry;
	for (struct flow_entry *entry = bucket; entry < bucket + FLOW_WAYS; entry++) {
		if (!entry->pid || entry->record.expires_ms <= now_ms)
			return entry;
		/* Of those that a predecessor left, the one that would end first. */
		if (entry->pid != pid &&
		    (!best || entry->record.expires_ms < best->record.expires_ms))
			best = entry;
	}
	return best;
}

uint32_t
flow_record(struct board *board, unsigned row, uint32_t pid, uint64_t hash,
            const struct flow_record *record, uint64_t now_ms)
{
	struct flow_entry *table = flow_table(board, row), *entry;

	if (!flow_entries(board))
		return FLOW_UNRECORDED;
	entry = flow_place(table + flow_bucket(board, hash), pid, &record->key, now_ms);
	if (!entry)
		return FLOW_UNRECORDED;
	seq_begin(&entry->seq);
	seq_put(&entry->record, record, sizeof(*record));
	seq_put(&entry->pid, &pid, sizeof(pid));
	seq_end(&entry->seq);
	return (uint32_t)(entry - table);
}

static struct flow_entry *
flow_own(struct board *board, unsigned row, uint32_t number)
{
	must(number < flow_entries(board));
	return flow_table(board, row) + number;
}

void
flow_record_extend(struct board *board, unsigned row, uint32_t number, uint64_t expires_ms)
{
	if (number != FLOW_UNRECORDED)
		__atomic_store_n(&flow_own(board, row, number)->record.expires_ms, expires_ms,
		                 __ATOMIC_RELAXED);
}

void
flow_record_drop(struct board *board, unsigned row, uint32_t number)
{
	struct flow_entry *entry;
	uint32_t free = 0;

	if (number == FLOW_UNRECORDED)
		return;
	entry = flow_own(board, row, number);
	seq_begin(&entry->seq);
	seq_put(&entry->pid, &free, sizeof(free));
	seq_end(&entry->seq);
}

/* A consistent copy; false when it is being written: its writer knows better than we do. */
static bool
flow_copy(const struct flow_entry *entry, struct flow_entry *out)
{
	uint32_t was = seq_look(&entry->seq);

	seq_copy(out, entry, sizeof(*out));
	return seq_same(&entry->seq, was) && out->pid != 0;
}

static bool
flow_recall_from(const struct board *board, unsigned row, uint64_t hash, const struct flow_key *key,
                 uint64_t now_ms, struct flow_record *out)
{
	const struct flow_entry *entry = flow_table(board, row) + flow_bucket(board, hash);
	struct flow_entry copy;

	for (const struct flow_entry *end = entry + FLOW_WAYS; entry < end; entry++) {
		if (__atomic_load_n(&entry->record.key.client.port, __ATOMIC_RELAXED) !=
		    key->client.port)
			continue;
		if (!flow_copy(entry, &copy) || !flow_same(&copy.record.key, key) ||
		    copy.record.expires_ms <= now_ms)
			continue;
		*out = copy.record;
		return true;
	}
	return false;
}

bool
flow_recall(struct board *board, unsigned row, uint64_t hash, const struct flow_key *key,
            uint64_t now_ms, struct flow_record *out)
{
	if (!flow_entries(board))
		return false;
	if (flow_recall_from(board, row, hash, key, now_ms, out))
		return true;
	for (unsigned i = 0; i < board_workers(board); i++)
		if (ROW_WORKER + i != row &&
		    flow_recall_from(board, ROW_WORKER + i, hash, key, now_ms, out))
			return true;
	return false;
}

void
flow_usage(struct board *board, uint64_t now_ms, size_t *used, size_t *capacity)
{
	struct flow_entry copy;

	*used = 0;
	*capacity = flow_entries(board);
	for (unsigned i = 0; i < board_workers(board); i++) {
		const struct flow_entry *table = flow_table(board, ROW_WORKER + i);

		for (uint32_t j = 0; j < flow_entries(board); j++)
			*used += flow_copy(&table[j], &copy) && copy.record.expires_ms > now_ms;
	}
}
