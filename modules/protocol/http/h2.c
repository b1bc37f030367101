#include "h2.h"

#include <stdlib.h>

static const char h2_magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

bool
h2_preface(struct sy_span in, bool *whole)
{
	size_t n = in.len < H2_PREFACE ? in.len : H2_PREFACE;

	*whole = in.len >= H2_PREFACE;
	return memcmp(in.at, h2_magic, n) == 0;
}

/* ---- streams ---- */

static struct h2_stream *
h2_find(const struct h2 *h2, uint32_t id)
{
	struct h2_stream *stream = h2->streams;

	while (stream && (uint32_t)stream->id != id)
		stream = stream->next;
	return stream;
}

void
h2_queue(struct h2 *h2, struct h2_stream *stream)
{
	if (stream->queued)
		return;
	stream->queued = true;
	stream->todo = NULL;
	*h2->todo_end = stream;
	h2->todo_end = &stream->todo;
}

static void
h2_unqueue(struct h2 *h2, struct h2_stream *stream)
{
	struct h2_stream **at = &h2->todo;

	while (*at && *at != stream)
		at = &(*at)->todo;
	if (*at)
		*at = stream->todo;
	for (h2->todo_end = &h2->todo; *h2->todo_end; h2->todo_end = &(*h2->todo_end)->todo)
		;
	stream->queued = false;
}

static void
h2_stream_free(struct h2 *h2, struct h2_stream *stream)
{
	struct h2_stream **at = &h2->streams;

	while (*at != stream)
		at = &(*at)->next;
	*at = stream->next;
	h2_unqueue(h2, stream);
	if (!stream->closed)
		nghttp2_session_set_stream_user_data(h2->ng, stream->id, NULL);
	/* Our reset is still to be sent. */
	if (!stream->closed && !stream->asked)
		h2_guard_cut(h2, (uint32_t)stream->id);
	out_free(&stream->method);
	out_free(&stream->path);
	out_free(&stream->host);
	out_free(&stream->cookie);
	out_free(&stream->fields);
	out_free(&stream->trailers);
	out_free(&stream->server);
	free(stream);
	h2->session->gauge[GAUGE_H2_STREAMS]--;
	h2->session->busy = h2->streams != NULL;
}

/* ---- what libnghttp2 has read ---- */

static int
h2_on_begin(nghttp2_session *ng, const nghttp2_frame *frame, void *context)
{
	struct h2 *h2 = context;
	struct h2_stream *stream;

	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
	if (stream) {
		stream->trailing = true;
		return 0;
	}
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	stream->id = frame->hd.stream_id;
	h2->last = (uint32_t)stream->id;
	stream->next = h2->streams;
	h2->streams = stream;
	h2->session->gauge[GAUGE_H2_STREAMS]++;
	h2->session->busy = true;
	sy_count(h2->session, COUNT_H2_STREAMS, 1);
	nghttp2_session_set_stream_user_data(ng, stream->id, stream);
	return 0;
}

static void
h2_field_line(struct out *out, struct sy_span name, struct sy_span value)
{
	out_span(out, name);
	out_bytes(out, ": ", 2);
	out_span(out, value);
	out_bytes(out, "\r\n", 2);
}

static void
h2_field(struct h2_stream *stream, struct sy_span name, struct sy_span value)
{
	if (span_is(name, ":method")) {
		out_span(&stream->method, value);
	} else if (span_is(name, ":path")) {
		out_span(&stream->path, value);
	} else if (span_is(name, ":authority")) {
		out_span(&stream->host, value);
	} else if (*name.at == ':') {
		return;
	} else if (span_is(name, "cookie")) {
		out_text(&stream->cookie, stream->cookie.len ? "; " : "");
		out_span(&stream->cookie, value);
	} else if (span_is(name, "host")) {
		/* It is the authority, or there is none. */
		if (!stream->host.len)
			out_span(&stream->host, value);
		else
			stream->two_hosts = !span_equal(out_said(&stream->host), value);
	} else {
		stream->has_length = stream->has_length || span_is(name, "content-length");
		stream->binds = stream->binds || ((span_is(name, "authorization") ||
		                                   span_is(name, "proxy-authorization")) &&
		                                  request_binds(value));
		h2_field_line(&stream->fields, name, value);
	}
}

