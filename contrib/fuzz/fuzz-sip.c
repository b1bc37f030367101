/* SIP messages: whatever comes, the reader says more, done or wrong, looks at nothing behind the input,
 * and keeps its promises: a byte more never takes a judgement back, a head is not done a byte earlier,
 * bytes one by one are read as in one piece, and nothing that reads the fields runs off them. What is
 * put down in the book is found there, and all of it can be taken out again. What mode proxy makes of a good
 * message is a good one, as long as it says, with the same body and what was changed in it. */
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "contrib/fuzz/fuzz.h"
#include "modules/protocol/sip/book.h"
#include "modules/protocol/sip/reply.h"
#include "modules/protocol/sip/rewrite.h"
#include "modules/protocol/sip/routing.h"
#include "modules/protocol/sip/stun.h"
#include "modules/protocol/sip/value.h"

const char *const fuzz_seeds[] = {
	"INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/TLS h:5061;branch=z9hG4bK1;rport\r\n"
	"From: \"A \\\" B\" <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: 1@h\r\n"
	"CSeq: 1 INVITE\r\nContent-Length: 3\r\n\r\nabc",
	"SIP/2.0 200 OK\r\nv: SIP/2.0/TLS h:5061;branch=z9hG4bK1\r\nf: <sip:a@example.com>;tag=1\r\n"
	"t: <sip:b@example.com>;tag=2\r\ni: 1@h\r\nCSeq: 1 INVITE\r\nl: 0\r\n\r\n",
	"REGISTER sip:example.com SIP/2.0\r\nVia: SIP / 2.0\r\n / TCP h , SIP/2.0/UDP g\r\nf: sip:a@b;tag=1\r\n"
	"t: sip:a@b\r\ni: 1\r\nCSeq: 2\r\n REGISTER\r\nm: <sip:a@h>;expires=0\r\nExpires: 60\r\nl: 0\r\n\r\n",
	"SIP/2.0 200 \r\nv: SIP/2.0/TCP h;branch=x\r\nf: sip:a@b;tag=1\r\nt: sip:a@b;tag=3\r\ni: 1\r\n"
	"CSeq: 2 REGISTER\r\nm: <sip:a@h>;expires=60\r\nl: 0\r\n\r\n",
	"BYE tel:+123;x SIP/2.0\r\nv: SIP/2.0/TCP h;branch=y\r\nf: sip:a@b;tag=1\r\nt: sip:a@b;tag=3\r\ni: 1\r\n"
	"CSeq: 3 BYE\r\nl: 0\r\n\r\n\r\n\r\n",
	"INVITE sip:b@example.com SIP/2.0\r\nRoute: <sip:192.0.2.1;lr>, \"x, y\" <sip:p@q,r;lr>\r\n"
	"Route: <sip:[2001:db8::1];lr>\r\nVia: SIP/2.0/UDP h;rport;branch=z9hG4bK1;received=1.1.1.1,\r\n SIP/2.0/TCP g\r\n"
	"f: sip:a@b;tag=1\r\nt: sip:a@b\r\ni: 1\r\nCSeq: 2 INVITE\r\nMax-Forwards: 0\r\nl: 2\r\n\r\nab",
	"BYE sip:b@example.com SIP/2.0\r\nRoute: <sip:192.0.2.1;lr>, <sip:p@q;x=y>, <sip:r;lr=1>\r\n"
	"v: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: sip:a@b;tag=1\r\nt: sip:a@b;tag=2\r\ni: 1\r\nCSeq: 2 BYE\r\nl: 0\r\n\r\n",
	"SIP/2.0 200 OK\r\nv: SIP/2.0/TCP us;branch=z9hG4bKAaBb_- , SIP/2.0/TCP h;branch=z9hG4bK1\r\n"
	"f: <sip:a@b>;tag=1\r\nt: <sip:a@b>;tag=2\r\ni: 1\r\nCSeq: 2 INVITE\r\n\r\n",
	NULL
};

static enum sip_read
fuzz_read(struct sip_scan *scan, const uint8_t *at, size_t len, struct sip_message *out)
{
	static uint8_t *copy;
	enum sip_read got;

	free(copy);
	copy = malloc(len ? len : 1);
	must(copy);
	if (len)
		memcpy(copy, at, len);
	got = sip_read(scan, sy_span(copy, len), 65536, out);
	must(got != SIP_WRONG || out->problem);
	must((got != SIP_MESSAGE && got != SIP_BLANK) || (out->len > 0 && out->len <= len));
	return got;
}

