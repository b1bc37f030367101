/* Small messages that tunnels carry in one turn of the loop are read first, all of them, and written
 * afterwards: those for servers, then those for clients. So the kernel's way in and its way out each run
 * from a warm cache, and who waits for several messages is woken once. NOTES.md of contrib/bench has what
 * it gives.
 *
 * A side with a message held has something pending, like any other that must still be written to: nothing
 * more is read for it, and driving its connection writes it. */
#ifndef WAY_BATCH_H
#define WAY_BATCH_H

#include "way/way.h"

struct batch *batch_new(void);
void batch_free(struct batch *batch);

/* Drives the connections in the list, and empties it; what they read is held. */
void batch_hear(struct way *way, struct link *due);
/* Drives those with something held. */
void batch_say(struct way *way);

/* Where the next message for this side is read to: WAY_SCRATCH bytes. */
uint8_t *batch_room(struct way *way, const struct side *to);
/* Keeps the message that was read there until batch_say(). False: it is for now, because it is big or
 * nothing is held at this time. */
bool batch_hold(struct way *way, struct side *to, const uint8_t *at, size_t n);
/* Writes what is held for it. As side_send(). */
int batch_write(struct way *way, struct side *side);
/* What is held for it is not wanted any more. Safe when nothing is. */
void batch_drop(struct way *way, struct side *side);

#endif
