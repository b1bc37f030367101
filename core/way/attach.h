/* A worker and a generation: what the way needs beside each service, target and seat is made when the
 * generation is bound, so that nothing is allocated when connections come. */
#ifndef WAY_ATTACH_H
#define WAY_ATTACH_H

#include "way/way.h"

/* The worker's own part, once. */
struct way *way_new(struct child *child);
void way_free(struct way *way);

/* -1 with err when the way cannot serve it. */
int attach(struct way *way, struct generation *generation, struct sy_err *err);
/* Before the generation is freed: no connection holds it any more. */
void detach(struct generation *generation);
/* `current` is in use: services that are gone from it begin to drain. */
void attach_switched(struct way *way);
/* The board's words for a seat or server changed; down: a seat is not usable any more. */
void attach_changed(struct way *way, uint32_t cell, bool down);
/* Connections between two exchanges look whether they are still wanted, and of which configuration. */
void attach_look_again(struct way *way);
/* Calls for each open connection, of all generations. The connection may end meanwhile. */
void attach_each(struct way *way, void (*each)(struct conn *conn, void *context), void *context);

#endif
