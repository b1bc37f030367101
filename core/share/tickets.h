/* Keys of TLS session tickets: made and rotated by the master, the same in all workers, so that a
 * client comes back to any of them, after a reload or the death of one, and is known.
 *
 * Three generations: tickets are made with the current key; those of the previous one are honoured
 * and replaced; the next one is there already, so that all agree on it before it is used. Without a
 * rotation a stolen key would open all that was ever recorded. */
#ifndef SHARE_TICKETS_H
#define SHARE_TICKETS_H

#include <stdbool.h>
#include <stdint.h>

struct board;

enum { TICKET_ROTATE_S = 12 * 3600 };
enum ticket_age { TICKET_PREVIOUS, TICKET_CURRENT, TICKET_NEXT, TICKET_KEYS };

struct ticket_key {
	uint8_t name[16];         /* in clear in each ticket */
	uint8_t aes[32];
	uint8_t mac[32];
};

/* On the board. Written by the master under seq. */
struct ticket_area {
	_Atomic uint32_t seq;
	uint32_t zero;
	_Atomic uint64_t rotated_wall_ms;
	struct ticket_key keys[TICKET_KEYS];
};

/* A worker's copy. */
struct tickets {
	uint32_t seq;             /* odd: never copied */
	struct ticket_key keys[TICKET_KEYS];
};

/* When the board is made. */
void tickets_first(struct ticket_area *area, uint64_t now_wall_ms);
/* Master, now and then: the next key becomes the current one when it is time. */
void tickets_rotate(struct board *board, uint64_t now_wall_ms);
/* Brings the copy up to date. Cheap when nothing has changed. False: the master was killed while it
 * wrote, and has not come back; the copy stays as it was. */
bool tickets_look(struct board *board, struct tickets *copy);

#endif
