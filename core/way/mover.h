/* Movers carry bytes of a tunnel from one side to the other: the copy through the scratch buffer,
 * best for messages, and splice, which hands pages over without touching them, best for bulk. Each
 * direction of each connection changes between them by what it sees. What comes out of TLS, or from
 * another session, is copied piece by piece.
 *
 * All movers keep to the same rules: nothing is read while the other side has bytes pending; what
 * was read and could not be written becomes pending at the other side. */
#ifndef WAY_MOVER_H
#define WAY_MOVER_H

#include "way/way.h"

enum moved {
	MOVED,                    /* as much as there was, or as is fair; look at eof and pending */
	MOVED_READ_ERROR,         /* errno */
	MOVED_WRITE_ERROR,
};

/* Moves from a side that is ready and not at its end, to a side with nothing pending. */
enum moved mover_move(struct conn *conn, struct side *from, struct side *to);
/* Writes what stands in a side's pipe. 0, or -1 with errno. */
int mover_flush(struct way *way, struct side *side);

#endif
