/* The chunked coding (RFC 9112 7.1), read piece by piece where it lies: what is framing, what is data,
 * where it ends. Strict: sizes in hexadecimal digits alone, lines that end with CR LF, extensions and
 * trailers within limits. */
#ifndef PROTOCOL_HTTP_CHUNKED_H
#define PROTOCOL_HTTP_CHUNKED_H

#include <stdbool.h>

#include "api/span.h"

enum {
	CHUNKED_LINE = 1024,         /* a size with its extensions */
	CHUNKED_EXTENSIONS = 16384,  /* all extensions of a message */
	CHUNKED_TRAILER = 8192,      /* one trailer field */
	CHUNKED_TRAILERS = 32768,    /* all of them */
};

/* Zeroed before the first piece. */
struct chunked {
	uint64_t left;            /* data of the chunk in hand that was not told yet */
	uint32_t extensions, trailers;
	uint8_t state;
};

enum chunk_what {
	CHUNK_MORE,               /* more bytes are needed */
	CHUNK_FRAME,              /* n bytes that are not data */
	CHUNK_DATA,               /* n bytes of data; never more than are there */
	CHUNK_TRAILER,            /* n bytes: a trailer field with its end */
	CHUNK_LAST,               /* n bytes, and the message is over */
	CHUNK_BAD,
};

struct chunk {
	enum chunk_what what;
	size_t n;
	const char *problem;
};

/* The first piece of what is there; it counts as consumed. */
struct chunk chunked_next(struct chunked *chunked, struct sy_span in);
/* Takes up to `most` bytes of data of the chunk in hand that are not there yet: they need not be looked
 * at when they come. Returns how many. */
uint64_t chunked_ahead(struct chunked *chunked, uint64_t most);

/* All pieces that are there, of a body that is passed on as it is. */
struct chunked_run {
	size_t n;                 /* bytes */
	uint64_t data;            /* of them */
	bool last;                /* and the message is over */
	const char *problem;      /* what follows makes no sense; NULL: it does */
};

struct chunked_run chunked_pass(struct chunked *chunked, struct sy_span in);

#endif
