/* A protocol looks at what clients and servers say and tells the core what to do with it; the core
 * does it. There are three sizes of protocol:
 *
 * - none of the functions (protocol tcp): a connection is one exchange, relayed untouched;
 * - data() for the client's first bytes only: it classifies (SNI, a first line), answers
 *   SY_ROUTE, and the rest of the connection is relayed without the module (SY_TUNNEL);
 * - data() for every byte of both sides, any number of exchanges per connection (HTTP, SIP).
 *
 * The unit that is balanced is the exchange. An exchange has a number, chosen by the module, unique
 * within the session; protocols with one exchange at a time always use 0.
 *
 * Scenario (HTTP/1.1, two requests on one connection): data(CLIENT, "GET /a ...") returns
 * ROUTE with facts; the core picks a server, connects, and calls again with the same bytes:
 * PASS head and body; data(SERVER, ...) returns PASS ..., then END. The core puts the server's
 * connection aside for others (unless SY_PIN was said), and the next bytes of the client go to
 * data(CLIENT) again: another ROUTE, maybe another server.
 *
 * Scenario (HTTP/2): a connection that carries many exchanges at once. data(CLIENT, frames) returns
 * OPEN for exchange 5: the core opens a second session of the same module, whose client is not a
 * socket but the first session. What the first one says with EMIT (to SY_SERVER, exchange 5) is what
 * the client of that session says; the second session frames and routes it as any other (HTTP/1.1),
 * has a server of its own, retries, limits, persistence; its answer comes back to the first session as
 * data(SERVER, exchange 5, ...), which turns it into frames with EMIT (to SY_CLIENT). FINISH is the
 * end of what that client says; END forgets the exchange, wherever it is. A session that does not
 * consume what exchange 5 says makes its server wait, and only that one.
 *
 * What the exchange says is shown like what a side says: from the first byte that is not consumed. NEED
 * waits for more of it, or for the client: after what the client says, exchanges with bytes that are not
 * consumed are shown again. The module is also called, maybe without new bytes, when an exchange has
 * taken all that was said to it: `waiting` is 0 then, and credit can be given. The last call for an
 * exchange has eof; an END answers it. When the exchange could not be carried out, the second session's
 * fail() has said so in its words; where it could not, because an answer had begun, `broken` is set. The
 * verdicts for what an exchange says are NEED, DROP, EMIT, OPEN, FINISH, END and CLOSE. Numbers may be
 * used again after END. A module that opens more than it wants to serve at once, or says more to an
 * exchange than it takes (1 MiB is the end of it), breaks its contract: limits are the module's.
 *
 * Scenario (a request for a client): with SY_FLOWS a client connection P has a name, session.flow, which
 * P's module writes into what servers will send back (a token in Record-Route, a branch). Any other
 * session of any worker finds it there, sets facts.flow and says ROUTE: instead of choosing a server, the
 * core makes P the other end. From then on the session speaks to P as to a server; P hears it as
 * data(SERVER, exchange, ...) with a number from SY_FROM_OUTSIDE on that the core has chosen, and without
 * an OPEN. All that was said above of exchanges is true of it: EMIT to SY_SERVER with that number answers,
 * FINISH is the end of the answer, END forgets the exchange (the other session still gets all that was
 * said, then the end). Its end is shown with eof. When there is no such connection (any more), ROUTE ends
 * with fail(SY_FAIL_CONNECT); when P ends meanwhile, it is for the other session as if a server had left.
 *
 * Scenario (a connection that many exchanges share): with SY_TRUNKS, messages say what they belong to. What streams of OPEN have ROUTEd to one server goes over one connection: a session whose client
 * is that server (to_server), and where each of those streams is an exchange from outside. That session
 * hands the answers out by what they say, and hears what the server says of its own as from any client.
 *
 * Scenario (messages in datagrams): with SY_MESSAGES each client's address and port at a UDP listener is a
 * session. data(CLIENT) is given one datagram, and never a part of one or two in a row; each EMIT to
 * SY_CLIENT is one datagram, sent from the address and port that the client used. A datagram is consumed
 * whole by the verdicts that are said of it: NEED drops what is left of it (during an exchange of ROUTE it
 * is kept instead, and shown again when that is over; what the client says meanwhile is lost). A session
 * ends when nothing was said for idle-timeout, and session.until_ms has passed; one that has opened and
 * routed nothing ends at once. There is no eof. A server of a pool with transport udp is a connected
 * socket, with the same rules for EMIT to SY_SERVER and data(SERVER): NEED drops what is left of a
 * datagram. When it refuses (ICMP) before it has answered, what was said to it is said to another server,
 * unless session.once. Whether the server's side is TCP has nothing to do with the client's.
 *
 * Scenario (a connection that served others): with SY_SHARES, the server's connection may be dying when
 * the request is sent. What was sent (up to 16 KiB) is kept until the server answers, and sent again to a
 * fresh connection if it does not. The module does not notice, and need not know. */
