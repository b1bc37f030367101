/* What comes with a request: only what its route takes. A name that is misspelt must not be left out: a wish for
 * one service would be one for all. */
#include <string.h>

#include "base/text.h"
#include "role/console.h"

/* Is it one of the words? */
static bool
args_have(const char *words, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = words; at && *at; at += *at == ' ') {
		size_t n = strcspn(at, " ");

		if (n == len && memcmp(at, name, len) == 0)
			return true;
		at += n;
	}
	return false;
}

static void
args_unknown(struct request *request, const char *name, bool in_query)
{
	const struct route *route = request->route;
	bool other = in_query == (strcmp(route->method, "POST") == 0);
	const char *takes = route->takes ? route->takes : "", *more = route->takes_more ? route->takes_more : "";

	if (other)
		request_error(request, 400, "%s %s does not look at %s in the %s", route->method, route->path, name,
		              in_query ? "query" : "body");
	else
		request_error(request, 400, "%s %s does not know %s; it takes: %s%s%s", route->method, route->path,
		              name, *takes ? takes : "nothing", *more ? " " : "", more);
}

static enum MHD_Result
args_query(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct request *request = context;
	uint64_t n;

	(void)kind;
	if (strcmp(request->route->method, "POST") == 0 || !args_have(request->route->takes, name))
		args_unknown(request, name, true);
	else if (!value || !*value)
		request_error(request, 400, "%s= has no value", name);
	else if (strcmp(name, "limit") == 0 && !uint_parse(value, &n))
		request_error(request, 400, "limit= is a number, not %s", value);
	return request->status ? MHD_NO : MHD_YES;
}

static void
args_body(struct request *request)
{
	bool post = strcmp(request->route->method, "POST") == 0;
	const char *name;
	json_t *value;

	json_object_foreach(request->args, name, value) {
		bool text = post && args_have(request->route->takes, name);

		if (!text && !(post && args_have(request->route->takes_more, name)))
			args_unknown(request, name, false);
		else if (text && !json_is_string(value) && !json_is_null(value))
			request_error(request, 400, "%s is a text, such as \"...\"", name);
		if (request->status)
			return;
	}
}

bool
args_check(struct request *request)
{
	/* A page may have anything behind its ?. */
	if (strncmp(request->route->path, "/v1", 3) != 0)
		return true;
	mhd.get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, args_query, request);
	if (!request->status)
		args_body(request);
	return request->status == 0;
}
