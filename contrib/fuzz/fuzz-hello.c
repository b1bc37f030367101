/* ClientHellos: whatever comes, the reader looks at nothing behind the input and keeps its promises:
 * a byte more never takes a judgement back, how the bytes are cut into records and segments changes
 * nothing, and a name that it reads is the name that OpenSSL reads from the same bytes. */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "contrib/fuzz/fuzz.h"
#include "base/must.h"
#include "api/hello.h"

/* 'r': the rest as it is. Else a hello is made of what stands before '|': its extensions, in order,
 * each a letter and its text up to the next ';'; what is behind changes bytes of it, three for each:
 * where (two bytes), and with what it is combined by XOR. */
const char *const fuzz_seeds[] = {
	"hsWWW.Example.Net;ah2,http/1.1;v43;|",
	"hv43;ssip.example.net.;t;xabcdefgh;k;|",
	"hasip;t12345678;gfoo;s_a.b-c;|",
	"hs;|", "ha;|", "hsa;sb;|", "haa;ab;|", "h|", "hsa;|ab\x01" "ac\x01",
	"hsaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;"
	"xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb;v3;|",
	"rGET / HTTP/1.1\r\n",
	"r\x80\x2e\x01\x03\x01 an old one",
	"r\x16\x03\x01\x01\x03" "some bytes of a record that is longer than what is there",
	"r\x15\x03\x01",
	NULL
};

struct hello_bytes {
	uint8_t at[FUZZ_SIZE * 2];
	size_t len;
};

static void
put(struct hello_bytes *to, const void *bytes, size_t len)
{
	must(to->len + len <= sizeof(to->at));
	memcpy(to->at + to->len, bytes, len);
	to->len += len;
}

static void
put_number(struct hello_bytes *to, size_t number, unsigned width)
{
	for (; width > 0; width--) {
		uint8_t byte = (uint8_t)(number >> 8 * (width - 1));

		put(to, &byte, 1);
	}
}

static void
put_extension(struct hello_bytes *to, char kind, const uint8_t *text, size_t len)
{
	struct hello_bytes in = { .len = 0 };
	size_t type = 0x2b2b, from = 0;

	switch (kind) {
	case 's':
		type = 0;
		put_number(&in, len + 3, 2);
		put_number(&in, 0, 1);
		put_number(&in, len, 2);
		put(&in, text, len);
		break;
	case 'a':
		type = 16;
		put_number(&in, len + 1, 2);
		for (size_t i = 0; i <= len; i++)
			if (i == len || text[i] == ',') {
				put_number(&in, i - from, 1);
				put(&in, text + from, i - from);
				from = i + 1;
			}
		break;
	case 'v':
		type = 43;
		put_number(&in, 2 * len, 1);
		for (size_t i = 0; i < len; i++)
			put_number(&in, 0x300 | (text[i] & 7), 2);
		break;
	case 't':
	case 'k':
		type = kind == 't' ? 35 : 41;
		put(&in, text, len);
		break;
	case 'g':
		type = 0x3a3a;
		break;
	default:
		put(&in, text, len);
		break;
	}
	put_number(to, type, 2);
	put_number(to, in.len, 2);
	put(to, in.at, in.len);
}

/* The message. */
static void
make_hello(struct hello_bytes *to, const uint8_t *text, size_t len)
{
	struct hello_bytes extensions = { .len = 0 }, body = { .len = 0 };

	while (len > 0) {
		const uint8_t *end = memchr(text, ';', len);
		size_t n = end ? (size_t)(end - text) : len;

		if (n > 0)
			put_extension(&extensions, (char)text[0], text + 1, n - 1);
		n += end != NULL;
		text += n;
		len -= n;
	}
	put_number(&body, 0x303, 2);
	for (unsigned i = 0; i < 32; i++)
		put_number(&body, i, 1);
	put_number(&body, 0, 1);
	put_number(&body, 4, 2);
	put_number(&body, 0x1301c02f, 4);
	put_number(&body, 0x100, 2);
	if (extensions.len) {
		put_number(&body, extensions.len, 2);
		put(&body, extensions.at, extensions.len);
	}
	put_number(to, 1, 1);
	put_number(to, body.len, 3);
	put(to, body.at, body.len);
}

static void
make_records(struct hello_bytes *to, const struct hello_bytes *message, size_t size)
{
	for (size_t at = 0; at < message->len; at += size) {
		size_t n = message->len - at < size ? message->len - at : size;

		put_number(to, 0x160301, 3);
		put_number(to, n, 2);
		put(to, message->at + at, n);
	}
}

