/* protocol sip, without a network: what it says to bytes of both sides, whole or one by one, what it
 * counts, and what clients are told when things go wrong. The module is the one that would be
 * installed. */
#define _GNU_SOURCE 1
#include "module.h"

#include "api/protocol.h"

static struct arena *arena;

/* What the core does, as much as is wanted here: the bytes of both sides and where they went. */
struct core {
	struct used used;
	const struct sy_protocol *ops;
	struct sy_session session;
	uint32_t counts[SY_COUNTERS];
	struct { char bytes[20000]; size_t len, at; uint64_t pass; } side[2];
	char to[2][20000];        /* what was sent to each side */
	size_t to_len[2];
	bool routed, tunnel, closed;
	const char *reason;
	uint64_t deadline_ms;     /* of the last NEED or PASS */
};

static struct core *
core_of(const char *settings)
{
	struct core *core = arena_alloc(arena, sizeof(*core));

	core->used = module_use(arena, SY_PROTOCOL, "sip", settings, NULL, 0);
	core->ops = core->used.ops;
	core->session = (struct sy_session){
		.conf = core->used.conf, .count = core->counts, .now_ms = 1000, .service_name = "sip",
		.state = arena_alloc(arena, core->ops->session_size),
	};
	return core;
}

static void
core_send(struct core *core, enum sy_side to, const void *bytes, size_t len)
{
	if (len)
		memcpy(core->to[to] + core->to_len[to], bytes, len);
	core->to_len[to] += len;
	core->to[to][core->to_len[to]] = '\0';
}

static void
core_closes(struct core *core, const struct sy_verdict *verdict)
{
	core->closed = true;
	core->reason = verdict->reason;
	core_send(core, SY_CLIENT, verdict->bytes.at, verdict->bytes.len);
}

static void
core_show(struct core *core, enum sy_side side)
{
	for (unsigned turns = 0; turns < 500 && !core->closed; turns++) {
		size_t left = core->side[side].len - core->side[side].at, n = left;
		uint8_t *copy;
		struct sy_verdict verdict;

		if (core->tunnel || core->side[side].pass) {
			if (!core->tunnel && n > core->side[side].pass)
				n = (size_t)core->side[side].pass;
			core_send(core, side == SY_CLIENT ? SY_SERVER : SY_CLIENT,
			          core->side[side].bytes + core->side[side].at, n);
			core->side[side].at += n;
			core->side[side].pass -= core->tunnel ? 0 : n;
			if (core->tunnel || core->side[side].pass)
				return;
			left -= n;
		}
		copy = malloc(left + 1);
		memcpy(copy, core->side[side].bytes + core->side[side].at, left);
		verdict = core->ops->data(&core->session, side, 0, sy_span(copy, left), false);
		core->deadline_ms = verdict.deadline_ms;
		switch (verdict.what) {
		case SY_ROUTE:
			core->routed = true;
			break;
		case SY_PASS:
			core->side[side].pass = verdict.n;
			break;
		case SY_EMIT:
			core_send(core, verdict.to, verdict.bytes.at, verdict.bytes.len);
			core->side[side].at += (size_t)verdict.n;
			break;
		case SY_DROP:
			core->side[side].at += (size_t)verdict.n;
			break;
		case SY_TUNNEL:
			core->tunnel = true;
			break;
		case SY_CLOSE:
			core_closes(core, &verdict);
			break;
		case SY_NEED:
			free(copy);
			return;
		case SY_END: case SY_PIN: case SY_LEARN: case SY_OPEN: case SY_FINISH:
			bail_out("verdict %d", verdict.what);
		}
		free(copy);
	}
}

static void
says_bytes(struct core *core, enum sy_side side, const void *bytes, size_t len)
{
	memcpy(core->side[side].bytes + core->side[side].len, bytes, len);
	core->side[side].len += len;
	core_show(core, side);
}

static void
says(struct core *core, enum sy_side side, const char *text)
{
	says_bytes(core, side, text, strlen(text));
}

static void
core_ends(struct core *core)
{
	core->ops->close(&core->session);
}

