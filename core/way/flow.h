/* The way of a datagram.
 *
 *	client                                                                 server
 *	  |                                                                      |
 *	  +--> door --> flow --> admit --> choose --> a socket of its own ------>+
 *	       a batch   known?   limits    as for     connected; the server's   |
 *	       of many     |                connections  errors arrive there     |
 *	  <----------------+------- batches, from the address the client used <--+
 *
 * A flow is what a client's address and port say to one address and port of ours. It is the exchange:
 * its server is chosen with the first datagram, by the same functions as for a connection, and stays
 * until the flow ends: by idle-timeout (or the lifetime that the protocol module asks for), when the
 * server goes down, or by the operator. A server that answers with an ICMP error is left at once: the
 * datagram in hand goes to another one, and the checker is told.
 *
 * For each datagram nothing is allocated, and beside the batches (one call for up to DATAGRAMS from the
 * clients, one for as many to them) there is one call: a send to the server, or a receive from it. What
 * cannot be sent at once is lost, as datagrams are: nothing is queued.
 *
 * Flows stand on the board (share/flow.h), so that the successor of a killed worker goes on with them at
 * the client's next datagram, towards the same server and from the same source address and port. */
#ifndef WAY_FLOW_H
#define WAY_FLOW_H

#include "base/table.h"
#include "net/datagram.h"
#include "share/flow.h"
#include "way/way.h"

enum {
	FLOW_IDLE_MS = 60000,     /* unless idle-timeout is given */
	FLOW_BURST = 16,          /* datagrams of a server taken in a row, at most */
};

/* A slot of a listener: the master's socket, ours to receive from. */
struct flow_door {
	struct link link;         /* flows.doors */
	struct ev_io io;
	struct way *way;
	uint64_t id;              /* of the listener */
	unsigned slot;
	struct sy_addr addr;      /* that it is really bound to */
	bool any;                 /* all addresses: each datagram says which was used */
	bool closed;              /* another worker hears what comes; these posts still answer by it */
	uint32_t posts;           /* struct post */
	const struct listener *listener; /* in the current generation; NULL: not served */
};

/* A protocol module that looks at the datagrams: behind the flow's block. */
struct flow_talk {
	struct sy_session session;
	int32_t told[SY_GAUGES];  /* figures.h */
	uint64_t until_told;      /* forecast.h */
	uint8_t state[] __attribute__((aligned(16)));
};

struct flow {
	struct ev_io io;          /* to the server; fd -1: it has none now */
	struct table_entry entry; /* flows.table */
	struct flow_key key;
	struct datagram_name name; /* the client's */
	struct timer_entry timer;
	struct link of_service;   /* service_run.flows */
	struct link of_seat;      /* seat_run.flows, while it has a server */
	struct flow_door *door;
	struct generation *generation;
	const struct service *service;
	const struct target *target;
	const struct seat *seat;
	struct flow_talk *talk;   /* or NULL */

	uint64_t id;
	uint64_t began_ms;
	uint64_t last_ms;         /* of the last datagram, either way */
	uint64_t alive_ms;        /* the protocol wants it to live until then */
	uint64_t extend_ms;       /* then the record on the board gets a new end */
	uint64_t mark_us;         /* when the server's turn began; 0: it is not */
	uint64_t up, down;        /* bytes */
	struct sy_addr server_addr;
	struct sy_key sticky;     /* persistence, while it is to be stored */

	uint32_t record;          /* on the board */
	uint32_t source_slot;     /* share/source.h */
	uint32_t turn;            /* of the loop when the server was heard last */
	uint32_t tried[CHOOSE_TRIES]; /* cells of servers */
	uint8_t n_tried;
	uint8_t burst;            /* datagrams that the server is likely to have for us */
	uint8_t reason, why;
	int16_t error;            /* errno behind the reason */
	bool store;
	bool counted;             /* as a new exchange of the service */
	bool served;              /* it had a server */
	bool moves;               /* with this datagram it goes to another server: its own one drains */
	const char *words;        /* the protocol module's */
};

/* The worker's part. */
struct flows {
	struct way *way;
	struct link doors;
	struct table table;
	struct table posts;       /* post.h */
	struct slab *post_slab;
	struct datagrams *in, *out; /* made with the first door */
	struct ev_prepare turn_ends; /* sends what was collected in this turn */
	uint64_t now_us;          /* of this turn, when somebody asked; else 0 */
	uint32_t turn;
	uint32_t pid;
};

/* flow.c */
struct flows *flows_new(struct way *way);
/* When the loop has ended: closes the doors. */
void flows_free(struct flows *flows);
uint64_t flows_now_us(struct flows *flows);
struct flow *flow_find(const struct flows *flows, uint64_t hash, const struct flow_key *key);
/* A client's first datagram: NULL when it was refused (counted, and told). */
struct flow *flow_new(struct flow_door *door, uint64_t hash, const struct flow_key *key,
                      const struct datagram_name *name);
void flow_end(struct flow *flow, enum reason reason);
/* Something passed: it is not idle. */
void flow_touch(struct flow *flow);
/* What a service needs for flows. */
void flow_attach(struct service_run *run);
/* Bytes behind the flow's block that its protocol needs. */
size_t flow_talk_size(const struct sy_protocol *protocol);
/* What the module knows of the flow's server goes with it: the next one begins with nothing. */
void flow_forget(struct flow *flow);
/* What the module says of a datagram. False: it is dropped, and counted. */
bool flow_passes(struct flow *flow, enum sy_side side, struct sy_span bytes);

/* flow_door.c */
/* Who sent datagram i of the batch, and to which address of ours. False: it is dropped. */
bool flow_key_of(struct flow_door *door, unsigned i, struct flow_key *key);
bool flow_is_door(int fd);
/* One of its posts is gone; a closed door goes with the last one. */
void flow_door_leave(struct flow_door *door);
void flow_listen(struct way *way, uint64_t listener, unsigned slot, int fd);
void flow_unlisten(struct way *way, uint64_t listener, unsigned slot);
void flow_switched(struct way *way);

/* flow_server.c */
/* Chooses a server and opens the socket. False: there is none, and the flow has ended. `resumed`: as the
 * predecessor had it, if that is still possible. */
bool flow_connect(struct flow *flow, const struct flow_record *resumed);
/* Its server drains, and something new begins: it will get another one. */
void flow_move(struct flow *flow);
/* Gives the server up; the flow has none. */
void flow_leave(struct flow *flow);
/* The server refused a datagram, or cannot be reached. False: the flow has ended. */
bool flow_refused(struct flow *flow, int error);

/* flow_report.c: the flow as a connection, for report.h. */
void flow_portrait(const struct flow *flow, struct conn *out);

/* Calls for each flow of all generations; it may end meanwhile. */
void flow_each(struct way *way, void (*each)(struct flow *flow, void *context), void *context);

#endif
