/* The way of a connection.
 *
 *	client                                                                        server
 *	  |                                                                             |
 *	  +--> accept --> greet --> classify --> pick --> connect --> relay --> close --+
 *	       batches,   PROXY     protocol     persist- another     both      one reason,
 *	       limits     header,   module       ence,    server if   ways,     one log line
 *	                  TLS           ^        sched-   it fails    half-
 *	                                |        uler        |        close
 *	                                |          ^---------'          |
 *	                                '------- next exchange ---------'
 *
 * Between two exchanges the connection to the server may go aside (way/aside.c), for whoever comes next; a
 * request that meets one that is dying is said again to a fresh one, from relay back to connect
 * (way/talk_again.c). Where messages say what they belong to, many exchanges share a connection to the
 * server (way/trunk.c). A session with many exchanges at once has a connection of its own for each, which
 * goes this same way from classify on; its client is the session (way/strand.h). The server may be a client
 * connection, of this worker or of another one (way/reach.h), and the client an address at a UDP listener
 * (way/post.h).
 *
 * Each step is a file that exports <step>_step(): it does all that can be done now and returns the
 * next step, WAIT (for an event) or GONE (the connection is freed). way_drive() is the only place
 * that changes the step, and way.c's table says which may follow which. libev's callbacks find their
 * struct and call the driver; after that the struct may be gone. Sockets of short connections are watched
 * in a set of their own (way/edge.h).
 *
 * A connection is one block. What is read goes into the worker's one scratch buffer and is written on at
 * once, small messages of a tunnel when all of the turn have been read (way/batch.h). The bytes in the
 * buffer belong to the side in way->fresh; when the driver leaves, what nobody could use yet moves into
 * a pooled chunk of that side. So an idle connection owns no buffer.
 *
 * A side with bytes to be written makes the other side unread (back-pressure): what a connection can
 * hold is bounded by one scratch buffer, one pipe or one protocol window for each direction. */
#ifndef WAY_WAY_H
#define WAY_WAY_H

#include <ev.h>

#include "base/table.h"
#include "net/chunk.h"
#include "net/pipes.h"
#include "proc/child.h"
#include "way/choose.h"

enum step {
	STEP_ACCEPT,
	STEP_GREET,
	STEP_CLASSIFY,
	STEP_PICK,
	STEP_CONNECT,
	STEP_RELAY,
	STEP_CLOSE,
	STEPS,
	WAIT = STEPS,
	GONE,
};

enum {
	WAY_SCRATCH = 65536,      /* bytes read at once */
	WAY_SETTLE_MS = 10000,    /* connections that live so long get keepalive */
	WAY_PARTING_MS = 5000,    /* for a client to take our last words */
	WAY_IDLE_STEPS = 7,       /* see relay_rest() */
	WAY_WINDOW = 16384,       /* bytes of a client kept before it has a server, without a module */
	WAY_ROUSED = 1024,        /* driven at the end of a turn of the loop, at most */
};

struct batch;
struct hops;
struct side_tls;
struct strand;
struct trace;
struct tls_shared;

/* One of the two connections. */
struct side {
	struct ev_io io;          /* io.fd is -1 when there is none */
	struct chunk *in;         /* a window: read, but not used yet */
	struct chunk *out;        /* a queue: must still be written to this side, in order */
	struct pipe *pipe;        /* the same, in a pipe; never both */
	struct side_tls *tls;     /* NULL: in clear */
	struct strand *strand;    /* another session of ours, instead of a socket */
	uint64_t bytes;           /* read from this side */
	uint8_t ready;            /* EV_READ, EV_WRITE: what was said of it and nobody has used up */
	uint8_t full;             /* reads in a row that filled the buffer */
	uint8_t held;             /* 1 + the place of a message for it in way.batch; 0: none */
	uint8_t asked;            /* EV_READ, EV_WRITE: what way.edges watches it for, */
	uint8_t told;             /* and how often it has told of it */
	bool eof : 1;             /* it has said its last byte */
	bool shut : 1;            /* we have passed the end on to it */
	bool wrote : 1;           /* something was sent to it */
	bool prompt : 1;          /* TCP_NODELAY is set */
	bool end_due : 1;         /* the end must still be told: TLS has words for that, too */
	bool of_server : 1;       /* it is conn.server, and not conn.client */
	bool datagram : 1;        /* UDP: a connected socket; a client has none of its own: post.h */
	bool edge : 1;            /* watched by way.edges, see edge.h, and not by libev */
	bool behind : 1;          /* an end, an error or urgent data waits behind what can be read */
};

