#include "md4.h"

#include <string.h>

static uint32_t
md4_turn(uint32_t x, unsigned by)
{
	return x << by | x >> (32 - by);
}

/* RFC 1320 3.4: three rounds of 16 steps. */
static void
md4_block(uint32_t state[static 4], const uint8_t block[static 64])
{
	static const uint8_t turns[3][4] = {{3, 7, 11, 19}, {3, 5, 9, 13}, {3, 9, 11, 15}};
	static const uint8_t third[16] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
	uint32_t s[4], x[16];

	memcpy(s, state, sizeof(s));
	for (unsigned i = 0; i < 16; i++)
		x[i] = (uint32_t)block[4 * i] | (uint32_t)block[4 * i + 1] << 8 |
		       (uint32_t)block[4 * i + 2] << 16 | (uint32_t)block[4 * i + 3] << 24;
	for (unsigned i = 0; i < 48; i++) {
		uint32_t *a = &s[(48 - i) % 4], b = s[(49 - i) % 4], c = s[(50 - i) % 4],
			 d = s[(51 - i) % 4];

		if (i < 16)
			*a += ((b & c) | (~b & d)) + x[i];
		else if (i < 32)
			*a += ((b & c) | (b & d) | (c & d)) + x[i % 4 * 4 + (i - 16) / 4] + 0x5a827999;
		else
			*a += (b ^ c ^ d) + x[third[i - 32]] + 0x6ed9eba1;
		*a = md4_turn(*a, turns[i / 16][i % 4]);
	}
	for (unsigned i = 0; i < 4; i++)
		state[i] += s[i];
}

void
md4(const void *bytes, size_t len, uint8_t digest[static 16])
{
	uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
	const uint8_t *at = bytes;
	uint8_t last[128] = {0};
	size_t rest = len % 64, padded = rest < 56 ? 64 : 128;
	uint64_t bits = (uint64_t)len * 8;

	for (size_t i = 0; i + 64 <= len; i += 64)
		md4_block(state, at + i);
	memcpy(last, at + len - rest, rest);
	last[rest] = 0x80;
	for (unsigned i = 0; i < 8; i++)
		last[padded - 8 + i] = (uint8_t)(bits >> 8 * i);
	for (size_t i = 0; i < padded; i += 64)
		md4_block(state, last + i);
	for (unsigned i = 0; i < 16; i++)
		digest[i] = (uint8_t)(state[i / 4] >> i % 4 * 8);
}
