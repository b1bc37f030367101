/* Allocations, by what client and server say to each other. */
#include "turn.h"

static bool
turn_has(const struct sy_session *session)
{
	return session->gauge[GAUGE_ALLOCATIONS] > 0;
}

static void
turn_ask(struct turn_state *state, const struct stun *message)
{
	struct turn_question *question = &state->asked[state->next];

	for (unsigned i = 0; i < TURN_ASKED; i++)
		/* The same question once more: RFC 8489 6.2.1. */
		if (state->asked[i].method == (uint8_t)message->method &&
		    memcmp(state->asked[i].tid, message->tid, STUN_TID) == 0)
			return;
	memcpy(question->tid, message->tid, STUN_TID);
	question->method = (uint8_t)message->method;
	question->release = message->has_lifetime && message->lifetime_s == 0;
	state->next = (uint8_t)((state->next + 1) % TURN_ASKED);
}

/* The question that is answered; it is forgotten, so that an answer counts once. */
static bool
turn_answered(struct turn_state *state, const struct stun *message, struct turn_question *out)
{
	for (unsigned i = 0; i < TURN_ASKED; i++) {
		struct turn_question *question = &state->asked[i];

		if (question->method != (uint8_t)message->method ||
		    memcmp(question->tid, message->tid, STUN_TID) != 0)
			continue;
		*out = *question;
		question->method = STUN_OTHER;
		return true;
	}
	return false;
}

/* The beginning of a name says nothing when it is a token: those that are too long are hashed (FNV-1a). */
void
turn_user(struct sy_session *session, struct sy_span user)
{
	struct turn_state *state = session->state;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	if (!user.len)
		return;
	if (user.len <= TURN_USER) {
		memcpy(state->user, user.at, user.len);
		state->user_len = (uint8_t)user.len;
	} else {
		for (size_t i = 0; i < user.len; i++)
			hash = (hash ^ user.at[i]) * UINT64_C(0x100000001b3);
		for (unsigned i = 0; i < 16; i++)
			state->user[i] = (uint8_t)"0123456789abcdef"[hash >> 4 * i & 15];
		state->user_len = 16;
	}
	session->facts.user = session->facts.session = sy_span(state->user, state->user_len);
}

static void
turn_gone(struct sy_session *session)
{
	session->gauge[GAUGE_ALLOCATIONS] = 0;
	session->busy = false;
	session->until_ms = 0;
}

/* It lives, and so long. */
static uint32_t
turn_lives(struct sy_session *session, uint32_t lifetime_s)
{
	struct turn_state *state = session->state;
	uint64_t ms;

	if (lifetime_s > TURN_LIFETIME_MOST_S)
		lifetime_s = TURN_LIFETIME_MOST_S;
	ms = lifetime_s * UINT64_C(1000);
	state->expires_ms = session->now_ms + ms;
	session->gauge[GAUGE_ALLOCATIONS] = 1;
	session->busy = true;
	session->until_ms = state->expires_ms;
	return (uint32_t)ms + TURN_GRACE_MS;
}

void
turn_expire(struct sy_session *session)
{
	struct turn_state *state = session->state;

	if (!turn_has(session) || session->now_ms < state->expires_ms + TURN_GRACE_MS)
		return;
	sy_count(session, COUNT_EXPIRED, 1);
	turn_gone(session);
}

/* A flow that another process had before: what is relayed tells that there is an allocation. Its next
 * Refresh will tell how long it lives. */
uint32_t
turn_inherit(struct sy_session *session)
{
	struct turn_state *state = session->state;

	if (!state->inherited || turn_has(session))
		return 0;
	return turn_lives(session, TURN_LIFETIME_S);
}

static struct turn_effect
turn_question(struct sy_session *session, const struct stun *message)
{
	struct turn_state *state = session->state;
	struct turn_effect effect = { .fresh = false };

	switch (message->method) {
	case STUN_BINDING:
		sy_count(session, COUNT_BINDINGS, 1);
		return effect;
	case STUN_ALLOCATE:
		sy_count(session, COUNT_ALLOCATES, 1);
		/* Whether credentials are good, only the server knows: its challenge goes to whoever seems to
		 * have asked, with them or without. */
		effect.unproven = !turn_has(session);
		effect.fresh = !turn_has(session) && !state->inherited;
		break;
	case STUN_REFRESH:
		sy_count(session, COUNT_REFRESHES, 1);
		break;
	case STUN_PERMISSION:
		sy_count(session, COUNT_PERMISSIONS, 1);
		break;
	case STUN_CHANNEL_BIND:
		sy_count(session, COUNT_CHANNEL_BINDS, 1);
		break;
	case STUN_ACTIVE_DESTINATION:
	case STUN_CONNECT:
	case STUN_CONNECTION_BIND:
		break;
	case STUN_OTHER:
	case STUN_SEND:
	case STUN_DATA:
	case STUN_CONNECTION_ATTEMPT:
		return effect;
	}
	/* Bindings are media, as far as Microsoft's TURN goes. */
	state->rfc |= message->dialect == STUN_RFC;
	turn_user(session, message->user);
	turn_ask(state, message);
	return effect;
}

