/* SipHash-2-4 (Aumasson, Bernstein 2012) for modules: who does not know the key cannot tell what bytes
 * hash to, nor find two that hash to the same. The same in all processes and on all machines. */
#ifndef SY_API_HASH_H
#define SY_API_HASH_H

#include "api/span.h"

struct sy_hash_key { uint64_t k0, k1; };

static inline uint64_t
sy_hash_turn(uint64_t word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

static inline void
sy_hash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = sy_hash_turn(v[1], 13) ^ v[0];
	v[0] = sy_hash_turn(v[0], 32);
	v[2] += v[3];
	v[3] = sy_hash_turn(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = sy_hash_turn(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = sy_hash_turn(v[1], 17) ^ v[2];
	v[2] = sy_hash_turn(v[2], 32);
}

/* Up to eight bytes, the first one lowest. */
static inline uint64_t
sy_hash_word(const uint8_t *at, size_t n)
{
	uint64_t word = 0;

	for (size_t i = 0; i < n; i++)
		word |= (uint64_t)at[i] << 8 * i;
	return word;
}

static inline uint64_t
sy_hash(const struct sy_hash_key *key, struct sy_span bytes)
{
	uint64_t v[4] = {
		key->k0 ^ UINT64_C(0x736f6d6570736575), key->k1 ^ UINT64_C(0x646f72616e646f6d),
		key->k0 ^ UINT64_C(0x6c7967656e657261), key->k1 ^ UINT64_C(0x7465646279746573),
	};
	size_t whole = bytes.len / 8;

	for (size_t i = 0; i <= whole; i++) {
		uint64_t word = i < whole ? sy_hash_word(bytes.at + 8 * i, 8)
		              : sy_hash_word(bytes.at + 8 * i, bytes.len % 8) |
		                (uint64_t)bytes.len << 56;

		v[3] ^= word;
		sy_hash_round(v);
		sy_hash_round(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	for (unsigned i = 0; i < 4; i++)
		sy_hash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
