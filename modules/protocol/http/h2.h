/* HTTP/2 towards clients. libnghttp2 reads and writes the frames; here each stream is made a request of
 * HTTP/1.1 for a session of its own (SY_OPEN, http.c), and that session's answer is made frames again.
 *
 * What the client sends is handed to libnghttp2 frame by frame, so that a flood is seen before it is
 * read, and what is to be done is done before more is read. The body of a request goes on from where it
 * lies; the body of an answer is read by libnghttp2 when the client's windows allow, and what is not
 * read stays with the core, which makes that stream's server wait and no other. */
#ifndef PROTOCOL_HTTP_H2_H
#define PROTOCOL_HTTP_H2_H

#include <nghttp2/nghttp2.h>

#include "http.h"

enum {
	H2_PREFACE = 24,
	H2_HEAD = 9,              /* of a frame */
	H2_CONTINUATIONS = 8,     /* frames that a block of fields may be spread over, besides the first */
	H2_PERIOD_MS = 10000,     /* in which what follows is counted */
	H2_RESETS = 100,          /* requests taken back, or broken, in a period */
	H2_GLITCHES = 600,        /* frames that bring nothing, in a period */
	H2_CREDIT = 98304,        /* of a request's body that may wait for its session; in chunks of a byte
	                           * each that is six times as much, and the core holds 1 MiB */
	H2_OUT = 65536,           /* frames that are written at once, about */
	H2_CUT = 64,              /* streams that we reset while the client had more to say, remembered */
	H2_FIELDS_EXTRA = 16384,  /* what a head may be longer than head-limit before the stream is reset */
};

enum h2_body { H2_NO_BODY, H2_LENGTH, H2_CHUNKS, H2_UNTIL_END };

struct h2_stream {
	struct h2_stream *next, *todo;
	int32_t id;
	bool open;                /* the core has a session for it */
	bool queued;              /* in h2.todo */
	bool must_open, must_end; /* to be told to the core */
	bool closed;              /* libnghttp2 has forgotten it */
	bool asked;               /* the request is complete */
	bool taken_back;          /* the client reset it */
	bool has_length, chunks, two_hosts, binds, trailing;
	bool answering, answered; /* the answer's head, all of the answer was given to libnghttp2 */
	bool deferred;            /* libnghttp2 waits for more of the answer */
	uint8_t body;             /* enum h2_body */
	uint64_t rest;            /* of it, H2_LENGTH */
	uint32_t owed;            /* bytes of the request's body that its session has not taken yet */
	struct chunked chunked;
	struct head_scan scan;
	struct out method, path, host, cookie;
	struct out fields;        /* of the request: of its head, then those of its end */
	struct out trailers;      /* of the answer */
	struct out server;        /* to be sent to the session */
};

struct h2 {
	nghttp2_session *ng;
	struct sy_session *session;
	struct h2_stream *streams, *todo, **todo_end;
	/* Where in the client's bytes we are. */
	uint32_t preface, head_len, left;
	uint8_t head[H2_HEAD];
	uint32_t block, continuations;
	/* The highest stream of the client's, and those of which it may not know yet that we reset them. */
	uint32_t last, cut[H2_CUT], n_cut;
	/* A piece of a request's body, in the client's bytes. */
	struct h2_stream *from;
	struct sy_span piece;
	/* What is there of an answer, and how much of it was taken. */
	struct h2_stream *feeding;
	struct sy_span feed;
	size_t fed;
	bool feed_eof;
	/* Abuse. */
	uint64_t period_ms;
	uint32_t resets, glitches;
	const char *abuse;        /* words; the connection is to be closed */
	bool reused;              /* the number of an earlier request was used again; the same */
	bool paused;              /* by a piece of a body */
	bool leaving, terminated;
	struct out out;
};

/* h2_answer.c. */
struct sy_verdict h2_answer(struct h2 *h2, struct h2_stream *stream, struct sy_span in, bool eof);
/* h2_guard.c. The head of a frame is there: what it may bring is counted, and abuse or reused set. */
void h2_guard(struct h2 *h2);
/* The client took a request back, or broke it. */
void h2_guard_reset(struct h2 *h2);
/* We reset a stream of which the client may have more to say. */
void h2_guard_cut(struct h2 *h2, uint32_t id);
/* h2.c. All frames that can be written now, into h2->out. */
void h2_frames(struct h2 *h2);
void h2_queue(struct h2 *h2, struct h2_stream *stream);

#endif
