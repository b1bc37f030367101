/* One STUN or TURN message, read in place. Two dialects share the types and differ in nearly all else:
 * the RFCs' (8489, 8656, 6062), and Microsoft's ([MS-TURN], from the drafts before them), which has its
 * cookie in the first attribute, does not pad attributes, and swaps the numbers of nonce and realm.
 * Which one it is, the place of the cookie tells; all else is looked up after that.
 *
 * A message that is read without a flaw is well formed to its last byte. Its spans point into the input. */
#ifndef TURN_STUN_H
#define TURN_STUN_H

#include <stdbool.h>

#include "api/addr.h"
#include "api/span.h"

enum {
	STUN_HEADER = 20,
	STUN_TID = 16,            /* cookie (or what stands there) and transaction, as they lie in the header */
	STUN_USER_MOST = 768,     /* bytes of a user name (RFC 8489 14.3: 509; Microsoft's tokens) */
	CHANNEL_HEADER = 4,
	MS_FRAME = 4,             /* of [MS-TURN] over TCP: kind, 0, length */
	MS_FRAME_CONTROL = 2, MS_FRAME_DATA = 3,
	MULTIPLEXED_HEADER = 12,  /* of [MS-TURN] multiplexed: ff 10, length, session */
};

#define STUN_COOKIE UINT32_C(0x2112a442)
#define STUN_MS_COOKIE UINT32_C(0x72c64bc6)

enum stun_dialect { STUN_RFC, STUN_MS };

enum stun_flaw {
	STUN_FINE,
	STUN_SHORT,               /* less than a header, or than the header says */
	STUN_LONG,                /* more than the header says */
	STUN_KIND,                /* no message of either dialect: cookie or first bits */
	STUN_ATTRIBUTES,          /* they do not end where the message ends */
	STUN_ORDER,               /* something behind the integrity, or the fingerprint not the last */
	STUN_FINGERPRINT,         /* is wrong */
	STUN_FLAWS
};

enum stun_class { STUN_REQUEST, STUN_INDICATION, STUN_SUCCESS, STUN_ERROR };

enum stun_method {
	STUN_OTHER,
	STUN_BINDING,
	STUN_ALLOCATE,
	STUN_REFRESH,
	STUN_SEND,
	STUN_DATA,
	STUN_PERMISSION,
	STUN_CHANNEL_BIND,
	STUN_CONNECT,             /* RFC 6062 */
	STUN_CONNECTION_BIND,
	STUN_CONNECTION_ATTEMPT,
	STUN_ACTIVE_DESTINATION,  /* [MS-TURN] */
};

struct stun {
	enum stun_dialect dialect;
	enum stun_class class;
	enum stun_method method;
	const uint8_t *tid;       /* STUN_TID bytes */
	/* Attributes that were there; len 0 or family SY_NO_ADDR: it was not. */
	struct sy_span user, realm, nonce, data, reason;
	struct sy_addr mapped;    /* the client as the server sees it */
	struct sy_addr relayed, alternate, peer;
	uint32_t lifetime_s;
	uint32_t integrity_at;    /* offset of MESSAGE-INTEGRITY in the message; 0: none */
	uint16_t error;           /* 300..699; 0: no error */
	bool has_lifetime, has_data;
};

/* A whole message and nothing else. */
enum stun_flaw stun_read(struct sy_span in, struct stun *out);
/* Its first STUN_HEADER + 8 bytes: dialect, class, method. False: it is none. */
bool stun_head(struct sy_span in, struct stun *out);
/* Bytes of the message that begins here, by its header; 0: the header is not there yet. */
static inline size_t
stun_size(struct sy_span in)
{
	return in.len < 4 ? 0 : STUN_HEADER + (size_t)(in.at[2] << 8 | in.at[3]);
}

/* CRC-32; `mistaken`: with the one wrong entry of Microsoft's table. */
uint32_t stun_crc(uint32_t crc, struct sy_span bytes, bool mistaken);

static inline uint16_t
stun_16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t
stun_32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

#endif
