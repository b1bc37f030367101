/* What the probe says. */
#include "ask.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { ASK_LIFETIME_S = 60 };

static const uint8_t ask_payload[] = "steelyard asks for an echo";

/* As the start of a stream: Microsoft's servers answer it as if it were TLS 1.0. */
static const uint8_t ask_hello[] = {
	0x16, 3, 1, 0, 0x2d, 1, 0, 0, 0x29, 3, 1,
	0x5a, 0x1f, 0x33, 0x8c, 0x71, 0xd2, 0x0e, 0x94, 0xb6, 0x47, 0xe8, 0x05, 0x6d, 0xca, 0x39, 0xf0,
	0x82, 0x1b, 0x57, 0xae, 0x60, 0xdd, 0x13, 0x78, 0x9f, 0x24, 0xc5, 0x3a, 0xe1, 0x46, 0x0b, 0x95,
	0, 0, 2, 0, 0x18, 1, 0,
};

const char *
ask_address(const struct sy_addr *addr, char out[static 64])
{
	int n = 0;

	if (addr->family == SY_IPV4) {
		snprintf(out, 64, "%u.%u.%u.%u:%u", addr->ip[0], addr->ip[1], addr->ip[2], addr->ip[3],
		         addr->port);
		return out;
	}
	for (int i = 0; i < 8; i++)
		n += snprintf(out + n, (size_t)(64 - n), "%s%x", i ? ":" : "[",
		              (unsigned)stun_16(addr->ip + 2 * i));
	snprintf(out + n, (size_t)(64 - n), "]:%u", addr->port);
	return out;
}

/* A line of a file is a line without its end. */
static struct sy_span
ask_secret(const struct sy_secret *secret)
{
	struct sy_span line = secret->content;

	while (line.len && (line.at[line.len - 1] == '\n' || line.at[line.len - 1] == '\r'))
		line.len--;
	return line;
}

/* What servers with a shared secret make of it (draft-uberti-behave-turn-rest): the name begins with the
 * time until which it is good, the password is its HMAC. There is no clock here; that time is far away. */
static size_t
ask_shared(const struct turn_conf *conf, struct ask *ask, char out[static ASK_PASSWORD])
{
	struct sy_span secret = ask_secret(&conf->shared_secret);
	uint8_t mac[20];
	unsigned len = sizeof(mac);
	int n = snprintf(ask->user, sizeof(ask->user), "4102444800:%.200s", conf->username);

	ask->user_len = (uint8_t)n;
	if (!HMAC(EVP_sha1(), secret.at, (int)secret.len, (const uint8_t *)ask->user, (size_t)n, mac, &len))
		return 0;
	return (size_t)EVP_EncodeBlock((uint8_t *)out, mac, (int)len);
}

static bool
ask_key(const struct turn_conf *conf, struct ask *ask)
{
	char made[ASK_PASSWORD];
	struct sy_span password = ask_secret(&conf->password);

	if (ask->keyed)
		return true;
	if (conf->shared_secret.path) {
		size_t len = ask_shared(conf, ask, made);

		password = sy_span(made, len);
	} else {
		ask->user_len = (uint8_t)snprintf(ask->user, sizeof(ask->user), "%.255s", conf->username);
	}
	ask->keyed = build_key(sy_span(ask->user, ask->user_len), sy_span(ask->realm, ask->realm_len),
	                       password, ask->key);
	return ask->keyed;
}

static void
ask_begin(const struct turn_conf *conf, struct ask *ask, const struct sy_probe *probe, uint16_t type)
{
	enum stun_dialect dialect = conf->dialect.index ? STUN_MS : STUN_RFC;
	uint64_t random = probe->random ^ ask->turns++ * UINT64_C(0x9e3779b97f4a7c15);

	ask->tid[0] = 0x21, ask->tid[1] = 0x12, ask->tid[2] = 0xa4, ask->tid[3] = 0x42;
	for (unsigned i = dialect == STUN_MS ? 0 : 4; i < STUN_TID; i++) {
		if (i % 8 == 4)
			random = (random ^ random >> 31) * UINT64_C(0xbf58476d1ce4e5b9) + i;
		ask->tid[i] = (uint8_t)(random >> 8 * (i % 8));
	}
	build_begin(&ask->build, dialect, dialect == STUN_MS && conf->transport.index != TURN_UDP, type,
	            ask->tid);
}

