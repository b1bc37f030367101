#include "proxy.h"

#include <stdlib.h>

#include "value.h"

static struct sy_span
transaction_keep(struct sy_session *session, struct reply *reply)
{
	struct sip_session *state = session->state;

	free(state->said);
	state->said = reply;
	return reply ? sy_span(reply->bytes, reply->len) : sy_span(NULL, 0);
}

static struct sy_verdict
transaction_emit(struct sy_session *session, enum sy_side to, size_t n, struct reply *reply)
{
	struct sy_span bytes = transaction_keep(session, reply);

	if (!reply)
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "out of memory" };
	return (struct sy_verdict){ .what = SY_EMIT, .to = to, .n = n, .bytes = bytes };
}

static struct sy_verdict
transaction_drop(size_t n)
{
	return (struct sy_verdict){ .what = SY_DROP, .n = n };
}

/* The client's words for what we say ourselves. False: it gets none. */
static bool
transaction_read(const struct transaction *t, struct sip_message *message)
{
	struct sip_scan scan = { 0 };

	return t->request && sip_read(&scan, sy_span(t->request, t->len), UINT32_MAX, message) == SIP_MESSAGE;
}

static struct sy_span
transaction_reply(struct sy_session *session, const struct transaction *t, unsigned status)
{
	const struct sip_conf *conf = session->conf;
	uint32_t after_s = status != 503 ? 0 : t->retry_after_s ? t->retry_after_s : conf->retry_after_s;
	struct sip_message message;
	struct reply *reply = transaction_read(t, &message) ? reply_make(&message) : NULL;

	transaction_keep(session, reply);
	return reply ? reply_say(reply, status, after_s) : sy_span(NULL, 0);
}

/* An answer of our own, and the end. */
static struct sy_verdict
transaction_refuse(struct sy_session *session, struct transaction *t, unsigned status, size_t n)
{
	struct sy_span bytes = transaction_reply(session, t, status);

	t->step = TRANSACTION_OVER;
	session->busy = false;
	return (struct sy_verdict){ .what = bytes.len ? SY_EMIT : SY_DROP, .to = SY_CLIENT, .n = n, .bytes = bytes };
}

struct reply *
transaction_again(struct sy_session *session, struct transaction *t)
{
	struct sip_message message;
	struct routing_self self;

	if (!transaction_read(t, &message))
		return NULL;
	forward_self(session, &t->key, &self);
	routing_read(&message, &self, &t->routing);
	return forward_request(session, t, &message,
	                       sy_span(t->request + message.len, (size_t)message.body));
}

static void
transaction_count(struct sy_session *session, struct transaction *t, bool from_server,
                  const struct sip_message *message)
{
	struct sip_message one = *message;

	/* It has one branch on this side and another one on that. */
	one.branch.len = 0;
	t->book.part = BOOK_TRAFFIC;
	book_message(&t->book, session, from_server != t->to_flow ? SY_SERVER : SY_CLIENT, &one);
}

/* ---- the request ---- */

static struct sy_verdict
transaction_route(struct sy_session *session, struct transaction *t, const struct sip_message *message)
{
	struct sy_facts *facts = &session->facts;

	sip_facts(session, message);
	facts->head = sy_span(t->request, t->head_len);
	facts->server = t->routing.told && t->routing.token.kind == TOKEN_SERVER ? t->routing.token.addr
	                                                                        : (struct sy_addr){ .family = SY_NO_ADDR };
	facts->flow = sy_span(t->routing.token.flow, t->to_flow ? t->routing.token.flow_len : 0);
	facts->avoid = t->avoid;
	facts->n_avoid = t->n_avoid;
	t->step = TRANSACTION_ROUTING;
	t->routed = true;
	return (struct sy_verdict){ .what = SY_ROUTE };
}

/* What is not sent on (RFC 3261 16.3); 0: nothing is wrong. */
static unsigned
transaction_judge(const struct transaction *t, const struct sip_message *message)
{
	if (message->max_forwards == 0)
		return 483;
	if (t->routing.loops)
		return 482;
	return t->routing.forged ? 403 : 0;
}

