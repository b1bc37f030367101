/* The board: memory that all processes share. A memfd sealed against resizing, mapped by each at
 * another address: indices, never pointers. Every word has one writer, named below. It lives as long
 * as the master; what is known of a server survives reloads and the death of any other process.
 *
 *	head | process rows | cells | checks | tallies (rows x cells) | reasons | figures | sources |
 *	persistence | flows | recorder
 *
 * A cell stands for a service, a server (pool and name), or a seat (a server as used by a service).
 * Cells are found by id in a hash table: whoever binds a configuration claims them (board_cell), so
 * all processes agree without asking anybody. Cells are given densely and memory is taken when it is
 * touched, so tables may be large: what counts is what is used. Services have the first cells.
 *
 * Numbers that count traffic stand in tallies: one row for each process, written by it alone, summed
 * by the reader. When a process dies the master adds the totals of its row to the folded row and
 * clears it: nothing drifts (a shared counter drifts by about one per kill; measured). */
#ifndef SHARE_BOARD_H
#define SHARE_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/addr.h"
#include "api/err.h"
#include "api/protocol.h"
#include "base/hash.h"

enum {
	BOARD_WORKERS = 64,
	BOARD_REASONS = 64,       /* at least the number of close reasons */
	BOARD_SOURCES = 32768,    /* slots for each process's table of clients, see share/source.h */
	BOARD_WORDS = 160,        /* a reason, NUL included */
};

enum board_row {
	ROW_FOLDED,               /* what the dead have counted; written by the master */
	ROW_CHECKER,
	ROW_CONSOLE,
	ROW_ROUTING,
	ROW_WORKER,               /* the first of BOARD_WORKERS */
	BOARD_ROWS = ROW_WORKER + BOARD_WORKERS,
};

/* How big the tables are: chosen once, at the first start. Powers of two. */
struct board_size {
	uint32_t services;        /* service cells */
	uint32_t cells;           /* all cells, services included */
	uint32_t checks;
	uint32_t persist_entries;
	uint32_t flow_entries;    /* of each worker; fewer than 8: flows are not recorded */
	uint32_t records;         /* of each process, share/recorder.h; 0: nothing is recorded */
};

/* Written by the master, except beat, held, connections and last_words: by the process itself. */
struct board_process {
	uint32_t pid;             /* 0: none */
	uint32_t spawns;          /* how often this row was filled */
	uint64_t started_wall_ms;
	uint64_t ready_wall_ms;   /* 0: not yet */
	uint64_t beat_ms;         /* monotonic; once a second */
	uint64_t generation;      /* in use for new exchanges */
	uint32_t generations;     /* alive in this process */
	uint32_t connections;
	char last_words[240];
	uint32_t hop_len;         /* of `hop`; 0: none. Workers */
	char hop[12];             /* abstract name of the socket that the others reach it by: way/hop.h */
};

enum board_health {
	HEALTH_UNKNOWN,           /* no check has ended yet */
	HEALTH_UP,
	HEALTH_DOWN,
	HEALTH_DRAINING,          /* the server says: no new clients */
	HEALTH_UNCHECKED,         /* the service has no monitor: taken for up */
};

enum board_wish {
	WISH_NONE,
	WISH_DRAIN,               /* no new clients; persistence is honoured, connections live on */
	WISH_DISABLE,             /* nothing new at all; connections live on */
};

struct board_cell {
	_Atomic uint64_t id;      /* 0: free. Claimed by anyone, freed by the master; see share/ids.h */

	/* Written by the checker, under health_seq (odd while writing). Seats only. */
	_Atomic uint32_t health_seq;
	_Atomic uint32_t health;  /* enum board_health */
	uint64_t health_since_wall_ms;
	uint64_t up_since_ms;     /* monotonic: slow start counts from here; 0: has been up from the start */
	uint64_t health_changes;
	uint32_t health_weight;   /* percent of the configured weight, by a monitor's word; 0: says nothing */
	uint32_t health_latency_us; /* of the last good probe */
	char health_reason[BOARD_WORDS];

	/* Written by the master for the console. Servers and seats. */
	_Atomic uint32_t wish;    /* enum board_wish */
	_Atomic uint32_t wish_weight_plus_1; /* 0: as configured */
	_Atomic uint64_t wish_since_wall_ms;
};

/* One probe target: what many services share when they ask the same of the same server. Written by
 * the checker; claimed by it, too. */
struct board_check {
	_Atomic uint64_t id;
	_Atomic uint32_t seq;
	uint32_t health;          /* enum board_health */
	uint32_t good, bad;       /* in a row */
	uint64_t since_wall_ms;
	uint64_t last_wall_ms;
	uint64_t runs, failures;
	uint32_t latency_us;
	uint32_t weight;          /* percent, 0: none said */
	char reason[BOARD_WORDS];
};

/* What a process has counted for a cell. 64 bytes, one cache line. Written by the row's process. */
struct board_tally {
	_Atomic uint32_t active;  /* exchanges now: connections, requests, flows */
	_Atomic uint32_t load;    /* in the protocol's unit when that is not `active`; else unused */
	_Atomic uint64_t total;   /* exchanges ever */
	_Atomic uint64_t bytes_up;   /* from clients to servers */
	_Atomic uint64_t bytes_down;
	_Atomic uint64_t connect_failures;
	_Atomic uint32_t refused; /* by a limit */
	_Atomic uint32_t response_us; /* smoothed time to connect or first byte; not summed: averaged */
	_Atomic uint64_t failed;  /* exchanges that ended with an error */
	_Atomic uint64_t figures; /* 1: the row has figures for this cell, too */
};

