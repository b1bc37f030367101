#include "value.h"

#include <strings.h>

bool
sip_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

bool
sip_is_token(uint8_t c)
{
	return sip_is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c && strchr("-.!%*_+`'~", c));
}

bool
sip_is(struct sy_span text, const char *word)
{
	return strlen(word) == text.len && strncasecmp((const char *)text.at, word, text.len) == 0;
}

static bool
sip_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct sy_span
sip_skip(struct sy_span text, size_t n)
{
	return sy_span(text.at + n, text.len - n);
}

static struct sy_span
sip_skip_blanks(struct sy_span text)
{
	size_t n = 0;

	while (n < text.len && sip_is_blank(text.at[n]))
		n++;
	return sip_skip(text, n);
}

struct sy_span
sip_trim(struct sy_span text)
{
	text = sip_skip_blanks(text);
	while (text.len && sip_is_blank(text.at[text.len - 1]))
		text.len--;
	return text;
}

struct sy_span
sip_first_word(struct sy_span text)
{
	size_t n = 0;

	while (n < text.len && !sip_is_blank(text.at[n]) && text.at[n] != ';' && text.at[n] != '(')
		n++;
	return sy_span(text.at, n);
}

bool
sip_number(struct sy_span text, uint64_t most, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (!sip_is_digit(text.at[i]))
			return false;
		n = n * 10 + (uint64_t)(text.at[i] - '0');
		if (n > most)
			return false;
	}
	*out = n;
	return text.len > 0;
}

/* Behind a quoted string that begins here; NULL: it does not end. */
static const uint8_t *
sip_quoted(const uint8_t *at, const uint8_t *end)
{
	for (at++; at < end; at++) {
		if (*at == '"')
			return at + 1;
		if (*at == '\\')
			at++;
	}
	return NULL;
}

/* Behind the address of a value: at its first parameter, at a comma, or at the end. NULL: quotes or
 * brackets are not closed. uri, when wanted: what stands in the brackets, or all. */
static const uint8_t *
sip_address(struct sy_span value, struct sy_span *uri)
{
	const uint8_t *at = value.at, *end = at + value.len;

	if (uri)
		*uri = sy_span(at, 0);
	while (at < end && *at != '<' && *at != ';' && *at != ',') {
		if (*at == '"')
			at = sip_quoted(at, end);
		else
			at++;
		if (!at)
			return NULL;
	}
	/* A comma in a name that is not quoted (RFC 4475 3.1.2.15): the brackets tell. */
	if (at < end && *at == ',' && memchr(at, '<', (size_t)(end - at)) &&
	    !memchr(value.at, ':', (size_t)(at - value.at)))
		at = memchr(at, '<', (size_t)(end - at));
	if (at < end && *at == '<') {
		const uint8_t *close = memchr(at, '>', (size_t)(end - at));

		if (!close)
			return NULL;
		if (uri)
			*uri = sip_trim(sy_span(at + 1, (size_t)(close - at) - 1));
		return close + 1;
	}
	if (uri)
		*uri = sip_trim(sy_span(value.at, (size_t)(at - value.at)));
	return at;
}

static bool
sip_is_mark(uint8_t c)
{
	return c == '"' || c == '<' || c == '>';
}

bool
sip_next_parameter(struct sy_span *rest, struct sy_span *name, struct sy_span *value, bool *bad)
{
	const uint8_t *at, *end;

	*bad = false;
	*rest = sip_skip_blanks(*rest);
	if (!rest->len || *rest->at == ',')
		return false;
	*rest = sip_skip_blanks(sip_skip(*rest, *rest->at == ';'));
	at = rest->at, end = at + rest->len;
	while (at < end && sip_is_token(*at))
		at++;
	*name = sy_span(rest->at, (size_t)(at - rest->at));
	*value = sy_span(at, 0);
	*rest = sip_skip_blanks(sy_span(at, (size_t)(end - at)));
	*bad = !name->len;
	if (*bad || !rest->len || *rest->at != '=')
		return !*bad;
	*rest = sip_skip_blanks(sip_skip(*rest, 1));
	at = rest->at;
	if (at < end && *at == '"') {
		at = sip_quoted(at, end);
		*bad = !at;
	} else {
		while (at < end && *at != ';' && *at != ',' && !sip_is_mark(*at) && !sip_is_blank(*at))
			at++;
		/* A quote or a bracket in the middle begins something for one reader, and for another one it
		 * does not. */
		*bad = at == rest->at || (at < end && sip_is_mark(*at));
	}
	if (*bad)
		return false;
	*value = sy_span(rest->at, (size_t)(at - rest->at));
	*rest = sy_span(at, (size_t)(end - at));
	return true;
}