static struct sy_verdict
transaction_begin(struct sy_session *session, struct transaction *t, struct sy_span in,
                  const struct sip_message *said)
{
	struct sip_message message;
	struct routing_self self;
	size_t whole = said->len + (size_t)said->body;
	unsigned wrong;

	t->request = malloc(whole);
	if (!t->request)
		return (struct sy_verdict){ .what = SY_CLOSE, .reason = "out of memory" };
	memcpy(t->request, in.at, whole);
	t->head_len = (uint32_t)said->len;
	t->len = (uint32_t)whole;
	(void)transaction_read(t, &message);
	session->busy = true;
	t->one_way = !message.request || sip_method_is(&message, "ACK");
	t->invite = message.request && sip_method_is(&message, "INVITE");
	if (!message.request) {
		/* P has looked at the branch already. */
		t->to_flow = t->routing.told = routing_branch(&message, &t->key, &t->routing.token);
		return transaction_route(session, t, &message);
	}
	forward_self(session, &t->key, &self);
	routing_read(&message, &self, &t->routing);
	t->to_flow = t->routing.told && t->routing.token.kind == TOKEN_FLOW;
	wrong = transaction_judge(t, &message);
	if (wrong)
		return transaction_refuse(session, t, wrong, whole);
	return transaction_route(session, t, &message);
}

/* There is a server now, or a client. */
static struct sy_verdict
transaction_send(struct sy_session *session, struct transaction *t)
{
	size_t n = t->consumed ? 0 : t->len;
	struct sip_message message;

	(void)transaction_read(t, &message);
	if (!t->n_avoid)
		transaction_count(session, t, false, &message);
	t->consumed = true;
	t->provisional = t->cancel_said = false;
	t->due_ms = session->now_ms + TIMER_B_MS;
	t->pause_ms = TIMER_T1_MS;
	t->again_ms = session->server_datagram ? session->now_ms + TIMER_T1_MS : 0;
	t->step = TRANSACTION_SENT;
	if (message.request)
		return transaction_emit(session, SY_SERVER, n, transaction_again(session, t));
	return transaction_emit(session, SY_SERVER, n,
	                        forward_answer(&message, sy_span(t->request + message.len, (size_t)message.body)));
}

/* ---- what may follow it ---- */

/* Over UDP it is said again until it is answered; the INVITE has 32 s to be (9.1). */
static struct sy_verdict
transaction_say_cancel(struct sy_session *session, struct transaction *t, size_t n)
{
	t->cancel_said = true;
	t->due_ms = session->now_ms + TIMER_B_MS;
	t->pause_ms = TIMER_T1_MS;
	t->again_ms = session->server_datagram ? session->now_ms + TIMER_T1_MS : 0;
	return transaction_emit(session, SY_SERVER, n, forward_cancel(session, t));
}

/* 9.1: not before the server has said something. */
static struct sy_verdict
transaction_cancel(struct sy_session *session, struct transaction *t, size_t n)
{
	t->cancelled = true;
	t->cancel_due = !t->provisional;
	if (t->cancel_due || t->cancel_said || t->step != TRANSACTION_SENT)
		return transaction_drop(n);
	return transaction_say_cancel(session, t, n);
}

/* The ACK of a success is a request of its own, for the same server (13.2.2.4). */
static struct sy_verdict
transaction_ack(struct sy_session *session, struct transaction *t, struct sy_span in,
                const struct sip_message *message, size_t whole)
{
	struct transaction ack = { .key = t->key, .to_flow = t->to_flow };
	struct routing_self self;

	/* It failed, as the client has heard by another way. */
	if (t->step == TRANSACTION_SENT) {
		t->step = TRANSACTION_OVER;
		return transaction_emit(session, SY_SERVER, whole, forward_ack(session, t, message));
	}
	if (t->step != TRANSACTION_ACCEPTED)
		return transaction_drop(whole);
	forward_self(session, &t->key, &self);
	routing_read(message, &self, &ack.routing);
	if (!t->confirmed)
		sy_count(session, t->to_flow ? COUNT_SERVER_OTHER : COUNT_ACK, 1);
	/* Over UDP it may be lost: then the server says its answer again, and the client this. */
	t->confirmed = true;
	if (session->server_datagram)
		t->due_ms = session->now_ms + TIMER_ACKED_MS;
	else
		t->step = TRANSACTION_OVER;
	return transaction_emit(session, SY_SERVER, whole,
	                        forward_request(session, &ack, message,
	                                        sy_span(in.at + message->len, (size_t)message->body)));
}