static int
h2_on_field(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
            const uint8_t *value, size_t value_len, uint8_t flags, void *context)
{
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
	struct h2 *h2 = context;
	size_t most = http_conf(h2->session)->head_limit.n + H2_FIELDS_EXTRA;

	(void)flags;
	if (!stream)
		return 0;
	if (stream->trailing) {
		if (stream->fields.len + name_len + value_len > CHUNKED_TRAILERS)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		h2_field_line(&stream->fields, sy_span(name, name_len), sy_span(value, value_len));
		return 0;
	}
	if (stream->fields.len + stream->cookie.len + stream->path.len + name_len + value_len > most)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	h2_field(stream, sy_span(name, name_len), sy_span(value, value_len));
	return 0;
}

/* The head of the request, as HTTP/1.1 has it. The session that reads it is as strict as with any other
 * client. */
static void
h2_head(struct h2_stream *stream)
{
	struct out *out = &stream->server;

	out_span(out, out_said(&stream->method));
	out_text(out, " ");
	out_span(out, out_said(stream->path.len ? &stream->path : &stream->host));
	out_text(out, " HTTP/1.1\r\n");
	out_field(out, "Host", out_said(&stream->host));
	out_span(out, out_said(&stream->fields));
	if (stream->cookie.len)
		out_field(out, "Cookie", out_said(&stream->cookie));
	if (stream->chunks)
		out_text(out, "Transfer-Encoding: chunked\r\n");
	out_text(out, "\r\n");
	out->failed = out->failed || stream->fields.failed || stream->cookie.failed || stream->path.failed ||
	              stream->host.failed;
	out_free(&stream->fields);
	out_free(&stream->cookie);
}

static void
h2_asked(struct h2 *h2, struct h2_stream *stream)
{
	stream->asked = true;
	if (!stream->chunks)
		return;
	out_text(&stream->server, "0\r\n");
	out_span(&stream->server, out_said(&stream->fields));
	out_text(&stream->server, "\r\n");
	out_free(&stream->fields);
	h2_queue(h2, stream);
}

static void
h2_begin(struct h2 *h2, struct h2_stream *stream, bool last)
{
	/* The logon would be the server's connection's: that is not for a stream. */
	if (stream->binds && http_conf(h2->session)->pin.index != PIN_OFF) {
		sy_count(h2->session, COUNT_H2_SENT_BACK, 1);
		nghttp2_submit_rst_stream(h2->ng, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_HTTP_1_1_REQUIRED);
		return;
	}
	/* RFC 9113 8.3.1 */
	if (stream->two_hosts) {
		nghttp2_submit_rst_stream(h2->ng, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_PROTOCOL_ERROR);
		return;
	}
	stream->chunks = !last && !stream->has_length;
	stream->asked = last;
	h2_head(stream);
	if (stream->server.failed) {
		nghttp2_submit_rst_stream(h2->ng, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_INTERNAL_ERROR);
		return;
	}
	stream->must_open = true;
	h2_queue(h2, stream);
}

static int
h2_on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *context)
{
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
	bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2 *h2 = context;

	if (!stream || stream->must_end)
		return 0;
	if (frame->hd.type == NGHTTP2_RST_STREAM)
		stream->taken_back = true;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		h2_begin(h2, stream, last);
	else if (last && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
		h2_asked(h2, stream);
	return 0;
}

static int
h2_on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *at, size_t len, void *context)
{
	struct h2 *h2 = context;

	(void)flags;
	h2->from = nghttp2_session_get_stream_user_data(ng, id);
	h2->piece = sy_span(at, len);
	return NGHTTP2_ERR_PAUSE;
}

