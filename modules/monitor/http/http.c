/* Asks a web server for a page and judges by the status, and by what the page contains. */
#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "api/monitor.h"

enum { HTTP_REQUEST = 2048, HTTP_PATH = 1024, HTTP_HOST = 255, METHOD_GET = 0, METHOD_HEAD };

struct http_conf {
	struct sy_choice method;
	const char *path, *host, *contains;
	struct sy_ranges status;
};

struct http_state {
	char request[HTTP_REQUEST];
};

static const char *const http_methods[] = { "GET", "HEAD", NULL };

static const struct sy_row http_rows[] = {
	SY_ROW(struct http_conf, method, "method", .words = http_methods, .preset = "GET",
	       .doc = "Method of the request."),
	SY_ROW(struct http_conf, path, "path", .preset = "/",
	       .doc = "What to ask for, with the query if there is one."),
	SY_ROW(struct http_conf, host, "host",
	       .doc = "Host field of the request; the server's address and port when not given."),
	SY_ROW(struct http_conf, status, "status", .min = 200, .max = 599, .preset = "200-399",
	       .doc = "Answers that count as up: 200-399 or 200,401-403."),
	SY_ROW(struct http_conf, contains, "contains",
	       .doc = "Text that must stand in the first 64 KiB of the page."),
	SY_ROW_END
};

/* Nothing that would end a line or a word of the request. */
static int
http_check_word(const char *name, const char *word, size_t most, struct sy_err *err)
{
	size_t len = strlen(word);

	if (len == 0 || len > most)
		return sy_fail(err, "%s: between 1 and %zu characters are possible, not %zu", name, most, len);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)word[i] <= ' ' || word[i] == 0x7f)
			return sy_fail(err, "%s: \"%s\" holds a blank or a control character: write it as %%%02X",
			               name, word, (unsigned char)word[i]);
	return 0;
}

static int
http_check(void *conf, struct sy_err *err)
{
	const struct http_conf *http = conf;

	if (http_check_word("path", http->path, HTTP_PATH, err) != 0 ||
	    (http->host && http_check_word("host", http->host, HTTP_HOST, err) != 0))
		return -1;
	if (http->path[0] != '/')
		return sy_fail(err, "path: \"%s\" does not begin with /", http->path);
	if (http->contains && http->method.index == METHOD_HEAD)
		return sy_fail(err, "contains: the answer to HEAD has no page to look into; use GET");
	if (http->contains && (!*http->contains || strlen(http->contains) > ANSWER_NEEDLE_MOST))
		return sy_fail(err, "contains: between 1 and %d bytes are possible", ANSWER_NEEDLE_MOST);
	return 0;
}

static struct sy_probe_plan
http_plan(const void *conf)
{
	(void)conf;
	return (struct sy_probe_plan){ .transport = SY_OVER_TCP };
}

/* Address and port as they stand in a Host field. */
static void
http_print_host(const struct sy_addr *addr, char out[static 64])
{
	const uint8_t *ip = addr->ip;
	int n = 0;

	if (addr->family == SY_IPV4) {
		snprintf(out, 64, "%u.%u.%u.%u:%u", ip[0], ip[1], ip[2], ip[3], addr->port);
		return;
	}
	for (int i = 0; i < 8; i++)
		n += snprintf(out + n, (size_t)(64 - n), "%s%x", i ? ":" : "[", ip[2 * i] << 8 | ip[2 * i + 1]);
	snprintf(out + n, (size_t)(64 - n), "]:%u", addr->port);
}

static struct sy_probe_step
http_start(const void *conf, void *state, const struct sy_probe *probe)
{
	const struct http_conf *http = conf;
	struct http_state *sent = state;
	char address[64];
	int len;

	http_print_host(&probe->server, address);
	len = snprintf(sent->request, sizeof(sent->request),
	               "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: steelyard-monitor\r\n"
	               "Accept: */*\r\nConnection: close\r\n\r\n",
	               http_methods[http->method.index], http->path,
	               http->host ? http->host : address);
	return (struct sy_probe_step){ .what = SY_PROBE_SEND,
	                               .bytes = sy_span(sent->request, (size_t)len) };
}

static int
http_wanted(const struct http_conf *http, int status)
{
	for (uint32_t i = 0; i < http->status.n; i++)
		if ((uint32_t)status >= http->status.at[i].from && (uint32_t)status <= http->status.at[i].to)
			return 1;
	return 0;
}

static struct sy_probe_step
http_judge(const struct http_conf *http, const struct answer *answer, bool closed)
{
	int phrase = (int)(answer->phrase.len < 60 ? answer->phrase.len : 60);

	if (!http_wanted(http, answer->status))
		return sy_judge(SY_PROBE_DOWN, "status %d%s%.*s", answer->status, phrase ? " " : "", phrase,
		                phrase ? (const char *)answer->phrase.at : "");
	if (!http->contains)
		return sy_judge(SY_PROBE_UP, "status %d", answer->status);
	switch (answer_find(answer, sy_span_text(http->contains), closed)) {
	case ANSWER_NOT_YET:
		return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
	case ANSWER_FOUND:
		return sy_judge(SY_PROBE_UP, "status %d, the page contains what it should", answer->status);
	case ANSWER_BROKEN:
		return sy_judge(SY_PROBE_DOWN, "status %d, but the chunks of the page make no sense",
		                answer->status);
	case ANSWER_NEVER:
		break;
	}
	return sy_judge(SY_PROBE_DOWN, "status %d, but the page does not contain \"%.80s\"",
	                answer->status, http->contains);
}

static struct sy_probe_step
http_data(const void *conf, void *state, const struct sy_probe *probe, struct sy_span in, bool closed)
{
	const struct http_conf *http = conf;
	struct answer answer;

	(void)state, (void)probe;
	switch (answer_read(in, http->method.index == METHOD_HEAD, &answer)) {
	case ANSWER_MORE:
		break;
	case ANSWER_BAD:
		return sy_judge(SY_PROBE_DOWN, "the answer is no HTTP: %s", answer.problem);
	case ANSWER_HEAD:
		return http_judge(http, &answer, closed);
	}
	return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
}

static const struct sy_monitor http_ops = {
	.size = sizeof(http_ops),
	.state_size = sizeof(struct http_state),
	.plan = http_plan,
	.start = http_start,
	.data = http_data,
};

SY_MODULE(SY_MONITOR, "http",
	.version = "1.0",
	.summary = "Asks a web server for a page and judges by status and content.",
	.conf_size = sizeof(struct http_conf),
	.rows = http_rows,
	.check = http_check,
	.ops = &http_ops);
