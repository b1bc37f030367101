/* What mode proxy makes of a message's head (RFC 3261 16.6, 16.7; RFC 3581), and what it believes of what
 * comes back: tokens, Routes, branches. */
#include "tap.h"

#include "modules/protocol/sip/rewrite.h"
#include "modules/protocol/sip/routing.h"
#include "modules/protocol/sip/stun.h"
#include "modules/protocol/sip/value.h"

#define REST "From: <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n"
#define INVITE(more) "INVITE sip:b@b.example SIP/2.0\r\n" more REST "Content-Length: 0\r\n\r\n"

static struct sip_message
message_of(const char *text)
{
	struct sip_message message;

	if (sip_read_datagram(sy_span_text(text), &message) != SIP_MESSAGE)
		bail_out("%s: %s", message.problem, text);
	return message;
}

/* ---- rewriting ---- */

static const struct row {
	const char *name;
	struct { const char *uri, *fields, *from; uint16_t port; uint32_t routes; bool last, pops, forwards, length;
	         const char *add; } how;
	const char *text, *want;
} rows[] = {
	{ "nothing is changed", { 0 }, INVITE("Via: SIP/2.0/TCP h;branch=z9hG4bK1\r\nX : y\r\n z\r\n"),
	  INVITE("Via: SIP/2.0/TCP h;branch=z9hG4bK1\r\nX : y\r\n z\r\n") },
	{ "our fields come first, Max-Forwards falls",
	  { .fields = "Via: SIP/2.0/TLS us;branch=z9hG4bK0\r\nRecord-Route: <sip:us;lr>\r\n", .forwards = true },
	  INVITE("Max-Forwards: 70\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nRecord-Route: <sip:p;lr>\r\n"),
	  "INVITE sip:b@b.example SIP/2.0\r\nVia: SIP/2.0/TLS us;branch=z9hG4bK0\r\nRecord-Route: <sip:us;lr>\r\n"
	  "Max-Forwards: 69\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nRecord-Route: <sip:p;lr>\r\n" REST
	  "Content-Length: 0\r\n\r\n" },
	{ "no Max-Forwards: 70 (RFC 3261 16.6 step 3)", { .forwards = true },
	  INVITE("Via: SIP/2.0/TCP h;branch=z9hG4bK1\r\n"),
	  "INVITE sip:b@b.example SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n" REST
	  "Content-Length: 0\r\nMax-Forwards: 70\r\n\r\n" },
	/* RFC 3581 4 and its example: 10.1.1.1:4540, seen as 192.0.2.1:9988. */
	{ "RFC 3581: rport is filled in, received said", { .from = "192.0.2.1", .port = 9988 },
	  INVITE("Via: SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff\r\n"),
	  INVITE("Via: SIP/2.0/UDP 10.1.1.1:4540;rport=9988;branch=z9hG4bKkjshdyff;received=192.0.2.1\r\n") },
	{ "RFC 3261 18.2.1: received when the name is another one", { .from = "192.0.2.1", .port = 9988 },
	  INVITE("Via: SIP/2.0/UDP bobspc.biloxi.com:5060;branch=z9hG4bK1\r\n"),
	  INVITE("Via: SIP/2.0/UDP bobspc.biloxi.com:5060;branch=z9hG4bK1;received=192.0.2.1\r\n") },
	{ "and not when it is the same", { .from = "192.0.2.1", .port = 9988 },
	  INVITE("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n"),
	  INVITE("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n") },
	{ "IPv6", { .from = "2001:db8::1", .port = 9988 },
	  INVITE("Via: SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1\r\n"),
	  INVITE("Via: SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1\r\n") },
	{ "a received of the client's own goes", { .from = "192.0.2.1", .port = 1 },
	  INVITE("v: SIP/2.0/UDP h ;received=6.6.6.6;branch=z9hG4bK1, SIP/2.0/UDP g;received=1.1.1.1\r\n"),
	  INVITE("Via: SIP/2.0/UDP h ;branch=z9hG4bK1;received=192.0.2.1, SIP/2.0/UDP g;received=1.1.1.1\r\n") },
	{ "only the first Via is told", { .from = "192.0.2.1", .port = 1 },
	  INVITE("Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP g;rport;branch=z9hG4bK2\r\n"),
	  INVITE("Via: SIP/2.0/UDP h;branch=z9hG4bK1;received=192.0.2.1\r\nVia: SIP/2.0/UDP g;rport;branch=z9hG4bK2\r\n") },
	{ "RFC 4475 3.1.1.1: folds and blanks, a list of Vias", { .from = "192.0.2.1", .port = 1 },
	  INVITE("Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n"
	         "v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
	         " SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n"),
	  INVITE("Via: SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw;received=192.0.2.1\r\n"
	         "v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
	         " SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n") },
	{ "a Route of ours goes", { .routes = 1 },
	  INVITE("Via: SIP/2.0/UDP h\r\nRoute: <sip:us;lr>\r\nRoute: <sip:p;lr>\r\n"),
	  INVITE("Via: SIP/2.0/UDP h\r\nRoute: <sip:p;lr>\r\n") },
	{ "two, in one list, with commas where they do not count", { .routes = 2 },
	  INVITE("Via: SIP/2.0/UDP h\r\nroute:\r\n \"us, and us\" <sip:us;lr;a=\"x,y\">,<sip:us,2;lr> , <sip:p;lr>\r\n"),
	  INVITE("Via: SIP/2.0/UDP h\r\nRoute: <sip:p;lr>\r\n") },
	{ "a strict router: the last one becomes the Request-URI",
	  { .uri = "sip:b@192.0.2.4", .routes = 0, .last = true },
	  INVITE("Via: SIP/2.0/UDP h\r\nRoute: <sip:p;lr>, <sip:q;lr>\r\nRoute: <sip:b@192.0.2.4>\r\n"),
	  "INVITE sip:b@192.0.2.4 SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nRoute: <sip:p;lr>, <sip:q;lr>\r\n" REST
	  "Content-Length: 0\r\n\r\n" },
	{ "a strict router next: it becomes the Request-URI, which goes to the end (16.6 step 6)",
	  { .uri = "sip:p@192.0.2.5", .routes = 1, .add = "sip:b@b.example" },
	  INVITE("Via: SIP/2.0/UDP h\r\nRoute: <sip:p@192.0.2.5>, <sip:q;lr>\r\n"),
	  "INVITE sip:p@192.0.2.5 SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nRoute: <sip:q;lr>\r\n" REST
	  "Content-Length: 0\r\nRoute: <sip:b@b.example>\r\n\r\n" },
	{ "our Via goes from an answer", { .pops = true },
	  "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS us;branch=z9hG4bK0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n" REST "\r\n",
	  "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n" REST "\r\n" },
	{ "out of a list, too", { .pops = true, .length = true },
	  "SIP/2.0 200 OK\r\nv: SIP/2.0/TLS us;branch=z9hG4bK0 ,\r\n SIP/2.0/TCP h;branch=z9hG4bK1\r\n" REST "\r\n",
	  "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n" REST "Content-Length: 0\r\n\r\n" },
	{ "a datagram without Content-Length", { .length = true },
	  "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n" REST "\r\nabcd",
	  "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n" REST "Content-Length: 4\r\n\r\n" },
};

