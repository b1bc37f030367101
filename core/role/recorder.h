/* The console's part of the flight recorder: it tells what is recorded, and writes it to files. */
#ifndef ROLE_RECORDER_H
#define ROLE_RECORDER_H

#include "role/console.h"
#include "share/recorder.h"

struct recorder_found {
	unsigned row;
	struct record record;
};

/* api_recorder.c. The newest records of all processes, the newest first; n of them, freed by the
 * caller. */
struct recorder_found *recorder_all(struct board *board, size_t limit, size_t *n);
/* `offset`: from the monotonic clock to the wall's, by recorder_offset(). */
json_t *record_json(unsigned row, const struct record *record, uint64_t offset);
uint64_t recorder_offset(void);

/* recorder_file.c */
/* A server changed state: what led to it is written down soon. */
void recorder_changed(struct console *console, const char *words);
void recorder_beat(struct console *console);

#endif