struct conn {
	struct side client, server;
	struct timer_entry timer; /* what it means depends on the step */
	struct link of_service;   /* service_run.conns */
	struct link of_seat;      /* seat_run.conns, while it has or wants a connection there */
	struct link due;          /* in one of way.due_*: driven when this turn of the loop ends */
	struct way *way;
	struct generation *generation;
	const struct service *service;
	const struct listener *listener;
	const struct target *target;
	const struct seat *seat;  /* NULL with a server: it is a client connection, see reach.h */
	struct talk *talk;        /* protocol module in the path, or NULL: behind this block */

	uint64_t id;
	uint64_t accepted_ms;
	uint64_t last_ms;         /* of the last byte, either way */
	uint64_t mark_us;         /* when the connect, then when the server's turn to speak began */
	uint64_t sequence;        /* of the exchange in its service; retries draw with the same */
	uint32_t connect_us;
	uint32_t response_us;     /* of the server, the last time that it began to speak; 0: not yet */
	uint32_t source_slot;     /* share/source.h */

	struct sy_addr peer;      /* who connected to us */
	struct sy_addr client_addr; /* the same, or what a PROXY header said */
	struct sy_addr service_addr;
	struct sy_addr server_addr;
	struct sy_key key;        /* persistence, until it is stored */

	uint32_t tried[CHOOSE_TRIES]; /* cells of servers */
	uint8_t n_tried;
	uint8_t step, reason, why;
	int16_t error;            /* errno behind the reason, 0: none */
	uint16_t port;            /* of ours, that was connected to: a PROXY header may tell of another */
	bool timed : 1;           /* the timer came up */
	bool greeted : 1;         /* PROXY header done */
	bool admitted : 1;        /* past the limits */
	bool store : 1;           /* key is to be stored */
	bool entered : 1;         /* counted as active at its seat */
	bool tunnel : 1;          /* no module looks at the bytes (any more) */
	bool settled : 1;         /* lived long enough for keepalive */
	bool heard : 1;           /* the server has spoken since mark_us */
	bool reset : 1;           /* at the close, both sides get a reset */
	bool parting : 1;         /* at the close, the client gets time to take our last words */
	bool from_server : 1;     /* which side the reason is about, where it could be either */
	bool elsewhere : 1;       /* its server went down during the connect */
	bool datagrams : 1;       /* not a connection: a flow, as report.h shows it; or post.h's */
	bool hop : 1;             /* not a client's: brings an exchange of another worker, see hop.h */
	bool trunk : 1;           /* nor is this: its client is a server, see trunk.h */
	bool due_handshake : 1;   /* due is in way.due_handshakes */
	const char *words;        /* the protocol module's reason */
	char *problem;            /* what TLS failed of, in words; ours to free */
};

/* What a worker adds to the objects of a configuration (their `run`). */
struct service_run {
	const struct service *service;
	struct way *way;
	struct board_tally *tally;
	_Atomic uint64_t *reasons;
	const struct sy_protocol *protocol;
	int load_gauge;           /* see figures.h */
	struct slab *slab;        /* of blocks for its connections */
	struct link conns;
	struct timeq *greet, *connect, *settle, *parting;
	struct timeq *aside;
	bool shares;              /* connections to servers go aside between two exchanges: aside.h */
	struct timeq *idle[WAY_IDLE_STEPS];
	struct timeq *post_idle, *trunk_idle;
	struct link flows;        /* way/flow.h, as all that follows with flow in its name */
	struct slab *flow_slab;
	struct timeq *flow_idle;
	uint64_t flow_idle_ms;
	uint64_t flow_complained_ms;
	struct timer_entry removed; /* armed when a reload took the service away */
	uint64_t removed_ms;
	uint64_t sequence;
	uint32_t snat_turn;
};

