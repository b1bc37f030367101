#include "base/hash.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

struct hash_state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t
hash_turn(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static inline uint64_t
hash_load(const uint8_t *at)
{
	uint64_t x;

	memcpy(&x, at, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap64(x);
#endif
	return x;
}

static inline void
hash_rounds(struct hash_state *s, unsigned n)
{
	while (n-- > 0) {
		s->v0 += s->v1;
		s->v1 = hash_turn(s->v1, 13) ^ s->v0;
		s->v0 = hash_turn(s->v0, 32);
		s->v2 += s->v3;
		s->v3 = hash_turn(s->v3, 16) ^ s->v2;
		s->v0 += s->v3;
		s->v3 = hash_turn(s->v3, 21) ^ s->v0;
		s->v2 += s->v1;
		s->v1 = hash_turn(s->v1, 17) ^ s->v2;
		s->v2 = hash_turn(s->v2, 32);
	}
}

static inline void
hash_word(struct hash_state *s, uint64_t word)
{
	s->v3 ^= word;
	hash_rounds(s, 2);
	s->v0 ^= word;
}

static inline uint64_t
hash_end(struct hash_state *s, uint64_t *mark, uint64_t flip)
{
	*mark ^= flip;
	hash_rounds(s, 4);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static struct hash_state
hash_begin(const struct hash_key *key)
{
	return (struct hash_state){
		.v0 = key->k0 ^ UINT64_C(0x736f6d6570736575),
		.v1 = key->k1 ^ UINT64_C(0x646f72616e646f6d),
		.v2 = key->k0 ^ UINT64_C(0x6c7967656e657261),
		.v3 = key->k1 ^ UINT64_C(0x7465646279746573),
	};
}

static void
hash_bytes(struct hash_state *s, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint64_t last = (uint64_t)len << 56;
	size_t left = len;

	for (; left >= 8; at += 8, left -= 8)
		hash_word(s, hash_load(at));
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)at[i] << (8 * i);
	hash_word(s, last);
}

uint64_t
hash_64(const struct hash_key *key, const void *bytes, size_t len)
{
	struct hash_state s = hash_begin(key);

	hash_bytes(&s, bytes, len);
	return hash_end(&s, &s.v2, 0xff);
}

struct hash_128
hash_128(const struct hash_key *key, const void *bytes, size_t len)
{
	struct hash_state s = hash_begin(key);
	struct hash_128 out;

	s.v1 ^= 0xee;
	hash_bytes(&s, bytes, len);
	out.lo = hash_end(&s, &s.v2, 0xee);
	out.hi = hash_end(&s, &s.v1, 0xdd);
	return out;
}

uint64_t
hash_id(const char *part, ...)
{
	static const struct hash_key zero;
	char few[256] = "", *at = few;
	size_t len = 0, used = 0;
	va_list parts;
	uint64_t id;

	va_start(parts, part);
	for (const char *p = part; p; p = va_arg(parts, const char *))
		len += strlen(p) + 1;
	va_end(parts);
	if (len > sizeof(few))
		at = must_alloc(len);
	va_start(parts, part);
	for (const char *p = part; p; p = va_arg(parts, const char *)) {
		size_t n = strlen(p) + 1;

		memcpy(at + used, p, n);
		used += n;
	}
	va_end(parts);
	/* A NUL between the parts, none after the last. */
	id = hash_64(&zero, at, used > 0 ? used - 1 : 0);
	if (at != few)
		free(at);
	return id ? id : 1;
}

uint64_t
hash_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
