#include "base/text.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

/* The buffer. */

void
text_reserve(struct text *text, size_t more)
{
	size_t size = text->size ? text->size : 128;

	must(more < PTRDIFF_MAX - text->len);
	while (size <= text->len + more)
		size *= 2;
	if (size > text->size) {
		text->at = must_realloc(text->at, size);
		text->size = size;
	}
}

/* Writes the decimal digits, and no NUL; gives the end. */
static char *
text_digits(char *out, uint64_t n)
{
	char digits[20], *at = digits;

	do {
		*at++ = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	while (at > digits)
		*out++ = *--at;
	return out;
}

void
text_uint(struct text *text, uint64_t n)
{
	char digits[20];

	text_add(text, digits, (size_t)(text_digits(digits, n) - digits));
}

void
text_printf(struct text *text, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	must(len >= 0);
	text_reserve(text, (size_t)len);
	va_start(args, format);
	vsnprintf(text->at + text->len, (size_t)len + 1, format, args);
	va_end(args);
	text->len += (size_t)len;
}

size_t
text_cut(const char *words, size_t len, size_t most)
{
	if (len <= most)
		return len;
	while (most > 0 && ((unsigned char)words[most] & 0xc0) == 0x80)
		most--;
	return most;
}

void
text_free(struct text *text)
{
	free(text->at);
	*text = (struct text){ 0 };
}

/* The length of the UTF-8 character at `at` (RFC 3629: no overlong form, no surrogate, nothing
 * above U+10FFFF). Otherwise 0, and *bad is how many bytes one U+FFFD stands for. */
static size_t
text_utf8(const uint8_t *at, size_t len, size_t *bad)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t want;

	*bad = 1;
	if (at[0] < 0x80)
		return 1;
	if (at[0] >= 0xc2 && at[0] <= 0xdf)
		want = 2;
	else if (at[0] >= 0xe0 && at[0] <= 0xef)
		want = 3;
	else if (at[0] >= 0xf0 && at[0] <= 0xf4)
		want = 4;
	else
		return 0;
	if (at[0] == 0xe0)
		low = 0xa0;
	else if (at[0] == 0xed)
		high = 0x9f;
	else if (at[0] == 0xf0)
		low = 0x90;
	else if (at[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < want; i++, low = 0x80, high = 0xbf) {
		if (i >= len || at[i] < low || at[i] > high) {
			*bad = i;
			return 0;
		}
	}
	return want;
}

static bool
text_control(uint8_t c)
{
	return c < 0x20 || c == 0x7f;
}

static void
text_json_special(struct text *text, uint8_t c)
{
	static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
	const char *found = c ? strchr(from, c) : NULL;

	if (found)
		text_printf(text, "\\%c", to[found - from]);
	else
		text_printf(text, "\\u%04x", c);
}

void
text_json(struct text *text, const char *bytes, size_t len)
{
	const uint8_t *at = (const uint8_t *)bytes;
	size_t i = 0, start = 0, n, bad;

	text_add(text, "\"", 1);
	while (i < len) {
		n = text_utf8(at + i, len - i, &bad);
		if (n > 0 && at[i] != '"' && at[i] != '\\' && !text_control(at[i])) {
			i += n;
			continue;
		}
		text_add(text, bytes + start, i - start);
		if (n == 0)
			text_puts(text, "\xef\xbf\xbd");
		else
			text_json_special(text, at[i]);
		i += n ? n : bad;
		start = i;
	}
	text_add(text, bytes + start, len - start);
	text_add(text, "\"", 1);
}

/* U+0080..U+009F: some terminals obey them. */
static bool
text_c1(const uint8_t *at, size_t n)
{
	return n == 2 && at[0] == 0xc2 && at[1] < 0xa0;
}

void
text_plain(struct text *text, const char *bytes, size_t len)
{
	static const char from[] = "\n\r\t", to[] = "nrt";
	const uint8_t *at = (const uint8_t *)bytes;
	size_t i = 0, start = 0, n, bad;

	while (i < len) {
		const char *found;

		/* Nearly all that is ever said. */
		if (at[i] >= ' ' && at[i] < 0x7f) {
			i++;
			continue;
		}
		n = text_utf8(at + i, len - i, &bad);
		if (n > 0 && !text_control(at[i]) && !text_c1(at + i, n)) {
			i += n;
			continue;
		}
		text_add(text, bytes + start, i - start);
		found = at[i] ? strchr(from, at[i]) : NULL;
		if (found)
			text_printf(text, "\\%c", to[found - from]);
		else
			text_printf(text, "\\x%02x", at[i]);
		start = ++i;
	}
	text_add(text, bytes + start, len - start);
}

/* Values. */

bool
uint_parse(const char *text, uint64_t *n)
{
	uint64_t value = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	*n = value;
	return true;
}

struct text_unit {
	const char *name;
	uint64_t size;
};

/* From large to small. */
static const struct text_unit text_times[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};

static const struct text_unit text_sizes[] = {
	{ "g", UINT64_C(1) << 30 }, { "m", 1 << 20 }, { "k", 1 << 10 }, { "", 1 }, { NULL, 0 },
};

/* Digits, then the name of one unit, or nothing where `bare` is meant. */
static bool
text_with_unit(const char *text, const struct text_unit *units, uint64_t bare, uint64_t *out)
{
	size_t digits = strspn(text, "0123456789");
	char number[24];
	uint64_t value, size = text[digits] ? 0 : bare;

	if (digits == 0 || digits >= sizeof(number))
		return false;
	memcpy(number, text, digits);
	number[digits] = '\0';
	if (!uint_parse(number, &value))
		return false;
	for (; units->name && size == 0; units++)
		if (strcmp(text + digits, units->name) == 0)
			size = units->size;
	if (size == 0 || __builtin_mul_overflow(value, size, &value))
		return false;
	*out = value;
	return true;
}

static const char *
text_exact(uint64_t value, const struct text_unit *units, char *out)
{
	while (value % units->size != 0)
		units++;
	snprintf(out, DURATION_TEXT_SIZE, "%" PRIu64 "%s", value / units->size, units->name);
	return out;
}

const char *
duration_text(uint64_t ms, char out[static DURATION_TEXT_SIZE])
{
	return ms ? text_exact(ms, text_times, out) : strcpy(out, "0s");
}

bool
duration_parse(const char *text, uint64_t *ms)
{
	return text_with_unit(text, text_times, 1000, ms);
}

const char *
bytes_text(uint64_t n, char out[static DURATION_TEXT_SIZE])
{
	return n ? text_exact(n, text_sizes, out) : strcpy(out, "0");
}

bool
bytes_parse(const char *text, uint64_t *n)
{
	size_t len = strlen(text);
	char lower[24];

	if (len >= sizeof(lower))
		return false;
	for (size_t i = 0; i <= len; i++)
		lower[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
	return text_with_unit(lower, text_sizes, 1, n);
}

const char *
age_text(uint64_t ms, char out[static DURATION_TEXT_SIZE])
{
	const struct text_unit *unit = text_times;
	uint64_t rest;

	while (unit->size > 1000 && ms < unit->size)
		unit++;
	rest = unit->size > 1000 ? ms % unit->size / unit[1].size : 0;
	if (rest)
		snprintf(out, DURATION_TEXT_SIZE, "%" PRIu64 "%s%u%s", ms / unit->size, unit->name,
		         (unsigned)rest, unit[1].name);
	else
		snprintf(out, DURATION_TEXT_SIZE, "%" PRIu64 "%s", ms / unit->size, unit->name);
	return out;
}

/* Addresses. */

/* Gives the end, where it has put a NUL. */
static char *
addr_put_ip(const struct sy_addr *addr, char *at)
{
	if (addr->family == SY_IPV4) {
		/* In the log line of every connection: inet_ntop() prints with sprintf(). */
		for (unsigned i = 0; i < 4; i++) {
			at = text_digits(at, addr->ip[i]);
			*at++ = '.';
		}
		*--at = '\0';
		return at;
	}
	if (addr->family == SY_NO_ADDR || !inet_ntop(AF_INET6, addr->ip, at, INET6_ADDRSTRLEN))
		strcpy(at, "-");
	return at + strlen(at);
}

const char *
addr_ip_text(const struct sy_addr *addr, char out[static ADDR_TEXT_SIZE])
{
	addr_put_ip(addr, out);
	return out;
}

const char *
addr_text(const struct sy_addr *addr, char out[static ADDR_TEXT_SIZE])
{
	bool six = addr->family == SY_IPV6;
	char *at = out;

	if (addr->port == 0 || addr->family == SY_NO_ADDR)
		return addr_ip_text(addr, out);
	if (six)
		*at++ = '[';
	at = addr_put_ip(addr, at);
	if (six)
		*at++ = ']';
	*at++ = ':';
	*text_digits(at, addr->port) = '\0';
	return out;
}

const char *
net_text(const struct sy_net *net, char out[static ADDR_TEXT_SIZE])
{
	unsigned full = net->addr.family == SY_IPV4 ? 32 : 128;
	size_t len;

	addr_ip_text(&net->addr, out);
	len = strlen(out);
	if (net->addr.family != SY_NO_ADDR && net->bits != full)
		snprintf(out + len, ADDR_TEXT_SIZE - len, "/%u", (unsigned)net->bits);
	return out;
}

static const uint8_t text_mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool
addr_parse_ipv6(const char *text, struct sy_addr *out)
{
	uint8_t ip[16];

	if (inet_pton(AF_INET6, text, ip) != 1)
		return false;
	if (memcmp(ip, text_mapped, sizeof(text_mapped)) == 0) {
		memcpy(out->ip, ip + 12, 4);
		out->family = SY_IPV4;
	} else {
		memcpy(out->ip, ip, 16);
		out->family = SY_IPV6;
	}
	return true;
}

static bool
addr_parse_ipv4(const char *text, struct sy_addr *out)
{
	if (inet_pton(AF_INET, text, out->ip) != 1)
		return false;
	out->family = SY_IPV4;
	return true;
}

/* Cuts the port off `text`; what is left is the address without brackets. */
static bool
addr_cut_port(char **text, bool *ipv6, uint16_t *port)
{
	char *colon = strchr(*text, ':');
	uint64_t number;

	*ipv6 = true;
	if (**text == '[') {
		char *end = strchr(*text, ']');

		if (!end)
			return false;
		++*text;
		*end = '\0';
		colon = end[1] ? end + 1 : NULL;
		if (colon && *colon != ':')
			return false;
	} else if (colon && strchr(colon + 1, ':')) {
		return true;
	} else {
		*ipv6 = false;
	}
	if (!colon)
		return true;
	*colon = '\0';
	if (!uint_parse(colon + 1, &number) || number > UINT16_MAX)
		return false;
	*port = (uint16_t)number;
	return true;
}

bool
addr_parse(const char *text, struct sy_addr *out)
{
	struct sy_addr addr = { 0 };
	char copy[ADDR_TEXT_SIZE], *at = copy;
	size_t len = strlen(text);
	bool ipv6;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len + 1);
	if (!addr_cut_port(&at, &ipv6, &addr.port))
		return false;
	if (!ipv6 && strcmp(at, "*") == 0)
		addr.family = SY_IPV4;
	else if (!(ipv6 ? addr_parse_ipv6(at, &addr) : addr_parse_ipv4(at, &addr)))
		return false;
	*out = addr;
	return true;
}

bool
net_parse(const char *text, struct sy_net *out)
{
	struct sy_net net = { 0 };
	struct sy_addr masked;
	char copy[ADDR_TEXT_SIZE], *slash;
	size_t len = strlen(text);
	uint64_t bits, mapped;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len + 1);
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	if (!(strchr(copy, ':') ? addr_parse_ipv6 : addr_parse_ipv4)(copy, &net.addr))
		return false;
	/* ::ffff:10.0.0.0/104 is 10.0.0.0/8. */
	mapped = net.addr.family == SY_IPV4 && strchr(copy, ':') ? 96 : 0;
	bits = (net.addr.family == SY_IPV4 ? 32 : 128) + mapped;
	if (slash) {
		uint64_t most = bits;

		if (!uint_parse(slash + 1, &bits) || bits > most || bits < mapped)
			return false;
	}
	net.bits = (uint8_t)(bits - mapped);
	masked = sy_addr_mask(net.addr, net.bits);
	if (memcmp(&masked, &net.addr, sizeof(masked)) != 0)
		return false;
	*out = net;
	return true;
}

