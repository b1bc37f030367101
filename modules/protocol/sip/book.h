/* What is open on a connection: transactions both ways, registrations, dialogs. One table of entries
 * for each connection, made when there is something to remember and given back when there is not, so
 * that a quiet connection owns none.
 *
 * A message is put down when its head has come, before it is sent on. Keys are hashes; what one
 * connection says is counted for it alone, so there is nothing to gain from two keys that meet. */
#ifndef PROTOCOL_SIP_BOOK_H
#define PROTOCOL_SIP_BOOK_H

#include "api/protocol.h"
#include "message.h"

enum {
	BOOK_MOST = 8192,            /* entries; more are not remembered */
	BOOK_REQUEST_MS = 32000,     /* Timers B and F: 64 times T1 (RFC 3261 17.1) */
	BOOK_RINGING_MS = 200000,    /* an INVITE, after each provisional answer: more than Timer C (16.6) */
	BOOK_QUIET_MS = 35 * 60 * 1000, /* within a call: session timers ask every 30 min (RFC 4028) */
	BOOK_DIALOG_MS = 12 * 3600 * 1000,
	BOOK_EXPIRES_S = 3600,       /* of a registration that does not say */
	BOOK_SWEEP_MS = 5000,
	BOOK_SERVERS = 16,           /* of one client: what it has at more is counted for none */
};

enum book_gauge { GAUGE_REGISTRATIONS, GAUGE_TRANSACTIONS, GAUGE_DIALOGS };

enum book_count {
	COUNT_REGISTER, COUNT_INVITE, COUNT_ACK, COUNT_BYE, COUNT_CANCEL, COUNT_OPTIONS, COUNT_SUBSCRIBE,
	COUNT_NOTIFY, COUNT_MESSAGE, COUNT_SERVICE, COUNT_OTHER,
	COUNT_SERVER_INVITE, COUNT_SERVER_BYE, COUNT_SERVER_NOTIFY, COUNT_SERVER_MESSAGE,
	COUNT_SERVER_OTHER,
	COUNT_1XX, COUNT_2XX, COUNT_3XX, COUNT_4XX, COUNT_5XX, COUNT_6XX, COUNT_CHALLENGES,
	COUNT_CLIENT_2XX, COUNT_CLIENT_FAILURES,
	COUNT_FIRST_ANSWERS, COUNT_FIRST_ANSWER_MS, COUNT_FINAL_ANSWERS, COUNT_FINAL_ANSWER_MS,
	COUNT_UNANSWERED, COUNT_KEEPALIVES, COUNT_REFUSED,
};

extern const struct sy_figure book_gauges[], book_counters[];

struct book_entry;

/* Mode proxy keeps two books: each request has a session of its own, which counts, and the client's own
 * knows of registrations and dialogs. */
enum book_part { BOOK_ALL, BOOK_TRAFFIC, BOOK_STATE };

struct book {
	struct book_entry *entries;  /* NULL: none */
	uint32_t size, used;
	struct sy_held *held;        /* BOOK_SERVERS of them; NULL: nothing was anywhere yet */
	uint32_t at;                 /* sy_session.at of the server that the message in hand is said to, or comes
	                              * from; 0: nobody knows */
	uint8_t part;                /* enum book_part */
	uint64_t sweep_ms;           /* when what is too old is looked for again */
};

/* A message from one side: counts it, and sets the session's gauges. */
void book_message(struct book *book, struct sy_session *session, enum sy_side side,
                  const struct sip_message *message);
/* For how long the message makes others want to reach the client: a registration, a call. */
uint64_t book_lasts_ms(const struct sy_session *session, const struct sip_message *message);
/* Forgets what is too old. Cheap when called often. */
void book_sweep(struct book *book, struct sy_session *session);
void book_free(struct book *book);

#endif
