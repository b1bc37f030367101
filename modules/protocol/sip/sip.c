#include "sip.h"

#include <stdlib.h>

#include "proxy.h"
#include "value.h"

static const char *const sip_modes[] = { "pass-through", "connection", "proxy", NULL };
static const char *const sip_expected[] = { "any", "tls", "sip", NULL };
static const char *const sip_paths[] = { "on", "supported", "off", NULL };
static const char *const sip_compressions[] = { "refuse", "opaque", NULL };

static const char *const sip_loads[] = { "connections", "registrations", "dialogs", "transactions", NULL };

static const struct sy_row sip_rows[] = {
	SY_ROW(struct sip_conf, mode, "mode", .words = sip_modes, .preset = "pass-through",
	       .doc = "How SIP is carried: pass-through leaves TLS between client and server and "
	              "looks at the first bytes only; connection reads every message of a "
	              "connection and alters none, with TLS ended by the listener; proxy balances "
	              "every request for itself, over TCP, TLS and UDP, as a SIP proxy that records "
	              "its route."),
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
	       .doc = "How long the rest of a message may take, in modes connection and proxy."),
	SY_ROW(struct sip_conf, body_limit, "body-limit", .max = UINT64_C(1) << 30, .preset = "1m",
	       .doc = "Longest body of a message in modes connection and proxy; presence documents "
	              "have some hundred kilobytes. In mode proxy a message has at most 60000 bytes."),
	SY_ROW(struct sip_conf, compression, "compression", .words = sip_compressions, .preset = "refuse",
	       .doc = "Microsoft's compression (NEGOTIATE) in mode connection: refuse answers "
	              "501, and the client goes on without; opaque lets server and client agree, "
	              "and nothing is known of the connection from then on."),
	SY_ROW(struct sip_conf, load, "load", .words = sip_loads, .preset = "connections",
	       .doc = "What schedulers count that go by the load of servers: connections, which in mode proxy "
	              "are requests with all that belongs to them; or, in modes connection and proxy, requests "
	              "without final answer (transactions), users that are registered (registrations) or "
	              "calls (dialogs). In mode proxy one that a server has set up counts if it came over "
	              "a connection of ours, or from an address that no other server has."),
	SY_ROW(struct sip_conf, retry_after_s, "retry-after", .max = 86400, .preset = "30",
	       .doc = "Seconds in Retry-After of our own 503 answers; 0: the field is left out."),
	SY_ROW(struct sip_conf, keep_dialogs, "keep-dialogs", .preset = "off",
	       .doc = "A drain waits until no call is set up over the connection, and not only "
	              "until no request is without answer; modes connection and proxy."),
	SY_ROW(struct sip_conf, key, "key",
	       .doc = "File with at least 16 bytes that prove in mode proxy that a Route or a branch "
	              "is ours. Machines that stand in for each other have the same one; without it "
	              "each start makes its own, and calls that are set up then lose their way."),
	SY_ROW(struct sip_conf, client_side, "client-side",
	       .doc = "What clients know this service by, in mode proxy: a name or an address, with "
	              "a port or without; without it, the address that the client connected to."),
	SY_ROW(struct sip_conf, server_side, "server-side", .flags = SY_PORT,
	       .doc = "Address and port of this service that servers are told in mode proxy (Via, "
	              "Record-Route, Path); without it, the ones that the client connected to, "
	              "which is no help where clients speak IPv6 and servers IPv4. It must have a "
	              "listener for the transport that servers are spoken to by."),
	SY_ROW(struct sip_conf, record_route, "record-route", .preset = "on",
	       .doc = "Mode proxy: later requests of a call come by here, too, and go to the server "
	              "that answered the first one."),
	SY_ROW(struct sip_conf, ring_timeout, "ring-timeout", .min = 1000, .max = SY_HOUR, .preset = "200s",
	       .doc = "How long an INVITE in mode proxy may ring after each provisional answer (RFC 3261 "
	              "16.6, Timer C: more than three minutes); then its server is told to CANCEL it."),
	SY_ROW(struct sip_conf, open_requests, "open-requests", .min = 1, .max = 16000, .preset = "1000",
	       .doc = "Mode proxy: requests without final answer that one client may have, which is a connection, "
	              "or an address and port over UDP; more are answered with 503. A trunk that carries the "
	              "calls of many has more of them than a phone."),
	SY_ROW(struct sip_conf, path, "path", .words = sip_paths, .preset = "on",
	       .doc = "Mode proxy: whether a REGISTER gets a Path (RFC 3327), by which requests for the "
	              "client find its connection: on; only if the client is one that says that it "
	              "supports path; or off."),
	SY_ROW(struct sip_conf, overload_control, "overload-control", .preset = "on",
	       .doc = "Mode proxy: servers are told that they may ask for less (RFC 7339, oc), and one "
	              "that does gets less of what is new."),
	SY_ROW_END
};