#ifndef SY_API_PROTOCOL_H
#define SY_API_PROTOCOL_H

#include "api/facts.h"
#include "api/module.h"

enum sy_side {
	SY_CLIENT,
	SY_SERVER,
};

enum sy_verdict_what {
	SY_NEED,    /* wait for more bytes from this side; nothing is consumed */
	SY_ROUTE,   /* a new exchange begins here: choose a server by facts, then call again */
	SY_PASS,    /* send the next n bytes on to the other side as they are (n may exceed what is there) */
	SY_DROP,    /* consume n bytes, send nothing */
	SY_EMIT,    /* send `bytes` to side `to`, after consuming n bytes of the input */
	SY_END,     /* the exchange is over; `spent`: and the server's connection is good for no other */
	SY_PIN,     /* client and server connection belong to each other until either closes */
	SY_TUNNEL,  /* from here on everything passes untouched; the module is not asked again */
	SY_CLOSE,   /* end the session; `bytes`, if any, go to the client first */
	SY_LEARN,   /* `bytes` are what the server said of itself, for the persistence's learn() */
	SY_OPEN,    /* a session of its own for `exchange`, see the second scenario */
	SY_FINISH,  /* the client of `exchange` has said all */
};

struct sy_verdict {
	enum sy_verdict_what what;
	enum sy_side to;          /* EMIT */
	uint32_t exchange;        /* ROUTE, PASS, EMIT, END, OPEN, FINISH: which one; OPEN and ROUTE: less
	                           * than SY_FROM_OUTSIDE */
	uint64_t n;               /* PASS, DROP, EMIT: bytes of the input */
	uint64_t deadline_ms;     /* NEED: give up after so long without completing; of the client of a stream
	                           * that has said all (eof, nothing left): without a word of the server that
	                           * is waited for; PASS: after so long without the n bytes; 0: idle timeout
	                           * only */
	uint64_t look_ms;         /* NEED, instead of deadline_ms: ask again after so long, whether anything
	                           * has come or not; with an exchange of OPEN: ask for the client */
	struct sy_span bytes;     /* EMIT, CLOSE, LEARN: borrowed from the session's memory, or from `in` */
	const char *reason;       /* words for the operator, a constant string. CLOSE: why; EMIT to SY_CLIENT
	                           * without an exchange: the bytes are the whole answer to what session.asked
	                           * is about, and why no server was asked; NULL: they are no answer */
	bool spent;               /* END */
	uint32_t relieve_ms;      /* as sy_packet_verdict.relieve_ms, with any of them */
};

/* Numbers that a protocol keeps for its operators: shown by steelyardctl, the page, the API and the
 * metrics, for each service and each server, summed over workers. */
struct sy_figure {
	const char *name;         /* "allocations", "requests_invite": [a-z0-9_] */
	const char *doc;          /* one sentence */
};

enum {
	SY_GAUGES = 8,
	SY_COUNTERS = 32,
	SY_FLOW_MOST = 32,        /* bytes of sy_session.flow */
	SY_SECRET = 32,           /* bytes of sy_session.secret */
};

/* Exchanges that other sessions have begun with ROUTE to a flow have numbers from here on. */
#define SY_FROM_OUTSIDE UINT32_C(0x80000000)

/* What a session has of each gauge at a server that is not its own. */
struct sy_held {
	uint32_t server;          /* sy_session.at of what has begun it; 0: none */
	int32_t gauge[SY_GAUGES];
};

