/*
 * Users whose media go through a relay (handler-turn.c), in Microsoft's dialect:
 *
 *	over TCP the hello that looks like TLS; Allocate (401, with realm, nonce and Alternate Server, where a
 *	client over UDP goes on; one over TCP stays); Allocate with credentials (a relayed address)
 *	Send to that very address, so that the relay hears itself as a peer: Data comes back
 *	Set Active Destination; media as they are, there and back
 *	Allocate with lifetime 0 (this dialect has no Refresh)
 *
 * A short client has all of it in one exchange. A long one sends media in each, in every eighth asks for more
 * time, and lets go of the relay in the end. Over UDP what gets no answer is said again.
 */
#include "crowd.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "turn.h"

enum turn_step {
	TURN_GREET,
	TURN_CHALLENGE,
	TURN_ALLOCATE,
	TURN_SEND,
	TURN_ACTIVATE,
	TURN_MEDIA,
	TURN_REFRESH,
	TURN_RELEASE,
	TURN_DONE,
};

enum { TURN_HELLO = 50, TURN_ANSWER = 83, TURN_WORD = 128, TURN_LIFETIME = 120, TURN_REFRESH_EVERY = 8 };

struct crowd_turn {
	enum turn_step step;
	uint8_t tid[STUN_TID], key[BUILD_KEY];
	uint8_t realm[TURN_WORD], nonce[TURN_WORD];
	size_t realm_len, nonce_len;
	struct sy_addr relayed;
	struct build build;
	int server;
};

static bool
turn_framed(const struct crowd_client *client)
{
	return client->target->transport != LAB_UDP;
}

static void
turn_connected(struct crowd_client *client)
{
	struct crowd_turn *turn = client->state;

	if (!client->goes_on)
		turn->step = turn_framed(client) ? TURN_GREET : TURN_CHALLENGE;
}

/* ---- what is asked ---- */

static void
turn_hello(struct lab_buf *out)
{
	static const uint8_t head[] = {0x16, 3, 1, 0, 0x2d, 1, 0, 0, 0x29, 3, 1};
	static const uint8_t tail[] = {0, 0, 2, 0, 0x18, 1, 0};
	uint8_t random[TURN_HELLO - sizeof(head) - sizeof(tail)] = {0};

	RAND_bytes(random, sizeof(random));
	buf_add(out, head, sizeof(head));
	buf_add(out, random, sizeof(random));
	buf_add(out, tail, sizeof(tail));
}

static void
turn_begin(struct crowd_client *client, uint16_t type)
{
	struct crowd_turn *turn = client->state;

	RAND_bytes(turn->tid, sizeof(turn->tid));
	build_begin(&turn->build, STUN_MS, turn_framed(client), type, turn->tid);
}

static void
turn_sign(struct crowd_turn *turn)
{
	build_bytes(&turn->build, 0x0006, sy_span_text(turn_user));
	build_bytes(&turn->build, 0x0015, sy_span(turn->realm, turn->realm_len));
	build_bytes(&turn->build, 0x0014, sy_span(turn->nonce, turn->nonce_len));
	build_integrity(&turn->build, sy_span(turn->key, BUILD_KEY));
}

/* lifetime -1: without credentials. */
static void
turn_allocate(struct crowd_client *client, int lifetime)
{
	struct crowd_turn *turn = client->state;

	turn_begin(client, 0x0003);
	build_number(&turn->build, 0x8008, 6);
	build_number(&turn->build, 0x8055, 0x00010000);
	if (lifetime < 0)
		return;
	build_number(&turn->build, 0x000d, (uint32_t)lifetime);
	turn_sign(turn);
}

static void
turn_raw(struct crowd_client *client)
{
	size_t len = strlen(client->expected);
	uint8_t head[MS_FRAME] = {MS_FRAME_DATA, 0, (uint8_t)(len >> 8), (uint8_t)len};

	buf_add(&client->out, head, turn_framed(client) ? sizeof(head) : 0);
	buf_add(&client->out, client->expected, len);
}

/* Makes the step's question, or makes it again. */
static void
turn_question(struct crowd_client *client)
{
	struct crowd_turn *turn = client->state;
	struct sy_span bytes;

	switch (turn->step) {
	case TURN_GREET:
		turn_hello(&client->out);
		return;
	case TURN_MEDIA:
		turn_raw(client);
		return;
	case TURN_CHALLENGE:
		turn_allocate(client, -1);
		break;
	case TURN_ALLOCATE:
	case TURN_REFRESH:
		turn_allocate(client, TURN_LIFETIME);
		break;
	case TURN_RELEASE:
		turn_allocate(client, 0);
		break;
	case TURN_SEND:
		turn_begin(client, 0x0004);
		build_address(&turn->build, 0x0011, &turn->relayed);
		build_bytes(&turn->build, 0x0013, sy_span_text(client->expected));
		turn_sign(turn);
		break;
	case TURN_ACTIVATE:
		turn_begin(client, 0x0006);
		build_address(&turn->build, 0x0011, &turn->relayed);
		turn_sign(turn);
		break;
	case TURN_DONE:
		return;
	}
	bytes = build_end(&turn->build);
	buf_add(&client->out, bytes.at, bytes.len);
}

