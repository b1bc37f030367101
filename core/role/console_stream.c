/* Server-sent events: every event is rendered once and lies in a small ring; each client has its
 * place in it. A client that has read all is suspended until the next event. One that falls behind
 * by more than the ring is let go: its browser connects anew and loads the whole. */
#include "role/live.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/text.h"

struct stream {
	struct link link;         /* in console->streams */
	struct console *console;  /* the request is gone before this is */
	struct entrance *entrance;
	struct MHD_Connection *connection;
	uint64_t next;            /* the event to send */
	size_t offset;            /* of it, sent already */
	bool greeted, suspended, ended;
};

static const char stream_greeting[] = "retry: 2000\n: one event a second\n\n";

static ssize_t
stream_copy(char *out, size_t max, const char *bytes, size_t len, size_t *offset)
{
	size_t n = len - *offset < max ? len - *offset : max;

	memcpy(out, bytes + *offset, n);
	*offset += n;
	return (ssize_t)n;
}

static ssize_t
stream_read(void *context, uint64_t position, char *out, size_t max)
{
	struct stream *stream = context;
	struct console *console = stream->console;
	const struct text *event;
	ssize_t n;

	(void)position;
	if (stream->ended || stream->next + STREAM_EVENTS < console->n_streamed)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!stream->greeted) {
		n = stream_copy(out, max, stream_greeting, sizeof(stream_greeting) - 1,
		                &stream->offset);
		if (stream->offset == sizeof(stream_greeting) - 1) {
			stream->greeted = true;
			stream->offset = 0;
		}
		return n;
	}
	if (stream->next == console->n_streamed) {
		stream->suspended = true;
		mhd.suspend_connection(stream->connection);
		return 0;
	}
	event = &console->streamed[stream->next % STREAM_EVENTS];
	n = stream_copy(out, max, event->at, event->len, &stream->offset);
	if (stream->offset == event->len) {
		stream->next++;
		stream->offset = 0;
	}
	return n;
}

static void
stream_free(void *context)
{
	struct stream *stream = context;

	list_remove(&stream->link);
	stream->console->n_streams--;
	free(stream);
}

void
stream_open(struct request *request)
{
	if (request->console->n_streams >= STREAM_CLIENTS)
		request_error(request, 503, "%d pages are watching already; GET /v1/live tells the same "
		              "once", STREAM_CLIENTS);
	else
		request_stream(request);
}

enum MHD_Result
stream_send(struct request *request)
{
	struct console *console = request->console;
	struct stream *stream = calloc(1, sizeof(*stream));
	struct MHD_Response *response;
	enum MHD_Result result;

	if (!stream)
		return MHD_NO;
	stream->console = console;
	stream->entrance = request->entrance;
	stream->connection = request->connection;
	stream->next = console->n_streamed;
	list_append(&console->streams, &stream->link);
	console->n_streams++;
	response = mhd.create_response_from_callback(MHD_SIZE_UNKNOWN, 8192, stream_read, stream,
	                                             stream_free);
	if (!response) {
		stream_free(stream);
		return MHD_NO;
	}
	http_headers(response, "text/event-stream");
	result = mhd.queue_response(request->connection, request->status, response);
	mhd.destroy_response(response);
	return result;
}

static void
stream_wake(struct stream *stream)
{
	if (!stream->suspended)
		return;
	stream->suspended = false;
	mhd.resume_connection(stream->connection);
}

void
stream_push(struct console *console, const char *json, size_t len)
{
	struct text *event = &console->streamed[console->n_streamed % STREAM_EVENTS];

	if (!console->n_streams)
		return;
	text_free(event);
	*event = (struct text){ 0 };
	text_puts(event, "data: ");
	text_add(event, json, len);
	text_add(event, "\n\n", 2);
	console->n_streamed++;
	list_each(link, &console->streams)
		stream_wake(container_of(link, struct stream, link));
	entrances_run(console);
}

void
streams_end(struct console *console, struct entrance *entrance)
{
	list_each(link, &console->streams) {
		struct stream *stream = container_of(link, struct stream, link);

		if (entrance && stream->entrance != entrance)
			continue;
		stream->ended = true;
		stream_wake(stream);
	}
}
