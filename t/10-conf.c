/* The configuration, piece by piece: words and quotes, the tree as text and as bytes, rows of every
 * type, presets, binding. What the loader says about whole files is in 20-config.t. */
#define _GNU_SOURCE 1
#include "t/conf-modules.h"
#include "t/tap.h"

#include "base/must.h"
#include "conf/config.h"
#include "conf/core_rows.h"
#include "conf/names.h"
#include "conf/parse.h"

static struct complaints said;

static struct node *
parse(struct arena *arena, const char *text)
{
	text_free(&said.text);
	said = (struct complaints){ 0 };
	return parse_bytes(arena, "f", sy_span_text(text), &said);
}

static const char *
text_of(const struct text *text)
{
	return text->at ? text->at : "";
}

static const char *
told(void)
{
	return text_of(&said.text);
}

/* ---- words ---- */

struct words_case {
	const char *text, *wanted; /* what tree_print makes of it; NULL: an error */
};

static const struct words_case words_cases[] = {
	{ "", "" },
	{ "\xef\xbb\xbf" "a;", "a;\n" },
	{ "a;", "a;\n" },
	{ "a b c;", "a b c;\n" },
	{ "a\r\n\tb;\r\n", "a b;\n" },
	{ "a;b;", "a;\nb;\n" },
	{ "a{}", "a {\n}\n" },
	{ "a {b;} c;", "a {\n\tb;\n}\nc;\n" },
	{ "a {b{c;}}", "a {\n\tb {\n\t\tc;\n\t}\n}\n" },
	{ "# no\na; # b;\n# c", "a;\n" },
	{ "a b#c;", "a b#c;\n" },
	{ "a #b;\nc;", "a c;\n" },
	{ "a '#b';", "a \"#b\";\n" },
	{ "a \"\";", "a \"\";\n" },
	{ "a '';", "a \"\";\n" },
	{ "a 'b c';", "a \"b c\";\n" },
	{ "a \"b;c{}\";", "a \"b;c{}\";\n" },
	{ "a b' 'c\" \"d;", "a \"b c d\";\n" },
	{ "a x=\"y z\";", "a \"x=y z\";\n" },
	{ "a \"\\\"\\\\\\n\\t\";", "a \"\\\"\\\\\\n\\t\";\n" },
	{ "a '\\n';", "a \"\\\\n\";\n" },
	{ "a \"\\d+\";", "a \"\\\\d+\";\n" },
	{ "a \\.php;", "a \"\\\\.php\";\n" },
	{ "a \"b\nc\";", "a \"b\\nc\";\n" },
	{ "a $;", "a \"\\$\";\n" },
	{ "a ^/x$;", "a \"^/x\\$\";\n" },
	{ "a '$b';", "a \"\\$b\";\n" },
	{ "a \"\\$b\";", "a \"\\$b\";\n" },
	{ "set $b c; a $b;", "a c;\n" },
	{ "set $b c d; a $b;", "a c d;\n" },
	{ "set $b c d; a \"$b\";", "a \"c d\";\n" },
	{ "set $b c; a x${b}y;", "a xcy;\n" },
	{ "set $b c; a ${b};", "a c;\n" },
	{ "set $b c; a $b.$b/$b;", "a c.c/c;\n" },
	{ "set $b-c d; a $b-c;", "a d;\n" },
	{ "set $b c; set $d $b$b; a $d;", "a cc;\n" },
	{ "set $b '$c'; a $b;", "a \"\\$c\";\n" },
	{ "set $b x; $b y;", NULL },
	{ "set $b x; ${b}z y;", "xz y;\n" },
	{ "set $b 'c d'; a $b;", "a \"c d\";\n" },
	{ "set $b c d; a x$b;", NULL },
	{ "a $b;", NULL },
	{ "a ${b;", NULL },
	{ "a ${};", NULL },
	{ "a \"b;", NULL },
	{ "a 'b;", NULL },
	{ "a", NULL },
	{ "a {", NULL },
	{ "a { b", NULL },
	{ "}", NULL },
	{ ";", NULL },
	{ "{ a; }", NULL },
	{ "a\x01;", NULL },
	{ "include x;", NULL },
	{ "template t { parameter a; b $a; } deploy t { a c; }", "b c;\n" },
	{ "deploy t { a c; } template t { parameter a; b $a; }", "b c;\n" },
	{ "template t { parameter a; b $a; } deploy t a=c;", "b c;\n" },
	{ "template t { parameter a default x y; b $a; } deploy t;", "b x y;\n" },
	{ "template t { parameter a default; b $a; } deploy t;", "b;\n" },
	{ "template t { parameter a; parameter b default $a$a; c $b; } deploy t { a z; }",
	  "c zz;\n" },
	{ "template t { parameter a; b { $a; } } deploy t { a { c; d { e; } } }",
	  "b {\n\tc;\n\td {\n\t\te;\n\t}\n}\n" },
	{ "set $g h; template t { parameter a; $a; } deploy t { a { c $g; } }", "c h;\n" },
	{ "template u { parameter x; y $x; } template t { parameter a; deploy u { x $a; } } "
	  "deploy t { a 1; } deploy t { a 2; }", "y 1;\ny 2;\n" },
	{ "template t { parameter a; b $a; } p { deploy t { a c; } d; }",
	  "p {\n\tb c;\n\td;\n}\n" },
	{ "template t { set $x y; b $x; } deploy t; deploy t;", "b y;\nb y;\n" },
	{ "template t { parameter a; b \"}\" $a; } deploy t { a '{'; }", "b \"}\" \"{\";\n" },
	{ "template t { parameter a; b $a; } deploy t;", NULL },
	{ "template t { b $a; } deploy t { a c; }", NULL },
	{ "template t { parameter a b; } deploy t;", NULL },
	{ "template t { parameter a; parameter a; }", NULL },
	{ "template t { deploy t; } deploy t;", NULL },
	{ "for-each $a in 1 2 { b $a; }", "b 1;\nb 2;\n" },
	{ "for-each $a in 1 2 { for-each $b in 3 4 { c $a$b; } }", "c 13;\nc 14;\nc 23;\nc 24;\n" },
	{ "set $l 1 2; p { for-each $a in $l { b $a; } }", "p {\n\tb 1;\n\tb 2;\n}\n" },
	{ "for-each $a in { b $a; }", "" },
	{ "for-each $a of 1 { }", NULL },
	{ "for-each a in 1 { }", NULL },
	{ "parameter a;", "parameter a;\n" },
	{ "set $v 2; when $v in 1 2 { a; } when $v in 3 { b; } c;", "a;\nc;\n" },
	{ "set $v 2; when $v not-in 1 2 { a; } when $v not-in 3 { b; }", "b;\n" },
	{ "set $v 1 2; when $v in 2 { a; } when $v not-in 2 { b; }", "a;\n" },
	{ "set $v 1; set $l 1 2; p { when $v in $l { a { b; } } }", "p {\n\ta {\n\t\tb;\n\t}\n}\n" },
	{ "template t { parameter v default; when $v in a { b; } c; } deploy t; deploy t { v a; }",
	  "c;\nb;\nc;\n" },
	{ "template t { parameter v default; when $v given { a; } when $v missing { b; } } "
	  "deploy t; deploy t { v x; } deploy t { v { } }", "b;\na;\na;\n" },
	{ "when x given { a; }", NULL },
	{ "when 1 in { a; }", NULL },
	{ "when 1 of 1 { a; }", NULL },
	{ "when 1 in 1;", NULL },
	{ "when 1 in 1 { a;", NULL },
	{ "template t { parameter v among 1 2 default 2; a $v; } deploy t; deploy t { v 1; }",
	  "a 2;\na 1;\n" },
	{ "template t { parameter v among 1 2; a $v; } deploy t { v 3; }", NULL },
	{ "template t { parameter v among 1 2; a; } deploy t { v { b; } }", NULL },
	{ "template t { parameter v among default 1; a; } deploy t;", NULL },
	{ "template t { parameter v default; p { $v; } } deploy t; deploy t { v { a; } }",
	  "p {\n}\np {\n\ta;\n}\n" },
};