static void
turn_repeat(struct crowd_client *client)
{
	if (!client->out.len)
		turn_question(client);
}

static void
turn_ask(struct crowd_client *client)
{
	struct crowd_turn *turn = client->state;

	snprintf(client->expected, sizeof(client->expected), "media %04x.%" PRIu32 ".%" PRIu64 ": %.*s",
		 client->crowd->id, client->number, client->sequence,
		 (int)(client->sequence * 29 % 160),
		 "................................................................................"
		 "................................................................................");
	if (client->present)
		turn->step = client->leaving ? TURN_RELEASE
			     : client->sequence % TURN_REFRESH_EVERY == 0 ? TURN_REFRESH
									   : TURN_MEDIA;
	turn_question(client);
}

static enum turn_step
turn_next(const struct crowd_client *client)
{
	const struct crowd_turn *turn = client->state;

	switch (turn->step) {
	case TURN_GREET:
	case TURN_CHALLENGE:
	case TURN_SEND:
	case TURN_ACTIVATE:
		return turn->step + 1;
	case TURN_ALLOCATE:
		return client->leaving ? TURN_RELEASE : TURN_SEND;
	case TURN_MEDIA:
		return client->stays ? TURN_DONE : TURN_RELEASE;
	case TURN_REFRESH:
	case TURN_RELEASE:
	case TURN_DONE:
		break;
	}
	return TURN_DONE;
}

/* ---- what comes ---- */

/* What the server says of itself, which this dialect does not know: see handler-turn.c. */
static const char *
turn_who(struct crowd_client *client, struct sy_span in, int *server)
{
	for (size_t at = STUN_HEADER; at + 4 <= in.len; at += 4u + stun_16(in.at + at + 2))
		if (stun_16(in.at + at) == 0x8022)
			return who_answered(client, (const char *)in.at + at + 4,
					    stun_16(in.at + at + 2), server);
	return who_answered(client, "", 0, server);
}

static const char *
turn_challenged(struct crowd_client *client, const struct stun *message)
{
	struct crowd_turn *turn = client->state;

	if (message->class != STUN_ERROR || message->error != 401)
		return "an Allocate without credentials was not answered with 401";
	if (!message->realm.len || !message->nonce.len || message->realm.len > TURN_WORD ||
	    message->nonce.len > TURN_WORD)
		return "the 401 has no realm and nonce to go on with";
	turn->realm_len = message->realm.len;
	turn->nonce_len = message->nonce.len;
	memcpy(turn->realm, message->realm.at, message->realm.len);
	memcpy(turn->nonce, message->nonce.at, message->nonce.len);
	if (!build_key(sy_span_text(turn_user), message->realm, sy_span_text(turn_password), turn->key))
		return "the client itself has a problem";
	/* [MS-TURN] 2.2.2.7: over UDP it must go there. */
	if (!turn_framed(client) && message->alternate.family)
		client->next_addr = turn_to(&message->alternate);
	return NULL;
}

static const char *
turn_allocated(struct crowd_client *client, struct sy_span in, const struct stun *message)
{
	struct crowd_turn *turn = client->state;

	if (message->class != STUN_SUCCESS)
		return "an Allocate with credentials was refused";
	if (!build_verify(in, message, sy_span(turn->key, BUILD_KEY)))
		return "the answer to an Allocate is not from who knows the password";
	if (!message->relayed.family)
		return "an allocation has no relayed address";
	turn->relayed = message->relayed;
	count_present(client, true);
	count_deed(client, DEED_ALLOCATION);
	return turn_who(client, in, &turn->server);
}

static const char *
turn_came_back(struct crowd_client *client, struct sy_span in)
{
	if (in.len != strlen(client->expected) || memcmp(in.at, client->expected, in.len))
		return "media came back through the relay as something else";
	count_deed(client, DEED_MEDIA);
	return NULL;
}

/* What the step's answer means. NULL, or what is wrong with it. */
static const char *
turn_step_over(struct crowd_client *client, struct sy_span in, const struct stun *message)
{
	struct crowd_turn *turn = client->state;
	const char *wrong;

	switch (turn->step) {
	case TURN_CHALLENGE:
		wrong = turn_who(client, in, &turn->server);
		return wrong ? wrong : turn_challenged(client, message);
	case TURN_ALLOCATE:
		return turn_allocated(client, in, message);
	case TURN_SEND:
		return turn_came_back(client, message->data);
	case TURN_ACTIVATE:
		return message->class == STUN_SUCCESS ? NULL : "the active destination was refused";
	case TURN_REFRESH:
		return message->class == STUN_SUCCESS && message->lifetime_s
			   ? NULL
			   : "an allocation was not given more time";
	case TURN_RELEASE:
		count_present(client, false);
		return message->class == STUN_SUCCESS && !message->lifetime_s
			   ? NULL
			   : "an allocation could not be let go";
	case TURN_GREET:
	case TURN_MEDIA:
	case TURN_DONE:
		break;
	}
	return "a message came that nobody waits for";
}

