/* TLS that goes through unopened: the ClientHello says which server is meant (SNI) and what will be
 * spoken (ALPN), and that chooses the pool. The rest is relayed without the module. */
#include "api/hello.h"
#include "api/module.h"
#include "api/protocol.h"

enum { TLS_PASS, TLS_REFUSE };
static const char *const tls_policies[] = { "pass", "refuse", NULL };

struct tls_conf {
	struct sy_blocks routes;
	struct sy_choice unmatched, no_sni, not_tls;
	struct sy_msec require_hello;
};

struct tls_route {
	struct sy_list sni, alpn;
	struct sy_pool pool;
	bool refuse;
};

struct tls_state {
	struct sy_hello hello;
	bool routed;
};

enum { TLS_HELLOS, TLS_NO_SNI, TLS_ENCRYPTED, TLS_RESUMING, TLS_REFUSED, TLS_OTHER };
static const struct sy_figure tls_counters[] = {
	[TLS_HELLOS] = { "hellos", "ClientHellos that were read." },
	[TLS_NO_SNI] = { "hellos_without_name", "Those of them that name no server." },
	[TLS_ENCRYPTED] = { "hellos_encrypted",
	                    "Those of them that hide another hello (ECH): its outer name was used." },
	[TLS_RESUMING] = { "hellos_resuming", "Those of them that offer to resume a session." },
	[TLS_REFUSED] = { "hellos_refused", "ClientHellos refused by a rule, or as broken." },
	[TLS_OTHER] = { "not_tls", "Connections that began with something else than TLS." },
	{ .name = NULL },
};

/* ---- settings ---- */

static const struct sy_row tls_route_rows[] = {
	SY_ROW(struct tls_route, sni, "sni",
	       .doc = "Names of servers that the route is for: a name, *.example.net for all names "
	              "below it (not for itself), or * for any; without it, hellos that name no "
	              "server are meant, too."),
	SY_ROW(struct tls_route, alpn, "alpn",
	       .doc = "Protocols (ALPN) of which the client must offer one; without it, what it "
	              "offers does not matter."),
	SY_ROW(struct tls_route, pool, "pool",
	       .doc = "Pool that serves it; without it, the virtual service's own."),
	SY_ROW(struct tls_route, refuse, "refuse", .preset = "off",
	       .doc = "Refuses what the route is for instead of serving it."),
	SY_ROW_END
};

static const struct sy_row tls_rows[] = {
	SY_ROWS_IN(struct tls_conf, routes, "route", tls_route_rows, struct tls_route,
	           .doc = "Where connections go that name one of these servers, and offer one of "
	                  "these protocols; the first route that fits counts, as written."),
	SY_ROW(struct tls_conf, unmatched, "default", .words = tls_policies, .preset = "pass",
	       .doc = "What becomes of a named server that no route fits: pass, to the virtual "
	              "service's own pool, or refuse."),
	SY_ROW(struct tls_conf, no_sni, "no-sni", .words = tls_policies, .preset = "pass",
	       .doc = "What becomes of a hello that names no server, when no route fits: pass, to "
	              "the virtual service's own pool, or refuse."),
	SY_ROW(struct tls_conf, not_tls, "not-tls", .words = tls_policies, .preset = "refuse",
	       .doc = "What becomes of a client that speaks something else than TLS: refuse, or "
	              "pass, to the virtual service's own pool."),
	SY_ROW(struct tls_conf, require_hello, "require-hello", .min = 100, .max = SY_HOUR,
	       .preset = "10s",
	       .doc = "How long a ClientHello may take from its first byte to its last; "
	              "greet-timeout is for the time before."),
	SY_ROW_END
};

static char
tls_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
tls_same(const char *a, const char *b)
{
	while (*a && tls_lower(*a) == tls_lower(*b))
		a++, b++;
	return tls_lower(*a) == tls_lower(*b);
}

