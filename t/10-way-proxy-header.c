/* PROXY headers, good, cut and hostile. Each good one is also fed byte by byte: it must say "more"
 * until the last byte and never change its mind. */
#include "net/proxy_header.h"

#include <string.h>

#include "base/text.h"
#include "t/tap.h"

struct good {
	const char *name, *bytes;
	size_t len;
	bool local;
	const char *source, *destination;
};

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define GOOD(name_, bytes_, ...) { .name = (name_), .bytes = (bytes_), .len = sizeof(bytes_) - 1, __VA_ARGS__ }
#define BAD(name_, bytes_, part_) { .name = (name_), .bytes = (bytes_), .len = sizeof(bytes_) - 1, .part = (part_) }

#define V4_ADDRS "\xc6\x33\x64\x07\xcb\x00\x71\x0a\x9c\x40\x13\xc5"
#define V6_ADDRS \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" "\x9c\x40\x01\xbb"
#define MAPPED_ADDRS \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x07" \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\x00\x71\x0a" "\x9c\x40\x13\xc5"

static const struct good goods[] = {
	GOOD("v1 IPv4", "PROXY TCP4 198.51.100.7 203.0.113.10 40000 5061\r\n",
	     .source = "198.51.100.7:40000", .destination = "203.0.113.10:5061"),
	GOOD("v1 IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n",
	     .source = "[2001:db8::1]:65535", .destination = "2001:db8::2"),
	GOOD("v1 IPv4-mapped becomes IPv4", "PROXY TCP6 ::ffff:198.51.100.7 ::ffff:203.0.113.10 1 2\r\n",
	     .source = "198.51.100.7:1", .destination = "203.0.113.10:2"),
	GOOD("v1 longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	     .source = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	     .destination = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
	GOOD("v1 UNKNOWN alone", "PROXY UNKNOWN\r\n", .local = true),
	GOOD("v1 UNKNOWN with words", "PROXY UNKNOWN ffff::1 ffff::1 1 2 and  more\r\n", .local = true),
	GOOD("v2 minimal", V2 "\x21\x11\x00\x0c" V4_ADDRS,
	     .source = "198.51.100.7:40000", .destination = "203.0.113.10:5061"),
	GOOD("v2 IPv6", V2 "\x21\x21\x00\x24" V6_ADDRS,
	     .source = "[2001:db8::1]:40000", .destination = "[2001:db8::2]:443"),
	GOOD("v2 IPv4-mapped becomes IPv4", V2 "\x21\x21\x00\x24" MAPPED_ADDRS,
	     .source = "198.51.100.7:40000", .destination = "203.0.113.10:5061"),
	GOOD("v2 LOCAL", V2 "\x20\x00\x00\x00", .local = true),
	GOOD("v2 LOCAL with addresses", V2 "\x20\x11\x00\x0c" V4_ADDRS, .local = true),
	GOOD("v2 LOCAL with rubbish", V2 "\x20\x11\x00\x03zzz", .local = true),
	GOOD("v2 unspecified family", V2 "\x21\x00\x00\x05zzzzz", .local = true),
	GOOD("v2 datagrams are not for us", V2 "\x21\x12\x00\x0c" V4_ADDRS, .local = true),
	GOOD("v2 empty TLVs and padding", V2 "\x21\x11\x00\x17" V4_ADDRS "\x04\x00\x05zzzzz\xee\x00\x00",
	     .source = "198.51.100.7:40000", .destination = "203.0.113.10:5061"),
	/* HAProxy 2.6 accepts this one, checksum and all. */
	GOOD("v2 with ALPN, AUTHORITY, UNIQUE_ID, SSL, CRC32C",
	     V2 "\x21\x11\x00\x78" V4_ADDRS "\x01\x00\x08http/1.1\x02\x00\x0fsip.example.org"
	     "\x05\x00\x08req-0001\x20\x00\x3a\x05\x00\x00\x00\x00\x21\x00\x07TLSv1.3"
	     "\x23\x00\x16TLS_AES_256_GCM_SHA384\x22\x00\x0f" "fe1.example.org"
	     "\x03\x00\x04\x1b\xa7\x8d\x02",
	     .source = "198.51.100.7:40000", .destination = "203.0.113.10:5061"),
};

static const struct bad {
	const char *name, *bytes;
	size_t len;
	const char *part;         /* of the problem's words */
} bads[] = {
	BAD("a request", "GET / HTTP/1.0\r\n\r\n", "no PROXY header"),
	BAD("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01", "no PROXY header"),
	BAD("small letters", "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no PROXY header"),
	BAD("one wrong letter", "PROXX TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no PROXY header"),
	BAD("a tab", "PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no PROXY header"),
	BAD("an empty line first", "\r\nPROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no PROXY header"),
	BAD("v1 family", "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "family"),
	BAD("v1 UDP4", "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "family"),
	BAD("v1 UNKNOWN with a tail", "PROXY UNKNOWNS 1.2.3.4 1.2.3.4 1 2\r\n", "family"),
	BAD("v1 two blanks", "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "six words"),
	BAD("v1 blank at the end", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "six words"),
	BAD("v1 too few", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "six words"),
	BAD("v1 nothing", "PROXY \r\n", "six words"),
	BAD("v1 bare LF", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "CRLF"),
	BAD("v1 stray CR", "PROXY TCP4\r 1.2.3.4 1.2.3.4 1 2\r\n", "stray CR"),
	BAD("v1 NUL", "PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", "NUL"),
	BAD("v1 NUL before the end", "PROXY TCP4 1.2.3.4\0", "NUL"),
	BAD("v1 source of the other family", "PROXY TCP4 2001:db8::1 1.2.3.4 1 2\r\n", "source"),
	BAD("v1 destination of the other family", "PROXY TCP6 2001:db8::1 1.2.3.4 1 2\r\n", "destination"),
	BAD("v1 short address", "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "source"),
	BAD("v1 octal address", "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", "source"),
	BAD("v1 name", "PROXY TCP4 localhost 1.2.3.4 1 2\r\n", "source"),
	BAD("v1 zone", "PROXY TCP6 fe80::1%lo 2001:db8::1 1 2\r\n", "source"),
	BAD("v1 port too large", "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "source port"),
	BAD("v1 port with zero", "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "source port"),
	BAD("v1 port with sign", "PROXY TCP4 1.2.3.4 1.2.3.4 1 +2\r\n", "destination port"),
	BAD("v1 negative port", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", "source port"),
	BAD("v1 long port", "PROXY TCP4 1.2.3.4 1.2.3.4 1 000000000000000000000000002\r\n", "destination port"),
	BAD("v1 port in letters", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2x\r\n", "destination port"),
	BAD("v1 without end", "PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "107 bytes"),
	BAD("v1 one byte too long", "PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", "107 bytes"),
	BAD("v2 version 1", V2 "\x11\x11\x00\x0c" V4_ADDRS, "version or command"),
	BAD("v2 version 3", V2 "\x31\x11\x00\x0c" V4_ADDRS, "version or command"),
	BAD("v2 command 2", V2 "\x22\x11\x00\x0c" V4_ADDRS, "version or command"),
	BAD("v2 command 2, cut", V2 "\x22", "version or command"),
	BAD("v2 family 4", V2 "\x21\x41\x00\x0c" V4_ADDRS, "family or transport"),
	BAD("v2 transport 3", V2 "\x21\x13\x00\x0c" V4_ADDRS, "family or transport"),
	BAD("v2 huge", V2 "\x21\x11\xff\xff", "4096"),
	BAD("v2 one byte over the limit", V2 "\x21\x11\x0f\xf1", "4096"),
	BAD("v2 no addresses", V2 "\x21\x11\x00\x00", "too short"),
	BAD("v2 addresses cut", V2 "\x21\x11\x00\x0b" V4_ADDRS, "too short"),
	BAD("v2 IPv6 with IPv4's length", V2 "\x21\x21\x00\x0c" V4_ADDRS, "too short"),
	BAD("v2 UNIX too short", V2 "\x21\x31\x00\x01z", "too short"),
	BAD("v2 TLV without length", V2 "\x21\x11\x00\x0e" V4_ADDRS "\x01\x00", "cut off"),
	BAD("v2 TLV too long", V2 "\x21\x11\x00\x0f" V4_ADDRS "\x01\x00\x01", "longer than the header"),
	BAD("v2 TLV far too long", V2 "\x21\x11\x00\x10" V4_ADDRS "\x01\xff\xffz", "longer than the header"),
	BAD("v2 checksum of 3 bytes", V2 "\x21\x11\x00\x12" V4_ADDRS "\x03\x00\x03zzz", "checksum is not"),
	BAD("v2 checksum wrong", V2 "\x21\x11\x00\x13" V4_ADDRS "\x03\x00\x04zzzz", "checksum is wrong"),
};

static void
try_good(const struct good *good)
{
	struct proxy_header header, part;
	char text[ADDR_TEXT_SIZE], after[600];
	bool steady = true;

	ok(proxy_header_read(sy_span(good->bytes, good->len), &header) == PROXY_DONE &&
	   header.len == good->len, "%s: read", good->name);
	ok(header.local == good->local, "%s: %s", good->name, good->local ? "local" : "not local");
	if (!good->local) {
		is_str(addr_text(&header.source, text), good->source, "%s: source", good->name);
		is_str(addr_text(&header.destination, text), good->destination, "%s: destination",
		       good->name);
	}
	for (size_t len = 0; len < good->len; len++)
		steady &= proxy_header_read(sy_span(good->bytes, len), &part) == PROXY_MORE;
	ok(steady, "%s: each of its beginnings wants more", good->name);
	memcpy(after, good->bytes, good->len);
	memcpy(after + good->len, "hello", 5);
	ok(proxy_header_read(sy_span(after, good->len + 5), &part) == PROXY_DONE &&
	   part.len == good->len, "%s: what follows is the client's", good->name);
}

static void
try_bad(const struct bad *bad)
{
	struct proxy_header header;

	if (ok(proxy_header_read(sy_span(bad->bytes, bad->len), &header) == PROXY_WRONG,
	       "refused: %s", bad->name))
		has_str(header.problem, bad->part, "in words: %s", bad->name);
}

/* Any single flipped bit of the header with a checksum is noticed, unless it makes it another kind
 * of header (shorter ones want more, LOCAL has no addresses to protect). */
static void
try_flips(const struct good *good)
{
	unsigned accepted = 0;

	for (size_t bit = 8 * 16; bit < good->len * 8; bit++) {
		struct proxy_header header;
		uint8_t bytes[256];

		memcpy(bytes, good->bytes, good->len);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		/* A checksum that is no checksum any more protects nothing. */
		if (bit / 8 == good->len - 7)
			continue;
		accepted += proxy_header_read(sy_span(bytes, good->len), &header) == PROXY_DONE;
	}
	is_uint(accepted, 0, "no flipped bit behind the head gets past the checksum");
}

static void
try_made(void)
{
	static const char *const pairs[][2] = {
		{ "198.51.100.7:40000", "203.0.113.10:5061" },
		{ "[2001:db8::1]:1", "[2001:db8::2]:65535" },
		{ "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
		  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" },
	};
	struct sy_addr source, destination;
	struct proxy_header header;
	uint8_t made[PROXY_MADE_MAX];

	for (unsigned version = 1; version <= 2; version++) {
		for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
			size_t len;

			addr_parse(pairs[i][0], &source);
			addr_parse(pairs[i][1], &destination);
			len = proxy_header_make(version, &source, &destination, made);
			ok(proxy_header_read(sy_span(made, len), &header) == PROXY_DONE &&
			   header.len == len && !header.local, "v%u made for %s", version, pairs[i][0]);
			is_mem(&header.source, &source, sizeof(source), "v%u source", version);
			is_mem(&header.destination, &destination, sizeof(source), "v%u destination",
			       version);
		}
		addr_parse(pairs[0][0], &source);
		addr_parse(pairs[1][1], &destination);
		ok(proxy_header_read(sy_span(made, proxy_header_make(version, &source, &destination,
		                                                     made)), &header) == PROXY_DONE &&
		   header.local, "v%u of two families says nothing", version);
	}
}

int
main(void)
{
	is_uint(proxy_crc32c(0, (const uint8_t *)"123456789", 9), 0xe3069283, "CRC-32C check value");
	for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); i++)
		try_good(&goods[i]);
	for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++)
		try_bad(&bads[i]);
	try_flips(&goods[sizeof(goods) / sizeof(goods[0]) - 1]);
	try_made();
	return done_testing();
}
