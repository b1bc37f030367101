/* Text: the buffer, JSON, values as operators write them, "did you mean". */
#include "base/hash.h"
#include "base/text.h"
#include "tap.h"

static void
test_buffer(void)
{
	struct text text = { 0 };
	char *big = malloc(100001);
	bool right = true;

	text_add(&text, NULL, 0);
	is_str(text.at, "", "buffer: nothing added is an empty text");
	text_puts(&text, "ab");
	text_add(&text, "cdef", 2);
	text_printf(&text, "%d-%s", 5, "x");
	is_str(text.at, "abcd5-x", "buffer: added, put, printed");
	is_uint(text.len, 7, "buffer: its length");
	text_add(&text, "\0z", 2);
	is_mem(text.at, "abcd5-x\0z", 10, "buffer: any byte");
	text_free(&text);
	ok(!text.at && text.len == 0 && text.size == 0, "buffer: free is empty");
	text_free(&text);

	/* Around each border of a growing buffer. */
	memset(big, 'y', 100000);
	big[100000] = '\0';
	for (size_t len = 0; len < 600 && right; len++) {
		text_printf(&text, "%.*s", (int)len, big);
		right = text.len == len && strlen(text.at) == len && text.size > len;
		text_free(&text);
		for (size_t i = 0; i < len; i++)
			text_add(&text, "y", 1);
		right &= text.len == len && (len == 0 || strlen(text.at) == len);
		text_free(&text);
	}
	ok(right, "buffer: every length to 600, at once and byte by byte");
	text_puts(&text, big);
	text_printf(&text, "%s", big);
	is_uint(strlen(text.at), 200000, "buffer: large");
	text_free(&text);
	free(big);
}

struct text_case {
	const char *in;
	size_t len;
	const char *want;
	const char *name;
};

#define IN(bytes) bytes, sizeof(bytes) - 1

static void
test_escapes(const char *what, void (*add)(struct text *text, const char *bytes, size_t len),
	     const struct text_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct text text = { 0 };
		/* A block of its own, so that the sanitizer sees a byte read too many. */
		char *copy = malloc(cases[i].len + 1);
		char *in = memcpy(copy + 1, cases[i].in, cases[i].len);

		add(&text, in, cases[i].len);
		is_str(text.at, cases[i].want, "%s: %s", what, cases[i].name);
		text_free(&text);
		free(copy);
	}
}

#define BAD "\xef\xbf\xbd"

