/* A protocol for tests of the way: many exchanges at once, each of lines as in way-replies.h. Frames are
 * a letter, the number of the exchange and a length, four bytes each, and as many bytes.
 *
 * From the client: O opens (with first bytes), D says more, F has said all, R wants no more of it, W
 * allows as many bytes of the answer as its length says (exchanges from 1000 on begin with none).
 * To it: D says, T has taken all, E has ended, X has ended in the middle. */
#include "way-replies.h"

enum { MANY = 256, HEAD = 9, PIECE = 8192 };

struct many {
	union {
		struct replies replies; /* of an exchange */
		struct {
			uint32_t number, credit;
			bool used, unlimited, said, ended;
		} at[MANY];
	};
	uint8_t words[HEAD + PIECE];
	uint8_t then;             /* the letter of the client's frame that is carried out in two steps */
};

static uint32_t
many_number(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static struct sy_verdict
many_frame(struct many *many, char letter, uint32_t exchange, struct sy_span bytes, uint64_t n)
{
	uint8_t head[HEAD] = {
		(uint8_t)letter, (uint8_t)(exchange >> 24), (uint8_t)(exchange >> 16),
		(uint8_t)(exchange >> 8), (uint8_t)exchange, (uint8_t)(bytes.len >> 24),
		(uint8_t)(bytes.len >> 16), (uint8_t)(bytes.len >> 8), (uint8_t)bytes.len,
	};

	memcpy(many->words, head, HEAD);
	memcpy(many->words + HEAD, bytes.at, bytes.len);
	return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = n,
	                            .bytes = sy_span(many->words, HEAD + bytes.len) };
}

static unsigned
many_slot(const struct many *many, uint32_t exchange)
{
	for (unsigned i = 0; i < MANY; i++)
		if (many->at[i].used && many->at[i].number == exchange)
			return i;
	return MANY;
}

static struct sy_verdict
many_client(struct sy_session *session, struct sy_span in, bool eof)
{
	struct many *many = session->state;
	uint32_t exchange, len, i = 0;
	uint8_t letter = in.len ? in.at[0] : 0;

	(void)eof;
	if (in.len < HEAD)
		return (struct sy_verdict){ .what = SY_NEED };
	exchange = many_number(in.at + 1);
	len = many_number(in.at + 5);
	if (letter != 'W' && in.len < HEAD + len)
		return (struct sy_verdict){ .what = SY_NEED };
	if (letter == 'O' && !many->then) {
		while (i < MANY && many->at[i].used)
			i++;
		if (i == MANY)
			return (struct sy_verdict){ .what = SY_CLOSE, .reason = "too many exchanges" };
		many->at[i].used = true;
		many->at[i].said = many->at[i].ended = false;
		many->at[i].number = exchange;
		many->at[i].credit = 0;
		many->at[i].unlimited = exchange < 1000;
		many->then = letter;
		return (struct sy_verdict){ .what = SY_OPEN, .exchange = exchange };
	}
	if ((letter == 'F' || letter == 'R') && !many->then) {
		many->then = letter;
		i = many_slot(many, exchange);
		if (letter == 'R' && i < MANY)
			many->at[i].used = false;
		return (struct sy_verdict){ .what = letter == 'F' ? SY_FINISH : SY_END,
		                            .exchange = exchange };
	}
	many->then = 0;
	i = many_slot(many, exchange);
	if (letter == 'W' && i < MANY)
		many->at[i].credit += len;
	if (letter != 'O' && letter != 'D')
		return (struct sy_verdict){ .what = SY_DROP, .n = HEAD };
	if (i < MANY)
		many->at[i].said = true;
	return (struct sy_verdict){ .what = SY_EMIT, .to = SY_SERVER, .exchange = exchange,
	                            .n = HEAD + len, .bytes = sy_span(in.at + HEAD, len) };
}

static struct sy_verdict
many_server(struct sy_session *session, uint32_t exchange, struct sy_span in, bool eof)
{
	struct many *many = session->state;
	unsigned i = many_slot(many, exchange);
	size_t n = in.len < PIECE ? in.len : PIECE;

	if (i == MANY || many->at[i].ended) {
		if (i < MANY)
			many->at[i].used = false;
		return (struct sy_verdict){ .what = SY_END, .exchange = exchange };
	}
	if (in.len == 0 && eof) {
		many->at[i].ended = true;
		return many_frame(many, session->broken ? 'X' : 'E', exchange, in, 0);
	}
	if (many->at[i].said && session->waiting == 0) {
		many->at[i].said = false;
		return many_frame(many, 'T', exchange, sy_span(in.at, 0), 0);
	}
	if (!many->at[i].unlimited)
		n = n < many->at[i].credit ? n : many->at[i].credit;
	if (n == 0)
		return (struct sy_verdict){ .what = SY_NEED };
	if (!many->at[i].unlimited)
		many->at[i].credit -= (uint32_t)n;
	return many_frame(many, 'D', exchange, sy_span(in.at, n), n);
}

static struct sy_verdict
many_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in,
          bool eof)
{
	if (session->stream)
		return replies_data(session, side, exchange, in, eof);
	return side == SY_CLIENT ? many_client(session, in, eof)
	                         : many_server(session, exchange, in, eof);
}

static struct sy_verdict
many_fail(struct sy_session *session, enum sy_failure what)
{
	if (session->stream)
		return replies_fail(session, what);
	return (struct sy_verdict){ .what = SY_CLOSE };
}

static const struct sy_protocol many = {
	.size = sizeof(struct sy_protocol),
	.flags = SY_STREAMS | SY_SHARES,
	.load_unit = "requests",
	.session_size = sizeof(struct many),
	.window = 20000,
	.data = many_data,
	.fail = many_fail,
};

SY_MODULE(SY_PROTOCOL, "many",
	.version = "1.0",
	.summary = "Frames of many exchanges.",
	.ops = &many,
);
