/* What monitor http and monitor https share: the request, and how its answer is judged. */
#ifndef MONITOR_HTTP_WEB_H
#define MONITOR_HTTP_WEB_H

#include "api/monitor.h"
#include "match.h"

struct web_header {
	const char *name, *value;
};

/* The first member of the settings of both. */
struct web_conf {
	struct sy_choice method;
	const char *path, *host, *contains, *pattern;
	struct sy_ranges status;
	struct sy_blocks headers; /* struct web_header */
	struct match *match;      /* the pattern, compiled; NULL: none */
};

enum { WEB_REQUEST = 8192 };

struct web_state {
	char request[WEB_REQUEST];
};

extern const char *const web_methods[];
extern const struct sy_row web_header_rows[];

#define WEB_ROWS(conf) \
	SY_ROW(conf, web.method, "method", .words = web_methods, .preset = "GET", \
	       .doc = "Method of the request."), \
	SY_ROW(conf, web.path, "path", .preset = "/", \
	       .doc = "What to ask for, with the query if there is one."), \
	SY_ROW(conf, web.host, "host", \
	       .doc = "Host field of the request; the server's address and port when not given."), \
	SY_ROWS_IN(conf, web.headers, "header", web_header_rows, struct web_header, \
	           .doc = "Another field of the request."), \
	SY_ROW(conf, web.status, "status", .min = 200, .max = 599, .preset = "200-399", \
	       .doc = "Answers that count as up: 200-399 or 200,401-403. A redirect is judged like any other, " \
	              "and not followed."), \
	SY_ROW(conf, web.contains, "contains", \
	       .doc = "Text that must stand in the first 64 KiB of the page."), \
	SY_ROW(conf, web.pattern, "match", \
	       .doc = "Regular expression (PCRE2) that must match in the first 64 KiB of the page. One that " \
	              "takes too long is given up, and the server counts as down.")

int web_check(struct web_conf *web, struct sy_err *err);
void web_release(struct web_conf *web);
struct sy_probe_step web_start(const struct web_conf *web, struct web_state *state,
                               const struct sy_probe *probe);
struct sy_probe_step web_data(const struct web_conf *web, struct sy_span in, bool closed);

#endif
