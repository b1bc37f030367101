/* Plays the core for protocol http: two sides whose bytes are shown to the module, verdicts that are
 * carried out to the letter, and what became of it all. */
#ifndef T_HTTP_H
#define T_HTTP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/protocol.h"

#ifndef PLAY_BYTES
#define PLAY_BYTES (1 << 20)
#endif

enum { PLAY_NOTES = 2048 };

struct play {
	const struct sy_protocol *ops;
	struct sy_session session;
	uint32_t counts[SY_COUNTERS];
	uint8_t *in[2];           /* what a side has said and nobody has consumed, by enum sy_side */
	size_t len[2];
	uint64_t pass[2];
	bool eof[2], again[2], told[2];
	size_t seen[2];           /* of what it said NEED */
	size_t coming[2];         /* said already, and not read yet */
	bool needs[2];
	char *heard[2];           /* what a side has been sent, with a NUL behind it */
	size_t heard_len[2];
	bool routed, closed, tunnel, pinned, spent;
	unsigned routes, ends, learns;
	uint64_t deadline_ms;     /* of the last NEED or PASS */
	const char *reason;       /* CLOSE */
	const char *broken;       /* what the module must not do */
	char facts[PLAY_NOTES];   /* of the last ROUTE: "METHOD host path pool" */
	char learnt[PLAY_NOTES];  /* the last LEARN */
};

static inline void
play_open(struct play *play, const struct sy_module *module, const void *conf)
{
	memset(play, 0, sizeof(*play));
	play->ops = module->ops;
	play->session.conf = conf;
	play->session.state = calloc(1, play->ops->session_size);
	play->session.count = play->counts;
	play->session.service_name = "web";
	play->session.facts.client = (struct sy_addr){ .ip = { 192, 0, 2, 7 }, .port = 40000,
	                                               .family = SY_IPV4 };
	play->session.facts.service = (struct sy_addr){ .ip = { 192, 0, 2, 1 }, .port = 443,
	                                                .family = SY_IPV4 };
	for (unsigned side = 0; side < 2; side++) {
		play->in[side] = malloc(PLAY_BYTES);
		play->heard[side] = calloc(1, PLAY_BYTES);
	}
	if (play->ops->open)
		play->ops->open(&play->session);
}

static inline void
play_close(struct play *play)
{
	if (play->ops->close)
		play->ops->close(&play->session);
	for (unsigned side = 0; side < 2; side++) {
		free(play->in[side]);
		free(play->heard[side]);
	}
	free(play->session.state);
}

static inline void
play_send(struct play *play, unsigned to, struct sy_span bytes)
{
	if (bytes.len >= PLAY_BYTES - play->heard_len[to])
		bytes.len = PLAY_BYTES - play->heard_len[to] - 1;
	if (bytes.len)
		memcpy(play->heard[to] + play->heard_len[to], bytes.at, bytes.len);
	play->heard_len[to] += bytes.len;
	play->heard[to][play->heard_len[to]] = '\0';
}

static inline void
play_use(struct play *play, unsigned side, size_t n)
{
	memmove(play->in[side], play->in[side] + n, play->len[side] - n);
	play->len[side] -= n;
}

/* What has been asked for: nothing is kept of a side when the connection is used again. */
static inline void
play_forget(struct play *play)
{
	for (unsigned side = 0; side < 2; side++) {
		play->heard_len[side] = 0;
		play->heard[side][0] = '\0';
	}
}

static inline void
play_note(char *out, struct sy_span text)
{
	size_t len = strlen(out), n = text.len < PLAY_NOTES - 2 - len ? text.len : PLAY_NOTES - 2 - len;

	if (n)
		memcpy(out + len, text.at, n);
	out[len + n] = '\0';
}

static inline void
play_route(struct play *play)
{
	const struct sy_facts *facts = &play->session.facts;
	char pool[16];

	snprintf(pool, sizeof(pool), " %u", facts->pool);
	play->facts[0] = '\0';
	play_note(play->facts, facts->method);
	play_note(play->facts, sy_span(" ", 1));
	play_note(play->facts, facts->host);
	play_note(play->facts, sy_span(" ", 1));
	play_note(play->facts, facts->path);
	play_note(play->facts, sy_span_text(pool));
	play->routed = true;
	play->routes++;
	play->session.server_name = "s1";
}

static inline void
play_break(struct play *play, const char *words)
{
	play->broken = words;
	play->closed = true;
}

/* Between two exchanges the core leaves a server that says something, and a client that is pinned to it;
 * the next request goes to another connection. */
static inline void
play_leave_server(struct play *play)
{
	bool speaks = play->len[SY_SERVER] || play->coming[SY_SERVER];

	play->len[SY_SERVER] = play->coming[SY_SERVER] = 0;
	if (play->pinned && !play->spent && speaks) {
		play->closed = true;
		play->reason = "the server speaks, and nobody has asked";
	}
}

static inline void
play_end(struct play *play, const struct sy_verdict *verdict)
{
	if (!play->routed)
		play_break(play, "END without an exchange");
	if (play->pass[SY_CLIENT] || play->pass[SY_SERVER])
		play_break(play, "END while something is still to pass");
	play->routed = false;
	play->spent = verdict->spent;
	play->ends++;
	memset(play->needs, 0, sizeof(play->needs));
	play->again[SY_SERVER] = false;
	play->again[SY_CLIENT] = true;
	if (play->len[SY_SERVER] && !verdict->spent)
		play_break(play, "bytes of a server are left, and its connection is kept");
	if (play->spent || !play->pinned || play->coming[SY_SERVER])
		play_leave_server(play);
}

