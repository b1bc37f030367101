/* Fuzzes protocol turn: datagrams of both sides in a row, and streams of both sides in pieces. Besides
 * not falling over, it must keep its promises: no more is passed on than a frame can be long, waiting has
 * an end, there is an allocation or there is none, and how a stream is cut into pieces changes nothing.
 *
 * The first byte of an input says what it is; then come records of side and length (one byte each, 0: the
 * rest), and bytes. Lengths and fingerprints are made right for some, else few would be looked into. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "modules/protocol/turn/stream.h"

enum { AS_STREAM = 1, FIX_LENGTH = 2, FIX_PRINT = 4, INHERITED = 8, OTHERS = 16 };

const char *const fuzz_seeds[] = {
	"\1\1\1GET / HTTP/1.1\r\n\r\n", "\21\1\1OPTIONS sip:a SIP/2.0\r\n\r\n", NULL
};

static void
fuzz_must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz-turn: broken promise: %s\n", what);
	abort();
}

#ifndef FUZZ_LIBFUZZER
/* Hexadecimal digits, after a byte of flags and one of side. */
static void
fuzz_hex(uint8_t flags, const char *hex)
{
	uint8_t bytes[1024] = { flags, 0, 0 };
	size_t n = 3;

	for (; hex[0] && hex[1]; hex += 2) {
		unsigned byte;

		fuzz_must(sscanf(hex, "%2x", &byte) == 1 && n < sizeof(bytes), "seeds are digits");
		bytes[n++] = (uint8_t)byte;
	}
	fuzz_add(bytes, n);
}

void
fuzz_begin(void)
{
	static const char *const packets[] = {
		"000100082112a4420102030405060708090a0b0c802800045b20f9cc",
		"000300102112a4420102030405060708090a0b0c00190004110000008028000441c778f0",
		"011300302112a4420102030405060708090a0b0c0009001000000401556e617574686f72697a6564"
		"0014000b6578616d706c652e6f726700001500056e306e6365000000",
		"010300202112a4420102030405060708090a0b0c001600080001e242e112a64d"
		"000d0004000002580020000800013a4ae112a643",
		"000400082112a4420102030405060708090a0b0c000d000400000000",
		"000900142112a4420102030405060708090a0b0c000c0004400000000012000800015c74e112a6d4",
		"40000003616263", "4000000361626300", "ff10000c0102030405060708aabbccdd",
		"001600142112a4420102030405060708090a0b0c0012000800015c74e112a6d40013000461626364",
		"00030018000102030405060708090a0b0c0d0e0f000f000472c64bc680080004000000068055000400010001",
		"01130052000102030405060708090a0b0c0d0e0f000f000472c64bc60009001000000401556e617574686f72697a6564"
		"0015000a227274636d656469612200140010303132333435363738396162636465668008000400000006"
		"000e000800010d96cb00711e",
	};
	static const char *const streams[] = {
		"0200002c00030018000102030405060708090a0b0c0d0e0f000f000472c64bc68008000400000006"
		"8055000400010001",
		"160301002d0100002903010000000000000000000000000000000000000000000000000000000000000000"
		"00000200180100",
		"160301004e02000046030100000000000000000000000000000000000000000000000000000000000000"
		"002000000000000000000000000000000000000000000000000000000000000000000018000e000000",
		"030000046162636403000000",
	};

	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++)
		for (unsigned flags = 0; flags < 4; flags++)
			fuzz_hex((uint8_t)(flags * 3), packets[i]);
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
		fuzz_hex(i & 1 ? AS_STREAM | OTHERS : AS_STREAM, streams[i]);
}
#endif

struct fuzz_session {
	struct sy_session session;
	struct turn_conf conf;
	struct turn_state state;
	uint32_t count[SY_COUNTERS];
};

static void
fuzz_open(struct fuzz_session *fuzz, uint8_t flags)
{
	memset(fuzz, 0, sizeof(*fuzz));
	fuzz->session.conf = &fuzz->conf;
	fuzz->session.state = &fuzz->state;
	fuzz->session.count = fuzz->count;
	fuzz->session.now_ms = 1000000;
	fuzz->session.server_name = flags & INHERITED ? "s" : NULL;
	fuzz->conf.unauthenticated_rate.per_second = 50;
	fuzz->conf.relief.ms = 5000;
	fuzz->conf.multiplexed = flags & OTHERS;
	for (unsigned i = 0; i < 4; i++)
		fuzz->conf.pool_of[i] = flags & OTHERS ? i + 1 : 0;
}

static void
fuzz_holds(const struct fuzz_session *fuzz)
{
	int32_t gauge = fuzz->session.gauge[GAUGE_ALLOCATIONS];

	fuzz_must(gauge == 0 || gauge == 1, "one allocation or none");
	fuzz_must(fuzz->session.busy == (gauge == 1), "busy while there is one");
}

