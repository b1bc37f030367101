/* TLS by OpenSSL: contexts made of tls blocks when a generation is bound, and what is done with one
 * connection. Reading and writing is the way's (way/side_tls.c): here are certificates and their
 * choice, tickets, sessions with servers, and the words for what went wrong.
 *
 *	tls_context.c   policies, certificates, authorities
 *	tls_names.c     which certificates for which name
 *	tls_tickets.c   tickets of our own, with the board's keys
 *	tls_sessions.c  tickets of servers, to be used again
 *	tls_words.c     failures in words
 *	tls_park.c      connections at rest, small
 *
 * A context may serve connections until it is freed; those that are open keep what they need. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <openssl/ssl.h>

#include "api/addr.h"
#include "api/err.h"
#include "conf/tls.h"
#include "share/board.h"

struct tls_context;
struct tls_sessions;

/* What a worker's contexts share: copies of the ticket keys, sessions with servers, the system's
 * authorities. */
struct tls_shared *tls_shared_new(struct board *board);
void tls_shared_free(struct tls_shared *shared);

/* -1 with err, which names the place. */
struct tls_context *tls_context_new(const struct tls *tls, struct tls_shared *shared,
                                    struct sy_err *err);
void tls_context_free(struct tls_context *context);

/* A connection, with `bio` to read from and write to (taken over). NULL: no memory. To a server:
 * `host` is its name as written, or NULL; `key` tells servers apart for sessions. */
SSL *tls_accept(struct tls_context *context, BIO *bio);
SSL *tls_connect(struct tls_context *context, BIO *bio, const char *host,
                 const struct sy_addr *addr, uint64_t key);

/* Why a handshake or a record failed, from OpenSSL's errors (which are forgotten) and what is known
 * of the connection. `error`: errno, 0 for an end. */
enum { TLS_WORDS = 256 };
const char *tls_words(const SSL *ssl, int error, char out[static TLS_WORDS]);

/* The common name in the certificate that the peer showed, when it was verified; 0: none, or none
 * that fits. Ends with a NUL. */
size_t tls_common_name(const SSL *ssl, char *out, size_t size);
/* What the client asked for, in lower case; len 0: nothing. At most `size` bytes. */
size_t tls_sni(const SSL *ssl, char *out, size_t size);
/* The subject of the other side's certificate (RFC 4514), when it was verified; len 0: there is none,
 * or it does not fit. */
size_t tls_subject(const SSL *ssl, char *out, size_t size);

#endif
