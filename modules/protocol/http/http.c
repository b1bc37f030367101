/* Protocol http: a connection of HTTP/1.x, message by message, and what the module tells of itself.
 *
 *	client  ASK_HEAD --ROUTE--> ASK_ROUTED --head--> ASK_BODY --> ASK_DONE --.
 *	server                                  ANSWER_HEAD --> body --> ANSWER_DONE
 *	                                                                          '-- both: END
 *
 * Both go on at once: an answer may begin, and end, before the request does. */
#include "http.h"

#include <stdlib.h>

/* ---- exchanges ---- */

void
http_forget(struct sy_session *session)
{
	struct http *http = session->state;
	struct http kept = *http;

	free(http->kept);
	out_free(&http->request);
	kept.request = http->request;
	*http = (struct http){
		.heard = kept.heard, .last = kept.last, .old = kept.old, .pin = kept.pin, .pinned = kept.pinned,
		.lost = kept.lost, .request = kept.request, .out = kept.out,
	};
	memcpy(http->asked, kept.asked, sizeof(http->asked));
	session->facts.head = session->facts.method = session->facts.path = session->facts.host =
		sy_span(NULL, 0);
	session->busy = false;
}

bool
http_must_pin(struct sy_session *session)
{
	struct http *http = session->state;

	if (!http->pin || http->pinned)
		return false;
	http->pinned = true;
	session->gauge[GAUGE_PINNED] = 1;
	sy_count(session, COUNT_PINNED, 1);
	return true;
}

/* Request and answer are complete. What the server says now belongs to no request. */
static struct sy_verdict
http_end(struct sy_session *session, bool more)
{
	struct http *http = session->state;
	bool spent = http->spent || more;

	/* The client's goes when it is asked next: this exchange was carried out. */
	http->lost = http->pinned && spent;
	http_forget(session);
	return (struct sy_verdict){ .what = SY_END, .spent = spent };
}

/* ---- the client ---- */

/* The head is not whole. */
static struct sy_verdict
http_head_more(struct sy_session *session, struct sy_span in)
{
	const struct http_conf *conf = http_conf(session);

	if (!head_begins(in))
		return answer_refuse(session, 400, "the first line does not begin with a method");
	if (in.len >= conf->head_limit.n)
		return answer_refuse(session, 431, "the head is longer than head-limit");
	return http_need(conf->header_timeout.ms);
}

/* Between two requests. */
static struct sy_verdict
http_pause(struct sy_session *session)
{
	struct http *http = session->state;

	if (http->lost)
		return (struct sy_verdict){ .what = SY_CLOSE,
		                            .reason = "the server's connection, to which the client was "
		                                      "pinned, ended after the answer" };
	if (http->last && http->heard)
		return (struct sy_verdict){ .what = SY_CLOSE,
		                            .reason = "the connection was to end with its last answer" };
	return http_need(http->heard && !http->pinned ? http_conf(session)->keepalive_timeout.ms : 0);
}

static struct sy_verdict
http_head(struct sy_session *session, struct sy_span in)
{
	struct head_limits limits = request_limits(http_conf(session));
	struct http *http = session->state;
	struct head_scan *scan = &http->scan[SY_CLIENT];

	if (!in.len || http->lost || (http->last && http->heard))
		return http_pause(session);
	switch (head_scan(scan, in, &limits)) {
	case HEAD_MORE:
		return http_head_more(session, in);
	case HEAD_LONG:
		return scan->first ? answer_refuse(session, 431, "a field is longer than field-limit")
		                   : answer_refuse(session, 414, "the first line is longer than line-limit");
	case HEAD_BARE_LF:
		return answer_refuse(session, 400, "a line does not end with CR LF");
	case HEAD_WHOLE:
		break;
	}
	if (!scan->first) {
		/* Some clients end a body with an empty line too many: RFC 9112 2.2. */
		*scan = (struct head_scan){ .seen = 0 };
		if (++http->blanks > HTTP_BLANKS)
			return answer_refuse(session, 400, "there are empty lines instead of a request");
		return (struct sy_verdict){ .what = SY_DROP, .n = 2 };
	}
	if (scan->seen > http_conf(session)->head_limit.n)
		return answer_refuse(session, 431, "the head is longer than head-limit");
	return request_begin(session, sy_span(in.at, scan->seen));
}

