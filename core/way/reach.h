/* Client connections that others can reach (SY_FLOWS), and the ROUTE to one (sy_facts.flow).
 *
 *	a server === S ---strand--- T ---strand--- P === client          in one worker
 *	a server === S ---strand--- T ---socket--- Q ---strand--- P === client      in two: hop.h
 *
 * T, the session of one request, has P for a server. It has no seat: no server is chosen or counted.
 *
 * A name says which process and which of its connections (struct flow_name). A process is known by the
 * board's secret key, its row and how often that was filled: a successor has another name, so a name that
 * has outlived its connection leads nowhere, and not to somebody else. */
#ifndef WAY_REACH_H
#define WAY_REACH_H

#include "way/talk.h"

/* The process of that row, now; 0: there is none. */
uint64_t reach_process(struct board *board, unsigned row);
/* The session gets its name, and can be reached from now on; an exchange of OPEN gets its parent's. */
void reach_name(struct conn *conn);
/* It cannot be reached any more. Safe when it never could. */
void reach_forget(struct conn *conn);
/* NULL: there is none (any more). */
struct conn *reach_find(const struct way *way, const struct flow_name *name);
/* The exchange goes to the client that facts.flow names. STEP_RELAY, STEP_CONNECT or STEP_CLOSE. */
enum step reach_pick(struct conn *conn);
/* STEP_CONNECT when the client is another worker's. */
enum step reach_connect(struct conn *conn);

#endif
