/* UDP flows that outlive their process: what the successor of a killed worker must know to go on with
 * a client's flow, so that the server sees nothing: towards which server, and from which address and
 * port. On the board.
 *
 * Each process has a table of its own and is its only writer; a worker looks into those of the others,
 * too, because a slot of a listener may have moved. A record is whole or none at any moment (share/seq.h),
 * also when its writer is killed; nobody waits for anybody, and there is nothing to repair.
 *
 * A key may be in one bucket only, of a few records. When all of them are in use, the flow is not
 * recorded: it works, and would begin anew after a kill. */
#ifndef SHARE_FLOW_H
#define SHARE_FLOW_H

#include "share/board.h"

#define FLOW_UNRECORDED UINT32_MAX

/* No bytes between the members: it is hashed and compared. */
struct flow_key {
	uint64_t listener;
	struct sy_addr client;
	struct sy_addr local;     /* that the client used */
};

_Static_assert(sizeof(struct flow_key) == 48, "hashed as it lies in memory");

struct flow_record {
	struct flow_key key;
	uint64_t server;          /* its id */
	uint64_t expires_ms;      /* monotonic */
	struct sy_addr source;    /* what the server sees */
};

/* Keyed with the board's secret: clients choose what is hashed. */
uint64_t flow_hash(const struct board *board, const struct flow_key *key);
/* Writes it into the row's table, instead of one with the same key if there is. Returns its number, or
 * FLOW_UNRECORDED. `pid`: of the process that the row belongs to; what a predecessor left gives way. */
uint32_t flow_record(struct board *board, unsigned row, uint32_t pid, uint64_t hash,
                     const struct flow_record *record, uint64_t now_ms);
/* By the row's process only; FLOW_UNRECORDED is let pass. */
void flow_record_extend(struct board *board, unsigned row, uint32_t number, uint64_t expires_ms);
void flow_record_drop(struct board *board, unsigned row, uint32_t number);
/* Looks in this row first, then in those of the other workers. False: unknown, or expired. */
bool flow_recall(struct board *board, unsigned row, uint64_t hash, const struct flow_key *key,
                 uint64_t now_ms, struct flow_record *out);
/* Live records of all workers, and room for how many in each. */
void flow_usage(struct board *board, uint64_t now_ms, size_t *used, size_t *capacity);

/* For board.c: of one row. */
size_t flow_area_size(uint32_t entries);

#endif
