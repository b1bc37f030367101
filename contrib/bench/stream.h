/*
 * A TCP connection, with TLS on it or without, that never blocks. After a call that answered
 * STREAM_WAIT, stream->want_write says which way the socket must become ready.
 */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct stream {
	int fd;   /* -1: none */
	SSL *ssl; /* NULL: plain TCP */
	bool want_write;
	const char *error; /* after STREAM_FAILED: what happened; never to be freed */
};

enum {
	STREAM_EOF = 0,
	STREAM_WAIT = -1,
	STREAM_FAILED = -2,
};

/* Bytes read, or STREAM_EOF, STREAM_WAIT, STREAM_FAILED. */
ssize_t
stream_read(struct stream *stream, void *buf, size_t len);

/* Bytes written (at least one), or STREAM_WAIT, STREAM_FAILED. */
ssize_t
stream_write(struct stream *stream, const void *buf, size_t len);

/* 1 when the handshake is over (at once for plain TCP), STREAM_WAIT or STREAM_FAILED. */
int
stream_handshake(struct stream *stream);

/* Says goodbye (TLS close_notify), closes and forgets. */
void
stream_close(struct stream *stream);

#endif
