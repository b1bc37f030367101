/* The life of a request that reached a handler: answered at once, or after others were asked. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memfd.h"
#include "base/must.h"
#include "base/text.h"
#include "role/console.h"

void
request_json(struct request *request, json_t *answer)
{
	must(request->status == 0);
	request->status = answer ? 200 : 500;
	request->answer = answer;
}

void
request_text(struct request *request, char *text)
{
	must(request->status == 0);
	request->status = 200;
	request->text = text;
	request->text_len = text ? strlen(text) : 0;
}

void
request_rendered(struct request *request, const char *type, char *text, size_t len)
{
	must(request->status == 0);
	request->status = 200;
	request->type = type;
	request->text = text;
	request->text_len = len;
}

void
request_constant(struct request *request, const char *type, const void *bytes, size_t len)
{
	must(request->status == 0);
	request->status = 200;
	request->type = type;
	request->constant = bytes;
	request->text_len = len;
}

void
request_stream(struct request *request)
{
	must(request->status == 0);
	request->status = 200;
	request->streams = true;
}

/* What was asked for may be no UTF-8, and is quoted in the answer. */
static json_t *
request_string(const char *words)
{
	json_t *string = json_string(words);
	struct text plain = { 0 };

	if (string)
		return string;
	text_plain(&plain, words, strlen(words));
	string = json_string(plain.at);
	text_free(&plain);
	return string;
}

void
request_error(struct request *request, unsigned status, const char *format, ...)
{
	char *words = NULL;
	va_list args;

	must(request->status == 0);
	va_start(args, format);
	must(vasprintf(&words, format, args) >= 0);
	va_end(args);
	request->status = status;
	request->answer = json_pack("{s:o}", "error", request_string(words));
	free(words);
}

const char *
request_query(struct request *request, const char *name)
{
	const char *value = mhd.lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);

	return value && *value ? value : NULL;
}

uint64_t
request_number(struct request *request, const char *name, uint64_t otherwise)
{
	const char *text = request_query(request, name);
	uint64_t n;

	return text && uint_parse(text, &n) ? n : otherwise;
}

void
request_ask(struct request *request, enum control_type type, uint64_t what, const char *text,
            void (*done)(struct request *request, bool ok, const char *text))
{
	struct console *console = request->console;
	struct control_record record = { .type = (uint16_t)type, .id = ++console->questions,
	                                 .value = what };

	request->waits = true;
	request->question = record.id;
	request->until_ms = console->child->now_ms + CONSOLE_WAIT_MS;
	request->done = done;
	list_append(&console->waiting, &request->link);
	child_send(console->child, &record, text ? text : "", text ? strlen(text) : 0, NULL, 0);
}

static void
request_go_on(struct request *request)
{
	list_remove(&request->link);
	request->waits = false;
	if (request->suspended) {
		request->suspended = false;
		mhd.resume_connection(request->connection);
	}
}

/* What one process sent: a JSON array is merged, anything else is kept beside it. */
static void
request_gather(struct request *request, const struct control_message *message)
{
	struct sy_err err;
	json_t *part = NULL;
	size_t len = message->len;

	if (message->n_fds && message->fds[0] >= 0) {
		char *bytes = memfd_map(message->fds[0], 0, &len, &err);

		if (bytes && request->gather)
			request->gather(request, bytes, len);
		else if (bytes)
			part = json_loadb(bytes, len, 0, NULL);
		if (bytes && len)
			munmap(bytes, len);
	} else if (len && !request->gather) {
		part = json_loadb(message->text, len, 0, NULL);
	}
	if (!part)
		return;
	if (!request->gathered)
		request->gathered = json_array();
	if (json_is_array(part)) {
		json_array_extend(request->gathered, part);
		json_decref(part);
	} else {
		if (json_is_object(part))
			json_object_set_new(part, "row", json_integer(message->record.row));
		json_array_append_new(request->gathered, part);
	}
}

/* What the master says at the end: all of it is in the descriptor when it is long. Ends without a
 * newline. */
static char *
request_words(const struct control_message *message)
{
	size_t len = message->len;
	struct sy_err err;
	char *map = NULL, *words;

	if (message->n_fds && message->fds[0] >= 0)
		map = memfd_map(message->fds[0], 0, &len, &err);
	if (!map)
		len = message->len;
	words = must_alloc(len + 1);
	memcpy(words, map ? map : message->text, len);
	if (map)
		munmap(map, len);
	while (len > 0 && words[len - 1] == '\n')
		len--;
	words[len] = '\0';
	return words;
}

void
requests_message(struct console *console, struct control_message *message)
{
	list_each_safe(link, &console->waiting) {
		struct request *request = container_of(link, struct request, link);
		char *words;

		if (request->question != message->record.id)
			continue;
		if (message->record.type == CONTROL_ANSWER) {
			request_gather(request, message);
			return;
		}
		words = request_words(message);
		request->done(request, message->record.flags & CONTROL_OK, words);
		free(words);
		request_go_on(request);
		entrances_run(console);
		return;
	}
}

void
requests_expire(struct console *console, bool all)
{
	bool some = false;

	list_each_safe(link, &console->waiting) {
		struct request *request = container_of(link, struct request, link);

		if (!all && request->until_ms > console->child->now_ms)
			continue;
		request_error(request, 503, all ? "the console is going down"
		                                : "other processes did not answer in time");
		request_go_on(request);
		some = true;
	}
	if (some)
		entrances_run(console);
}

void
requests_leave(struct console *console, const struct entrance *entrance)
{
	list_each_safe(link, &console->waiting) {
		struct request *request = container_of(link, struct request, link);

		if (request->entrance != entrance)
			continue;
		request_error(request, 503, "the console no longer listens here");
		request_go_on(request);
	}
}

void
request_end(struct request *request)
{
	list_remove(&request->link);
	json_decref(request->args);
	json_decref(request->answer);
	json_decref(request->gathered);
	text_free(&request->raw);
	free(request->text);
	free(request->tail);
	free(request);
}
