/* STUN at a SIP port (RFC 5626 4.4.2, RFC 8489): who speaks UDP keeps its way open with Binding requests, and
 * wants to know whether it comes from where it came from before. */
#ifndef PROTOCOL_SIP_STUN_H
#define PROTOCOL_SIP_STUN_H

#include <stdbool.h>
#include <stddef.h>

#include "api/addr.h"
#include "api/span.h"

enum { STUN_MOST = 96 };

/* The answer to a datagram, and its length; 0: it is no Binding request, and gets none. from: who has sent it. */
size_t stun_answer(struct sy_span in, const struct sy_addr *from, uint8_t out[static STUN_MOST]);

#endif