struct seat_run {
	uint32_t cell, server_cell;
	const struct service *service;
	const struct seat *seat;
	struct lineup *lineup;    /* that it stands in */
	struct board_tally *tally, *server_tally;
	struct link conns, flows;
	struct link aside;        /* connections without exchange: aside.h */
	struct link trunks;       /* connections with many: trunk.h */
	uint32_t n_aside, n_trunks;
	struct timer_entry drain; /* drain.c */
	uint64_t suspected_ms;    /* when the master was told last */
};

/* The worker. */
struct way {
	struct child *child;
	struct ev_loop *loop;
	struct board *board;
	unsigned row;
	uint8_t *scratch;         /* WAY_SCRATCH bytes */
	struct {
		struct side *owner;   /* NULL: nobody's */
		uint8_t *at;
		size_t len;
	} fresh;
	struct {                  /* side_tls.c: the same for what is still encrypted */
		struct side_tls *owner;
		uint8_t *bytes;       /* made when first wanted */
		uint8_t *at;
		size_t len;
	} records;
	struct tls_shared *tls;   /* made when first wanted */
	struct slab *tls_slab;
	uint32_t handshakes;      /* of clients, that have begun and are not done */
	uint32_t most_handshakes;
	uint32_t slow_handshakes; /* of them, that take long: handshakes.c */
	struct link under_way;    /* the oldest first */
	struct link due_handshakes; /* connections whose handshake can go on */
	uint32_t n_due_handshakes;
	bool shaking;             /* it is their turn */
	bool busy;                /* with so many that the doors with TLS are shut */
	char subject[1024];       /* of the connection in hand, see side_tls_facts() */
	struct chunk_pool *chunks;
	struct pipe_pool *pipes;
	struct link doors;        /* accept.c */
	struct flows *flows;      /* flow.c */
	struct hops *hops;        /* hop.c */
	struct table named;       /* reach.c: talk.named */
	struct table strands;     /* strand.c: strand.found */
	struct link aside;        /* aside.c */
	struct slab *aside_slab;
	uint32_t n_aside;
	struct ev_timer pause;    /* accept again after EMFILE */
	bool paused;
	int spare_fd;             /* given up to take, and shed, one connection at EMFILE */
	uint32_t conns, most;     /* open, flows included, and how many may be */
	uint64_t made;            /* connections ever */
	uint64_t complained_ms;   /* when the log was last told that this worker is full */
	uint64_t random;
	uint32_t count[SY_COUNTERS]; /* of the protocol module that is being called: figures.c */
	struct ev_timer grace;    /* the end of a graceful stop */
	struct ev_prepare turn;   /* before the loop waits */
	struct batch *batch;      /* batch.h */
	struct ev_io edges;       /* edge.h */
	struct link due_clients, due_servers; /* connections that were called for in this turn */
	struct link roused;       /* talk.roused: driven at the end of this turn */
	struct slab *strand_slab; /* strand.c */
	struct ev_idle unrest;    /* there are more than one turn can drive */
	bool over;
	struct trace *trace;      /* trace.h: what is being looked at; NULL: nothing */
	struct trace *traced;     /* its time is over, and nobody has fetched it */
};

static inline struct service_run *
service_run(const struct conn *conn)
{
	return conn->service->run;
}

static inline struct seat_run *
seat_run(const struct conn *conn)
{
	return conn->seat->run;
}

static inline struct conn *
side_conn(struct side *side)
{
	return side->of_server ? container_of(side, struct conn, server)
	                       : container_of(side, struct conn, client);
}

static inline struct side *
way_other(struct conn *conn, const struct side *side)
{
	return side == &conn->client ? &conn->server : &conn->client;
}

