/* The head of an answer, and how it goes to the client. */
#include "http.h"
#include "rules.h"

/* Makes no sense, or is not what was asked for. */
static struct sy_verdict
response_bad(struct sy_session *session, const char *reason)
{
	sy_count(session, COUNT_BAD_ANSWERS, 1);
	return answer_close(session, 502, reason);
}

/* Connection-bound authentication: from here on this connection is one user's. */
static bool
response_binds(const struct message *message)
{
	for (uint32_t i = 0; i < message->n; i++) {
		const struct field *field = &message->field[i];

		if (field->id == FIELD_WWW_AUTHENTICATE || field->id == FIELD_PROXY_AUTHENTICATE
		    ? request_binds(field->value)
		    : field->id == FIELD_PERSISTENT_AUTH && span_is(field->value, "true"))
			return true;
	}
	return false;
}

/* What decides how long the body is: RFC 9112 6.3. */
static bool
response_has_body(const struct http *http, const struct message *message)
{
	return !http->head_only && message->status >= 200 && message->status != 204 &&
	       message->status != 304;
}

static void
response_note(struct sy_session *session, const struct message *message)
{
	struct http *http = session->state;
	bool body = response_has_body(http, message);
	bool length = message->chunked || message->has_length;

	http->spent = http->spent || message->close || (message->minor == 0 && !message->keep_alive) ||
	              (body && !length);
	http->dechunk = message->chunked && http->old;
	http->rest = message->has_length ? message->length : 0;
	if (!body)
		http->answering = ANSWER_DONE;
	else if (message->chunked)
		http->answering = ANSWER_CHUNKS;
	else
		http->answering = message->has_length ? ANSWER_LENGTH : ANSWER_UNTIL_END;
	/* A client that is pinned loses its server with this answer, or shall leave it. */
	if (http->pinned && (http->spent || (session->draining && message->status != 401 &&
	                                     message->status != 407)))
		http->last = true;
	http->last = http->last || http->dechunk || http->answering == ANSWER_UNTIL_END;
}

static bool
response_stays(const struct message *message, const struct field *field)
{
	switch (field->id) {
	case FIELD_CONNECTION:
	case FIELD_KEEP_ALIVE:
	case FIELD_PROXY_CONNECTION:
	case FIELD_TRANSFER_ENCODING:
		return false;
	case FIELD_UPGRADE:
		return message->status == 101 || message->status == 426;
	case FIELD_CONTENT_LENGTH:
		return message->status != 204 && message->status >= 200;
	default:
		return true;
	}
}

static void
response_hsts(const struct sy_session *session, const struct message *message, struct out *out)
{
	const struct http_conf *conf = http_conf(session);

	if (!conf->hsts.ms || !session->facts.secure)
		return;
	for (uint32_t i = 0; i < message->n; i++)
		if (message->field[i].id == FIELD_STRICT_TRANSPORT_SECURITY && !message->field[i].gone)
			return;
	out_text(out, "Strict-Transport-Security: max-age=");
	out_number(out, conf->hsts.ms / 1000);
	out_text(out, "\r\n");
}

static void
response_connection(const struct http *http, const struct message *message, struct out *out)
{
	if (message->status == 101)
		out_text(out, "Connection: Upgrade\r\n");
	else if (message->status < 200)
		return;
	else if (message->status == 426)
		out_text(out, http->last ? "Connection: close, Upgrade\r\n" : "Connection: Upgrade\r\n");
	else if (http->last)
		out_text(out, "Connection: close\r\n");
	else if (http->old)
		out_text(out, "Connection: keep-alive\r\n");
}