/* A copy that ends where the input ends, so that a sanitizer sees who reads on. */
static uint8_t *
fuzz_copy(const uint8_t *at, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	fuzz_must(copy != NULL, "memory");
	if (len)
		memcpy(copy, at, len);
	return copy;
}

static void
fuzz_fix(uint8_t *at, size_t len, uint8_t flags)
{
	if (flags & FIX_LENGTH && len >= STUN_HEADER && at[0] < 4) {
		at[2] = (uint8_t)((len - STUN_HEADER) >> 8);
		at[3] = (uint8_t)(len - STUN_HEADER);
	}
	if (flags & FIX_PRINT && len >= STUN_HEADER + 8 && at[len - 8] == 0x80) {
		uint32_t crc = stun_crc(0, sy_span(at, len - 8), flags & OTHERS) ^ 0x5354554e;

		for (unsigned i = 0; i < 4; i++)
			at[len - 4 + i] = (uint8_t)(crc >> (24 - 8 * i));
	}
}

static void
fuzz_packet(struct fuzz_session *fuzz, enum sy_side side, const uint8_t *at, size_t len, uint8_t flags)
{
	uint8_t *copy = fuzz_copy(at, len);
	struct sy_packet_verdict verdict;

	fuzz_fix(copy, len, flags);
	verdict = turn_packet(&fuzz->session, side, sy_span(copy, len));
	fuzz_must(verdict.what == SY_PACKET_PASS || (verdict.reason && *verdict.reason),
	          "what is dropped has a reason");
	fuzz_must(len > 0 || verdict.what == SY_PACKET_DROP, "nothing is no datagram");
	fuzz_holds(fuzz);
	free(copy);
	fuzz->session.now_ms += 977;
}

/* The client's half of a stream, in pieces; returns a hash of the verdicts. A tunnel or a close ends it. */
static uint64_t
fuzz_half(const uint8_t *at, size_t len, size_t piece, uint8_t flags)
{
	struct fuzz_session fuzz;
	size_t from = 0, seen = 0;
	uint64_t hash = 1;

	fuzz_open(&fuzz, flags & ~INHERITED);
	while (from < len) {
		uint8_t *copy = fuzz_copy(at + from, seen);
		struct sy_verdict verdict = turn_data(&fuzz.session, SY_CLIENT, 0, sy_span(copy, seen), false);

		free(copy);
		fuzz_holds(&fuzz);
		if (verdict.what == SY_NEED) {
			fuzz_must(seen < TURN_CONTROL + MS_FRAME, "waiting ends at the window");
			if (from + seen >= len)
				break;
			seen = from + seen + piece < len ? seen + piece : len - from;
			continue;
		}
		hash = hash * 31 + verdict.what * 7 + verdict.n;
		if (verdict.what == SY_ROUTE)
			continue;
		if (verdict.what != SY_PASS)
			return hash;
		fuzz_must(verdict.n > 0 && verdict.n <= 65535 + STUN_HEADER + MS_FRAME, "a frame's length");
		from += verdict.n;
		seen = verdict.n < seen ? seen - verdict.n : 0;
	}
	return hash;
}

/* Both sides: what the records say, one behind the other. */
static void
fuzz_records(const uint8_t *at, size_t len, uint8_t flags)
{
	struct fuzz_session fuzz;
	uint64_t skip[2] = { 0, 0 };

	fuzz_open(&fuzz, flags);
	while (len >= 2) {
		enum sy_side side = at[0] & 1 ? SY_SERVER : SY_CLIENT;
		size_t n = at[1] && at[1] < len - 2 ? at[1] : len - 2;
		uint8_t *copy;
		struct sy_verdict verdict = { .what = SY_PASS };

		if (!(flags & AS_STREAM))
			fuzz_packet(&fuzz, side, at + 2, n, flags);
		copy = fuzz_copy(at + 2, n);
		for (size_t from = 0; flags & AS_STREAM && from < n;) {
			if (skip[side]) {
				size_t some = skip[side] < n - from ? (size_t)skip[side] : n - from;

				skip[side] -= some;
				from += some;
				continue;
			}
			verdict = turn_data(&fuzz.session, side, 0, sy_span(copy + from, n - from), false);
			fuzz_holds(&fuzz);
			if (verdict.what == SY_PASS)
				skip[side] = verdict.n;
			else if (verdict.what != SY_ROUTE)
				break;
		}
		free(copy);
		if (verdict.what == SY_CLOSE || verdict.what == SY_TUNNEL)
			return;
		at += 2 + n;
		len -= 2 + n;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	if (len < 3)
		return 0;
	if (at[0] & AS_STREAM)
		fuzz_must(fuzz_half(at + 3, len - 3, len, at[0]) == fuzz_half(at + 3, len - 3, 1, at[0]) &&
		          fuzz_half(at + 3, len - 3, len, at[0]) == fuzz_half(at + 3, len - 3, 13, at[0]),
		          "the pieces of a stream change nothing");
	fuzz_records(at + 1, len - 1, at[0]);
	return 0;
}