static void
test_words(void)
{
	for (size_t i = 0; i < sizeof(words_cases) / sizeof(words_cases[0]); i++) {
		const struct words_case *words = &words_cases[i];
		struct arena *arena = arena_new();
		struct node *root = parse(arena, words->text);
		struct text out = { 0 };

		tree_print(root, false, &out);
		if (words->wanted)
			is_str(said.errors ? told() : text_of(&out), words->wanted, "%s",
			       words->text);
		else
			ok(said.errors > 0, "refused: %s", words->text);
		text_free(&out);
		arena_free(arena);
	}
}

static void
test_bombs(void)
{
	struct arena *arena = arena_new();
	struct text text = { 0 };

	for (unsigned i = 0; i < 100; i++)
		text_puts(&text, "a{");
	parse(arena, text.at);
	has_str(told(), "nested deeper than 32", "a hundred blocks in each other are refused");
	text_free(&text);

	text_puts(&text, "set $v0 aaaaaaaaaaaaaaaa;");
	for (unsigned i = 1; i < 40; i++)
		text_printf(&text, "set $v%u \"$v%u$v%u\";", i, i - 1, i - 1);
	parse(arena, text.at);
	has_str(told(), "a word is longer than 65536 bytes", "words that double are refused");
	text_free(&text);

	text_puts(&text, "set $v0 a b;");
	for (unsigned i = 1; i < 40; i++)
		text_printf(&text, "set $v%u $v%u $v%u;", i, i - 1, i - 1);
	parse(arena, text.at);
	has_str(told(), "set has more than 4096 words", "lists that double are refused");
	text_free(&text);

	text_puts(&text, "set $l");
	for (unsigned i = 0; i < 1000; i++)
		text_printf(&text, " %u", i);
	text_puts(&text, "; for-each $a in $l { for-each $b in $l { for-each $c in $l { x; } } }");
	parse(arena, text.at);
	has_str(told(), "more than 500000 statements", "loops in loops in loops come to an end");
	text_free(&text);
	arena_free(arena);

	arena = arena_new();
	text_puts(&text, "template t { deploy t; deploy t; } deploy t;");
	parse(arena, text.at);
	ok(said.errors > 0, "templates that double come to an end");
	text_free(&text);
	arena_free(arena);
}

