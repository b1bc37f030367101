/* The conversation of one probe: what was asked last, and what is known by then.
 *
 *	[pseudo-TLS] -> binding
 *	             -> challenge -> allocate -> [permit -> relay] -> release -> up
 *
 * Each question has a transaction of its own; an answer to another one is one that came twice, and is
 * waited over. */
#ifndef MONITOR_TURN_ASK_H
#define MONITOR_TURN_ASK_H

#include "api/monitor.h"
#include "build.h"

enum turn_over { TURN_UDP, TURN_TCP, TURN_TLS, TURN_PSEUDO };
enum turn_depth { DEPTH_BINDING, DEPTH_CHALLENGE, DEPTH_ALLOCATE, DEPTH_RELAY };

struct turn_conf {
	struct sy_choice transport, dialect, depth;
	const char *username;
	struct sy_secret password, shared_secret;
	uint32_t local_port;
	const char *name;
	bool verify;
	struct sy_file ca;
};

enum ask_step {
	ASK_HELLO,                /* pseudo-TLS */
	ASK_BINDING,
	ASK_CHALLENGE,
	ASK_ALLOCATE,
	ASK_PERMIT,
	ASK_RELAY,
	ASK_RELEASE,
};

enum { ASK_WORD = 256, ASK_USER = 512, ASK_PASSWORD = 512 };

struct ask {
	enum ask_step step;
	uint8_t tid[STUN_TID];
	uint32_t turns;           /* questions so far */
	size_t used;              /* of a stream: bytes that were looked at */
	struct build build;
	uint8_t key[BUILD_KEY];
	bool keyed, again;
	uint8_t user_len;
	uint16_t realm_len, nonce_len;
	char user[ASK_USER];
	uint8_t realm[ASK_WORD], nonce[ASK_WORD];
	struct sy_addr relayed;
	struct sy_addr alternate; /* another one than the server itself */
	struct sy_addr mapped;    /* how the server sees us, where that is another address than ours */
	uint32_t lifetime_s;
};

/* What to say in a step. */
struct sy_probe_step ask_say(const struct turn_conf *conf, struct ask *ask, const struct sy_probe *probe,
                             enum ask_step step);
/* "192.0.2.1:3478" */
const char *ask_address(const struct sy_addr *addr, char out[static 64]);
/* A message of the server. */
struct sy_probe_step ask_heard(const struct turn_conf *conf, struct ask *ask, const struct sy_probe *probe,
                               struct sy_span in);

#endif
