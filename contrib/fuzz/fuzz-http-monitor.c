/* Fuzzes the reader of HTTP answers of monitor http. Besides not falling over, it must keep its
 * promises: what it says lies within the input, a byte more never takes a judgement back, and what it
 * finds is what a plain search finds. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "modules/monitor/http/answer.h"

const char *const fuzz_seeds[] = {
	"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall ready",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2;x=y\r\ndy\r\n0\r\n\r\n",
	"HTTP/1.0 302 Found\nLocation: /\n\nmoved",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 503 No\r\n\r\nready",
	"HTTP/1.1 204\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nready",
	"SSH-2.0-OpenSSH_9.2p1\r\n",
	NULL
};

#define NEEDLE "ready"

static void
fuzz_must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz-http-monitor: broken promise: %s\n", what);
	abort();
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
fuzz_find(const struct answer *answer)
{
	struct sy_span needle = sy_span(NEEDLE, strlen(NEEDLE));
	enum answer_found open = answer_find(answer, needle, 0), closed = answer_find(answer, needle, 1);
	size_t len = answer->body.len;

	fuzz_must(closed != ANSWER_NOT_YET, "nothing is left to come when the connection is closed");
	fuzz_must(open == closed || open == ANSWER_NOT_YET, "closing changes nothing that was known");
	if (answer->chunked)
		return;
	len = len > answer->length ? (size_t)answer->length : len;
	len = len > ANSWER_BODY_MOST ? ANSWER_BODY_MOST : len;
	fuzz_must((closed == ANSWER_FOUND) ==
	          (len && memmem(answer->body.at, len, NEEDLE, strlen(NEEDLE)) != NULL),
	          "the search finds what is there");
}

static enum answer_state
fuzz_read(const uint8_t *at, size_t len, int bodiless)
{
	struct answer answer;
	enum answer_state state = answer_read(sy_span(at, len), bodiless, &answer);

	switch (state) {
	case ANSWER_MORE:
		break;
	case ANSWER_BAD:
		fuzz_must(answer.problem && *answer.problem, "what is bad is said");
		break;
	case ANSWER_HEAD:
		fuzz_must(answer.status >= 200 && answer.status <= 999, "a status");
		fuzz_must(answer.body.at >= at && answer.body.at + answer.body.len == at + len,
		          "the page is the rest of the input");
		fuzz_must(!answer.phrase.len || (answer.phrase.at >= at &&
		          answer.phrase.at + answer.phrase.len <= answer.body.at), "the phrase is in the head");
		fuzz_find(&answer);
		break;
	}
	return state;
}

int
LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	size_t cuts[] = { 0, len / 4, len / 2, len - len / 4, len };
	enum answer_state before = ANSWER_MORE;

	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		uint8_t *copy = fuzz_copy(at, cuts[i]);
		enum answer_state state = fuzz_read(copy, cuts[i], 0);

		fuzz_read(copy, cuts[i], 1);
		fuzz_must(before == ANSWER_MORE || state == before, "more bytes take nothing back");
		before = state;
		free(copy);
	}
	return 0;
}
