/*
 * stream.h: one TCP or TLS connection that never blocks. Whoever polls it waits for what it wants
 * itself and for what `wants` says TLS needs besides.
 */
#ifndef LAB_STREAM_H
#define LAB_STREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/types.h>

#include "text.h"

/* What the calls below answer when it is not a number of bytes. */
enum {
	STREAM_END = 0,     /* the other side has said all that it had to say */
	STREAM_AGAIN = -1,  /* nothing now: wait */
	STREAM_FAILED = -2, /* reset, timed out, TLS refused...: the words are in err */
};

struct lab_stream {
	int fd;    /* -1: none */
	SSL *ssl;  /* NULL: plain TCP */
	int wants; /* EV_READ, EV_WRITE: what TLS waits for before it can go on */
};

/* Puts TLS on a connection whose descriptor is set; server says which side we are. */
int stream_secure(struct lab_stream *stream, SSL_CTX *tls, bool server, struct lab_err *err);

/* Goes on with the TLS handshake: 1 when done (at once for plain TCP), else as above. */
int stream_handshake(struct lab_stream *stream, struct lab_err *err);

ssize_t stream_read(struct lab_stream *stream, void *bytes, size_t len, struct lab_err *err);

ssize_t stream_write(struct lab_stream *stream, const void *bytes, size_t len, struct lab_err *err);

/* Says that we have no more to say: close_notify where there is TLS, then FIN. Reading goes on. */
void stream_finish(struct lab_stream *stream);

/* Closes and frees; with reset, the other side gets a RST instead of a FIN. */
void stream_close(struct lab_stream *stream, bool reset);

#endif