/* Over UDP, and from peers, there may be answers to what was said before: they are no answer to this. */
static bool
turn_is_late(const struct crowd_turn *turn, const struct stun *message)
{
	if (turn->step == TURN_SEND)
		return message->method != STUN_DATA;
	return memcmp(message->tid, turn->tid, STUN_TID) != 0;
}

/* One frame, or one datagram; control: it is a message. NULL, with *over if the step is, or what is wrong. */
static const char *
turn_take(struct crowd_client *client, struct sy_span in, bool control, bool *over)
{
	struct crowd_turn *turn = client->state;
	struct stun message;

	*over = false;
	if (!control) {
		if (turn->step != TURN_MEDIA)
			return turn_framed(client) ? "media came that nobody waits for" : NULL;
		/* The same again, or an older one. */
		if (!turn_framed(client) &&
		    (in.len != strlen(client->expected) || memcmp(in.at, client->expected, in.len)))
			return NULL;
		*over = true;
		return turn_came_back(client, in);
	}
	if (stun_read(in, &message) != STUN_FINE)
		return "a message came that is none";
	if (turn_is_late(turn, &message))
		return NULL;
	*over = true;
	return turn_step_over(client, in, &message);
}

/* Bytes of what is there: a greeting, a frame with its head, a datagram. 0: it is not complete. */
static size_t
turn_whole(const struct crowd_client *client)
{
	const struct crowd_turn *turn = client->state;
	const uint8_t *at = (const uint8_t *)buf_front(&client->in);
	size_t len = client->in.len, whole = TURN_ANSWER;

	if (!turn_framed(client))
		return len;
	if (turn->step != TURN_GREET)
		whole = len < MS_FRAME ? MS_FRAME : MS_FRAME + (size_t)stun_16(at + 2);
	return len < whole ? 0 : whole;
}

static const char *
turn_look(struct crowd_client *client, size_t whole, bool *over)
{
	const struct crowd_turn *turn = client->state;
	struct sy_span in = sy_span(buf_front(&client->in), whole);
	struct stun head;

	if (turn->step == TURN_GREET) {
		*over = true;
		return !memcmp(in.at, "\x16\3\1\0\x4e\2", 6) ? NULL : "the hello that looks like TLS was not answered";
	}
	if (!turn_framed(client))
		return turn_take(client, in, whole >= STUN_HEADER + 8 && stun_head(in, &head), over);
	if ((in.at[0] != MS_FRAME_CONTROL && in.at[0] != MS_FRAME_DATA) || in.at[1])
		return "what came is no frame of TURN";
	return turn_take(client, sy_span(in.at + MS_FRAME, whole - MS_FRAME),
			 in.at[0] == MS_FRAME_CONTROL, over);
}

static enum exchange_verdict
turn_check(struct crowd_client *client, int *server, const char **words,
	   char example[static CROWD_WORDS])
{
	static const char *const steps[] = {"hello", "challenge", "Allocate", "Send", "active destination",
					    "media", "more time", "release", ""};
	struct crowd_turn *turn = client->state;
	size_t whole;

	while (client->in.len && (whole = turn_whole(client)) > 0) {
		bool over;

		*words = turn_look(client, whole, &over);
		if (*words) {
			snprintf(example, CROWD_WORDS, "step: %s", steps[turn->step]);
			return EXCHANGE_WRONG;
		}
		client->crowd->bytes += whole;
		buf_drop(&client->in, whole);
		if (!over)
			continue;
		*server = turn->server;
		turn->step = turn_next(client);
		if (turn->step == TURN_DONE)
			return EXCHANGE_RIGHT;
		if (client->next_addr.len)
			return EXCHANGE_ELSEWHERE;
		turn_question(client);
	}
	return EXCHANGE_MORE;
}

static int
turn_set(struct crowd_target *target, const char *value, struct lab_err *err)
{
	(void)target;
	return value ? err_set(err, "turn has no value") : 0;
}

static const char *
turn_missing(const struct crowd_target *target)
{
	return !target->deeds[DEED_ALLOCATION] ? "nobody got an allocation"
	       : !target->deeds[DEED_MEDIA]    ? "no media came back through a relay"
					       : NULL;
}

const struct crowd_protocol protocol_turn = {
    .setting = "turn",
    .help = "  turn              media through a relay in Microsoft's dialect, over TCP behind the hello that\n"
	    "                    looks like TLS; over UDP at the server that Alternate Server names\n",
    .state_size = sizeof(struct crowd_turn),
    .set = turn_set,
    .connected = turn_connected,
    .ask = turn_ask,
    .check = turn_check,
    .repeat = turn_repeat,
    .missing = turn_missing,
};
