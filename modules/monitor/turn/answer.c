/* What the server's answers mean. */
#include "ask.h"

static const struct sy_probe_step ask_wait = { .what = SY_PROBE_WAIT };

static const char *
ask_words(const struct stun *message, char out[static 80])
{
	size_t len = message->reason.len < 64 ? message->reason.len : 64;

	snprintf(out, 80, "%u%s%.*s", message->error, len ? " " : "", (int)len,
	         len ? (const char *)message->reason.at : "");
	return out;
}

static bool
ask_says(const struct stun *message, const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i + len <= message->reason.len; i++)
		for (size_t j = 0; (message->reason.at[i + j] | 0x20) == (uint8_t)word[j]; j++)
			if (j + 1 == len)
				return true;
	return false;
}

/* All is well; what an operator should know is said with it. */
static struct sy_probe_step
ask_up(struct ask *ask, const char *what)
{
	char address[64];
	struct sy_probe_step step;

	if (ask->alternate.family)
		step = sy_judge(SY_PROBE_UP, "%s; but it sends clients on to %s, which is not this server's "
		                "address", what, ask_address(&ask->alternate, address));
	else if (ask->mapped.family)
		step = sy_judge(SY_PROBE_UP, "%s; it sees us as %s: an address translation is between us", what,
		                ask_address(&ask->mapped, address));
	else
		return sy_judge(SY_PROBE_UP, "%s", what);
	step.warn = true;
	return step;
}

static struct sy_probe_step
ask_refused(const struct stun *message, const char *what)
{
	char words[80], address[64];

	ask_words(message, words);
	if (message->error == 300)
		return sy_judge(SY_PROBE_DRAINING, "%s: sends clients on to %s (%s)", what,
		                message->alternate.family ? ask_address(&message->alternate, address)
		                                          : "another server", words);
	/* A TURN server that is told to end lets nobody in any more. */
	if (message->error == 403 && ask_says(message, "drain"))
		return sy_judge(SY_PROBE_DRAINING, "%s: %s", what, words);
	return sy_judge(SY_PROBE_DOWN, "%s refused: %s", what, words);
}

static void
ask_keep(uint8_t *to, uint16_t *len, struct sy_span value)
{
	*len = (uint16_t)(value.len < ASK_WORD ? value.len : ASK_WORD);
	if (*len)
		memcpy(to, value.at, *len);
}

/* Addresses, whatever the ports. */
static bool
ask_other(const struct sy_addr *a, const struct sy_addr *b)
{
	return a->family && b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) != 0;
}

static struct sy_probe_step
ask_challenged(const struct turn_conf *conf, struct ask *ask, const struct sy_probe *probe,
               const struct stun *message)
{
	char words[80];

	if (message->class == STUN_SUCCESS)
		return sy_judge(SY_PROBE_DOWN, "gives allocations to anybody, without credentials");
	if (message->error != 401)
		return ask_refused(message, "Allocate");
	if (!message->realm.len || !message->nonce.len)
		return sy_judge(SY_PROBE_DOWN, "401 without realm and nonce: nobody could go on from there");
	if (conf->dialect.index == STUN_MS && ask_other(&message->alternate, &probe->server))
		ask->alternate = message->alternate;
	ask_keep(ask->realm, &ask->realm_len, message->realm);
	ask_keep(ask->nonce, &ask->nonce_len, message->nonce);
	if (conf->depth.index >= DEPTH_ALLOCATE)
		return ask_say(conf, ask, probe, ASK_ALLOCATE);
	snprintf(words, sizeof(words), "asks for credentials, realm %.*s",
	         (int)(ask->realm_len < 50 ? ask->realm_len : 50), (const char *)ask->realm);
	return ask_up(ask, words);
}

static struct sy_probe_step
ask_allocated(const struct turn_conf *conf, struct ask *ask, const struct sy_probe *probe,
              struct sy_span in, const struct stun *message)
{
	bool first = !ask->again;

