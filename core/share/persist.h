/* The persistence table: (service group, key) -> server id, on the board. Fixed-size entries in
 * buckets; a key may be in either of two. A bucket carries an owner word. A writer that finds the
 * word taken tries a bounded number of times and then gives up its write (the client is balanced
 * anew next time: harmless); a reader never takes it, checks a sequence number, and treats a bucket
 * in flux as a miss after a bounded number of tries. What a killed process held is freed by the
 * master (board_fold). When both of its buckets are full, a key takes the place of the entry that
 * was used longest ago. */
#ifndef SHARE_PERSIST_H
#define SHARE_PERSIST_H

#include "api/persistence.h"
#include "share/board.h"

struct persist_entry_view {
	uint64_t group;           /* id of the service (or of what services share) */
	uint64_t server;          /* server id */
	uint64_t created_ms, used_ms, expires_ms; /* monotonic */
	struct sy_key key;
};

/* Server id, or 0. With refresh the life starts anew. */
uint64_t persist_find(struct board *board, unsigned row, uint64_t group, const struct sy_key *key,
                      const struct sy_persist_life *life, uint64_t now_ms);
/* Stores or replaces. False when the bucket was held by another for too long. */
bool persist_store(struct board *board, unsigned row, uint64_t group, const struct sy_key *key,
                   uint64_t server, const struct sy_persist_life *life, uint64_t now_ms);
/* Entries that are still alive, each with a consistent copy. `each` returns false to stop. */
void persist_each(struct board *board, uint64_t now_ms,
                  bool (*each)(void *context, const struct persist_entry_view *entry),
                  void *context);
/* Removes what matches: group 0 any, server 0 any, key NULL any. Returns how many. */
size_t persist_clear(struct board *board, unsigned row, uint64_t group, uint64_t server,
                     const struct sy_key *key);
/* Live entries and capacity. */
void persist_usage(struct board *board, uint64_t now_ms, size_t *used, size_t *capacity);

/* For board.c: size of the area, and repair after a death. */
size_t persist_area_size(uint32_t entries);
void persist_area_repair(void *area, uint32_t entries, unsigned row);

#endif