static void
test_json(void)
{
	static const struct text_case cases[] = {
		{ IN(""), "\"\"", "nothing" },
		{ IN("edge1 up"), "\"edge1 up\"", "plain" },
		{ IN("\"\\/"), "\"\\\"\\\\/\"", "quote, backslash, slash" },
		{ IN("\n\r\t\b\f"), "\"\\n\\r\\t\\b\\f\"", "those with letters" },
		{ IN("a\0b\x01\x1f\x7f"), "\"a\\u0000b\\u0001\\u001f\\u007f\"",
		  "other control characters" },
		{ IN("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
		  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
		  "UTF-8 of 2, 3, 4 bytes" },
		{ IN("\xf4\x8f\xbf\xbf"), "\"\xf4\x8f\xbf\xbf\"", "U+10FFFF, the last" },
		{ IN("\xed\x9f\xbf\xee\x80\x80"), "\"\xed\x9f\xbf\xee\x80\x80\"",
		  "around the surrogates" },
		{ IN("a\xff" "b\xfe"), "\"a" BAD "b" BAD "\"", "bytes that are never UTF-8" },
		{ IN("\x80\xbf"), "\"" BAD BAD "\"", "continuations without a beginning" },
		{ IN("\xc0\xaf"), "\"" BAD BAD "\"", "overlong slash" },
		{ IN("\xe0\x9f\xbf"), "\"" BAD BAD BAD "\"", "overlong, 3 bytes" },
		{ IN("\xf0\x8f\xbf\xbf"), "\"" BAD BAD BAD BAD "\"", "overlong, 4 bytes" },
		{ IN("\xed\xa0\x80"), "\"" BAD BAD BAD "\"", "surrogate" },
		{ IN("\xf4\x90\x80\x80"), "\"" BAD BAD BAD BAD "\"", "above U+10FFFF" },
		{ IN("x\xe2\x82"), "\"x" BAD "\"", "cut at the end: one for all of it" },
		{ IN("\xe2\x82z"), "\"" BAD "z\"", "cut in the middle" },
		{ IN("\xe2\x82\xe2\x82\xac"), "\"" BAD "\xe2\x82\xac\"", "cut, then whole" },
		{ IN("\xf0\x9f\x98\"\\"), "\"" BAD "\\\"\\\\\"", "cut before a quote" },
		{ IN("\xc3"), "\"" BAD "\"", "a first byte alone" },
	};

	test_escapes("json", text_json, cases, sizeof(cases) / sizeof(cases[0]));
}

static void
test_plain(void)
{
	static const struct text_case cases[] = {
		{ IN(""), "", "nothing" },
		{ IN("caf\xc3\xa9 \"q\" \\"), "caf\xc3\xa9 \"q\" \\", "what is printable stays" },
		{ IN("a\nb\r\tc"), "a\\nb\\r\\tc", "line ends and tabs" },
		{ IN("\x1b[31m\0\x7f"), "\\x1b[31m\\x00\\x7f", "what a terminal would obey" },
		{ IN("\xc2\x9b" "1m\xc2\xa0"), "\\xc2\\x9b1m\xc2\xa0", "and the same in UTF-8" },
		{ IN("\xff\xe2\x82" "a"), "\\xff\\xe2\\x82a", "bytes that are not UTF-8" },
	};

	test_escapes("plain", text_plain, cases, sizeof(cases) / sizeof(cases[0]));
}

/* Any bytes give JSON of printable bytes and valid UTF-8: what comes out, put in again as the
 * content of a string, has nothing to replace. */
static void
test_json_any(void)
{
	uint64_t state = 42;
	bool right = true;

	for (int turn = 0; turn < 20000 && right; turn++) {
		struct text once = { 0 };
		char bytes[24];
		size_t len = hash_random(&state) % sizeof(bytes), replaced = 0, quotes = 0;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (char)(hash_random(&state) % 3 ? 0x80 | hash_random(&state)
								  : hash_random(&state));
		text_json(&once, bytes, len);
		for (size_t i = 0; i < once.len; i++) {
			right &= (unsigned char)once.at[i] >= 0x20;
			if (once.at[i] == '\\')
				i++;
			else
				quotes += once.at[i] == '"';
		}
		for (const char *at = once.at; (at = strstr(at, BAD)); at += 3)
			replaced++;
		right &= quotes == 2 && replaced <= len && strlen(once.at) == once.len;
		if (right) {
			struct text again = { 0 };
			size_t more = 0;

			text_json(&again, once.at + 1, once.len - 2);
			for (const char *at = again.at; (at = strstr(at, BAD)); at += 3)
				more++;
			right &= more == replaced;
			text_free(&again);
		}
		text_free(&once);
	}
	ok(right, "json: 20000 random inputs give one string each, valid UTF-8");
}

static void
test_uint(void)
{
	static const char *const bad[] = {
		"", " 1", "1 ", "+1", "-1", "0x10", "1e3", "1.0", "a", "18446744073709551616",
		"99999999999999999999999", NULL,
	};
	uint64_t n = 7;

	ok(uint_parse("0", &n) && n == 0, "uint: 0");
	ok(uint_parse("007", &n) && n == 7, "uint: 007");
	ok(uint_parse("18446744073709551615", &n) && n == UINT64_MAX, "uint: the largest");
	n = 7;
	for (size_t i = 0; bad[i]; i++)
		ok(!uint_parse(bad[i], &n), "uint: \"%s\" is refused", bad[i]);
	is_uint(n, 7, "uint: refused input changes nothing");
}

struct value_case {
	const char *text;
	uint64_t value;
	const char *back; /* NULL: the same */
};

static void
test_values(const char *what, bool (*parse)(const char *, uint64_t *),
	    const char *(*print)(uint64_t, char *), const struct value_case *good,
	    const char *const *bad)
{
	uint64_t value = 7, state = 9;
	char out[DURATION_TEXT_SIZE];
	bool right = true;

	for (; good->text; good++) {
		ok(parse(good->text, &value), "%s: \"%s\" is understood", what, good->text);
		is_uint(value, good->value, "%s: its value", what);
		is_str(print(value, out), good->back ? good->back : good->text, "%s: printed",
		       what);
	}
	value = 7;
	for (; *bad; bad++)
		ok(!parse(*bad, &value), "%s: \"%s\" is refused", what, *bad);
	is_uint(value, 7, "%s: refused input changes nothing", what);
	for (int i = 0; i < 100000 && right; i++) {
		uint64_t any = hash_random(&state) >> hash_random(&state) % 64;

		right = parse(print(any, out), &value) && value == any;
	}
	ok(right, "%s: any value is printed so that it is read back exactly (%s)", what, out);
	ok(parse(print(UINT64_MAX, out), &value) && value == UINT64_MAX, "%s: the largest", what);
}

static const char *
print_duration(uint64_t ms, char *out)
{
	return duration_text(ms, out);
}

static const char *
print_bytes(uint64_t n, char *out)
{
	return bytes_text(n, out);
}

static void
test_durations(void)
{
	static const struct value_case good[] = {
		{ "250ms", 250, NULL },
		{ "5s", 5000, NULL },
		{ "30m", 1800000, NULL },
		{ "20h", 72000000, NULL },
		{ "7d", 604800000, NULL },
		{ "1500ms", 1500, NULL },
		{ "90s", 90000, NULL },
		{ "1800", 1800000, "30m" },
		{ "0", 0, "0s" },
		{ "0ms", 0, "0s" },
		{ "24h", 86400000, "1d" },
		{ "3600s", 3600000, "1h" },
		{ "61m", 3660000, NULL },
		{ "005s", 5000, "5s" },
		{ "213503982334d", UINT64_C(213503982334) * 86400000, NULL },
		{ NULL, 0, NULL },
	};
	static const char *const bad[] = {
		"", "s", "ms", "5 s", " 5s", "5s ", "-5s", "+5s", "1.5s", "5S", "5M", "5sec",
		"5min", "5w", "1h30m", "5ss", "5sm", "m5", "213503982335d", "18446744073709552s",
		"18446744073709551616ms", "99999999999999999999999999999999s", "1e3", "0x5s",
		"5\ns", NULL,
	};

	test_values("duration", duration_parse, print_duration, good, bad);
}

static void
test_bytes(void)
{
	static const struct value_case good[] = {
		{ "0", 0, NULL },
		{ "1500", 1500, NULL },
		{ "64k", 65536, NULL },
		{ "16m", 16777216, NULL },
		{ "1g", 1073741824, NULL },
		{ "64K", 65536, "64k" },
		{ "2G", UINT64_C(2147483648), "2g" },
		{ "1024", 1024, "1k" },
		{ "2048k", 2097152, "2m" },
		{ "4096g", UINT64_C(1) << 42, NULL },
		{ "17179869183g", UINT64_C(17179869183) << 30, NULL },
		{ NULL, 0, NULL },
	};
	static const char *const bad[] = {
		"", "k", "64kb", "64 k", " 64k", "-1", "+1", "1.5m", "64t", "64kk",
		"17179869184g", "18446744073709551616", "999999999999999999999999999999g", "0x10",
		NULL,
	};

	test_values("bytes", bytes_parse, print_bytes, good, bad);
}

static void
test_age(void)
{
	static const struct {
		uint64_t ms;
		const char *want;
	} cases[] = {
		{ 0, "0s" },
		{ 999, "0s" },
		{ 1000, "1s" },
		{ 4999, "4s" },
		{ 59999, "59s" },
		{ 60000, "1m" },
		{ 725000, "12m5s" },
		{ 3599999, "59m59s" },
		{ 3600000, "1h" },
		{ 3660000, "1h1m" },
		{ 3601000, "1h" },
		{ 86399999, "23h59m" },
		{ 86400000, "1d" },
		{ 273600000, "3d4h" },
		{ 86400000 + 59000, "1d" },
		{ UINT64_MAX, "213503982334d14h" },
	};
	char out[DURATION_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_str(age_text(cases[i].ms, out), cases[i].want, "age: %" PRIu64 " ms",
		       cases[i].ms);
}

static struct sy_addr
addr_of(uint8_t family, const char *ip, uint16_t port)
{
	struct sy_addr addr = { .family = family, .port = port };

	memcpy(addr.ip, ip, family == SY_IPV4 ? 4 : 16);
	return addr;
}

#define V6(tail) "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0" tail
#define ONE "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"

static void
test_addr(void)
{
	static const struct {
		const char *text;
		uint8_t family;
		const char *ip;
		uint16_t port;
		const char *back, *ip_back;
	} good[] = {
		{ "192.0.2.1", SY_IPV4, "\xc0\0\2\1", 0, "192.0.2.1", "192.0.2.1" },
		{ "192.0.2.1:80", SY_IPV4, "\xc0\0\2\1", 80, "192.0.2.1:80", "192.0.2.1" },
		{ "192.0.2.1:0", SY_IPV4, "\xc0\0\2\1", 0, "192.0.2.1", "192.0.2.1" },
		{ "255.255.255.255:65535", SY_IPV4, "\xff\xff\xff\xff", 65535,
		  "255.255.255.255:65535", "255.255.255.255" },
		{ "*:80", SY_IPV4, "\0\0\0\0", 80, "0.0.0.0:80", "0.0.0.0" },
		{ "*", SY_IPV4, "\0\0\0\0", 0, "0.0.0.0", "0.0.0.0" },
		{ "::1", SY_IPV6, ONE, 0, "::1", "::1" },
		{ "[::1]", SY_IPV6, ONE, 0, "::1", "::1" },
		{ "[::1]:80", SY_IPV6, ONE, 80, "[::1]:80", "::1" },
		{ "2001:DB8:0:0:0:0:0:1", SY_IPV6, V6("\1"), 0, "2001:db8::1", "2001:db8::1" },
		{ "[2001:db8::1]:5061", SY_IPV6, V6("\1"), 5061, "[2001:db8::1]:5061",
		  "2001:db8::1" },
		{ "::ffff:192.0.2.1", SY_IPV4, "\xc0\0\2\1", 0, "192.0.2.1", "192.0.2.1" },
		{ "[::ffff:c000:201]:443", SY_IPV4, "\xc0\0\2\1", 443, "192.0.2.1:443",
		  "192.0.2.1" },
	};
	static const char *const bad[] = {
		"", ":", ":80", "192.0.2", "192.0.2.1.1", "192.0.2.256", "192.0.2.01",
		"192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:+1", "192.0.2.1: 80",
		"192.0.2.1:80 ", " 192.0.2.1", "192.0.2.1:http", "192.0.2.1:80:90",
		"[192.0.2.1]:80", "[::1", "::1]", "[::1]80", "[::1]:", "[::1]:65536", "[]",
		"[]:80", "[*]:80", "[[::1]]", ":::", "1:2:3:4:5:6:7:8:9", "12345::", "::g",
		"fe80::1%eth0", "*:", "**", "*:x", "edge1", "edge1:5061", "localhost",
		"0x7f.0.0.1", "127.1", "2130706433", "192.0.2.1/24", "[2001:db8::1/64]:80",
		"1111111111111111111111111111111111111111111111111111111111111111111111", NULL,
	};
	char out[ADDR_TEXT_SIZE];
	struct sy_addr addr, none = { 0 };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct sy_addr want = addr_of(good[i].family, good[i].ip, good[i].port), again;

		memset(&addr, 0xaa, sizeof(addr));
		ok(addr_parse(good[i].text, &addr), "addr: \"%s\" is understood", good[i].text);
		is_mem(&addr, &want, sizeof(addr), "addr: its bytes");
		is_str(addr_text(&addr, out), good[i].back, "addr: printed");
		ok(addr_parse(out, &again) && memcmp(&again, &addr, sizeof(addr)) == 0,
		   "addr: and back");
		is_str(addr_ip_text(&addr, out), good[i].ip_back, "addr: printed without port");
	}
	memset(&addr, 0xaa, sizeof(addr));
	for (size_t i = 0; bad[i]; i++)
		ok(!addr_parse(bad[i], &addr), "addr: \"%s\" is refused", bad[i]);
	ok(addr.family == 0xaa && addr.zero == 0xaa, "addr: refused input changes nothing");
	is_str(addr_text(&none, out), "-", "addr: none");
	is_str(addr_ip_text(&none, out), "-", "addr: none, without port");
	memset(addr.ip, 0xff, 16);
	addr.family = SY_IPV6;
	addr.port = 65535;
	is_str(addr_text(&addr, out), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	       "addr: the longest");
}

static void
test_net(void)
{
	static const struct {
		const char *text;
		uint8_t family, bits;
		const char *ip, *back;
	} good[] = {
		{ "10.0.0.0/8", SY_IPV4, 8, "\x0a\0\0\0", "10.0.0.0/8" },
		{ "10.1.2.3", SY_IPV4, 32, "\x0a\1\2\3", "10.1.2.3" },
		{ "10.1.2.3/32", SY_IPV4, 32, "\x0a\1\2\3", "10.1.2.3" },
		{ "0.0.0.0/0", SY_IPV4, 0, "\0\0\0\0", "0.0.0.0/0" },
		{ "10.1.2.128/25", SY_IPV4, 25, "\x0a\1\2\x80", "10.1.2.128/25" },
		{ "10.128.0.0/9", SY_IPV4, 9, "\x0a\x80\0\0", "10.128.0.0/9" },
		{ "2001:db8::/32", SY_IPV6, 32, V6("\0"), "2001:db8::/32" },
		{ "2001:db8::1", SY_IPV6, 128, V6("\1"), "2001:db8::1" },
		{ "::/0", SY_IPV6, 0, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "::/0" },
		{ "::ffff:10.0.0.0/104", SY_IPV4, 8, "\x0a\0\0\0", "10.0.0.0/8" },
		{ "::ffff:10.1.2.3", SY_IPV4, 32, "\x0a\1\2\3", "10.1.2.3" },
	};
	static const char *const bad[] = {
		"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8",
		"10.0.0.0/ 8", "10.0.0.0/8 ", "10.0.0.0/8/8", "10.0.0.0/255.0.0.0", "10.0.0.1/8",
		"10.0.0.1/31", "10.1.2.129/25", "10/8", "10.0.0/8", "10.0.0.0:80",
		"10.0.0.0:80/8", "[::1]/128", "::1/127", "2001:db8::/129", "2001:db8:1::/32",
		"::ffff:10.0.0.0/95", "::ffff:10.0.0.0/8", "::ffff:10.0.0.1/104", "*", "*/0",
		"any", "fe80::%eth0/10",
		"1111111111111111111111111111111111111111111111111111111111111111111111/8", NULL,
	};
	char out[ADDR_TEXT_SIZE];
	struct sy_net net;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct sy_addr want = addr_of(good[i].family, good[i].ip, 0);
		struct sy_net again;

		memset(&net, 0xaa, sizeof(net));
		ok(net_parse(good[i].text, &net), "net: \"%s\" is understood", good[i].text);
		is_mem(&net.addr, &want, sizeof(want), "net: its bytes");
		is_uint(net.bits, good[i].bits, "net: its bits");
		is_str(net_text(&net, out), good[i].back, "net: printed");
		ok(net_parse(out, &again) &&
		       memcmp(&again.addr, &net.addr, sizeof(net.addr)) == 0 &&
		       again.bits == net.bits,
		   "net: and back");
	}
	net.bits = 77;
	for (size_t i = 0; bad[i]; i++)
		ok(!net_parse(bad[i], &net), "net: \"%s\" is refused", bad[i]);
	is_uint(net.bits, 77, "net: refused input changes nothing");
}