static int
tls_check_name(const char *name, struct sy_err *err)
{
	const char *c = name;

	if (strcmp(name, "*") == 0)
		return 0;
	if (strncmp(name, "*.", 2) == 0)
		c += 2;
	if (strlen(name) > 255 || !*c || *c == '.' || c[strlen(c) - 1] == '.')
		return sy_fail(err, "route: sni %s: a host name without a dot at its ends, "
		               "*.example.net or * is wanted", name);
	while (*c && strchr("abcdefghijklmnopqrstuvwxyz0123456789:-._", tls_lower(*c)))
		c++;
	if (!*c)
		return 0;
	return sy_fail(err, "route: sni %s: '%c' does not belong into a host name%s", name, *c,
	               *c == '*' ? "; * may only stand before the first dot" : "");
}

/* A name of a route that takes it whatever ALPN says is not reached in a later one. */
static int
tls_check_again(const struct tls_conf *conf, uint32_t here, const char *name, struct sy_err *err)
{
	const struct tls_route *route = conf->routes.at;

	for (uint32_t i = 0; i < here; i++)
		for (uint32_t k = 0; k < route[i].sni.n && route[i].alpn.n == 0; k++)
			if (tls_same(route[i].sni.at[k], name))
				return sy_fail(err, "route: sni %s is in an earlier route already, "
				               "which comes first and has no alpn", name);
	return 0;
}

static int
tls_check(void *conf, struct sy_err *err)
{
	const struct tls_conf *mine = conf;
	const struct tls_route *route = mine->routes.at;

	for (uint32_t i = 0; i < mine->routes.n; i++) {
		if (route[i].sni.n == 0 && route[i].alpn.n == 0)
			return sy_fail(err, "route: it needs sni, alpn or both; for all the rest "
			               "there are default and no-sni");
		if (route[i].refuse && route[i].pool.index)
			return sy_fail(err, "route: refuse and a pool contradict each other");
		for (uint32_t k = 0; k < route[i].sni.n; k++)
			if (tls_check_name(route[i].sni.at[k], err) < 0 ||
			    tls_check_again(mine, i, route[i].sni.at[k], err) < 0)
				return -1;
		for (uint32_t k = 0; k < route[i].alpn.n; k++)
			if (strlen(route[i].alpn.at[k]) > 255 || !*route[i].alpn.at[k])
				return sy_fail(err, "route: alpn: a name has 1 to 255 bytes");
	}
	return 0;
}

/* ---- choice ---- */

static bool
tls_names(const char *pattern, const char *name)
{
	size_t tail, len = strlen(name);

	if (*pattern != '*')
		return tls_same(pattern, name);
	tail = strlen(pattern + 1);
	return len > 0 && (tail == 0 || (len > tail && tls_same(pattern + 1, name + len - tail)));
}

static bool
tls_fits(const struct tls_route *route, const struct sy_hello *hello)
{
	bool fits = route->sni.n == 0;

	for (uint32_t i = 0; i < route->sni.n && !fits; i++)
		fits = tls_names(route->sni.at[i], hello->sni);
	if (!fits || route->alpn.n == 0)
		return fits;
	for (uint32_t i = 0; i < route->alpn.n; i++)
		if (sy_hello_offers(hello, sy_span_text(route->alpn.at[i])))
			return true;
	return false;
}

static const struct tls_route *
tls_find(const struct tls_conf *conf, const struct sy_hello *hello)
{
	const struct tls_route *route = conf->routes.at;

	for (uint32_t i = 0; i < conf->routes.n; i++)
		if (tls_fits(&route[i], hello))
			return &route[i];
	return NULL;
}

/* ---- verdicts ---- */

/* A client of TLS is told with an alert. */
static struct sy_verdict
tls_refuse(struct sy_session *session, uint8_t alert, const char *reason)
{
	static const uint8_t alerts[][7] = {
		{ 21, 3, 3, 0, 2, 2, 50 },  /* decode_error */
		{ 21, 3, 3, 0, 2, 2, 112 }, /* unrecognized_name */
	};

	sy_count(session, TLS_REFUSED, 1);
	return (struct sy_verdict){ .what = SY_CLOSE, .reason = reason,
	                            .bytes = sy_span(alerts[alert == 112], sizeof(alerts[0])) };
}

