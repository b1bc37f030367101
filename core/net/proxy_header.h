/* The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): the addresses of a client
 * that connected to somebody in front of us, told in the first bytes of a connection. Strict: what
 * could be read in two ways is refused. */
#ifndef NET_PROXY_HEADER_H
#define NET_PROXY_HEADER_H

#include <stdbool.h>

#include "api/addr.h"
#include "api/span.h"

enum {
	PROXY_V1_MAX = 107,       /* with CRLF */
	PROXY_V2_MAX = 4096,      /* ours; the format would allow 65551 */
	PROXY_MADE_MAX = 108,     /* what proxy_header_make writes at most, with a NUL */
};

enum proxy_read {
	PROXY_MORE,               /* right so far, not complete */
	PROXY_DONE,
	PROXY_WRONG,              /* problem says what, in words */
};

struct proxy_header {
	size_t len;               /* bytes of the header: what follows is the client's */
	bool local;               /* LOCAL, UNKNOWN or not TCP: the socket's own addresses hold */
	struct sy_addr source, destination;
	const char *problem;      /* a constant string */
};

/* `in` begins with the connection's first byte. */
enum proxy_read proxy_header_read(struct sy_span in, struct proxy_header *out);

/* Writes a header of version 1 or 2 and returns its length. Addresses of two families are told as
 * UNKNOWN (v1) or LOCAL (v2). */
size_t proxy_header_make(unsigned version, const struct sy_addr *source,
                         const struct sy_addr *destination, uint8_t out[static PROXY_MADE_MAX]);

/* CRC-32C (Castagnoli), as of RFC 3720 appendix B.4; start with 0. */
uint32_t proxy_crc32c(uint32_t crc, const uint8_t *at, size_t len);

#endif
