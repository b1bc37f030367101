/* Protocol turn without the core: messages of both dialects, datagrams, streams, allocations. Vectors
 * are RFC 5769's, and others that real peers accept. */
#include "tap.h"

#include "modules/monitor/turn/build.h"
#include "modules/protocol/turn/stream.h"

#define TID "2112a4420102030405060708090a0b0c"
#define ALLOCATE "00030008" TID "0019000411000000"
#define CHALLENGE "01130030" TID "0009001000000401556e617574686f72697a6564" \
	"0014000b6578616d706c652e6f726700001500056e306e6365000000"
#define ALLOCATED "01030020" TID "001600080001e242e112a64d000d0004000002580020000800013a4ae112a643"
#define REFRESH_0 "00040008" TID "000d000400000000"
#define REFRESHED_0 "01040008" TID "000d000400000000"
#define REFRESH "00040008" TID "000d0004000004b0"
#define REFRESHED "01040008" TID "000d0004000004b0"
#define MS_TID "000102030405060708090a0b0c0d0e0f"
#define MS_COOKIE "000f000472c64bc6"
#define MS_ALLOCATE "00030018" MS_TID MS_COOKIE "8008000400000006" "8055000400010001"
#define MS_CHALLENGE "01130052" MS_TID MS_COOKIE "0009001000000401556e617574686f72697a6564" \
	"0015000a227274636d6564696122" "00140010" "30313233343536373839616263646566" \
	"8008000400000006" "000e000800010d96cb00711e"
#define MS_ALLOCATED "0103001c" MS_TID MS_COOKIE "000d0004000000b4" "000100080001c350c000020f"
#define ZERO_32 "0000000000000000000000000000000000000000000000000000000000000000"
#define PSEUDO "160301002d010000290301" ZERO_32 "00000200180100"
#define PSEUDO_BACK "160301004e020000460301" ZERO_32 "20" ZERO_32 "0018000e000000"

static uint8_t bytes[70000];

static struct sy_span
hex(const char *digits)
{
	size_t n = 0;
	unsigned byte;

	for (; digits[0] && digits[1]; digits += 2) {
		if (sscanf(digits, "%2x", &byte) != 1)
			bail_out("not hexadecimal: %s", digits);
		bytes[n++] = (uint8_t)byte;
	}
	return sy_span(bytes, n);
}

