/* The answer of a stream's session, HTTP/1.1, becomes frames. */
#include "h2.h"

/* Nothing more is to come of it, or nothing more is wanted: the core forgets the session. */
static struct sy_verdict
h2_answer_over(struct h2 *h2, struct h2_stream *stream, uint32_t error)
{
	if (error != NGHTTP2_NO_ERROR || !stream->asked)
		nghttp2_submit_rst_stream(h2->ng, NGHTTP2_FLAG_NONE, stream->id, error);
	stream->answered = true;
	h2_frames(h2);
	stream->must_end = true;
	h2_queue(h2, stream);
	return (struct sy_verdict){
		.what = SY_EMIT, .to = SY_CLIENT, .exchange = (uint32_t)stream->id,
		.bytes = out_said(&h2->out),
	};
}

/* ---- the body ---- */

/* Copies what there is of a body in chunks. */
static size_t
h2_answer_chunks(struct h2 *h2, struct h2_stream *stream, uint8_t *to, size_t room, bool *last, bool *bad)
{
	size_t n = 0;

	while (n < room && !*last) {
		struct sy_span in = sy_span(h2->feed.at + h2->fed, h2->feed.len - h2->fed);
		struct chunk chunk;

		/* No more data than fits: the rest is looked at again. */
		if (stream->chunked.left && in.len > room - n)
			in.len = room - n;
		chunk = chunked_next(&stream->chunked, in);
		if (chunk.what == CHUNK_MORE || chunk.what == CHUNK_BAD) {
			*bad = chunk.what == CHUNK_BAD || (h2->feed_eof && h2->fed == h2->feed.len);
			break;
		}
		if (chunk.what == CHUNK_DATA) {
			memcpy(to + n, in.at, chunk.n);
			n += chunk.n;
		} else if (chunk.what == CHUNK_TRAILER) {
			out_bytes(&stream->trailers, in.at, chunk.n);
		}
		*last = chunk.what == CHUNK_LAST;
		h2->fed += chunk.n;
	}
	return n;
}

static size_t
h2_answer_plain(struct h2 *h2, struct h2_stream *stream, uint8_t *to, size_t room, bool *last, bool *bad)
{
	size_t n = h2->feed.len - h2->fed;

	n = n < room ? n : room;
	if (stream->body == H2_LENGTH && n > stream->rest)
		n = (size_t)stream->rest;
	if (n)
		memcpy(to, h2->feed.at + h2->fed, n);
	h2->fed += n;
	stream->rest -= stream->body == H2_LENGTH ? n : 0;
	if (stream->body == H2_LENGTH)
		*last = stream->rest == 0;
	else
		*last = h2->feed_eof && h2->fed == h2->feed.len && !h2->session->broken;
	*bad = !*last && h2->feed_eof && h2->fed == h2->feed.len;
	return n;
}

/* Lines of "name: value" into what libnghttp2 takes; names in lower case, in place. */
static size_t
h2_answer_lines(struct out *lines, nghttp2_nv *nv, size_t most)
{
	uint8_t *at = (uint8_t *)lines->at;
	size_t left = lines->len, n = 0;

	while (left && n < most) {
		uint8_t *lf = memchr(at, '\n', left), *colon = memchr(at, ':', left);
		size_t len = (size_t)(lf - at) + 1;
		struct sy_span value = span_trim(sy_span(colon + 1, (size_t)(lf - colon) - 2));

		for (uint8_t *c = at; c < colon; c++)
			*c |= *c >= 'A' && *c <= 'Z' ? 0x20 : 0;
		nv[n++] = (nghttp2_nv){ at, (uint8_t *)value.at, (size_t)(colon - at), value.len,
		                        NGHTTP2_NV_FLAG_NONE };
		at += len;
		left -= len;
	}
	return n;
}

static bool
h2_answer_trailers(struct h2 *h2, struct h2_stream *stream)
{
	nghttp2_nv nv[64];
	size_t n = h2_answer_lines(&stream->trailers, nv, sizeof(nv) / sizeof(nv[0]));

	return n && !stream->trailers.failed && nghttp2_submit_trailer(h2->ng, stream->id, nv, n) == 0;
}