static uint32_t
count(const struct core *core, const char *name)
{
	for (unsigned i = 0; core->ops->counters[i].name; i++)
		if (strcmp(core->ops->counters[i].name, name) == 0)
			return core->counts[i];
	bail_out("no counter %s", name);
}

static int
gauge(const struct core *core, const char *name)
{
	for (unsigned i = 0; core->ops->gauges[i].name; i++)
		if (strcmp(core->ops->gauges[i].name, name) == 0)
			return core->session.gauge[i];
	bail_out("no gauge %s", name);
}

/* ---- messages ---- */

static const char *
request(const char *method, unsigned cseq, const char *tags, const char *more)
{
	static char text[4][1500];
	static unsigned turn;
	char *out = text[++turn % 4];

	snprintf(out, sizeof(text[0]), "%s sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/TLS c:1;branch=z9hG4bK%s%u\r\n"
	         "Max-Forwards: 70\r\nFrom: <sip:alice@a.example>;tag=a1\r\nTo: <sip:bob@B.example>%s\r\n"
	         "Call-ID: call-1\r\nCSeq: %u %s\r\n%sContent-Length: 0\r\n\r\n",
	         method, method, cseq, tags, cseq, method, more);
	return out;
}

static const char *
response(unsigned status, const char *method, unsigned cseq, const char *more)
{
	static char text[4][1500];
	static unsigned turn;
	char *out = text[++turn % 4];

	snprintf(out, sizeof(text[0]), "SIP/2.0 %u X\r\nVia: SIP/2.0/TLS c:1;branch=z9hG4bK%s%u\r\n"
	         "From: <sip:alice@a.example>;tag=a1\r\nTo: <sip:bob@b.example>;tag=b1\r\n"
	         "Call-ID: call-1\r\nCSeq: %u %s\r\n%sContent-Length: 0\r\n\r\n",
	         status, method, cseq, cseq, method, more);
	return out;
}

#define CONNECTION "mode connection; "

/* ---- tests ---- */

static void
test_settings(void)
{
	static const struct { const char *settings, *problem; } wrong[] = {
		{ "mode tunnel;", "mode" },
		{ "mode connection; server-names a.example;", "listener's certificates" },
		{ "mode connection; expect tls;", "belongs to mode pass-through" },
		{ "header-timeout 0;", "header-timeout" },
		{ "retry-after 90000;", "retry-after" },
		{ "compression on;", "compression" },
	};
	char problems[1024];

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		module_use(arena, SY_PROTOCOL, "sip", wrong[i].settings, problems, sizeof(problems));
		has_str(problems, wrong[i].problem, "%s", wrong[i].settings);
	}
}