/* In memory that ends where the input ends. */
static enum sy_hello_result
read_exact(const uint8_t *at, size_t len, struct sy_hello *hello)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum sy_hello_result got;

	must(copy);
	if (len)
		memcpy(copy, at, len);
	got = sy_hello_read(sy_span(copy, len), hello);
	free(copy);
	must(got != SY_HELLO_BAD || hello->why);
	must(got != SY_HELLO_DONE || (!hello->why && hello->sni_len < sizeof(hello->sni) &&
	                              hello->alpn_len <= sizeof(hello->alpn) &&
	                              strlen(hello->sni) == hello->sni_len));
	return got;
}

static void
must_be_same(const struct sy_hello *a, const struct sy_hello *b)
{
	must(a->sni_len == b->sni_len && a->alpn_len == b->alpn_len && a->ciphers == b->ciphers);
	must(a->version == b->version && a->legacy_version == b->legacy_version);
	must(a->resumes == b->resumes && a->encrypted == b->encrypted);
	must(memcmp(a->sni, b->sni, a->sni_len) == 0 && memcmp(a->alpn, b->alpn, a->alpn_len) == 0);
}

static enum sy_hello_result
read_growing(const struct hello_bytes *bytes, struct sy_hello *whole)
{
	struct sy_hello grown = { 0 };
	enum sy_hello_result got, then = SY_HELLO_MORE;
	size_t step = bytes->len / 64 + 1;

	*whole = (struct sy_hello){ 0 };
	got = read_exact(bytes->at, bytes->len, whole);
	for (size_t cut = 0; cut < bytes->len && then == SY_HELLO_MORE;
	     cut += cut < 20 || cut + 20 > bytes->len ? 1 : step)
		then = read_exact(bytes->at, cut, &grown);
	if (then == SY_HELLO_MORE)
		then = read_exact(bytes->at, bytes->len, &grown);
	must(then == got);
	if (got == SY_HELLO_DONE)
		must_be_same(&grown, whole);
	return got;
}

/* ---- the same bytes for OpenSSL ---- */

static char heard[512];
static bool asked;

static int
hear_name(SSL *ssl, int *alert, void *arg)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert, (void)arg;
	asked = true;
	snprintf(heard, sizeof(heard), "%s", name ? name : "");
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void
ask_openssl(const struct hello_bytes *bytes, const struct sy_hello *hello)
{
	static SSL_CTX *ctx;
	SSL *ssl;
	BIO *in = BIO_new_mem_buf(bytes->at, (int)bytes->len), *out = BIO_new(BIO_s_null());
	size_t len;

	if (!ctx) {
		ctx = SSL_CTX_new(TLS_server_method());
		must(ctx);
		SSL_CTX_set_security_level(ctx, 0);
		SSL_CTX_set_tlsext_servername_callback(ctx, hear_name);
	}
	ssl = SSL_new(ctx);
	must(ssl && in && out);
	SSL_set_bio(ssl, in, out);
	asked = false;
	(void)SSL_accept(ssl);
	ERR_clear_error();
	SSL_free(ssl);
	if (!asked)
		return;
	len = strlen(heard);
	if (len > 1 && heard[len - 1] == '.')
		heard[--len] = '\0';
	must(len == hello->sni_len && strncasecmp(heard, hello->sni, len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hello_bytes message, one, other;
	struct sy_hello hello, again;
	const uint8_t *bar;
	size_t n;

	message.len = one.len = other.len = 0;
	if (size == 0 || size > FUZZ_SIZE / 8)
		return 0;
	if (data[0] == 'r') {
		put(&one, data + 1, size - 1);
		if (read_growing(&one, &hello) == SY_HELLO_DONE)
			ask_openssl(&one, &hello);
		return 0;
	}
	bar = memchr(data + 1, '|', size - 1);
	n = bar ? (size_t)(bar - data) : size;
	make_hello(&message, data + 1, n - 1);
	for (n++; n + 3 <= size; n += 3)
		message.at[(size_t)(data[n] << 8 | data[n + 1]) % message.len] ^= data[n + 2];
	make_records(&one, &message, 16384);
	make_records(&other, &message, data[0] % 16 + 1);
	if (read_growing(&one, &hello) != SY_HELLO_DONE) {
		must(other.len > SY_HELLO_WINDOW || read_growing(&other, &again) != SY_HELLO_DONE);
		return 0;
	}
	ask_openssl(&one, &hello);
	if (other.len <= SY_HELLO_WINDOW) {
		must(read_growing(&other, &again) == SY_HELLO_DONE);
		must_be_same(&hello, &again);
	}
	return 0;
}