static void
test_nul(void)
{
	static const char bytes[] = "a;\nb\0;";
	struct arena *arena = arena_new();

	text_free(&said.text);
	said = (struct complaints){ 0 };
	parse_bytes(arena, "f", sy_span(bytes, sizeof(bytes) - 1), &said);
	is_str(told(), "f: a NUL byte at offset 4: this is no text file\n", "a NUL byte");
	arena_free(arena);
}

static void
test_places(void)
{
	struct arena *arena = arena_new();
	struct node *root = parse(arena, "a;\n\nb\nc\n\"d\ne\" {\n f;\n}\ng;");
	const struct node *b = node_child(root, "b");

	is_int(node_child(root, "a")->line, 1, "first line");
	is_int(b->line, 3, "a statement is where its name is");
	is_int(b->last_line, 5, "and ends where its last word begins");
	is_int(node_child(b, "f")->line, 7, "a quote over lines counts");
	is_int(node_child(root, "g")->line, 9, "and so on");
	is_str(node_arg(b, 0), "c", "argument");
	is_str(node_arg(b, 7), "", "no argument");
	ok(!node_child(root, "x"), "no child of that name");
	arena_free(arena);
}

/* ---- the tree as bytes ---- */

static const char flat_text[] =
	"user x; pool p { server a 127.0.0.1 weight=3; server b \"\"; } log file 'a b';\n"
	"template t { parameter a; b { c $a; } } deploy t { a z; } deploy t { a y; }";

static void
test_flat(void)
{
	struct arena *arena = arena_new();
	struct node *root = parse(arena, flat_text), *back;
	struct node *secret = (struct node *)node_child(root, "log");
	struct text bytes = { 0 }, again = { 0 }, secrets = { 0 }, more = { 0 };
	struct text one = { 0 }, two = { 0 };

	secret->found = arena_array(arena, struct sy_span, 2);
	secret->found[0] = sy_span_text("");
	secret->found[1] = sy_span_text("hush");
	secret->found_what = FOUND_SECRETS;
	tree_flatten(root, &bytes, &secrets);
	ok(!memmem(bytes.at, bytes.len, "hush", 4), "a secret is not in the tree's bytes");
	back = tree_unflatten(arena, sy_span(bytes.at, bytes.len),
			      sy_span(secrets.at, secrets.len));
	if (!ok(back != NULL, "back again"))
		return;
	tree_print(root, true, &one);
	tree_print(back, true, &two);
	is_str(two.at, one.at, "the same words and places");
	ok(!strstr(one.at, "hush"), "a secret is not printed");
	tree_flatten(back, &again, &more);
	ok(bytes.len == again.len && memcmp(bytes.at, again.at, bytes.len) == 0, "the same bytes");
	ok(secrets.len == more.len && memcmp(secrets.at, more.at, more.len) == 0,
	   "the same secrets");
	secret = (struct node *)node_child(back, "log");
	is_int((intmax_t)secret->found[1].len, 4, "the secret came along");
	ok(tree_hash(root) == tree_hash(back), "the same hash");
	back = tree_unflatten(arena, sy_span(bytes.at, bytes.len), sy_span("", 0));
	is_int((intmax_t)node_child(back, "log")->found[1].len, 0, "without secrets it is empty");
	ok(tree_hash(root) != tree_hash(back), "and the hash another");
	root = parse(arena, "user x;\n\n\n  pool  p{server a 127.0.0.1 weight=3;server b "
			    "'';}\nlog \"file\" 'a b';"
		     "b { c z; } b { c y; }");
	back = parse(arena, flat_text);
	ok(tree_hash(root) == tree_hash(back), "layout and templates do not count for the hash");
	text_free(&bytes), text_free(&again), text_free(&secrets), text_free(&more);
	text_free(&one), text_free(&two);
	arena_free(arena);
}