/* "Did you mean". */

#define NEAREST_LONGEST 48

static unsigned char
text_lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Damerau-Levenshtein in its restricted form (no substring is edited twice), upper and lower case
 * being the same. Three rows of the table are enough. */
static size_t
text_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	uint8_t rows[3][NEAREST_LONGEST + 1];
	uint8_t *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = (uint8_t)j;
	memset(before, 0, sizeof(rows[0]));
	for (size_t i = 1; i <= a_len; i++) {
		uint8_t *spare = before;

		row[0] = (uint8_t)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned char x = text_lower(a[i - 1]), y = text_lower(b[j - 1]);
			unsigned best = last[j - 1] + (x != y);

			if (last[j] + 1u < best)
				best = last[j] + 1u;
			if (row[j - 1] + 1u < best)
				best = row[j - 1] + 1u;
			if (i > 1 && j > 1 && x == text_lower(b[j - 2]) &&
			    y == text_lower(a[i - 2]) && before[j - 2] + 1u < best)
				best = before[j - 2] + 1u;
			row[j] = (uint8_t)best;
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[b_len];
}

static size_t
text_same_start(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && text_lower(a[n]) == text_lower(b[n]))
		n++;
	return n;
}

const char *
text_nearest(const char *word, const char *const *words)
{
	size_t len = strlen(word), nearest = SIZE_MAX;
	const char *found = NULL;

	if (len == 0 || len > NEAREST_LONGEST)
		return NULL;
	for (; *words; words++) {
		size_t other = strlen(*words), longer = len > other ? len : other, distance;

		if (other == 0 || other > NEAREST_LONGEST)
			continue;
		distance = text_distance(word, len, *words, other);
		/* A third may be wrong, one letter always, but something must be right. */
		if (distance > (longer < 3 ? 1 : longer / 3) || distance >= longer)
			continue;
		/* Beginnings are seldom mistyped: "of" is rather off than on. */
		if (distance < nearest ||
		    (distance == nearest &&
		     text_same_start(word, *words) > text_same_start(word, found))) {
			nearest = distance;
			found = *words;
		}
	}
	return found;
}
