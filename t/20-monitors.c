/* The monitor modules, without a network: settings, what they ask, and what they make of every answer,
 * whole or cut at each byte. The modules are those that would be installed. */
#define _GNU_SOURCE 1
#include "module.h"

#include "api/monitor.h"
#include "base/clock.h"

static struct arena *arena;

static const struct sy_addr v4 = { .ip = { 192, 0, 2, 7 }, .port = 8080, .family = SY_IPV4 };
static const struct sy_addr v6 = { .ip = { 0x20, 1, 0xd, 0xb8, [15] = 7 }, .port = 80,
                                   .family = SY_IPV6 };

static const char *const verdicts[] = {
	[SY_PROBE_WAIT] = "wait", [SY_PROBE_SEND] = "send", [SY_PROBE_UP] = "up",
	[SY_PROBE_DOWN] = "down", [SY_PROBE_DRAINING] = "draining", [SY_PROBE_RUN] = "run",
};

struct run {
	struct used used;
	const struct sy_monitor *ops;
	void *state;
	struct sy_probe probe;
};

static struct run
run_of(const char *name, const char *settings)
{
	struct run run = {
		.used = module_use(arena, SY_MONITOR, name, settings, NULL, 0),
		.probe = { .server = v4, .service = "web", .server_name = "s1", .random = 12345 },
	};

	run.ops = run.used.ops;
	run.state = arena_alloc(arena, run.ops->state_size + 1);
	return run;
}

/* A verdict as a line: "up: status 200". */
static const char *
told(const struct sy_probe_step *step)
{
	static char line[256];

	snprintf(line, sizeof(line), "%s%s%s", verdicts[step->what], *step->reason ? ": " : "",
	         step->reason);
	return line;
}

/* ---- settings ---- */

static const struct {
	const char *module, *settings, *problem;
} wrong[] = {
	{ "tcp", "send 'a\\q';", "is not understood" },
	{ "tcp", "send 'a\\x4';", "is not understood" },
	{ "tcp", "expect 'abc\\';", "is not understood" },
	{ "tcp", "expect abcdef; within 3;", "6 bytes cannot be found within 3" },
	{ "tcp", "match begin;", "match" },
	{ "tls", "ca /etc/hostname;", "verify" },
	{ "tls", "key /etc/hostname;", "no certificate" },
	{ "icmp", "size 1473;", "size" },
	{ "exec", "dynamic on;", "command" },
	{ "exec", "command ls;", "no absolute path" },
	{ "http", "path index.html;", "does not begin with /" },
	{ "http", "path '/a b';", "write it as %20" },
	{ "http", "host 'a\tb';", "control character" },
	{ "http", "contains ''; ", "between 1 and 255" },
	{ "http", "contains x; method HEAD;", "use GET" },
	{ "http", "status 100-299;", "status" },
	{ "http", "status 2xx;", "status" },
	{ "http", "method POST;", "method" },
	{ "http", "match '(a';", "match: missing closing parenthesis, at character 3 of the pattern" },
	{ "http", "match '';", "match: between 1 and 1024" },
	{ "http", "match a; method HEAD;", "match: the answer to HEAD has no page" },
	{ "http", "header X;", "header needs value" },
	{ "http", "header X a b;", "header: unexpected b; what is written there is header NAME VALUE" },
	{ "http", "header Host a;", "Host is written by the monitor itself; host sets it" },
	{ "http", "header Connection a;", "Connection is written by the monitor itself" },
	{ "http", "header 'X Y' a;", "is no name of a field" },
	{ "http", "header X 'a\nb';", "holds a control character" },
	{ "https", "ca /etc/hostname;", "verify" },
	{ "https", "key /etc/hostname;", "no certificate" },
	{ "https", "verify on;", "verify on needs a name" },
	{ "https", "versions TLSv1.2 SSLv3;", "versions SSLv3: TLSv1.0" },
	{ "https", "versions TLSv1.1 TLSv1.3;", "those between the oldest and the newest" },
	{ "https", "path x;", "does not begin with /" },
};