static const char *
address(const struct sy_addr *addr)
{
	static char text[64];
	int n = 0;

	text[0] = '\0';
	if (addr->family == SY_IPV4)
		snprintf(text, sizeof(text), "%u.%u.%u.%u:%u", addr->ip[0], addr->ip[1], addr->ip[2],
		         addr->ip[3], addr->port);
	for (int i = 0; addr->family == SY_IPV6 && i < 16; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%02x", addr->ip[i]);
	if (n)
		snprintf(text + n, sizeof(text) - (size_t)n, ":%u", addr->port);
	return text;
}

/* Messages. */

static struct stun
read_fine(const char *digits, const char *name)
{
	struct stun message;

	memset(&message, 0, sizeof(message));
	is_int(stun_read(hex(digits), &message), STUN_FINE, "%s is read", name);
	return message;
}

static bool
verifies(const char *digits, struct sy_span key)
{
	struct stun message;
	struct sy_span in = hex(digits);

	return stun_read(in, &message) == STUN_FINE && build_verify(in, &message, key);
}

static void
test_rfc_5769(void)
{
	uint8_t key[BUILD_KEY];
	static const char request[] = "000100582112a442b7e7a701bc34d686fa87dfae"
		"802200105354554e207465737420636c69656e74" "002400046e0001ff" "80290008932ff9b151263b36"
		"000600096576746a3a68367659202020" "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
		"80280004e57a3bcf";
	static const char answer4[] = "0101003c2112a442b7e7a701bc34d686fa87dfae"
		"8022000b7465737420766563746f7220" "002000080001a147e112a643"
		"000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7" "80280004c07d4c96";
	static const char answer6[] = "010100482112a442b7e7a701bc34d686fa87dfae"
		"8022000b7465737420766563746f7220" "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
		"00080014a382954e4be67bf11784c97c8292c275bfe3ed41" "80280004c8fb0b4c";
	static const char long_term[] = "000100602112a44278ad3433c6ad72c029da412e"
		"00060012e3839ee38388e383aae38383e382afe382b90000"
		"0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
		"0014000b6578616d706c652e6f726700" "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";
	struct stun message = read_fine(request, "RFC 5769 2.1");

	ok(message.method == STUN_BINDING && message.class == STUN_REQUEST, "a Binding request");
	ok(message.user.len == 9 && memcmp(message.user.at, "evtj:h6vY", 9) == 0, "its user name");
	message = read_fine(answer4, "RFC 5769 2.2");
	is_str(address(&message.mapped), "192.0.2.1:32853", "the mapped address");
	message = read_fine(answer6, "RFC 5769 2.3");
	is_str(address(&message.mapped), "20010db8123456780011223344556677:32853", "of IPv6");
	message = read_fine(long_term, "RFC 5769 2.4");
	is_uint(message.user.len, 18, "six characters of three bytes");
	is_uint(message.realm.len, 11, "realm");
	is_uint(message.nonce.len, 28, "nonce");
	for (unsigned i = 0; i < 3; i++)
		ok(verifies(i == 0 ? request : i == 1 ? answer4 : answer6,
		            sy_span_text("VOkJxbRl1RmTxUk/WvJxBt")), "integrity of 2.%u", i + 1);
	ok(build_key(sy_span_text("\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf"
	                          "\xe3\x82\xb9"), sy_span_text("example.org"),
	             sy_span_text("TheMatrIX"), key) && verifies(long_term, sy_span(key, BUILD_KEY)),
	   "integrity of 2.4, long-term credentials");
	hex(request);
	bytes[30] ^= 1;
	is_int(stun_read(sy_span(bytes, 108), &message), STUN_FINGERPRINT, "a changed bit is seen");
}

/* What is made is what is in the vectors; and what is made in Microsoft's dialect can be verified. */
static void
test_made(void)
{
	static const uint8_t tid[STUN_TID] = { 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
	static const struct sy_addr peer = { .ip = { 192, 0, 2, 150 }, .port = 32102, .family = SY_IPV4 };
	static const char wanted[] = "00030058" TID "001900041100000000060005616c6963650000000014000b6578616d"
		"706c652e6f7267000015001031366164363030396232636663383338000800144b86f6b6542ff0494ffb404de7"
		"9ec51461ad625d80280004565d5c3d";
	struct build build;
	struct stun message;
	struct sy_span made, is;
	uint8_t key[BUILD_KEY];

	ok(build_key(sy_span_text("alice"), sy_span_text("example.org"), sy_span_text("s3cret"), key) &&
	   memcmp(key, hex("8b83b40c22906c0c67a3c5bcc491bc14").at, BUILD_KEY) == 0, "key of alice");
	build_begin(&build, STUN_RFC, false, 0x0003, tid);
	build_number(&build, 0x0019, UINT32_C(17) << 24);
	build_bytes(&build, 0x0006, sy_span_text("alice"));
	build_bytes(&build, 0x0014, sy_span_text("example.org"));
	build_bytes(&build, 0x0015, sy_span_text("16ad6009b2cfc838"));
	build_integrity(&build, sy_span(key, BUILD_KEY));
	made = build_end(&build);
	is = hex(wanted);
	ok(made.len == is.len && memcmp(made.at, is.at, is.len) == 0, "an Allocate is made to the byte");
	build_begin(&build, STUN_RFC, false, 0x0009, tid);
	build_address(&build, 0x0012, &peer);
	made = build_end(&build);
	is = hex("0012000800015c74e112a6d4");
	ok(memcmp(made.at + STUN_HEADER, is.at, is.len) == 0, "an address, XORed");
	/* Its transactions have no cookie in front. */
	build_begin(&build, STUN_MS, true, 0x0003, (const uint8_t *)"0123456789abcdef");
	build_bytes(&build, 0x0006, sy_span_text("binary"));
	build_integrity(&build, sy_span(key, BUILD_KEY));
	made = build_end(&build);
	ok(made.at[0] == MS_FRAME_CONTROL && stun_16(made.at + 2) == made.len - MS_FRAME, "framed");
	made = sy_span(made.at + MS_FRAME, made.len - MS_FRAME);
	ok(stun_read(made, &message) == STUN_FINE && message.dialect == STUN_MS &&
	   build_verify(made, &message, sy_span(key, BUILD_KEY)), "Microsoft's integrity verifies");
	build.bytes[MS_FRAME + 33] ^= 1;
	ok(!build_verify(made, &message, sy_span(key, BUILD_KEY)), "and does not when a bit is changed");
}

static void
test_vectors(void)
{
	struct stun message = read_fine("00010000" TID, "Binding");

	is_int(message.method, STUN_BINDING, "it is one");
	read_fine("00010008" TID "802800045b20f9cc", "Binding with fingerprint");
	message = read_fine(ALLOCATE, "Allocate");
	ok(message.method == STUN_ALLOCATE && !message.integrity_at, "it is one, without credentials");
	read_fine("00030010" TID "00190004110000008028000441c778f0", "the same with fingerprint");
	message = read_fine(CHALLENGE, "401");
	ok(message.class == STUN_ERROR && message.error == 401, "it is an error, 401");
	ok(message.realm.len == 11 && message.nonce.len == 5, "with realm and nonce");
	message = read_fine(ALLOCATED, "Allocate success");
	is_str(address(&message.relayed), "192.0.2.15:50000", "the relayed address");
	is_str(address(&message.mapped), "192.0.2.1:7000", "the mapped address");
	is_uint(message.lifetime_s, 600, "its lifetime");
	message = read_fine("00090014" TID "000c0004400000000012000800015c74e112a6d4", "ChannelBind");
	is_str(address(&message.peer), "192.0.2.150:32102", "the peer");
	message = read_fine("01010018" TID "00200014000220a90113a9fa0102030405060708090a0b0d", "IPv6");
	is_str(address(&message.mapped), "20010db8000000000000000000000001:443", "its mapped address");
	message = read_fine("00030058" TID "001900041100000000060005616c6963650000000014000b6578616d706c65"
	                    "2e6f7267000015001031366164363030396232636663383338000800144b86f6b6542ff049"
	                    "4ffb404de79ec51461ad625d80280004565d5c3d", "Allocate with credentials");
	ok(message.integrity_at == 76 && message.user.len == 5, "they are found");
	test_made();
	message = read_fine(MS_ALLOCATE, "Microsoft's Allocate");
	ok(message.dialect == STUN_MS && message.method == STUN_ALLOCATE, "in its dialect");
	message = read_fine(MS_CHALLENGE, "Microsoft's 401");
	ok(message.error == 401 && message.realm.len == 10 && message.nonce.len == 16,
	   "error, realm and nonce, with their numbers swapped and nothing padded");
	is_str(address(&message.alternate), "203.0.113.30:3478", "the alternate server");
	message = read_fine("00040010" MS_TID MS_COOKIE "00130004" "61626364", "Microsoft's Send");
	ok(message.method == STUN_SEND && message.class == STUN_INDICATION, "0004 is no Refresh there");
	message = read_fine("01030014" MS_TID MS_COOKIE "8020000800013322c102020d", "XOR by transaction");
	is_str(address(&message.mapped), "193.3.0.14:13091", "the key is the transaction");
}

static void
test_flaws(void)
{
	static const struct {
		const char *digits, *name;
		enum stun_flaw flaw;
	} wrong[] = {
		{ "0001", "two bytes", STUN_SHORT },
		{ "00010004" TID, "a length that is too large", STUN_SHORT },
		{ "00010000" TID "00000000", "bytes behind the end", STUN_LONG },
		{ "0001000000000000000000000000000000000000", "no cookie (RFC 3489)", STUN_KIND },
		{ "80010000" TID, "first bits", STUN_KIND },
		{ "00010004" TID "80220004", "an attribute that goes over the end", STUN_ATTRIBUTES },
		{ "00010002" TID "8022", "a length that is no multiple of 4", STUN_ATTRIBUTES },
		{ "0001000c" TID "802800045b20f9cc80220000", "something behind the fingerprint",
		  STUN_FINGERPRINT },
		{ "00030008" MS_TID "000f000472c64bc7", "nearly Microsoft's cookie", STUN_KIND },
		{ "0003000c" MS_TID MS_COOKIE "00130004", "Microsoft's, over the end", STUN_ATTRIBUTES },
	};
	struct stun message;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		is_int(stun_read(hex(wrong[i].digits), &message), wrong[i].flaw, "%s", wrong[i].name);
}

/* An ICE agent of Microsoft's: the fingerprint by its own table. */
static void
test_mistaken_crc(void)
{
	uint8_t message[60];
	bool differs = false;

	for (unsigned n = 0; n < 2000 && !differs; n++) {
		uint32_t crc;
		struct stun out;

		memcpy(message, hex("00010008" TID).at, 20);
		message[18] = (uint8_t)(n >> 8);
		message[19] = (uint8_t)n;
		crc = stun_crc(0, sy_span(message, 20), true);
		if (crc == stun_crc(0, sy_span(message, 20), false))
			continue;
		differs = true;
		crc ^= 0x5354554e;
		memcpy(message + 20, hex("80280004").at, 4);
		for (unsigned i = 0; i < 4; i++)
			message[24 + i] = (uint8_t)(crc >> (24 - 8 * i));
		is_int(stun_read(sy_span(message, 28), &out), STUN_FINE,
		       "a fingerprint by Microsoft's table is right, too");
	}
	ok(differs, "the tables differ");
}

/* Sessions. */

static struct turn_conf conf = {
	.unauthenticated_rate = { 50 }, .relief = { 5000 }, .multiplexed = true,
};
static struct turn_state state;
static uint32_t count[SY_COUNTERS];
static struct sy_session session;

static void
begin(void)
{
	memset(&state, 0, sizeof(state));
	memset(count, 0, sizeof(count));
	memset(&session, 0, sizeof(session));
	session = (struct sy_session){ .conf = &conf, .state = &state, .count = count, .now_ms = 1000 };
}

static struct sy_packet_verdict
up(const char *digits)
{
	return turn_packet(&session, SY_CLIENT, hex(digits));
}

static struct sy_packet_verdict
down(const char *digits)
{
	return turn_packet(&session, SY_SERVER, hex(digits));
}

static void
allocate(void)
{
	begin();
	up(ALLOCATE);
	down(CHALLENGE);
	up(ALLOCATE);
	down(ALLOCATED);
}

static void
test_allocation(void)
{
	struct sy_packet_verdict verdict;

	begin();
	verdict = up(ALLOCATE);
	ok(verdict.what == SY_PACKET_PASS && verdict.fresh, "Allocate passes, as something new");
	is_uint(verdict.most_per_second, 50, "without credentials: so many a second");
	verdict = down(CHALLENGE);
	ok(verdict.what == SY_PACKET_PASS && session.gauge[0] == 0, "401: there is none yet");
	is_uint(count[COUNT_CHALLENGES], 1, "counted");
	verdict = up(ALLOCATE);
	verdict = down(ALLOCATED);
	is_int(session.gauge[0], 1, "one allocation");
	is_uint(verdict.lifetime_ms, 630000, "for 600 s, and 30 more");
	down(ALLOCATED);
	ok(session.gauge[0] == 1 && count[COUNT_ALLOCATED] == 1, "the same answer again is counted once");
	ok(!up(ALLOCATE).fresh, "who has one begins nothing new with another Allocate");
	session.now_ms += 500000;
	up(REFRESH);
	verdict = down(REFRESHED);
	is_uint(verdict.lifetime_ms, 1230000, "a Refresh prolongs it, to what the server says");
	session.now_ms += 1229000;
	up("00010000" TID);
	is_int(session.gauge[0], 1, "it lives for that time");
	session.now_ms += 2000;
	up("00010000" TID);
	ok(session.gauge[0] == 0 && count[COUNT_EXPIRED] == 1, "and then no longer");
	allocate();
	up(REFRESH_0);
	verdict = down(REFRESHED_0);
	ok(session.gauge[0] == 0 && verdict.lifetime_ms == 1, "Refresh 0 ends it, and the flow's long life");
	up(REFRESH);
	down(REFRESHED);
	is_int(session.gauge[0], 1, "a Refresh that succeeds all the same brings it back");
	begin();
	down(ALLOCATED);
	is_int(session.gauge[0], 0, "an answer that nobody asked for is no allocation");
	allocate();
	session.gauge[0] = 0;
	ok(up(ALLOCATE).fresh, "the core took it back with the server: a new one begins");
}

static void
test_refusals(void)
{
	static const struct {
		const char *digits;
		enum turn_counter counter;
		bool relief;
	} refused[] = {
		{ "01130008" TID "0009000400000456", COUNT_REFUSED_QUOTA, true },
		{ "01130008" TID "0009000400000508", COUNT_REFUSED_CAPACITY, true },
		{ "01130008" TID "0009000400000403", COUNT_REFUSED_FORBIDDEN, true },
		{ "01130008" TID "0009000400000425", COUNT_REFUSED_MISMATCH, false },
		{ "01130008" TID "0009000400000300", COUNT_REFUSED_REDIRECT, false },
		{ "01130008" TID "0009000400000414", COUNT_REFUSED_OTHER, false },
		{ "01130008" TID "0009000400000426", COUNT_CHALLENGES, false },
	};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct sy_packet_verdict verdict;

		begin();
		up(ALLOCATE);
		verdict = down(refused[i].digits);
		ok(count[refused[i].counter] == 1 && (verdict.relieve_ms > 0) == refused[i].relief,
		   "refusal %zu is counted%s", i, refused[i].relief ? ", and relieves the server" : "");
	}
}

static void
test_packets(void)
{
	static const char *const garbage[] = {
		"", "00", "ff11000800000000", "80c80001", "16fefd00", "ff10000401020304ff", "00010000",
		"400000", "4000000461", "40000001616263646566",
	};
	struct sy_packet_verdict verdict;

	begin();
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		verdict = up(garbage[i]);
		ok(verdict.what == SY_PACKET_DROP && verdict.reason, "\"%s\" is dropped: %s", garbage[i],
		   verdict.reason ? verdict.reason : "");
	}
	is_str(up("40000003616263").reason, "ChannelData without an allocation", "nor ChannelData");
	ok(up("ff10000801020304050607" "08").what == SY_PACKET_PASS, "multiplexed datagrams pass");
	allocate();
	ok(up("40000003616263").what == SY_PACKET_PASS && down("4000000361626300").what == SY_PACKET_PASS,
	   "ChannelData passes, with padding or without");
	ok(count[COUNT_RELAYED_UP] == 3 && count[COUNT_RELAYED_DOWN] == 3, "its bytes are counted");
	up("00160010" TID "0013000a61626364616263646162" "0000" + 0);
	is_uint(count[COUNT_SENDS], 1, "and a Send indication");
	begin();
	session.server_name = "s1";
	verdict = up("40000003616263");
	ok(verdict.what == SY_PACKET_PASS && session.gauge[0] == 1 && verdict.lifetime_ms == 630000,
	   "a flow that another process had before: ChannelData tells of its allocation");
}

