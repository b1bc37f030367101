#include "proxy.h"

#include <stdlib.h>

#include "stun.h"
#include "value.h"

/* What is still to be said of a request that the client has said, one verdict each. */
enum proxy_step { PROXY_READ, PROXY_SAY, PROXY_FINISH, PROXY_TRYING };

static struct proxy *
proxy_of(struct sy_session *session)
{
	struct sip_session *state = session->state;
	const struct sip_conf *conf = session->conf;

	if (!state->proxy && (state->proxy = calloc(1, sizeof(*state->proxy))) != NULL) {
		state->proxy->key = token_key(session->secret, conf->key.content);
		state->book.part = BOOK_STATE;
	}
	return state->proxy;
}

void
proxy_free(struct proxy *proxy)
{
	if (proxy)
		calls_free(&proxy->calls);
	free(proxy);
}

/* What a verdict shows must be there until the next call. */
static struct sy_span
proxy_keep(struct sy_session *session, struct reply *reply)
{
	struct sip_session *state = session->state;

	free(state->said);
	state->said = reply;
	return reply ? sy_span(reply->bytes, reply->len) : sy_span(NULL, 0);
}

static struct sy_verdict
proxy_emit(enum sy_side to, uint32_t exchange, size_t n, struct sy_span bytes)
{
	return (struct sy_verdict){ .what = bytes.len ? SY_EMIT : SY_DROP, .to = to, .exchange = exchange, .n = n,
	                            .bytes = bytes };
}

/* An answer of our own. A request that cannot be answered is dropped. */
static struct sy_verdict
proxy_reply(struct sy_session *session, const struct sip_message *message, size_t n, unsigned status)
{
	const struct sip_conf *conf = session->conf;
	struct reply *reply = reply_make(message);

	if (!reply)
		return (struct sy_verdict){ .what = SY_DROP, .n = n };
	proxy_keep(session, reply);
	return proxy_emit(SY_CLIENT, 0, n, reply_say(reply, status, status == 503 ? conf->retry_after_s : 0));
}

static void
proxy_busy(struct sy_session *session)
{
	const struct sip_conf *conf = session->conf;
	struct sip_session *state = session->state;

	session->busy = (state->proxy && state->proxy->calls.open > 0) ||
	                (conf->keep_dialogs && session->gauge[GAUGE_DIALOGS] > 0);
}

/* A client that is registered, or in a call, is reached over UDP for so long. */
static void
proxy_live(struct sy_session *session, const struct sip_message *message)
{
	uint64_t ms = book_lasts_ms(session, message);

	if (session->datagram && session->until_ms < session->now_ms + ms)
		session->until_ms = session->now_ms + ms;
}

/* at: of the server that it is said to, or comes from. */
static void
proxy_note(struct sy_session *session, enum sy_side side, const struct sip_message *message, uint32_t at)
{
	struct sip_session *state = session->state;

	/* A trunk carries what others have counted. */
	if (session->to_server)
		return;
	state->book.at = at;
	book_message(&state->book, session, side, message);
	proxy_live(session, message);
}

static struct sy_verdict
proxy_wait(struct sy_session *session, size_t len)
{
	const struct sip_conf *conf = session->conf;
	const struct sip_session *state = session->state;
	uint64_t look_ms = state->proxy->calls.look_ms;

	if (len)
		return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = conf->header_timeout.ms };
	if (look_ms)
		look_ms = look_ms > session->now_ms ? look_ms - session->now_ms : 1;
	return (struct sy_verdict){ .what = SY_NEED, .look_ms = look_ms };
}

/* ---- requests of the client ---- */

/* As the session that it is for reads it: with a Content-Length, which a datagram may lack. */
static struct sy_span
proxy_bytes(struct sy_session *session, struct sy_span in, const struct sip_message *message)
{
	size_t whole = message->len + (size_t)message->body;

	if (message->length)
		return sy_span(in.at, whole);
	return proxy_keep(session, forward_datagram(message, sy_span(in.at + message->len, (size_t)message->body)));
}

/* A session for it; what follows is said in the next calls. */
static struct sy_verdict
proxy_open(struct sy_session *session, struct call *call, enum proxy_step step)
{
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;

	call->open = true;
	proxy->calls.open++;
	proxy->doing = call->exchange;
	proxy->step = (uint8_t)step;
	proxy_busy(session);
	return (struct sy_verdict){ .what = SY_OPEN, .exchange = call->exchange };
}