static void
test_call(void)
{
	struct core *core = core_of(CONNECTION);
	struct sy_facts *facts = &core->session.facts;
	static const char body[] = "v=0\r\n\r\nNOT sip:a SIP/2.0\r\n";
	char invite[2000];

	snprintf(invite, sizeof(invite), "%s", request("INVITE", 1, "", ""));
	memcpy(strstr(invite, "Length: 0") + 8, "26\r\n\r\n", 7);
	strcat(invite, body);
	says(core, SY_CLIENT, invite);
	ok(core->routed, "a request is routed");
	ok(facts->user.len == 13 && !memcmp(facts->user.at, "bob@b.example", 13), "by its user");
	ok(facts->session.len == 6 && !memcmp(facts->session.at, "call-1", 6), "by its Call-ID");
	ok(facts->host.len == 9 && !memcmp(facts->host.at, "b.example", 9), "by its host");
	ok(facts->method.len == 6 && !memcmp(facts->method.at, "INVITE", 6), "by its method");
	is_str(core->to[SY_SERVER], invite, "and sent on as it is");
	ok(core->session.busy, "busy: a request has no answer");
	core->session.now_ms += 40;
	says(core, SY_SERVER, response(180, "INVITE", 1, ""));
	ok(core->session.busy, "busy: a provisional answer is none");
	core->session.now_ms += 60;
	says(core, SY_SERVER, response(200, "INVITE", 1, ""));
	ok(!core->session.busy, "not busy: it is answered");
	is_int(gauge(core, "dialogs"), 1, "a call is set up");
	is_uint(count(core, "first_answer_ms"), 40, "after 40 ms came the first answer");
	is_uint(count(core, "final_answer_ms"), 100, "after 100 ms the final one");
	says(core, SY_CLIENT, request("ACK", 1, ";tag=b1", ""));
	ok(!core->session.busy, "nobody answers an ACK");
	/* The other one hangs up: From and To change places. */
	says(core, SY_SERVER, "BYE sip:alice@c SIP/2.0\r\nv: SIP/2.0/TLS s:1;branch=z9hG4bKx\r\n"
	     "f: <sip:bob@b.example>;tag=b1\r\nt: <sip:alice@a.example>;tag=a1\r\ni: call-1\r\nCSeq: 7 BYE\r\n"
	     "l: 0\r\n\r\n");
	is_int(gauge(core, "transactions"), 1, "the server asks");
	says(core, SY_CLIENT, "SIP/2.0 200 OK\r\nv: SIP/2.0/TLS s:1;branch=z9hG4bKx\r\n"
	     "f: <sip:bob@b.example>;tag=b1\r\nt: <sip:alice@a.example>;tag=a1\r\ni: call-1\r\nCSeq: 7 BYE\r\n"
	     "l: 0\r\n\r\n");
	is_int(gauge(core, "transactions"), 0, "the client answers");
	is_int(gauge(core, "dialogs"), 0, "and the call is over");
	is_uint(count(core, "requests_invite"), 1, "counted: INVITE");
	is_uint(count(core, "server_requests_bye"), 1, "counted: BYE of the server");
	is_uint(count(core, "answers_1xx"), 1, "counted: 1xx");
	is_uint(count(core, "client_answers_2xx"), 1, "counted: 2xx of the client");
	ok(!core->closed, "nothing was refused");
	core_ends(core);
}

static void
test_register(void)
{
	struct core *core = core_of(CONNECTION);

	says(core, SY_CLIENT, request("REGISTER", 1, "", "Contact: <sip:a@c>;expires=600\r\n"));
	says(core, SY_SERVER, response(401, "REGISTER", 1, "WWW-Authenticate: NTLM\r\n"));
	is_int(gauge(core, "registrations"), 0, "asked for credentials: not registered");
	is_uint(count(core, "challenges"), 1, "counted: a challenge");
	says(core, SY_CLIENT, request("REGISTER", 2, "", "Contact: <sip:a@c>;expires=600\r\n"));
	says(core, SY_SERVER, response(200, "REGISTER", 2, "Contact: <sip:a@c>;expires=600\r\n"));
	is_int(gauge(core, "registrations"), 1, "registered");
	says(core, SY_CLIENT, request("REGISTER", 3, "", "Contact: <sip:a@c>;expires=600\r\n"));
	says(core, SY_SERVER, response(200, "REGISTER", 3, "Contact: <sip:a@c>;expires=600\r\n"));
	is_int(gauge(core, "registrations"), 1, "again: the same user");
	core->session.now_ms += 599000;
	says(core, SY_CLIENT, "\r\n\r\n");
	is_int(gauge(core, "registrations"), 1, "before it expires");
	core->session.now_ms += 8000;
	says(core, SY_CLIENT, "\r\n\r\n");
	is_int(gauge(core, "registrations"), 0, "and after");
	is_uint(count(core, "keepalives"), 2, "counted: keep-alives");
	says(core, SY_CLIENT, request("REGISTER", 4, "", "Expires: 600\r\n"));
	says(core, SY_SERVER, response(200, "REGISTER", 4, "m: <sip:a@c>\r\nExpires: 600\r\n"));
	is_int(gauge(core, "registrations"), 1, "registered anew");
	says(core, SY_CLIENT, request("REGISTER", 5, "", "Contact: *\r\nExpires: 0\r\n"));
	says(core, SY_SERVER, response(200, "REGISTER", 5, ""));
	is_int(gauge(core, "registrations"), 0, "signed out");
	says(core, SY_CLIENT, request("OPTIONS", 6, "", ""));
	core->session.now_ms += 33000;
	says(core, SY_CLIENT, "\r\n\r\n");
	ok(!core->session.busy, "who never answers is not waited for");
	is_uint(count(core, "unanswered"), 1, "but counted");
	ok(!core->closed && strstr(core->to[SY_SERVER], "\r\n\r\n\r\n\r\n"), "keep-alives go to the server");
	core_ends(core);
}

