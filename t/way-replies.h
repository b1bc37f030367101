/* What the protocols for tests of the way have in common: a line is a request, its answer is lines; the last one begins with
 * "ok" or, when the server's connection shall serve nobody else, with "bye". Connections to servers are
 * shared, and what fails is told. Lines for the module itself: "tell" says what it knows. */
#include "api/protocol.h"

#include <stdio.h>
#include <stdlib.h>

enum phase { BETWEEN, ROUTED, ASKED, ANSWERED };

struct replies {
	enum phase phase;
	bool spent, marked, learned, pinned;
	char key[32];
	char words[2048];
};

static bool
replies_is(struct sy_span line, const char *word)
{
	return line.len > strlen(word) && memcmp(line.at, word, strlen(word)) == 0;
}

static struct sy_verdict
replies_tell(struct sy_session *session, struct sy_span line)
{
	struct replies *replies = session->state;
	const struct sy_facts *facts = &session->facts;
	int n = snprintf(replies->words, sizeof(replies->words),
	                 "service=%s server=%s port=%u server_secure=%d secure=%d sni=%.*s alpn=%.*s "
	                 "subject=%.*s draining=%d stream=%d\n", session->service_name,
	                 session->server_name ? session->server_name : "none", session->server.port,
	                 session->server_secure, facts->secure, (int)facts->sni.len,
	                 (const char *)facts->sni.at, (int)facts->alpn.len,
	                 (const char *)facts->alpn.at, (int)facts->certificate.len,
	                 (const char *)facts->certificate.at, session->draining, session->stream);

	return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = line.len,
	                            .bytes = sy_span(replies->words, (size_t)n) };
}

static struct sy_verdict
replies_client(struct sy_session *session, struct sy_span in)
{
	struct replies *replies = session->state;
	const uint8_t *end = memchr(in.at, '\n', in.len);
	struct sy_span line = sy_span(in.at, end ? (size_t)(end - in.at) + 1 : 0);
	const uint8_t *blank;
	size_t len = 0;

	if (replies->phase == ASKED || replies->phase == ANSWERED || !end)
		return (struct sy_verdict){ .what = SY_NEED,
		                            .deadline_ms = in.len && !end ? 700 : 0 };
	if (replies->phase == BETWEEN) {
		if (replies_is(line, "tell"))
			return replies_tell(session, line);
		blank = memchr(line.at, ' ', line.len);
		if (blank)
			len = line.len - (size_t)(blank + 1 - line.at) - 1;
		len = len < sizeof(replies->key) ? len : sizeof(replies->key);
		if (blank)
			memcpy(replies->key, blank + 1, len);
		session->facts.session = sy_span(replies->key, len);
		session->facts.head = line;
		replies->phase = ROUTED;
		replies->marked = replies->learned = false;
		return (struct sy_verdict){ .what = SY_ROUTE };
	}
	if (replies_is(line, "pin") && !replies->pinned) {
		replies->pinned = true;
		return (struct sy_verdict){ .what = SY_PIN };
	}
	replies->phase = ASKED;
	if (replies_is(line, "body "))
		return (struct sy_verdict){ .what = SY_PASS, .deadline_ms = 700,
		                            .n = line.len + strtoul((const char *)line.at + 5, NULL, 10) };
	return (struct sy_verdict){ .what = SY_PASS, .n = line.len };
}

static struct sy_verdict
replies_server(struct sy_session *session, struct sy_span in, bool eof)
{
	struct replies *replies = session->state;
	const uint8_t *end = memchr(in.at, '\n', in.len);
	struct sy_span line = sy_span(in.at, end ? (size_t)(end - in.at) + 1 : 0);

	(void)eof;
	if (replies->phase == ANSWERED) {
		replies->phase = BETWEEN;
		return (struct sy_verdict){ .what = SY_END, .spent = replies->spent };
	}
	if (replies->phase != ASKED || !end)
		return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = in.len ? 2000 : 0 };
	if (replies_is(line, "learn ") && !replies->learned) {
		replies->learned = true;
		return (struct sy_verdict){ .what = SY_LEARN,
		                            .bytes = sy_span(line.at + 6, line.len - 7) };
	}
	if (session->mark.len && !replies->marked) {
		replies->marked = true;
		return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .bytes = session->mark };
	}
	replies->spent = replies_is(line, "bye");
	if (replies->spent || replies_is(line, "ok"))
		replies->phase = ANSWERED;
	return (struct sy_verdict){ .what = SY_PASS, .n = line.len };
}

static struct sy_verdict
replies_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in,
             bool eof)
{
	(void)exchange;
	return side == SY_CLIENT ? replies_client(session, in) : replies_server(session, in, eof);
}

static struct sy_verdict
replies_fail(struct sy_session *session, enum sy_failure what)
{
	static const char *const names[] = {
		[SY_FAIL_REFUSED] = "FAIL refused\n", [SY_FAIL_NO_SERVER] = "FAIL no-server\n",
		[SY_FAIL_CONNECT] = "FAIL connect\n", [SY_FAIL_BROKEN] = "FAIL broken\n",
		[SY_FAIL_LATE] = "FAIL late\n", [SY_FAIL_CLIENT_LATE] = "FAIL client-late\n",
		[SY_FAIL_WINDOW] = "FAIL window\n",
	};

	(void)session;
	return (struct sy_verdict){ .what = SY_CLOSE, .bytes = sy_span_text(names[what]) };
}
