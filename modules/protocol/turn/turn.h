/* What protocol turn knows of a client: of a flow of datagrams, or of a connection.
 *
 *	nothing --Allocate--> asked --401, 438--> challenged --Allocate--> asked --success--> allocated
 *	   ^                    |                                                                 |
 *	   '--- other errors ---'------------ Refresh 0, end of its life, connection lost --------'
 *
 * Answers are believed when their question was seen (by transaction). Whether there is an allocation,
 * the gauge says: the core takes it back when the server is lost, and so it is gone here, too. */
#ifndef TURN_TURN_H
#define TURN_TURN_H

#include "api/protocol.h"
#include "stun.h"

enum {
	TURN_ASKED = 4,           /* questions remembered */
	TURN_USER = 64,           /* bytes of a user name that are kept; longer ones as a hash */
	TURN_LIFETIME_S = 600,    /* RFC 8656 3.2: unless the answer says otherwise */
	TURN_LIFETIME_MOST_S = 86400,
	TURN_GRACE_MS = 30000,    /* after the end of an allocation: clocks differ, packets wait */
	TURN_CONTROL = 8192,      /* longest message on a stream that is no relayed data */
};

enum { GAUGE_ALLOCATIONS };

enum turn_counter {
	COUNT_BINDINGS, COUNT_ALLOCATES, COUNT_ALLOCATED, COUNT_CHALLENGES,
	COUNT_REFUSED_QUOTA, COUNT_REFUSED_CAPACITY, COUNT_REFUSED_FORBIDDEN, COUNT_REFUSED_MISMATCH,
	COUNT_REFUSED_REDIRECT, COUNT_REFUSED_OTHER,
	COUNT_REFRESHES, COUNT_REFRESH_FAILURES, COUNT_RELEASES, COUNT_EXPIRED, COUNT_PERMISSIONS,
	COUNT_CHANNEL_BINDS, COUNT_SENDS, COUNT_DATAS, COUNT_CHANNEL_UP, COUNT_CHANNEL_DOWN,
	COUNT_RELAYED_UP, COUNT_RELAYED_DOWN, COUNT_MULTIPLEXED, COUNT_OTHER,
	COUNT_GARBAGE_LENGTH, COUNT_GARBAGE_KIND, COUNT_GARBAGE_ATTRIBUTES,
	COUNT_GARBAGE_FINGERPRINT, COUNT_GARBAGE_CHANNEL, COUNT_GARBAGE_STATE,
};

struct turn_other {
	struct sy_choice kind;
	struct sy_pool pool;
};

struct turn_conf {
	struct sy_rate unauthenticated_rate;
	struct sy_msec relief;
	bool multiplexed;
	struct sy_blocks other;   /* of struct turn_other */
	uint32_t pool_of[4];      /* by enum turn_kind; 0: not given */
};

/* What a connection may carry besides TURN. */
enum turn_kind { TURN_OTHER_TLS, TURN_OTHER_HTTP, TURN_OTHER_SIP, TURN_OTHER_ANY };

struct turn_question {
	uint8_t tid[STUN_TID];
	uint8_t method;           /* enum stun_method; 0: none */
	bool release;             /* LIFETIME 0 was asked for */
};

enum turn_framing { TURN_UNKNOWN, TURN_FRAMED_RFC, TURN_FRAMED_MS, TURN_PSEUDO_TLS, TURN_TUNNEL };

struct turn_state {
	uint64_t expires_ms;      /* of the allocation */
	struct turn_question asked[TURN_ASKED];
	uint8_t next;             /* of asked[], to be written over */
	uint8_t framing;          /* enum turn_framing; streams only */
	uint8_t user_len;
	bool begun;               /* the first datagram, or the first bytes, were looked at */
	bool inherited;           /* the flow is older than what we know of it */
	bool raw;                 /* [MS-TURN]: an active destination is set, anything may come */
	bool rfc;                 /* the client has said something of the RFCs' TURN */
	bool routed;              /* streams: the core was asked for a server */
	bool greeted, answered;   /* pseudo-TLS: the client's and the server's half were passed on */
	uint8_t user[TURN_USER];
};

/* What follows from a message, besides passing it on. */
struct turn_effect {
	bool fresh;               /* an Allocate of a client that has none yet */
	bool unproven;            /* nobody knows yet who it is */
	bool overloaded;          /* the server said so */
	uint32_t lifetime_ms;     /* 0: nothing new */
};

/* allocation.c: keeps the user's name, for the choice of a server. */
void turn_user(struct sy_session *session, struct sy_span user);
/* Takes notice of a message, in its direction. */
struct turn_effect turn_notice(struct sy_session *session, enum sy_side side, const struct stun *message);
/* Relayed bytes that are wrapped in a channel. */
/* For a flow that is older than what we know of it: relayed data tells of an allocation. Its lifetime, or 0. */
uint32_t turn_inherit(struct sy_session *session);
void turn_channel_data(struct sy_session *session, enum sy_side side, size_t bytes);
/* Ends the allocation when its time is over. */
void turn_expire(struct sy_session *session);

/* garbage.c: how it is counted, and said in words. */
enum turn_counter turn_flaw_counter(enum stun_flaw flaw);
const char *turn_flaw_words(enum stun_flaw flaw);

/* packet.c */
struct sy_packet_verdict turn_packet(struct sy_session *session, enum sy_side side, struct sy_span in);
/* stream.c */
struct sy_verdict turn_data(struct sy_session *session, enum sy_side side, uint32_t exchange,
                            struct sy_span in, bool eof);

#endif