static unsigned
fuzz_values(const struct sip_message *message, const char *name, char compact)
{
	struct sy_span rest = message->head, list, value;
	unsigned n = 0;

	(void)sip_line(&rest);
	for (struct sy_span line = sip_line(&rest); line.len; line = sip_line(&rest))
		if (sip_field_is(line, name, compact, &list))
			while (sip_next_value(&list, &value))
				n++;
	return n;
}

static void
fuzz_rewritten(const struct sip_message *message, const struct rewrite *how, struct sip_message *out)
{
	size_t most = rewrite_most(message, how), len;
	uint8_t *bytes = malloc(most), *exact;

	must(bytes);
	len = rewrite(message, how, bytes, most);
	must(len > 0 && len <= most);
	exact = malloc(len);
	must(exact && rewrite(message, how, exact, len) == len && memcmp(bytes, exact, len) == 0);
	must(rewrite(message, how, exact, len - 1) == 0);
	memcpy(exact, bytes, len);
	free(bytes);
	/* Limits of lines and heads aside, it is as good as before. */
	if (len + message->body < 16000) {
		struct sip_scan scan = { 0 };

		must(sip_read(&scan, sy_span(exact, len), UINT32_MAX, out) == SIP_MESSAGE);
		must(out->len == len && out->body == message->body && out->cseq == message->cseq);
		must(out->call_id.len == message->call_id.len && out->to_tag.len == message->to_tag.len);
		if (!how->pops_via)
			must(fuzz_values(out, "via", 'v') == fuzz_values(message, "via", 'v') + 1);
		must(fuzz_values(out, "route", 0) + how->routes + how->last_route ==
		     fuzz_values(message, "route", 0) + (how->add_route.len > 0));
		must(!how->uri.len || (out->uri.len == how->uri.len && !memcmp(out->uri.at, how->uri.at, out->uri.len)));
	}
	free(exact);
}

static void
fuzz_proxy(const struct sip_message *message)
{
	static const char secret[32] = "0123456789abcdef0123456789abcdef";
	struct routing_self self = {
		.key = token_key(sy_span(secret, 32), sy_span("", 0)), .address = "192.0.2.1", .port = 5060,
		.advertised = "[2001:db8::1]:5061",
	};
	struct routing routing = { .own = 0 };
	struct sip_message out;
	struct rewrite how = { .length = true };

	if (!message->request) {
		struct sip_message before = *message;
		struct token token;

		must(!routing_branch(message, &self.key, &token));
		(void)routing_asked(message, &self.key);
		/* One that has more Vias than ours, as all have that we are given. */
		how.fields = sy_span_text("Via: SIP/2.0/TCP us;branch=z9hG4bK1\r\n");
		fuzz_rewritten(&before, &how, &out);
		return;
	}
	routing_read(message, &self, &routing);
	must(!routing.told && !routing.loops && !routing.strict);
	(void)routing_dialog(message, &self.key);
	must(routing_transaction(message, &self.key) == routing_transaction(message, &self.key));
	how.fields = sy_span_text("Via: SIP/2.0/TCP us;branch=z9hG4bK1\r\nRecord-Route: <sip:us;lr>\r\n");
	how.from = sy_span_text("192.0.2.2");
	how.from_port = 4711;
	how.forwards = true;
	how.routes = routing.own;
	how.uri = routing.uri;
	how.add_route = routing.last;
	fuzz_rewritten(message, &how, &out);
	if (message->len + message->body < 15000)
		must(out.max_forwards == 70 || out.max_forwards <= message->max_forwards);
}

static void
fuzz_fields(const struct sip_message *message)
{
	char aor[40];
	struct reply *reply = reply_make(message);

	must(sip_uri_aor(sip_uri(message->to), aor, sizeof(aor)) <= sizeof(aor));
	(void)sip_uri_host(message->uri);
	(void)sip_parameter(message->contact, "expires");
	if (reply) {
		struct sip_scan scan = { 0 };
		struct sip_message answer;
		struct sy_span said = reply_say(reply, 503, 30);

		/* Ours is as good as what it answers. */
		must(sip_read(&scan, said, 0, &answer) == SIP_MESSAGE && answer.len == said.len);
		must(answer.status == 503 && answer.to_tag.len && answer.cseq == message->cseq);
	}
	free(reply);
	fuzz_proxy(message);
}

