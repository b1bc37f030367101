/* Messages of both dialects, made. They are short: what does not fit is left out, and full says so. */
#ifndef MONITOR_TURN_BUILD_H
#define MONITOR_TURN_BUILD_H

#include "../../protocol/turn/stun.h"

enum { BUILD_SIZE = 2048, BUILD_KEY = 16 };

struct build {
	enum stun_dialect dialect;
	uint8_t bytes[BUILD_SIZE];
	size_t len;
	size_t before;            /* of a frame's header, in front of the message */
	bool full;
};

/* framed: with Microsoft's header for streams in front. */
void build_begin(struct build *build, enum stun_dialect dialect, bool framed, uint16_t type,
                 const uint8_t tid[static STUN_TID]);
void build_bytes(struct build *build, uint16_t type, struct sy_span value);
void build_number(struct build *build, uint16_t type, uint32_t value);
/* XORed in the RFCs' dialect, plain in Microsoft's. */
void build_address(struct build *build, uint16_t type, const struct sy_addr *addr);
/* MESSAGE-INTEGRITY with HMAC-SHA1; Microsoft's counts over the message with zeroes up to a multiple of 64
 * bytes. */
void build_integrity(struct build *build, struct sy_span key);
/* The lengths, and in the RFCs' dialect the fingerprint; what is to be sent. len 0: it did not fit. */
struct sy_span build_end(struct build *build);

/* Of long-term credentials: MD5 of user:realm:password (RFC 8489 9.2.2). False: not possible here. */
bool build_key(struct sy_span user, struct sy_span realm, struct sy_span password,
               uint8_t key[static BUILD_KEY]);
/* The HMAC that a received message must have; false: it is another. */
bool build_verify(struct sy_span in, const struct stun *message, struct sy_span key);

#endif