static void
test_settings(void)
{
	char problems[1024], text[1200] = "send '";

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		module_use(arena, SY_MONITOR, wrong[i].module, wrong[i].settings, problems,
		           sizeof(problems));
		has_str(problems, wrong[i].problem, "%s { %s } is refused", wrong[i].module,
		        wrong[i].settings);
	}
	memset(text + strlen(text), 'a', 513);
	strcat(text, "';");
	module_use(arena, SY_MONITOR, "tcp", text, problems, sizeof(problems));
	has_str(problems, "more than 512 bytes", "tcp: too much to send");
	for (size_t i = 0; i < 6; i++) {
		static const char *const names[] = { "tcp", "tls", "icmp", "exec", "http", "https" };
		const struct sy_module *module = module_of(SY_MONITOR, names[i]);
		const struct sy_monitor *ops = module->ops;

		is_uint(ops->size, sizeof(*ops), "%s: size", names[i]);
		ok(ops->plan && ops->start && module->summary, "%s: has what it needs", names[i]);
		for (const struct sy_row *row = module->rows; row && row->name; row++)
			ok(row->doc && strlen(row->doc) > 10, "%s: %s is documented", names[i], row->name);
	}
}

/* ---- tcp ---- */

static const struct {
	const char *settings, *said;
	bool closed;
	const char *verdict;
} tcp_cases[] = {
	{ "expect 220;", "220 mail ready\r\n", false, "up: the expected answer" },
	{ "expect 220;", "mail 220", false, "up: the expected answer" },
	{ "expect 220; match prefix;", "mail 220", false,
	  "down: not the expected answer, but \"mail 220\"" },
	{ "expect 220; match prefix;", "22", false, "wait" },
	{ "expect 220; match prefix;", "220", false, "up: the expected answer" },
	{ "expect 220; match prefix;", "21", false, "down: not the expected answer, but \"21\"" },
	{ "expect 220;", "521 go away\r\n", false, "wait" },
	{ "expect 220;", "521 go away\r\n", true, "down: not the expected answer, but \"521 go away\"" },
	{ "expect 220; within 5;", "abcdefgh220", false,
	  "down: not the expected answer, but \"abcdefgh220\"" },
	{ "expect '\\x00\\xff';", "", false, "wait" },
	{ "send 'a\\r\\n';", "anything", false, "up: answered" },
};

static void
test_tcp(void)
{
	struct run run = run_of("tcp", "");
	struct sy_probe_step step = run.ops->start(run.used.conf, run.state, &run.probe);

	is_int(run.ops->plan(run.used.conf).transport, SY_OVER_TCP, "tcp: transport");
	is_str(told(&step), "up: connected", "tcp: a connection is enough");

	run = run_of("tcp", "send 'PI\\x4eG\\r\\n\\t\\\\';");
	step = run.ops->start(run.used.conf, run.state, &run.probe);
	ok(step.what == SY_PROBE_SEND && step.bytes.len == 8 &&
	   memcmp(step.bytes.at, "PING\r\n\t\\", 8) == 0, "tcp: send is read with its escapes");

	run = run_of("tcp", "expect '\\x00\\xFFa';");
	step = run.ops->data(run.used.conf, run.state, &run.probe, sy_span("xy\0\xff" "a", 5), false);
	is_int(step.what, SY_PROBE_UP, "tcp: bytes that are no text");

	for (size_t i = 0; i < sizeof(tcp_cases) / sizeof(tcp_cases[0]); i++) {
		run = run_of("tcp", tcp_cases[i].settings);
		step = run.ops->data(run.used.conf, run.state, &run.probe,
		                     sy_span_text(tcp_cases[i].said), tcp_cases[i].closed);
		is_str(told(&step), tcp_cases[i].verdict, "tcp { %s } hears \"%s\"", tcp_cases[i].settings,
		       tcp_cases[i].said);
	}
}

