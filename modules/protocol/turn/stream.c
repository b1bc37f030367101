/* Streams: messages and ChannelData one behind the other (RFC 8656 12.5), or in Microsoft's frames. What
 * is to be understood is waited for; what is only relayed goes on by its header. */
#include "stream.h"

enum { TURN_PARTIAL_MS = 30000 };

struct sy_verdict
turn_need(void)
{
	return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = TURN_PARTIAL_MS };
}

struct sy_verdict
turn_close(struct sy_session *session, enum turn_counter counter, const char *words)
{
	sy_count(session, counter, 1);
	return (struct sy_verdict){ .what = SY_CLOSE, .reason = words };
}

static struct sy_verdict
turn_broken(struct sy_session *session, enum stun_flaw flaw)
{
	return turn_close(session, turn_flaw_counter(flaw), turn_flaw_words(flaw));
}

static struct sy_verdict
turn_pass(size_t n)
{
	return (struct sy_verdict){ .what = SY_PASS, .n = n };
}

/* Asks for a server once, with what is known by then; the same bytes are shown again. */
static bool
turn_is_first(struct sy_session *session, const struct stun *message)
{
	struct turn_state *state = session->state;

	if (state->routed)
		return false;
	state->routed = true;
	if (message)
		turn_user(session, message->user);
	return true;
}

static struct sy_verdict
turn_understood(struct sy_session *session, enum sy_side side, const struct stun *message, size_t size)
{
	const struct turn_conf *conf = session->conf;
	struct turn_state *state = session->state;
	struct turn_effect effect;
	struct sy_verdict verdict;

	if (side == SY_CLIENT && turn_is_first(session, message))
		return (struct sy_verdict){ .what = SY_ROUTE };
	effect = turn_notice(session, side, message);
	/* RFC 6062 5.4: from here on it is the connection of a peer. */
	if (side == SY_SERVER && message->method == STUN_CONNECTION_BIND &&
	    message->class == STUN_SUCCESS) {
		state->framing = TURN_TUNNEL;
		return (struct sy_verdict){ .what = SY_TUNNEL };
	}
	verdict = turn_pass(size);
	if (effect.overloaded)
		verdict.relieve_ms = (uint32_t)conf->relief.ms;
	return verdict;
}

/* `size` bytes from here, the message behind `before` of them. What only carries data is not waited for:
 * then its bytes are counted without those of its header and of one address. */
static struct sy_verdict
turn_stun(struct sy_session *session, enum sy_side side, struct sy_span in, size_t before, size_t size)
{
	struct turn_state *state = session->state;
	struct stun message;
	enum stun_flaw flaw;
	size_t whole = size - before;

	if (in.len >= size) {
		flaw = stun_read(sy_span(in.at + before, whole), &message);
		if (flaw != STUN_FINE)
			return turn_broken(session, flaw);
		return turn_understood(session, side, &message, size);
	}
	if (in.len < before + STUN_HEADER + 8)
		return turn_need();
	if (!stun_head(sy_span(in.at + before, in.len - before), &message))
		return turn_broken(session, STUN_KIND);
	if (whole <= TURN_CONTROL)
		return turn_need();
	if (message.class != STUN_INDICATION || !state->routed)
		return turn_close(session, COUNT_GARBAGE_LENGTH,
		                  "a message that is too long for one that carries no data");
	message.data.len = whole - STUN_HEADER - 16;
	turn_notice(session, side, &message);
	return turn_pass(size);
}

/* Lengths are counted in size_t: in 16 bits, the largest of them would come out small. */
static struct sy_verdict
turn_frame_rfc(struct sy_session *session, enum sy_side side, struct sy_span in)
{
	size_t len;

	if (in.len < CHANNEL_HEADER)
		return turn_need();
	len = stun_16(in.at + 2);
	if (in.at[0] < 0x40) {
		if (len % 4 || in.at[0] > 3)
			return turn_close(session, COUNT_GARBAGE_KIND,
			                  "neither a STUN message nor ChannelData: the framing is lost");
		return turn_stun(session, side, in, 0, STUN_HEADER + len);
	}
	if (in.at[0] >= 0x80)
		return turn_close(session, COUNT_GARBAGE_KIND,
		                  "neither a STUN message nor ChannelData: the framing is lost");
	if (session->gauge[GAUGE_ALLOCATIONS] == 0)
		return turn_close(session, COUNT_GARBAGE_STATE, "ChannelData without an allocation");
	turn_channel_data(session, side, len);
	return turn_pass(CHANNEL_HEADER + (len + 3) / 4 * 4);
}

static struct sy_verdict
turn_frame_ms(struct sy_session *session, enum sy_side side, struct sy_span in)
{
	size_t len;

	if (in.len < MS_FRAME)
		return turn_need();
	len = stun_16(in.at + 2);
	if (in.at[1] || (in.at[0] != MS_FRAME_CONTROL && in.at[0] != MS_FRAME_DATA))
		return turn_close(session, COUNT_GARBAGE_KIND,
		                  "a frame that is neither control nor data: the framing is lost");
	if (in.at[0] == MS_FRAME_CONTROL && len < STUN_HEADER)
		return turn_close(session, COUNT_GARBAGE_LENGTH, "a control frame without a message");
	if (in.at[0] == MS_FRAME_CONTROL)
		return turn_stun(session, side, in, MS_FRAME, MS_FRAME + len);
	if (!((struct turn_state *)session->state)->routed)
		return turn_close(session, COUNT_GARBAGE_STATE, "data before any message");
	turn_channel_data(session, side, len);
	return turn_pass(MS_FRAME + len);
}

static struct sy_verdict
turn_pseudo_tls(struct sy_session *session, enum sy_side side, struct sy_span in)
{
	struct turn_state *state = session->state;

	if (side == SY_CLIENT) {
		if (turn_is_first(session, NULL))
			return (struct sy_verdict){ .what = SY_ROUTE };
		if (state->greeted)
			return turn_frame_ms(session, side, in);
		state->greeted = true;
		return turn_pass(PSEUDO_HELLO);
	}
	if (state->answered)
		return turn_frame_ms(session, side, in);
	switch (turn_pseudo_answer(in)) {
	case TURN_MAYBE:
		return turn_need();
	case TURN_NO:
		return turn_close(session, COUNT_GARBAGE_KIND,
		                  "the server did not answer Microsoft's hello as it should");
	case TURN_YES:
		break;
	}
	state->answered = true;
	return turn_pass(PSEUDO_ANSWER);
}

struct sy_verdict
turn_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in, bool eof)
{
	struct turn_state *state = session->state;

	(void)exchange, (void)eof;
	turn_expire(session);
	if (!in.len)
		return (struct sy_verdict){ .what = SY_NEED };
	if (state->framing == TURN_UNKNOWN && side == SY_CLIENT) {
		struct sy_verdict verdict = turn_first(session, in);

		if (state->framing == TURN_UNKNOWN || state->framing == TURN_TUNNEL)
			return verdict;
	}
	switch ((enum turn_framing)state->framing) {
	case TURN_FRAMED_RFC:
		return turn_frame_rfc(session, side, in);
	case TURN_FRAMED_MS:
		return turn_frame_ms(session, side, in);
	case TURN_PSEUDO_TLS:
		return turn_pseudo_tls(session, side, in);
	case TURN_TUNNEL:
		return (struct sy_verdict){ .what = SY_TUNNEL };
	case TURN_UNKNOWN:
		break;
	}
	return turn_close(session, COUNT_GARBAGE_STATE, "the server spoke before the client");
}
