/* TLS handshakes of clients that are under way. A worker has worker-handshakes of them at most; then its
 * doors with TLS are shut, and who comes waits where it costs nothing (accept.c).
 *
 * A client that does not go on with its handshake would keep others out for all of handshake-timeout. So
 * a handshake that takes longer than a second is slow, and when there is no room, slow ones are ended:
 * the oldest of the address that has most under way. One address has all of the places for a second at
 * most. Who is not slow is not touched, and without need nobody is. */
#ifndef WAY_HANDSHAKES_H
#define WAY_HANDSHAKES_H

#include "way/side_tls.h"

/* A client's handshake is under way from its first byte on: who says nothing costs next to nothing, and
 * shall not keep others out. */
void handshakes_begin(struct side_tls *tls);
/* It is done, or given up. Any number of times; of connections to servers, too. */
void handshakes_end(struct side_tls *tls);
/* False: not now, but when the rest of this turn's work is done; handshakes_go_on() drives the connection.
 * A handshake takes as long as a hundred requests, which had better not stand behind it. */
bool handshakes_may_go_on(struct conn *conn);
/* At the end of a turn: those that may, the first to ask first, for as long as others can wait. */
void handshakes_go_on(struct way *way);
/* It asks no more. Any number of times. */
void handshakes_forget(struct conn *conn);
/* At the end of a turn, when all that had come was read: connections may end. */
void handshakes_make_room(struct way *way);

#endif
