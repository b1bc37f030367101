#include "sip.h"

#include <stdlib.h>

#include "value.h"

static struct sy_verdict
connection_wait(const struct sy_session *session, struct sy_span in)
{
	const struct sip_conf *conf = session->conf;

	return (struct sy_verdict){ .what = SY_NEED,
	                            .deadline_ms = in.len ? conf->header_timeout.ms : 0 };
}

/* The client is told, when what it hears last ends where a message ends. */
static struct sy_verdict
connection_refuse(struct sy_session *session, enum sy_side side, const struct sip_message *message)
{
	const struct sip_conf *conf = session->conf;
	struct sip_session *state = session->state;
	struct sy_verdict verdict = sip_refuse(session, message->problem);

	if (side == SY_CLIENT && message->answer && !state->passing[SY_SERVER] &&
	    (state->said = reply_make(message)) != NULL)
		verdict.bytes = reply_say(state->said, message->answer,
		                          message->answer == 503 ? conf->retry_after_s : 0);
	return verdict;
}

/* Empty lines between messages: those of a client that has a server are for the server, which answers
 * with an empty line of its own. Without a server we answer each pair (RFC 5626 4.4.1). */
static struct sy_verdict
connection_blank(struct sy_session *session, enum sy_side side, size_t n)
{
	struct sip_session *state = session->state;
	bool pair = n / 2 + state->half_ping >= 2;

	if (side == SY_CLIENT)
		sy_count(session, COUNT_KEEPALIVES, 1);
	if (state->routed) {
		state->passing[side] = true;
		return (struct sy_verdict){ .what = SY_PASS, .n = n };
	}
	state->half_ping = !pair;
	return (struct sy_verdict){ .what = pair ? SY_EMIT : SY_DROP, .to = SY_CLIENT, .n = n,
	                            .bytes = sy_span("\r\n", 2) };
}

