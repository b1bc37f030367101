/* A protocol for tests of the way: messages, which are lines over TCP and datagrams over UDP, and clients
 * that others can reach. A client says
 *
 *	name            and is told "name FLOW VIP SECRET" (hexadecimal, address and port, hexadecimal)
 *	answer N TEXT   TEXT is the answer to what came as "out N ..."; "part N TEXT": and more will follow
 *	end N           there is no answer to it
 *	keep MS         its session lives so long at least
 *	ping            nothing
 *	to FLOW TEXT    TEXT is for that client, which hears "out N TEXT"
 *
 * and anything else is a request for a server of the pool, which answers with a message. What has "once"
 * in front is not said to two servers, and one with "late" is waited for a second. When an exchange from outside ends, its client hears "gone N". */
#include "api/protocol.h"

#include <stdio.h>
#include <stdlib.h>

enum { WINDOW = 4000, WORDS = WINDOW + 200 };

struct reach {
	uint32_t exchange;        /* the last one that was opened */
	uint32_t number;          /* of the one that is answered */
	uint8_t then;             /* 'O': opened, 'F': to be finished, 'E': to be ended, 'A': asked */
	bool ended;               /* its client was told */
	bool late;
	uint8_t flow[SY_FLOW_MOST];
	char words[WORDS];
};

static struct sy_span
reach_message(const struct sy_session *session, struct sy_span in, bool datagram)
{
	const uint8_t *end = memchr(in.at, '\n', in.len);

	(void)session;
	if (datagram)
		return in;
	return sy_span(in.at, end ? (size_t)(end - in.at) + 1 : 0);
}

static bool
reach_is(struct sy_span message, const char *word)
{
	return message.len >= strlen(word) && memcmp(message.at, word, strlen(word)) == 0;
}

static size_t
reach_hex(struct sy_span bytes, char *out)
{
	for (size_t i = 0; i < bytes.len; i++)
		sprintf(out + 2 * i, "%02x", bytes.at[i]);
	return 2 * bytes.len;
}

static struct sy_verdict
reach_name(struct sy_session *session, size_t n)
{
	struct reach *reach = session->state;
	const uint8_t *ip = session->facts.service.ip;
	char *at = reach->words;

	at += sprintf(at, "name ");
	at += reach_hex(session->flow, at);
	at += sprintf(at, " %u.%u.%u.%u:%u ", ip[0], ip[1], ip[2], ip[3], session->facts.service.port);
	at += reach_hex(session->secret, at);
	at += sprintf(at, " datagram=%d\n", session->datagram);
	return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = n,
	                            .bytes = sy_span(reach->words, (size_t)(at - reach->words)) };
}

/* "answer N TEXT" */
static struct sy_verdict
reach_answer(struct reach *reach, struct sy_span message)
{
	const uint8_t *text = memchr(message.at, ' ', message.len);
	char *end;

	reach->number = text ? (uint32_t)strtoul((const char *)text, &end, 10) : 0;
	text = text ? (const uint8_t *)end + 1 : message.at;
	reach->then = reach_is(message, "answer") ? 'E' : 0;
	return (struct sy_verdict){ .what = SY_EMIT, .to = SY_SERVER, .exchange = reach->number,
	                            .n = message.len,
	                            .bytes = sy_span(text, (size_t)(message.at + message.len - text)) };
}

static struct sy_verdict
reach_client(struct sy_session *session, struct sy_span in)
{
	struct reach *reach = session->state;
	struct sy_span message = reach_message(session, in, session->datagram);
	uint8_t then = reach->then;

	reach->then = 0;
	if (then == 'E')
		return (struct sy_verdict){ .what = SY_END, .exchange = reach->number };
	if (then == 'F')
		return (struct sy_verdict){ .what = SY_FINISH, .exchange = reach->exchange };
	if (message.len == 0)
		return (struct sy_verdict){ .what = SY_NEED };
	if (then == 'O') {
		reach->then = 'F';
		return (struct sy_verdict){ .what = SY_EMIT, .to = SY_SERVER, .exchange = reach->exchange,
		                            .n = message.len, .bytes = message };
	}
	if (reach_is(message, "name"))
		return reach_name(session, message.len);
	if (reach_is(message, "answer ") || reach_is(message, "part "))
		return reach_answer(reach, message);
	if (reach_is(message, "end ")) {
		reach->number = (uint32_t)strtoul((const char *)message.at + 4, NULL, 10);
		reach->then = 'E';
		return (struct sy_verdict){ .what = SY_DROP, .n = message.len };
	}
	if (reach_is(message, "keep "))
		session->until_ms = session->now_ms + strtoul((const char *)message.at + 5, NULL, 10);
	if (reach_is(message, "keep ") || reach_is(message, "ping"))
		return (struct sy_verdict){ .what = SY_DROP, .n = message.len };
	if (reach_is(message, "need"))
		return (struct sy_verdict){ .what = SY_NEED };
	reach->then = 'O';
	reach->exchange = (reach->exchange + 1) & ~SY_FROM_OUTSIDE;
	return (struct sy_verdict){ .what = SY_OPEN, .exchange = reach->exchange };
}