static void
test_ms_packets(void)
{
	struct sy_packet_verdict verdict;

	begin();
	ok(up(MS_ALLOCATE).fresh, "Microsoft's Allocate is one");
	down(MS_CHALLENGE);
	is_uint(count[COUNT_CHALLENGES], 1, "and the challenge");
	ok(up("80c8000061626364").what == SY_PACKET_DROP, "bare media, without a destination");
	up(MS_ALLOCATE);
	verdict = down(MS_ALLOCATED);
	ok(session.gauge[0] == 1 && verdict.lifetime_ms == 210000, "an allocation of three minutes");
	up("00060014" MS_TID MS_COOKIE "001100080001c350c000020f");
	down("01060008" MS_TID MS_COOKIE);
	ok(up("80c8000061626364").what == SY_PACKET_PASS, "with a destination, media pass as they are");
	up("00030010" MS_TID MS_COOKIE "000d000400000000");
	down("01030010" MS_TID MS_COOKIE "000d000400000000");
	is_int(session.gauge[0], 0, "Allocate with lifetime 0 gives it back");
}

/* Streams. */

static struct sy_verdict
stream(enum sy_side side, const char *digits)
{
	return turn_data(&session, side, 0, hex(digits), false);
}

static void
is_pass(enum sy_side side, const char *digits, uint64_t n, const char *name)
{
	struct sy_verdict verdict = stream(side, digits);

	ok(verdict.what == SY_PASS && verdict.n == n, "%s", name)
		|| (diag("%d %llu %s", verdict.what, (unsigned long long)verdict.n,
		         verdict.reason ? verdict.reason : ""), true);
}

