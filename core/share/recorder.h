/* The flight recorder: what each process has said and what has ended there lately, in memory of fixed
 * size on the board, so that it is there when the process is not any more. Each row has three rings:
 * lines of the log, ends that were errors, and ends that were not; so a rush of the ordinary does not
 * push out what is looked for. The row's process alone writes; whoever comes after it goes on where it
 * was. A record that a SIGKILL tore has the number 0, and is not read.
 *
 * The master's lines stand in ROW_FOLDED. The console reads, and writes files (role/recorder_file.c). */
#ifndef SHARE_RECORDER_H
#define SHARE_RECORDER_H

#include "share/board.h"

enum recorder_ring { RECORDER_LINES, RECORDER_FAILED, RECORDER_ENDED, RECORDER_RINGS };

/* In `why` of an end. */
enum { RECORD_NO_SERVER = 255 };

enum record_kind { RECORD_LINE, RECORD_CONNECTION, RECORD_FLOW, RECORD_EXCHANGE };

/* One connection, flow or exchange that has ended. Texts are cut, and end with NUL. */
struct record_end {
	uint64_t id;
	uint64_t ms;              /* how long it lasted */
	uint64_t up, down;        /* bytes */
	struct sy_addr client, vip, server;
	uint16_t status;          /* as the protocol says; 0: it does not */
	int16_t error;            /* errno behind the reason; 0: none */
	uint8_t reason, why;      /* share/reasons.h; way/choose.h, or RECORD_NO_SERVER */
	char service[28], server_name[28];
	char asked[70];           /* method and host */
};

struct record {
	uint64_t number;          /* 1, 2, ... in its ring; 0: torn */
	uint64_t at_ms;           /* monotonic */
	uint32_t pid;
	uint16_t kind;            /* enum record_kind */
	uint16_t level;           /* of a line: enum log_level */
	union {
		struct record_end end;
		char line[232];
	};
};

_Static_assert(sizeof(struct record) == 256, "copied in words of 4 bytes; rings are arrays of it");

/* Bytes for one row, when `n` ordinary ends are kept (a power of two, or 0: nothing is recorded); of
 * lines and errors a quarter of that, each. */
size_t recorder_area_size(uint32_t n);

/* The row's process. */
void recorder_line(struct board *board, unsigned row, uint64_t now_ms, unsigned level,
                   const char *words, size_t len);
/* record->kind and ->end are the caller's; the rest is filled in. `failed` chooses the ring. */
void recorder_end(struct board *board, unsigned row, uint64_t now_ms, struct record *record,
                  bool failed);
bool recorder_on(const struct board *board);

/* All records of a ring that are whole, the newest first, until `each` says false. */
void recorder_each(const struct board *board, unsigned row, enum recorder_ring ring,
                   bool (*each)(void *context, unsigned row, const struct record *record),
                   void *context);

/* How many processes have died so far, and of how many the console has written down what was recorded:
 * the master and the console, respectively, write it. */
void recorder_died(struct board *board);
uint64_t recorder_deaths(const struct board *board);
uint64_t recorder_written(const struct board *board);
void recorder_wrote(struct board *board, uint64_t deaths);

#endif