/* Every length of prefix of random addresses: what the mask leaves is accepted, printed and read
 * back; one bit more is refused. */
static void
test_net_any(void)
{
	uint64_t state = 5;
	bool right = true;

	for (int turn = 0; turn < 20000 && right; turn++) {
		struct sy_net net = { .addr = { .family = turn % 2 ? SY_IPV4 : SY_IPV6 } }, again;
		unsigned size = turn % 2 ? 4 : 16,
			 bits = (unsigned)(hash_random(&state) % (size * 8 + 1));
		char out[ADDR_TEXT_SIZE];

		for (unsigned i = 0; i < size; i++)
			net.addr.ip[i] = (uint8_t)hash_random(&state);
		net.addr.ip[0] |= 0x20; /* never ::ffff:0:0/96 */
		net.addr = sy_addr_mask(net.addr, bits);
		if (bits < 3)
			net.addr.ip[0] &= (uint8_t)(0xff00u >> bits);
		net.bits = (uint8_t)bits;
		right = net_parse(net_text(&net, out), &again) && again.bits == bits &&
		        memcmp(&again.addr, &net.addr, sizeof(net.addr)) == 0;
		if (right && bits < size * 8) {
			net.addr.ip[bits / 8] |= (uint8_t)(0x80u >> bits % 8);
			right = !net_parse(net_text(&net, out), &again);
		}
		if (!right)
			diag("%s", out);
	}
	ok(right, "net: 20000 random networks");
}