/* ---- http ---- */

#define HEAD "HTTP/1.1 200 OK\r\n"

static const struct {
	const char *settings, *said;
	bool closed;
	const char *verdict;
} http_cases[] = {
	{ "", HEAD "\r\n", false, "up: status 200" },
	{ "", "HTTP/1.0 302 Found\nLocation: /x\n\n", false, "up: status 302" },
	{ "", "HTTP/1.1 204\r\n\r\n", false, "up: status 204" },
	{ "", HEAD, false, "wait" },
	{ "", "HTT", false, "wait" },
	{ "", "", false, "wait" },
	{ "", "HTTP/1.1 503 Service Unavailable\r\n\r\n", false, "down: status 503 Service Unavailable" },
	{ "", "HTTP/1.1 503\r\n\r\n", false, "down: status 503" },
	{ "status 200,401-403;", "HTTP/1.1 403 Forbidden\r\n\r\n", false, "up: status 403" },
	{ "status 200,401-403;", "HTTP/1.1 404 Not Found\r\n\r\n", false, "down: status 404 Not Found" },
	{ "", "HTTP/1.1 100 Continue\r\n\r\n" HEAD "\r\n", false, "up: status 200" },
	{ "", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", false, "wait" },
	{ "", "SSH-2.0-OpenSSH_9.2\r\n", false,
	  "down: the answer is no HTTP: it does not begin with HTTP/1." },
	{ "", "S", false, "down: the answer is no HTTP: it does not begin with HTTP/1." },
	{ "", "HTTP/2 200\r\n\r\n", false, "down: the answer is no HTTP: it does not begin with HTTP/1." },
	{ "", "HTTP/1.1 2000\r\n\r\n", false, "down: the answer is no HTTP: its first line holds no status" },
	{ "", "HTTP/1.1 000\r\n\r\n", false, "down: the answer is no HTTP: its first line holds no status" },
	{ "", "HTTP/1.1\r\n", false, "down: the answer is no HTTP: its first line holds no status" },
	{ "", HEAD "Content-Length: 1x\r\n\r\n", false,
	  "down: the answer is no HTTP: its Content-Length is no number" },
	{ "", HEAD "Content-Length: 99999999999999999999999\r\n\r\n", false,
	  "down: the answer is no HTTP: its Content-Length is no number" },
	{ "", HEAD "Content-Length:\r\n\r\n", false,
	  "down: the answer is no HTTP: its Content-Length is empty" },
	{ "", HEAD "no colon here\r\n: x\r\n\r\n", false, "up: status 200" },
	/* the page */
	{ "contains ready;", HEAD "Content-Length: 9\r\n\r\nwe ready?", false,
	  "up: status 200, the page contains what it should" },
	{ "contains ready;", HEAD "Content-Length: 9\r\n\r\nwe rea", false, "wait" },
	{ "contains ready;", HEAD "Content-Length: 6\r\n\r\nwe ready?", false,
	  "down: status 200, but the page does not contain \"ready\"" },
	{ "contains ready;", HEAD "Content-Length: 3\r\n\r\nno!", false,
	  "down: status 200, but the page does not contain \"ready\"" },
	{ "contains ready;", HEAD "\r\nre", false, "wait" },
	{ "contains ready;", HEAD "\r\nnot rready", true,
	  "up: status 200, the page contains what it should" },
	{ "contains ready;", HEAD "\r\nnothing", true,
	  "down: status 200, but the page does not contain \"ready\"" },
	{ "contains ready;", HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nxre\r\n3;e=f\r\nady\r\n0\r\n\r\n",
	  false, "up: status 200, the page contains what it should" },
	{ "contains ready;", HEAD "transfer-encoding: gzip, Chunked\r\n\r\n3\r\nre", false, "wait" },
	{ "contains ready;", HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nre\r\n0\r\n\r\nready", false,
	  "down: status 200, but the page does not contain \"ready\"" },
	{ "contains ready;", HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\n", false,
	  "down: status 200, but the chunks of the page make no sense" },
	{ "contains ready;", HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nready\r\n", false,
	  "down: status 200, but the chunks of the page make no sense" },
	{ "contains ready;", HEAD "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nre", false, "wait" },
	{ "contains ready;", "HTTP/1.1 304 Not Modified\r\n\r\n", false,
	  "down: status 304, but the page does not contain \"ready\"" },
	{ "contains aab;", HEAD "\r\naaaab", false, "up: status 200, the page contains what it should" },
	{ "contains abcabd;", HEAD "\r\nabcabcabd", false,
	  "up: status 200, the page contains what it should" },
	{ "method HEAD;", HEAD "Content-Length: 500\r\n\r\n", false, "up: status 200" },
	/* patterns */
	{ "match '^200 OK';", HEAD "Content-Length: 22\r\n\r\n200 OK<br/>FE1.EX.NET\n", false,
	  "up: status 200, the page matches" },
	{ "match '(?i)fe\\d+\\.ex';", HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nFE\r\n5\r\n1.EX.\r\n0\r\n\r\n",
	  false, "up: status 200, the page matches" },
	{ "match 'a$';", HEAD "Content-Length: 2\r\n\r\na", false, "wait" },
	{ "match a;", HEAD "\r\nba", false, "wait" },
	{ "match a;", HEAD "\r\nba", true, "up: status 200, the page matches" },
	{ "match c;", HEAD "\r\nba", true, "down: status 200, but the page does not match \"c\"" },
	{ "match '^$';", HEAD "Content-Length: 0\r\n\r\n", false, "up: status 200, the page matches" },
	{ "match a;", HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\n", false,
	  "down: status 200, but the chunks of the page make no sense" },
	{ "match a; contains b;", HEAD "Content-Length: 2\r\n\r\nab", false, "up: status 200, the page matches" },
	{ "match a; contains c;", HEAD "Content-Length: 2\r\n\r\nab", false,
	  "down: status 200, but the page does not contain \"c\"" },
	{ "match c; contains b;", HEAD "Content-Length: 2\r\n\r\nab", false,
	  "down: status 200, but the page does not match \"c\"" },
};

/* What was judged must not depend on where the segments ended: no prefix may give another verdict,
 * except to wait. */
static bool
http_cut(struct run *run, const char *said, const char *verdict)
{
	size_t len = strlen(said);

	for (size_t n = 0; n < len; n++) {
		char *copy = malloc(n + 1); /* so that a sanitizer sees the end */
		struct sy_probe_step step;

		memcpy(copy, said, n);
		step = run->ops->data(run->used.conf, run->state, &run->probe, sy_span(copy, n), false);
		free(copy);
		if (step.what != SY_PROBE_WAIT && strcmp(told(&step), verdict) != 0 &&
		    !(step.what == SY_PROBE_DOWN && strncmp(verdict, "down", 4) == 0)) {
			diag("at %zu of %zu: %s", n, len, told(&step));
			return false;
		}
	}
	return true;
}

static void
test_http(void)
{
	struct run run = run_of("http", "");
	struct sy_probe_step step = run.ops->start(run.used.conf, run.state, &run.probe);
	char *long_head, *end;

	is_str((char *)memcpy(arena_alloc(arena, step.bytes.len + 1), step.bytes.at, step.bytes.len),
	       "GET / HTTP/1.1\r\nHost: 192.0.2.7:8080\r\nUser-Agent: steelyard-monitor\r\n"
	       "Accept: */*\r\nConnection: close\r\n\r\n", "http: the request");
	run.probe.server = v6;
	step = run.ops->start(run.used.conf, run.state, &run.probe);
	ok(memmem(step.bytes.at, step.bytes.len, "Host: [2001:db8:0:0:0:0:0:7]:80\r\n", 33), "http: an IPv6 host");
	run = run_of("http", "method HEAD; path /a?b=c; host www.example.net;");
	step = run.ops->start(run.used.conf, run.state, &run.probe);
	ok(memmem(step.bytes.at, step.bytes.len,
	          "HEAD /a?b=c HTTP/1.1\r\nHost: www.example.net\r\n", 45), "http: method, path and host");

	for (size_t i = 0; i < sizeof(http_cases) / sizeof(http_cases[0]); i++) {
		run = run_of("http", http_cases[i].settings);
		step = run.ops->data(run.used.conf, run.state, &run.probe,
		                     sy_span_text(http_cases[i].said), http_cases[i].closed);
		is_str(told(&step), http_cases[i].verdict, "http { %s } hears \"%.60s\"",
		       http_cases[i].settings, http_cases[i].said);
		ok(http_cut(&run, http_cases[i].said, http_cases[i].verdict), "  cut at each byte");
	}

	long_head = arena_alloc(arena, 70001);
	end = stpcpy(long_head, HEAD "X: ");
	memset(end, 'a', (size_t)(long_head + 70000 - end));
	run = run_of("http", "");
	step = run.ops->data(run.used.conf, run.state, &run.probe, sy_span(long_head, 70000), false);
	has_str(told(&step), "longer than 64 KiB", "http: a head without end");
	memcpy(long_head + strlen(HEAD), "\r\n", 2);
	run = run_of("http", "contains b;");
	step = run.ops->data(run.used.conf, run.state, &run.probe, sy_span(long_head, 70000), false);
	has_str(told(&step), "does not contain", "http: only 64 KiB of a page are searched");
}

/* Patterns that would take for ever, or seconds at least, on 64 KiB. They end with a class because the
 * library looks for a last letter first, and gives up when there is none. */
static void
test_http_hard(void)
{
	static const struct {
		const char *pattern;
		bool hard;
	} cases[] = {
		{ "(a+)+[bc]", true }, { "(a|aa)+[bc]", true }, { "(a*)*(a*)*(a*)*[!?]", true },
		{ "a*a*a*a*[bc]", true }, { "\\w*[!?]", true }, { ".*?.*?.*?[!?]", true },
		{ "(?=(a+))a*[bc]\\1", true }, { "(?:a|b)*?[!?]", true },
		{ "x*y*z*a$", false }, { "a{60000}", false }, { "healthy", false }, { "^a+$", false },
	};
	char *page = arena_alloc(arena, 66000);
	size_t len = (size_t)sprintf(page, HEAD "\r\n");

	memset(page + len, 'a', 65536);
	len += 65536;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct run run = run_of("http", arena_printf(arena, "match '%s';", cases[i].pattern));
		uint64_t from = clock_us(), took;
		struct sy_probe_step step = run.ops->data(run.used.conf, run.state, &run.probe,
		                                          sy_span(page, len), true);

		took = (clock_us() - from) / 1000;
		ok((strstr(told(&step), "takes too long") != NULL) == cases[i].hard, "http: %s on 64 KiB: %s (%u ms)",
		   cases[i].pattern, told(&step), (unsigned)took);
		ok(took < 5000, "http: and it takes no seconds, even here");
		run.used.module->release(run.used.conf);
	}
}

