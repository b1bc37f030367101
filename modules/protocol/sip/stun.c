#include "stun.h"

#include <string.h>

enum {
	STUN_HEAD = 20,
	STUN_REQUEST = 0x0001, STUN_SUCCESS = 0x0101, STUN_FAILURE = 0x0111,   /* Binding */
	STUN_USERNAME = 0x0006, STUN_INTEGRITY = 0x0008, STUN_ERROR_CODE = 0x0009, STUN_UNKNOWN = 0x000a,
	STUN_XOR_MAPPED = 0x0020,
	STUN_OPTIONAL = 0x8000,   /* from here on: who does not know it need not */
	STUN_UNKNOWN_MOST = 8,
};

static const uint8_t stun_cookie[4] = { 0x21, 0x12, 0xa4, 0x42 };

static unsigned
stun_number(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static size_t
stun_put(uint8_t *at, unsigned number)
{
	at[0] = (uint8_t)(number >> 8);
	at[1] = (uint8_t)number;
	return 2;
}

static bool
stun_is_request(struct sy_span in)
{
	return in.len >= STUN_HEAD && stun_number(in.at) == STUN_REQUEST && in.len % 4 == 0 &&
	       stun_number(in.at + 2) == in.len - STUN_HEAD && memcmp(in.at + 4, stun_cookie, 4) == 0;
}

/* Attributes that must be understood, and are not: as many as there is room for. False: they do not add up. */
static bool
stun_unknown(struct sy_span in, uint8_t list[static 2 * STUN_UNKNOWN_MOST], size_t *len)
{
	*len = 0;
	for (size_t at = STUN_HEAD; at < in.len;) {
		unsigned type = stun_number(in.at + at), size = (stun_number(in.at + at + 2) + 3) & ~3u;

		if (size > in.len - at - 4)
			return false;
		/* Credentials are not asked for, and not looked at. */
		if (type < STUN_OPTIONAL && type != STUN_USERNAME && type != STUN_INTEGRITY &&
		    *len < 2 * STUN_UNKNOWN_MOST)
			*len += stun_put(list + *len, type);
		at += 4 + size;
	}
	return true;
}

/* RFC 8489 14.2: with the cookie, and of IPv6 with the transaction, too, so that nobody on the way changes it. */
static size_t
stun_put_address(uint8_t *at, const struct sy_addr *from, const uint8_t *cookie)
{
	size_t n = 0, size = from->family == SY_IPV6 ? 16 : 4;

	n += stun_put(at, STUN_XOR_MAPPED);
	n += stun_put(at + n, (unsigned)size + 4);
	n += stun_put(at + n, from->family == SY_IPV6 ? 2 : 1);
	n += stun_put(at + n, from->port ^ stun_number(cookie));
	for (size_t i = 0; i < size; i++)
		at[n++] = from->ip[i] ^ cookie[i];
	return n;
}

/* 420 (RFC 8489 6.3.1). */
static size_t
stun_put_unknown(uint8_t *at, const uint8_t *list, size_t len)
{
	static const char words[20] = "\0\0\x04\x14" "Unknown Attrib.";
	size_t n = 0;

	n += stun_put(at, STUN_ERROR_CODE);
	n += stun_put(at + n, sizeof(words) - 1);
	memcpy(at + n, words, sizeof(words));
	n += sizeof(words);
	n += stun_put(at + n, STUN_UNKNOWN);
	n += stun_put(at + n, (unsigned)len);
	memcpy(at + n, list, len);
	n += len;
	if (len % 4)
		n += stun_put(at + n, 0);
	return n;
}

size_t
stun_answer(struct sy_span in, const struct sy_addr *from, uint8_t out[static STUN_MOST])
{
	uint8_t list[2 * STUN_UNKNOWN_MOST];
	size_t unknown, n = STUN_HEAD;

	if (!stun_is_request(in) || !stun_unknown(in, list, &unknown))
		return 0;
	memcpy(out, in.at, STUN_HEAD);
	stun_put(out, unknown ? STUN_FAILURE : STUN_SUCCESS);
	n += unknown ? stun_put_unknown(out + n, list, unknown) : stun_put_address(out + n, from, in.at + 4);
	stun_put(out + 2, (unsigned)(n - STUN_HEAD));
	return n;
}
