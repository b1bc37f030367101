/* The answer to one HTTP/1.x request, as far as a monitor wants to know it: status, and what is in the
 * body. Bytes come from the first on, again and more each time; nothing is kept between calls.
 *
 * A monitor wants to know whether the server is alive, so it is lenient where a proxy must not be:
 * lines may end with LF alone, unknown fields are skipped. Interim answers (1xx) are skipped, too. */
#ifndef MONITOR_HTTP_ANSWER_H
#define MONITOR_HTTP_ANSWER_H

#include "api/span.h"

enum {
	ANSWER_HEAD_MOST = 64 * 1024,
	ANSWER_BODY_MOST = 64 * 1024,   /* so much of the body is searched */
	ANSWER_NEEDLE_MOST = 255,
};

enum answer_state {
	ANSWER_MORE,    /* the head is not complete */
	ANSWER_HEAD,    /* it is: all fields of struct answer are set */
	ANSWER_BAD,     /* this is no HTTP: problem says why */
};

struct answer {
	int status;                /* 200..999 */
	struct sy_span phrase;     /* behind the status; may be empty */
	struct sy_span body;       /* as received so far, chunk sizes and all */
	int chunked;
	uint64_t length;           /* of the body; UINT64_MAX: until the connection closes */
	const char *problem;
};

enum answer_found {
	ANSWER_NOT_YET,            /* there may be more */
	ANSWER_FOUND,
	ANSWER_NEVER,              /* the body is complete, or longer than what is searched */
	ANSWER_BROKEN,             /* its chunks make no sense */
};

/* bodiless: the request was HEAD. */
enum answer_state answer_read(struct sy_span in, int bodiless, struct answer *out);
/* Copies the body as it was meant, its first ANSWER_BODY_MOST bytes at most, to `out` (NULL: nowhere) and
 * sets *len. ANSWER_NEVER: that is all of it; ANSWER_NOT_YET: there may be more. */
enum answer_found answer_collect(const struct answer *answer, uint8_t *out, size_t *len, int closed);
/* Looks for bytes in the body, across the borders of chunks. closed: nothing will follow. */
enum answer_found answer_find(const struct answer *answer, struct sy_span needle, int closed);

#endif
