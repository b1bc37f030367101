/* The reader of ClientHellos: what real clients of OpenSSL say is read as they meant it, however it is
 * cut; what is no hello, or a broken one, is refused in words. */
#include "t/tap.h"

#include <openssl/ssl.h>

#include "api/hello.h"

struct bytes {
	uint8_t at[100000];
	size_t len;
};

/* What a client says first, and `padding` bytes of an extension that nobody knows. */
struct client {
	int least, most;
	const char *sni, *alpn;
	size_t padding;
};

static int
pad(SSL *ssl, unsigned type, unsigned context, const unsigned char **out, size_t *len, X509 *x509,
    size_t chain, int *alert, void *arg)
{
	static const unsigned char zeros[20000];

	(void)ssl, (void)type, (void)context, (void)x509, (void)chain, (void)alert;
	*out = zeros;
	*len = *(const size_t *)arg;
	return 1;
}

static void
client_says(const struct client *client, struct bytes *out)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	size_t padding = client->padding;
	BIO *bio = BIO_new(BIO_s_mem());
	SSL *ssl;

	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, client->least);
	SSL_CTX_set_max_proto_version(ctx, client->most);
	if (client->alpn)
		SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)client->alpn,
		                        (unsigned)strlen(client->alpn));
	if (padding)
		SSL_CTX_add_custom_ext(ctx, 0x2b2b, SSL_EXT_CLIENT_HELLO, pad, NULL, &padding, NULL, NULL);
	ssl = SSL_new(ctx);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), bio);
	if (client->sni)
		SSL_set_tlsext_host_name(ssl, client->sni);
	(void)SSL_connect(ssl);
	out->len = (size_t)BIO_read(bio, out->at, sizeof(out->at));
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

/* The same message in records of `size` bytes. */
static void
in_records(const struct bytes *in, size_t size, struct bytes *out)
{
	size_t left = in->len - 5;

	out->len = 0;
	for (size_t at = 5; left > 0;) {
		size_t n = left < size ? left : size;

		memcpy(out->at + out->len, in->at, 3);
		out->at[out->len + 3] = (uint8_t)(n >> 8);
		out->at[out->len + 4] = (uint8_t)n;
		memcpy(out->at + out->len + 5, in->at + at, n);
		out->len += 5 + n;
		at += n;
		left -= n;
	}
}

/* Segment by segment. Done with the last byte, and not before. */
static enum sy_hello_result
in_segments(const struct bytes *in, size_t size, struct sy_hello *hello)
{
	*hello = (struct sy_hello){ 0 };
	for (size_t n = 0; n < in->len; n += size) {
		enum sy_hello_result result = sy_hello_read(sy_span(in->at, n), hello);

		if (result != SY_HELLO_MORE)
			return SY_HELLO_BAD;
	}
	return sy_hello_read(sy_span(in->at, in->len), hello);
}

static void
test_clients(void)
{
	static const struct client clients[] = {
		{ TLS1_VERSION, TLS1_VERSION, NULL, NULL, 0 },
		{ TLS1_VERSION, TLS1_1_VERSION, "WWW.Example.net", NULL, 0 },
		{ TLS1_VERSION, TLS1_2_VERSION, "www.example.net", "\2h2\10http/1.1", 0 },
		{ TLS1_2_VERSION, TLS1_3_VERSION, "a-b_c.example.net", "\3sip", 0 },
		{ TLS1_3_VERSION, TLS1_3_VERSION, NULL, "\2h2", 0 },
		{ TLS1_2_VERSION, TLS1_3_VERSION, "www.example.net", "\10http/1.1", 1800 },
		{ TLS1_2_VERSION, TLS1_3_VERSION, "www.example.net", NULL, 15000 },
	};
	static const size_t records[] = { 16384, 1000, 40, 7, 3, 1 };
	static struct bytes one, other;
	struct sy_hello hello;

	for (unsigned i = 0; i < sizeof(clients) / sizeof(*clients); i++) {
		const struct client *client = &clients[i];
		unsigned good = 0, all = 0;
		char low[64] = "";

		client_says(client, &one);
		for (unsigned k = 0; client->sni && client->sni[k]; k++)
			low[k] = (char)(client->sni[k] | (client->sni[k] == '_' ? 0 : 0x20));
		for (unsigned k = 0; k < sizeof(records) / sizeof(*records); k++)
			for (size_t segment = 1; segment <= 1500; segment += segment == 1 ? 36 : 733) {
				in_records(&one, records[k], &other);
				if (other.len > SY_HELLO_WINDOW)
					continue;
				all++;
				good += in_segments(&other, segment, &hello) == SY_HELLO_DONE &&
				        strcmp(hello.sni, low) == 0 &&
				        hello.alpn_len == (client->alpn ? strlen(client->alpn) : 0) &&
				        memcmp(hello.alpn, client->alpn ? client->alpn : "", hello.alpn_len) == 0 &&
				        hello.version == client->most && hello.ciphers > 0 && !hello.resumes;
			}
		is_int(good, all, "%s, version %x, %zu bytes: %u ways to cut it",
		       client->sni ? client->sni : "no name", client->most, one.len, all);
	}
	is_int(hello.legacy_version, TLS1_2_VERSION, "what 1.3 says where 1.2 looks");
}

static void
test_names(void)
{
	static struct bytes bytes;
	struct sy_hello hello = { 0 };
	size_t at = 0;

	client_says(&(struct client){ TLS1_2_VERSION, TLS1_3_VERSION, "x.", "\2\x1a\x1a\3sip\2h2", 0 },
	            &bytes);
	is_int(sy_hello_read(sy_span(bytes.at, bytes.len), &hello), SY_HELLO_DONE, "names");
	is_str(hello.sni, "x", "the dot at the end is not a part of it");
	ok(sy_hello_offers(&hello, sy_span_text("h2")) && sy_hello_offers(&hello, sy_span_text("sip")) &&
	   !sy_hello_offers(&hello, sy_span_text("s")) && !sy_hello_offers(&hello, sy_span_text("h2x")),
	   "protocols are found");
	is_int((int)sy_hello_protocol(&hello, &at).len, 3, "the first that is no GREASE is the first");
}