/* A conversation byte by byte: what arrives is what was said, and the figures are the same. */
static void
test_cuts(void)
{
	struct core *core[2] = { core_of(CONNECTION), core_of(CONNECTION) };
	char client[6000], server[6000];

	snprintf(client, sizeof(client), "%s\r\n\r\n%s%s", request("REGISTER", 1, "", "X: a\r\n b\r\n"),
	         request("INVITE", 2, "", ""), request("MESSAGE", 3, "", "i : call-1\r\n") + 0);
	/* two Call-IDs: the last one is refused */
	snprintf(server, sizeof(server), "%s%s%s", response(200, "REGISTER", 1, "Contact: <sip:a@c>\r\n"),
	         response(100, "INVITE", 2, ""), response(486, "INVITE", 2, ""));
	says(core[0], SY_CLIENT, client);
	says(core[0], SY_SERVER, server);
	for (char *at = client; *at; at++)
		says_bytes(core[1], SY_CLIENT, at, 1);
	for (char *at = server; *at; at++)
		says_bytes(core[1], SY_SERVER, at, 1);
	is_str(core[1]->to[SY_SERVER], core[0]->to[SY_SERVER], "the server hears the same");
	is_str(core[1]->to[SY_CLIENT], core[0]->to[SY_CLIENT], "the client hears the same");
	is_str(core[0]->reason, "a field twice that may stand once", "the third one is refused");
	is_str(core[1]->reason, core[0]->reason, "in the same words");
	core_ends(core[0]);
	core_ends(core[1]);
	core[0] = core_of(CONNECTION);
	core[1] = core_of(CONNECTION);
	client[strlen(client) - strlen(request("MESSAGE", 3, "", "i : call-1\r\n"))] = '\0';
	says(core[0], SY_CLIENT, client);
	says(core[0], SY_SERVER, server);
	for (char *at = client; *at; at++)
		says_bytes(core[1], SY_CLIENT, at, 1);
	for (char *at = server; *at; at++)
		says_bytes(core[1], SY_SERVER, at, 1);
	is_str(core[1]->to[SY_SERVER], client, "without it the server hears all");
	is_str(core[1]->to[SY_CLIENT], server, "and the client, too");
	is_uint(count(core[1], "answers_4xx"), count(core[0], "answers_4xx"), "the figures are the same");
	is_uint(count(core[1], "final_answers"), 2, "each request is answered once");
	is_int(gauge(core[1], "transactions"), 0, "nothing is left open");
	core_ends(core[0]);
	core_ends(core[1]);
}

static void
test_refused(void)
{
	struct core *core = core_of(CONNECTION);

	says(core, SY_CLIENT, request("OPTIONS", 1, "", "l: 5\r\n"));
	is_str(core->reason, "two Content-Length that differ", "smuggling is refused");
	has_str(core->to[SY_CLIENT], "SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/TLS c:1;branch=z9hG4bKOPTIONS1\r\n",
	        "with a 400 that fits the request");
	has_str(core->to[SY_CLIENT], "To: <sip:bob@B.example>;tag=", "and a tag");
	ok(!core->routed, "no server was asked");
	core_ends(core);

	core = core_of(CONNECTION);
	says(core, SY_CLIENT, request("OPTIONS", 1, "", ""));
	says(core, SY_SERVER, "HTTP/1.1 200 OK\r\n");
	is_str(core->reason, "not SIP: it begins with neither a method nor SIP/2.0", "a server that speaks no SIP");
	is_str(core->to[SY_CLIENT], "", "the client hears nothing of it");
	core_ends(core);

	core = core_of(CONNECTION);
	says(core, SY_CLIENT, request("OPTIONS", 1, "", ""));
	says(core, SY_SERVER, "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS c:1;branch=z9hG4bKOPTIONS1\r\nf: <sip:a@b>\r\n"
	     "t: <sip:a@b>\r\ni: 1\r\nCSeq: 1 OPTIONS\r\nl: 100\r\n\r\nonly a part");
	ok(core->deadline_ms == 30000, "the rest of a body has its time");
	says(core, SY_CLIENT, "OPTIONS  sip:x SIP/2.0\r\nv: a\r\n\r\n");
	ok(core->closed, "refused while the client hears a message");
	has_str(core->to[SY_CLIENT] + core->to_len[SY_CLIENT] - 11, "only a part", "nothing is put into it");
	core_ends(core);

	core = core_of(CONNECTION);
	says(core, SY_CLIENT, response(200, "OPTIONS", 1, ""));
	is_str(core->reason, "a connection that begins with a response", "a response first");
	core_ends(core);

	core = core_of(CONNECTION "body-limit 10;");
	says(core, SY_CLIENT, "OPTIONS sip:x SIP/2.0\r\nv: SIP/2.0/TCP h;branch=z\r\nf: <sip:a@b>;tag=1\r\n"
	     "t: <sip:a@b>\r\ni: 1\r\nCSeq: 1 OPTIONS\r\nl: 11\r\n\r\n");
	has_str(core->to[SY_CLIENT], "SIP/2.0 513 Message Too Large\r\n", "a body over the limit");
	core_ends(core);
}

