/* Fuzzes protocol http as a whole: what a client says, what a server says, in turns (a byte of 0xff
 * changes the speaker). Besides not falling over, it must keep its promises: the contract of the module
 * (t/http.h plays the core, and watches), the same end whether bytes come at once or one by one, and what
 * it sends to a server is itself one strict request for each that was routed, with nothing left over. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "conf/parse.h"
#include "conf/rows.h"
#include "fuzz.h"
#define PLAY_BYTES 32768
#include "t/http.h"

#define END "\r\n\r\n"

const char *const fuzz_seeds[] = {
	"GET /a?b=c HTTP/1.1\r\nHost: web.example.net\r\nCookie: a=b; c=d" END
	"\xff" "HTTP/1.1 200 OK\r\nContent-Length: 3" END "abc\xff"
	"HEAD /ews/x HTTP/1.1\r\nHost: a" END "\xff" "HTTP/1.1 304 Not Modified" END,
	"POST /../%2e/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END "3;x=y\r\nabc\r\n0\r\nX: y" END
	"\xff" "HTTP/1.1 100 Continue" END "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" END "1\r\na\r\n0" END,
	"GET / HTTP/1.0\r\nConnection: keep-alive" END "\xff" "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" END
	"1\r\na\r\n0" END,
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue" END "bo\xff"
	"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0" END "\xff" "dyGET / HTTP/1.1\r\nHost: b" END
	"\xff" "HTTP/1.0 200 OK" END "until the end",
	"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket" END "\xff"
	"HTTP/1.1 101 Switching\r\nUpgrade: websocket" END "\x81\x01x",
	"RPC_IN_DATA http://h/rpc?x HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\nConnection: X\r\nX: 1\r\nTE: trailers" END,
	"GET /deny HTTP/1.1\r\nHost: a\r\nX_Y: z" END "GET /r/1/2 HTTP/1.1\r\nHost: A:80" END
	"GET /answer HTTP/1.1\r\nHost: a" END,
	NULL
};

static const char settings[] =
	"http { forward both; pin auto; body-limit 64k; hsts 1d;"
	" rule { path /deny; deny on; } rule { path /answer; answer 200; }"
	" rule { path ~^/r/(.*)/(.*)$; redirect https://%host/\\2/\\1; }"
	" rule { path /ews/* *x*; query b; cookie a !z; rewrite ^/e(w*)s /\\1; request-header replace Cookie a=(.) b=\\1;"
	"  response-header add X-S %server; } }";

static void *fuzz_conf;

static void
fuzz_must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz-http: broken promise: %s\n", what);
	abort();
}

static void
fuzz_prepare(void)
{
	struct arena *arena = arena_new();
	struct complaints complaints = { .errors = 0 };
	struct rows_into into = { .rows = sy_module.rows };
	struct sy_err err = { "" };
	struct node *root = parse_bytes(arena, "fuzz", sy_span_text(settings), &complaints);

	into.conf = fuzz_conf = arena_alloc(arena, sy_module.conf_size);
	rows_bind(arena, root->children, 0, &into, 1, NULL, &complaints);
	if (complaints.errors || sy_module.check(fuzz_conf, &err) != 0) {
		fprintf(stderr, "fuzz-http: %s%s\n", complaints.errors ? complaints.text.at : "", err.text);
		abort();
	}
}

static void
fuzz_play(struct play *play, const uint8_t *at, size_t len, bool slowly)
{
	unsigned side = SY_CLIENT;

	play_open(play, &sy_module, fuzz_conf);
	play->session.mark = sy_span_text("Set-Cookie: a=b\r\n");
	while (len) {
		const uint8_t *turn = memchr(at, 0xff, len);
		size_t n = turn ? (size_t)(turn - at) : len;

		if (side == SY_CLIENT || play->routed)
			play_tell(play, side, at, n, slowly);
		side = !side;
		n += turn != NULL;
		at += n;
		len -= n;
	}
	fuzz_must(!play->broken, play->broken ? play->broken : "");
}

/* What the server has heard is taken by a second balancer for the same requests. */
static void
fuzz_again(const struct play *first)
{
	static const char answer[] = "HTTP/1.1 204 No Content" END;
	struct play play;

	play_open(&play, &sy_module, fuzz_conf);
	play_tell(&play, SY_CLIENT, first->heard[SY_SERVER], first->heard_len[SY_SERVER], false);
	for (unsigned i = 0; i < 1000 && play.routed && play.len[SY_CLIENT]; i++)
		play_tell(&play, SY_SERVER, answer, sizeof(answer) - 1, false);
	fuzz_must(!play.broken, "the second balancer keeps its contract");
	fuzz_must(play.routes <= first->routes, "there are no more requests than were routed");
	/* One that was cut off in the middle may be followed by nothing. */
	if (play.closed && !first->closed)
		fuzz_must(strncmp(play.heard[SY_CLIENT], "HTTP/1.1 4", 10) != 0,
		          "what is sent to a server is a strict request");
	play_close(&play);
}

int
LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	struct play fast, slow;

	if (!fuzz_conf)
		fuzz_prepare();
	fuzz_play(&fast, at, len, false);
	fuzz_play(&slow, at, len, true);
	fuzz_must(fast.routes == slow.routes && fast.ends == slow.ends, "bytes one by one make the same requests");
	fuzz_must(fast.heard_len[SY_SERVER] == slow.heard_len[SY_SERVER] &&
	          memcmp(fast.heard[SY_SERVER], slow.heard[SY_SERVER], fast.heard_len[SY_SERVER]) == 0,
	          "and the server hears the same");
	fuzz_must(fast.pinned == slow.pinned && fast.tunnel == slow.tunnel && fast.closed == slow.closed,
	          "with the same end");
	if (!fast.tunnel)
		fuzz_again(&fast);
	play_close(&fast);
	play_close(&slow);
	return 0;
}