static void
response_write(struct sy_session *session, struct message *message)
{
	const struct http_conf *conf = http_conf(session);
	struct http *http = session->state;
	struct scene scene = { .session = session };
	struct out *out = &http->out;
	bool final = message->status >= 200;

	out_begin(out, message->head.len + session->mark.len + 256 + HTTP_JOIN);
	out_text(out, "HTTP/1.1 ");
	out_number(out, message->status);
	out_text(out, " ");
	out_span(out, message->phrase);
	out_text(out, "\r\n");
	message_unlist(message);
	if (final && http->rule)
		changes_apply(&http->rule->response_header, message, out, &scene);
	if (final)
		changes_apply(&conf->response_header, message, out, &scene);
	for (uint32_t i = 0; i < message->n; i++) {
		const struct field *field = &message->field[i];

		if (field->gone || !response_stays(message, field))
			continue;
		out_span(out, field->name);
		out_bytes(out, ": ", 2);
		out_span(out, field->value);
		out_bytes(out, "\r\n", 2);
	}
	if (final) {
		if (message->chunked && !http->dechunk)
			out_text(out, "Transfer-Encoding: chunked\r\n");
		response_hsts(session, message, out);
		out_span(out, session->mark);
	}
	response_connection(http, message, out);
	out_text(out, "\r\n");
}

/* What has come of the body goes out in one piece with the head. Returns its length. */
static size_t
response_join(struct http *http, struct sy_span body)
{
	struct chunked_run run;

	if (body.len > HTTP_JOIN)
		body.len = HTTP_JOIN;
	if (http->answering == ANSWER_LENGTH) {
		if (body.len > http->rest)
			body.len = (size_t)http->rest;
		http->rest -= body.len;
		if (!http->rest)
			http->answering = ANSWER_DONE;
	} else if (http->answering == ANSWER_CHUNKS && !http->dechunk) {
		run = chunked_pass(&http->chunked[SY_SERVER], body);
		body.len = run.n;
		if (run.last)
			http->answering = ANSWER_DONE;
	} else if (http->answering != ANSWER_UNTIL_END) {
		return 0;
	}
	out_span(&http->out, body);
	return body.len;
}

static struct sy_verdict
response_emit(struct sy_session *session, size_t n)
{
	struct http *http = session->state;

	if (http->out.failed)
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "out of memory" };
	http->scan[SY_SERVER] = (struct head_scan){ .seen = 0 };
	return (struct sy_verdict){
		.what = SY_EMIT, .to = SY_CLIENT, .n = n, .bytes = out_said(&http->out),
	};
}

/* 100, 103 and so on go before the answer; 101 ends HTTP. */
static struct sy_verdict
response_interim(struct sy_session *session, struct message *message)
{
	struct http *http = session->state;

	if (message->status == 101 && (!http->upgrade || http->asking != ASK_DONE))
		return response_bad(session, "the server changes to another protocol, which nobody asked for");
	http_count_status(session, message->status);
	if (http->old) {
		http->scan[SY_SERVER] = (struct head_scan){ .seen = 0 };
		return (struct sy_verdict){ .what = SY_DROP, .n = message->head.len };
	}
	if (message->status == 101)
		http->answering = ANSWER_TUNNEL;
	response_write(session, message);
	return response_emit(session, message->head.len);
}

struct sy_verdict
response_begin(struct sy_session *session, struct sy_span in)
{
	const struct http_conf *conf = http_conf(session);
	struct head_limits limits = request_limits(conf);
	struct http *http = session->state;
	struct message message;
	size_t head = http->scan[SY_SERVER].seen, body;

	limits.line = limits.field;
	if (!message_response(&message, sy_span(in.at, head), &limits))
		return response_bad(session, message.problem);
	if (message.status < 200)
		return response_interim(session, &message);
	http->pin = http->pin || (conf->pin.index == PIN_AUTO && response_binds(&message));
	if (http_must_pin(session))
		return (struct sy_verdict){ .what = SY_PIN };
	if (!http->learnt) {
		http->learnt = true;
		return (struct sy_verdict){ .what = SY_LEARN, .bytes = message.head };
	}
	response_note(session, &message);
	http_count_status(session, message.status);
	response_write(session, &message);
	body = response_join(http, sy_span(in.at + head, in.len - head));
	return response_emit(session, head + body);
}
