/* The web page and the document that describes the API: served from memory. */
#include "role/page.h"

#include <string.h>

#include "role/api.h"
#include "role/live.h"

static const char *
page_type(const char *name)
{
	static const struct {
		const char *ending, *type;
	} types[] = {
		{ ".html", "text/html; charset=utf-8" },
		{ ".css", "text/css; charset=utf-8" },
		{ ".js", "text/javascript; charset=utf-8" },
		{ ".svg", "image/svg+xml" },
		{ ".json", "application/json" },
	};
	const char *dot = strrchr(name, '.');

	for (unsigned i = 0; dot && i < sizeof(types) / sizeof(*types); i++)
		if (strcmp(dot, types[i].ending) == 0)
			return types[i].type;
	return "application/octet-stream";
}

static void
page_send(struct request *request, const char *name)
{
	for (const struct page_file *file = page_files; file->name; file++)
		if (strcmp(file->name, name) == 0) {
			request_constant(request, page_type(name), file->bytes, file->len);
			return;
		}
	request_error(request, 404, "the page has no file %s", name);
}

void
api_page(struct request *request)
{
	page_send(request, "index.html");
}

void
api_page_file(struct request *request)
{
	page_send(request, request->tail);
}

void
api_openapi(struct request *request)
{
	page_send(request, "openapi.json");
}

void
api_live(struct request *request)
{
	const struct text *whole = live_whole(request->console);
	struct text copy = { 0 };

	text_add(&copy, whole->at, whole->len);
	request_rendered(request, "application/json", copy.at, copy.len);
}
