/* Answers of our own: pages, redirects, refusals. */
#include <strings.h>

#include "http.h"

static const struct { uint16_t status; const char *phrase, *words; } answers[] = {
	{ 200, "OK", NULL },
	{ 204, "No Content", NULL },
	{ 301, "Moved Permanently", NULL },
	{ 302, "Found", NULL },
	{ 303, "See Other", NULL },
	{ 304, "Not Modified", NULL },
	{ 307, "Temporary Redirect", NULL },
	{ 308, "Permanent Redirect", NULL },
	{ 400, "Bad Request", "The request could not be understood." },
	{ 401, "Unauthorized", NULL },
	{ 403, "Forbidden", "You may not see this page." },
	{ 404, "Not Found", "There is no such page." },
	{ 405, "Method Not Allowed", "This cannot be done here." },
	{ 408, "Request Timeout", "The request did not arrive in time." },
	{ 410, "Gone", "This page is no more." },
	{ 413, "Content Too Large", "The request is too large." },
	{ 414, "URI Too Long", "The address is too long." },
	{ 417, "Expectation Failed", "The request expects what is not possible here." },
	{ 421, "Misdirected Request", NULL },
	{ 426, "Upgrade Required", NULL },
	{ 429, "Too Many Requests", "There are too many requests. Please try again later." },
	{ 431, "Request Header Fields Too Large", "The head of the request is too large; a browser may have "
	       "collected too many cookies." },
	{ 500, "Internal Server Error", "Something went wrong." },
	{ 501, "Not Implemented", "This cannot be done here." },
	{ 502, "Bad Gateway", "The server did not give a sensible answer. Please try again." },
	{ 503, "Service Unavailable", "The service cannot be reached at the moment. Please try again in a "
	       "minute." },
	{ 504, "Gateway Timeout", "The server did not answer in time. Please try again." },
	{ 505, "HTTP Version Not Supported", "This version of HTTP is not spoken here." },
};

enum { ANSWERS = sizeof(answers) / sizeof(answers[0]) };

const char *
http_phrase(uint32_t status)
{
	for (unsigned i = 0; i < ANSWERS; i++)
		if (answers[i].status == status)
			return answers[i].phrase;
	return "";
}

void
http_count_status(struct sy_session *session, uint32_t status)
{
	sy_count(session, COUNT_1XX + (status < 600 ? status / 100 : 5) - 1, 1);
	if (status >= 200 || status == 101)
		session->asked.status = status;
}

/* By the ending of the file's name. */
static const char *
answer_type(const char *path)
{
	static const struct { const char *ending, *type; } types[] = {
		{ ".html", "text/html; charset=utf-8" }, { ".htm", "text/html; charset=utf-8" },
		{ ".json", "application/json" }, { ".txt", "text/plain; charset=utf-8" },
		{ ".xml", "application/xml" }, { ".js", "text/javascript; charset=utf-8" },
		{ ".css", "text/css; charset=utf-8" }, { ".pac", "application/x-ns-proxy-autoconfig" },
	};
	size_t len = strlen(path);

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		size_t ending = strlen(types[i].ending);

		if (len > ending && strcasecmp(path + len - ending, types[i].ending) == 0)
			return types[i].type;
	}
	return "text/html; charset=utf-8";
}

static const struct page *
answer_page(const struct http_conf *conf, uint32_t status)
{
	const struct page *page = conf->page.at;

	for (uint32_t i = 0; i < conf->page.n; i++)
		for (uint32_t k = 0; k < page[i].status.n; k++)
			if (status >= page[i].status.at[k].from && status <= page[i].status.at[k].to)
				return &page[i];
	return NULL;
}

/* What is said when there is no page for it. */
static void
answer_plain(struct out *out, uint32_t status)
{
	const char *words = NULL;

	for (unsigned i = 0; i < ANSWERS; i++)
		if (answers[i].status == status)
			words = answers[i].words;
	out_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
	         "<meta name=\"viewport\" content=\"width=device-width\"><title>");
	out_text(out, http_phrase(status));
	out_text(out, "</title><style>body{font:1.1em/1.5 system-ui,sans-serif;max-width:36em;"
	         "margin:15vh auto;padding:0 1em;color:#333}h1{font-size:1.4em}</style></head>\n<body><h1>");
	out_text(out, http_phrase(status));
	out_text(out, "</h1><p>");
	out_text(out, words ? words : "");
	out_text(out, "</p></body></html>\n");
}

