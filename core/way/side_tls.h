/* TLS on one side of a connection. For the rest of the way it is a side like any other: what is read
 * is what was said, and what is written arrives; only that a read may have to wait until the socket
 * can be written, and the other way round, which side_tls_events() turns into what libev is asked.
 *
 * OpenSSL reads and writes through us. Records are read into one buffer of the worker, as many as
 * there are with one call, and handed on from there; only what could not be used before another
 * connection has its turn is kept, so an idle connection owns no buffer here either; and what OpenSSL
 * has of it is parked (net/tls_park.h) when nobody has used it for a while. */
#ifndef WAY_SIDE_TLS_H
#define WAY_SIDE_TLS_H

#include "net/tls.h"
#include "way/way.h"

struct side_tls {
	struct way *way;
	struct side *side;
	SSL *ssl;                 /* may be parked: side_tls_awake() gives it */
	struct tls_parked *parked;
	struct timer_entry rest;  /* armed unless it is parked */
	struct link under_way;    /* way.under_way, while counted: handshakes.c */
	struct timer_entry slow_timer; /* armed until it is slow */
	uint64_t used_ms;
	const char *version, *cipher; /* constants of OpenSSL's */
	char *sni;                /* what the client asked for; NULL: nothing */
	struct chunk *raw;        /* records, or parts of them, read and not used yet */
	struct chunk *flight;     /* a queue: records of the handshake, made and not sent yet */
	uint32_t stuck;           /* bytes of a write that OpenSSL wants to see again */
	int16_t error;            /* errno of the socket behind a failure */
	bool readable;            /* the socket may have more */
	bool ended;               /* the socket has no more */
	bool last;                /* what is written now leaves together with the end of the connection */
	bool counted;             /* among way.handshakes */
	bool slow;                /* its handshake takes long */
	bool secured;             /* the handshake is done: version, cipher, resumed, sni are known */
	bool resumed;
	bool read_wants_write, write_wants_read;
};

/* TLS, and the handshake is done. */
static inline bool
side_is_secured(const struct side *side)
{
	return side->tls && side->tls->secured;
}

enum { SIDE_TLS_RECORDS = 65536 }; /* bytes of records read from a socket at once */

enum side_secure {
	SECURE_DONE,
	SECURE_WAIT,
	SECURE_FAILED,            /* side_tls_words() */
};

/* Puts TLS on a side that has a socket. What was read from it already, and not used, is its first
 * bytes. False: no memory. */
bool side_tls_accept(struct conn *conn, const struct tls *tls);
bool side_tls_connect(struct conn *conn, const struct tls *tls);
enum side_secure side_tls_secure(struct side *side);
/* For a call of OpenSSL on the connection: it is there from here on, until the loop goes on. */
SSL *side_tls_awake(struct side_tls *tls);
/* What failed, in words; also after a read or write that failed with EPROTO. */
void side_tls_words(struct conn *conn, struct side *side);

/* As recv() and send(). EPROTO: it is OpenSSL who has something against it. */
ssize_t side_tls_read(struct side *side, uint8_t *to, size_t len);
ssize_t side_tls_write(struct side *side, struct sy_span bytes);
/* Sends our close_notify, now or when there is room. -1 with errno. */
int side_tls_end(struct side *side);
/* What TLS knows of the client. The words stay until it is asked for another connection. */
void side_tls_facts(struct conn *conn, struct sy_facts *facts);
/* "TLSv1.3 TLS_AES_128_GCM_SHA256 resumed"; NULL: the handshake is not done. */
const char *side_tls_summary(const struct side *side, char out[static 96]);
/* What libev must be asked for, so that the side can do what `events` want. */
int side_tls_events(const struct side_tls *tls, int events);
/* What libev said. */
void side_tls_ready(struct side_tls *tls, int events);
/* The side is in clear from here on, whatever comes. `orderly`: with a close_notify, if it can be
 * sent at once. */
void side_tls_drop(struct side *side, bool orderly);

/* side_tls_bio.c: the socket as OpenSSL sees it; taken over by the connection. NULL: no memory. */
BIO *side_tls_bio(struct side_tls *tls);
/* Sends the gathered flight, if there is one, and `bytes` behind it, in as few segments as can be. Returns
 * how many of `bytes` were taken; -1 with errno: none. */
ssize_t side_tls_send(struct side_tls *tls, struct sy_span bytes);
/* Moves what the worker's buffer holds into its owner's memory. False: no memory. */
bool side_tls_keep(struct way *way);

#endif