/* The server is there: it gets the head, and with it what has come of the body. */
static struct sy_verdict
http_ask(struct sy_session *session, struct sy_span in)
{
	struct http *http = session->state;
	struct sy_span body = sy_span(in.at + http->head_len, in.len - http->head_len);

	if (http_must_pin(session))
		return (struct sy_verdict){ .what = SY_PIN };
	http->asking = http->chunks || http->left ? ASK_BODY : ASK_DONE;
	if (body.len > HTTP_JOIN)
		body.len = HTTP_JOIN;
	if (body.len > http->left)
		body.len = (size_t)http->left;
	out_span(&http->request, body);
	if (http->request.failed)
		return answer_close(session, 503, "out of memory");
	http->left -= body.len;
	if (!http->left && !http->chunks)
		http->asking = ASK_DONE;
	return (struct sy_verdict){
		.what = SY_EMIT, .to = SY_SERVER, .n = http->head_len + body.len,
		.bytes = out_said(&http->request),
	};
}

/* What of a body must come within a time, so that nobody holds a server by a trickle. */
static struct sy_verdict
http_pass(const struct sy_session *session, uint64_t there, uint64_t ahead)
{
	const struct http *http = session->state;
	uint32_t rate = http_conf(session)->body_rate;

	return (struct sy_verdict){
		.what = SY_PASS, .n = there + ahead,
		.deadline_ms = http->unhurried ? 0 : HTTP_GRACE_MS + (there + ahead) * 1000 / rate,
	};
}

/* A client that is fast may send much before we look again. */
static uint64_t
http_slice(const struct http *http, size_t there)
{
	if (http->unhurried)
		return UINT64_MAX;
	return there < 2 * HTTP_SLICE ? HTTP_SLICE : 4 * HTTP_SLICE;
}

static struct sy_verdict
http_body_bad(struct sy_session *session, uint32_t status, const char *problem)
{
	struct http *http = session->state;

	if (http->answering == ANSWER_HEAD)
		return answer_refuse(session, status, problem);
	return (struct sy_verdict){ .what = SY_CLOSE, .reason = problem };
}

static struct sy_verdict
http_body_chunks(struct sy_session *session, struct sy_span in, bool eof)
{
	const struct http_conf *conf = http_conf(session);
	struct http *http = session->state;
	struct chunked_run run = chunked_pass(&http->chunked[SY_CLIENT], in);
	uint64_t ahead = chunked_ahead(&http->chunked[SY_CLIENT], http_slice(http, in.len));

	http->body += run.data + ahead;
	if (conf->body_limit.n && http->body > conf->body_limit.n)
		return http_body_bad(session, 413, "the body is longer than body-limit");
	if (run.last)
		http->asking = ASK_LAST;
	if (run.n + ahead > 0)
		return http_pass(session, run.n, ahead);
	if (run.problem)
		return http_body_bad(session, 400, run.problem);
	if (eof)
		return (struct sy_verdict){ .what = SY_CLOSE,
		                            .reason = "the client left in the middle of its request" };
	/* A size without an end, or a trailer: the same time as for a slice. */
	return http_need(http->unhurried ? 0 : HTTP_GRACE_MS + HTTP_SLICE * 1000 / conf->body_rate);
}

static struct sy_verdict
http_body(struct sy_session *session, struct sy_span in, bool eof)
{
	struct http *http = session->state;
	uint64_t there, ahead;

	if (http->chunks)
		return http_body_chunks(session, in, eof);
	there = in.len < http->left ? in.len : http->left;
	ahead = http_slice(http, in.len);
	if (ahead > http->left - there)
		ahead = http->left - there;
	http->left -= there + ahead;
	if (!http->left)
		http->asking = ASK_LAST;
	return http_pass(session, there, ahead);
}

