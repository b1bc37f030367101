/* A protocol for tests of the way: each line is an exchange, answered by one line of the server that
 * its first word is for. Some words are for the module itself, so that each verdict occurs. */
#include "api/protocol.h"

enum phase { BETWEEN, ROUTED, ASKED, ANSWERED };

struct lines {
	enum phase phase;
	bool said_pin;
	uint8_t key[32];
};

static bool
lines_is(struct sy_span line, const char *word)
{
	return line.len > strlen(word) && memcmp(line.at, word, strlen(word)) == 0;
}

static struct sy_verdict
lines_refuse(const char *reason, const char *words)
{
	return (struct sy_verdict){ .what = SY_CLOSE, .bytes = sy_span_text(words), .reason = reason };
}

/* Words that never reach a server. */
static bool
lines_own(struct lines *lines, struct sy_span line, struct sy_verdict *out)
{
	if (lines_is(line, "hello"))
		*out = (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = line.len,
		                            .bytes = sy_span_text("hello yourself\n") };
	else if (lines_is(line, "drop"))
		*out = (struct sy_verdict){ .what = SY_DROP, .n = line.len };
	else if (lines_is(line, "quit"))
		*out = lines_refuse("the client said quit", "bye\n");
	else if (lines_is(line, "tunnel"))
		*out = (struct sy_verdict){ .what = SY_TUNNEL };
	else if (lines_is(line, "greedy"))
		*out = (struct sy_verdict){ .what = SY_DROP, .n = line.len + 1 };
	else if (lines_is(line, "early"))
		*out = (struct sy_verdict){ .what = SY_PASS, .n = line.len };
	else if (lines_is(line, "standstill"))
		*out = (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT };
	else if (lines_is(line, "end"))
		*out = (struct sy_verdict){ .what = SY_END };
	else if (lines_is(line, "pin") && !lines->said_pin)
		*out = (struct sy_verdict){ .what = SY_PIN };
	else
		return false;
	if (lines_is(line, "pin"))
		lines->said_pin = true;
	return true;
}

static struct sy_verdict
lines_client(struct sy_session *session, struct sy_span in)
{
	struct lines *lines = session->state;
	const uint8_t *end = memchr(in.at, '\n', in.len);
	struct sy_span line = sy_span(in.at, end ? (size_t)(end - in.at) + 1 : 0);
	const uint8_t *blank;
	struct sy_verdict verdict;
	size_t key;

	if (!end)
		return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = in.len ? 700 : 0 };
	switch (lines->phase) {
	case BETWEEN:
		if (lines_own(lines, line, &verdict))
			return verdict;
		blank = memchr(line.at, ' ', line.len);
		key = blank ? (size_t)(blank - line.at) : line.len - 1;
		key = key < sizeof(lines->key) ? key : sizeof(lines->key);
		memcpy(lines->key, line.at, key);
		session->facts.session = sy_span(lines->key, key);
		lines->phase = ROUTED;
		return (struct sy_verdict){ .what = SY_ROUTE };
	case ROUTED:
		lines->phase = ASKED;
		if (lines_is(line, "again"))
			lines->phase = ROUTED;
		if (lines_is(line, "again"))
			return (struct sy_verdict){ .what = SY_ROUTE };
		if (lines_is(line, "stamp"))
			return (struct sy_verdict){ .what = SY_EMIT, .to = SY_SERVER, .n = line.len,
			                            .bytes = sy_span_text("STAMPED\n") };
		return (struct sy_verdict){ .what = SY_PASS, .n = line.len };
	case ASKED:
	case ANSWERED:
		break;
	}
	return (struct sy_verdict){ .what = SY_NEED };
}

static struct sy_verdict
lines_server(struct sy_session *session, struct sy_span in)
{
	struct lines *lines = session->state;
	const uint8_t *end = memchr(in.at, '\n', in.len);

	if (lines->phase == ANSWERED) {
		lines->phase = BETWEEN;
		return (struct sy_verdict){ .what = SY_END };
	}
	if (lines->phase != ASKED || !end)
		return (struct sy_verdict){ .what = SY_NEED };
	lines->phase = ANSWERED;
	return (struct sy_verdict){ .what = SY_PASS, .n = (size_t)(end - in.at) + 1 };
}

static struct sy_verdict
lines_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in,
           bool eof)
{
	(void)exchange, (void)eof;
	return side == SY_CLIENT ? lines_client(session, in) : lines_server(session, in);
}

static const struct sy_protocol lines = {
	.size = sizeof(struct sy_protocol),
	.flags = SY_STREAMS,
	.load_unit = "requests",
	.session_size = sizeof(struct lines),
	.window = 200,
	.data = lines_data,
};

SY_MODULE(SY_PROTOCOL, "lines",
	.version = "1.0",
	.summary = "Lines, each an exchange.",
	.ops = &lines,
);
