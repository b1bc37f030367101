/* Datagrams: what each is, its first byte tells (RFC 7983); nothing else passes. */
#include "turn.h"

struct turn_packet {
	struct sy_session *session;
	enum sy_side side;
	struct sy_span in;
};

/* Once an active destination is set ([MS-TURN]), what is for it, and from it, stands in the datagrams as
 * it is. Of a flow that another process had before, it is not known whether one is, until its client has
 * said something of the other dialect. */
static bool
turn_may_be_anything(const struct turn_packet *packet)
{
	const struct turn_state *state = packet->session->state;

	return packet->in.len > 0 && (state->raw || (state->inherited && !state->rfc));
}

static struct sy_packet_verdict
turn_drop(const struct turn_packet *packet, enum turn_counter counter, const char *words)
{
	if (turn_may_be_anything(packet)) {
		turn_channel_data(packet->session, packet->side, packet->in.len);
		return (struct sy_packet_verdict){ .what = SY_PACKET_PASS };
	}
	sy_count(packet->session, counter, 1);
	return (struct sy_packet_verdict){ .what = SY_PACKET_DROP, .reason = words };
}

static struct sy_packet_verdict
turn_message(const struct turn_packet *packet)
{
	struct sy_session *session = packet->session;
	const struct turn_conf *conf = session->conf;
	struct sy_packet_verdict verdict = { .what = SY_PACKET_PASS };
	struct turn_effect effect;
	struct stun message;
	enum stun_flaw flaw = stun_read(packet->in, &message);

	if (flaw != STUN_FINE)
		return turn_drop(packet, turn_flaw_counter(flaw), turn_flaw_words(flaw));
	effect = turn_notice(session, packet->side, &message);
	verdict.lifetime_ms = effect.lifetime_ms;
	verdict.fresh = effect.fresh;
	if (effect.unproven)
		verdict.most_per_second = conf->unauthenticated_rate.per_second;
	if (effect.overloaded)
		verdict.relieve_ms = (uint32_t)conf->relief.ms;
	return verdict;
}

/* Over UDP the padding is allowed, and mostly not there (RFC 8656 12.5). */
static struct sy_packet_verdict
turn_channel(const struct turn_packet *packet)
{
	struct sy_session *session = packet->session;
	const struct turn_state *state = session->state;
	struct sy_span in = packet->in;
	size_t len;

	if (in.len < CHANNEL_HEADER)
		return turn_drop(packet, COUNT_GARBAGE_LENGTH, "ChannelData: shorter than its header");
	len = stun_16(in.at + 2);
	if (in.len != CHANNEL_HEADER + len && in.len != CHANNEL_HEADER + (len + 3) / 4 * 4)
		return turn_drop(packet, COUNT_GARBAGE_CHANNEL,
		                 "ChannelData: another length than its header says");
	if (session->gauge[GAUGE_ALLOCATIONS] == 0 && !state->inherited)
		return turn_drop(packet, COUNT_GARBAGE_STATE, "ChannelData without an allocation");
	turn_channel_data(session, packet->side, len);
	return (struct sy_packet_verdict){ .what = SY_PACKET_PASS,
	                                   .lifetime_ms = turn_inherit(session) };
}

static struct sy_packet_verdict
turn_multiplexed(const struct turn_packet *packet)
{
	const struct turn_conf *conf = packet->session->conf;
	struct sy_span in = packet->in;

	if (!conf->multiplexed)
		return turn_drop(packet, COUNT_GARBAGE_KIND,
		                 "multiplexed TURN, and `multiplexed` is off");
	if (in.len < MULTIPLEXED_HEADER || in.len != CHANNEL_HEADER + (size_t)stun_16(in.at + 2))
		return turn_drop(packet, COUNT_GARBAGE_LENGTH,
		                 "multiplexed TURN: another length than its header says");
	sy_count(packet->session, COUNT_MULTIPLEXED, 1);
	return (struct sy_packet_verdict){ .what = SY_PACKET_PASS };
}

struct sy_packet_verdict
turn_packet(struct sy_session *session, enum sy_side side, struct sy_span in)
{
	const struct turn_packet packet = { session, side, in };
	struct turn_state *state = session->state;

	if (!state->begun) {
		state->begun = true;
		state->inherited = session->server_name != NULL;
	}
	turn_expire(session);
	if (!in.len)
		return turn_drop(&packet, COUNT_GARBAGE_LENGTH, "an empty datagram");
	if (in.at[0] < 4)
		return turn_message(&packet);
	if (in.at[0] >= 0x40 && in.at[0] < 0x80)
		return turn_channel(&packet);
	if (in.len >= 2 && in.at[0] == 0xff && in.at[1] == 0x10)
		return turn_multiplexed(&packet);
	return turn_drop(&packet, COUNT_GARBAGE_KIND, "neither STUN nor ChannelData, by the first byte");
}
