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
 * Scenario (HTTP/2 or SIP proxy mode): data(CLIENT, frames) returns EMIT to the server side of
 * exchange 5, ROUTE for exchange 7, ... ; the bytes that a server says come as
 * data(SERVER, exchange 5, ...). Bytes are consumed by the sums of PASS and DROP. */
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
	SY_END,     /* the exchange is over */
	SY_PIN,     /* client and server connection belong to each other until either closes */
	SY_TUNNEL,  /* from here on everything passes untouched; the module is not asked again */
	SY_CLOSE,   /* end the session; `bytes`, if any, go to the client first */
};

struct sy_verdict {
	enum sy_verdict_what what;
	enum sy_side to;          /* EMIT */
	uint32_t exchange;        /* ROUTE, PASS, EMIT, END: which one */
	uint64_t n;               /* PASS, DROP, EMIT: bytes of the input */
	uint64_t deadline_ms;     /* NEED: give up after so long without completing; 0: idle timeout only */
	struct sy_span bytes;     /* EMIT, CLOSE: borrowed from the session's memory */
	const char *reason;       /* CLOSE: words for the operator, a constant string */
};

/* A session is one client connection as the module sees it. */
struct sy_session {
	const void *conf;
	void *state;              /* sy_protocol.session_size bytes, zeroed at open */
	struct sy_facts facts;    /* filled by the module before ROUTE */
	uint64_t now_ms;          /* monotonic */
};

/* Datagrams. */
enum sy_packet_what {
	SY_PACKET_PASS,
	SY_PACKET_DROP,           /* counted by reason */
};

struct sy_packet_verdict {
	enum sy_packet_what what;
	const char *reason;       /* DROP: words, a constant string */
	uint32_t lifetime_ms;     /* PASS: the flow lives at least so long; 0: the idle timeout decides */
	int32_t load;             /* change of the server's load in the protocol's unit: +1, 0, -1 */
};

enum sy_protocol_flag {
	SY_STREAMS = 1,           /* may be used with TCP listeners */
	SY_DATAGRAMS = 2,         /* may be used with UDP listeners */
	SY_FIRST_ONLY = 4,        /* data() is for the client's first bytes, before SY_TUNNEL, only */
};

struct sy_protocol {
	uint32_t size;            /* sizeof(struct sy_protocol) */
	uint32_t flags;           /* enum sy_protocol_flag */
	const char *load_unit;    /* "connections", "requests", "allocations" */
	uint32_t session_size;    /* bytes of state for each client connection or flow */
	/* Most bytes that the module may need to see at once before it says other than NEED; the core
	 * closes the connection when that many are not enough. */
	uint32_t window;
	/* A session begins (its state is zeroed). Optional. */
	void (*open)(struct sy_session *session);
	/* Bytes from one side, from the first that is not yet consumed. eof: none will follow. Called
	 * again after each verdict other than NEED and TUNNEL. NULL: everything is a tunnel. */
	struct sy_verdict (*data)(struct sy_session *session, enum sy_side side, uint32_t exchange,
	                          struct sy_span in, bool eof);
	/* The session ends; nothing can be sent any more. For memory of third-party libraries. Optional. */
	void (*close)(struct sy_session *session);
	/* One datagram, before it is sent on. NULL: all pass. */
	struct sy_packet_verdict (*packet)(struct sy_session *session, enum sy_side side,
	                                   struct sy_span in);
};

#endif