static int
sip_check_proxy(const struct sip_conf *conf, struct sy_err *err)
{
	size_t len = conf->client_side ? strlen(conf->client_side) : 0;

	/* Who has no business with the key sees the path alone. */
	if (conf->key.path && conf->key.content.at && conf->key.content.len < 16)
		return sy_fail(err, "key: %s has %zu bytes; at least 16 are needed", conf->key.path,
		               conf->key.content.len);
	if (conf->client_side && (len == 0 || len > 255 || strcspn(conf->client_side, " \t\r\n<>;,?@/\"") != len))
		return sy_fail(err, "client-side: \"%s\" is not a name or an address, with a port or without",
		               conf->client_side);
	if (conf->compression.index != SIP_COMPRESSION_REFUSE)
		return sy_fail(err, "compression: belongs to mode connection; what is compressed cannot be "
		               "balanced message by message");
	return 0;
}

static int
sip_check(void *settings, struct sy_err *err)
{
	const struct sip_conf *conf = settings;

	if (conf->mode.index != SIP_MODE_PROXY && (conf->key.path || conf->client_side || conf->server_side.family))
		return sy_fail(err, "key, client-side and server-side belong to mode proxy");
	if (conf->load.index != SIP_LOAD_CONNECTIONS && conf->mode.index == SIP_MODE_PASS)
		return sy_fail(err, "load: %s are not known of a server in mode %s", sip_loads[conf->load.index],
		               sip_modes[conf->mode.index]);
	if (conf->mode.index == SIP_MODE_PASS)
		return 0;
	if (conf->server_names.n)
		return sy_fail(err, "server-names: belongs to mode pass-through; in mode %s the names "
		               "are those of the listener's certificates", sip_modes[conf->mode.index]);
	if (conf->expect.index != SIP_EXPECT_ANY)
		return sy_fail(err, "expect: belongs to mode pass-through; in mode %s clients speak TLS "
		               "when the listener has tls, and SIP in clear otherwise",
		               sip_modes[conf->mode.index]);
	return conf->mode.index == SIP_MODE_PROXY ? sip_check_proxy(conf, err) : 0;
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

	if (conf->mode.index == SIP_MODE_PASS)
		return sip_pass(session, in);
	if (conf->mode.index == SIP_MODE_PROXY)
		return session->stream ? transaction_data(session, side, in, eof)
		                       : proxy_data(session, side, exchange, in, eof);
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

	if (conf->mode.index == SIP_MODE_PROXY && session->stream)
		verdict.bytes = transaction_fail(session, what, sip_failures[what].status);
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
	proxy_free(state->proxy);
	transaction_free(state->transaction);
	free(state->reply);
	free(state->said);
}

/* Mode proxy speaks UDP as it speaks TCP, by messages; the others know flows of datagrams. */
static uint32_t
sip_uses(const void *settings)
{
	const struct sip_conf *conf = settings;

	return conf->mode.index == SIP_MODE_PROXY ? SY_STREAMS | SY_SHARES | SY_FLOWS | SY_TRUNKS | SY_MESSAGES
	                                          : SY_STREAMS | SY_DATAGRAMS;
}

static const char *
sip_load(const void *settings)
{
	const struct sip_conf *conf = settings;

	return sip_loads[conf->load.index];
}

static const struct sy_protocol sip_ops = {
	.size = sizeof(sip_ops),
	.flags = SY_STREAMS | SY_DATAGRAMS | SY_SHARES | SY_FLOWS | SY_TRUNKS | SY_MESSAGES,
	.uses = sip_uses,
	.load_unit = "connections",
	.load = sip_load,
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
