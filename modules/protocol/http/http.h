/* Protocol http: what its files share.
 *
 *	http.c       the module, and a connection of HTTP/1.x: which message is where
 *	request.c    the head of a request: what it asks, what becomes of it, how it goes to the server
 *	response.c   the head of an answer, how it goes to the client
 *	answer.c     answers of our own: pages, redirects, refusals
 *	rules.c      matches, and what they lead to; settings.c: the directives
 *	h2.c         HTTP/2 towards clients; each stream becomes a session of http.c; h2_answer.c: its answer,
 *	             h2_guard.c: abuse
 *	message.c chunked.c    the bytes of HTTP/1.x
 *	wanted.c out.c          comparing text, putting text together */
#ifndef PROTOCOL_HTTP_HTTP_H
#define PROTOCOL_HTTP_HTTP_H

#include "api/protocol.h"
#include "chunked.h"
#include "message.h"
#include "out.h"
#include "settings.h"

enum {
	HTTP_WINDOW = 262144,     /* the longest head that can be allowed */
	HTTP_ASKED = 192,         /* what is kept of a request for logs */
	HTTP_SLICE = 16384,       /* of a request's body, that must come within its time */
	HTTP_GRACE_MS = 10000,    /* what a slice may take besides */
	HTTP_JOIN = 16384,        /* so much of a body is sent in one piece with its head */
	HTTP_BLANKS = 4,          /* empty lines before a request */
};

/* What is counted; the order of figure names in http.c. */
enum http_counter {
	COUNT_GET, COUNT_HEAD, COUNT_POST, COUNT_PUT, COUNT_OPTIONS, COUNT_RPC, COUNT_OTHER,
	COUNT_1XX, COUNT_2XX, COUNT_3XX, COUNT_4XX, COUNT_5XX,
	COUNT_REFUSED_BAD, COUNT_REFUSED_LARGE, COUNT_REFUSED_LATE, COUNT_REFUSED_UNSUPPORTED,
	COUNT_DENIED, COUNT_REDIRECTED, COUNT_ANSWERED, COUNT_FAILED, COUNT_BAD_ANSWERS,
	COUNT_PINNED, COUNT_UPGRADES,
	COUNT_H2_CONNECTIONS, COUNT_H2_STREAMS, COUNT_H2_RESETS, COUNT_H2_ABUSE, COUNT_H2_SENT_BACK,
	HTTP_COUNTERS
};

enum http_gauge { GAUGE_PINNED, GAUGE_TUNNELS, GAUGE_H2_STREAMS, HTTP_GAUGES };

/* Where the request is, seen from us. */
enum asking {
	ASK_HEAD,                 /* its head is not there yet */
	ASK_ROUTED,               /* a server is being looked for */
	ASK_BODY,
	ASK_LAST,                 /* the last of it was let pass; that is done when we are asked again */
	ASK_DONE,                 /* all of it is with the server */
};

/* Where the answer is. */
enum answering {
	ANSWER_HEAD,
	ANSWER_LENGTH,            /* http->rest bytes of the body are not let pass yet */
	ANSWER_CHUNKS,
	ANSWER_UNTIL_END,         /* until the server closes */
	ANSWER_LAST,              /* as ASK_LAST */
	ANSWER_TUNNEL,            /* the head of a 101 is said */
	ANSWER_DONE,
};

struct h2;

/* A connection of a client, or a stream of one. */
struct http {
	uint8_t asking, answering;
	bool heard;               /* the client has said something */
	bool speaks_h2;           /* it speaks HTTP/2 */
	bool last;                /* the connection ends with this exchange */
	bool old;                 /* the client speaks HTTP/1.0 */
	bool head_only;           /* HEAD was asked */
	bool upgrade;             /* an upgrade was asked, and passed on */
	bool chunks;              /* the request comes in chunks */
	bool unhurried;           /* its body may take its time */
	bool pin, pinned;         /* must be pinned; the core was told */
	bool spent;               /* the server's connection is good for no other request */
	bool lost;                /* it is gone, and the client was pinned to it */
	bool learnt;              /* persistence was shown the answer */
	bool dechunk;             /* the answer's chunks are taken apart for HTTP/1.0 */
	uint8_t blanks;           /* empty lines before the request */
	struct head_scan scan[2]; /* by enum sy_side */
	struct chunked chunked[2];
	uint64_t left;            /* of the request's body, that was not let pass yet */
	uint64_t rest;            /* the same of the answer's */
	uint64_t body;            /* so much of a body in chunks has come */
	const struct rule *rule;  /* that the request matched; NULL: none */
	char *kept;               /* the request's head as it came, and what facts point to besides */
	size_t head_len;          /* of it */
	struct out request;       /* the head for the server */
	struct out out;           /* what is said to the client */
	struct h2 *h2;            /* the connection speaks HTTP/2 */
	char asked[HTTP_ASKED];
};

static inline const struct http_conf *
http_conf(const struct sy_session *session)
{
	return session->conf;
}

static inline struct sy_verdict
http_need(uint64_t deadline_ms)
{
	return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = deadline_ms };
}

/* request.c: a whole head. ROUTE, or what becomes of it instead. */
struct sy_verdict request_begin(struct sy_session *session, struct sy_span head);
/* Connection-bound authentication: NTLM, Negotiate. */
bool request_binds(struct sy_span credentials);
struct head_limits request_limits(const struct http_conf *conf);

/* response.c: a whole head of an answer. */
struct sy_verdict response_begin(struct sy_session *session, struct sy_span in);

/* answer.c. An answer of our own; the connection ends with it. reason: for the log, a constant string. */
struct sy_verdict answer_close(struct sy_session *session, uint32_t status, const char *reason);
/* The same because the message was refused: counted. */
struct sy_verdict answer_refuse(struct sy_session *session, uint32_t status, const char *reason);
/* An answer of our own to a request without body, whose head is n bytes: the connection may go on. */
struct sy_verdict answer_say(struct sy_session *session, size_t n, bool more, uint32_t status,
                             const char *location, struct sy_span body, const char *path,
                             const char *reason);
void http_count_status(struct sy_session *session, uint32_t status);
const char *http_phrase(uint32_t status);

/* http.c: the exchange is over; nothing of it is kept. */
void http_forget(struct sy_session *session);
/* PIN is to be said before anything else. */
bool http_must_pin(struct sy_session *session);

/* h2.c. */
bool h2_preface(struct sy_span in, bool *whole);
struct sy_verdict h2_data(struct sy_session *session, enum sy_side side, uint32_t exchange,
                          struct sy_span in, bool eof);
void h2_close(struct sy_session *session);
struct sy_verdict h2_fail(struct sy_session *session, enum sy_failure what);

#endif