static void
test_streams(void)
{
	begin();
	is_int(stream(SY_CLIENT, "0003").what, SY_NEED, "not enough to say what it is");
	is_int(stream(SY_CLIENT, ALLOCATE).what, SY_ROUTE, "a first message asks for a server");
	is_pass(SY_CLIENT, ALLOCATE, 28, "and goes there");
	is_pass(SY_SERVER, CHALLENGE, 68, "the challenge");
	is_pass(SY_CLIENT, ALLOCATE "00010000", 28, "one message at a time");
	is_pass(SY_SERVER, ALLOCATED, 52, "the answer");
	ok(session.gauge[0] == 1 && session.busy, "an allocation, which a gentle drain waits for");
	is_pass(SY_CLIENT, "4000000361", 8, "ChannelData is padded on streams");
	is_pass(SY_CLIENT, "4000ffff", 65540, "the longest, without wrapping round");
	is_pass(SY_CLIENT, "0016fffc" TID "0012000800015c74", 65552, "the longest Send indication");
	is_str(stream(SY_CLIENT, "0001fffc" TID "0012000800015c74").reason,
	       "a message that is too long for one that carries no data", "no other may be so long");
	is_int(stream(SY_CLIENT, "9000").what, SY_NEED, "two bytes of a lost framing");
	is_int(stream(SY_CLIENT, "90000000").what, SY_CLOSE, "lost: the connection is closed");
	begin();
	stream(SY_CLIENT, "000b0000" TID);
	stream(SY_CLIENT, "000b0000" TID);
	is_int(stream(SY_SERVER, "010b0000" TID).what, SY_TUNNEL,
	       "a ConnectionBind that succeeded makes it a peer's connection (RFC 6062)");
	begin();
	is_int(stream(SY_CLIENT, "40000004").what, SY_CLOSE, "ChannelData is no beginning");
}