static bool
proxy_is_full(const struct sy_session *session)
{
	const struct sip_session *state = session->state;
	const struct sip_conf *conf = session->conf;

	return state->proxy->calls.open >= conf->open_requests;
}

static struct sy_verdict
proxy_begin(struct sy_session *session, const struct sip_message *message, size_t whole, uint64_t key)
{
	const struct sip_conf *conf = session->conf;
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;
	struct call *call;
	bool full = proxy_is_full(session) ||
	            (proxy->calls.n >= conf->open_requests + PROXY_KEPT && !calls_spare(&proxy->calls));

	call = full ? NULL : calls_add(&proxy->calls, key);
	if (!call)
		return proxy_reply(session, message, whole, 503);
	call->invite = message->request && sip_method_is(message, "INVITE");
	if (call->invite) {
		call->dialog = routing_dialog(message, &proxy->key);
		call->reply = reply_make(message);
	}
	return proxy_open(session, call, PROXY_SAY);
}

static struct sy_verdict
proxy_again(const struct call *call, size_t whole)
{
	if (!call->answer)
		return (struct sy_verdict){ .what = SY_DROP, .n = whole };
	return proxy_emit(SY_CLIENT, call->exchange, whole, sy_span(call->answer->bytes, call->answer->len));
}

/* Nothing is said to its exchange after this. */
static struct sy_verdict
proxy_last(struct sy_session *session, struct sy_span in, const struct sip_message *message, size_t whole,
           struct call *call)
{
	struct sip_session *state = session->state;

	call->finished = true;
	state->proxy->doing = call->exchange;
	state->proxy->step = PROXY_FINISH;
	return proxy_emit(SY_SERVER, call->exchange, whole, proxy_bytes(session, in, message));
}

static struct sy_verdict
proxy_ack(struct sy_session *session, struct sy_span in, const struct sip_message *message, size_t whole,
          uint64_t key)
{
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;
	struct call *call = calls_find(&proxy->calls, key, false);

	/* Of a failure it goes no further: the server had ours, but for one whose answer came by another way. */
	if (call && call->status >= 300) {
		if (!call->acked)
			sy_count(session, COUNT_ACK, 1);
		call->acked = true;
		call->again_ms = 0;
		if (call->open && !call->finished)
			return proxy_last(session, in, message, whole, call);
		if (call->due_ms > session->now_ms + TIMER_T4_MS)
			call->due_ms = session->now_ms + TIMER_T4_MS; /* Timer I */
		if (!call->open && !session->datagram)
			calls_remove(&proxy->calls, call);
		else if (!call->open)
			calls_rest(&proxy->calls, call);
		return (struct sy_verdict){ .what = SY_DROP, .n = whole };
	}
	call = calls_find_dialog(&proxy->calls, routing_dialog(message, &proxy->key));
	if (!call || !call->open || call->finished)
		return proxy_begin(session, message, whole, key ^ 1);
	/* A datagram may come again. */
	return session->datagram ? proxy_emit(SY_SERVER, call->exchange, whole, proxy_bytes(session, in, message))
	                         : proxy_last(session, in, message, whole, call);
}

/* RFC 3261 16.10: answered here, and said to the server of the INVITE. */
static struct sy_verdict
proxy_cancel(struct sy_session *session, const struct sip_message *message, size_t whole, struct call *call)
{
	struct sip_session *state = session->state;

	if (!call->open || call->status || call->finished)
		return proxy_reply(session, message, whole, 200);
	state->proxy->doing = call->exchange;
	state->proxy->step = PROXY_SAY;
	return proxy_reply(session, message, 0, 200);
}

static struct sy_verdict
proxy_request(struct sy_session *session, struct sy_span in, const struct sip_message *message, size_t whole)
{
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;
	uint64_t key = routing_transaction(message, &proxy->key);
	struct call *call = calls_find(&proxy->calls, key, false);

	if (sip_method_is(message, "ACK"))
		return proxy_ack(session, in, message, whole, key);
	if (sip_method_is(message, "CANCEL")) {
		if (call)
			return proxy_cancel(session, message, whole, call);
		key ^= 2;
		call = calls_find(&proxy->calls, key, false);
	}
	if (call)
		return proxy_again(call, whole);
	proxy_note(session, SY_CLIENT, message, 0);
	return proxy_begin(session, message, whole, key);
}