static void
test_nearest(void)
{
	static const char *const words[] = {
		"listen", "protocol", "pool", "scheduler", "persistence", "monitor", "snat",
		"idle-timeout", "on", "off", "least-connections", "", "round-robin",
		"a-word-so-long-that-nobody-would-ever-mean-it-by-mistake", NULL,
	};
	static const struct {
		const char *word, *want;
	} cases[] = {
		{ "listen", "listen" },
		{ "lisen", "listen" },
		{ "listten", "listen" },
		{ "lisetn", "listen" },
		{ "lixten", "listen" },
		{ "Listen", "listen" },
		{ "LISTEN", "listen" },
		{ "schedular", "scheduler" },
		{ "sheduler", "scheduler" },
		{ "persistance", "persistence" },
		{ "idle_timeout", "idle-timeout" },
		{ "idletimeout", "idle-timeout" },
		{ "last-connection", "least-connections" },
		{ "poll", "pool" },
		{ "nsat", "snat" },
		{ "of", "off" },
		{ "no", "on" },
		{ "o", "on" },
		{ "roundrobin", "round-robin" },
		{ "x", NULL },
		{ "zz", NULL },
		{ "", NULL },
		{ "certificate", NULL },
		{ "lxxxen", NULL },
		{ "nothing-like-any-of-them", NULL },
		{ "a-word-so-long-that-nobody-would-ever-mean-it-by-mistake", NULL },
	};
	static const char *const none[] = { NULL };
	static const char *const alike[] = { "tries", "tried", "try", NULL };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_str(text_nearest(cases[i].word, words), cases[i].want, "nearest: \"%s\"",
		       cases[i].word);
	is_str(text_nearest("listen", none), NULL, "nearest: of no words");
	is_str(text_nearest("trie", alike), "tries", "nearest: the first of equally near ones");
	is_str(text_nearest("tried", alike), "tried", "nearest: but the nearest");
}

int
main(void)
{
	test_buffer();
	test_json();
	test_plain();
	test_json_any();
	test_uint();
	test_durations();
	test_bytes();
	test_age();
	test_addr();
	test_net();
	test_net_any();
	test_nearest();
	return done_testing();
}
