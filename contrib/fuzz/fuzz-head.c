/* Fuzzes the readers of heads that persistence uses: fields, cookies, clients behind proxies. What they
 * find must lie within the input, and they must come to an end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "modules/persistence/cookie/jar.h"
#include "modules/persistence/source/forwarded.h"

const char *const fuzz_seeds[] = {
	"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; SID=\"x\"; SID = y ;;=\r\ncookie:SID=\r\n\r\n",
	"HTTP/1.1 200 OK\r\nSet-Cookie: SID=abc; Path=/; Max-Age=0\r\nSet-Cookie:SID=\"d\"\n\n",
	"GET / HTTP/1.1\nX-Forwarded-For: 192.0.2.1, [2001:db8::1]:443 ,2001:db8::2,junk, 10.0.0.1:80\n",
	"GET /\r\nForwarded: for=\"[2001:db8::1]:1\";by=_x, for=192.0.2.7;proto=\"a,\\\"b;\"\r\n folded\r\n:\r\n",
	NULL
};

static void
fuzz_must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz-head: broken promise: %s\n", what);
	abort();
}

static int
fuzz_within(struct sy_span part, struct sy_span whole)
{
	return !part.len || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

static void
fuzz_cookies(struct sy_span in)
{
	struct jar jar = jar_open(in, "SID");
	struct sy_span value;
	size_t n = 0;

	for (; jar_next(&jar, &value); n++)
		fuzz_must(fuzz_within(value, in), "a cookie stands in the input");
	fuzz_must(n * 4 <= in.len, "no more cookies than there is room for");
	if (jar_set(in, "SID", &value))
		fuzz_must(value.len && fuzz_within(value, in), "what is set stands in the input");
}

static void
fuzz_proxies(struct sy_span in)
{
	static const struct sy_net net = { .addr = { .family = SY_IPV4, .ip = { 10 } }, .bits = 8 };
	const struct sy_nets trusted = { &net, 1 };
	struct sy_addr client = { .family = SY_NO_ADDR };

	for (int standard = 0; standard < 2; standard++)
		if (forwarded_client(in, standard, &trusted, &client))
			fuzz_must((client.family == SY_IPV4 || client.family == SY_IPV6) && !client.port &&
			          !client.zero, "a client has an address");
}

int
LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct sy_span in;
	struct sy_head head;

	fuzz_must(copy != NULL, "memory");
	if (len)
		memcpy(copy, at, len);
	in = sy_span(copy, len);
	head = sy_head(in);
	while (sy_head_next(&head))
		fuzz_must(fuzz_within(head.name, in) && fuzz_within(head.value, in),
		          "a field stands in the input");
	fuzz_cookies(in);
	fuzz_proxies(in);
	free(copy);
	return 0;
}
