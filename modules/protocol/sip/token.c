#include "token.h"

enum { TOKEN_BYTES = 1 + 13 + SY_FLOW_MOST + 8, TOKEN_MAC = 8 };

_Static_assert((TOKEN_BYTES * 4 + 2) / 3 <= TOKEN_MOST, "the longest one has room");

/* ---- the key ---- */

struct token_key
token_key(struct sy_span secret, struct sy_span text)
{
	struct sy_hash_key base = { UINT64_C(0x7369702d746f6b65), UINT64_C(0x6e2d6d61632d3031) };
	struct token_key key;
	uint64_t *words[] = { &key.first.k0, &key.first.k1, &key.second.k0, &key.second.k1 };

	if (!text.len)
		text = secret;
	if (secret.len >= 16 && text.at == secret.at) {
		base.k0 ^= sy_hash_word(secret.at, 8);
		base.k1 ^= sy_hash_word(secret.at + 8, 8);
	}
	for (unsigned i = 0; i < 4; i++) {
		*words[i] = sy_hash(&base, text);
		base.k0 += *words[i];
		base.k1 ^= i + 1;
	}
	return key;
}

static uint64_t
token_mac(const struct token_key *key, struct sy_span bytes, struct sy_span bound)
{
	uint64_t both[2] = { sy_hash(&key->first, bytes), sy_hash(&key->first, bound) };

	return sy_hash(&key->second, sy_span(both, sizeof(both)));
}

/* ---- base64url (RFC 4648 5), without padding ---- */

static const char token_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t
token_encode(const uint8_t *bytes, size_t n, char *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | bytes[i];
		for (have += 8; have >= 6; have -= 6)
			out[len++] = token_digits[bits >> (have - 6) & 63];
	}
	if (have)
		out[len++] = token_digits[bits << (6 - have) & 63];
	return len;
}

static int
token_digit(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Returns the number of bytes; 0: it is none. */
static size_t
token_decode(struct sy_span text, uint8_t out[static TOKEN_BYTES])
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t len = 0;

	if (text.len > TOKEN_MOST)
		return 0;
	for (size_t i = 0; i < text.len; i++) {
		int digit = token_digit(text.at[i]);

		if (digit < 0)
			return 0;
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (len == TOKEN_BYTES)
			return 0;
		out[len++] = (uint8_t)(bits >> have);
	}
	return bits & ((1u << have) - 1) ? 0 : len;
}

/* ---- what it says ---- */

static size_t
token_put(uint8_t *at, uint64_t number, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(number >> 8 * i);
	return bytes;
}

static unsigned
token_ip_len(const struct sy_addr *addr)
{
	return addr->family == SY_IPV6 ? 16 : 4;
}

size_t
token_write(const struct token *token, const struct token_key *key, struct sy_span bound,
            char out[static TOKEN_MOST])
{
	bool v6 = token->kind == TOKEN_SERVER && token->addr.family == SY_IPV6;
	uint8_t bytes[TOKEN_BYTES];
	size_t n = 1;

	bytes[0] = (uint8_t)((unsigned)token->kind | (unsigned)v6 << 2);
	if (token->kind == TOKEN_BRANCH) {
		bytes[n++] = token->attempt;
		n += token_put(bytes + n, token->transaction, 8);
		n += token_put(bytes + n, token->loop, 4);
	} else if (token->kind == TOKEN_SERVER) {
		n += token_put(bytes + n, token->addr.port, 2);
		memcpy(bytes + n, token->addr.ip, token_ip_len(&token->addr));
		n += token_ip_len(&token->addr);
	}
	if (token->kind != TOKEN_SERVER) {
		memcpy(bytes + n, token->flow, token->flow_len);
		n += token->flow_len;
	}
	n += token_put(bytes + n, token_mac(key, sy_span(bytes, n), bound), TOKEN_MAC);
	return token_encode(bytes, n, out);
}

static bool
token_take_flow(const uint8_t *at, size_t n, struct token *out)
{
	if (n > SY_FLOW_MOST)
		return false;
	memcpy(out->flow, at, n);
	out->flow_len = (uint8_t)n;
	return true;
}

static bool
token_parse(const uint8_t *at, size_t n, struct token *out)
{
	*out = (struct token){ .kind = at[0] };
	if (at[0] == TOKEN_FLOW)
		return token_take_flow(at + 1, n - 1, out);
	if (out->kind == TOKEN_BRANCH) {
		if (n < 14)
			return false;
		out->attempt = at[1];
		out->transaction = sy_hash_word(at + 2, 8);
		out->loop = (uint32_t)sy_hash_word(at + 10, 4);
		return token_take_flow(at + 14, n - 14, out);
	}
	out->kind = at[0] & 3;
	out->addr.family = at[0] & 4 ? SY_IPV6 : SY_IPV4;
	if (out->kind != TOKEN_SERVER || n != 3 + token_ip_len(&out->addr))
		return false;
	out->addr.port = (uint16_t)sy_hash_word(at + 1, 2);
	memcpy(out->addr.ip, at + 3, token_ip_len(&out->addr));
	return true;
}

bool
token_read(struct sy_span text, const struct token_key *key, struct sy_span bound, struct token *out)
{
	uint8_t bytes[TOKEN_BYTES];
	size_t n = token_decode(text, bytes);

	if (n <= 1 + TOKEN_MAC)
		return false;
	n -= TOKEN_MAC;
	/* One comparison of whole words: it takes as long for a MAC that is nearly right. */
	if (token_mac(key, sy_span(bytes, n), bound) ^ sy_hash_word(bytes + n, TOKEN_MAC))
		return false;
	return token_parse(bytes, n, out);
}