/* Why the core cannot carry out an exchange. */
enum sy_failure {
	SY_FAIL_REFUSED,          /* by a limit or a rule of the service */
	SY_FAIL_NO_SERVER,        /* none is up, or all are full */
	SY_FAIL_CONNECT,          /* none could be reached */
	SY_FAIL_BROKEN,           /* the server left before it answered */
	SY_FAIL_LATE,             /* the server did not answer in time */
	SY_FAIL_CLIENT_LATE,      /* the client did not say enough in time: deadline_ms, greet-timeout */
	SY_FAIL_WINDOW,           /* the client said more than `window` without sense */
};

/* What an exchange is about, for logs: nothing that is secret (no query, no password). */
struct sy_asked {
	struct sy_span method, host, path; /* "GET", "web.example.net", "/meet/"; "INVITE", "example.net" */
	uint32_t status;          /* the answer to it: 200; 0: none yet */
};

/* A session is one client connection as the module sees it. */
struct sy_session {
	const void *conf;
	void *state;              /* sy_protocol.session_size bytes, zeroed at open */
	struct sy_facts facts;    /* filled by the module before ROUTE */
	uint64_t now_ms;          /* monotonic */
	/* From the pick on, by the core: */
	const char *server_name;  /* NULL: none yet */
	struct sy_addr server;
	bool server_secure;       /* spoken to over TLS */
	bool server_datagram;     /* and over UDP */
	struct sy_addr flow_service; /* with facts.flow, which has no server_name: the address and port that the
	                           * client of that flow uses; `server` is the client's own */
	struct sy_span mark;      /* what persistence wants the answer to tell the client; len 0: nothing */
	/* Always, by the core: */
	const char *service_name;
	bool stream;              /* the client is an exchange of another session, see OPEN */
	bool datagram;            /* the client speaks UDP; of a stream: its parent's client does */
	bool to_server;           /* the client is a server that the core has connected to: a trunk */
	struct sy_span flow;      /* SY_FLOWS: names this client connection for all workers of this machine, at
	                           * most SY_FLOW_MOST bytes; the same as long as it lives, and never that of
	                           * another one. Of a stream: its parent's. Else len 0 */
	struct sy_span secret;    /* SY_SECRET bytes at random: the same in all workers, and over reloads, until
	                           * Steelyard is started anew */
	bool draining;            /* the server wants no more than what it has; or the service was removed,
	                           * or Steelyard stops when all is done */
	/* In data() for an exchange of OPEN or from outside, by the core: */
	uint64_t waiting;         /* bytes that were EMITted to it, and that it has not taken yet */
	bool broken;              /* eof of an exchange of OPEN: in the middle of something, with a reset */
	uint32_t at;              /* the same number for each exchange of OPEN that this server has, and for each
	                           * from outside that it has begun; 0: nobody knows it */
	/* By the module: */
	bool once;                /* before ROUTE: the exchange must not be said to two servers, or twice */
	bool busy;                /* something is under way that a gentle drain waits for */
	uint64_t until_ms;        /* busy, but not longer than until then (as now_ms); 0: nobody knows. With
	                           * SY_MESSAGES the session lives until then at least, busy or not */
	/* Of the exchange that is under way, or was the last one. The spans are of memory that stays until
	 * the next one begins, or the session ends. */
	struct sy_asked asked;
	/* What this session has of each gauge now. The core carries differences to the board, and takes
	 * all back when the session ends or its server changes. */
	int32_t gauge[SY_GAUGES];
	/* A session of exchanges has no server of its own. What of its gauges it has at the servers of them is
	 * theirs as well: memory of the module's that stays until close(). */
	const struct sy_held *held;
	uint32_t n_held;          /* always the same, once held is set */
	bool held_changed;        /* since the core has looked */
	/* sy_count() adds here: the worker's, carried to the board after each call. */
	uint32_t *count;          /* SY_COUNTERS of them */
	bool counted;             /* some count is not 0 */
};

static inline void
sy_count(struct sy_session *session, unsigned counter, uint32_t n)
{
	session->count[counter] += n;
	session->counted = true;
}