/* What the client answers goes to the session that asked. One that is gone, or that was never ours in this
 * process, is found by what our branch says. */
static struct sy_verdict
proxy_response(struct sy_session *session, struct sy_span in, const struct sip_message *message, size_t whole)
{
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;
	struct call *call = calls_find(&proxy->calls, routing_asked(message, &proxy->key), true);
	struct token token;

	if (call) {
		proxy_note(session, SY_CLIENT, message, call->at);
		return proxy_emit(SY_SERVER, call->exchange, whole, proxy_bytes(session, in, message));
	}
	if (routing_branch(message, &proxy->key, &token))
		return proxy_begin(session, message, whole, token.transaction ^ 3);
	sy_count(session, COUNT_REFUSED, 1);
	return (struct sy_verdict){ .what = SY_DROP, .n = whole };
}

static struct sy_verdict
proxy_message(struct sy_session *session, struct sy_span in, const struct sip_message *message)
{
	struct sip_session *state = session->state;
	size_t whole = message->len + (size_t)message->body;

	state->half_ping = false;
	/* What follows the body in a datagram is nothing (18.3). */
	if (session->datagram)
		whole = in.len;
	return message->request ? proxy_request(session, in, message, whole)
	                        : proxy_response(session, in, message, whole);
}

/* The next thing to say of the request in hand, which is still the first one in `in`. */
static struct sy_verdict
proxy_go_on(struct sy_session *session, struct sy_span in)
{
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;
	struct call *call = calls_find_exchange(&proxy->calls, proxy->doing);
	uint8_t step = proxy->step;
	struct sip_scan scan = { 0 };
	struct sip_message message;

	proxy->step = PROXY_READ;
	if (step == PROXY_FINISH)
		return (struct sy_verdict){ .what = SY_FINISH, .exchange = proxy->doing };
	if (step == PROXY_TRYING && call && call->reply)
		return proxy_emit(SY_CLIENT, proxy->doing, 0, reply_say(call->reply, 100, 0));
	if (step == PROXY_TRYING)
		return (struct sy_verdict){ .what = SY_DROP };
	if ((session->datagram ? sip_read_datagram(in, &message)
	                       : sip_read(&scan, in, PROXY_MOST, &message)) != SIP_MESSAGE)
		return sip_refuse(session, "a message that has changed");   /* it cannot */
	if (call && call->invite && sip_method_is(&message, "INVITE"))
		proxy->step = PROXY_TRYING;
	else if (!message.request || sip_method_is(&message, "ACK"))
		proxy->step = PROXY_FINISH;
	return proxy_emit(SY_SERVER, proxy->doing, session->datagram ? in.len : message.len + (size_t)message.body,
	                  proxy_bytes(session, in, &message));
}

/* ---- what is no request ---- */

static struct sy_verdict
proxy_blank(struct sy_session *session, size_t n)
{
	struct sip_session *state = session->state;
	bool pair = n / 2 + state->half_ping >= 2;

	sy_count(session, COUNT_KEEPALIVES, 1);
	state->half_ping = !pair;
	return proxy_emit(SY_CLIENT, 0, n, sy_span("\r\n", pair ? 2 : 0));
}

static struct sy_verdict
proxy_wrong(struct sy_session *session, struct sy_span in, const struct sip_message *message)
{
	struct sy_verdict verdict;

	sy_count(session, COUNT_REFUSED, 1);
	verdict = message->answer ? proxy_reply(session, message, session->datagram ? in.len : 0, message->answer)
	                          : (struct sy_verdict){ .what = SY_DROP, .n = in.len };
	if (session->datagram)
		return verdict;
	return (struct sy_verdict){ .what = SY_CLOSE, .reason = message->problem, .bytes = verdict.bytes };
}

/* Over UDP empty lines are swallowed, and STUN is answered (RFC 5626 3.5.2, 4.4.2). */
static struct sy_verdict
proxy_keepalive(struct sy_session *session, struct sy_span in)
{
	struct reply *reply = malloc(sizeof(*reply) + STUN_MOST);

	sy_count(session, COUNT_KEEPALIVES, 1);
	if (reply)
		reply->len = stun_answer(in, &session->facts.client, (uint8_t *)reply->bytes);
	return proxy_emit(SY_CLIENT, 0, in.len, proxy_keep(session, reply));
}