static void
test_keepalive(void)
{
	struct core *core = core_of(CONNECTION);

	says(core, SY_CLIENT, "\r\n");
	is_str(core->to[SY_CLIENT], "", "half a ping");
	says(core, SY_CLIENT, "\r");
	says(core, SY_CLIENT, "\n");
	is_str(core->to[SY_CLIENT], "\r\n", "a ping without a server is answered");
	says(core, SY_CLIENT, request("OPTIONS", 1, "", ""));
	says(core, SY_CLIENT, "\r\n\r\n");
	is_str(core->to[SY_CLIENT], "\r\n", "a ping with a server is not");
	says(core, SY_SERVER, "\r\n");
	is_str(core->to[SY_CLIENT], "\r\n\r\n", "the server answers it");
	core_ends(core);
}

static void
test_compression(void)
{
	struct core *core = core_of(CONNECTION);
	static const char agreed[] = "Compression: LZ77-8K\r\n";

	says(core, SY_CLIENT, request("NEGOTIATE", 1, "", agreed));
	has_str(core->to[SY_CLIENT], "SIP/2.0 501 Not Implemented\r\n", "compression is refused");
	ok(!core->routed, "by us");
	says(core, SY_CLIENT, request("REGISTER", 2, "", ""));
	ok(core->routed && !core->closed, "the client goes on");
	core_ends(core);

	core = core_of(CONNECTION "compression opaque;");
	says(core, SY_CLIENT, request("NEGOTIATE", 1, "", agreed));
	ok(core->routed, "opaque: the server decides");
	says(core, SY_SERVER, response(200, "NEGOTIATE", 1, agreed));
	ok(core->tunnel, "it agrees: a tunnel");
	ok(!core->session.busy && gauge(core, "transactions") == 0, "of which nothing is known");
	says_bytes(core, SY_CLIENT, "\x02\x00\x17\x00zzz", 7);
	has_str(core->to[SY_SERVER] + core->to_len[SY_SERVER] - 3, "zzz", "bytes go through");
	core_ends(core);

	core = core_of(CONNECTION "compression opaque;");
	says(core, SY_CLIENT, request("NEGOTIATE", 1, "", agreed));
	says(core, SY_SERVER, response(488, "NEGOTIATE", 1, ""));
	ok(!core->tunnel, "it does not: messages as before");
	core_ends(core);
}

static void
test_failures(void)
{
	static const struct { enum sy_failure what; const char *answer; } failures[] = {
		{ SY_FAIL_NO_SERVER, "SIP/2.0 503 Service Unavailable\r\nRetry-After: 17\r\n" },
		{ SY_FAIL_CONNECT, "SIP/2.0 503 " }, { SY_FAIL_BROKEN, "SIP/2.0 503 " },
		{ SY_FAIL_REFUSED, "SIP/2.0 503 " }, { SY_FAIL_LATE, "SIP/2.0 408 Request Timeout\r\nVia" },
	};

	for (unsigned i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		struct core *core = core_of(CONNECTION "retry-after 17;");
		const char *text = request("OPTIONS", 1, "", "");
		struct sy_verdict verdict = core->ops->data(&core->session, SY_CLIENT, 0, sy_span_text(text), false);

		is_int(verdict.what, SY_ROUTE, "a request, and then");
		verdict = core->ops->fail(&core->session, failures[i].what);
		core_closes(core, &verdict);
		has_str(core->to[SY_CLIENT], failures[i].answer, "what the client is told");
		core_ends(core);
	}
}

