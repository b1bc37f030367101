/* What a proxy changes in the head of a message that it sends on (RFC 3261 16.6, 16.7; RFC 3581): a function
 * from the head and what is to be changed to bytes. All else stays as it was said: order, case, folds. */
#ifndef PROTOCOL_SIP_REWRITE_H
#define PROTOCOL_SIP_REWRITE_H

#include "message.h"

struct rewrite {
	struct sy_span uri;       /* the Request-URI from now on; len 0: as it is */
	struct sy_span fields;    /* whole lines that go in front of all others: Via, Record-Route, Path */
	struct sy_span from;      /* the address of who sent the request, for its first Via; len 0: not told */
	uint16_t from_port;       /* for a Via that asks for it (rport) */
	uint32_t routes;          /* so many values of Route go, the first ones */
	bool last_route;          /* and the last one, which is the Request-URI now */
	struct sy_span add_route; /* a URI that becomes the last one; len 0: none */
	bool pops_via;            /* a response: the first value of Via goes */
	bool forwards;            /* Max-Forwards becomes one less, or 70 when there is none */
	bool length;              /* Content-Length is added where there is none */
};

/* So many bytes are always enough. */
size_t rewrite_most(const struct sip_message *message, const struct rewrite *how);
/* The head of a good message, changed. Returns its length; 0: `size` was not enough. */
size_t rewrite(const struct sip_message *message, const struct rewrite *how, uint8_t *out, size_t size);

#endif