static void
test_rewrite(void)
{
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct sip_message message = message_of(row->text);
		struct rewrite how = {
			.uri = sy_span_text(row->how.uri), .fields = sy_span_text(row->how.fields),
			.from = sy_span_text(row->how.from), .from_port = row->how.port, .routes = row->how.routes,
			.last_route = row->how.last, .pops_via = row->how.pops, .forwards = row->how.forwards,
			.length = row->how.length, .add_route = sy_span_text(row->how.add),
		};
		size_t most = rewrite_most(&message, &how), len, tight = 0;
		char *out = malloc(most + 1);

		len = rewrite(&message, &how, (uint8_t *)out, most);
		out[len] = '\0';
		is_str(out, row->want, "%s", row->name);
		for (size_t size = 0; size < len; size++)
			tight += rewrite(&message, &how, (uint8_t *)out, size) != 0;
		is_uint(tight, 0, "%s: never more than there is room for", row->name);
		free(out);
	}
}

/* ---- tokens ---- */

static struct token_key
key_of(const char *secret, const char *text)
{
	return token_key(sy_span(secret, 32), sy_span_text(text));
}

static const char secret_one[] = "0123456789abcdef0123456789abcdef", secret_two[] = "0123456789abcdef0123456789abcdeg";

static void
test_tokens(void)
{
	const struct token tokens[] = {
		{ .kind = TOKEN_SERVER, .addr = { { 192, 0, 2, 7 }, 5060, SY_IPV4, 0 } },
		{ .kind = TOKEN_SERVER, .addr = { { 0x20, 1, 0xd, 0xb8, [15] = 1 }, 0, SY_IPV6, 0 } },
		{ .kind = TOKEN_FLOW, .flow = "a flow of this length, which is", .flow_len = 32 },
		{ .kind = TOKEN_FLOW, .flow = { 1 }, .flow_len = 1 },
		{ .kind = TOKEN_BRANCH, .flow = { 5, 4, 3 }, .flow_len = 3, .attempt = 2, .transaction = UINT64_C(0x1122334455667788),
		  .loop = 0xa0b0c0d0 },
	};
	struct token_key key = key_of(secret_one, ""), other = key_of(secret_two, "");
	struct sy_span call = sy_span_text("call-1");

	for (unsigned i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		char text[TOKEN_MOST];
		size_t len = token_write(&tokens[i], &key, call, text), wrong = 0;
		struct token got;

		ok(token_read(sy_span(text, len), &key, call, &got) && memcmp(&got, &tokens[i], sizeof(got)) == 0,
		   "token %u is read as it was written", i);
		ok(!token_read(sy_span(text, len), &other, call, &got), "not with another secret");
		ok(!token_read(sy_span(text, len), &key, sy_span_text("call-2"), &got), "not in another call");
		ok(!token_read(sy_span(text, len), &key, sy_span_text(""), &got), "and not without one");
		/* Each bit of each character: what is no digit, and what is another one. */
		for (size_t at = 0; at < len; at++)
			for (unsigned bit = 0; bit < 8; bit++) {
				text[at] ^= (char)(1 << bit);
				wrong += token_read(sy_span(text, len), &key, call, &got);
				text[at] ^= (char)(1 << bit);
			}
		for (size_t cut = 0; cut < len; cut++)
			wrong += token_read(sy_span(text, cut), &key, call, &got);
		is_uint(wrong, 0, "nor changed by a bit, nor cut");
	}
	key = key_of(secret_one, "a key that two share");
	other = key_of(secret_one, "another key for them");
	ok(memcmp(&key, &other, sizeof(key)) != 0, "the setting makes the key");
	other = key_of(secret_two, "a key that two share");
	ok(memcmp(&key, &other, sizeof(key)) == 0, "alone: another machine understands");
}