bool
sip_tag(struct sy_span value, struct sy_span *tag)
{
	struct sy_span name, text, rest;
	const uint8_t *at = sip_address(value, &text);
	bool bad;

	*tag = sy_span(NULL, 0);
	if (!at || !sip_uri_is_plausible(text))
		return false;
	rest = sy_span(at, value.len - (size_t)(at - value.at));
	while (sip_next_parameter(&rest, &name, &text, &bad))
		if (!tag->len && sip_is(name, "tag"))
			*tag = text;
	return !bad && !rest.len;   /* it is no list */
}

/* A word of the sent-protocol, and the slash in front of it but for the first. */
static bool
sip_via_word(struct sy_span *rest, bool slash, const char *word)
{
	size_t n = 0;
	struct sy_span have;

	*rest = sip_skip_blanks(*rest);
	if (slash) {
		if (!rest->len || *rest->at != '/')
			return false;
		*rest = sip_skip_blanks(sip_skip(*rest, 1));
	}
	while (n < rest->len && sip_is_token(rest->at[n]))
		n++;
	have = sy_span(rest->at, n);
	*rest = sip_skip(*rest, n);
	return n > 0 && (!word || sip_is(have, word));
}

bool
sip_via_parts(struct sy_span value, struct sip_via *via)
{
	struct sy_span rest = value, name, text;
	size_t n = 0;
	bool bad;

	if (!sip_via_word(&rest, false, "SIP") || !sip_via_word(&rest, true, "2.0") ||
	    !sip_via_word(&rest, true, NULL) || !rest.len || !sip_is_blank(*rest.at))
		return false;
	for (via->transport = sy_span(rest.at, 0); sip_is_token(via->transport.at[-1]);)
		via->transport = sy_span(via->transport.at - 1, via->transport.len + 1);
	rest = sip_skip_blanks(rest);
	while (n < rest.len && rest.at[n] != ';' && rest.at[n] != ',')
		n++;
	via->sent_by = sip_trim(sy_span(rest.at, n));
	if (!via->sent_by.len)
		return false;
	rest = sip_skip(rest, n);
	via->parameters = rest;
	while (sip_next_parameter(&rest, &name, &text, &bad))
		;
	via->parameters.len -= rest.len;
	via->rest = rest;
	return !bad;
}

struct sy_span
sip_via_parameter(struct sy_span value, const char *wanted)
{
	struct sy_span rest, name, text;
	struct sip_via via;
	bool bad;

	if (!sip_via_parts(value, &via))
		return sy_span(NULL, 0);
	rest = via.parameters;
	while (sip_next_parameter(&rest, &name, &text, &bad))
		if (text.len && sip_is(name, wanted))
			return text;
	return sy_span(NULL, 0);
}

bool
sip_via(struct sy_span value, struct sy_span *branch)
{
	struct sip_via via;

	*branch = sip_via_parameter(value, "branch");
	return sip_via_parts(value, &via);
}

bool
sip_next_value(struct sy_span *rest, struct sy_span *value)
{
	const uint8_t *at = rest->at, *end = at + rest->len;
	bool bracket = false;

	if (!sip_trim(*rest).len)
		return false;
	while (at < end && (*at != ',' || bracket)) {
		if (*at == '"' && !bracket) {
			at = sip_quoted(at, end);
			at = at ? at : end;
			continue;
		}
		bracket = (bracket || *at == '<') && *at != '>';
		at++;
	}
	*value = sip_trim(sy_span(rest->at, (size_t)(at - rest->at)));
	at += at < end;
	*rest = sy_span(at, (size_t)(end - at));
	return true;
}

struct sy_span
sip_parameter(struct sy_span value, const char *wanted)
{
	const uint8_t *at = sip_address(value, NULL);
	struct sy_span rest, name, text;
	bool bad;

	if (!at)
		return sy_span(NULL, 0);
	rest = sy_span(at, value.len - (size_t)(at - value.at));
	while (sip_next_parameter(&rest, &name, &text, &bad))
		if (sip_is(name, wanted))
			return text;
	return sy_span(NULL, 0);
}

struct sy_span
sip_uri(struct sy_span value)
{
	struct sy_span uri;

	return sip_address(value, &uri) ? uri : sy_span(NULL, 0);
}