static void
test_ms_streams(void)
{
	begin();
	is_int(stream(SY_CLIENT, "0200002c" MS_ALLOCATE).what, SY_ROUTE, "a framed Allocate");
	is_pass(SY_CLIENT, "0200002c" MS_ALLOCATE, 48, "goes on in its frame");
	is_pass(SY_SERVER, "02000066" MS_CHALLENGE, 106, "the challenge: nothing is padded");
	is_pass(SY_CLIENT, "0300ffff", 65539, "the longest data frame");
	is_int(stream(SY_CLIENT, "04000001").what, SY_CLOSE, "another kind of frame");
	begin();
	is_int(stream(SY_CLIENT, "160301002d01").what, SY_NEED, "it may become Microsoft's hello");
	is_int(stream(SY_CLIENT, PSEUDO).what, SY_ROUTE, "it is");
	is_pass(SY_CLIENT, PSEUDO, 50, "its 50 bytes");
	is_int(stream(SY_SERVER, "160301").what, SY_NEED, "half an answer");
	is_pass(SY_SERVER, PSEUDO_BACK, 83, "83 bytes come back");
	is_pass(SY_CLIENT, "0200002c" MS_ALLOCATE, 48, "then frames, in clear");
	is_pass(SY_SERVER, "02000066" MS_CHALLENGE, 106, "both ways");
	begin();
	stream(SY_CLIENT, PSEUDO);
	stream(SY_CLIENT, PSEUDO);
	is_int(stream(SY_SERVER, "15030100020228").what, SY_CLOSE, "a real TLS server does not answer so");
}