/* Whatever the bytes are: a tree, or NULL, and never a byte read that is not there. */
static void
test_flat_hostile(void)
{
	struct arena *arena = arena_new();
	struct node *root = parse(arena, flat_text);
	struct text bytes = { 0 }, secrets = { 0 };
	uint64_t random = 7;
	unsigned trees = 0, none = 0;
	bool early = false;

	tree_flatten(root, &bytes, &secrets);
	for (size_t len = 0; len < bytes.len; len++) {
		char *copy = must_alloc(len + 1);

		memcpy(copy, bytes.at, len);
		early |= tree_unflatten(arena, sy_span(copy, len), sy_span("", 0)) != NULL;
		free(copy);
	}
	ok(!early, "no tree from less than all of the bytes");
	for (unsigned i = 0; i < 20000; i++) {
		struct arena *turn = arena_new();
		char *copy = must_alloc(bytes.len);
		struct text out = { 0 };
		struct node *tree;

		memcpy(copy, bytes.at, bytes.len);
		for (unsigned n = 1 + i % 4; n; n--) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			copy[(random >> 33) % bytes.len] = (char)(random >> 24);
		}
		tree = tree_unflatten(turn, sy_span(copy, bytes.len), sy_span("abc", 4));
		if (tree)
			tree_print(tree, true, &out);
		trees += tree != NULL;
		none += tree == NULL;
		text_free(&out);
		free(copy);
		arena_free(turn);
	}
	ok(trees && none, "damaged bytes: %u trees, %u refused", trees, none);
	text_free(&bytes);
	text_free(&secrets);
	arena_free(arena);
}

/* ---- rows ---- */

/* Binds the text as the inside of a block; the answer is good until the next one. */
static struct every *
bind_every(struct arena *arena, const char *text)
{
	struct every *every = arena_new_of(arena, struct every);
	const struct rows_into into = { every_rows, every };
	struct node *root = parse(arena, text);

	rows_bind(arena, node_child(root, "x") ? node_child(root, "x") : root, 0, &into, 1, NULL,
		  &said);
	return every;
}

static void
test_presets(void)
{
	struct arena *arena = arena_new();
	struct every *every = bind_every(arena, "");
	char addr[ADDR_TEXT_SIZE];

	is_str(told(), "", "presets are no errors");
	ok(!every->flag && !every->flag_given, "bool");
	is_int(every->number, 5, "number");
	is_int((intmax_t)every->time.ms, 1500, "time");
	is_int((intmax_t)every->size.n, 65536, "size");
	is_int(every->rate.per_second, 7, "rate");
	is_int(every->choice.index, 1, "choice");
	is_str(every->text, "two words", "text");
	is_int(every->addr.family, SY_NO_ADDR, "no address");
	is_int(every->addrs.n, 2, "addresses");
	is_str(addr_text(&every->addrs.at[1], addr), "[::1]:80", "the second one");
	is_int(every->nets.n, 2, "networks");
	is_str(net_text(&every->nets.at[0], addr), "10.0.0.0/8", "the first one");
	is_int(every->list.n, 3, "list");
	is_str(every->list.at[2], "c", "the third one");
	is_int(every->ranges.n, 3, "ranges");
	is_int(every->ranges.at[1].to, 401, "the second one");
	ok(every->inner.deep, "inner");
	ok(!every->file.path, "no file");
	arena_free(arena);
}

static void
test_given(void)
{
	struct arena *arena = arena_new();
	struct every *every = bind_every(arena,
		"flag on; number 7; time 1h; size 1m; rate 0; choice blue; text 'a;b'; addr ::1; "
		"addr-port 127.0.0.1:65535; addrs 127.0.0.1; addrs 127.0.0.2 ::1; nets 192.0.2.1; "
		"list x; list y z; ranges 100-100; ranges 599; file /a; inner { deep off; }");
	char addr[ADDR_TEXT_SIZE];

	is_str(told(), "", "all given");
	ok(every->flag && every->flag_given, "bool");
	is_int(every->number, 7, "number");
	is_int((intmax_t)every->time.ms, 3600000, "time");
	is_int((intmax_t)every->size.n, 1 << 20, "size");
	is_int(every->rate.per_second, 0, "rate");
	is_int(every->choice.index, 2, "choice");
	is_str(every->text, "a;b", "text");
	is_str(addr_text(&every->addr, addr), "::1", "address");
	is_str(addr_text(&every->addr_port, addr), "127.0.0.1:65535", "address and port");
	is_int(every->addrs.n, 3, "addresses add up");
	is_int(every->nets.at[0].bits, 32, "a network of one");
	is_int(every->list.n, 3, "words add up");
	is_int(every->ranges.n, 2, "ranges add up");
	is_str(every->file.path, "/a", "file");
	ok(!every->inner.deep, "inner");
	every = bind_every(arena, "x number=6 list=a,b addrs=127.0.0.1,::1 ranges=200,300-400 "
				  "text= { time 2s; }");
	is_str(told(), "", "on the line");
	is_int(every->number, 6, "number");
	is_int(every->list.n, 2, "list");
	is_int(every->addrs.n, 2, "addresses");
	is_int(every->ranges.n, 2, "ranges");
	is_str(every->text, "", "text");
	is_int((intmax_t)every->time.ms, 2000, "and in the block");
	arena_free(arena);
}

