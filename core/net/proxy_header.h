/* The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): the addresses of a client
 * that connected to somebody in front of us, told in the first bytes of a connection. Strict: what
 * could be read in two ways is refused. */
#ifndef NET_PROXY_HEADER_H
#define NET_PROXY_HEADER_H

#include <stdbool.h>

#include "api/addr.h"
#include "api/span.h"
#include "base/hash.h"

enum {
	PROXY_V1_MAX = 107,       /* with CRLF */
	PROXY_V2_MAX = 4096,      /* ours; the format would allow 65551 */
	PROXY_MADE_MAX = 108,     /* what proxy_header_make writes at most, with a NUL */
	PROXY_SUBJECT_MAX = 64,   /* a common name in a certificate has at most so many bytes */
	PROXY_PROVED_MAX = PROXY_MADE_MAX + 64 + PROXY_SUBJECT_MAX,
	PROXY_PROOF_MS = 30000,   /* a proof older than that is none */
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
	struct sy_span extras;    /* the TLVs of version 2, checked to be whole; of `in` */
};

/* `in` begins with the connection's first byte. */
enum proxy_read proxy_header_read(struct sy_span in, struct proxy_header *out);

/* Writes a header of version 1 or 2 and returns its length. Addresses of two families are told as
 * UNKNOWN (v1) or LOCAL (v2). */
size_t proxy_header_make(unsigned version, const struct sy_addr *source,
                         const struct sy_addr *destination, uint8_t out[static PROXY_MADE_MAX]);

/* What a worker tells the console of its own instance behind the addresses: the common name of the
 * verified certificate that the client showed (as PP2_TYPE_SSL has it), and a proof that nobody else
 * could have made the header: a keyed hash over all of it, with the time. `header` is what
 * proxy_header_make() wrote for version 2, `len` long, with room for PROXY_PROVED_MAX. Returns the
 * new length; a header without addresses stays as it is. */
size_t proxy_header_prove(uint8_t *header, size_t len, const struct hash_key *key, uint64_t wall_ms,
                          struct sy_span subject);
/* Whether the header that was read (PROXY_DONE; `in` begins with it) is so proved. The subject may be
 * empty: no certificate; it is cut at 64 bytes, and holds no NUL. */
bool proxy_header_proved(struct sy_span in, const struct proxy_header *header,
                         const struct hash_key *key, uint64_t wall_ms,
                         char subject[static PROXY_SUBJECT_MAX + 1]);

/* CRC-32C (Castagnoli), as of RFC 3720 appendix B.4; start with 0. */
uint32_t proxy_crc32c(uint32_t crc, const uint8_t *at, size_t len);

#endif
