/* How much one client address has open, and how fast it comes: for limits per source. Each process
 * keeps a table of its own on the board and reads those of the others, so no count can drift and no
 * process waits for another. Used only by services that set such a limit. */
#ifndef SHARE_SOURCE_H
#define SHARE_SOURCE_H

#include "share/board.h"

/* group: the service's id; the client is counted by address (IPv6 by /64). */
struct source_count {
	uint32_t active;          /* over all processes */
	uint32_t recent;          /* arrivals in the last second, over all processes, smoothed */
};

struct source_count source_look(struct board *board, uint64_t group, const struct sy_addr *client,
                                uint64_t now_ms);
/* One more, one less, in this process's row. source_more returns a slot to give back to
 * source_less; UINT32_MAX when the table is full (then nothing is counted). */
uint32_t source_more(struct board *board, unsigned row, uint64_t group,
                     const struct sy_addr *client, uint64_t now_ms);
void source_less(struct board *board, unsigned row, uint32_t slot);

size_t source_area_size(void);

#endif
