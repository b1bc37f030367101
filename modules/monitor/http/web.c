#include "web.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "api/head.h"

enum { WEB_PATH = 1024, WEB_HOST = 255, WEB_NAME = 64, WEB_HEADERS = 4096, METHOD_HEAD = 1 };

const char *const web_methods[] = { "GET", "HEAD", "OPTIONS", NULL };

const struct sy_row web_header_rows[] = {
	SY_ROW(struct web_header, name, "name", .flags = SY_ARGUMENT | SY_REQUIRED, .doc = "Its name."),
	SY_ROW(struct web_header, value, "value", .flags = SY_ARGUMENT | SY_REQUIRED, .doc = "Its value."),
	SY_ROW_END
};

/* ---- settings ---- */

/* Nothing that would end a line or a word of the request. */
static int
web_check_word(const char *name, const char *word, size_t most, struct sy_err *err)
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
web_check_header(const struct web_header *header, struct sy_err *err)
{
	static const char *const ours[] = { "host", "connection", "content-length", "transfer-encoding", NULL };
	size_t len = strlen(header->name);

	if (len == 0 || len > WEB_NAME || strpbrk(header->name, " \t\r\n\"(),/:;<=>?@[\\]{}"))
		return sy_fail(err, "header: \"%.80s\" is no name of a field", header->name);
	for (unsigned i = 0; ours[i]; i++)
		if (sy_span_is(sy_span_text(header->name), ours[i]))
			return sy_fail(err, "header: %s is written by the monitor itself%s", header->name,
			               i ? "" : "; host sets it");
	for (const char *at = header->value; *at; at++)
		if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f)
			return sy_fail(err, "header: the value of %s holds a control character", header->name);
	return 0;
}

static int
web_check_headers(const struct web_conf *web, struct sy_err *err)
{
	const struct web_header *header = web->headers.at;
	size_t all = 0;

	for (uint32_t i = 0; i < web->headers.n; i++) {
		if (web_check_header(&header[i], err) != 0)
			return -1;
		all += strlen(header[i].name) + strlen(header[i].value) + 4;
	}
	if (all > WEB_HEADERS)
		return sy_fail(err, "header: all together have %zu bytes, and %d are the most", all, WEB_HEADERS);
	return 0;
}

int
web_check(struct web_conf *web, struct sy_err *err)
{
	if (web_check_word("path", web->path, WEB_PATH, err) != 0 ||
	    (web->host && web_check_word("host", web->host, WEB_HOST, err) != 0) ||
	    web_check_headers(web, err) != 0)
		return -1;
	if (web->path[0] != '/')
		return sy_fail(err, "path: \"%s\" does not begin with /", web->path);
	if ((web->contains || web->pattern) && web->method.index == METHOD_HEAD)
		return sy_fail(err, "%s: the answer to HEAD has no page to look into; use GET",
		               web->contains ? "contains" : "match");
	if (web->contains && (!*web->contains || strlen(web->contains) > ANSWER_NEEDLE_MOST))
		return sy_fail(err, "contains: between 1 and %d bytes are possible", ANSWER_NEEDLE_MOST);
	if (web->pattern)
		web->match = match_new(web->pattern, err);
	return web->pattern && !web->match ? -1 : 0;
}

void
web_release(struct web_conf *web)
{
	match_free(web->match);
	web->match = NULL;
}

/* ---- the request ---- */

/* Address and port as they stand in a Host field. */
static void
web_print_host(const struct sy_addr *addr, char out[static 64])
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

static bool
web_has_header(const struct web_conf *web, const char *name)
{
	const struct web_header *header = web->headers.at;

	for (uint32_t i = 0; i < web->headers.n; i++)
		if (sy_span_is(sy_span_text(header[i].name), name))
			return true;
	return false;
}

