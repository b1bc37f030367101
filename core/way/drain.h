/* A drained server keeps what it has; with drain-close it is given up bit by bit: connections that are
 * quiet, and that their protocol does not need, are closed, so many in a second, that clients come back
 * to other servers without all coming at once. */
#ifndef WAY_DRAIN_H
#define WAY_DRAIN_H

#include "way/way.h"

/* For each seat, once. */
void drain_attach(struct seat_run *seat);
void drain_detach(struct seat_run *seat);
/* The board's words for it may have changed. */
void drain_look(struct seat_run *seat);

#endif