static void
test_dialogs_kept(void)
{
	struct core *core = core_of(CONNECTION "keep-dialogs on;");

	says(core, SY_CLIENT, request("INVITE", 1, "", ""));
	says(core, SY_SERVER, response(200, "INVITE", 1, ""));
	says(core, SY_CLIENT, request("ACK", 1, ";tag=b1", ""));
	ok(core->session.busy, "keep-dialogs: busy while a call is set up");
	says(core, SY_CLIENT, request("BYE", 2, ";tag=b1", ""));
	says(core, SY_SERVER, response(481, "BYE", 2, ""));
	ok(!core->session.busy, "and not when it is over");
	core_ends(core);
}

/* So many at a time that the table grows, and shrinks again. */
static void
test_many(void)
{
	struct core *core = core_of(CONNECTION);

	for (unsigned i = 1; i <= 500; i++) {
		core->side[SY_CLIENT].len = core->side[SY_CLIENT].at = core->to_len[SY_SERVER] = 0;
		says(core, SY_CLIENT, request("MESSAGE", i, "", ""));
	}
	is_int(gauge(core, "transactions"), 500, "500 requests are open");
	/* Not in the order in which they came: 7 and 500 have no common divisor but 1. */
	for (unsigned i = 0; i < 500; i++) {
		core->side[SY_SERVER].len = core->side[SY_SERVER].at = core->to_len[SY_CLIENT] = 0;
		says(core, SY_SERVER, response(200, "MESSAGE", i * 7 % 500 + 1, ""));
	}
	is_int(gauge(core, "transactions"), 0, "and answered");
	core_ends(core);
}

/* ---- pass-through ---- */

static size_t
hello(uint8_t *out, const char *name)
{
	size_t len = strlen(name), ext = len ? len + 9 : 0, body = 2 + 32 + 1 + 2 + 2 + 2 + 2 + ext, n = 0;
	uint8_t head[] = { 0x16, 3, 1, 0, (uint8_t)(body + 4), 1, 0, 0, (uint8_t)body, 3, 3 };

	memcpy(out, head, sizeof(head));
	n = sizeof(head);
	memset(out + n, 7, 32);
	n += 32;
	memcpy(out + n, (uint8_t[]){ 0, 0, 2, 0x13, 1, 1, 0, 0, (uint8_t)ext }, 9);
	n += 9;
	if (len) {
		memcpy(out + n, (uint8_t[]){ 0, 0, 0, (uint8_t)(len + 5), 0, (uint8_t)(len + 3), 0, 0, (uint8_t)len }, 9);
		memcpy(out + n + 9, name, len);
		n += 9 + len;
	}
	return n;
}