static void
test_others(void)
{
	static const char tls[] = "1603010200010001fc0303";
	static const char http[] = "474554202f20485454502f312e310d0a";
	static const char sip[] = "4f5054494f4e53207369703a61205349502f322e300d0a";

	begin();
	is_str(stream(SY_CLIENT, tls).reason, "TLS, and no `other tls` says where that goes", "TLS");
	begin();
	is_str(stream(SY_CLIENT, http).reason, "HTTP, and no `other http` says where that goes", "HTTP");
	for (unsigned i = 0; i < 4; i++)
		conf.pool_of[i] = i + 1;
	begin();
	ok(stream(SY_CLIENT, tls).what == SY_TUNNEL && session.facts.pool == TURN_OTHER_TLS + 1,
	   "TLS goes to its pool");
	begin();
	is_int(stream(SY_CLIENT, "474554202f").what, SY_NEED, "half a line of text");
	ok(stream(SY_CLIENT, http).what == SY_TUNNEL && session.facts.pool == TURN_OTHER_HTTP + 1,
	   "HTTP goes to its pool");
	begin();
	ok(stream(SY_CLIENT, sip).what == SY_TUNNEL && session.facts.pool == TURN_OTHER_SIP + 1,
	   "SIP goes to its pool");
	begin();
	ok(stream(SY_CLIENT, "ffff").what == SY_TUNNEL && session.facts.pool == TURN_OTHER_ANY + 1,
	   "and all the rest");
	begin();
	ok(stream(SY_CLIENT, PSEUDO).what == SY_ROUTE && session.facts.pool == 0,
	   "Microsoft's hello is TURN all the same");
	memset(conf.pool_of, 0, sizeof(conf.pool_of));
}

int
main(void)
{
	test_rfc_5769();
	test_vectors();
	test_flaws();
	test_mistaken_crc();
	test_allocation();
	test_refusals();
	test_packets();
	test_ms_packets();
	test_streams();
	test_ms_streams();
	test_others();
	return done_testing();
}