static void
test_http_headers(void)
{
	struct run run = run_of("http", "header X-Probe 'yes please'; header user-agent me; header accept text/html;");
	struct sy_probe_step step = run.ops->start(run.used.conf, run.state, &run.probe);
	char settings[8192], *to = settings;

	is_str((char *)memcpy(arena_alloc(arena, step.bytes.len + 1), step.bytes.at, step.bytes.len),
	       "GET / HTTP/1.1\r\nHost: 192.0.2.7:8080\r\nX-Probe: yes please\r\nuser-agent: me\r\n"
	       "accept: text/html\r\nConnection: close\r\n\r\n", "http: fields of the operator's own");
	for (unsigned i = 0; i < 51; i++)
		to += sprintf(to, "header X%u %070u;", i, i);
	run = run_of("http", arena_printf(arena, "%s path /%01000u; host %0255u;", settings, 1, 1));
	step = run.ops->start(run.used.conf, run.state, &run.probe);
	ok(step.bytes.len > 5000 && memcmp(step.bytes.at + step.bytes.len - 23, "\r\nConnection: close\r\n\r\n", 23) == 0,
	   "http: the largest request is whole");
}

/* ---- tls ---- */

static const struct {
	const char *settings;
	struct sy_probe_tls seen;
	const char *verdict;
	bool warn;
} tls_cases[] = {
	{ "", { .established = true, .server_hello = true, .days_left = 90, .version = "TLSv1.3" },
	  "up: TLSv1.3 handshake done", false },
	{ "", { .server_hello = true, .wants_client_certificate = true, .days_left = 90,
	        .problem = "handshake failure" },
	  "up: asks for a client certificate, so it is alive", false },
	{ "", { .wants_client_certificate = true, .problem = "handshake failure" },
	  "down: TLS handshake failed: handshake failure", false },
	{ "", { .server_hello = true, .problem = "handshake failure" },
	  "down: TLS handshake failed: handshake failure", false },
	{ "", { .problem = NULL }, "down: TLS handshake failed: for an unknown reason", false },
	{ "", { .established = true, .server_hello = true, .days_left = 5, .version = "TLSv1.2" },
	  "up: handshake done; the certificate ends in 5 days", true },
	{ "warn-days 0;", { .established = true, .server_hello = true, .days_left = 5, .version = "TLSv1.2" },
	  "up: TLSv1.2 handshake done", false },
	{ "", { .established = true, .server_hello = true, .days_left = -3, .version = "TLSv1.2" },
	  "up: handshake done; the certificate is out of date since 3 days", true },
	{ "fail-days 7;", { .established = true, .server_hello = true, .days_left = 5, .version = "TLSv1.2" },
	  "down: the certificate ends in 5 days", false },
	{ "fail-days 7;", { .established = true, .server_hello = true, .days_left = -5, .version = "TLSv1.2" },
	  "down: the certificate is out of date since 5 days", false },
	{ "verify on;", { .established = true, .server_hello = true, .days_left = 90, .version = "TLSv1.2",
	                  .problem = "self-signed certificate" },
	  "down: the certificate is not trusted: self-signed certificate", false },
	{ "verify on; name a.example;", { .established = true, .server_hello = true, .days_left = 90,
	                                  .version = "TLSv1.2", .verified = true },
	  "down: the certificate does not hold the name a.example", false },
	{ "verify on; name a.example;", { .established = true, .server_hello = true, .days_left = 90,
	                                  .version = "TLSv1.2", .verified = true, .name_matches = true },
	  "up: TLSv1.2 handshake done", false },
	{ "verify on;", { .server_hello = true, .wants_client_certificate = true, .days_left = 90,
	                  .problem = "certificate has expired" },
	  "down: the certificate is not trusted: certificate has expired", false },
};