/* ---- Routes and branches ---- */

static char texts[3][TOKEN_MOST + 1];

static const char *
token_text(unsigned i, const struct token *token, const struct token_key *key, const char *bound)
{
	texts[i][token_write(token, key, sy_span_text(bound), texts[i])] = '\0';
	return texts[i];
}

static struct routing
routing_of(const struct routing_self *self, const char *uri, const char *more)
{
	static char text[2000];
	struct sip_message message;
	struct routing routing;

	snprintf(text, sizeof(text), "INVITE %s SIP/2.0\r\n%s" REST "\r\n", uri, more);
	message = message_of(text);
	routing_read(&message, self, &routing);
	return routing;
}

static const char *
routes(const char *format, ...)
{
	static char text[1500];
	va_list args;
	int n = snprintf(text, sizeof(text), "Via: SIP/2.0/TCP h;branch=z9hG4bK1\r\n");

	va_start(args, format);
	vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
	va_end(args);
	return text;
}

static void
is_span(struct sy_span got, const char *want, const char *name)
{
	if (!ok(got.len == strlen(want) && memcmp(got.at, want, got.len) == 0, "%s", name))
		diag("got %.*s", (int)got.len, (const char *)got.at);
}

static void
test_routes(void)
{
	struct token server = { .kind = TOKEN_SERVER, .addr = { { 192, 0, 2, 7 }, 5060, SY_IPV4, 0 } };
	struct token flow = { .kind = TOKEN_FLOW, .flow = { 9, 9 }, .flow_len = 2 };
	struct routing_self self = { .key = key_of(secret_one, ""), .address = "192.0.2.1", .port = 5060 };
	const char *s = token_text(0, &server, &self.key, "c1"), *f = token_text(1, &flow, &self.key, "c1");
	const char *p = token_text(2, &flow, &self.key, "");
	struct routing got;

	got = routing_of(&self, "sip:b@b", routes("Route: <sip:%s@any.example;lr>, <sip:%s@us>\r\nRoute: <sip:k;lr>\r\n", s, f));
	ok(got.told && got.token.kind == TOKEN_SERVER && got.own == 2, "of a client: to the server, and both Routes are ours");
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:%s@us;lr>,<sip:%s@us;lr>, <sip:k;lr>\r\n", f, s));
	ok(got.told && got.token.kind == TOKEN_FLOW && got.own == 2, "of a server: to the client");
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:%s@us>,<sip:%s@us>\r\nRoute: <sip:%s@us;lr>,<sip:%s@us;lr>\r\n", s, f, f, s));
	ok(got.token.kind == TOKEN_SERVER && got.own == 2, "a request that passes twice: its next two stay");
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:%s@us>,<sip:k;lr>\r\n", p));
	ok(got.token.kind == TOKEN_FLOW && got.own == 1 && !got.forged, "a Path is for any call");
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:192.0.2.1;lr>, <sip:%s@us>, <sip:k;lr>\r\n", p));
	ok(got.token.kind == TOKEN_FLOW && got.own == 2, "a Route to us without token");
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:192.0.2.1:5070;lr>, <sip:%s@us>\r\n", p));
	ok(!got.told && got.own == 0 && !got.forged, "another port is not ours, and what follows waits");
	s = token_text(0, &server, &self.key, "c2");
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:%s@192.0.2.1;lr>\r\n", s));
	ok(got.forged && !got.told, "a token of another call");
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:%s@other.example;lr>\r\n", s));
	ok(!got.forged && !got.told && got.own == 0, "to another host it is not ours to judge");
	self.advertised = "vip.example:5061";
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:VIP.example;lr>,<sip:x@vip.example:5061>\r\n"));
	ok(got.forged && got.own == 2, "a name that is ours");
	s = token_text(0, &server, &self.key, "c1");
	texts[1][0] = '\0';
	snprintf(texts[1], sizeof(texts[1]), "sip:%s", s);
	{
		char uri[TOKEN_MOST + 20];

		snprintf(uri, sizeof(uri), "sip:%s@192.0.2.1;lr", s);
		got = routing_of(&self, uri, routes("Route: <sip:k;lr>, <sip:b@192.0.2.4>\r\n"));
		ok(got.strict && got.token.kind == TOKEN_SERVER && got.own == 0, "a strict router's Request-URI");
		ok(got.uri.len == 15 && memcmp(got.uri.at, "sip:b@192.0.2.4", 15) == 0, "and where it means to go");
		got = routing_of(&self, uri, routes("Route: <sip:k>, <sip:b@192.0.2.4>\r\n"));
		ok(got.strict && got.own == 1, "who is next is strict, too");
		is_span(got.uri, "sip:k", "it is the Request-URI");
		is_span(got.last, "sip:b@192.0.2.4", "and what was meant comes last");
		got = routing_of(&self, uri, routes("Route: <sip:b@192.0.2.4>\r\n"));
		ok(got.strict && !got.own && !got.last.len, "the one Route is where it means to go");
		is_span(got.uri, "sip:b@192.0.2.4", "and that is all");
		got = routing_of(&self, uri, routes("Route: <sip:k;lr>, <sip:b\r\n @192.0.2.4>\r\n"));
		ok(!got.strict && !got.uri.len, "what would break the first line does not come into it");
	}
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:%s@us;lr>, <sip:k>, <sip:l;lr>\r\n", s));
	ok(got.told && got.own == 2, "behind ours one that routes strictly");
	is_span(got.uri, "sip:k", "becomes the Request-URI");
	is_span(got.last, "sip:b@b", "which it finds at the end");
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:k;x=y;LR=on>, <sip:l>\r\n"));
	ok(!got.uri.len && !got.own, "lr is lr with a value, and whatever its case");
	got = routing_of(&self, "sip:b@b", routes("Route: <sip:u;lr=1@k;x?lr>\r\n"));
	ok(got.uri.len && got.own == 1, "but not in the user part, and not behind a question mark");
	got = routing_of(&self, "sip:b@b", routes("Route: <tel:+1>, <sip:k\r\n ;x>\r\n"));
	ok(!got.uri.len && !got.own, "what is no SIP URI stays where it is");
}

