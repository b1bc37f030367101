/* Who serves an exchange: a pure function of the service, of what is known of the exchange, of the
 * board and of the time. The worker's pick and the console's `explain` are the same call; the latter
 * passes a trace.
 *
 * Scenario: two servers are up, one is draining. The client's persistence entry names the draining
 * one: it is chosen, because draining refuses only new clients. Another client has no entry: the
 * scheduler sees the two that are up. A connect fails: the caller adds that server to `tried` and
 * asks again with the same draw. */
#ifndef WAY_CHOOSE_H
#define WAY_CHOOSE_H

#include "api/facts.h"
#include "conf/config.h"
#include "share/reasons.h"

enum { CHOOSE_TRIES = 8 };        /* servers remembered as tried; tries is no more than that */

/* A target as its scheduler sees it: who is offered, and the scheduler's table. Built from the board,
 * kept until health, a wish or a weight changes. */
struct lineup {
	const struct service *service;
	const struct target *target;
	struct sy_server *all;    /* of the target, in order: what a client may name */
	struct sy_set set;        /* offered to new clients */
	uint32_t *seat_of;        /* position in the set -> position in the target */
	uint64_t *up_since_ms;    /* by position in the set; 0: up from the start */
	uint32_t up;              /* seats that count for minimum-up */
	uint64_t built_of;        /* hash of members and weights that the table was built of */
	void *table;
	size_t table_size;
	uint64_t slow_until_ms;   /* shares change until then; 0: nobody is starting slowly */
	uint64_t *relieved_until_ms; /* by position in the target; NULL: nobody ever was */
	uint64_t relief_until_ms; /* the last of them; 0: nobody is relieved */
	bool limited;             /* some server has max-connections */
	bool marked;              /* some server in the set is marked busy */
	bool stale;
};

/* Memory comes with the first build; lineup_free gives it back. */
void lineup_init(struct lineup *lineup, const struct service *service,
                 const struct target *target);
void lineup_free(struct lineup *lineup);
/* The server is overloaded by its own word: until then it gets a quarter of its share. */
void lineup_relieve(struct lineup *lineup, const struct seat *seat, uint64_t until_ms);
/* A server of the target as persistence modules see it: for named() and mark(). */
const struct sy_server *lineup_server(struct lineup *lineup, const struct seat *seat);

enum choose_why {
	BECAUSE_SCHEDULER,
	BECAUSE_PERSISTENCE,
	BECAUSE_RETRY,            /* another server had failed */
	BECAUSE_SORRY,            /* the pool has too few servers up */
	BECAUSE_PINNED,           /* this client connection stays with this server connection */
	BECAUSE_RESUMED,          /* a flow that this worker's predecessor had */
	BECAUSE_FLOW,             /* no server: the client connection that the exchange names */
};
extern const char *const choose_why_words[];

/* What `explain` gets to see. */
struct choose_note {
	const struct seat *seat;
	bool sorry;               /* of the sorry pool */
	bool offered, chosen;
	char words[BOARD_WORDS + 96];
};

struct choose_trace {
	struct choose_note *notes; /* room for all seats of the service */
	uint32_t n, room;
	char words[320];          /* how it ended */
};

struct choose_ask {
	const struct service *service;
	struct lineup *lineup;    /* of service_pool(service, facts->pool) */
	struct lineup *sorry;     /* of service->sorry, or NULL */
	struct board *board;
	unsigned row;             /* of this process */
	const struct sy_facts *facts;
	uint64_t now_ms;
	uint64_t random;
	uint64_t sequence;
	const uint32_t *tried;    /* cells of servers that failed or are full */
	uint32_t n_tried;
	bool look_only;           /* a use of persistence does not refresh it */
	struct choose_trace *trace; /* or NULL */
};

struct choice {
	const struct target *target;
	const struct seat *seat;  /* NULL: nobody; reason says why */
	enum choose_why why;
	enum reason reason;
	bool store;               /* remember the key when the connection is made, in target->group */
	bool named;               /* the exchange named this server by itself */
	const struct seat *asked; /* the one that it named, usable or not; NULL: none */
	struct sy_key key;
};

/* May this client use the service at all? REASON_NONE: yes. */
enum reason choose_admits(const struct service *service, const struct sy_addr *client);
void choose(const struct choose_ask *ask, struct choice *out);
/* Is this server still good for a client that it knows? */
bool choose_keeps(struct board *board, const struct seat *seat);
/* And for a new one? */
bool choose_welcomes(struct board *board, const struct seat *seat);

#endif
