/* Mode proxy: each request is balanced for itself (RFC 3261 16; WIRE.md 1.4).
 *
 *	client === P ---exchange--- T === server
 *	server === S ---exchange--- T' === P === client
 *
 * P is the session of a client's connection, or of its address when it speaks UDP. It reads messages, and
 * gives each request to a session T of its own, which chooses a server, says the request there with our Via
 * in front, and hears the answers (RFC 3261 17.1). P knows which requests are open: a CANCEL and an ACK
 * follow their INVITE, a datagram that comes again is answered again (17.2).
 *
 * A server reaches a client through the token that it finds in Record-Route or Path: it connects to the
 * service as a client does, and T' hands the request to the P whose flow the token names, in whatever
 * worker that is. The same way goes an answer that comes on another connection than its request.
 *
 * Nothing is known of a call but by those who are in the middle of a transaction: what the next one needs
 * to know comes with it (token.h). */
#ifndef PROTOCOL_SIP_PROXY_H
#define PROTOCOL_SIP_PROXY_H

#include "routing.h"
#include "sip.h"

enum {
	PROXY_MOST = 60000,       /* bytes of a message: with what we add, a window has room for it */
	PROXY_KEPT = 3096,        /* requests of one address that an answer is kept for, the last ones; besides
	                           * those that may be without one */
	PROXY_TRIES = 3,          /* servers that may say 503 */
	PROXY_BRANCH = TOKEN_MOST + 8,
	TIMER_T1_MS = 500, TIMER_T2_MS = 4000,          /* RFC 3261 17.1.1.1 */
	TIMER_T4_MS = 5000,
	TIMER_ACKED_MS = 2 * TIMER_T2_MS,               /* a success whose ACK was lost comes again before that */
	TIMER_B_MS = 64 * TIMER_T1_MS,                  /* and D, F, H, J, L; Timer C is a setting */
};

/* ---- calls.c: what P knows of the requests that are open ---- */

struct call {
	struct call *next;
	uint64_t key;             /* routing_transaction(), routing_asked() */
	uint64_t dialog;          /* of an INVITE: routing_dialog() */
	uint64_t due_ms;          /* when it is forgotten, if it is not open, and not said again any more */
	uint64_t again_ms;        /* when the answer is said again; 0: only when the request comes again */
	uint32_t pause_ms;
	uint32_t exchange;
	uint32_t at;              /* of one from outside: sy_session.at of the server that asks */
	uint16_t status;          /* of the final answer; 0: none yet */
	bool invite;
	bool outside;             /* a request to the client, of another session */
	bool open;                /* the exchange is */
	bool finished;            /* nothing will be said to it any more */
	bool acked;               /* a failure, and the client has said ACK; it says it again with each answer */
	struct reply *reply;      /* to an INVITE, until it has a final answer */
	struct reply *answer;     /* a final one, when it may be wanted again */
};

enum { CALLS_BUCKETS = 64 };

struct calls {
	struct call *bucket[CALLS_BUCKETS];
	uint32_t n, open;
	uint32_t turn;            /* of numbers for exchanges */
	uint64_t look_ms;         /* when something is due; 0: nothing ever */
};

struct call *calls_add(struct calls *calls, uint64_t key);
void calls_remove(struct calls *calls, struct call *call);
void calls_free(struct calls *calls);
struct call *calls_find(const struct calls *calls, uint64_t key, bool outside);
struct call *calls_find_exchange(const struct calls *calls, uint32_t exchange);
/* The INVITE that an ACK to a success belongs to. */
struct call *calls_find_dialog(const struct calls *calls, uint64_t dialog);
/* Its answer is said again, each time after twice as long, until due_ms (RFC 3261 17.2.1, Timers G and H). */
void calls_repeat(struct calls *calls, struct call *call, uint64_t now_ms);
/* It is over, but remembered until due_ms. */
void calls_rest(struct calls *calls, struct call *call);
/* Forgets the one that would be next. False: all are open. */
bool calls_spare(struct calls *calls);
/* Forgets what is over. One whose answer is to be said again now, or NULL. */
struct call *calls_due(struct calls *calls, uint64_t now_ms);

/* ---- proxy.c: P ---- */

struct proxy {
	struct calls calls;
	struct sip_scan scan;
	struct token_key key;
	uint32_t doing;           /* the exchange that `step` is about */
	uint32_t strayed;         /* one whose answer came by another one, and which waits no more; */
	bool has_strayed;         /* if there is one */
	uint8_t step;             /* enum proxy_step: what comes before the next message is looked at */
};

struct sy_verdict proxy_data(struct sy_session *session, enum sy_side side, uint32_t exchange,
                             struct sy_span in, bool eof);
void proxy_free(struct proxy *proxy);

/* ---- transaction.c: T ---- */

enum transaction_step {
	TRANSACTION_NEW,
	TRANSACTION_ROUTING,      /* the core chooses */
	TRANSACTION_SENT,         /* no final answer yet */
	TRANSACTION_ACCEPTED,     /* an INVITE had its 2xx; the ACK is to come */
	TRANSACTION_OVER,
};

struct transaction {
	struct token_key key;
	uint8_t *request;         /* as the client has said it */
	uint32_t head_len, len;
	char branch[PROXY_BRANCH];
	struct routing routing;   /* its spans are good while the request is read */
	struct book book;
	struct sy_addr avoid[PROXY_TRIES];
	uint64_t due_ms;          /* Timers B, C, F, L */
	uint64_t again_ms;        /* Timers A and E: the request is said again */
	uint32_t pause_ms;
	uint32_t retry_after_s;   /* of the last 503 */
	uint8_t n_avoid, step;
	bool invite, one_way;     /* one_way: an ACK, or an answer on its way back */
	bool to_flow;             /* to a client, and not to a server */
	bool consumed;            /* the request is no more among what the client says */
	bool provisional;         /* the server has said something */
	bool routed;              /* the core has a server for it, or looks for one */
	bool moves;               /* to another server */
	bool said;                /* the client has heard a part of the answer */
	bool acked;               /* the failure in hand has its ACK */
	bool confirmed;           /* the client's ACK of a success has come */
	bool cancelled, cancel_due, cancel_said;
};

struct sy_verdict transaction_data(struct sy_session *session, enum sy_side side, struct sy_span in, bool eof);
/* What the client is told when the core gives up; status: what others would be told. */
struct sy_span transaction_fail(struct sy_session *session, enum sy_failure what, unsigned status);
void transaction_free(struct transaction *t);
/* The request once more, for the server that was chosen. NULL: no memory. */
struct reply *transaction_again(struct sy_session *session, struct transaction *t);

/* ---- forward.c: what T says ---- */

/* Fields of the message that depend on the server are made for the one that was chosen. NULL: no memory. */
struct reply *forward_request(struct sy_session *session, struct transaction *t,
                              const struct sip_message *message, struct sy_span body);
/* The same branch again. */
struct reply *forward_cancel(struct sy_session *session, struct transaction *t);
/* To an answer from 300 on: ours to say (RFC 3261 17.1.1.3). Its To is the one of `like`, the answer or another ACK. */
struct reply *forward_ack(struct sy_session *session, struct transaction *t, const struct sip_message *like);
/* Without our Via. */
struct reply *forward_answer(const struct sip_message *message, struct sy_span body);
/* As it is, but for a Content-Length that may be missing. */
struct reply *forward_datagram(const struct sip_message *message, struct sy_span body);
/* How the client names us; see routing.h. */
void forward_self(const struct sy_session *session, const struct token_key *key, struct routing_self *out);

#endif