struct answer {
	uint32_t status;
	const char *location;     /* NULL: none */
	struct sy_span body;
	const char *path;         /* NULL: body is not given, and a page is looked for */
	bool last;                /* the connection ends with it */
};

/* Head and body into http->out. */
static bool
answer_write(struct sy_session *session, const struct answer *answer)
{
	const struct http_conf *conf = http_conf(session);
	const struct page *page = answer->path ? NULL : answer_page(conf, answer->status);
	struct http *http = session->state;
	struct sy_span body = page ? page->file.content : answer->body;
	const char *path = page ? page->file.path : answer->path;
	struct out plain = { .at = NULL }, *out = &http->out;
	bool bodiless = answer->status == 204 || answer->status == 304;

	if (!path && !bodiless) {
		answer_plain(&plain, answer->status);
		body = out_said(&plain);
	}
	out_begin(out, body.len + 512);
	out_text(out, "HTTP/1.1 ");
	out_number(out, answer->status);
	out_text(out, " ");
	out_text(out, http_phrase(answer->status));
	out_text(out, "\r\n");
	if (answer->location)
		out_field(out, "Location", sy_span_text(answer->location));
	if (!bodiless) {
		out_field(out, "Content-Type", sy_span_text(answer_type(path ? path : "")));
		out_text(out, "Content-Length: ");
		out_number(out, body.len);
		out_text(out, "\r\n");
	}
	if (answer->status >= 400)
		out_text(out, "Cache-Control: no-store\r\n");
	if (answer->status == 405)
		out_text(out, "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n");
	if (conf->hsts.ms && session->facts.secure) {
		out_text(out, "Strict-Transport-Security: max-age=");
		out_number(out, conf->hsts.ms / 1000);
		out_text(out, "\r\n");
	}
	if (answer->last || http->old)
		out_field(out, "Connection", sy_span_text(answer->last ? "close" : "keep-alive"));
	out_text(out, "\r\n");
	if (!http->head_only && !bodiless)
		out_span(out, body);
	out->failed = out->failed || plain.failed;
	out_free(&plain);
	http_count_status(session, answer->status);
	return !out->failed;
}

struct sy_verdict
answer_close(struct sy_session *session, uint32_t status, const char *reason)
{
	struct answer answer = { .status = status, .last = true };
	struct http *http = session->state;
	struct sy_verdict verdict = { .what = SY_CLOSE, .reason = reason };

	/* What is known is of the request before. */
	if (!http->kept)
		session->asked = (struct sy_asked){ .status = 0 };
	if (answer_write(session, &answer))
		verdict.bytes = out_said(&http->out);
	return verdict;
}

struct sy_verdict
answer_refuse(struct sy_session *session, uint32_t status, const char *reason)
{
	enum http_counter counter = COUNT_REFUSED_BAD;

	if (status == 413 || status == 414 || status == 431)
		counter = COUNT_REFUSED_LARGE;
	else if (status == 408)
		counter = COUNT_REFUSED_LATE;
	else if (status == 501 || status == 505 || status == 417 || status == 405)
		counter = COUNT_REFUSED_UNSUPPORTED;
	sy_count(session, counter, 1);
	return answer_close(session, status, reason);
}

struct sy_verdict
answer_say(struct sy_session *session, size_t n, bool more, uint32_t status, const char *location,
           struct sy_span body, const char *path, const char *reason)
{
	struct http *http = session->state;
	struct answer answer = {
		.status = status, .location = location, .body = body, .path = path,
		.last = http->last || more,
	};
	struct sy_verdict verdict = { .what = SY_EMIT, .to = SY_CLIENT, .n = n, .reason = reason };

	if (!answer_write(session, &answer))
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "out of memory" };
	/* Its body would be taken for the next request. */
	if (answer.last)
		verdict = (struct sy_verdict){ .what = SY_CLOSE, .reason = reason };
	verdict.bytes = out_said(&http->out);
	http_forget(session);
	return verdict;
}