_Static_assert(sizeof(struct board_tally) == 64, "a cache line of its own");

/* What a protocol keeps count of (sy_session.gauge, .count), by the same indices. Memory is taken only
 * for cells of services whose protocol counts. Written by the row's process. */
struct board_figures {
	_Atomic uint64_t counter[SY_COUNTERS];
	_Atomic uint32_t gauge[SY_GAUGES];
	_Atomic uint64_t until_ms; /* seats: when the last session ends what it is busy with, at the latest;
	                           * monotonic, in a sum the latest; 0: none is, or nobody knows */
};

struct board;

/* Makes the memory (master). The descriptor goes to the children. */
struct board *board_new(const struct board_size *size, int *fd, struct sy_err *err);
/* Maps it (children). Refuses a board of another layout. */
struct board *board_map(int fd, struct sy_err *err);
void board_unmap(struct board *board);
const struct board_size *board_sizes(const struct board *board);
/* Made at random when the board was: for tables that clients can fill. */
const struct hash_key *board_key(const struct board *board);
/* The same, for what protocols give out and want to know again (sy_session.secret). */
struct sy_span board_secret(const struct board *board);
uint64_t board_started_wall_ms(const struct board *board);

struct board_process *board_process(struct board *board, unsigned row);

enum cell_kind { CELL_SERVICE, CELL_OTHER };
/* Finds the cell of an id, or claims one. UINT32_MAX when the table is full. */
uint32_t board_cell(struct board *board, enum cell_kind kind, uint64_t id);
struct board_cell *board_cell_at(struct board *board, uint32_t cell);
/* Master: makes the cells free that are not in `keep` (sorted ids) and that no tally counts as
 * active. Called when the last process has let an old generation go. */
void board_bury(struct board *board, const uint64_t *keep, size_t n);

struct board_check *board_check(struct board *board, uint64_t id, bool claim); /* NULL: none, or full */
/* Checker: frees the checks that are not in `keep` (sorted ids). Returns how many. */
size_t board_bury_checks(struct board *board, const uint64_t *keep, size_t n);

static inline bool
health_usable(uint32_t health)
{
	return health == HEALTH_UP || health == HEALTH_UNCHECKED || health == HEALTH_UNKNOWN;
}

/* A consistent copy of what the checker wrote. (When it was killed while writing, until its
 * successor has written: health is right, and the reason says so.) */
struct cell_health {
	uint32_t health, weight, latency_us;
	uint64_t since_wall_ms, up_since_ms, changes;
	char reason[BOARD_WORDS];
};
void board_health_read(const struct board_cell *cell, struct cell_health *out);
/* Checker: state, reason, weight, latency at once; keeps `since` and `changes` right. */
void board_health_write(struct board_cell *cell, uint32_t health, const char *reason,
                        uint32_t weight, uint32_t latency_us);
/* The writer of a check brackets its changes; readers copy with board_check_read. */
void board_check_begin(struct board_check *check);
void board_check_end(struct board_check *check);
void board_check_read(const struct board_check *check, struct board_check *out);

struct board_tally *board_tally(struct board *board, unsigned row, uint32_t cell);
/* Sums over all rows, folded one included. response_us is the mean of the rows that have one. */
void board_sum(struct board *board, uint32_t cell, struct board_tally *out);
/* Only the gauge, for schedulers and limits: workers' rows. */
uint32_t board_active(struct board *board, uint32_t cell);
uint32_t board_load(struct board *board, uint32_t cell);
/* The mean of the workers that know a time; 0: none does. */
uint32_t board_response_us(struct board *board, uint32_t cell);
/* How many worker rows were ever used: readers need not look further. Written by the master. */
void board_set_workers(struct board *board, unsigned n);
unsigned board_workers(const struct board *board);

/* To write to: the cell has figures from now on. */
struct board_figures *board_figures(struct board *board, unsigned row, uint32_t cell);
/* Sums as board_sum does. False: nobody has counted anything, and all is 0. */
bool board_sum_figures(struct board *board, uint32_t cell, struct board_figures *out);

/* Close reasons: how often, for each service. */
_Atomic uint64_t *board_reasons(struct board *board, unsigned row, uint32_t service_cell);
/* Sums over all rows, as board_sum. */
void board_sum_reasons(struct board *board, uint32_t service_cell,
                       uint64_t out[static BOARD_REASONS]);

/* Master, after the death of the row's process, while board_process(row)->pid still names it:
 * totals to the folded row, gauges and sources to 0, what the dead held (a bucket of the
 * persistence table, the table of cells) is made whole and freed. */
void board_fold(struct board *board, unsigned row);

/* A single writer adds without a locked instruction. */
#define tally_add(word, n) \
	atomic_store_explicit(&(word), \
	                      atomic_load_explicit(&(word), memory_order_relaxed) + (n), \
	                      memory_order_relaxed)

#endif
