/* What operators and clients write as addresses, networks, durations and sizes: what is accepted is
 * printed and read back the same. What goes into the log is JSON, or has no control characters. */
#include <stdlib.h>
#include <string.h>

#include "contrib/fuzz/fuzz.h"
#include "base/must.h"
#include "base/text.h"

const char *const fuzz_seeds[] = {
	"192.0.2.1:443", "[2001:db8::1]:5061", "::ffff:192.0.2.1", "*:80", "[::]:0", "fe80::1",
	"10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0", "1500ms", "30m", "1h30m", "90", "18446744073709551615",
	"64k", "1g", "0x10", "a \"quoted\" \\ word\n\x1b[31m\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xff\xc0\xaf\xed\xa0\x80",
	NULL
};

static void
fuzz_numbers(const char *text)
{
	char out[DURATION_TEXT_SIZE];
	uint64_t n, again;

	if (duration_parse(text, &n))
		must(duration_parse(duration_text(n, out), &again) && again == n);
	if (bytes_parse(text, &n))
		must(bytes_parse(bytes_text(n, out), &again) && again == n);
	if (uint_parse(text, &n)) {
		must(strlen(age_text(n, out)) < DURATION_TEXT_SIZE);
		must(strspn(text, "0123456789") == strlen(text));
	}
}

static void
fuzz_addresses(const char *text)
{
	char out[ADDR_TEXT_SIZE];
	struct sy_addr addr, again;
	struct sy_net net, net_again;

	if (addr_parse(text, &addr)) {
		must(addr.family == SY_IPV4 || addr.family == SY_IPV6);
		must(addr_parse(addr_text(&addr, out), &again));
		must(memcmp(&addr, &again, sizeof(addr)) == 0);
	}
	if (net_parse(text, &net)) {
		struct sy_addr masked = sy_addr_mask(net.addr, net.bits);

		must(memcmp(&masked, &net.addr, sizeof(masked)) == 0);
		must(net_parse(net_text(&net, out), &net_again) && net_again.bits == net.bits);
		must(memcmp(&net.addr, &net_again.addr, sizeof(net.addr)) == 0);
		must(sy_net_has(&net, &net.addr));
	}
}

/* Bytes that start a UTF-8 sequence say how long it is; 0: they cannot start one. */
static size_t
fuzz_utf8(const uint8_t *at, size_t left)
{
	size_t n = *at < 0x80 ? 1 : *at >= 0xc2 && *at < 0xe0 ? 2 : *at >= 0xe0 && *at < 0xf0 ? 3
	         : *at >= 0xf0 && *at < 0xf5 ? 4 : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) ||
	    (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f))
		return 0;
	return n;
}

static void
fuzz_clean(const struct text *text)
{
	for (size_t at = 0, n; at < text->len; at += n) {
		n = fuzz_utf8((const uint8_t *)text->at + at, text->len - at);
		must(n > 0);
		must(n > 1 || ((uint8_t)text->at[at] >= 0x20 && text->at[at] != 0x7f));
	}
	must(text->len == 0 || text->at[text->len] == '\0');
}

/* Quotes and backslashes stand only where JSON has them. */
static void
fuzz_json(const struct text *text)
{
	must(text->len >= 2 && text->at[0] == '"' && text->at[text->len - 1] == '"');
	for (size_t at = 1; at < text->len - 1; at++) {
		must(text->at[at] != '"');
		if (text->at[at] != '\\')
			continue;
		at++;
		must(at < text->len - 1 && strchr("\"\\/bfnrtu", text->at[at]));
		for (unsigned i = 0; text->at[at] == 'u' && i < 4; i++)
			must(strchr("0123456789abcdefABCDEF", text->at[at + 1 + i]));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes = malloc(size + 1);
	struct text text = { 0 };

	must(bytes);
	memcpy(bytes, data, size);
	bytes[size] = '\0';
	fuzz_numbers(bytes);
	fuzz_addresses(bytes);
	text_json(&text, bytes, size);
	fuzz_clean(&text);
	fuzz_json(&text);
	text_free(&text);
	text_plain(&text, bytes, size);
	fuzz_clean(&text);
	text_free(&text);
	free(bytes);
	return 0;
}