static void
test_loops(void)
{
	struct routing_self self = { .key = key_of(secret_one, ""), .address = "192.0.2.1", .port = 5060 };
	struct token token = { .kind = TOKEN_BRANCH, .flow = { 1 }, .flow_len = 1 };
	struct routing got = routing_of(&self, "sip:b@b", routes("%s", ""));

	ok(!got.loops, "a request that was not here");
	token.loop = got.hash;
	token_text(0, &token, &self.key, "c1");
	got = routing_of(&self, "sip:b@b", routes("Via: SIP/2.0/TCP us;branch=z9hG4bK%s\r\n", texts[0]));
	ok(got.loops, "one that comes back as it was: a loop");
	got = routing_of(&self, "sip:c@b", routes("Via: SIP/2.0/TCP us;branch=z9hG4bK%s\r\n", texts[0]));
	ok(!got.loops, "with another Request-URI: a spiral");
	got = routing_of(&self, "sip:b@b", routes("Via: SIP/2.0/TCP us;branch=z9hG4bK%s\r\nRoute: <sip:k>\r\n", texts[0]));
	ok(!got.loops, "with another Route");
	token_text(0, &token, &self.key, "c2");
	got = routing_of(&self, "sip:b@b", routes("Via: SIP/2.0/TCP us;branch=z9hG4bK%s\r\n", texts[0]));
	ok(!got.loops, "a branch that was made up");
}