static bool
connection_is(struct sy_span text, const char *word)
{
	return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

/* Microsoft's compression ([MS-SIPCOMP]): what is compressed cannot be framed. A client whose NEGOTIATE
 * fails goes on in plain SIP. */
static struct sy_verdict
connection_negotiate(struct sy_session *session, const struct sip_message *message)
{
	struct sip_session *state = session->state;

	if (message->body > 0)
		return sip_refuse(session, "a NEGOTIATE with a body");
	if (state->passing[SY_SERVER])
		return sip_refuse(session, "a NEGOTIATE in the middle of what the server says");
	state->said = reply_make(message);
	if (!state->said)
		return sip_refuse(session, "a NEGOTIATE that cannot be answered");
	return (struct sy_verdict){ .what = SY_EMIT, .to = SY_CLIENT, .n = message->len,
	                            .bytes = reply_say(state->said, 501, 0) };
}

static bool
connection_compresses(const struct sip_message *message)
{
	return !message->request && message->status >= 200 && message->status < 300 &&
	       connection_is(message->method, "NEGOTIATE") && message->compression.len &&
	       !sip_is(message->compression, "none");
}

static struct sy_verdict
connection_route(struct sy_session *session, const struct sip_message *message)
{
	struct sip_session *state = session->state;

	state->routed = true;
	state->reply = reply_make(message);
	sip_facts(session, message);
	return (struct sy_verdict){ .what = SY_ROUTE };
}

static void
connection_busy(struct sy_session *session)
{
	const struct sip_conf *conf = session->conf;

	session->busy = session->gauge[GAUGE_TRANSACTIONS] > 0 ||
	                (conf->keep_dialogs && session->gauge[GAUGE_DIALOGS] > 0);
}

static struct sy_verdict
connection_message(struct sy_session *session, enum sy_side side, struct sy_span in,
                   const struct sip_message *message)
{
	const struct sip_conf *conf = session->conf;
	struct sip_session *state = session->state;
	uint64_t whole = message->len + message->body;

	if (side == SY_CLIENT && message->request && connection_is(message->method, "NEGOTIATE") &&
	    conf->compression.index == SIP_COMPRESSION_REFUSE) {
		sy_count(session, COUNT_OTHER, 1);
		return connection_negotiate(session, message);
	}
	if (!state->routed && !message->request)
		return sip_refuse(session, "a connection that begins with a response");
	if (!state->routed)
		return connection_route(session, message);
	if (side == SY_SERVER) {
		free(state->reply);
		state->reply = NULL;
		sip_answered(session, message);
	}
	state->half_ping = false;
	state->compressed = side == SY_SERVER && connection_compresses(message);
	book_message(&state->book, session, side, message);
	connection_busy(session);
	state->passing[side] = true;
	return (struct sy_verdict){ .what = SY_PASS, .n = whole,
	                            .deadline_ms = whole > in.len ? conf->body_timeout.ms : 0 };
}

/* Nothing is known of what follows. */
static struct sy_verdict
connection_tunnel(struct sy_session *session)
{
	struct sip_session *state = session->state;

	book_free(&state->book);
	memset(session->gauge, 0, sizeof(session->gauge));
	session->busy = false;
	return (struct sy_verdict){ .what = SY_TUNNEL };
}

struct sy_verdict
sip_connection(struct sy_session *session, enum sy_side side, struct sy_span in)
{
	const struct sip_conf *conf = session->conf;
	struct sip_session *state = session->state;
	struct sip_message message;

	free(state->said);
	state->said = NULL;
	state->passing[side] = false;
	if (state->compressed && !state->passing[SY_SERVER])
		return connection_tunnel(session);
	book_sweep(&state->book, session);
	connection_busy(session);
	switch (sip_read(&state->scan[side], in, conf->body_limit.n, &message)) {
	case SIP_MORE:
		break;
	case SIP_BLANK:
		return connection_blank(session, side, message.len);
	case SIP_MESSAGE:
		return connection_message(session, side, in, &message);
	case SIP_WRONG:
		return connection_refuse(session, side, &message);
	}
	return connection_wait(session, in);
}

/* ---- datagrams: one flow of a client is one connection ---- */

/* Calls are quiet for long between answer and BYE; session timers ask every 30 min (RFC 4028). */
enum { PACKET_DIALOG_MS = 35 * 60 * 1000 };

static struct sy_packet_verdict
packet_passes(struct sy_session *session, enum sy_side side, const struct sip_message *message)
{
	struct sip_session *state = session->state;
	struct sy_packet_verdict verdict = { .what = SY_PACKET_PASS };
	uint64_t seconds;

	if (!state->routed && side == SY_CLIENT) {
		state->routed = true;
		sip_facts(session, message);
	}
	if (side == SY_SERVER)
		sip_answered(session, message);
	book_message(&state->book, session, side, message);
	connection_busy(session);
	if (session->gauge[GAUGE_DIALOGS] > 0)
		verdict.lifetime_ms = PACKET_DIALOG_MS;
	else if (session->gauge[GAUGE_TRANSACTIONS] > 0)
		verdict.lifetime_ms = BOOK_RINGING_MS;
	if (side == SY_SERVER && message->status == 503 &&
	    sip_number(sip_first_word(message->retry_after), 86400, &seconds))
		verdict.relieve_ms = (uint32_t)seconds * 1000;
	return verdict;
}

struct sy_packet_verdict
sip_packet(struct sy_session *session, enum sy_side side, struct sy_span in)
{
	struct sip_message message;

	if (sip_is_keepalive(in)) {
		if (side == SY_CLIENT)
			sy_count(session, COUNT_KEEPALIVES, 1);
		return (struct sy_packet_verdict){ .what = SY_PACKET_PASS };
	}
	if (sip_read_datagram(in, &message) == SIP_MESSAGE)
		return packet_passes(session, side, &message);
	sy_count(session, COUNT_REFUSED, 1);
	return (struct sy_packet_verdict){ .what = SY_PACKET_DROP, .reason = message.problem };
}
