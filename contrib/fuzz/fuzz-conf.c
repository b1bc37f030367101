/* The configuration: whatever a file holds, the parser and the rows end with a tree or with
 * words; what is printed reads back the same; what is flattened comes back the same; and bytes
 * that nobody flattened are refused. */
#define _GNU_SOURCE 1
#include "contrib/fuzz/fuzz.h"
#include "t/conf-modules.h"

#include <stdlib.h>

#include "base/must.h"
#include "conf/config.h"
#include "conf/rows.h"
#include "conf/parse.h"

const char *const fuzz_seeds[] = {
	"user nobody; workers 2; log stderr level=debug format=json; control /run/x mode=0600 "
	"group=g;\n"
	"tables { cells 5; } console { listen 127.0.0.1:80; allow 10.0.0.0/8; }\n",
	"pool p port=81 { server a 127.0.0.1:80; server b [::1]:443 weight=3 max-connections=7; "
	"slow-start 5s; }\n"
	"virtual-service v { listen *:443 [::]:5000-5010/udp; pool p port=4; monitor every { "
	"number 7; } }\n",
	"virtual-service w { listen 127.0.0.1:0; pool p; sorry-pool q; snat 127.0.0.1 ::1; "
	"persistence keep;\n"
	"idle-timeout 30m; tries 3; max-rate 100/s; accept-proxy-from 10.0.0.0/8; send-proxy v2; "
	"enabled off;\n"
	"monitor every fall=9 list=a,b ranges=100-200,300 { inner { deep off; ca /x; } addrs ::1 "
	"127.0.0.1:80; } }",
	"set $a b 'c d'; x $a \"$a\" ${a}; template t { parameter p default 1 2; y { $p; z $p; } "
	"}\n"
	"deploy t { p { q $a; } } deploy t p=9; for-each $i in 1 2 3 { w$i \"${i}\\n\\\"\" '$i'; "
	"}\n",
	"monitor every { flag on; time 1500ms; size 64k; rate 5/s; choice blue; text \"a b\"; "
	"nets ::1/128; }",
	NULL
};

/* Printed or flattened twice. */
static void
fuzz_same(const struct text *one, const struct text *two)
{
	must(one->len == two->len && (one->len == 0 || memcmp(one->at, two->at, one->len) == 0));
}

static void
fuzz_print_again(struct arena *arena, const struct node *root)
{
	struct complaints complaints = { 0 };
	struct text one = { 0 }, two = { 0 };
	struct node *again;

	tree_print(root, false, &one);
	again = parse_bytes(arena, "g", sy_span(one.at, one.len), &complaints);
	must(complaints.errors == 0);
	tree_print(again, false, &two);
	fuzz_same(&one, &two);
	text_free(&one);
	text_free(&two);
	text_free(&complaints.text);
}

static void
fuzz_flatten_again(struct arena *arena, const struct node *root)
{
	struct text one = { 0 }, two = { 0 }, secrets = { 0 };
	struct node *again;

	tree_flatten(root, &one, &secrets);
	again = tree_unflatten(arena, sy_span(one.at, one.len), sy_span("", 0));
	must(again);
	tree_flatten(again, &two, &secrets);
	fuzz_same(&one, &two);
	must(tree_hash(root) == tree_hash(again));
	text_free(&one);
	text_free(&two);
	text_free(&secrets);
}

static void
fuzz_text(struct sy_span bytes)
{
	struct complaints complaints = { 0 };
	struct arena *arena = arena_new();
	struct node *root = parse_bytes(arena, "f", bytes, &complaints);

	if (complaints.errors == 0)
		fuzz_print_again(arena, root);
	fuzz_flatten_again(arena, root);
	config_bind(arena, root, NULL, test_module, NULL, &complaints);
	rows_fill(arena, root, every_rows);
	text_free(&complaints.text);
	arena_free(arena);
}

static void
fuzz_flat(struct sy_span bytes)
{
	struct complaints complaints = { 0 };
	struct arena *arena = arena_new();
	struct node *root = tree_unflatten(arena, bytes, sy_span("secret", 7));
	struct text text = { 0 };

	if (root) {
		tree_print(root, true, &text);
		config_bind(arena, root, NULL, test_module, NULL, &complaints);
	}
	text_free(&text);
	text_free(&complaints.text);
	arena_free(arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of just that size: one byte too far is noticed. */
	uint8_t *copy = must_alloc(size + !size);

	memcpy(copy, data, size);
	fuzz_text(sy_span(copy, size));
	fuzz_flat(sy_span(copy, size));
	/* A tree as bytes, then a few of them changed as the input says. */
	if (size > 8) {
		struct complaints complaints = { 0 };
		struct arena *arena = arena_new();
		struct text flat = { 0 }, secrets = { 0 };
		uint8_t *exact;

		tree_flatten(parse_bytes(arena, "f", sy_span(copy, size), &complaints), &flat,
			     &secrets);
		exact = must_alloc(flat.len);
		memcpy(exact, flat.at, flat.len);
		for (size_t i = 0; i + 4 < size && i < 12; i += 4)
			exact[(size_t)(data[i] | data[i + 1] << 8) % flat.len] ^= data[i + 2];
		fuzz_flat(sy_span(exact, flat.len));
		free(exact);
		text_free(&flat);
		text_free(&secrets);
		text_free(&complaints.text);
		arena_free(arena);
	}
	free(copy);
	return 0;
}