static struct sy_verdict
proxy_datagram(struct sy_session *session, struct sy_span in)
{
	struct sip_message message;

	if (sip_is_keepalive(in))
		return proxy_keepalive(session, in);
	if (sip_read_datagram(in, &message) != SIP_MESSAGE)
		return proxy_wrong(session, in, &message);
	if (in.len > PROXY_MOST) {
		message.answer = 513;
		return proxy_wrong(session, in, &message);
	}
	return proxy_message(session, in, &message);
}

static struct sy_verdict
proxy_stream(struct sy_session *session, struct sy_span in)
{
	const struct sip_conf *conf = session->conf;
	struct sip_session *state = session->state;
	struct sip_message message;
	uint64_t most = conf->body_limit.n < PROXY_MOST ? conf->body_limit.n : PROXY_MOST;

	switch (sip_read(&state->proxy->scan, in, most, &message)) {
	case SIP_MORE:
		return proxy_wait(session, in.len);
	case SIP_BLANK:
		return proxy_blank(session, message.len);
	case SIP_WRONG:
		return proxy_wrong(session, in, &message);
	case SIP_MESSAGE:
		break;
	}
	if (message.len + message.body > PROXY_MOST) {
		message.problem = "a message longer than what mode proxy takes, 60000 bytes";
		message.answer = 513;
		return proxy_wrong(session, in, &message);
	}
	if (message.len + message.body > in.len)
		return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = conf->body_timeout.ms };
	return proxy_message(session, in, &message);
}

static struct sy_verdict
proxy_client(struct sy_session *session, struct sy_span in)
{
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;
	struct call *call;

	if (proxy->step != PROXY_READ)
		return proxy_go_on(session, in);
	book_sweep(&state->book, session);
	proxy_busy(session);
	if (in.len)
		return session->datagram ? proxy_datagram(session, in) : proxy_stream(session, in);
	call = calls_due(&proxy->calls, session->now_ms);
	if (call) {
		calls_repeat(&proxy->calls, call, session->now_ms);
		return proxy_again(call, 0);
	}
	return proxy_wait(session, 0);
}

/* ---- what the sessions of requests say ---- */

/* A final answer. What may come again is known until Timers H and J are over: a request, an ACK. */
static void
proxy_answered(struct sy_session *session, struct call *call, uint16_t status, struct sy_span bytes)
{
	call->status = status;
	call->due_ms = session->now_ms + TIMER_B_MS;
	/* The success of an INVITE is said again by the server, as often as it wants. */
	if (!session->datagram || (call->invite && status < 300))
		return;
	free(call->answer);
	call->answer = malloc(sizeof(*call->answer) + bytes.len);
	if (!call->answer)
		return;
	call->answer->len = bytes.len;
	memcpy(call->answer->bytes, bytes.at, bytes.len);
	if (call->invite)
		calls_repeat(&((struct sip_session *)session->state)->proxy->calls, call, session->now_ms);
}

/* The session of the exchange has ended. */
static struct sy_verdict
proxy_over(struct sy_session *session, struct call *call, uint32_t exchange)
{
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;

	if (call && call->invite && !call->status && call->reply) {
		struct sy_span bytes = reply_say(call->reply, 503, 0);

		proxy_answered(session, call, 503, bytes);
		return proxy_emit(SY_CLIENT, exchange, 0, bytes);
	}
	if (call && call->status && !call->outside &&
	    (session->datagram || (call->invite && call->status >= 300)))
		calls_rest(&proxy->calls, call);
	else if (call && call->open)
		calls_remove(&proxy->calls, call);
	proxy_busy(session);
	return (struct sy_verdict){ .what = SY_END, .exchange = exchange };
}