static void
test_pass(void)
{
	static const struct { const char *settings, *name, *reason; } hellos[] = {
		{ "", "sip.example.com", NULL },
		{ "", "", NULL },
		{ "expect tls; server-names sip.example.com *.pool.example;", "sip.example.com", NULL },
		{ "server-names sip.example.com *.Pool.example;", "fe1.pool.example", NULL },
		{ "server-names sip.example.com *.pool.example;", "a.fe1.pool.example", "not in server-names" },
		{ "server-names sip.example.com;", "sip.example.org", "not in server-names" },
		{ "server-names sip.example.com;", "", "asks for no name" },
		{ "expect sip;", "sip.example.com", "TLS where SIP in clear is expected" },
	};
	static const struct { const char *settings, *bytes, *reason; } clear[] = {
		{ "", "OPTIONS sip:x SIP/2.0\r\n", NULL },
		{ "expect sip;", "\r\n\r\nREGISTER sip:x SIP/2.0\r\n", NULL },
		{ "expect tls;", "REGISTER sip:x SIP/2.0\r\n", "plain SIP where TLS is expected" },
		{ "expect tls;", "SSH-2.0-x\r\n", "neither TLS nor SIP where TLS is expected" },
		{ "", "GET / HTTP/1.1\r\n", "neither TLS nor SIP" },
		{ "expect sip;", "GET / HTTP/1.1\r\n", "HTTP where SIP is expected" },
		{ "", "\x16\x03\x01\x00\x05\x02zzzz", "ClientHello" },
	};

	for (unsigned i = 0; i < sizeof(hellos) / sizeof(hellos[0]); i++) {
		struct core *core = core_of(hellos[i].settings);
		uint8_t bytes[300];
		size_t len = hello(bytes, hellos[i].name);

		for (size_t at = 0; at < len; at++)
			says_bytes(core, SY_CLIENT, bytes + at, 1);
		if (hellos[i].reason) {
			ok(core->closed, "'%s' %s is refused", hellos[i].settings, hellos[i].name);
			has_str(core->reason, hellos[i].reason, "in words");
			is_uint(count(core, "refused"), 1, "and counted");
		} else {
			ok(core->tunnel && core->to_len[SY_SERVER] == len, "'%s' %s passes", hellos[i].settings, hellos[i].name);
			is_uint(core->session.facts.sni.len, strlen(hellos[i].name), "and its name is a fact");
		}
		core_ends(core);
	}
	for (unsigned i = 0; i < sizeof(clear) / sizeof(clear[0]); i++) {
		struct core *core = core_of(clear[i].settings);

		for (const char *at = clear[i].bytes; *at || at < clear[i].bytes + 4; at++)
			says_bytes(core, SY_CLIENT, at, 1);
		says_bytes(core, SY_CLIENT, "\0\0\0\0", clear[i].bytes[0] == 0x16 ? 4 : 0);
		if (clear[i].reason) {
			ok(core->closed, "'%s' %.8s is refused", clear[i].settings, clear[i].bytes);
			has_str(core->reason ? core->reason : "", clear[i].reason, "in words");
		} else {
			ok(core->tunnel && core->to_len[SY_SERVER] == strlen(clear[i].bytes), "'%s' %.8s passes",
			   clear[i].settings, clear[i].bytes);
		}
		core_ends(core);
	}
}

/* ---- datagrams ---- */

static void
test_packets(void)
{
	struct core *core = core_of("");
	struct sy_packet_verdict verdict;

#define PACKET(side, text) core->ops->packet(&core->session, side, sy_span_text(text))
	verdict = PACKET(SY_CLIENT, request("INVITE", 1, "", ""));
	is_int(verdict.what, SY_PACKET_PASS, "a request passes");
	ok(verdict.lifetime_ms >= 180000, "and its flow lives while it rings");
	ok(core->session.facts.session.len == 6, "its Call-ID is known");
	verdict = PACKET(SY_SERVER, response(503, "INVITE", 1, "Retry-After: 20 (overload);duration=5\r\n"));
	is_uint(verdict.relieve_ms, 20000, "a server that wants a rest gets it");
	verdict = PACKET(SY_CLIENT, request("INVITE", 2, "", "l: 7\r\n"));
	is_int(verdict.what, SY_PACKET_DROP, "smuggling is dropped");
	is_str(verdict.reason, "two Content-Length that differ", "with words");
	verdict = PACKET(SY_CLIENT, "\r\n\r\n");
	is_int(verdict.what, SY_PACKET_PASS, "a keep-alive passes");
	verdict = PACKET(SY_CLIENT, "GET / HTTP/1.1\r\n\r\n");
	is_int(verdict.what, SY_PACKET_DROP, "HTTP is dropped");
	is_uint(count(core, "refused"), 2, "both are counted");
	core_ends(core);
}

int
main(void)
{
	arena = arena_new();
	test_settings();
	test_call();
	test_register();
	test_cuts();
	test_refused();
	test_keepalive();
	test_compression();
	test_failures();
	test_dialogs_kept();
	test_many();
	test_pass();
	test_packets();
	arena_free(arena);
	return done_testing();
}