/* Datagrams. */
enum sy_packet_what {
	SY_PACKET_PASS,
	SY_PACKET_DROP,           /* counted by reason */
};

struct sy_packet_verdict {
	enum sy_packet_what what;
	const char *reason;       /* DROP: words, a constant string */
	uint32_t lifetime_ms;     /* PASS: the flow lives at least so long, and what was said before about it
	                           * is void; 0: says nothing */
	uint32_t relieve_ms;      /* PASS: the server is overloaded by its own word: so long it gets a
	                           * quarter of its share of what is new; 0: it says nothing */
	bool fresh;               /* PASS, client's: nothing at the server depends on this flow yet, and here
	                           * something begins; a server that drains is left for another one first */
	uint32_t most_per_second; /* PASS, client's: of such datagrams from one address; 0: any number. For
	                           * what is answered before anybody has proved who he is */
};

enum sy_protocol_flag {
	SY_STREAMS = 1,           /* may be used with TCP listeners */
	SY_DATAGRAMS = 2,         /* may be used with UDP listeners */
	SY_FIRST_ONLY = 4,        /* data() is for the client's first bytes, before SY_TUNNEL, only */
	SY_SHARES = 8,            /* after END the server's connection may serve other clients, unless PIN;
	                           * a server that says something before the next ROUTE is left, and with
	                           * PIN the session ends */
	SY_SECURE = 16,           /* TLS with clients ends here: every TCP listener has a tls block */
	SY_FLOWS = 32,            /* client connections have a name, session.flow, to be ROUTEd to */
	SY_RENEWS = 256,          /* between two exchanges session.conf may become that of a newer configuration:
	                           * the session's state points to nothing of the old one then */
	SY_TRUNKS = 128,          /* with SY_SHARES and SY_FLOWS: the streams of OPEN share connections to servers,
	                           * each of which is a session, to_server */
	SY_MESSAGES = 64,         /* at a UDP listener each client's address is a session, which is given whole
	                           * datagrams by data() */
};

struct sy_protocol {
	uint32_t size;            /* sizeof(struct sy_protocol) */
	uint32_t flags;           /* enum sy_protocol_flag: all that it can do */
	/* Which of `flags` hold with these settings; called once for each service. NULL: all. */
	uint32_t (*uses)(const void *conf);
	const char *load_unit;    /* "connections", "requests", or the name of a gauge: "allocations" */
	/* The unit with these settings; called once for each service. NULL: load_unit. */
	const char *(*load)(const void *conf);
	const struct sy_figure *gauges, *counters; /* name NULL at the end; NULL: none */
	uint32_t session_size;    /* bytes of state for each client connection or flow */
	/* Most bytes that the module may need to see at once before it says other than NEED; the core
	 * closes the connection when that many are not enough. */
	uint32_t window;
	/* What clients may agree on where TLS ends here (ALPN, RFC 7301), as the settings are: the preferred
	 * name first, NULL at the end. Listeners offer just that when they do not say what; a name that is
	 * not among these, or that no listener offers, is an error. Optional: listeners say what they will. */
	const char *const *(*alpn)(const void *conf);
	/* A session begins (its state is zeroed). Optional. */
	void (*open)(struct sy_session *session);
	/* Bytes from one side, from the first that is not yet consumed. eof: none will follow. Called
	 * again after each verdict other than NEED and TUNNEL. NULL: everything is a tunnel. */
	struct sy_verdict (*data)(struct sy_session *session, enum sy_side side, uint32_t exchange,
	                          struct sy_span in, bool eof);
	/* The session ends; nothing can be sent any more. For memory of third-party libraries. Optional. */
	void (*close)(struct sy_session *session);
	/* The exchange cannot be carried out: what the client is told. CLOSE, with bytes. Not called when
	 * the client has heard a part of an answer already. NULL: it is reset. */
	struct sy_verdict (*fail)(struct sy_session *session, enum sy_failure what);
	/* One datagram, before it is sent on. NULL: all pass. */
	struct sy_packet_verdict (*packet)(struct sy_session *session, enum sy_side side,
	                                   struct sy_span in);
};

#endif