static struct turn_effect
turn_success(struct sy_session *session, const struct stun *message)
{
	struct turn_state *state = session->state;
	struct turn_effect effect = { .fresh = false };
	struct turn_question question;
	bool had = turn_has(session);
	uint32_t lifetime_s = message->has_lifetime ? message->lifetime_s : TURN_LIFETIME_S;

	if (!turn_answered(state, message, &question))
		return effect;
	if (message->method == STUN_ACTIVE_DESTINATION)
		state->raw = true;
	if (message->method != STUN_ALLOCATE && message->method != STUN_REFRESH)
		return effect;
	if (question.release || (message->has_lifetime && lifetime_s == 0)) {
		if (had)
			sy_count(session, COUNT_RELEASES, 1);
		turn_gone(session);
		/* For what is still on its way. */
		effect.lifetime_ms = 1;
		return effect;
	}
	if (message->method == STUN_ALLOCATE && !had)
		sy_count(session, COUNT_ALLOCATED, 1);
	/* Of a Refresh, too: servers bring back what was just released. */
	effect.lifetime_ms = turn_lives(session, lifetime_s);
	return effect;
}

static enum turn_counter
turn_refusal(uint16_t error, bool *overloaded)
{
	*overloaded = error == 403 || error == 486 || error == 508;
	switch (error) {
	case 300:
		return COUNT_REFUSED_REDIRECT;
	case 401:
	case 438:
		return COUNT_CHALLENGES;
	case 403:
		return COUNT_REFUSED_FORBIDDEN;
	case 437:
		return COUNT_REFUSED_MISMATCH;
	case 486:
		return COUNT_REFUSED_QUOTA;
	case 508:
		return COUNT_REFUSED_CAPACITY;
	default:
		return COUNT_REFUSED_OTHER;
	}
}

static struct turn_effect
turn_error(struct sy_session *session, const struct stun *message)
{
	struct turn_effect effect = { .fresh = false };
	struct turn_question question;
	enum turn_counter counter;

	if (!turn_answered(session->state, message, &question))
		return effect;
	if (message->method == STUN_ALLOCATE) {
		counter = turn_refusal(message->error, &effect.overloaded);
		sy_count(session, counter, 1);
	} else if (message->method == STUN_REFRESH && message->error != 438) {
		sy_count(session, COUNT_REFRESH_FAILURES, 1);
		/* The server knows of none. */
		if (message->error == 437 && question.release)
			turn_gone(session);
	}
	return effect;
}

static struct turn_effect
turn_indication(struct sy_session *session, enum sy_side side, const struct stun *message)
{
	struct turn_effect effect = { .fresh = false };
	bool up = side == SY_CLIENT;

	if (message->method != (up ? STUN_SEND : STUN_DATA))
		return effect;
	sy_count(session, up ? COUNT_SENDS : COUNT_DATAS, 1);
	sy_count(session, up ? COUNT_RELAYED_UP : COUNT_RELAYED_DOWN, (uint32_t)message->data.len);
	effect.lifetime_ms = turn_inherit(session);
	return effect;
}

struct turn_effect
turn_notice(struct sy_session *session, enum sy_side side, const struct stun *message)
{
	if (message->class == STUN_INDICATION)
		return turn_indication(session, side, message);
	if (message->class == STUN_REQUEST && side == SY_CLIENT)
		return turn_question(session, message);
	if (message->class == STUN_SUCCESS && side == SY_SERVER)
		return turn_success(session, message);
	if (message->class == STUN_ERROR && side == SY_SERVER)
		return turn_error(session, message);
	return (struct turn_effect){ .fresh = false };
}

void
turn_channel_data(struct sy_session *session, enum sy_side side, size_t bytes)
{
	bool up = side == SY_CLIENT;

	sy_count(session, up ? COUNT_CHANNEL_UP : COUNT_CHANNEL_DOWN, 1);
	sy_count(session, up ? COUNT_RELAYED_UP : COUNT_RELAYED_DOWN, (uint32_t)bytes);
}
