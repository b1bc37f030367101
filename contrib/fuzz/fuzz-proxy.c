/* PROXY headers: whatever comes, the reader says more, done or wrong, looks at nothing behind the
 * input, and keeps its promises: a byte more never takes a judgement back, what is done was not done
 * a byte earlier, and what it has read can be written and read again. */
#include <stdlib.h>
#include <string.h>

#include "contrib/fuzz/fuzz.h"
#include "base/must.h"
#include "net/proxy_header.h"

/* 'r': the rest as it is; '2': behind the signature of version 2; 's': the same, with the length and
 * the sum of a checksum made right. */
const char *const fuzz_seeds[] = {
	"rPROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\nhello",
	"rPROXY TCP6 2001:db8::7 ::ffff:192.0.2.1 1234 65535\r\n",
	"rPROXY UNKNOWN whatever it was\r\n",
	"2\x21\x11\x01\x0c" "abcdefghijkl",
	"s\x21\x11zz" "abcdefghijkl\x04\x01\x02xy\x03\x01\x04" "abcd",
	"s\x21\x21zz" "abcdefghijklmnopqrstuvwxyzabcdefghij\x05\x01\x03" "abc",
	"s\x21\x31zz" "0123456789",
	"s\x20\x01zz",
	NULL
};

enum { HEAD = 16 };
static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";

/* Seeds are C strings, so the high byte of a TLV's length is 1 in them: 0 is meant. */
static void
fuzz_sum(uint8_t *bytes, size_t len)
{
	size_t addrs = bytes[13] >> 4 == 1 ? 12 : bytes[13] >> 4 == 2 ? 36 : bytes[13] >> 4 == 3 ? 216 : 0;

	bytes[14] = (uint8_t)((len - HEAD) >> 8);
	bytes[15] = (uint8_t)(len - HEAD);
	for (size_t at = HEAD + addrs; at + 3 <= len; at += 3 + bytes[at + 2]) {
		uint32_t sum;

		bytes[at + 1] = 0;
		if (bytes[at] != 3 || bytes[at + 2] != 4 || at + 7 > len)
			continue;
		memset(bytes + at + 3, 0, 4);
		sum = proxy_crc32c(0, bytes, len);
		for (unsigned i = 0; i < 4; i++)
			bytes[at + 3 + i] = (uint8_t)(sum >> (24 - 8 * i));
		return;
	}
}

/* In memory that ends where the input ends. */
static enum proxy_read
fuzz_read(const uint8_t *at, size_t len, struct proxy_header *out)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum proxy_read got;

	must(copy);
	if (len)
		memcpy(copy, at, len);
	got = proxy_header_read(sy_span(copy, len), out);
	must(got != PROXY_WRONG || out->problem);
	must(got != PROXY_DONE || (out->len > 0 && out->len <= len));
	free(copy);
	return got;
}

static void
fuzz_again(const struct proxy_header *header)
{
	uint8_t made[PROXY_MADE_MAX];
	struct proxy_header again;

	for (unsigned version = 1; version <= 2; version++) {
		size_t len = proxy_header_make(version, &header->source, &header->destination, made);

		must(len < PROXY_MADE_MAX && fuzz_read(made, len, &again) == PROXY_DONE && again.len == len);
		if (header->source.family != header->destination.family) {
			must(again.local);
			continue;
		}
		must(memcmp(&again.source, &header->source, sizeof(again.source)) == 0);
		must(memcmp(&again.destination, &header->destination, sizeof(again.source)) == 0);
	}
}

/* What we prove is proved, until a bit of it is another, or the time is; whatever comes is not. */
static void
fuzz_proof(struct sy_span in, const struct proxy_header *header)
{
	static const struct hash_key key = { 1, 2 };
	uint8_t made[PROXY_PROVED_MAX];
	char subject[PROXY_SUBJECT_MAX + 1];
	struct proxy_header again;
	size_t len, n = in.len > 20 ? 20 : in.len;

	must(!proxy_header_proved(in, header, &key, 1000, subject));
	if (header->local || header->source.family != header->destination.family)
		return;
	len = proxy_header_make(2, &header->source, &header->destination, made);
	len = proxy_header_prove(made, len, &key, 1000, sy_span(in.at, memchr(in.at, 0, n) ? 0 : n));
	must(len <= sizeof(made) && fuzz_read(made, len, &again) == PROXY_DONE && again.len == len);
	must(proxy_header_read(sy_span(made, len), &again) == PROXY_DONE);
	must(proxy_header_proved(sy_span(made, len), &again, &key, 1000 + PROXY_PROOF_MS, subject));
	must(strlen(subject) == (memchr(in.at, 0, n) ? 0 : n) && memcmp(subject, in.at, strlen(subject)) == 0);
	must(!proxy_header_proved(sy_span(made, len), &again, &key, 1001 + PROXY_PROOF_MS, subject));
	made[16 + in.len % (len - 16)] ^= 1;
	if (proxy_header_read(sy_span(made, len), &again) == PROXY_DONE)
		must(!proxy_header_proved(sy_span(made, len), &again, &key, 1000, subject));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = calloc(1, size + HEAD);
	size_t len = 0, step;
	struct proxy_header whole, part;
	enum proxy_read got;

	must(bytes);
	if (size > 0 && data[0] != 'r') {
		memcpy(bytes, signature, 12);
		len = 12;
	}
	if (size > 1)
		memcpy(bytes + len, data + 1, size - 1);
	len += size ? size - 1 : 0;
	if (size > 0 && data[0] == 's' && len >= HEAD)
		fuzz_sum(bytes, len);
	got = fuzz_read(bytes, len, &whole);
	if (got == PROXY_DONE && !whole.local)
		fuzz_again(&whole);
	if (got == PROXY_DONE) {
		must(proxy_header_read(sy_span(bytes, len), &whole) == PROXY_DONE);
		fuzz_proof(sy_span(bytes, len), &whole);
	}
	step = len / 64 + 1;
	for (size_t cut = 0; cut < len; cut += cut < 20 || cut + 20 > len ? 1 : step) {
		enum proxy_read then = fuzz_read(bytes, cut, &part);

		must(then != PROXY_WRONG || got == PROXY_WRONG);
		must(then != PROXY_DONE || (got == PROXY_DONE && part.len == whole.len));
		must(got != PROXY_DONE || cut >= whole.len || then == PROXY_MORE);
	}
	free(bytes);
	return 0;
}
