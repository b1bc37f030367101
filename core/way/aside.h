/* Connections to servers that no exchange uses: put aside at the end of one, taken by the next one that
 * goes to the same server, whoever its client is. For protocols that say SY_SHARES, each worker and
 * each server of a service has its own; those used last are taken first, so that those that are not
 * needed grow old and go.
 *
 * A server that says something unasked, or leaves, is not wanted again. That it leaves may be under way
 * while a request is: then the exchange goes to a fresh connection, see talk_redo(). */
#ifndef WAY_ASIDE_H
#define WAY_ASIDE_H

#include "way/way.h"

struct aside {
	struct side side;
	struct timer_entry timer;
	struct link of_seat;      /* seat_run.aside: the last is the one used last */
	struct link of_way;       /* way.aside: the same for all seats */
	struct seat_run *seat;
	struct way *way;
	struct sy_addr addr;
};

/* For each service, once. */
void aside_attach(struct service_run *run);
/* The exchange has ended well: its connection goes aside, or is closed when it cannot be used again. */
void aside_put(struct conn *conn);
/* The exchange gets a connection to its seat. False: there is none. */
bool aside_take(struct conn *conn);
/* Closes all of a seat. */
void aside_clear(struct seat_run *seat);
/* A descriptor is needed: closes the oldest. False: there is none. */
bool aside_spare(struct way *way);

#endif
