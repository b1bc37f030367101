/*
 * Judges a reply while it arrives: origin's own format (wire.h), or HTTP with a patterned body.
 */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include "wire.h"

#define REPLY_HEADER_MAX 2048

struct reply {
	bool http;
	const char *cookie; /* name that a Set-Cookie must have; NULL: any or none */
	uint64_t id;
	uint64_t size;	   /* whole reply; HTTP: of the body, once the header is whole */
	uint64_t position; /* bytes judged so far; HTTP: of the body */
	bool in_body;
	size_t kept; /* bytes in header */
	union {
		struct wire_head head;
		char header[REPLY_HEADER_MAX];
	};
	const char *error; /* after REPLY_BAD */
};

enum reply_verdict { REPLY_MORE, REPLY_DONE, REPLY_BAD };

void
reply_expect_raw(struct reply *reply, uint64_t id, uint32_t size);

/* The cookie's name must stay valid. */
void
reply_expect_http(struct reply *reply, const char *cookie);

/* Takes the next bytes. Nothing may follow a reply: a proxy that sends more than was asked for is
 * as wrong as one that sends less. */
enum reply_verdict
reply_feed(struct reply *reply, const uint8_t *bytes, size_t len);

#endif
