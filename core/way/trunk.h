/* A connection to a server that carries many exchanges at once: of protocols whose messages say themselves
 * what they belong to (SY_TRUNKS). The exchange that has made the connection gives it to a
 * session of its own, whose client is the server; this exchange and all that follow are then exchanges from
 * outside for that session (way/strand.h), as if they had been ROUTEd to a client.
 *
 *	client === P ---strand--- T ---.
 *	                                strand--- trunk === server
 *	client === P ---strand--- T ---'
 *
 * So everything that the server says on it is heard: answers in any order, to whichever exchange they
 * belong, and requests of its own.
 *
 * A trunk stays for server-idle-timeout after its last byte, and never ends before its exchanges. That it
 * leaves may be under way while a request is said: then it is said again to a fresh one (talk_reuse()). */
#ifndef WAY_TRUNK_H
#define WAY_TRUNK_H

#include "way/way.h"

/* The exchange has connected to its seat: the connection becomes a trunk if it can be one. Else, or without
 * memory, it stays the exchange's. */
void trunk_make(struct conn *conn);
/* The exchange gets one to its seat. False: there is none with room. */
bool trunk_take(struct conn *conn);
/* Nothing is under way on it, and nothing more is wanted. */
bool trunk_is_over(const struct conn *conn);
/* Those of a seat look whether they are still wanted. */
void trunk_look(struct seat_run *seat);

#endif