static inline bool
side_open(const struct side *side)
{
	return side->io.fd >= 0 || side->strand || side->datagram;
}

/* Something must still be written to it. */
static inline bool
side_pending(const struct side *side)
{
	return side->out || side->pipe || side->end_due || side->held;
}

/* And it can be tried now: what is held never was. */
static inline bool
side_can_flush(const struct side *side)
{
	return side_pending(side) && (side->held || side->ready & EV_WRITE);
}

/* way.c: the driver. The connection may be gone afterwards. */
void way_drive(struct conn *conn);
/* Ends it from outside, with a reset of both sides. */
void way_end(struct conn *conn, enum reason reason);
/* The same in order, when nothing is under way. */
void way_leave(struct conn *conn, enum reason reason);
/* There is something for a side: its connection is driven when this turn of the loop ends. */
void way_due(struct side *side, int events);
/* It is driven when this turn of the loop ends. For those with a module. */
void way_rouse(struct conn *conn);
/* The end of a turn. */
void way_turn(struct way *way);
/* For steps: notes the reason and names the step that follows. */
enum step way_close(struct conn *conn, enum reason reason);
/* The same when a call on a side failed: reset, lost and so on by `error`. */
enum step way_close_error(struct conn *conn, const struct side *side, int error);
/* The last connection has ended and no more will come: the worker leaves. */
void way_over(struct way *way);
/* The connection's timer; sets conn->timed and drives. */
struct timeq *way_queue(struct way *way, uint64_t ms);
extern const char *const way_step_names[STEPS];

enum step accept_step(struct conn *conn);
enum step greet_step(struct conn *conn);
enum step classify_step(struct conn *conn);
enum step pick_step(struct conn *conn);
enum step connect_step(struct conn *conn);
enum step relay_step(struct conn *conn);
enum step close_step(struct conn *conn);

/* connect.c: where conn->seat is spoken to. */
void connect_address(struct conn *conn);
/* What libev calls for conn->server. */
void connect_on_server(struct ev_loop *loop, struct ev_io *io, int events);
/* The server went down, so the connect will not succeed: another one is tried. */
void connect_elsewhere(struct conn *conn);
/* What went wrong here, and not at the server. */
bool connect_is_local(int error);
enum reason connect_reason(int error);
/* The checker looks at once, instead of when its turn comes. */
void connect_suspect(struct way *way, const struct seat *seat);

/* accept.c: listening sockets. */
void accept_listen(struct way *way, uint64_t listener, unsigned slot, int fd);
void accept_unlisten(struct way *way, uint64_t listener, unsigned slot);
/* After a switch: listeners of the current generation; what waits at those that are gone is taken
 * into `old`. */
void accept_switched(struct way *way, struct generation *old);
/* What libev calls for conn->client. */
void accept_on_client(struct ev_loop *loop, struct ev_io *io, int events);
/* Takes what waits in the queues and closes all. */
void accept_stop(struct way *way);
/* A connection without sockets and addresses, in `generation`. NULL: no memory. */
struct conn *accept_block(struct way *way, const struct listener *listener,
                          struct generation *generation);
/* A connection ended: the worker may have room again. */
void accept_resume(struct way *way);
/* The number of handshakes has changed: doors with TLS are shut, or opened again. */
void accept_handshakes(struct way *way);

/* relay.c: arms the timer for what is left of the idle timeout. */
void relay_rest(struct conn *conn);
/* How long that is; 0: there is none. */
uint64_t relay_idle_ms(const struct conn *conn);
/* It is over. */
bool relay_is_idle(const struct conn *conn);

/* pick.c: by the operator's word or its own, the server wants no more than what it has. */
bool pick_drains(struct board *board, const struct seat *seat);
/* An exchange gives its place back; the connection to the server may stay. */
void pick_leave(struct conn *conn);
/* The exchange has its connection to the server. */
void pick_served(struct conn *conn);
/* The connection to the server is given up, and with it the place. */
void pick_drop(struct conn *conn, bool reset);

#endif