/* libnghttp2 may send more of this stream. */
static ssize_t
h2_answer_read(nghttp2_session *ng, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
               nghttp2_data_source *source, void *context)
{
	struct h2 *h2 = context;
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, id);
	bool last = false, bad = false;
	size_t n;

	(void)source;
	if (!stream || h2->feeding != stream) {
		if (stream)
			stream->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	n = stream->body == H2_CHUNKS ? h2_answer_chunks(h2, stream, to, room, &last, &bad)
	                              : h2_answer_plain(h2, stream, to, room, &last, &bad);
	if (bad && !n)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (!n && !last) {
		stream->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (last) {
		stream->answered = true;
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (stream->trailers.len && h2_answer_trailers(h2, stream))
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	}
	return (ssize_t)n;
}

/* ---- the head ---- */

static bool
h2_answer_stays(const struct field *field)
{
	switch (field->id) {
	case FIELD_CONNECTION:
	case FIELD_KEEP_ALIVE:
	case FIELD_PROXY_CONNECTION:
	case FIELD_TRANSFER_ENCODING:
	case FIELD_UPGRADE:
	case FIELD_TE:
		return false;
	default:
		return true;
	}
}

static bool
h2_answer_binds(const struct message *message)
{
	for (uint32_t i = 0; i < message->n; i++)
		if ((message->field[i].id == FIELD_WWW_AUTHENTICATE ||
		     message->field[i].id == FIELD_PROXY_AUTHENTICATE) &&
		    request_binds(message->field[i].value))
			return true;
	return false;
}

static int
h2_answer_submit(struct h2 *h2, struct h2_stream *stream, const struct message *message)
{
	nghttp2_nv nv[MESSAGE_FIELDS + 1];
	nghttp2_data_provider provider = { .read_callback = h2_answer_read };
	struct out lines = { .at = NULL };
	uint8_t name[] = ":status";
	uint8_t status[] = { (uint8_t)('0' + message->status / 100),
	                     (uint8_t)('0' + message->status / 10 % 10),
	                     (uint8_t)('0' + message->status % 10) };
	size_t n;
	int error;

	for (uint32_t i = 0; i < message->n; i++) {
		if (!h2_answer_stays(&message->field[i]))
			continue;
		out_span(&lines, message->field[i].name);
		out_bytes(&lines, ": ", 2);
		out_span(&lines, message->field[i].value);
		out_bytes(&lines, "\r\n", 2);
	}
	nv[0] = (nghttp2_nv){ name, status, sizeof(name) - 1, sizeof(status), NGHTTP2_NV_FLAG_NONE };
	n = 1 + h2_answer_lines(&lines, nv + 1, MESSAGE_FIELDS);
	if (lines.failed)
		error = NGHTTP2_ERR_NOMEM;
	else if (message->status < 200)
		error = nghttp2_submit_headers(h2->ng, NGHTTP2_FLAG_NONE, stream->id, NULL, nv, n, NULL);
	else
		error = nghttp2_submit_response(h2->ng, stream->id, nv, n,
		                                stream->body == H2_NO_BODY ? NULL : &provider);
	out_free(&lines);
	return error;
}

static void
h2_answer_note(struct h2_stream *stream, const struct message *message)
{
	bool head = span_same(out_said(&stream->method), "HEAD");

	stream->answering = true;
	stream->rest = message->has_length ? message->length : 0;
	if (head || message->status == 204 || message->status == 304 ||
	    (message->has_length && !message->length))
		stream->body = H2_NO_BODY;
	else if (message->chunked)
		stream->body = H2_CHUNKS;
	else
		stream->body = message->has_length ? H2_LENGTH : H2_UNTIL_END;
	stream->answered = stream->body == H2_NO_BODY;
}

/* The head is there. Returns its length, 0 when the stream cannot go on. */
static size_t
h2_answer_head(struct h2 *h2, struct h2_stream *stream, struct sy_span in, uint32_t *error)
{
	static const struct head_limits limits = { HTTP_WINDOW, HTTP_WINDOW, MESSAGE_FIELDS };
	size_t len = stream->scan.seen;
	struct message message;

	*error = NGHTTP2_INTERNAL_ERROR;
	stream->scan = (struct head_scan){ .seen = 0 };
	if (!message_response(&message, sy_span(in.at, len), &limits))
		return 0;
	if (message.status >= 200 && http_conf(h2->session)->pin.index != PIN_OFF &&
	    h2_answer_binds(&message)) {
		sy_count(h2->session, COUNT_H2_SENT_BACK, 1);
		*error = NGHTTP2_HTTP_1_1_REQUIRED;
		return 0;
	}
	if (message.status >= 200)
		h2_answer_note(stream, &message);
	return h2_answer_submit(h2, stream, &message) == 0 ? len : 0;
}

/* What can be sent of it now. */
static struct sy_verdict
h2_answer_send(struct h2 *h2, struct h2_stream *stream, size_t head, struct sy_span in, bool eof)
{
	struct sy_verdict verdict = { .what = SY_EMIT, .to = SY_CLIENT, .exchange = (uint32_t)stream->id };

	h2->feeding = stream;
	h2->feed = sy_span(in.at + head, in.len - head);
	h2->feed_eof = eof;
	h2->fed = 0;
	if (stream->deferred && stream->body != H2_NO_BODY) {
		stream->deferred = false;
		nghttp2_session_resume_data(h2->ng, stream->id);
	}
	h2_frames(h2);
	h2->feeding = NULL;
	verdict.n = head + h2->fed;
	verdict.bytes = out_said(&h2->out);
	if (h2->out.failed)
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "out of memory" };
	if (verdict.n || verdict.bytes.len)
		return verdict;
	return http_need(0);
}

/* It waits; what is to be said on its behalf is not held back. */
static struct sy_verdict
h2_answer_wait(struct h2 *h2, const struct h2_stream *stream)
{
	h2_frames(h2);
	if (!h2->out.len)
		return http_need(0);
	return (struct sy_verdict){
		.what = SY_EMIT, .to = SY_CLIENT, .exchange = (uint32_t)stream->id,
		.bytes = out_said(&h2->out),
	};
}

struct sy_verdict
h2_answer(struct h2 *h2, struct h2_stream *stream, struct sy_span in, bool eof)
{
	static const struct head_limits limits = { HTTP_WINDOW, HTTP_WINDOW, MESSAGE_FIELDS };
	size_t head = 0;
	uint32_t error;

	if (stream->answered)
		return h2_answer_over(h2, stream, NGHTTP2_NO_ERROR);
	if (!stream->answering) {
		switch (head_scan(&stream->scan, in, &limits)) {
		case HEAD_MORE:
			return eof ? h2_answer_over(h2, stream, NGHTTP2_INTERNAL_ERROR) : h2_answer_wait(h2, stream);
		case HEAD_LONG:
		case HEAD_BARE_LF:
			return h2_answer_over(h2, stream, NGHTTP2_INTERNAL_ERROR);
		case HEAD_WHOLE:
			break;
		}
		head = h2_answer_head(h2, stream, in, &error);
		if (!head)
			return h2_answer_over(h2, stream, error);
	}
	return h2_answer_send(h2, stream, head, in, eof);
}