static const struct words_case wrong_cases[] = {
	{ "number 2;", "number 2: a number from 3 to 7 (default 5) is expected" },
	{ "number 8;", "number 8: a number from 3 to 7" },
	{ "number -1;", "number -1:" },
	{ "number 99999999999999999999;", "number 99999999999999999999:" },
	{ "number 0x5;", "number 0x5:" },
	{ "number '';", "number \"\":" },
	{ "number 5 6;", "number takes one value, a number from 3 to 7 (default 5), and 2 are "
			 "given" },
	{ "number;", "number needs a value: a number" },
	{ "number 5; number 6;", "number is given twice; the first time at f:1" },
	{ "number { 5; }", "number takes no block" },
	{ "x number=5 { number 6; }", "number is given twice" },
	{ "numbr 5;", "unknown directive numbr; did you mean number?" },
	{ "x numbr=5 {}", "unknown setting numbr in x; did you mean number?" },
	{ "x 5 {}", "unexpected 5" },
	{ "x inner=5 {}", "unexpected inner=5" },
	{ "time 999ms;", "time 999ms: a duration from 1s to 1d (default 1500ms) is expected" },
	{ "time 5x;", "units are ms, s, m, h and d" },
	{ "time 300000000000d;", "time 300000000000d:" },
	{ "size 2m;", "size 2m: a size from 0 to 1m (default 64k)" },
	{ "size 1t;", "units are k, m and g" },
	{ "rate 1/m;", "rate 1/m: a rate per second" },
	{ "rate 99999999999;", "rate 99999999999:" },
	{ "choice gren;", "choice gren: red, green or blue (default green) is expected; did you "
			  "mean green?" },
	{ "choice pink;", "choice pink:" },
	{ "flag yes;", "flag yes: on or off (default off)" },
	{ "addr 127.0.0.1:80;", "without a port" },
	{ "addr-port 127.0.0.1;", "with a port" },
	{ "addr-port 127.0.0.1:0;", "a port is a number from 1 to 65535" },
	{ "addr-port 127.0.0.1:65536;", "a port is a number" },
	{ "addr-port 127.0.0.1:;", "addr-port 127.0.0.1::" },
	{ "addr [::1;", "addr [::1:" },
	{ "addr name;", "names are looked up when the file is loaded" },
	{ "nets 10.0.0.1/8;", "the network is 10.0.0.0/8" },
	{ "nets 10.0.0.0/33;", "nets 10.0.0.0/33:" },
	{ "nets x;", "nets x:" },
	{ "ranges 99;", "ranges 99: numbers and ranges such as 200-399,401 from 100 to 599" },
	{ "ranges 300-200;", "ranges 300-200:" },
	{ "ranges 200,;", "ranges 200,:" },
	{ "ranges ,;", "ranges ,:" },
	{ "ranges '';", "ranges \"\":" },
	{ "ranges 200-300-400;", "ranges 200-300-400:" },
	{ "inner { deep 5; }", "deep 5: on or off" },
	{ "inner { shallow; }", "unknown directive shallow in inner" },
	{ "inner { } inner { }", "inner is given twice" },
	{ "inner 5;", "unexpected 5" },
	{ "rule set;", "rule needs name: a word or a quoted text (required); what is written there is "
		       "rule set|remove NAME [VALUE]" },
	{ "rule set a b c;", "rule: unexpected c; what is written there is rule set|remove NAME [VALUE]" },
	{ "rule sett a;", "action sett: set or remove (required) is expected; did you mean set?" },
	{ "\nrule set a { name b; }", "f:2: name is given twice; the first time at f:2" },
	{ "rule set a tags=x tags2=y z;", "unexpected z" },
	{ "rule set a b tagz=x;", "unknown directive tagz in rule; did you mean tags?" },
	{ "rule set a { tagz x; }", "unknown directive tagz in rule; did you mean tags?" },
	{ "rule set a {\n hop; }", "f:2: hop needs to: a word or a quoted text (required); what is "
				   "written there is hop TO" },
	{ "rule set a {\n hop b cost=10; }", "f:2: cost 10: a number from 0 to 9" },
	{ "rule set a; rule remove;", "rule needs name" },
};

