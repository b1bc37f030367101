/* What a message says of its way: Routes that are ours, with a token or without, and Vias that are. */
#ifndef PROTOCOL_SIP_ROUTING_H
#define PROTOCOL_SIP_ROUTING_H

#include "message.h"
#include "token.h"

enum { ROUTING_TEXT = 64 };

/* How others name us: the address that the client connected to, and what the settings say. */
struct routing_self {
	struct token_key key;
	char address[ROUTING_TEXT];
	uint16_t port;
	const char *advertised;   /* host, or host:port; NULL: none */
};

struct routing {
	uint32_t own;             /* so many Routes, from the first on, are ours */
	bool told;                /* token says where the message goes */
	bool paired;              /* and both Routes of a dialog were there */
	bool forged;              /* one of ours has a token that we have not made */
	bool strict;              /* the Request-URI was ours, and the last Route is what it should be */
	struct token token;
	struct sy_span uri;       /* the Request-URI as it goes on; len 0: as it is */
	struct sy_span last;      /* what becomes the last Route, since who is next routes strictly; len 0: nothing */
	uint32_t hash;            /* of all that decides: another value, another way (RFC 5393 4.2.2) */
	bool loops;               /* it was here before, and is the same */
};

/* An address as text, an IPv6 one without brackets. */
void routing_address(const struct sy_addr *addr, char out[static ROUTING_TEXT]);
/* A request. */
void routing_read(const struct sip_message *message, const struct routing_self *self, struct routing *out);
/* The flow in the first Via's branch of a response. False: it is not ours. */
bool routing_branch(const struct sip_message *message, const struct token_key *key, struct token *out);
/* One hash for a request, its CANCEL and its ACK to a failure: by the client's branch, or what makes one
 * (RFC 3261 17.2.3). */
uint64_t routing_transaction(const struct sip_message *message, const struct token_key *key);
/* The same, by our own branch: of a request to a client, and of its answer. */
uint64_t routing_asked(const struct sip_message *message, const struct token_key *key);
/* One for an INVITE and the ACK to its success. */
uint64_t routing_dialog(const struct sip_message *message, const struct token_key *key);

#endif