	if (message->class == STUN_ERROR) {
		ask->again = true;
		if (first && message->error == 438 && message->nonce.len) {
			ask_keep(ask->nonce, &ask->nonce_len, message->nonce);
			return ask_say(conf, ask, probe, ASK_ALLOCATE);
		}
		if (message->error == 401)
			return sy_judge(SY_PROBE_DOWN, "refuses our user name and password (401)");
		return ask_refused(message, "Allocate with credentials");
	}
	/* Microsoft's newer servers may use another one than HMAC-SHA1. */
	if (conf->dialect.index == STUN_RFC && !build_verify(in, message, sy_span(ask->key, BUILD_KEY)))
		return sy_judge(SY_PROBE_DOWN, "the answer's integrity is not that of our password");
	if (!message->relayed.family)
		return sy_judge(SY_PROBE_DOWN, "an allocation without a relayed address");
	ask->relayed = message->relayed;
	if (conf->depth.index < DEPTH_RELAY)
		return ask_say(conf, ask, probe, ASK_RELEASE);
	return ask_say(conf, ask, probe, conf->dialect.index == STUN_MS ? ASK_RELAY : ASK_PERMIT);
}

static struct sy_probe_step
ask_released(const struct turn_conf *conf, struct ask *ask, const struct stun *message)
{
	char what[120], address[64];

	if (message->class == STUN_ERROR)
		return ask_refused(message, "the end of the allocation");
	snprintf(what, sizeof(what), "%s at %s",
	         conf->depth.index == DEPTH_RELAY ? "relays there and back" : "allocates",
	         ask_address(&ask->relayed, address));
	return ask_up(ask, what);
}

static struct sy_probe_step
ask_bound(struct ask *ask, const struct sy_probe *probe, const struct stun *message)
{
	char words[64], what[96];

	if (message->class == STUN_ERROR)
		return ask_refused(message, "Binding");
	if (!message->mapped.family)
		return sy_judge(SY_PROBE_DOWN, "an answer without our address");
	if (ask_other(&message->mapped, &probe->local))
		ask->mapped = message->mapped;
	snprintf(what, sizeof(what), "answers, we are %s", ask_address(&message->mapped, words));
	return ask_up(ask, ask->mapped.family ? "answers" : what);
}

static const uint8_t ask_methods[] = {
	[ASK_HELLO] = STUN_OTHER, [ASK_BINDING] = STUN_BINDING, [ASK_CHALLENGE] = STUN_ALLOCATE,
	[ASK_ALLOCATE] = STUN_ALLOCATE, [ASK_PERMIT] = STUN_PERMISSION, [ASK_RELAY] = STUN_DATA,
	[ASK_RELEASE] = STUN_REFRESH,
};

/* Is it what is waited for? What came twice, or late, is not. */
static bool
ask_expects(const struct turn_conf *conf, const struct ask *ask, const struct stun *message)
{
	uint8_t method = ask_methods[ask->step];

	if (method == STUN_REFRESH && conf->dialect.index == STUN_MS)
		method = STUN_ALLOCATE;
	if (ask->step == ASK_RELAY && message->class == STUN_INDICATION)
		return message->method == STUN_DATA && message->has_data;
	return message->method == (enum stun_method)method &&
	       (message->class == STUN_SUCCESS || message->class == STUN_ERROR) &&
	       memcmp(message->tid, ask->tid, STUN_TID) == 0;
}

struct sy_probe_step
ask_heard(const struct turn_conf *conf, struct ask *ask, const struct sy_probe *probe, struct sy_span in)
{
	struct stun message;

	if (stun_read(in, &message) != STUN_FINE)
		return sy_judge(SY_PROBE_DOWN, "the answer is no STUN message (%zu bytes)", in.len);
	if (!ask_expects(conf, ask, &message))
		return ask_wait;
	switch (ask->step) {
	case ASK_HELLO:
		return ask_wait;
	case ASK_BINDING:
		return ask_bound(ask, probe, &message);
	case ASK_CHALLENGE:
		return ask_challenged(conf, ask, probe, &message);
	case ASK_ALLOCATE:
		return ask_allocated(conf, ask, probe, in, &message);
	case ASK_PERMIT:
		if (message.class == STUN_ERROR)
			return ask_refused(&message, "CreatePermission");
		return ask_say(conf, ask, probe, ASK_RELAY);
	case ASK_RELAY:
		return ask_say(conf, ask, probe, ASK_RELEASE);
	case ASK_RELEASE:
		return ask_released(conf, ask, &message);
	}
	return ask_wait;
}
