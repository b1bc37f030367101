#include "out.h"

#include <arpa/inet.h>
#include <stdlib.h>

void
out_free(struct out *out)
{
	free(out->at);
	*out = (struct out){ .at = NULL };
}

static bool
out_room(struct out *out, size_t more)
{
	size_t room = out->room ? out->room : 512;
	char *at;

	if (out->failed || out->room - out->len >= more)
		return !out->failed;
	while (room - out->len < more)
		room *= 2;
	at = realloc(out->at, room);
	if (!at) {
		out->failed = true;
		return false;
	}
	out->at = at;
	out->room = room;
	return true;
}

void
out_begin(struct out *out, size_t room)
{
	out_free(out);
	out_room(out, room);
}

void
out_bytes(struct out *out, const void *bytes, size_t len)
{
	if (!len || !out_room(out, len))
		return;
	memcpy(out->at + out->len, bytes, len);
	out->len += len;
}

void
out_text(struct out *out, const char *text)
{
	out_bytes(out, text, strlen(text));
}

void
out_span(struct out *out, struct sy_span span)
{
	out_bytes(out, span.at, span.len);
}

void
out_number(struct out *out, uint64_t number)
{
	char digits[20];
	size_t n = sizeof(digits);

	do
		digits[--n] = (char)('0' + number % 10);
	while (number /= 10);
	out_bytes(out, digits + n, sizeof(digits) - n);
}

void
out_field(struct out *out, const char *name, struct sy_span value)
{
	out_text(out, name);
	out_bytes(out, ": ", 2);
	out_span(out, value);
	out_bytes(out, "\r\n", 2);
}

struct sy_span
out_said(const struct out *out)
{
	return sy_span(out->at, out->len);
}

const char *
addr_words(const struct sy_addr *addr, char text[static OUT_ADDR])
{
	if (!inet_ntop(addr->family == SY_IPV6 ? AF_INET6 : AF_INET, addr->ip, text, OUT_ADDR))
		strcpy(text, "unknown");
	return text;
}
