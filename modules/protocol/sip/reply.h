/* Answers of our own to a request (RFC 3261 8.2.6): what the core or the parser cannot carry out. */
#ifndef PROTOCOL_SIP_REPLY_H
#define PROTOCOL_SIP_REPLY_H

#include "message.h"

/* An answer whose first lines are not written yet, so that the request need not be kept. */
struct reply {
	size_t len;
	char bytes[];
};

/* From the head of a request that has at least Via, From, To, Call-ID and CSeq, well or not; NULL: it
 * lacks one of them, or is an ACK. To be freed. */
struct reply *reply_make(const struct sip_message *message);
/* Sets the status, and Retry-After if that is not 0. The span lives in the reply, until it says another one. */
struct sy_span reply_say(struct reply *reply, unsigned status, uint32_t retry_after_s);

#endif
