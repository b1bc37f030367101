/* Exchanges side by side: a session that says OPEN has sessions of its own, each for one exchange. Such
 * a session is a connection as any other, which goes the whole way, but that its client is not a socket
 * but the first session: a strand stands between the two, and has a queue for each direction.
 *
 *	client === parent ---strand--- conn === server
 *	                 \---strand--- conn === another server
 *
 * What the parent says with EMIT stands in `up` until conn reads it; what conn writes to its client
 * stands in `down` until the parent's module has consumed it. A full queue makes the writer wait, as a
 * socket's would: a parent that does not consume an exchange stops the reading of that one's server, and
 * of no other.
 *
 * An exchange from outside, ROUTEd here by its client's name (way/reach.h), is the same thing turned
 * round: the strand is the server of a session that is somebody else's.
 *
 *	another client === another parent ---strand--- conn ---strand--- parent === client
 *
 * Neither side ever drives the other: it is put on the worker's list, and driven at the end of the turn
 * of the loop. A strand lives until both sides have let it go. */
#ifndef WAY_STRAND_H
#define WAY_STRAND_H

#include <sys/types.h>

#include "way/talk.h"

enum {
	STRAND_MOST = 16384,      /* of one parent; a module keeps to less */
	STRAND_OUTSIDE = 256,     /* from outside, of one client connection */
	STRAND_UP_MOST = 1 << 20, /* bytes for an exchange that it has not taken; the same */
};

struct strand {
	struct conn *parent;      /* NULL: it has ended, or has forgotten the exchange */
	struct conn *conn;        /* NULL: it has ended */
	struct link of_parent;    /* talk.strands */
	struct table_entry found; /* way.strands, while it has a parent */
	struct link of_news;      /* talk.news: there is something for the module */
	struct chunk *up, *down;
	size_t up_len, down_len;
	size_t seen;              /* how much the module was shown when it said NEED */
	uint32_t exchange;
	uint32_t from;            /* of one from outside: sy_session.at */
	bool outside;             /* it is conn's server, and not its client */
	bool finished;            /* the parent has said all */
	bool ended;               /* conn has said all */
	bool broken;              /* and not all that it wanted */
	bool taken;               /* conn has taken all of `up`, and the module does not know yet */
	bool needs, again, told_eof; /* as in struct talk */
};

/* ---- conn's side of it, called by way/side.c ---- */

/* As recv(), send() and shutdown(). */
ssize_t strand_recv(struct side *side, uint8_t *at, size_t len);
ssize_t strand_send(struct side *side, struct sy_span bytes);
void strand_shut(struct side *side);
/* conn ends, or this side of it: what it has still to say is the strand's now. */
void strand_leave(struct side *side);
/* Nobody listens to it any more. */
bool strand_is_orphan(const struct conn *conn);

/* ---- the parent's side ---- */

/* The exchange of that number, or NULL. */
struct strand *strand_find(const struct conn *parent, uint32_t exchange);
/* Verdicts; WAIT, or STEP_CLOSE when the module has broken its contract. */
enum step strand_open(struct conn *parent, uint32_t exchange);
/* conn's server is this client connection, for an exchange from outside. REASON_NONE: it is. */
enum reason strand_join(struct conn *parent, struct conn *conn);
enum step strand_say(struct strand *strand, struct sy_span bytes);
void strand_finish(struct strand *strand);
void strand_end(struct strand *strand);
/* The parent wants no more of it: conn ends, if it has not. */
void strand_forget(struct strand *strand);
void strand_forget_all(struct conn *parent);
/* For strand_hear.c and strand.c: there may be something for the module. */
void strand_news(struct strand *strand);
/* The module has consumed so much. */
void strand_use(struct strand *strand, size_t n);
/* Those that the module did not want to hear may be heard now. */
void strand_look_again(struct conn *parent);
/* Shows the module what its exchanges have said. WAIT, or what a verdict wants. */
enum step strand_hear(struct conn *parent);

#endif
