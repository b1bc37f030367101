/* A protocol module in the path of a connection: what it is shown, and how its verdicts are carried
 * out. The module sees the bytes of a side from the first that it has not consumed; the core keeps
 * them in the side's window while it wants more, and stops reading when the window is full. */
#ifndef WAY_TALK_H
#define WAY_TALK_H

#include "base/table.h"
#include "way/way.h"

/* Which client connection: of one process, and which of its connections. */
struct flow_name {
	uint64_t process;         /* reach_process() */
	uint64_t id;              /* conn.id */
};

struct figures_held;
struct post;

struct talk {
	struct sy_session session;
	struct conn *conn;
	int32_t told[SY_GAUGES];  /* figures.h */
	struct figures_held *told_held;
	uint64_t until_told;      /* forecast.h */
	struct timer_entry deadline[2]; /* by enum sy_side: the module's own, for what it has begun */
	uint64_t patience_ms[2];  /* how long they are */
	bool looks[2];            /* it is only a reason to ask it again */
	bool held[2];             /* since then we have not read it for a while: it could not be in time */
	struct talk_names *names; /* what the facts say of TLS */
	struct chunk *mark;       /* session.mark */
	uint64_t pass[2];         /* by enum sy_side: goes on untouched before the module is asked again */
	size_t seen[2];           /* how much it was shown when it said NEED */
	uint64_t began_ms;        /* the exchange, or the one before; see report_exchange() */
	uint64_t up, down;        /* bytes of its sides when the one before had ended */
	uint32_t n_exchanges;     /* that have ended in order */
	uint64_t parent_id;       /* of the connection whose exchange this is, see strand.h; 0: none */
	struct link strands, news; /* strand.h: its own exchanges, and those that have something to say */
	struct link roused;       /* way.roused */
	struct flow_name name;    /* session.flow, see reach.h */
	struct table_entry named; /* way.named, while others can ROUTE to it */
	struct post *post;        /* the client is an address at a UDP listener; or NULL */
	uint64_t asked;           /* verdicts other than NEED */
	uint32_t n_strands, n_outside; /* all, and those from outside */
	uint32_t exchange;
	uint32_t outside;         /* the last number that one from outside got */
	bool is_named;
	bool opened;              /* OPEN was said at least once */
	bool needs[2];            /* it said NEED, and nothing has changed since */
	bool again[2];            /* it is asked again in any case: its last verdict was not NEED */
	bool told_eof[2];
	bool open;                /* the module's open() was called */
	bool routed;              /* an exchange is running */
	bool pinned;
	bool answered;            /* the client has heard a part of the answer */
	bool cut;                 /* and will not hear the rest */
	bool ours;                /* the end comes with an answer that no server was asked for */
	bool spent;               /* the server's connection is good for no other exchange */
	bool keeping;             /* `kept` is all that the exchange has said to the server */
	bool resend;              /* `kept` must be said to another connection, which is being made */
	bool framed;              /* each datagram in it has its length in front, four bytes */
	struct chunk *kept;       /* a queue */
	uint8_t state[] __attribute__((aligned(16)));
};

enum { TALK_STANDSTILL = 256 };   /* verdicts in a row that consume nothing: it never will */

/* Bytes that a connection of this protocol needs behind its block. */
size_t talk_size(const struct sy_protocol *protocol);
void talk_init(struct conn *conn);
void talk_free(struct conn *conn);
/* Stops the module's deadlines. */
void talk_calm(struct talk *talk);
/* The session of an exchange knows what its parent's does. */
void talk_descend(struct conn *conn, const struct conn *parent);
/* Calls the module's open(), if that was not done yet. */
void talk_open(struct conn *conn);
/* conn has got another configuration: way/renew.h. */
void talk_renew(struct conn *conn);
/* Fills what the module may look at in any call. */
void talk_brief(struct conn *conn);
/* The pick: `facts` are the module's, and still good. What the answer shall tell the client is made
 * here, and kept. */
void talk_chosen(struct conn *conn, const struct sy_facts *facts, const struct choice *choice);
/* It has a connection to the server, or gives it up. */
void talk_served(struct conn *conn);
void talk_dropped(struct conn *conn);
/* The exchange goes over a connection that served others, and that may be dying: what is said to it is
 * kept until it answers. */
void talk_reuse(struct conn *conn);
/* A call on a side failed. When it is a server that was used before and has not answered, the exchange
 * begins again on a fresh connection, as if nothing had been sent: STEP_CONNECT. */
enum step talk_lost(struct conn *conn, struct side *side, int error);
/* What the facts say of the request is no longer there to be looked at. */
void talk_forget_facts(struct talk *talk);
/* Says again what the connection before was told. */
enum step talk_resume(struct conn *conn);
/* To the server: keeps what may have to be said again. */
void talk_keep_sent(struct conn *conn, struct sy_span bytes);
/* Nothing will have to be said again. */
void talk_forget_sent(struct conn *conn);
/* As side_keep(), when the bytes move: what the facts say of them moves along. */
bool talk_keep(struct conn *conn);
/* The exchange has failed for conn->reason. When the client has heard nothing of an answer, the module
 * has the last word. */
void talk_fail(struct conn *conn);
/* Bytes that the module may see at once. */
size_t talk_window(const struct conn *conn);
/* A datagram that nobody takes, or that is too long for the module. */
void talk_lose(struct conn *conn);
/* More of this side could be looked at. */
bool talk_has_room(const struct conn *conn, const struct side *side);
/* The module is asked again for this side after so long, unless something must be complete before. */
void talk_look(struct talk *talk, enum sy_side side, uint64_t ms);
/* One call into data(). */
struct sy_verdict talk_ask(struct conn *conn, enum sy_side side, uint32_t exchange, struct sy_span in,
                           bool eof);
/* Verdicts, whatever they are said of, but for what they consume. */
enum step talk_emit(struct conn *conn, const struct sy_verdict *verdict);
enum step talk_close(struct conn *conn, const struct sy_verdict *verdict);
/* Of a CLOSE: does it answer what no server was asked for? */
void talk_note_own(struct talk *talk, const struct sy_verdict *verdict);
enum step talk_many(struct conn *conn, const struct sy_verdict *verdict);
enum step talk_broken(struct conn *conn, const char *words);
/* Shows the module what its client and the exchanges that it has opened have said. */
enum step talk_listen(struct conn *conn);
/* Shows the module all that is there of a side, and all that can be read now. WAIT: it needs more.
 * STEP_PICK: an exchange begins; STEP_CLASSIFY: it is over; STEP_RELAY: a tunnel from here on. */
enum step talk_hear(struct conn *conn, struct side *side);

#endif