static void
test_wrong(void)
{
	for (size_t i = 0; i < sizeof(wrong_cases) / sizeof(wrong_cases[0]); i++) {
		struct arena *arena = arena_new();

		bind_every(arena, wrong_cases[i].text);
		if (has_str(told(), wrong_cases[i].wanted, "%s", wrong_cases[i].text))
			is_int(said.errors, 1, "one error: %s", wrong_cases[i].text);
		arena_free(arena);
	}
}

/* Blocks that are given again and again: on one line, in a block, and both. */
static void
test_blocks(void)
{
	struct arena *arena = arena_new();
	struct every *every = bind_every(arena,
		"rule set X-Via steelyard; rule { name b; action remove; inner { deep off; } }"
		"rule tags=x,y set c max-age=5 { hop one; hop { to two; cost 2; } }");
	const struct every_rule *rule = every->rules.at;
	const struct every_hop *hop;

	is_str(told(), "", "all given");
	if (!is_int(every->rules.n, 3, "three rules, in the order of the file"))
		bail_out("no rules");
	is_str(rule[0].name, "X-Via", "the second argument");
	is_str(rule[0].value, "steelyard", "the third one");
	is_int(rule[0].tags.n, 2, "a preset");
	ok(rule[0].inner.deep, "and one deeper");
	is_int(rule[0].hops.n, 0, "no blocks inside");
	is_int(rule[1].action.index, 1, "in a block");
	is_str(rule[1].name, "b", "in any order");
	ok(!rule[1].value && !rule[1].inner.deep, "an optional one is not there");
	is_int(rule[2].tags.n, 2, "a list on the line");
	is_str(rule[2].tags.at[1], "y", "its second word");
	is_str(rule[2].value, "max-age=5", "a = in it makes no setting of it");
	hop = rule[2].hops.at;
	if (!is_int(rule[2].hops.n, 2, "blocks in blocks"))
		bail_out("no hops");
	is_str(hop[0].to, "one", "on a line");
	is_int(hop[0].cost, 1, "with a preset");
	is_str(hop[1].to, "two", "and in a block");
	is_int(hop[1].cost, 2, "with a value");
	every = bind_every(arena, "");
	ok(every->rules.n == 0 && !every->rules.at, "none need not be there");
	arena_free(arena);
}

/* What -T prints and what travels in a generation. */
static void
test_blocks_fill(void)
{
	struct arena *arena = arena_new();
	struct node *root = parse(arena, "x list=k,l,m { rule set a b { hop c; inner; } rule remove d; }");
	struct every *every = arena_new_of(arena, struct every);
	const struct rows_into into = { every_rows, every };
	const struct every_rule *rule;
	struct text out = { 0 };
	const char *at;

	rows_unfold(arena, root->children, 0, every_rows, NULL);
	rows_fill(arena, root->children, every_rows);
	tree_print(root, false, &out);
	has_str(out.at, "\tlist k l m;\n", "a list on the line is a list");
	at = strstr(out.at, "\trule {");
	has_str(at ? at : "", "\trule {\n\t\taction set;\n\t\tname a;\n\t\tvalue b;\n\t\thop {\n"
		"\t\t\tto c;\n\t\t\tcost 1;\n\t\t}\n\t\tinner {\n\t\t\tdeep on;\n\t\t}\n"
		"\t\ttags p q;\n\t}\n\trule {\n\t\taction remove;\n\t\tname d;\n\t\ttags p q;\n\t}\n",
		"each is written out");
	rows_bind(arena, root->children, 0, &into, 1, NULL, &said);
	is_str(told(), "", "and can be read");
	rule = every->rules.at;
	ok(every->rules.n == 2 && strcmp(rule[0].value, "b") == 0 && rule[0].hops.n == 1 &&
	   rule[1].action.index == 1, "the same values");
	text_free(&out);
	arena_free(arena);
}

