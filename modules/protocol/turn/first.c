/* The first bytes of a connection: TURN, Microsoft's dialect of it with or without the hello that looks
 * like TLS, or something else that shares the port. */
#include "stream.h"

enum { TURN_LINE = 4096 };        /* in which a first line of text must end */

/* What is fixed in it: from, until, bytes. */
struct turn_fixed {
	unsigned at, len;
	uint8_t bytes[12];
};

static enum turn_guess
turn_match(struct sy_span in, const struct turn_fixed *fixed, size_t n, size_t whole)
{
	for (size_t i = 0; i < n; i++)
		for (unsigned j = 0; j < fixed[i].len; j++)
			if (fixed[i].at + j < in.len && in.at[fixed[i].at + j] != fixed[i].bytes[j])
				return TURN_NO;
	return in.len < whole ? TURN_MAYBE : TURN_YES;
}

enum turn_guess
turn_pseudo_hello(struct sy_span in)
{
	static const struct turn_fixed fixed[] = {
		{ 0, 11, { 0x16, 3, 1, 0, 0x2d, 1, 0, 0, 0x29, 3, 1 } },
		{ 43, 7, { 0, 0, 2, 0, 0x18, 1, 0 } },
	};

	return turn_match(in, fixed, 2, PSEUDO_HELLO);
}

enum turn_guess
turn_pseudo_answer(struct sy_span in)
{
	static const struct turn_fixed fixed[] = {
		{ 0, 11, { 0x16, 3, 1, 0, 0x4e, 2, 0, 0, 0x46, 3, 1 } },
		{ 43, 1, { 0x20 } },
		{ 76, 7, { 0, 0x18, 0, 0x0e, 0, 0, 0 } },
	};

	return turn_match(in, fixed, 3, PSEUDO_ANSWER);
}

/* Where it goes is configured, or it goes nowhere. */
static struct sy_verdict
turn_elsewhere(struct sy_session *session, enum turn_kind kind, const char *words)
{
	const struct turn_conf *conf = session->conf;
	struct turn_state *state = session->state;

	if (!conf->pool_of[kind])
		kind = TURN_OTHER_ANY;
	if (!conf->pool_of[kind])
		return turn_close(session, COUNT_GARBAGE_KIND, words);
	sy_count(session, COUNT_OTHER, 1);
	state->framing = TURN_TUNNEL;
	session->facts.pool = conf->pool_of[kind];
	return (struct sy_verdict){ .what = SY_TUNNEL };
}

static struct sy_verdict
turn_first_tls(struct sy_session *session, struct sy_span in)
{
	struct turn_state *state = session->state;

	switch (turn_pseudo_hello(in)) {
	case TURN_MAYBE:
		return turn_need();
	case TURN_YES:
		state->framing = TURN_PSEUDO_TLS;
		return turn_need();
	case TURN_NO:
		break;
	}
	return turn_elsewhere(session, TURN_OTHER_TLS,
	                      "TLS, and no `other tls` says where that goes");
}

static bool
turn_ends(struct sy_span line, const char *version)
{
	size_t len = strlen(version), digit = 1;

	while (line.len && (line.at[line.len - 1] == '\r' || line.at[line.len - 1] == ' '))
		line.len--;
	return line.len > len + digit && memcmp(line.at + line.len - len - digit, version, len) == 0;
}

/* Requests of HTTP and SIP begin alike; the end of the first line tells. */
static struct sy_verdict
turn_first_text(struct sy_session *session, struct sy_span in)
{
	size_t most = in.len < TURN_LINE ? in.len : TURN_LINE;
	const uint8_t *end = memchr(in.at, '\n', most);

	for (size_t i = 0; i < (end ? (size_t)(end - in.at) : most); i++)
		if ((in.at[i] < ' ' && in.at[i] != '\r' && in.at[i] != '\t') || in.at[i] == 0x7f)
			return turn_elsewhere(session, TURN_OTHER_ANY, "neither STUN nor TURN");
	if (!end && in.len < TURN_LINE)
		return turn_need();
	if (end && turn_ends(sy_span(in.at, (size_t)(end - in.at)), " HTTP/1."))
		return turn_elsewhere(session, TURN_OTHER_HTTP,
		                      "HTTP, and no `other http` says where that goes");
	if (end && turn_ends(sy_span(in.at, (size_t)(end - in.at)), " SIP/2."))
		return turn_elsewhere(session, TURN_OTHER_SIP,
		                      "SIP, and no `other sip` says where that goes");
	return turn_elsewhere(session, TURN_OTHER_ANY, "neither STUN nor TURN");
}

/* A first STUN message has its cookie in the header, or (Microsoft's, in a frame) in the first attribute. */
static struct sy_verdict
turn_first_stun(struct sy_session *session, struct sy_span in)
{
	static const struct turn_fixed rfc[] = { { 4, 4, { 0x21, 0x12, 0xa4, 0x42 } } };
	static const struct turn_fixed ms[] = {
		{ 1, 1, { 0 } },
		{ 24, 8, { 0, 0x0f, 0, 4, 0x72, 0xc6, 0x4b, 0xc6 } },
	};
	struct turn_state *state = session->state;
	bool framed = in.at[0] == MS_FRAME_CONTROL;
	enum turn_guess guess = framed ? turn_match(in, ms, 2, 32) : turn_match(in, rfc, 1, 8);

	if (guess == TURN_YES)
		state->framing = framed ? TURN_FRAMED_MS : TURN_FRAMED_RFC;
	if (guess == TURN_NO)
		return turn_elsewhere(session, TURN_OTHER_ANY,
		                      "neither STUN nor TURN: no cookie of either dialect");
	return turn_need();
}

struct sy_verdict
turn_first(struct sy_session *session, struct sy_span in)
{
	if (in.at[0] == 0x16)
		return turn_first_tls(session, in);
	if (in.at[0] < 3)
		return turn_first_stun(session, in);
	if (in.at[0] >= 'A' && in.at[0] <= 'Z')
		return turn_first_text(session, in);
	return turn_elsewhere(session, TURN_OTHER_ANY, "neither STUN nor TURN, by the first byte");
}