static struct sy_verdict
transaction_follows(struct sy_session *session, struct transaction *t, struct sy_span in)
{
	struct sip_scan scan = { 0 };
	struct sip_message message;
	size_t whole;

	if (sip_read(&scan, in, UINT32_MAX, &message) != SIP_MESSAGE)
		return transaction_drop(in.len);
	whole = message.len + (size_t)message.body;
	if (whole > in.len)
		return (struct sy_verdict){ .what = SY_NEED };
	if (sip_method_is(&message, "CANCEL"))
		return transaction_cancel(session, t, whole);
	if (sip_method_is(&message, "ACK"))
		return transaction_ack(session, t, in, &message, whole);
	return transaction_drop(whole);
}

/* ---- time ---- */

/* No answer within Timer B, C or F; or no ACK in time, which is nobody's business. */
static struct sy_verdict
transaction_late(struct sy_session *session, struct transaction *t)
{
	if (t->step == TRANSACTION_ACCEPTED) {
		t->step = TRANSACTION_OVER;
		return transaction_drop(0);
	}
	/* The server may still ring (16.8). */
	if (t->provisional && t->invite && !t->cancel_said)
		return transaction_say_cancel(session, t, 0);
	sy_count(session, COUNT_UNANSWERED, 1);
	return transaction_refuse(session, t, 408, 0);
}

/* 17.1.1.2 and 17.1.2.2: over UDP a request is said again until it is answered, a CANCEL, too. */
static struct sy_verdict
transaction_repeat(struct sy_session *session, struct transaction *t)
{
	t->pause_ms *= 2;
	if (t->pause_ms > TIMER_T2_MS && (!t->invite || t->provisional))
		t->pause_ms = TIMER_T2_MS;
	t->again_ms = session->now_ms + t->pause_ms;
	if (t->cancel_said)
		return transaction_emit(session, SY_SERVER, 0, forward_cancel(session, t));
	return transaction_emit(session, SY_SERVER, 0, transaction_again(session, t));
}

static struct sy_verdict
transaction_wait(struct sy_session *session, struct transaction *t)
{
	uint64_t when = t->due_ms;

	if (session->now_ms >= t->due_ms)
		return transaction_late(session, t);
	if (t->step == TRANSACTION_SENT && t->again_ms) {
		if (session->now_ms >= t->again_ms)
			return transaction_repeat(session, t);
		when = t->again_ms < when ? t->again_ms : when;
	}
	return (struct sy_verdict){ .what = SY_NEED, .look_ms = when - session->now_ms };
}

/* The server's connection may serve another one. */
static struct sy_verdict
transaction_over(struct sy_session *session, struct transaction *t)
{
	session->busy = false;
	t->routed = false;
	return (struct sy_verdict){ .what = SY_END };
}

/* ---- what the client says, and time ---- */

static struct sy_verdict
transaction_new(struct sy_session *session, struct transaction *t, struct sy_span in)
{
	struct sip_scan scan = { 0 };
	struct sip_message message;

	if (sip_read(&scan, in, UINT32_MAX, &message) != SIP_MESSAGE || message.len + message.body > in.len)
		return (struct sy_verdict){ .what = SY_NEED };
	return transaction_begin(session, t, in, &message);
}

static struct sy_verdict
transaction_client(struct sy_session *session, struct transaction *t, struct sy_span in, bool eof)
{
	struct sip_message message;

	switch ((enum transaction_step)t->step) {
	case TRANSACTION_NEW:
		return transaction_new(session, t, in);
	case TRANSACTION_ROUTING:
		/* Another server, after a 503. */
		if (!t->routed && transaction_read(t, &message))
			return transaction_route(session, t, &message);
		return transaction_send(session, t);
	case TRANSACTION_SENT:
		/* P has nothing more to say to a request without answer: the answer came another way. */
		if (t->one_way || (eof && !in.len)) {
			t->step = TRANSACTION_OVER;
			return transaction_over(session, t);
		}
		return in.len ? transaction_follows(session, t, in) : transaction_wait(session, t);
	case TRANSACTION_ACCEPTED:
		return in.len ? transaction_follows(session, t, in) : transaction_wait(session, t);
	case TRANSACTION_OVER:
		break;
	}
	if (t->routed)
		return transaction_over(session, t);
	if (in.len)
		return transaction_drop(in.len);
	if (!eof && session->now_ms >= t->due_ms)
		return (struct sy_verdict){ .what = SY_CLOSE,
			.reason = t->confirmed ? "the ACK has come, and the transaction is over" : "no ACK came within 32 s" };
	return (struct sy_verdict){ .what = SY_NEED, .look_ms = eof ? 0 : t->due_ms - session->now_ms };
}