static void
test_tls(void)
{
	struct run run = run_of("tls", "verify on; name web.example.net;");
	struct sy_probe_plan plan_ = run.ops->plan(run.used.conf);

	ok(plan_.transport == SY_OVER_TLS && plan_.tls_verify, "tls: transport and verify");
	is_str(plan_.tls_name, "web.example.net", "tls: name");
	for (size_t i = 0; i < sizeof(tls_cases) / sizeof(tls_cases[0]); i++) {
		struct sy_probe_step step;

		run = run_of("tls", tls_cases[i].settings);
		run.probe.tls = &tls_cases[i].seen;
		step = run.ops->start(run.used.conf, run.state, &run.probe);
		is_str(told(&step), tls_cases[i].verdict, "tls { %s }, case %zu", tls_cases[i].settings, i);
		is_int(step.warn, tls_cases[i].warn, "  warns or not");
	}
}

/* ---- icmp ---- */

static void
test_icmp(void)
{
	struct run run = run_of("icmp", "size 100;");
	struct sy_probe_step step = run.ops->start(run.used.conf, run.state, &run.probe);
	uint8_t copy[100];

	is_int(run.ops->plan(run.used.conf).transport, SY_OVER_ICMP, "icmp: transport");
	is_uint(step.bytes.len, 100, "icmp: as many bytes as were wanted");
	memcpy(copy, step.bytes.at, 100);
	step = run.ops->data(run.used.conf, run.state, &run.probe, sy_span(copy, 100), false);
	is_str(told(&step), "up: echo received", "icmp: the same bytes");
	copy[50] ^= 1;
	step = run.ops->data(run.used.conf, run.state, &run.probe, sy_span(copy, 100), false);
	is_str(told(&step), "wait", "icmp: other bytes are somebody else's");
	step = run.ops->data(run.used.conf, run.state, &run.probe, sy_span(copy, 99), false);
	is_str(told(&step), "wait", "icmp: so are fewer");
}