/* ---- made by hand ---- */

static void
put(struct bytes *to, size_t number, unsigned width)
{
	for (; width > 0; width--)
		to->at[to->len++] = (uint8_t)(number >> 8 * (width - 1));
}

/* A hello with these extensions; `behind`: bytes behind them. */
static void
make(struct bytes *to, const char *extensions, size_t len, size_t behind)
{
	size_t body = 2 + 32 + 1 + 2 + 2 + 1 + 1 + 2 + len + behind;

	to->len = 0;
	put(to, 0x160301, 3);
	put(to, body + 4, 2);
	put(to, 1, 1);
	put(to, body, 3);
	put(to, 0x0303, 2);
	for (unsigned i = 0; i < 32; i++)
		put(to, i, 1);
	put(to, 0, 1);
	put(to, 2, 2);
	put(to, 0x1301, 2);
	put(to, 0x0100, 2);
	put(to, len, 2);
	memcpy(to->at + to->len, extensions, len);
	to->len += len;
	for (; behind; behind--)
		put(to, 0, 1);
}

#define SNI_A "\0\0\0\6\0\4\0\0\1a"

static void
test_broken(void)
{
#define BYTES(text) text, sizeof(text) - 1
	static const struct { const char *what, *extensions; size_t len, behind; const char *why; } bad[] = {
		{ "a name twice", BYTES(SNI_A SNI_A), 0, "twice" },
		{ "two names", BYTES("\0\0\0\12\0\10\0\0\1a\0\0\1b"), 0, "just one name" },
		{ "a name of another kind", BYTES("\0\0\0\6\0\4\1\0\1a"), 0, "just one name" },
		{ "an empty name", BYTES("\0\0\0\5\0\3\0\0\0"), 0, "just one name" },
		{ "a name with a zero byte", BYTES("\0\0\0\10\0\6\0\0\3a\0b"), 0, "no host name" },
		{ "a name with a blank", BYTES("\0\0\0\6\0\4\0\0\1 "), 0, "no host name" },
		{ "a name that exceeds its list", BYTES("\0\0\0\6\0\4\0\0\2a"), 0, "exceeds" },
		{ "an extension that exceeds all", BYTES("\0\0\0\7\0\4\0\0\1a"), 0, "exceeds" },
		{ "no list of protocols", BYTES("\0\20\0\2\0\0"), 0, "no list" },
		{ "an empty protocol", BYTES("\0\20\0\3\0\1\0"), 0, "empty name" },
		{ "no list of versions", BYTES("\0\53\0\1\0"), 0, "versions" },
		{ "something behind", BYTES(SNI_A), 3, "behind its extensions" },
	};
	static struct bytes bytes;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct sy_hello hello = { 0 };
		bool refused;

		make(&bytes, bad[i].extensions, bad[i].len, bad[i].behind);
		refused = sy_hello_read(sy_span(bytes.at, bytes.len), &hello) == SY_HELLO_BAD;
		ok(refused && strstr(hello.why, bad[i].why), "%s: %s", bad[i].what,
		   hello.why ? hello.why : "nothing");
	}
}

static void
test_first_bytes(void)
{
	static const struct { const char *what, *bytes; size_t len; enum sy_hello_result is; } all[] = {
		{ "nothing", BYTES(""), SY_HELLO_MORE },
		{ "a byte", BYTES("\x16"), SY_HELLO_MORE },
		{ "HTTP", BYTES("GET / HTTP/1.1\r\n"), SY_HELLO_NOT_TLS },
		{ "STUN", BYTES("\0\1\0\x50\x21\x12\xa4\x42"), SY_HELLO_NOT_TLS },
		{ "an alert", BYTES("\x15\3\1\0\2\2\x28"), SY_HELLO_NOT_TLS },
		{ "no version of TLS", BYTES("\x16\2\0"), SY_HELLO_NOT_TLS },
		{ "a long record", BYTES("\x16\3\1\x40\1\1"), SY_HELLO_BAD },
		{ "an empty record", BYTES("\x16\3\1\0\0"), SY_HELLO_BAD },
		{ "another handshake message", BYTES("\x16\3\1\0\4\2\0\0\0"), SY_HELLO_BAD },
		{ "a message of 16 MiB", BYTES("\x16\3\1\0\x50\1\xff\xff\xff"), SY_HELLO_BAD },
		{ "an alert amid it", BYTES("\x16\3\1\0\4\1\0\0\x50\x15\3\1\0\2\2\x28"), SY_HELLO_BAD },
		{ "SSL 2", BYTES("\x80\x2e\1\3\1\0"), SY_HELLO_BAD },
		{ "SSL 2 all through", BYTES("\x80\x2e\1\0\2\0"), SY_HELLO_BAD },
		{ "SSL 2, not yet sure", BYTES("\x80\x2e\1\3"), SY_HELLO_MORE },
		{ "something above 0x7f", BYTES("\x80\x2e\2"), SY_HELLO_NOT_TLS },
	};

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct sy_hello hello = { 0 };

		is_int(sy_hello_read(sy_span(all[i].bytes, all[i].len), &hello), all[i].is, "%s%s%s",
		       all[i].what, hello.why ? ": " : "", hello.why ? hello.why : "");
	}
}

int
main(void)
{
	test_clients();
	test_names();
	test_broken();
	test_first_bytes();
	return done_testing();
}