static void
test_transactions(void)
{
	struct token_key key = key_of(secret_one, "");
	struct sip_message invite = message_of(INVITE("Via: SIP/2.0/UDP h:5060;branch=z9hG4bKx;rport\r\n"));
	struct sip_message cancel = message_of("CANCEL sip:b@b.example SIP/2.0\r\nVia: SIP/2.0/UDP h:5060;branch=z9hG4bKx\r\n"
		"From: <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>\r\nCall-ID: c1\r\nCSeq: 7 CANCEL\r\n\r\n");
	struct sip_message bye = message_of("BYE sip:b@b.example SIP/2.0\r\nVia: SIP/2.0/UDP h:5060;branch=z9hG4bKx\r\n"
		"From: <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>\r\nCall-ID: c1\r\nCSeq: 7 BYE\r\n\r\n");
	struct sip_message other = message_of(INVITE("Via: SIP/2.0/UDP g:5060;branch=z9hG4bKx;rport\r\n"));
	struct sip_message old = message_of(INVITE("Via: SIP/2.0/UDP h:5060\r\n"));

	ok(routing_transaction(&invite, &key) == routing_transaction(&cancel, &key), "a CANCEL belongs to its INVITE");
	ok(routing_transaction(&invite, &key) != routing_transaction(&bye, &key), "another method does not");
	ok(routing_transaction(&invite, &key) != routing_transaction(&other, &key), "nor the branch of another host");
	ok(routing_transaction(&invite, &key) != routing_transaction(&old, &key), "RFC 2543 has none");
}

