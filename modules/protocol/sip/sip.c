#include "sip.h"

#include <stdlib.h>

#include "value.h"

static const char *const sip_modes[] = { "pass-through", "connection", NULL };
static const char *const sip_expected[] = { "any", "tls", "sip", NULL };
static const char *const sip_compressions[] = { "refuse", "opaque", NULL };

static const struct sy_row sip_rows[] = {
	SY_ROW(struct sip_conf, mode, "mode", .words = sip_modes, .preset = "pass-through",
	       .doc = "How SIP is carried: pass-through leaves TLS between client and server and "
	              "looks at the first bytes only; connection reads every message of a "
	              "connection and alters none, with TLS ended by the listener."),
	SY_ROW(struct sip_conf, expect, "expect", .words = sip_expected, .preset = "any",
	       .doc = "What clients must begin with in mode pass-through: a ClientHello (tls), a "
	              "request in clear (sip), or either of them (any)."),
	SY_ROW(struct sip_conf, server_names, "server-names",
	       .doc = "Names that a ClientHello may ask for in mode pass-through, such as "
	              "sip.example.com or *.example.com; other connections are closed; without "
	              "it, any name or none will do."),
	SY_ROW(struct sip_conf, header_timeout, "header-timeout", .min = 100, .max = SY_HOUR,
	       .preset = "10s",
	       .doc = "How long a client or server may take to complete a ClientHello or the "
	              "head of a message that it has begun."),
	SY_ROW(struct sip_conf, body_timeout, "body-timeout", .min = 100, .max = SY_HOUR, .preset = "30s",
	       .doc = "How long the rest of a message may take, in mode connection."),
	SY_ROW(struct sip_conf, body_limit, "body-limit", .max = UINT64_C(1) << 30, .preset = "1m",
	       .doc = "Longest body of a message in mode connection; presence documents have "
	              "some hundred kilobytes."),
	SY_ROW(struct sip_conf, compression, "compression", .words = sip_compressions, .preset = "refuse",
	       .doc = "Microsoft's compression (NEGOTIATE) in mode connection: refuse answers "
	              "501, and the client goes on without; opaque lets server and client agree, "
	              "and nothing is known of the connection from then on."),
	SY_ROW(struct sip_conf, retry_after_s, "retry-after", .max = 86400, .preset = "30",
	       .doc = "Seconds in Retry-After of our own 503 answers; 0: the field is left out."),
	SY_ROW(struct sip_conf, keep_dialogs, "keep-dialogs", .preset = "off",
	       .doc = "A drain waits until no call is set up over the connection, and not only "
	              "until no request is without answer; mode connection."),
	SY_ROW_END
};

static int
sip_check(void *settings, struct sy_err *err)
{
	const struct sip_conf *conf = settings;

	if (conf->mode.index == SIP_MODE_PASS)
		return 0;
	if (conf->server_names.n)
		return sy_fail(err, "server-names: belongs to mode pass-through; in mode connection the names "
		               "are those of the listener's certificates");
	if (conf->expect.index != SIP_EXPECT_ANY)
		return sy_fail(err, "expect: belongs to mode pass-through; in mode connection clients speak TLS "
		               "when the listener has tls, and SIP in clear otherwise");
	return 0;
}

/* Copies a text, as much as there is room for. */
static struct sy_span
sip_keep(struct sip_session *state, struct sy_span text)
{
	char *to = state->facts.text + state->facts.text_len;
	size_t room = SIP_TEXT - state->facts.text_len, len = text.len < room ? text.len : room;

	if (len)
		memcpy(to, text.at, len);
	state->facts.text_len += len;
	return sy_span(to, len);
}

void
sip_facts(struct sy_session *session, const struct sip_message *message)
{
	struct sip_session *state = session->state;
	struct sy_facts *facts = &session->facts;
	char *aor;
	size_t len;

	state->facts.text_len = 0;
	facts->method = sip_keep(state, message->method);
	facts->session = sip_keep(state, message->call_id.len > 160 ? sy_span(message->call_id.at, 160)
	                                                           : message->call_id);
	aor = state->facts.text + state->facts.text_len;
	len = sip_uri_aor(sip_uri(message->to), aor, 200 < SIP_TEXT - state->facts.text_len ? 200
	                  : SIP_TEXT - state->facts.text_len);
	state->facts.text_len += len;
	facts->user = sy_span(aor, len);
	facts->host = sip_keep(state, sip_uri_host(message->uri));
	facts->head = message->head;
	session->asked = (struct sy_asked){ .method = facts->method, .host = facts->host };
}

void
sip_answered(struct sy_session *session, const struct sip_message *message)
{
	if (!message->request && message->status >= 200 && !session->asked.status)
		session->asked.status = message->status;
}

struct sy_verdict
sip_refuse(struct sy_session *session, const char *reason)
{
	sy_count(session, COUNT_REFUSED, 1);
	return (struct sy_verdict){ .what = SY_CLOSE, .reason = reason };
}

static struct sy_verdict
sip_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in,
         bool eof)
{
	const struct sip_conf *conf = session->conf;

	(void)exchange, (void)eof;
	if (conf->mode.index == SIP_MODE_PASS)
		return sip_pass(session, in);
	return sip_connection(session, side, in);
}

static const struct {
	uint16_t status;
	const char *words;
} sip_failures[] = {
	[SY_FAIL_REFUSED] = { 503, "refused by a limit" },
	[SY_FAIL_NO_SERVER] = { 503, "no server" },
	[SY_FAIL_CONNECT] = { 503, "no server could be reached" },
	[SY_FAIL_BROKEN] = { 503, "the server left before it answered" },
	[SY_FAIL_LATE] = { 408, "the server did not answer in time" },
	[SY_FAIL_CLIENT_LATE] = { 408, "the client did not complete a message in time" },
	[SY_FAIL_WINDOW] = { 400, "a message that is too long" },
};

/* In mode pass-through there is nobody to tell. */
static struct sy_verdict
sip_fail(struct sy_session *session, enum sy_failure what)
{
	const struct sip_conf *conf = session->conf;
	struct sip_session *state = session->state;
	struct sy_verdict verdict = { .what = SY_CLOSE, .reason = sip_failures[what].words };

	if (conf->mode.index == SIP_MODE_CONNECTION && state->reply) {
		uint16_t status = sip_failures[what].status;

		session->asked.status = status;
		free(state->said);
		state->said = state->reply;
		state->reply = NULL;
		verdict.bytes = reply_say(state->said, status, status == 503 ? conf->retry_after_s : 0);
	}
	return verdict;
}

static void
sip_close(struct sy_session *session)
{
	struct sip_session *state = session->state;

	book_free(&state->book);
	free(state->reply);
	free(state->said);
}

static const struct sy_protocol sip_ops = {
	.size = sizeof(sip_ops),
	.flags = SY_STREAMS | SY_DATAGRAMS,
	.load_unit = "connections",
	.gauges = book_gauges,
	.counters = book_counters,
	.session_size = sizeof(struct sip_session),
	.window = SIP_WINDOW,
	.data = sip_data,
	.close = sip_close,
	.fail = sip_fail,
	.packet = sip_packet,
};

SY_MODULE(SY_PROTOCOL, "sip",
	.version = "1.0",
	.summary = "SIP over TLS, TCP and UDP, passed through or read message by message.",
	.conf_size = sizeof(struct sip_conf),
	.rows = sip_rows,
	.check = sip_check,
	.ops = &sip_ops);
