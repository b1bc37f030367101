/* Short connections, of plain sockets and without a protocol module, are watched in an epoll set of their
 * own, edge-triggered. A socket is registered once, for reading (a second time if there was no room to
 * write); no call says what is waited for, and a client that has ended is told of once. libev,
 * level-triggered, would tell of it in each turn until it is taken out: a turn for nothing and two calls
 * for each connection, of eighteen (contrib/bench/NOTES.md).
 *
 * The price: what the kernel has said is said once. It stays in side.ready until a call was refused, or
 * until a read was short and nothing was known to be behind it (side.behind). And the set costs each turn a
 * call, and tells of bytes that nobody can take yet. So a socket that has more to say than one turn can
 * move, or was told of several times, is no short connection's: it goes over to libev for good. */
#ifndef WAY_EDGE_H
#define WAY_EDGE_H

#include "way/way.h"

void edge_open(struct way *way);
void edge_close(struct way *way);

/* What is waited for: EV_READ, EV_WRITE, 0. For a side with side.edge, when its connection has done all
 * that it could. close() forgets it. */
void edge_watch(struct way *way, struct side *side, int events);

#endif
