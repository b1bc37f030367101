/* Fuzzes HTTP/2 in protocol http: a client's frames, and servers that answer each request with one of a
 * few answers, whole or cut. The preface comes by itself; so does, for the most part, the right length of
 * a frame, as a fuzzer would find few. What is watched is the contract of a module with exchanges side by
 * side, and memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "modules/protocol/http/settings.h"
#include "api/protocol.h"

/* A frame in the input: type, flags, stream, then bytes until 0xff: its length is put before it. */
const char *const fuzz_seeds[] = {
	"\x04" "000000\xff" "\x01\x05\x01\x82\x86\x84\x41\x01" "a\xff\x01\x05\x03\x82\x86\x84\x41\x01" "a",
	"\x01\x04\x01\x83\x86\x84\x41\x01" "a\xff\x30\x30\x01" "body\xff\x30\x01\x01" "more\xff\x06\x30\x30" "abcdefgh",
	"\x01\x05\x01\x82\x86\x84\x41\x01" "a\xff\x03\x30\x01" "0008\xff\x08\x30\x30" "0001\xff\x07\x30\x30" "00000000",
	"\x01\x04\x05\x83\x86\x84\x41\x01" "a\xff\x30\x30\x05" "x\xff\x01\x05\x05\x40\x01x\x01y",
	"\x01\x01\x07\x82\x86\x84\x41\x01" "a\xff\x09\x04\x07\x40\x01x\x01y",
	NULL
};

static const char *const answers[] = {
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
	"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
	"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\n\r\n",
	"HTTP/1.1 200 OK\r\n\r\nuntil the end",
	"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\ncut",
	"HTTP/1.1 304 Not\r\n\r\n",
};

enum { OPEN_MOST = 200 };

struct exchange {
	uint32_t id;
	size_t at;                /* of its answer, that was consumed */
	bool again, over;
};

static struct exchange open_now[OPEN_MOST];
static unsigned n_open;

static void
fuzz_must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz-http2: broken promise: %s\n", what);
	abort();
}

static struct exchange *
fuzz_find(uint32_t id)
{
	for (unsigned i = 0; i < n_open; i++)
		if (open_now[i].id == id)
			return &open_now[i];
	return NULL;
}

/* True: closed. */
static bool
fuzz_obey(const struct sy_verdict *verdict, size_t there)
{
	struct exchange *exchange = fuzz_find(verdict->exchange);
	volatile uint8_t sum = 0;

	for (size_t i = 0; i < verdict->bytes.len; i++)
		sum ^= verdict->bytes.at[i];
	fuzz_must(verdict->what == SY_CLOSE || verdict->what == SY_NEED || verdict->n <= there,
	          "no more is consumed than there is");
	switch (verdict->what) {
	case SY_OPEN:
		fuzz_must(!exchange, "an exchange is opened once");
		fuzz_must(n_open < OPEN_MOST, "there are not too many");
		open_now[n_open++] = (struct exchange){ .id = verdict->exchange, .again = true };
		break;
	case SY_END:
		fuzz_must(exchange != NULL, "what ends was open");
		*exchange = open_now[--n_open];
		break;
	case SY_EMIT:
		fuzz_must(verdict->to == SY_CLIENT || exchange, "only what is open is told something");
		break;
	case SY_CLOSE:
		return true;
	default:
		fuzz_must(verdict->what == SY_NEED || verdict->what == SY_DROP, "a verdict that it may give");
	}
	return false;
}

static bool
fuzz_show(struct sy_session *session, enum sy_side side, uint32_t id, const uint8_t *at, size_t len, bool eof,
          size_t *used, bool *need)
{
	const struct sy_protocol *ops = sy_module.ops;
	uint8_t *exact = malloc(len + 1);
	struct sy_verdict verdict;
	bool closed;

	memcpy(exact, at, len);
	verdict = ops->data(session, side, id, sy_span(exact, len), eof);
	closed = fuzz_obey(&verdict, len);
	free(exact);
	*need = verdict.what == SY_NEED;
	*used = *need ? 0 : (size_t)verdict.n;
	return closed;
}

static bool
fuzz_answers(struct sy_session *session)
{
	for (unsigned i = 0; i < n_open; i++)
		for (unsigned round = 0; round < 50 && i < n_open; round++) {
			struct exchange *exchange = &open_now[i];
			const char *answer = answers[exchange->id / 2 % 6];
			uint32_t id = exchange->id;
			size_t used;
			bool need;

			session->waiting = 0;
			session->broken = false;
			if (fuzz_show(session, SY_SERVER, id, (const uint8_t *)answer + exchange->at,
			              strlen(answer) - exchange->at, id % 4 == 1, &used, &need))
				return true;
			exchange = fuzz_find(id);
			if (exchange)
				exchange->at += used;
			if (need)
				break;
		}
	return false;
}

static bool
fuzz_client(struct sy_session *session, const uint8_t *at, size_t len)
{
	for (unsigned still = 0; still < 256;) {
		size_t used;
		bool need;

		if (fuzz_show(session, SY_CLIENT, 0, at, len, false, &used, &need))
			return true;
		at += used;
		len -= used;
		still = used ? 0 : still + 1;
		if (need)
			return fuzz_answers(session);
	}
	fuzz_must(0, "there is progress");
	return true;
}

/* The input's frames with their heads, behind the preface. */
static size_t
fuzz_frames(const uint8_t *at, size_t len, uint8_t *to, size_t room)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	size_t n = sizeof(preface) - 1;

	memcpy(to, preface, n);
	while (len > 3) {
		const uint8_t *end = memchr(at + 3, 0xff, len - 3);
		size_t payload = end ? (size_t)(end - at) - 3 : len - 3;

		if (n + 9 + payload > room)
			break;
		memcpy(to + n, (uint8_t[]){ 0, (uint8_t)(payload >> 8), (uint8_t)payload, at[0] & 15, at[1],
		                            0, 0, 0, at[2] == '0' ? 0 : at[2] }, 9);
		memcpy(to + n + 9, at + 3, payload);
		n += 9 + payload;
		payload += 3 + (end != NULL);
		at += payload;
		len -= payload;
	}
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	static uint8_t bytes[32768];
	static uint32_t counts[SY_COUNTERS];
	struct http_conf conf = {
		.head_limit = { 131072 }, .line_limit = { 16384 }, .field_limit = { 65536 }, .fields_limit = 200,
		.http2 = true, .http2_streams = 100, .header_timeout = { 1000 },
	};
	const struct sy_protocol *ops = sy_module.ops;
	struct sy_session session = { .conf = &conf, .count = counts };
	size_t all = fuzz_frames(at, len, bytes, sizeof(bytes)), step = len % 3 ? all : 7;

	n_open = 0;
	session.state = calloc(1, ops->session_size);
	for (size_t done = 0; done < all; done += step) {
		session.now_ms += 10;
		session.draining = done > all / 2 && len % 5 == 0;
		if (fuzz_client(&session, bytes + done, all - done < step ? all - done : step))
			break;
	}
	ops->close(&session);
	free(session.state);
	return 0;
}