static struct sy_verdict
tls_route(struct sy_session *session)
{
	const struct tls_conf *conf = session->conf;
	struct tls_state *state = session->state;
	const struct sy_hello *hello = &state->hello;
	const struct tls_route *route = tls_find(conf, hello);
	size_t at = 0;

	sy_count(session, TLS_HELLOS, 1);
	sy_count(session, TLS_NO_SNI, hello->sni_len == 0);
	sy_count(session, TLS_ENCRYPTED, hello->encrypted);
	sy_count(session, TLS_RESUMING, hello->resumes);
	session->facts.sni = sy_span(hello->sni, hello->sni_len);
	session->facts.alpn = sy_hello_protocol(hello, &at);
	if (route && route->refuse)
		return tls_refuse(session, 112, "a route refuses the server name or protocol");
	if (!route && hello->sni_len == 0 && conf->no_sni.index == TLS_REFUSE)
		return tls_refuse(session, 112, "the client names no server, and no-sni is refuse");
	if (!route && hello->sni_len > 0 && conf->unmatched.index == TLS_REFUSE)
		return tls_refuse(session, 112, "no route fits the name, and default is refuse");
	session->facts.pool = route ? route->pool.index : 0;
	state->routed = true;
	return (struct sy_verdict){ .what = SY_ROUTE };
}

/* What it is instead, where its first bytes tell. */
static const char *
tls_other(struct sy_span in)
{
	static const struct { const char *begins, *words; } known[] = {
		{ "GET ", "the client speaks HTTP without TLS" },
		{ "POST ", "the client speaks HTTP without TLS" },
		{ "HEAD ", "the client speaks HTTP without TLS" },
		{ "OPTIONS sip", "the client speaks SIP without TLS" },
		{ "OPTIONS ", "the client speaks HTTP without TLS" },
		{ "PRI * HTTP/2", "the client speaks HTTP/2 without TLS" },
		{ "REGISTER ", "the client speaks SIP without TLS" },
		{ "INVITE ", "the client speaks SIP without TLS" },
		{ "SSH-", "the client speaks SSH" },
		{ "PROXY ", "a PROXY header from who is not in accept-proxy-from" },
		{ "\r\n\r\n", "a PROXY header from who is not in accept-proxy-from" },
		{ "\x03", "the client speaks RDP" },
	};

	for (unsigned i = 0; i < sizeof(known) / sizeof(*known); i++) {
		size_t len = strlen(known[i].begins);

		if (in.len >= len && memcmp(in.at, known[i].begins, len) == 0)
			return known[i].words;
	}
	return "the client does not speak TLS";
}

static struct sy_verdict
tls_not(struct sy_session *session, struct sy_span in)
{
	const struct tls_conf *conf = session->conf;
	struct tls_state *state = session->state;

	sy_count(session, TLS_OTHER, 1);
	if (conf->not_tls.index == TLS_REFUSE)
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = tls_other(in) };
	state->routed = true;
	return (struct sy_verdict){ .what = SY_ROUTE };
}

static struct sy_verdict
tls_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in,
         bool eof)
{
	const struct tls_conf *conf = session->conf;
	struct tls_state *state = session->state;

	(void)side, (void)exchange, (void)eof;
	if (state->routed)
		return (struct sy_verdict){ .what = SY_TUNNEL };
	switch (sy_hello_read(in, &state->hello)) {
	case SY_HELLO_MORE:
		break;
	case SY_HELLO_DONE:
		return tls_route(session);
	case SY_HELLO_NOT_TLS:
		return tls_not(session, in);
	case SY_HELLO_BAD:
		return tls_refuse(session, 50, state->hello.why);
	}
	return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = conf->require_hello.ms };
}

static const struct sy_protocol tls = {
	.size = sizeof(tls),
	.flags = SY_STREAMS | SY_FIRST_ONLY,
	.load_unit = "connections",
	.counters = tls_counters,
	.session_size = sizeof(struct tls_state),
	.window = SY_HELLO_WINDOW,
	.data = tls_data,
};

SY_MODULE(SY_PROTOCOL, "tls",
	.version = "1.0",
	.summary = "Passes TLS through unopened, to a pool chosen by the server name and the "
	           "protocols in the client's hello.",
	.conf_size = sizeof(struct tls_conf),
	.rows = tls_rows,
	.check = tls_check,
	.ops = &tls,
);