/* ---- exec ---- */

static const struct {
	const char *settings, *wrote;
	int status, signal;
	const char *verdict;
	int weight;
} exec_cases[] = {
	{ "", "", 0, 0, "up: exit status 0", 0 },
	{ "", "all is well\nreally\n", 0, 0, "up: all is well", 0 },
	{ "", "\n\n  no route\r\nmore", 1, 0, "down: exit status 1: no route", 0 },
	{ "", "", 102, 0, "down: exit status 102", 0 },
	{ "", "ouch", -1, 9, "down: ended by signal 9: ouch", 0 },
	{ "dynamic on;", "", 0, 0, "up: exit status 0", 0 },
	{ "dynamic on;", "", 1, 0, "down: exit status 1", 0 },
	{ "dynamic on;", "busy", 2, 0, "draining: weight 0: busy", 0 },
	{ "dynamic on;", "", 3, 0, "up: weight 1 %", 1 },
	{ "dynamic on;", "half", 52, 0, "up: weight 50 %: half", 50 },
	{ "dynamic on;", "", 102, 0, "up: weight 100 %", 100 },
	{ "dynamic on;", "", 255, 0, "up: weight 100 %", 100 },
};

static void
test_exec(void)
{
	struct run run = run_of("exec", "command /bin/echo a 'b c' ;");
	struct sy_probe_step step = run.ops->start(run.used.conf, run.state, &run.probe);

	is_int(run.ops->plan(run.used.conf).transport, SY_OVER_PROGRAM, "exec: transport");
	ok(step.what == SY_PROBE_RUN && strcmp(step.argv[0], "/bin/echo") == 0 &&
	   strcmp(step.argv[2], "b c") == 0 && !step.argv[3], "exec: path and arguments");
	for (size_t i = 0; i < sizeof(exec_cases) / sizeof(exec_cases[0]); i++) {
		run = run_of("exec", arena_printf(arena, "command /bin/x; %s", exec_cases[i].settings));
		run.ops->data(run.used.conf, run.state, &run.probe, sy_span_text(exec_cases[i].wrote), true);
		step = run.ops->exited(run.used.conf, run.state, &run.probe, exec_cases[i].status,
		                       exec_cases[i].signal);
		is_str(told(&step), exec_cases[i].verdict, "exec { %s } ends with %d", exec_cases[i].settings,
		       exec_cases[i].status);
		is_int(step.weight_percent, exec_cases[i].weight, "  and says a weight or none");
	}
}

int
main(void)
{
	arena = arena_new();
	test_settings();
	test_tcp();
	test_http();
	test_http_hard();
	test_http_headers();
	test_tls();
	test_icmp();
	test_exec();
	arena_free(arena);
	return done_testing();
}