static struct sy_verdict
http_client(struct sy_session *session, struct sy_span in, bool eof)
{
	struct http *http = session->state;

	/* A server that does not get the whole body shall be asked nothing else. */
	if (eof && http->asking != ASK_DONE)
		http->spent = true;
	switch ((enum asking)http->asking) {
	case ASK_HEAD:
		return http_head(session, in);
	case ASK_ROUTED:
		return http_ask(session, in);
	case ASK_BODY:
		return http_body(session, in, eof);
	case ASK_LAST:
		http->asking = ASK_DONE;
		break;
	case ASK_DONE:
		break;
	}
	/* The next request waits for its turn. */
	return http->answering == ANSWER_DONE ? http_end(session, false) : http_need(0);
}

/* ---- the server ---- */

static struct sy_verdict
http_answer_head(struct sy_session *session, struct sy_span in)
{
	static const char begin[] = "HTTP/";
	const struct http_conf *conf = http_conf(session);
	struct head_limits limits = request_limits(conf);
	struct http *http = session->state;
	const char *problem = NULL;

	limits.line = limits.field;
	if (http->asking < ASK_BODY && in.len)
		problem = "the server speaks before it was asked";
	else if (in.len && memcmp(in.at, begin, in.len < 5 ? in.len : 5) != 0)
		problem = "the server's answer is no HTTP";
	else
		switch (head_scan(&http->scan[SY_SERVER], in, &limits)) {
		case HEAD_MORE:
			if (in.len < conf->head_limit.n)
				return http_need(0);
			problem = "the head of the server's answer is longer than head-limit";
			break;
		case HEAD_WHOLE:
			return response_begin(session, in);
		case HEAD_LONG:
			problem = "a field of the server's answer is longer than field-limit";
			break;
		case HEAD_BARE_LF:
			problem = "a line of the server's answer does not end with CR LF";
			break;
		}
	sy_count(session, COUNT_BAD_ANSWERS, 1);
	return answer_close(session, 502, problem);
}

static struct sy_verdict
http_answer_chunks(struct sy_session *session, struct sy_span in)
{
	struct http *http = session->state;
	struct chunked *chunked = &http->chunked[SY_SERVER];
	struct chunked_run run = chunked_pass(chunked, in);
	uint64_t ahead = chunked_ahead(chunked, UINT64_MAX);

	if (run.last)
		http->answering = ANSWER_LAST;
	if (run.n + ahead > 0)
		return (struct sy_verdict){ .what = SY_PASS, .n = run.n + ahead };
	if (!run.problem)
		return http_need(0);
	sy_count(session, COUNT_BAD_ANSWERS, 1);
	return (struct sy_verdict){ .what = SY_CLOSE, .reason = run.problem };
}

/* HTTP/1.0 knows no chunks: the client gets their data alone. */
static struct sy_verdict
http_answer_dechunk(struct sy_session *session, struct sy_span in)
{
	struct http *http = session->state;
	struct chunk chunk = chunked_next(&http->chunked[SY_SERVER], in);

	switch (chunk.what) {
	case CHUNK_MORE:
		return http_need(0);
	case CHUNK_DATA:
		return (struct sy_verdict){ .what = SY_PASS, .n = chunk.n };
	case CHUNK_LAST:
		http->answering = ANSWER_DONE;
		break;
	case CHUNK_FRAME:
	case CHUNK_TRAILER:
		break;
	case CHUNK_BAD:
		sy_count(session, COUNT_BAD_ANSWERS, 1);
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = chunk.problem };
	}
	return (struct sy_verdict){ .what = SY_DROP, .n = chunk.n };
}

/* The answer is complete; the request may not be. */
static struct sy_verdict
http_answered(struct sy_session *session, struct sy_span in, bool eof)
{
	struct http *http = session->state;

	if (http->asking == ASK_DONE)
		return http_end(session, in.len > 0);
	if (eof)
		return (struct sy_verdict){ .what = SY_CLOSE,
		                            .reason = "the server answered and left before the request was "
		                                      "complete" };
	http->spent = http->spent || in.len > 0;
	return http_need(0);
}