static int
h2_on_close(nghttp2_session *ng, int32_t id, uint32_t error, void *context)
{
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, id);
	struct h2 *h2 = context;

	if (!stream)
		return 0;
	if (error != NGHTTP2_NO_ERROR && error != NGHTTP2_HTTP_1_1_REQUIRED && !stream->answered)
		h2_guard_reset(h2);
	if (!stream->asked && !stream->taken_back)
		h2_guard_cut(h2, (uint32_t)id);
	stream->closed = stream->must_end = true;
	h2_queue(h2, stream);
	return 0;
}

/* A request that libnghttp2 refuses by itself: there are too many. */
static int
h2_on_invalid(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *context)
{
	(void)ng, (void)error;
	if (frame->hd.type == NGHTTP2_HEADERS)
		h2_guard_cut(context, (uint32_t)frame->hd.stream_id);
	return 0;
}

/* ---- a connection ---- */

static int
h2_start(struct h2 *h2)
{
	const struct http_conf *conf = http_conf(h2->session);
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, conf->http2_streams },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)conf->head_limit.n },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_CREDIT },
	};
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int error = nghttp2_session_callbacks_new(&callbacks);

	if (error == 0)
		error = nghttp2_option_new(&option);
	if (error == 0) {
		nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, h2_on_begin);
		nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_on_field);
		nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, h2_on_frame);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_on_data);
		nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_on_close);
		nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, h2_on_invalid);
		nghttp2_option_set_no_auto_window_update(option, 1);
		nghttp2_option_set_no_closed_streams(option, 1);
		error = nghttp2_session_server_new2(&h2->ng, callbacks, h2, option);
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	if (error == 0)
		error = nghttp2_submit_settings(h2->ng, NGHTTP2_FLAG_NONE, settings,
		                                sizeof(settings) / sizeof(settings[0]));
	if (error == 0)
		error = nghttp2_session_set_local_window_size(h2->ng, NGHTTP2_FLAG_NONE, 0, 1 << 20);
	return error;
}

/* False: no memory. */
static bool
h2_open(struct sy_session *session)
{
	struct http *http = session->state;
	struct h2 *h2 = calloc(1, sizeof(*h2));

	http->h2 = h2;
	if (!h2)
		return false;
	h2->session = session;
	h2->todo_end = &h2->todo;
	h2->preface = H2_PREFACE;
	h2->period_ms = session->now_ms;
	sy_count(session, COUNT_H2_CONNECTIONS, 1);
	return h2_start(h2) == 0;
}

void
h2_close(struct sy_session *session)
{
	struct http *http = session->state;
	struct h2 *h2 = http->h2;

	if (!h2)
		return;
	while (h2->streams)
		h2_stream_free(h2, h2->streams);
	nghttp2_session_del(h2->ng);
	out_free(&h2->out);
	free(h2);
	http->h2 = NULL;
}

void
h2_frames(struct h2 *h2)
{
	const uint8_t *at;
	ssize_t n;

	while (h2->out.len < H2_OUT && (n = nghttp2_session_mem_send(h2->ng, &at)) > 0)
		out_bytes(&h2->out, at, (size_t)n);
}

/* Last words, and the end. */
static struct sy_verdict
h2_end(struct h2 *h2, uint32_t error, const char *reason)
{
	if (!h2->terminated && h2->ng) {
		h2->terminated = true;
		nghttp2_session_terminate_session(h2->ng, error);
		h2_frames(h2);
	}
	return (struct sy_verdict){ .what = SY_CLOSE, .bytes = out_said(&h2->out), .reason = reason };
}

/* A frame is not to be read: the connection ends before it. */
static bool
h2_is_wrong(const struct h2 *h2)
{
	return h2->abuse || h2->reused;
}

