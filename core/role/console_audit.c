/* See access.h. Refusals are warnings: somebody tried. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "role/access.h"

static const char *
audit_who(const struct request *request)
{
	return request->who.user[0] ? request->who.user : "somebody";
}

static void
audit_line(struct request *request, const char *who, const char *what, bool good)
{
	char from[ADDR_TEXT_SIZE];
	struct log_field fields[4];
	unsigned n = 0;

	access_source(request, from);
	fields[n++] = (struct log_field){ .name = "who", .text = who };
	fields[n++] = (struct log_field){ .name = "from", .text = from };
	if (request->peer->subject[0])
		fields[n++] = (struct log_field){ .name = "certificate", .text = request->peer->subject };
	if (request->status)
		fields[n++] = (struct log_field){ .name = "status", .number = request->status };
	log_event(good ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "audit", what, fields, n);
	event_add(request->console, "%s (%s): %s", who, from, what);
}

void
audit_login(struct request *request, const char *user, const char *outcome, bool good)
{
	audit_line(request, user, outcome, good);
}

void
audit_request(struct request *request)
{
	char *body = request->args ? json_dumps(request->args, JSON_COMPACT) : NULL;
	const char *words = json_string_value(json_object_get(request->answer, "error"));
	struct text what = { 0 };

	text_printf(&what, "%s ", request->route->method);
	text_plain(&what, request->path, strnlen(request->path, 200));
	if (body) {
		text_puts(&what, " ");
		text_add(&what, body, text_cut(body, strlen(body), 200));
	}
	text_puts(&what, ": ");
	/* The first line of what may be many. */
	if (request->status < 400)
		text_puts(&what, "done");
	else
		text_add(&what, words ? words : "refused", words ? strcspn(words, "\n") : strlen("refused"));
	audit_line(request, audit_who(request), what.at, request->status < 400);
	text_free(&what);
	free(body);
}