static struct sy_verdict
http_server(struct sy_session *session, struct sy_span in, bool eof)
{
	struct http *http = session->state;

	switch ((enum answering)http->answering) {
	case ANSWER_HEAD:
		return http_answer_head(session, in);
	case ANSWER_LENGTH:
		http->answering = ANSWER_LAST;
		return (struct sy_verdict){ .what = SY_PASS, .n = http->rest };
	case ANSWER_CHUNKS:
		return http->dechunk ? http_answer_dechunk(session, in) : http_answer_chunks(session, in);
	case ANSWER_UNTIL_END:
		if (eof && !in.len)
			return (struct sy_verdict){ .what = SY_CLOSE,
			                            .reason = "the server ended its answer by closing" };
		return (struct sy_verdict){ .what = SY_PASS, .n = UINT64_MAX };
	case ANSWER_TUNNEL:
		session->gauge[GAUGE_TUNNELS] = 1;
		sy_count(session, COUNT_UPGRADES, 1);
		return (struct sy_verdict){ .what = SY_TUNNEL };
	case ANSWER_LAST:
		http->answering = ANSWER_DONE;
		break;
	case ANSWER_DONE:
		break;
	}
	return http_answered(session, in, eof);
}

/* ---- the module ---- */

/* Over TLS it was agreed on (RFC 9113 3.2), in clear the first bytes tell (3.3). False: more are needed. */
static bool
http_tell_version(struct sy_session *session, struct sy_span in, bool eof)
{
	struct http *http = session->state;
	bool whole;

	if (session->facts.secure) {
		http->speaks_h2 = span_is(session->facts.alpn, "h2");
		return true;
	}
	http->speaks_h2 = h2_preface(in, &whole);
	return !http->speaks_h2 || whole || eof;
}

static struct sy_verdict
http_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in, bool eof)
{
	struct http *http = session->state;

	if (!http->heard && !session->stream && http_conf(session)->http2 && in.len &&
	    !http_tell_version(session, in, eof))
		return http_need(http_conf(session)->header_timeout.ms);
	http->heard = http->heard || in.len > 0;
	if (http->speaks_h2)
		return h2_data(session, side, exchange, in, eof);
	/* The core has sent what it was given. */
	if (http->out.at)
		out_free(&http->out);
	if (http->asking >= ASK_BODY && http->request.at)
		out_free(&http->request);
	return side == SY_CLIENT ? http_client(session, in, eof) : http_server(session, in, eof);
}

static void
http_close(struct sy_session *session)
{
	struct http *http = session->state;

	h2_close(session);
	http_forget(session);
	out_free(&http->out);
}

static struct sy_verdict
http_fail(struct sy_session *session, enum sy_failure what)
{
	struct http *http = session->state;

	if (http->h2)
		return h2_fail(session, what);
	switch (what) {
	case SY_FAIL_REFUSED:
	case SY_FAIL_NO_SERVER:
	case SY_FAIL_CONNECT:
		sy_count(session, COUNT_FAILED, 1);
		return answer_close(session, 503, NULL);
	case SY_FAIL_BROKEN:
		sy_count(session, COUNT_FAILED, 1);
		return answer_close(session, 502, NULL);
	case SY_FAIL_LATE:
		sy_count(session, COUNT_FAILED, 1);
		return answer_close(session, 504, NULL);
	case SY_FAIL_CLIENT_LATE:
		if (http->asking == ASK_HEAD && !http->scan[SY_CLIENT].seen)
			return (struct sy_verdict){ .what = SY_CLOSE,
			                            .reason = "no further request came within "
			                                      "keepalive-timeout" };
		return answer_refuse(session, 408, http->asking == ASK_HEAD
		                     ? "the head was not complete within header-timeout"
		                     : "the body came more slowly than body-rate");
	case SY_FAIL_WINDOW:
		return answer_refuse(session, 431, "the head is longer than head-limit");
	}
	return (struct sy_verdict){ .what = SY_CLOSE };
}

static const struct sy_figure http_gauges[] = {
	[GAUGE_PINNED] = { "pinned", "Clients that have a server's connection of their own." },
	[GAUGE_TUNNELS] = { "tunnels", "Connections that were upgraded (WebSocket)." },
	[GAUGE_H2_STREAMS] = { "h2_streams", "Requests under way over HTTP/2." },
	[HTTP_GAUGES] = { NULL, NULL },
};