/* What is at servers is a part of what there is. */
static void
fuzz_held(const struct sy_session *session, bool all)
{
	for (unsigned i = 0; i < SY_GAUGES; i++) {
		int32_t sum = 0;

		for (uint32_t j = 0; j < session->n_held; j++) {
			must(session->held[j].gauge[i] >= 0);
			sum += session->held[j].gauge[i];
		}
		must(all ? sum == session->gauge[i] : sum <= session->gauge[i]);
	}
}

static void
fuzz_book(const uint8_t *data, size_t size, enum book_part part)
{
	uint32_t counts[SY_COUNTERS] = { 0 };
	struct sy_session session = { .count = counts, .now_ms = 1 };
	struct book book = { .part = (uint8_t)part };
	struct sip_message message;
	enum sy_side side = SY_CLIENT;
	size_t at = 0;

	while (at < size) {
		struct sip_scan scan = { 0 };
		enum sip_read got = sip_read(&scan, sy_span(data + at, size - at), 65536, &message);

		if (got == SIP_MESSAGE) {
			uint64_t rest = size - at - message.len;

			book_message(&book, &session, side, &message);
			side = message.body & 1 ? SY_CLIENT : side == SY_CLIENT ? SY_SERVER : SY_CLIENT;
			at += message.body < rest ? message.len + (size_t)message.body : size - at;
			session.now_ms += 7;
		} else if (got == SIP_BLANK) {
			at += message.len;
		} else {
			at++;
		}
		must(session.gauge[0] >= 0 && session.gauge[1] >= 0 && session.gauge[2] >= 0);
		must(part == BOOK_STATE ||
		     (uint32_t)(session.gauge[0] + session.gauge[1] + session.gauge[2]) == book.used);
		fuzz_held(&session, false);
		session.at = part == BOOK_STATE && at % 5 ? at % 23 : 0;
	}
	session.now_ms += UINT64_MAX / 2;
	book_sweep(&book, &session);
	must(book.used == 0 && !book.entries && !session.gauge[0] && !session.gauge[1] && !session.gauge[2]);
	fuzz_held(&session, true);
	book_free(&book);
}

/* Any bytes as the attributes of a request, and as they are. */
static void
fuzz_stun(const uint8_t *data, size_t size)
{
	static const uint8_t head[] = { 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42 };
	const struct sy_addr from = { .family = size % 2 ? SY_IPV4 : SY_IPV6, .port = 4711 };
	size_t more = size / 4 * 4 < 1024 ? size / 4 * 4 : 1024, len;
	uint8_t *in = calloc(1, 20 + more), out[STUN_MOST];

	must(in);
	memcpy(in, head, sizeof(head));
	in[2] = (uint8_t)(more >> 8);
	in[3] = (uint8_t)more;
	if (more)
		memcpy(in + 20, data, more);
	len = stun_answer(sy_span(in, 20 + more), &from, out);
	must(len == 0 || (len >= 32 && len <= STUN_MOST && len % 4 == 0 && out[3] + 20u == len));
	free(in);
	must(stun_answer(sy_span(data, size), &from, out) <= STUN_MOST);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sip_scan scan = { 0 }, slow = { 0 };
	struct sip_message whole, part;
	enum sip_read got = fuzz_read(&scan, data, size, &whole);
	size_t step = size / 48 + 1;

	if (got == SIP_MESSAGE)
		fuzz_fields(&whole);
	for (size_t cut = 0; cut < size && got != SIP_BLANK; cut += cut < 20 || cut + 20 > size ? 1 : step) {
		struct sip_scan fresh = { 0 };
		enum sip_read then = fuzz_read(&fresh, data, cut, &part), after;
		size_t len = part.len;

		after = fuzz_read(&slow, data, cut, &part);
		must(after == then);
		must(then == SIP_MORE || then == got);
		must(then != SIP_MESSAGE || len == whole.len);
		must(got != SIP_MESSAGE || cut >= whole.len || then == SIP_MORE);
		if (then != SIP_MORE)
			break;
	}
	(void)sip_read_start(sy_span(data, size), &part);
	if (sip_read_datagram(sy_span(data, size), &part) == SIP_MESSAGE) {
		must(part.len + part.body <= size);
		fuzz_fields(&part);
	}
	fuzz_book(data, size, BOOK_ALL);
	fuzz_book(data, size, BOOK_STATE);
	fuzz_stun(data, size);
	return 0;
}