/* True: the module wants to be asked again. */
static inline bool
play_obey(struct play *play, unsigned side, const struct sy_verdict *verdict)
{
	bool consumes = verdict->what == SY_DROP || verdict->what == SY_EMIT;

	if (consumes && verdict->n > play->len[side])
		play_break(play, "more is consumed than there is");
	if (play->closed)
		return false;
	switch (verdict->what) {
	case SY_NEED:
		play->needs[side] = true;
		play->seen[side] = play->len[side];
		play->deadline_ms = verdict->deadline_ms;
		if (play->len[side] >= play->ops->window && !(side == SY_CLIENT && play->routed))
			play_break(play, "the window is full");
		return false;
	case SY_ROUTE:
		if (play->routed)
			play_break(play, "ROUTE before END");
		play_route(play);
		return true;
	case SY_PASS:
		if (!play->routed || !verdict->n)
			play_break(play, "PASS of nothing, or to nobody");
		play->deadline_ms = verdict->deadline_ms;
		play->pass[side] = verdict->n;
		return true;
	case SY_DROP:
		play_use(play, side, verdict->n);
		return true;
	case SY_EMIT:
		if (verdict->to == SY_SERVER && !play->routed)
			play_break(play, "EMIT to a server that is not there");
		if (verdict->to == SY_CLIENT && play->routed == (verdict->reason != NULL))
			play_break(play, "an answer of our own without a reason, or a server's with one");
		play_send(play, verdict->to, verdict->bytes);
		play_use(play, side, verdict->n);
		return true;
	case SY_END:
		play_end(play, verdict);
		return true;
	case SY_PIN:
		play->pinned = true;
		return true;
	case SY_TUNNEL:
		play->tunnel = true;
		return false;
	case SY_CLOSE:
		play_send(play, SY_CLIENT, verdict->bytes);
		play->closed = true;
		play->reason = verdict->reason;
		return false;
	case SY_LEARN:
		play->learns++;
		play->learnt[0] = '\0';
		play_note(play->learnt, verdict->bytes);
		return true;
	case SY_OPEN:
	case SY_FINISH:
		break;
	}
	play_break(play, "a verdict that is not for it");
	return false;
}

static inline bool
play_passes(struct play *play, unsigned side)
{
	size_t n = play->len[side] < play->pass[side] ? play->len[side] : (size_t)play->pass[side];

	if (n) {
		play_send(play, !side, sy_span(play->in[side], n));
		play_use(play, side, n);
		play->pass[side] -= n;
	}
	return play->pass[side] > 0;
}

/* Shows one side once. True: something has happened. */
static inline bool
play_show(struct play *play, unsigned side)
{
	bool news = play->again[side] || (play->eof[side] && !play->told[side]) ||
	            (play->len[side] && !(play->needs[side] && play->seen[side] == play->len[side]));
	struct sy_verdict verdict;
	uint8_t *exact;

	if (play->tunnel) {
		news = play->len[side] > 0;
		play_send(play, !side, sy_span(play->in[side], play->len[side]));
		play_use(play, side, play->len[side]);
		return news;
	}
	if (side == SY_SERVER && !play->routed)
		return false;
	if (play->pass[side] && play_passes(play, side)) {
		/* The core says it itself when a body is cut. */
		if (play->eof[side] && play->pass[side] < UINT64_MAX / 2)
			play->closed = true, play->reason = "cut";
		if (!play->eof[side] || play->told[side])
			return false;
	} else if (!news && !play->again[side]) {
		return false;
	}
	play->again[side] = play->needs[side] = false;
	play->told[side] = play->eof[side];
	if (play->closed)
		return false;
	/* A copy that ends where the bytes end, so that a sanitizer sees who reads on. */
	exact = malloc(play->len[side] + 1);
	memcpy(exact, play->in[side], play->len[side]);
	verdict = play->ops->data(&play->session, side ? SY_SERVER : SY_CLIENT, 0,
	                          sy_span(exact, play->len[side]), play->eof[side]);
	play->again[side] = play_obey(play, side, &verdict);
	free(exact);
	return true;
}

static inline void
play_run(struct play *play)
{
	unsigned still = 0;

	while (!play->closed && (play_show(play, SY_CLIENT) || (!play->closed && play_show(play, SY_SERVER))))
		if (++still > 100000)
			play_break(play, "no end of it");
}

static inline void
play_say(struct play *play, unsigned side, const void *bytes, size_t len)
{
	if (len > PLAY_BYTES - play->len[side])
		len = PLAY_BYTES - play->len[side];
	memcpy(play->in[side] + play->len[side], bytes, len);
	play->len[side] += len;
	if (side == SY_SERVER && !play->routed)
		play_leave_server(play);
	play_run(play);
}

static inline void
play_leave(struct play *play, unsigned side)
{
	play->eof[side] = true;
	play_run(play);
}

/* Byte by byte, or all at once. */
static inline void
play_tell(struct play *play, unsigned side, const void *bytes, size_t len, bool slowly)
{
	const uint8_t *at = bytes;

	if (!slowly) {
		play_say(play, side, bytes, len);
		return;
	}
	/* All was said before the first of it is read: at the end of an exchange the core looks for more. */
	play->coming[side] = len;
	while (play->coming[side] && !play->closed) {
		play->coming[side]--;
		play_say(play, side, at++, 1);
	}
}

#endif