static const struct sy_figure http_counters[] = {
	[COUNT_GET] = { "requests_get", "Requests with GET." },
	[COUNT_HEAD] = { "requests_head", "Requests with HEAD." },
	[COUNT_POST] = { "requests_post", "Requests with POST." },
	[COUNT_PUT] = { "requests_put", "Requests with PUT." },
	[COUNT_OPTIONS] = { "requests_options", "Requests with OPTIONS." },
	[COUNT_RPC] = { "requests_rpc", "Requests with RPC_IN_DATA or RPC_OUT_DATA (Outlook Anywhere)." },
	[COUNT_OTHER] = { "requests_other", "Requests with other methods." },
	[COUNT_1XX] = { "responses_1xx", "Interim answers." },
	[COUNT_2XX] = { "responses_2xx", "Answers of success." },
	[COUNT_3XX] = { "responses_3xx", "Redirects, and pages that have not changed." },
	[COUNT_4XX] = { "responses_4xx", "Answers that blame the client." },
	[COUNT_5XX] = { "responses_5xx", "Answers that tell of a failure." },
	[COUNT_REFUSED_BAD] = { "refused_bad", "Requests refused because they are not as HTTP has to be." },
	[COUNT_REFUSED_LARGE] = { "refused_large", "Requests refused because they exceed a limit." },
	[COUNT_REFUSED_LATE] = { "refused_late", "Requests refused because they came too slowly." },
	[COUNT_REFUSED_UNSUPPORTED] = { "refused_unsupported", "Requests refused because they want what is "
	                                "not done here." },
	[COUNT_DENIED] = { "denied", "Requests that a rule denied." },
	[COUNT_REDIRECTED] = { "redirected", "Requests that were redirected." },
	[COUNT_ANSWERED] = { "answered", "Requests that a rule answered." },
	[COUNT_FAILED] = { "failed", "Requests that no server answered." },
	[COUNT_BAD_ANSWERS] = { "bad_answers", "Answers of servers that are not as HTTP has to be." },
	[COUNT_PINNED] = { "pinned_total", "Clients that were pinned to a server's connection." },
	[COUNT_UPGRADES] = { "upgrades", "Connections that were upgraded." },
	[COUNT_H2_CONNECTIONS] = { "h2_connections", "Connections with HTTP/2." },
	[COUNT_H2_STREAMS] = { "h2_streams_total", "Requests over HTTP/2." },
	[COUNT_H2_RESETS] = { "h2_resets", "Requests over HTTP/2 that the client took back." },
	[COUNT_H2_ABUSE] = { "h2_abuse", "Connections with HTTP/2 that were closed for abuse." },
	[COUNT_H2_SENT_BACK] = { "h2_sent_back", "Requests sent back to HTTP/1.1 for NTLM or Negotiate." },
	[HTTP_COUNTERS] = { NULL, NULL },
};

static const char *const *
http_alpn(const void *conf)
{
	static const char *const names[] = { "h2", "http/1.1", NULL };

	return ((const struct http_conf *)conf)->http2 ? names : names + 1;
}

static const struct sy_protocol http_ops = {
	.size = sizeof(struct sy_protocol),
	.flags = SY_STREAMS | SY_SHARES | SY_RENEWS | (sizeof(HTTP_NAME) == sizeof("https") ? SY_SECURE : 0),
	.load_unit = "requests",
	.gauges = http_gauges,
	.counters = http_counters,
	.session_size = sizeof(struct http),
	.window = HTTP_WINDOW,
	.alpn = http_alpn,
	.data = http_data,
	.close = http_close,
	.fail = http_fail,
};

SY_MODULE(SY_PROTOCOL, HTTP_NAME,
	.version = "1.0",
	.summary = HTTP_SUMMARY,
	.conf_size = sizeof(struct http_conf),
	.rows = settings_rows,
	.check = settings_check,
	.release = settings_release,
	.ops = &http_ops);