static struct sy_verdict
h2_wrong(struct h2 *h2)
{
	if (h2->reused)
		return h2_end(h2, NGHTTP2_STREAM_CLOSED, "a request has the number of an earlier one");
	sy_count(h2->session, COUNT_H2_ABUSE, 1);
	return h2_end(h2, NGHTTP2_ENHANCE_YOUR_CALM, h2->abuse);
}

/* The next thing that the core has to do for a stream. */
static struct sy_verdict
h2_do(struct h2 *h2, struct h2_stream *stream)
{
	struct sy_verdict verdict = { .what = SY_EMIT, .to = SY_SERVER, .exchange = (uint32_t)stream->id };

	if (stream->must_end) {
		bool open = stream->open;

		h2_stream_free(h2, stream);
		verdict.what = open ? SY_END : SY_DROP;
		return verdict;
	}
	if (stream->must_open) {
		stream->must_open = false;
		stream->open = true;
		verdict.what = SY_OPEN;
		return verdict;
	}
	h2_unqueue(h2, stream);
	out_begin(&h2->out, stream->server.len + 1);
	out_span(&h2->out, out_said(&stream->server));
	out_free(&stream->server);
	verdict.bytes = out_said(&h2->out);
	return verdict;
}

/* How many bytes of the client go to libnghttp2 in one piece: never beyond the end of a frame. */
static size_t
h2_portion(struct h2 *h2, struct sy_span in)
{
	size_t n;

	if (h2->preface) {
		n = in.len < h2->preface ? in.len : h2->preface;
		h2->preface -= (uint32_t)n;
		return n;
	}
	if (h2->head_len == H2_HEAD)
		return in.len < h2->left ? in.len : h2->left;
	n = in.len < H2_HEAD - h2->head_len ? in.len : H2_HEAD - h2->head_len;
	memcpy(h2->head + h2->head_len, in.at, n);
	h2->head_len += (uint32_t)n;
	if (h2->head_len == H2_HEAD)
		h2_guard(h2);
	if (h2->left == 0 && h2->head_len == H2_HEAD)
		h2->head_len = 0;
	return n;
}

/* Hands the client's bytes on until there is something to do. Returns how many, -1: it is no HTTP/2. */
static ssize_t
h2_read(struct h2 *h2, struct sy_span in)
{
	size_t done = 0;

	/* It stopped with a piece of a body, and may have more to say of that frame. */
	if (h2->paused && nghttp2_session_mem_recv(h2->ng, in.at, 0) < 0)
		return -1;
	h2->paused = false;
	while (done < in.len && !h2->todo && !h2->piece.at) {
		bool payload = !h2->preface && h2->head_len == H2_HEAD;
		size_t n = h2_portion(h2, sy_span(in.at + done, in.len - done));
		ssize_t taken;

		if (h2_is_wrong(h2))
			return (ssize_t)done;
		taken = nghttp2_session_mem_recv(h2->ng, in.at + done, n);
		if (taken < 0)
			return -1;
		done += (size_t)taken;
		if (payload && (h2->left -= (uint32_t)taken) == 0)
			h2->head_len = 0;
	}
	h2->paused = h2->piece.at != NULL;
	return (ssize_t)done;
}

/* A piece of a request's body goes to its session. */
static struct sy_verdict
h2_body(struct h2 *h2, size_t n)
{
	struct h2_stream *stream = h2->from;
	struct sy_span piece = h2->piece;
	struct sy_verdict verdict = { .what = SY_EMIT, .to = SY_SERVER, .n = n, .bytes = piece };
	static const char digits[] = "0123456789abcdef";
	char size[8];
	unsigned at = sizeof(size);

	h2->piece = sy_span(NULL, 0);
	nghttp2_session_consume_connection(h2->ng, piece.len);
	if (!stream || !stream->open || stream->must_end)
		return (struct sy_verdict){ .what = SY_DROP, .n = n };
	stream->owed += (uint32_t)piece.len;
	verdict.exchange = (uint32_t)stream->id;
	if (!stream->chunks)
		return verdict;
	for (size_t len = piece.len; len; len >>= 4)
		size[--at] = digits[len & 15];
	out_begin(&h2->out, piece.len + 16);
	out_bytes(&h2->out, size + at, sizeof(size) - at);
	out_bytes(&h2->out, "\r\n", 2);
	out_span(&h2->out, piece);
	out_bytes(&h2->out, "\r\n", 2);
	verdict.bytes = out_said(&h2->out);
	return verdict;
}