static void
ask_sign(const struct turn_conf *conf, struct ask *ask)
{
	bool ms = conf->dialect.index == STUN_MS;

	if (!ask_key(conf, ask))
		ask->build.full = true;
	build_bytes(&ask->build, 0x0006, sy_span(ask->user, ask->user_len));
	build_bytes(&ask->build, ms ? 0x0015 : 0x0014, sy_span(ask->realm, ask->realm_len));
	build_bytes(&ask->build, ms ? 0x0014 : 0x0015, sy_span(ask->nonce, ask->nonce_len));
	build_integrity(&ask->build, sy_span(ask->key, BUILD_KEY));
}

static void
ask_transport(const struct turn_conf *conf, struct ask *ask)
{
	if (conf->dialect.index == STUN_MS) {
		build_number(&ask->build, 0x8008, 6);
		build_number(&ask->build, 0x8055, 0x00010000);
	} else {
		build_number(&ask->build, 0x0019, UINT32_C(17) << 24);
	}
}

static void
ask_release(const struct turn_conf *conf, struct ask *ask, const struct sy_probe *probe)
{
	ask_begin(conf, ask, probe, conf->dialect.index == STUN_MS ? 0x0003 : 0x0004);
	build_number(&ask->build, 0x000d, 0);
	ask_sign(conf, ask);
}

/* To ourselves, through the relay: what we send to our own relayed address comes back to us from there. */
static void
ask_relay(const struct turn_conf *conf, struct ask *ask, const struct sy_probe *probe)
{
	bool ms = conf->dialect.index == STUN_MS;

	ask_begin(conf, ask, probe, ms ? 0x0004 : 0x0016);
	build_address(&ask->build, ms ? 0x0011 : 0x0012, &ask->relayed);
	build_bytes(&ask->build, 0x0013, sy_span(ask_payload, sizeof(ask_payload) - 1));
	if (ms)
		ask_sign(conf, ask);
}

struct sy_probe_step
ask_say(const struct turn_conf *conf, struct ask *ask, const struct sy_probe *probe, enum ask_step step)
{
	struct sy_span bytes;

	ask->step = step;
	switch (step) {
	case ASK_HELLO:
		return (struct sy_probe_step){ .what = SY_PROBE_SEND,
		                               .bytes = sy_span(ask_hello, sizeof(ask_hello)) };
	case ASK_BINDING:
		ask_begin(conf, ask, probe, 0x0001);
		break;
	case ASK_CHALLENGE:
		ask_begin(conf, ask, probe, 0x0003);
		ask_transport(conf, ask);
		break;
	case ASK_ALLOCATE:
		ask_begin(conf, ask, probe, 0x0003);
		ask_transport(conf, ask);
		build_number(&ask->build, 0x000d, ASK_LIFETIME_S);
		ask_sign(conf, ask);
		break;
	case ASK_RELEASE:
		ask_release(conf, ask, probe);
		break;
	case ASK_PERMIT:
		ask_begin(conf, ask, probe, 0x0008);
		build_address(&ask->build, 0x0012, &ask->relayed);
		ask_sign(conf, ask);
		break;
	case ASK_RELAY:
		ask_relay(conf, ask, probe);
		break;
	}
	bytes = build_end(&ask->build);
	if (!bytes.len)
		return sy_judge(SY_PROBE_DOWN, "the question could not be made: realm and nonce are too "
		                "long, or HMAC-SHA1 and MD5 are forbidden here");
	return (struct sy_probe_step){ .what = SY_PROBE_SEND, .bytes = bytes };
}