/* Binds what filling has written: the same values, and nothing counts as given. */
static void
test_fill(void)
{
	struct arena *arena = arena_new();
	struct node *root = parse(arena, "x number=6 { inner; }"), *block = root->children;
	struct every *every = arena_new_of(arena, struct every), *plain;
	const struct rows_into into = { every_rows, every };
	struct text out = { 0 };

	rows_unfold(arena, block, 0, every_rows, NULL);
	rows_fill(arena, block, every_rows);
	tree_print(root, false, &out);
	is_str(out.at, "x {\n\tnumber 6;\n\tinner {\n\t\tdeep on;\n\t}\n\ttime 1500ms;\n\tsize "
		       "64k;\n"
	       "\trate 7/s;\n\tchoice green;\n\ttext \"two words\";\n\taddrs 127.0.0.1 [::1]:80;\n"
	       "\tnets 10.0.0.0/8 ::1;\n\tlist a b c;\n\tranges 200-399,401 500;\n}\n",
	       "defaults are written out");
	rows_bind(arena, block, 0, &into, 1, NULL, &said);
	is_str(told(), "", "and can be read");
	plain = bind_every(arena, "number 6;");
	ok(every->time.ms == plain->time.ms && every->addrs.n == plain->addrs.n &&
	   every->ranges.n == plain->ranges.n && !every->flag_given, "the same values");
	text_free(&out);
	arena_free(arena);
}

/* ---- the core's rows ---- */

/* Every preset of every row is a value that the row allows, and every row is documented. */
static void
check_rows(const char *block, const struct sy_row *rows)
{
	static char conf[65536] __attribute__((aligned(16)));
	struct complaints complaints = { 0 };
	struct arena *arena = arena_new();
	struct node nothing = { .name = "" };
	struct names *names = names_new(arena);
	const struct rows_into into = { rows, conf };

	rows_bind(arena, &nothing, 0, &into, 1, NULL, &complaints);
	is_str(complaints.text.at ? complaints.text.at : "", "", "presets of %s", block);
	for (; rows && rows->name; rows++) {
		struct text range = { 0 };

		ok(rows->doc && rows->doc[strlen(rows->doc) - 1] == '.', "%s %s has a sentence",
		   block,
		   rows->name);
		ok(!names_add(names, rows->name, conf), "%s %s is there once", block, rows->name);
		rows_range_text(rows, &range);
		ok(range.len || rows->type == SY_ROW_NONE, "%s %s: %s", block, rows->name,
		   range.at ? range.at : "");
		text_free(&range);
	}
	text_free(&complaints.text);
	arena_free(arena);
}

static void
test_core_rows(void)
{
	for (const struct core_block *block = core_blocks; block->doc; block++) {
		check_rows(*block->name ? block->name : "main", block->rows);
		for (const struct rows_other *other = block->others; other && other->name; other++)
			ok(other->doc[strlen(other->doc) - 1] == '.', "%s has a sentence",
			   other->name);
	}
}

/* ---- binding ---- */

static const char bind_text[] =
	"pool p port=81 { server a 127.0.0.1; server b 127.0.0.2:90 weight=7 max-connections=3; "
	"slow-start 5s; }\n"
	"pool q { server s 127.0.0.9; }\n"
	"virtual-service v {\n"
	"	listen 127.0.0.1:443 [::1]:443 *:5000-5002/udp;\n"
	"	pool p port=82; sorry-pool q; snat 127.0.0.3; persistence keep;\n"
	"	monitor every { interval 1s; number 7; port 99; }\n"
	"	monitor every fall=9;\n"
	"}\n"
	"virtual-service w { listen 127.0.0.1:0 127.0.0.1:0; pool q; monitor off; enabled off; }\n"
	"console { listen 127.0.0.1:8090; allow 127.0.0.0/8; }\n";