static struct sy_verdict
h2_wait(struct h2 *h2)
{
	const struct http_conf *conf = http_conf(h2->session);

	if (h2->head_len || h2->preface)
		return http_need(conf->header_timeout.ms);
	return http_need(h2->streams ? 0 : conf->keepalive_timeout.ms);
}

static struct sy_verdict
h2_client(struct h2 *h2, struct sy_span in)
{
	ssize_t n;

	if (h2_is_wrong(h2))
		return h2_wrong(h2);
	if (h2->todo)
		return h2_do(h2, h2->todo);
	if (h2->session->draining && !h2->leaving) {
		h2->leaving = true;
		nghttp2_submit_goaway(h2->ng, NGHTTP2_FLAG_NONE,
		                      nghttp2_session_get_last_proc_stream_id(h2->ng), NGHTTP2_NO_ERROR,
		                      NULL, 0);
	}
	h2_frames(h2);
	if (h2->out.failed)
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "out of memory" };
	if (h2->out.len)
		return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .bytes = out_said(&h2->out) };
	if (!nghttp2_session_want_read(h2->ng) && !nghttp2_session_want_write(h2->ng))
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "the HTTP/2 connection is over" };
	n = h2_read(h2, in);
	if (h2_is_wrong(h2))
		return h2_wrong(h2);
	if (n < 0)
		return h2_end(h2, NGHTTP2_PROTOCOL_ERROR, "what the client says is no HTTP/2");
	if (h2->piece.at)
		return h2_body(h2, (size_t)n);
	if (n > 0)
		return (struct sy_verdict){ .what = SY_DROP, .n = (uint64_t)n };
	return h2->todo || nghttp2_session_want_write(h2->ng) ? (struct sy_verdict){ .what = SY_DROP }
	                                                      : h2_wait(h2);
}

struct sy_verdict
h2_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in, bool eof)
{
	struct http *http = session->state;
	struct h2_stream *stream;

	if (!http->h2 && !h2_open(session))
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "out of memory" };
	http->h2->session = session;
	out_free(&http->h2->out);
	if (side == SY_CLIENT)
		return h2_client(http->h2, in);
	stream = h2_find(http->h2, exchange);
	if (stream && stream->must_end)
		return h2_do(http->h2, stream);
	/* The session has taken all of the body so far: the client may send more. */
	if (stream && stream->owed && !session->waiting) {
		nghttp2_session_consume_stream(http->h2->ng, stream->id, stream->owed);
		stream->owed = 0;
	}
	if (stream)
		return h2_answer(http->h2, stream, in, eof);
	if (in.len)
		return (struct sy_verdict){ .what = SY_DROP, .exchange = exchange, .n = in.len };
	return http_need(0);
}

struct sy_verdict
h2_fail(struct sy_session *session, enum sy_failure what)
{
	struct http *http = session->state;

	out_free(&http->h2->out);
	if (what != SY_FAIL_CLIENT_LATE)
		return h2_end(http->h2, NGHTTP2_ENHANCE_YOUR_CALM, NULL);
	return h2_end(http->h2, NGHTTP2_NO_ERROR, http->h2->head_len || http->h2->preface
	              ? "a frame was not complete within header-timeout"
	              : "no further request came within keepalive-timeout");
}