/* ---- what the server says ---- */

/* How far the server wants to be left alone (RFC 7339 4; RFC 3261 20.33): a part of what is new for the time
 * that it says. Relief is for a quarter of the share, so a smaller wish is a shorter time. */
static uint32_t
transaction_relief(const struct sy_session *session, const struct sip_message *message)
{
	const struct sip_conf *conf = session->conf;
	struct sy_span oc = sip_via_parameter(message->via, "oc");
	struct sy_span validity = sip_via_parameter(message->via, "oc-validity");
	uint64_t percent = 0, ms = 500, seconds = 0;

	if (message->status == 503 && sip_number(sip_first_word(message->retry_after), 86400, &seconds))
		return (uint32_t)seconds * 1000;
	if (!conf->overload_control || !sip_number(oc, 100, &percent) ||
	    (validity.len && !sip_number(validity, SY_DAY, &ms)))
		return 0;
	return (uint32_t)(percent < 75 ? ms * percent / 75 : ms);
}

/* The server does not want it: another one may (16.7 step 6). */
static bool
transaction_moves(struct sy_session *session, struct transaction *t, const struct sip_message *message)
{
	uint64_t seconds = 0;

	if (message->status != 503 || t->to_flow || t->cancelled || t->said || t->n_avoid + 1 >= PROXY_TRIES ||
	    session->once)
		return false;
	(void)sip_number(sip_first_word(message->retry_after), 86400, &seconds);
	t->retry_after_s = (uint32_t)seconds;
	t->avoid[t->n_avoid++] = session->server;
	t->step = TRANSACTION_ROUTING;
	t->moves = true;
	return true;
}

static struct sy_verdict
transaction_provisional(struct sy_session *session, struct transaction *t, struct sy_span in,
                        const struct sip_message *message, size_t whole)
{
	const struct sip_conf *conf = session->conf;

	/* It has arrived; and a 100 is no reason to wait longer (16.7 step 2). */
	if (t->invite && !t->cancel_said && (!t->provisional || message->status > 100)) {
		t->due_ms = session->now_ms + conf->ring_timeout.ms;
		t->again_ms = 0;
	}
	t->provisional = true;
	if (t->cancel_due && !t->cancel_said)
		return transaction_say_cancel(session, t, 0);
	transaction_count(session, t, true, message);
	/* It is between the server and us; the client has had ours. */
	if (message->status == 100)
		return transaction_drop(whole);
	t->said = true;
	return transaction_emit(session, SY_CLIENT, whole,
	                        forward_answer(message, sy_span(in.at + message->len, (size_t)message->body)));
}

static struct sy_verdict
transaction_final(struct sy_session *session, struct transaction *t, struct sy_span in,
                  const struct sip_message *message, size_t whole)
{
	bool failed = message->status >= 300;

	if (t->invite && failed && !t->acked) {
		t->acked = true;
		return transaction_emit(session, SY_SERVER, 0, forward_ack(session, t, message));
	}
	t->acked = false;
	/* Said again, because our ACK was lost. */
	if (t->step == TRANSACTION_ACCEPTED && failed)
		return transaction_drop(whole);
	transaction_count(session, t, true, message);
	if (transaction_moves(session, t, message))
		return transaction_drop(whole);
	t->step = t->invite && (!failed || session->server_datagram) ? TRANSACTION_ACCEPTED : TRANSACTION_OVER;
	t->due_ms = session->now_ms + TIMER_B_MS;
	session->busy = false;
	return transaction_emit(session, SY_CLIENT, whole,
	                        forward_answer(message, sy_span(in.at + message->len, (size_t)message->body)));
}

/* Some servers send all answers of a call to where its first request came from. P knows whose it is; that of
 * another client is nobody's, and so is a request. */
