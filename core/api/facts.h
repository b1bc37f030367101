/* What is known of an exchange when its server is chosen. The core fills what it knows (addresses,
 * what TLS or the ClientHello said); the protocol module fills the rest. Absent: len 0. All spans
 * are borrowed until the pick is done. */
#ifndef SY_API_FACTS_H
#define SY_API_FACTS_H

#include <stdbool.h>

#include "api/addr.h"
#include "api/span.h"

struct sy_facts {
	struct sy_addr client;  /* after PROXY protocol, if that was accepted */
	struct sy_addr service; /* the address and port that the client connected to */
	struct sy_span sni;     /* lower case */
	struct sy_span alpn;    /* what was agreed, or the first offered when not terminated */
	struct sy_span host;    /* HTTP Host, SIP Request-URI host */
	struct sy_span method;
	struct sy_span path;    /* with the query */
	struct sy_span session; /* what the protocol calls its session: Call-ID, TURN username, ... */
	struct sy_span user;    /* AOR, ... */
	struct sy_span head;    /* whole head of the message, for modules that look deeper */
	struct sy_span certificate; /* subject of the client's certificate (RFC 4514), when it was verified */
	struct sy_span flow;    /* not a server, but the client connection of this name (sy_session.flow of another
	                         * session); len 0: a server */
	bool secure;            /* the client's connection is TLS, terminated here */
	/* What an earlier message has settled: the server with this address is taken, if it is there for
	 * clients that it knows, and whatever persistence says; port 0: the first one of the address that is.
	 * Family SY_NO_ADDR: any server. */
	struct sy_addr server;
	/* Servers that are not taken again: they did not want the exchange. The module's own memory. */
	const struct sy_addr *avoid;
	uint32_t n_avoid;
	uint32_t pool;          /* which pool serves it, by a struct sy_pool of the module's rows; 0: the service's own */
};

#endif