/* check() has seen to it that all of it fits. */
struct sy_probe_step
web_start(const struct web_conf *web, struct web_state *state, const struct sy_probe *probe)
{
	const struct web_header *header = web->headers.at;
	char address[64], *to = state->request;
	size_t len, size = sizeof(state->request);

	web_print_host(&probe->server, address);
	len = (size_t)snprintf(to, size, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s", web_methods[web->method.index],
	                       web->path, web->host ? web->host : address,
	                       web_has_header(web, "user-agent") ? "" : "User-Agent: steelyard-monitor\r\n",
	                       web_has_header(web, "accept") ? "" : "Accept: */*\r\n");
	for (uint32_t i = 0; i < web->headers.n; i++)
		len += (size_t)snprintf(to + len, size - len, "%s: %s\r\n", header[i].name, header[i].value);
	len += (size_t)snprintf(to + len, size - len, "Connection: close\r\n\r\n");
	return (struct sy_probe_step){ .what = SY_PROBE_SEND, .bytes = sy_span(to, len) };
}

/* ---- the answer ---- */

static bool
web_wanted(const struct web_conf *web, int status)
{
	for (uint32_t i = 0; i < web->status.n; i++)
		if ((uint32_t)status >= web->status.at[i].from && (uint32_t)status <= web->status.at[i].to)
			return true;
	return false;
}

static struct sy_probe_step
web_broken(const struct answer *answer)
{
	return sy_judge(SY_PROBE_DOWN, "status %d, but the chunks of the page make no sense", answer->status);
}

static struct sy_probe_step
web_contains(const struct web_conf *web, const struct answer *answer, bool closed)
{
	switch (answer_find(answer, sy_span_text(web->contains), closed)) {
	case ANSWER_NOT_YET:
		return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
	case ANSWER_FOUND:
		return sy_judge(SY_PROBE_UP, "status %d, the page contains what it should", answer->status);
	case ANSWER_BROKEN:
		return web_broken(answer);
	case ANSWER_NEVER:
		break;
	}
	return sy_judge(SY_PROBE_DOWN, "status %d, but the page does not contain \"%.80s\"",
	                answer->status, web->contains);
}

static struct sy_probe_step
web_match(const struct web_conf *web, const struct answer *answer, bool closed)
{
	size_t len = 0;
	enum answer_found whole = answer_collect(answer, NULL, &len, closed);
	enum match_found found = MATCH_TOO_HARD;
	uint8_t *page;

	if (whole == ANSWER_BROKEN)
		return web_broken(answer);
	if (whole == ANSWER_NOT_YET)
		return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
	page = malloc(len + 1);
	if (page) {
		answer_collect(answer, page, &len, closed);
		found = match_find(web->match, sy_span(page, len));
	}
	free(page);
	if (found == MATCH_YES)
		return sy_judge(SY_PROBE_UP, "status %d, the page matches", answer->status);
	if (found == MATCH_NO)
		return sy_judge(SY_PROBE_DOWN, "status %d, but the page does not match \"%.80s\"", answer->status,
		                web->pattern);
	return sy_judge(SY_PROBE_DOWN, "status %d, but matching \"%.60s\" takes too long: write it simpler",
	                answer->status, web->pattern);
}

static struct sy_probe_step
web_judge(const struct web_conf *web, const struct answer *answer, bool closed)
{
	int phrase = (int)(answer->phrase.len < 60 ? answer->phrase.len : 60);
	struct sy_probe_step step;

	if (!web_wanted(web, answer->status))
		return sy_judge(SY_PROBE_DOWN, "status %d%s%.*s", answer->status, phrase ? " " : "", phrase,
		                phrase ? (const char *)answer->phrase.at : "");
	step = sy_judge(SY_PROBE_UP, "status %d", answer->status);
	if (web->contains)
		step = web_contains(web, answer, closed);
	if (web->match && step.what == SY_PROBE_UP)
		step = web_match(web, answer, closed);
	return step;
}

struct sy_probe_step
web_data(const struct web_conf *web, struct sy_span in, bool closed)
{
	struct answer answer;

	switch (answer_read(in, web->method.index == METHOD_HEAD, &answer)) {
	case ANSWER_MORE:
		break;
	case ANSWER_BAD:
		return sy_judge(SY_PROBE_DOWN, "the answer is no HTTP: %s", answer.problem);
	case ANSWER_HEAD:
		return web_judge(web, &answer, closed);
	}
	return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
}