static void
test_bind(void)
{
	struct arena *arena = arena_new();
	struct node *root = parse(arena, bind_text);
	struct config *config = config_bind(arena, root, NULL, test_module, NULL, &said);
	const struct service *v;
	const struct every *every;

	if (!ok(config != NULL, "binds")) {
		diag("%s", told());
		arena_free(arena);
		return;
	}
	is_str(told(), "", "without a word");
	is_int(config->n_pools, 2, "pools");
	is_int(config->n_services, 2, "services");
	v = config_service(config, "v");
	ok(v == &config->services[0] && !config_service(config, "x"), "by name");
	is_int(v->n_listeners, 5, "listeners of a service");
	is_int(config->n_listeners, 5, "those of a disabled one do not count");
	is_int(config->services[1].n_listeners, 2, "it has them all the same");
	ok(config->services[1].listeners[0].id != config->services[1].listeners[1].id,
	   "two of port 0 are two");
	for (uint32_t i = 0; i < v->n_listeners; i++)
		ok(config_listener(config, v->listeners[i].id) == &v->listeners[i],
		   "listener %u by id", i);
	ok(!config_listener(config, 1), "no such listener");
	ok(v->listeners[4].transport == TRANSPORT_UDP && v->listeners[4].addr.port == 5002,
	   "range");
	is_int(target_port(&v->target, &v->target.pool->servers[0], 443), 82, "the service's port");
	is_int(target_port(&v->target, &v->target.pool->servers[1], 443), 90, "the server's port");
	is_int(target_port(v->sorry, &v->sorry->pool->servers[0], 443), 443, "the client's port");
	is_int(v->target.pool->servers[1].weight, 7, "weight");
	is_int(v->target.pool->servers[0].weight, 100, "default weight");
	is_int((intmax_t)v->target.pool->slow_start.ms, 5000, "slow start");
	is_int(v->snat, SNAT_ON, "snat");
	is_int(v->snat_from.n, 1, "snat from");
	is_int((intmax_t)v->life.timeout_ms, 1000, "life of persistence");
	is_int(v->n_monitors, 2, "monitors");
	is_int((intmax_t)v->monitors[0].settings.timeout.ms, 1000, "timeout follows the interval");
	is_int(v->monitors[0].settings.port, 99, "port");
	is_int(v->monitors[1].settings.fall, 9, "fall");
	every = v->monitors[0].use.conf;
	ok(every->number == 7 && every->checked, "the module's own settings");
	is_int(config->n_console, 1, "console");
	is_int(config->global.console.allow.n, 1, "console allow");
	ok(v->target.seats[1].id != v->target.seats[0].id && v->target.seats[1].server->id, "ids");
	is_int(v->cell, UINT32_MAX, "no board, no cell");
	arena_free(arena);
}

static void
test_check(void)
{
	struct arena *arena = arena_new();
	struct node *root = parse(arena, "pool p { server a ::1; }\n"
		"virtual-service v { listen *:1; pool p; monitor every { flag on; number 7; } }");

	ok(!config_bind(arena, root, NULL, test_module, NULL, &said),
	   "refused by the module's check");
	is_str(told(), "f:2: monitor every: flag and number 7 do not go together\n",
	       "in its words");
	arena_free(arena);
}

/* With a board: equal names have equal cells, whoever asks; and a full table says so. */
static void
test_cells(void)
{
	const struct board_size small = { 16, 64, 16, 1024, 0, 0 };
	struct arena *arena = arena_new();
	struct sy_err err;
	int fd;
	struct board *board = board_new(&small, &fd, &err);
	struct node *root = parse(arena, bind_text);
	struct config *one = config_bind(arena, root, board, test_module, NULL, &said);
	struct config *two = config_bind(arena, root, board, test_module, NULL, &said);
	struct text many = { 0 };

	ok(one && two && one->services[0].cell == two->services[0].cell &&
	   one->pools[0].servers[1].cell == two->pools[0].servers[1].cell &&
	   one->services[0].target.seats[0].cell == two->services[0].target.seats[0].cell &&
	   one->services[0].cell != one->services[1].cell, "cells");
	if (!one || !two)
		diag("%s", told());
	text_puts(&many, "pool p {");
	for (unsigned i = 0; i < 100; i++)
		text_printf(&many, "server s%u 127.0.0.%u;", i, i);
	text_puts(&many, "} virtual-service v { listen *:1; pool p; monitor off; }");
	root = parse(arena, many.at);
	ok(!config_bind(arena, root, board, test_module, NULL, &said), "too many for the table");
	has_str(told(), "tables { cells N; }", "and it says what helps");
	text_free(&many);
	board_unmap(board);
	arena_free(arena);
}

static void
test_names(void)
{
	struct arena *arena = arena_new();
	struct names *names = names_new(arena);
	char name[16];
	bool good = true;

	for (uintptr_t i = 1; i <= 5000; i++) {
		snprintf(name, sizeof(name), "n%lu", (unsigned long)i);
		good &= !names_find(names, name);
		good &= !names_add(names, arena_text(arena, name), (void *)i);
		good &= names_add(names, name, names) == (void *)i;
	}
	for (uintptr_t i = 1; i <= 5000; i++) {
		snprintf(name, sizeof(name), "n%lu", (unsigned long)i);
		good &= names_find(names, name) == (void *)i;
	}
	ok(good, "5000 names");
	ok(!names_find(names, "n0") && !names_find(names, ""), "and no other");
	ok(strcmp(names_all(names)[4999], "n5000") == 0 && !names_all(names)[5000], "in order");
	arena_free(arena);
}

int
main(void)
{
	test_words();
	test_bombs();
	test_nul();
	test_places();
	test_flat();
	test_flat_hostile();
	test_presets();
	test_given();
	test_wrong();
	test_fill();
	test_blocks();
	test_blocks_fill();
	test_core_rows();
	test_bind();
	test_check();
	test_cells();
	test_names();
	text_free(&said.text);
	return done_testing();
}
