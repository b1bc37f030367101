/* Protocol psom: whatever a client or a server says, the module looks at nothing behind the input, asks
 * for more only within its window, a byte more never takes a verdict back, and frames that it passes are
 * as large as it was told that they may be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modules/protocol/psom/psom.c"

#include "contrib/fuzz/fuzz.h"

/* The first byte chooses: bit 0 TLS ended here, bits 1-2 size of the length, bit 3 little endian, bit 4
 * strict policies, bit 5 the server speaks. */
const char *const fuzz_seeds[] = {
	" GET / HTTP/1.1\r\n", "0PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", " \x80\x2e\x01\x03\x01 an old one",
	" \x16\x03\x01\x01\x03" "some bytes of a record that is longer than what is there",
	" \x16\x03\x01\x00\x02\x01\x00", " \x15\x03\x01\x00\x02\x02\x28", " PUT", " PROXY TCP4 ",
	"!\x08" "abcdefg\x05" "abcd", "#\x00\x10" "abcdefghijklmn\x00\x03" "a", "%\x00\x00\x00\x09" "abcde",
	"+\x08\x00" "abcdef\x02\x00", "!\x00", "3\xff\xff", NULL
};

static void
fuzz_must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz-psom: broken promise: %s\n", what);
	abort();
}

struct fuzz_client {
	struct sy_session session;
	struct psom psom;
	uint32_t count[SY_COUNTERS];
};

static void
fuzz_open(struct fuzz_client *client, const struct psom_conf *conf, uint8_t how)
{
	memset(client, 0, sizeof(*client));
	client->session.conf = conf;
	client->session.state = &client->psom;
	client->session.count = client->count;
	client->session.facts.secure = how & 1;
}

/* The first verdict other than NEED on the bytes so far; each call sees a copy that ends there. */
static struct sy_verdict
fuzz_ask(struct fuzz_client *client, enum sy_side side, const uint8_t *at, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct sy_verdict verdict;

	fuzz_must(copy != NULL, "memory");
	memcpy(copy, at, len);
	verdict = psom_data(&client->session, side, 0, sy_span(copy, len), false);
	fuzz_must(verdict.what != SY_CLOSE || verdict.reason, "who is sent away is told why");
	free(copy);
	return verdict;
}

/* Frames one after the other, as the core would ask. */
static void
fuzz_frames(struct fuzz_client *client, enum sy_side side, const uint8_t *at, size_t len)
{
	const struct psom_conf *conf = client->session.conf;

	while (len) {
		struct sy_verdict verdict = fuzz_ask(client, side, at, len);

		if (verdict.what != SY_PASS)
			return;
		fuzz_must(verdict.n > 0 && verdict.n <= conf->frame.max.n, "a frame is within its limits");
		fuzz_must(len < conf->frame.offset + 4 ||
		          fuzz_ask(client, side, at, conf->frame.offset + 4).n == verdict.n,
		          "a frame's head says it all");
		if (verdict.n >= len)
			return;
		at += verdict.n;
		len -= (size_t)verdict.n;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "webconf.example.net", "*.example.org" };
	struct psom_conf conf = { .deadline = { 1000 } };
	struct fuzz_client whole, bytes;
	struct sy_verdict wanted, verdict = { .what = SY_NEED };
	uint8_t how = size ? data[0] : 0;
	size_t len = size ? size - 1 : 0, n = 0;

	if (!size)
		return 0;
	conf.nameless.index = conf.browsers.index = how & 16 ? PSOM_CLOSE : PSOM_PASS;
	conf.strangers.index = how & 16 ? PSOM_CLOSE : PSOM_PASS;
	conf.names = how & 16 ? (struct sy_list){ names, 2 } : (struct sy_list){ NULL, 0 };
	conf.frame = (struct psom_frame){ .size = { (how >> 1 & 3) % 3 }, .endian = { how >> 3 & 1 },
	                                  .adjust = how & 1, .max = { 4096 }, .checked = true };
	fuzz_open(&whole, &conf, how);
	fuzz_open(&bytes, &conf, how);
	wanted = fuzz_ask(&whole, SY_CLIENT, data + 1, len);
	while (verdict.what == SY_NEED && n < len)
		verdict = fuzz_ask(&bytes, SY_CLIENT, data + 1, ++n);
	fuzz_must(verdict.what == wanted.what, "how bytes are cut changes nothing");
	if (whole.psom.routed && whole.session.facts.secure)
		fuzz_frames(&whole, how & 32 ? SY_SERVER : SY_CLIENT, data + 1, len);
	return 0;
}
