/* What we say of ourselves in a message, so that it comes back with the next one and no table is needed
 * (RFC 5626 5.2; WIRE.md 1.4): in the user part of Record-Route and Path, and in the branch of our Via.
 * A token is believed when its MAC is right, and nothing else is: who makes one up chooses neither a server
 * nor a client's connection.
 *
 *	kind | what it says | MAC of these, and of the Call-ID that it belongs to
 *
 * in base64url. A token in a Path is good for any call: it is bound to nothing. */
#ifndef PROTOCOL_SIP_TOKEN_H
#define PROTOCOL_SIP_TOKEN_H

#include <stdbool.h>

#include "api/hash.h"
#include "api/protocol.h"

enum { TOKEN_MOST = 88 };         /* characters */

enum token_kind {
	TOKEN_SERVER = 1,         /* addr: the server's; port 0: any of them */
	TOKEN_FLOW = 2,           /* flow: a client's connection */
	TOKEN_BRANCH = 3,         /* flow: whose request it is; and what follows below */
};

struct token {
	enum token_kind kind;
	struct sy_addr addr;
	uint8_t flow[SY_FLOW_MOST];
	uint8_t flow_len;
	uint8_t attempt;          /* BRANCH: each server gets another one */
	uint64_t transaction;     /* a hash of the branch that we were given */
	uint32_t loop;            /* a hash of all that decides where the request goes (RFC 5393 4.2.2) */
};

struct token_key {
	struct sy_hash_key first, second;
};

/* text: the setting, the same on all machines that shall understand each other; len 0: secret, which is this
 * machine's. */
struct token_key token_key(struct sy_span secret, struct sy_span text);
/* Returns its length. */
size_t token_write(const struct token *token, const struct token_key *key, struct sy_span bound,
                   char out[static TOKEN_MOST]);
/* False: it is none of ours. */
bool token_read(struct sy_span text, const struct token_key *key, struct sy_span bound, struct token *out);

#endif