bool
sip_uri_is_plausible(struct sy_span uri)
{
	const uint8_t *colon = uri.len ? memchr(uri.at, ':', uri.len) : NULL;

	if (!colon || colon == uri.at || colon + 1 == uri.at + uri.len)
		return false;
	for (const uint8_t *at = uri.at; at < colon; at++)
		if (!sip_is_token(*at))
			return false;
	for (size_t i = 0; i < uri.len; i++)
		if (uri.at[i] <= ' ' || uri.at[i] == '<' || uri.at[i] == '>' || uri.at[i] == '"')
			return false;
	return true;
}

/* Behind the scheme of a sip: or sips: URI, up to its parameters and headers. */
static struct sy_span
sip_uri_body(struct sy_span uri)
{
	size_t skip = uri.len > 4 && sip_is(sy_span(uri.at, 4), "sip:") ? 4
	            : uri.len > 5 && sip_is(sy_span(uri.at, 5), "sips:") ? 5 : 0;
	const uint8_t *at;

	if (!skip)
		return sy_span(uri.at, 0);
	uri = sip_skip(uri, skip);
	/* ; and ? may stand in the user part as well (RFC 4475 3.1.1.9). */
	at = memchr(uri.at, '@', uri.len);
	for (size_t i = at ? (size_t)(at - uri.at) : 0; i < uri.len; i++)
		if (uri.at[i] == ';' || uri.at[i] == '?')
			uri.len = i;
	return uri;
}

struct sy_span
sip_uri_host(struct sy_span uri)
{
	const uint8_t *at;
	size_t n = 0;

	uri = sip_uri_body(uri);
	at = uri.len ? memchr(uri.at, '@', uri.len) : NULL;
	if (at)
		uri = sip_skip(uri, (size_t)(at - uri.at) + 1);
	if (uri.len && uri.at[0] == '[') {
		at = memchr(uri.at, ']', uri.len);
		return sy_span(uri.at + 1, at ? (size_t)(at - uri.at) - 1 : 0);
	}
	while (n < uri.len && uri.at[n] != ':')
		n++;
	return sip_trim(sy_span(uri.at, n));
}

struct sy_span
sip_uri_user(struct sy_span uri)
{
	struct sy_span body = sip_uri_body(uri);
	const uint8_t *at = body.len ? memchr(body.at, '@', body.len) : NULL;

	return sy_span(body.at, at ? (size_t)(at - body.at) : 0);
}

uint16_t
sip_uri_port(struct sy_span uri)
{
	struct sy_span body = sip_uri_body(uri), host = sip_uri_host(uri);
	const uint8_t *at = host.len ? host.at + host.len : NULL, *end = body.at + body.len;
	uint64_t port = 0;

	if (at && at < end && *at == ']')
		at++;
	if (!at || at >= end || *at != ':' || !sip_number(sy_span(at + 1, (size_t)(end - at) - 1), 65535, &port))
		return 0;
	return (uint16_t)port;
}

bool
sip_uri_has(struct sy_span uri, const char *parameter)
{
	struct sy_span body = sip_uri_body(uri);
	size_t at = body.len ? (size_t)(body.at + body.len - uri.at) : uri.len;

	while (at < uri.len && uri.at[at] == ';') {
		size_t name = ++at, len;

		while (at < uri.len && uri.at[at] != ';' && uri.at[at] != '=' && uri.at[at] != '?')
			at++;
		len = at - name;
		if (sip_is(sy_span(uri.at + name, len), parameter))
			return true;
		while (at < uri.len && uri.at[at] != ';' && uri.at[at] != '?')
			at++;
	}
	return false;
}

static size_t
sip_put(char *out, size_t len, size_t size, struct sy_span text, bool lower)
{
	for (size_t i = 0; i < text.len && len < size; i++) {
		uint8_t c = text.at[i];

		out[len++] = (char)(lower && c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	}
	return len;
}

size_t
sip_uri_aor(struct sy_span uri, char *out, size_t size)
{
	struct sy_span body = sip_uri_body(uri);
	const uint8_t *at = body.len ? memchr(body.at, '@', body.len) : NULL;
	size_t len = 0;

	if (uri.len > 4 && sip_is(sy_span(uri.at, 4), "tel:")) {
		size_t n = 4;

		while (n < uri.len && uri.at[n] != ';')
			n++;
		return sip_put(out, 0, size, sy_span(uri.at + 4, n - 4), false);
	}
	if (at) {
		struct sy_span user = sy_span(body.at, (size_t)(at - body.at));
		const uint8_t *colon = user.len ? memchr(user.at, ':', user.len) : NULL;

		if (colon)   /* a password */
			user.len = (size_t)(colon - user.at);
		len = sip_put(out, 0, size, user, false);
		len = sip_put(out, len, size, sy_span("@", 1), false);
	}
	return sip_put(out, len, size, sip_uri_host(uri), true);
}