/* ---- STUN ---- */

/* The transaction and the addresses of RFC 5769 2.2 and 2.3. */
#define STUN_TAIL "\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"

static void
is_stun(const char *in, size_t len, const struct sy_addr *from, const char *want, size_t want_len, const char *name)
{
	uint8_t out[STUN_MOST], *exact = malloc(len ? len : 1);
	size_t got;

	memcpy(exact, in, len);
	got = stun_answer(sy_span(exact, len), from, out);
	is_uint(got, want_len, "%s", name);
	if (got == want_len && got)
		is_mem(out, want, got, "%s: the bytes", name);
	free(exact);
}

static void
test_stun(void)
{
	static const struct sy_addr four = { { 192, 0, 2, 1 }, 32853, SY_IPV4, 0 };
	static const struct sy_addr six = { { 0x20, 1, 0xd, 0xb8, 0x12, 0x34, 0x56, 0x78, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77 },
	                                    32853, SY_IPV6, 0 };

	is_stun("\0\1\0\0" STUN_TAIL, 20, &four,
	        "\1\1\0\x0c" STUN_TAIL "\0\x20\0\x08\0\1\xa1\x47\xe1\x12\xa6\x43", 32, "a Binding request, IPv4 (RFC 5769 2.2)");
	is_stun("\0\1\0\0" STUN_TAIL, 20, &six,
	        "\1\1\0\x18" STUN_TAIL "\0\x20\0\x14\0\2\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9",
	        44, "IPv6 (RFC 5769 2.3)");
	is_stun("\0\1\0\x0c" STUN_TAIL "\x80\x22\0\2xy\0\0\x80\x28\0\0", 32, &four,
	        "\1\1\0\x0c" STUN_TAIL "\0\x20\0\x08\0\1\xa1\x47\xe1\x12\xa6\x43", 32, "with what need not be understood");
	is_stun("\0\1\0\x08" STUN_TAIL "\0\3\0\4\0\0\0\6", 28, &four,
	        "\1\x11\0\x20" STUN_TAIL "\0\x09\0\x13\0\0\4\x14Unknown Attrib.\0\0\x0a\0\2\0\3\0\0", 52,
	        "with what must be, and is not: 420");
	is_stun("\0\x11\0\0" STUN_TAIL, 20, &four, "", 0, "an indication gets no answer");
	is_stun("\1\1\0\0" STUN_TAIL, 20, &four, "", 0, "nor does an answer");
	is_stun("\0\1\0\4" STUN_TAIL, 20, &four, "", 0, "nor what is cut off");
	is_stun("\0\1\0\4" STUN_TAIL "\0\6\0\4", 24, &four, "", 0, "nor an attribute that is");
	is_stun("\0\1\0\0" STUN_TAIL "\0\0\0\0", 24, &four, "", 0, "nor one with more behind it");
	is_stun("\0\1\0\0" "\x21\x12\xa4\x43\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae", 20, &four, "", 0, "nor one without the cookie");
	is_stun("\0\1\0", 3, &four, "", 0, "nor three bytes");
}

int
main(void)
{
	test_rewrite();
	test_tokens();
	test_routes();
	test_loops();
	test_transactions();
	test_stun();
	return done_testing();
}
