/* The sip monitor, without a network: what it asks, and what it makes of every answer, whole or cut at
 * each byte. */
#define _GNU_SOURCE 1
#include "module.h"

#include "api/monitor.h"

static struct arena *arena;

static const char *const verdicts[] = {
	[SY_PROBE_WAIT] = "wait", [SY_PROBE_SEND] = "send", [SY_PROBE_UP] = "up",
	[SY_PROBE_DOWN] = "down", [SY_PROBE_DRAINING] = "draining", [SY_PROBE_RUN] = "run",
};

static const struct sy_probe probe = {
	.server = { .ip = { 192, 0, 2, 7 }, .port = 5061, .family = SY_IPV4 },
	.local = { .ip = { 192, 0, 2, 1 }, .port = 40000, .family = SY_IPV4 },
	.service = "sip", .server_name = "s1", .random = UINT64_C(0x0123456789abcdef),
};

static struct used
use(const char *settings)
{
	return module_use(arena, SY_MONITOR, "sip", settings, NULL, 0);
}

static void
test_settings(void)
{
	static const struct { const char *settings, *problem; } wrong[] = {
		{ "ask ping; transport udp;", "over udp there are no such pings" },
		{ "ask ping; healthy 200;", "not answered with a status" },
		{ "verify on;", "belong to \"transport tls\"" },
		{ "transport tls; key /etc/hostname;", "no certificate" },
		{ "transport tls; ca /etc/hostname;", "verify is off" },
		{ "user 'a b';", "cannot stand in an address" },
		{ "domain '<x>';", "cannot stand in an address" },
		{ "healthy 100-200;", "healthy" },
		{ "transport sctp;", "transport" },
	};
	char problems[1024];

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		module_use(arena, SY_MONITOR, "sip", wrong[i].settings, problems, sizeof(problems));
		has_str(problems, wrong[i].problem, "%s", wrong[i].settings);
	}
}

static void
test_plan(void)
{
	static const struct { const char *settings; enum sy_transport transport; uint32_t repeat_ms; } plans[] = {
		{ "", SY_OVER_TCP, 0 }, { "transport tls;", SY_OVER_TLS, 0 }, { "transport udp;", SY_OVER_UDP, 500 },
	};

	for (unsigned i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		struct used used = use(plans[i].settings);
		struct sy_probe_plan planned = ((const struct sy_monitor *)used.ops)->plan(used.conf);

		is_int(planned.transport, plans[i].transport, "'%s': transport", plans[i].settings);
		is_uint(planned.repeat_ms, plans[i].repeat_ms, "sent again after T1 over UDP, never on streams");
		ok(planned.local, "Via wants our address");
	}
}

/* Question and answer: the verdict as a line. %B %I %C stand for branch, Call-ID, CSeq of the question. */
struct talk {
	struct used used;
	const struct sy_monitor *ops;
	void *state;
	char question[2000];
};

static struct talk
talk_of(const char *settings)
{
	struct talk talk = { .used = use(settings) };
	struct sy_probe_step step;

	talk.ops = talk.used.ops;
	talk.state = arena_alloc(arena, talk.ops->state_size);
	step = talk.ops->start(talk.used.conf, talk.state, &probe);
	if (step.what != SY_PROBE_SEND)
		bail_out("'%s' asks nothing: %s", settings, step.reason);
	snprintf(talk.question, sizeof(talk.question), "%.*s", (int)step.bytes.len, (const char *)step.bytes.at);
	return talk;
}

static const char *
part(const char *text, const char *before, const char *end)
{
	const char *at = strstr(text, before);

	if (!at)
		bail_out("no %s in %s", before, text);
	at += strlen(before);
	return arena_text_n(arena, at, strcspn(at, end));
}