static struct sy_verdict
proxy_answer(struct sy_session *session, struct call *call, uint32_t exchange, struct sy_span bytes,
             const struct sip_message *message)
{
	struct proxy *proxy = proxy_of(session);
	bool success = message->status >= 200 && message->status < 300;

	/* It came by another way already. An INVITE may succeed more than once (13.3.1.4, 16.7 step 5). */
	if (call && call->status && !(call->invite && success))
		return (struct sy_verdict){ .what = SY_DROP, .exchange = call->exchange, .n = bytes.len };
	proxy_note(session, SY_SERVER, message, session->at);
	if (call && message->status >= 200) {
		proxy_answered(session, call, message->status, bytes);
		free(call->reply);
		call->reply = NULL;
	}
	/* Of a success its exchange does not know, and would not take the ACK; that of a failure goes by it. */
	if (call && call->exchange != exchange && call->open && call->status && !call->finished &&
	    (!call->invite || success)) {
		proxy->strayed = call->exchange;
		proxy->has_strayed = true;
	}
	return proxy_emit(SY_CLIENT, call ? call->exchange : 0, bytes.len, bytes);
}

/* A request for the client, or the answer to one of the client's that took another way. */
static struct sy_verdict
proxy_outside(struct sy_session *session, uint32_t exchange, struct sy_span bytes,
              const struct sip_message *message)
{
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;
	struct sy_verdict verdict;
	struct call *call;

	if (!message->request) {
		call = calls_find(&proxy->calls, routing_transaction(message, &proxy->key), false);
		verdict = proxy_answer(session, call, exchange, bytes, message);
		verdict.exchange = exchange;
		return verdict;
	}
	proxy_note(session, SY_SERVER, message, session->at);
	if (!calls_find_exchange(&proxy->calls, exchange) && !sip_method_is(message, "ACK")) {
		call = proxy_is_full(session) ? NULL
		     : calls_add(&proxy->calls, routing_asked(message, &proxy->key));
		if (!call) {
			verdict = proxy_reply(session, message, bytes.len, 503);
			verdict.to = SY_SERVER;
			verdict.exchange = exchange;
			return verdict;
		}
		call->outside = call->open = true;
		call->exchange = exchange;
		call->at = session->at;
		proxy->calls.open++;
		proxy_busy(session);
	}
	return proxy_emit(SY_CLIENT, exchange, bytes.len, bytes);
}

static struct sy_verdict
proxy_server(struct sy_session *session, uint32_t exchange, struct sy_span in, bool eof)
{
	struct sip_session *state = session->state;
	struct proxy *proxy = state->proxy;
	struct call *call = calls_find_exchange(&proxy->calls, exchange);
	struct sip_scan scan = { 0 };
	struct sip_message message;
	size_t whole;

	if (proxy->has_strayed) {
		struct call *stray = calls_find_exchange(&proxy->calls, proxy->strayed);

		proxy->has_strayed = false;
		if (stray)
			stray->finished = true;
		return (struct sy_verdict){ .what = SY_FINISH, .exchange = proxy->strayed };
	}
	if (call && !call->outside && !call->finished && call->status &&
	    (!call->invite || call->status >= 300)) {
		call->finished = true;
		return (struct sy_verdict){ .what = SY_FINISH, .exchange = exchange };
	}
	switch (sip_read(&scan, in, PROXY_MOST, &message)) {
	case SIP_MORE:
		return eof ? proxy_over(session, call, exchange) : proxy_wait(session, 0);
	case SIP_BLANK:
	case SIP_WRONG:
		return (struct sy_verdict){ .what = SY_DROP, .exchange = exchange, .n = in.len };
	case SIP_MESSAGE:
		break;
	}
	whole = message.len + (size_t)message.body;
	if (whole > in.len)
		return eof ? proxy_over(session, call, exchange) : proxy_wait(session, 0);
	if (exchange >= SY_FROM_OUTSIDE)
		return proxy_outside(session, exchange, sy_span(in.at, whole), &message);
	if (!call || call->key != routing_transaction(&message, &proxy->key)) {
		struct call *other = calls_find(&proxy->calls, routing_transaction(&message, &proxy->key), false);

		call = other ? other : call;
	}
	return proxy_answer(session, call, exchange, sy_span(in.at, whole), &message);
}

struct sy_verdict
proxy_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in, bool eof)
{
	struct sip_session *state = session->state;

	free(state->said);
	state->said = NULL;
	if (!proxy_of(session))
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "out of memory" };
	if (side == SY_CLIENT)
		return proxy_client(session, in);
	return proxy_server(session, exchange, in, eof);
}