/* What an exchange says, one message after the other. */
static struct sy_verdict
reach_exchange(struct sy_session *session, uint32_t exchange, struct sy_span in, bool eof)
{
	struct reach *reach = session->state;
	struct sy_span message = reach_message(session, in, false);
	size_t n = message.len < WINDOW ? message.len : WINDOW;
	int head;

	if (message.len == 0 && eof && (exchange < SY_FROM_OUTSIDE || reach->ended)) {
		reach->ended = false;
		return (struct sy_verdict){ .what = SY_END, .exchange = exchange };
	}
	if (message.len == 0 && !eof)
		return (struct sy_verdict){ .what = SY_NEED };
	if (exchange < SY_FROM_OUTSIDE)
		return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = message.len,
		                            .bytes = message };
	reach->ended = message.len == 0;
	head = sprintf(reach->words, reach->ended ? "gone %u%s\n" : "out %u ", exchange,
	               session->broken ? " broken" : "");
	memcpy(reach->words + head, message.at, n);
	return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = message.len,
	                            .bytes = sy_span(reach->words, (size_t)head + n) };
}

static size_t
reach_unhex(struct sy_span text, uint8_t out[static SY_FLOW_MOST])
{
	size_t n = 0;
	unsigned byte;

	for (; n < SY_FLOW_MOST && 2 * n + 1 < text.len; n++) {
		char two[3] = { (char)text.at[2 * n], (char)text.at[2 * n + 1], 0 };

		if (sscanf(two, "%2x", &byte) != 1)
			break;
		out[n] = (uint8_t)byte;
	}
	return n;
}

/* The session of one request: a line, which is routed, said, and answered with a message. */
static struct sy_verdict
reach_request(struct sy_session *session, struct sy_span in, bool eof)
{
	struct reach *reach = session->state;
	const uint8_t *text;
	size_t len = in.len;

	if (reach->then == 'A' || (!eof && !reach->then))
		return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = !reach->then ? 0 : reach->late ? 1000 : 20000 };
	if (len == 0)
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "nothing was asked" };
	text = reach_is(in, "to ") ? memchr(in.at + 3, ' ', len - 3) : NULL;
	if (!reach->then) {
		reach->then = 'R';
		session->once = reach_is(in, "once");
		session->facts.flow.len = 0;
		if (text)
			session->facts.flow = sy_span(reach->flow,
				reach_unhex(sy_span(in.at + 3, (size_t)(text - in.at) - 3), reach->flow));
		return (struct sy_verdict){ .what = SY_ROUTE };
	}
	reach->then = 'A';
	text = text ? text + 1 : in.at;
	reach->late = memcmp(text, "late", 4) == 0;
	return (struct sy_verdict){ .what = SY_EMIT, .to = SY_SERVER, .n = len,
	                            .bytes = sy_span(text, (size_t)(in.at + len - text)) };
}

static struct sy_verdict
reach_response(struct sy_session *session, struct sy_span in)
{
	struct reach *reach = session->state;
	struct sy_span message = reach_message(session, in, false);
	int n;

	if (reach->then == 'D') {
		reach->then = 'X';
		return (struct sy_verdict){ .what = SY_END };
	}
	if (message.len == 0 || reach->then != 'A')
		return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = reach->late ? 1000 : 20000 };
	if (reach_is(message, "more")) /* it is not the last one */
		return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = message.len, .bytes = message };
	reach->then = 'D';
	if (!reach_is(message, "where"))
		return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = message.len, .bytes = message };
	n = sprintf(reach->words, "where server=%s port=%u datagram=%d flow_service=%u\n",
	            session->server_name ? session->server_name : "none", session->server.port,
	            session->server_datagram, session->flow_service.port);
	return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = message.len,
	                            .bytes = sy_span(reach->words, (size_t)n) };
}

static struct sy_verdict
reach_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in, bool eof)
{
	if (session->stream)
		return side == SY_CLIENT ? reach_request(session, in, eof) : reach_response(session, in);
	return side == SY_CLIENT ? reach_client(session, in) : reach_exchange(session, exchange, in, eof);
}

static struct sy_verdict
reach_fail(struct sy_session *session, enum sy_failure what)
{
	static const char *const names[] = {
		[SY_FAIL_REFUSED] = "FAIL refused\n", [SY_FAIL_NO_SERVER] = "FAIL no-server\n",
		[SY_FAIL_CONNECT] = "FAIL connect\n", [SY_FAIL_BROKEN] = "FAIL broken\n",
		[SY_FAIL_LATE] = "FAIL late\n", [SY_FAIL_CLIENT_LATE] = "FAIL client-late\n",
		[SY_FAIL_WINDOW] = "FAIL window\n",
	};

	if (!session->stream && !session->datagram)
		return (struct sy_verdict){ .what = SY_CLOSE };
	return (struct sy_verdict){ .what = SY_CLOSE, .bytes = sy_span_text(names[what]) };
}

struct reach_conf {
	bool plain;
};

static const struct sy_row reach_rows[] = {
	SY_ROW(struct reach_conf, plain, "plain", .preset = "off", .doc = "Streams only, and nobody has a name."),
	SY_ROW_END
};

static uint32_t
reach_uses(const void *settings)
{
	const struct reach_conf *conf = settings;

	return conf->plain ? SY_STREAMS : SY_STREAMS | SY_MESSAGES | SY_FLOWS | SY_SHARES;
}

static const struct sy_protocol reach = {
	.size = sizeof(struct sy_protocol),
	.flags = SY_STREAMS | SY_MESSAGES | SY_FLOWS | SY_SHARES,
	.uses = reach_uses,
	.load_unit = "requests",
	.session_size = sizeof(struct reach),
	.window = WINDOW,
	.data = reach_data,
	.fail = reach_fail,
};

SY_MODULE(SY_PROTOCOL, "reach",
	.version = "1.0",
	.summary = "Messages, and clients that can be reached.",
	.conf_size = sizeof(struct reach_conf),
	.rows = reach_rows,
	.ops = &reach,
);