static char *
filled(const struct talk *talk, const char *answer)
{
	static char out[4000];
	size_t n = 0;

	for (; *answer; answer++) {
		const char *value = NULL;

		if (*answer == '%' && answer[1] == 'B')
			value = part(talk->question, "branch=", ";\r");
		else if (*answer == '%' && answer[1] == 'I')
			value = part(talk->question, "Call-ID: ", "\r");
		else if (*answer == '%' && answer[1] == 'C')
			value = part(talk->question, "CSeq: ", "\r");
		if (value) {
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s", value);
			answer++;
		} else {
			out[n++] = *answer;
		}
	}
	out[n] = '\0';
	return out;
}

#define ANSWER(status, more) "SIP/2.0 " status "\r\nVia: SIP/2.0/TCP x;branch=%B\r\nFrom: <sip:a@b>;tag=1\r\n" \
	"To: <sip:b>;tag=2\r\nCall-ID: %I\r\nCSeq: %C\r\n" more "Content-Length: 0\r\n\r\n"

static const struct { const char *settings, *answer, *verdict; } answers[] = {
	{ "", ANSWER("200 OK", ""), "up: 200 OK" },
	{ "", ANSWER("100 Trying", "") ANSWER("200 OK", ""), "up: 200 OK" },
	{ "", ANSWER("100 Trying", ""), "wait" },
	{ "", ANSWER("401 Unauthorized", ""), "up: 401 Unauthorized" },
	{ "max-forwards 0;", ANSWER("483 Too Many Hops", ""), "up: 483 Too Many Hops" },
	{ "", ANSWER("404 Not Found", ""), "up: 404 Not Found" },
	{ "", ANSWER("501 ", ""), "up: 501 " },
	{ "", ANSWER("603 Decline", ""), "up: 603 Decline" },
	{ "", ANSWER("482 Loop Detected", ""), "down: 482 Loop Detected: the question came back" },
	{ "", ANSWER("504 Server time-out", ""), "down: 504 Server time-out" },
	{ "", ANSWER("408 Request Timeout", ""), "down: 408" },
	{ "", ANSWER("503 Service Unavailable", "Retry-After: 18 (busy)\r\n"),
	  "draining: 503 Service Unavailable: it wants nothing new for 18 s" },
	{ "", ANSWER("503 Service Unavailable", ""), "down: 503 Service Unavailable, without a time" },
	{ "", ANSWER("302 Moved", "Contact: <sip:c>\r\n"), "draining: 302 Moved: it sends its clients elsewhere" },
	{ "redirected down;", ANSWER("302 Moved", ""), "down: 302 Moved: it sends" },
	{ "healthy 200-399;", ANSWER("302 Moved", ""), "up: 302 Moved" },
	{ "healthy 200;", ANSWER("401 Unauthorized", ""), "down: 401 Unauthorized" },
	{ "healthy 200 503;", ANSWER("503 Busy", ""), "up: 503 Busy" },
	{ "ask register;", ANSWER("401 Unauthorized", "WWW-Authenticate: NTLM realm=\"x\"\r\n"), "up: 401" },
	{ "ask register;", ANSWER("404 Not Found", ""), "down: 404 Not Found" },
	{ "ask register;", ANSWER("301 Redirect request to Home Server", ""), "up: 301" },
	{ "ask register; schemes NTLM Kerberos;", ANSWER("401 Unauthorized", "WWW-Authenticate: NTLM realm=\"x\"\r\n"
	  "www-authenticate : Kerberos realm=\"x\"\r\n"), "up: 401" },
	{ "ask register; schemes NTLM TLS-DSK;", ANSWER("401 Unauthorized", "WWW-Authenticate: NTLM realm=\"x\"\r\n"),
	  "down: 401 Unauthorized, but it does not offer TLS-DSK" },
	{ "", "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP x;branch=z9hG4bKother\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b>\r\n"
	  "Call-ID: %I\r\nCSeq: %C\r\nContent-Length: 0\r\n\r\n", "down: the answer is not for our question: it has another branch" },
	{ "", "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP x;branch=%B\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b>\r\n"
	  "Call-ID: other\r\nCSeq: %C\r\nContent-Length: 0\r\n\r\n", "down: the answer is not for our question: it has another Call-ID" },
	{ "", "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP x;branch=%B\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b>\r\n"
	  "Call-ID: %I\r\nCSeq: 2 OPTIONS\r\nContent-Length: 0\r\n\r\n", "down: the answer is not for our question: it has another CSeq" },
	{ "transport udp;", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKlate\r\nFrom: <sip:a@b>;tag=1\r\n"
	  "To: <sip:b>\r\nCall-ID: %I\r\nCSeq: %C\r\nContent-Length: 0\r\n\r\n", "wait" },
	{ "transport udp;", ANSWER("200 OK", ""), "up: 200 OK" },
	{ "transport udp;", "what?", "down: the answer is no good SIP: " },
	{ "", "HTTP/1.1 400 Bad Request\r\n\r\n", "down: the answer is no good SIP: " },
	{ "", "\r\n\r\n" ANSWER("200 OK", ""), "up: 200 OK" },
	{ "", "OPTIONS sip:us SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK9\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b>\r\n"
	  "Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 3\r\n\r\nabc" ANSWER("200 OK", ""), "up: 200 OK" },
	{ "", "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP x;branch=%B\r\n\r\n", "down: the answer is no good SIP: a message without From" },
	{ "ask ping;", "\r\n", "up: the ping was answered" },
	{ "ask ping;", "\r", "wait" },
	{ "ask ping;", "SSH-2.0\r\n", "down: the ping was answered with something else" },
};