static struct sy_verdict
transaction_stray(struct sy_session *session, const struct transaction *t, struct sy_span in,
                  const struct sip_message *message, size_t whole)
{
	struct token token;

	if (message->request || t->one_way || t->to_flow || t->step == TRANSACTION_ROUTING ||
	    !routing_branch(message, &t->key, &token) || token.flow_len != session->flow.len ||
	    memcmp(token.flow, session->flow.at, token.flow_len) != 0 || sip_method_is(message, "CANCEL"))
		return transaction_drop(whole);
	return transaction_emit(session, SY_CLIENT, whole,
	                        forward_answer(message, sy_span(in.at + message->len, (size_t)message->body)));
}

static struct sy_verdict
transaction_heard(struct sy_session *session, struct transaction *t, struct sy_span in,
                  const struct sip_message *message, size_t whole)
{
	struct sip_message request;
	struct sy_verdict verdict;
	bool branch = !message->request && !t->one_way && t->step != TRANSACTION_ROUTING &&
	              message->branch.len == strlen(t->branch) &&
	              memcmp(message->branch.at, t->branch, message->branch.len) == 0;
	bool ours = branch && transaction_read(t, &request) && request.method.len == message->method.len &&
	            memcmp(request.method.at, message->method.at, request.method.len) == 0;

	if (branch && t->cancel_said && sip_method_is(message, "CANCEL"))
		t->again_ms = 0;
	if (!ours)
		return transaction_stray(session, t, in, message, whole);
	verdict = message->status < 200 ? transaction_provisional(session, t, in, message, whole)
	                                : transaction_final(session, t, in, message, whole);
	if (!t->to_flow && verdict.n)
		verdict.relieve_ms = transaction_relief(session, message);
	return verdict;
}

static struct sy_verdict
transaction_server(struct sy_session *session, struct transaction *t, struct sy_span in)
{
	struct sip_session *state = session->state;
	bool datagram = session->server_datagram && !t->to_flow;
	struct sip_message message;
	enum sip_read got;
	size_t whole;

	if (t->moves || (t->step == TRANSACTION_OVER && t->routed)) {
		t->moves = false;
		return transaction_over(session, t);
	}
	/* What it has said may have changed for how long we wait. */
	if (!in.len && (t->step == TRANSACTION_SENT || t->step == TRANSACTION_ACCEPTED))
		return transaction_wait(session, t);
	if (!in.len)
		return (struct sy_verdict){ .what = SY_NEED };
	got = datagram ? sip_read_datagram(in, &message) : sip_read(&state->scan[SY_SERVER], in, PROXY_MOST, &message);
	if (got == SIP_MORE)
		return (struct sy_verdict){ .what = SY_NEED };
	if (got == SIP_BLANK)
		return transaction_drop(message.len);
	if (got == SIP_WRONG && datagram)
		return transaction_drop(in.len);
	if (got == SIP_WRONG) {
		sy_count(session, COUNT_REFUSED, 1);
		return transaction_refuse(session, t, 502, in.len);
	}
	whole = message.len + (size_t)message.body;
	if (whole > in.len)
		return (struct sy_verdict){ .what = SY_NEED };
	return transaction_heard(session, t, in, &message, datagram ? in.len : whole);
}

/* ---- the module's calls ---- */

struct sy_verdict
transaction_data(struct sy_session *session, enum sy_side side, struct sy_span in, bool eof)
{
	struct sip_session *state = session->state;
	const struct sip_conf *conf = session->conf;
	struct transaction *t = state->transaction;

	free(state->said);
	state->said = NULL;
	if (!t) {
		t = state->transaction = calloc(1, sizeof(*t));
		if (!t)
			return (struct sy_verdict){ .what = SY_CLOSE, .reason = "out of memory" };
		t->key = token_key(session->secret, conf->key.content);
	}
	return side == SY_CLIENT ? transaction_client(session, t, in, eof) : transaction_server(session, t, in);
}

struct sy_span
transaction_fail(struct sy_session *session, enum sy_failure what, unsigned status)
{
	struct sip_session *state = session->state;
	struct transaction *t = state->transaction;

	if (!t || t->one_way || t->step == TRANSACTION_ACCEPTED || t->step == TRANSACTION_OVER)
		return sy_span(NULL, 0);
	/* RFC 5626 5.3: the client's connection is gone, or its worker. */
	if (t->to_flow && (what == SY_FAIL_CONNECT || what == SY_FAIL_BROKEN))
		status = 430;
	return transaction_reply(session, t, status);
}

void
transaction_free(struct transaction *t)
{
	if (!t)
		return;
	book_free(&t->book);
	free(t->request);
	free(t);
}
