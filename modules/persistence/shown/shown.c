#include "shown.h"

#include "api/hash.h"

/* A longer text: how it begins, a mark that no head can hold, and its hash. */
enum { SHOWN_BEGIN = SY_KEY_MAX - 17 };

struct sy_persist_life
shown_life(const void *conf)
{
	const struct shown_conf *shown = conf;

	return (struct sy_persist_life){ .timeout_ms = shown->timeout.ms, .refresh = shown->refresh };
}

static void
shown_copy(uint8_t *to, struct sy_span from, bool fold)
{
	for (size_t i = 0; i < from.len; i++)
		to[i] = fold ? sy_lower(from.at[i]) : from.at[i];
}

/* Piece by piece, so that folding needs no copy of the whole. */
static uint64_t
shown_hash(struct sy_span text, bool fold, uint64_t hash)
{
	uint8_t piece[128];

	while (text.len) {
		size_t n = text.len < sizeof(piece) ? text.len : sizeof(piece);
		struct sy_hash_key key = { hash, n };

		shown_copy(piece, sy_span(text.at, n), fold);
		hash = sy_hash(&key, sy_span(piece, n));
		text = sy_span(text.at + n, text.len - n);
	}
	return hash;
}

void
shown_key(struct sy_span text, bool fold, struct sy_key *out)
{
	uint64_t hashes[2];

	if (text.len < SY_KEY_MAX) {
		out->len = (uint8_t)text.len;
		shown_copy(out->bytes, text, fold);
		return;
	}
	out->len = SY_KEY_MAX;
	shown_copy(out->bytes, sy_span(text.at, SHOWN_BEGIN), fold);
	out->bytes[SHOWN_BEGIN] = 0;
	hashes[0] = shown_hash(text, fold, 1);
	hashes[1] = shown_hash(text, fold, 2);
	memcpy(out->bytes + SHOWN_BEGIN + 1, hashes, sizeof(hashes));
}

const char *
shown_print(const void *conf, const struct sy_key *key, char *out, size_t len)
{
	size_t n = key->len < SY_KEY_MAX ? key->len : SHOWN_BEGIN, used = 0;

	(void)conf;
	for (size_t i = 0; i < n && used + 1 < len; i++)
		out[used++] = key->bytes[i] >= ' ' && key->bytes[i] < 0x7f ? (char)key->bytes[i] : '?';
	if (len)
		out[used] = '\0';
	if (key->len == SY_KEY_MAX && used + 1 < len)
		snprintf(out + used, len - used, "... #%02x%02x%02x%02x", key->bytes[SHOWN_BEGIN + 1],
		         key->bytes[SHOWN_BEGIN + 2], key->bytes[SHOWN_BEGIN + 3],
		         key->bytes[SHOWN_BEGIN + 4]);
	return out;
}