static void
is_told(const struct sy_probe_step *step, const char *want, const char *settings, const char *how)
{
	char line[256];

	snprintf(line, sizeof(line), "%s%s%s", verdicts[step->what], *step->reason ? ": " : "", step->reason);
	has_str(line, want, "'%s' %s: %s", settings, how, want);
}

static void
test_answers(void)
{
	for (unsigned i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct talk whole = talk_of(answers[i].settings), cut = talk_of(answers[i].settings);
		const char *ping = "branch=;Call-ID: \r\nCSeq: \r\n";
		const char *answer;
		struct sy_probe_step step;

		if (!strstr(whole.question, "branch="))
			snprintf(whole.question, sizeof(whole.question), "%s", ping);
		answer = filled(&whole, answers[i].answer);
		step = whole.ops->data(whole.used.conf, whole.state, &probe, sy_span_text(answer), false);
		is_told(&step, answers[i].verdict, answers[i].settings, "whole");
		if (strstr(answers[i].settings, "udp"))
			continue;
		for (size_t n = 0; n <= strlen(answer); n++) {
			step = cut.ops->data(cut.used.conf, cut.state, &probe, sy_span(answer, n), false);
			if (step.what != SY_PROBE_WAIT)
				break;
		}
		is_told(&step, answers[i].verdict, answers[i].settings, "byte by byte");
	}
}

static void
test_questions(void)
{
	struct talk talk = talk_of("max-forwards 0;");
	struct sy_probe_step step;

	has_str(talk.question, "OPTIONS sip:192.0.2.7:5061;transport=tcp SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:40000;branch=z9hG4bK",
	        "OPTIONS");
	has_str(talk.question, "Max-Forwards: 0\r\n", "Max-Forwards");
	has_str(talk.question, "Content-Length: 0\r\n\r\n", "Content-Length");
	step = talk.ops->data(talk.used.conf, talk.state, &probe, sy_span_text(""), true);
	is_told(&step, "down: the server closed the connection without an answer", "", "closed");
	talk = talk_of("ask register; user monitor; domain example.com; transport udp;");
	has_str(talk.question, "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP ", "REGISTER");
	has_str(talk.question, "To: <sip:monitor@example.com>\r\n", "for the user");
	talk = talk_of("ask ping;");
	is_str(talk.question, "\r\n\r\n", "ping");
	step = talk.ops->data(talk.used.conf, talk.state, &probe, sy_span_text(""), true);
	is_told(&step, "down: the server closed the connection instead", "ask ping;", "closed");
}

int
main(void)
{
	arena = arena_new();
	test_settings();
	test_plan();
	test_answers();
	test_questions();
	arena_free(arena);
	return done_testing();
}
