#include "rewrite.h"

#include <stdio.h>

#include "value.h"

enum { REWRITE_MORE = 256 };      /* for what is added beside `fields`, `uri` and `from` */

struct rewrite_out {
	uint8_t *at;
	size_t len, size;
	bool full;
};

static void
put(struct rewrite_out *out, struct sy_span text)
{
	if (out->size - out->len < text.len)
		out->full = true;
	else if (text.len)
		memcpy(out->at + out->len, text.at, text.len);
	out->len += out->full ? 0 : text.len;
}

static void
put_text(struct rewrite_out *out, const char *text)
{
	put(out, sy_span_text(text));
}

static void
put_number(struct rewrite_out *out, const char *words, uint64_t number)
{
	char text[64];

	put(out, sy_span(text, (size_t)snprintf(text, sizeof(text), "%s%llu", words,
	                                        (unsigned long long)number)));
}

static void
put_start(struct rewrite_out *out, struct sy_span line, const struct sip_message *message,
          const struct rewrite *how)
{
	if (!how->uri.len) {
		put(out, line);
	} else {
		put(out, message->method);
		put_text(out, " ");
		put(out, how->uri);
		put_text(out, " SIP/2.0");
	}
	put_text(out, "\r\n");
}

/* ---- Via ---- */

static struct sy_span
rewrite_host(struct sy_span sent_by)
{
	const uint8_t *end = sent_by.len ? memchr(sent_by.at, *sent_by.at == '[' ? ']' : ':', sent_by.len) : NULL;

	if (sent_by.len && *sent_by.at == '[')
		sent_by = sy_span(sent_by.at + 1, sent_by.len - 1);
	return sip_trim(sy_span(sent_by.at, end ? (size_t)(end - sent_by.at) : sent_by.len));
}

static bool
rewrite_same(struct sy_span one, struct sy_span other)
{
	return one.len == other.len && memcmp(one.at, other.at, one.len) == 0;
}

/* What follows the sent-by: received is ours to say, and rport when it was asked for (RFC 3581 4). */
static void
put_via_parameters(struct rewrite_out *out, const struct sip_via *via, const struct rewrite *how)
{
	struct sy_span rest = via->parameters, name, value;
	bool differs = !rewrite_same(rewrite_host(via->sent_by), how->from), bad;

	while (sip_next_parameter(&rest, &name, &value, &bad)) {
		bool asked = sip_is(name, "rport");

		if (sip_is(name, "received"))
			continue;
		put_text(out, ";");
		put(out, name);
		if (asked) {
			put_number(out, "=", how->from_port);
		} else if (value.len) {
			put_text(out, "=");
			put(out, value);
		}
		differs = differs || asked;
	}
	if (differs) {
		put_text(out, ";received=");
		put(out, how->from);
	}
}

static void
put_via_told(struct rewrite_out *out, struct sy_span line, struct sy_span value, const struct rewrite *how)
{
	struct sip_via via;

	if (!how->from.len || !sip_via_parts(value, &via)) {
		put(out, line);
	} else {
		put_text(out, "Via: ");
		put(out, sy_span(value.at, (size_t)(via.parameters.at - value.at)));
		put_via_parameters(out, &via, how);
		put(out, via.rest);
	}
	put_text(out, "\r\n");
}

static void
put_via_popped(struct rewrite_out *out, struct sy_span value)
{
	struct sip_via via;

	if (!sip_via_parts(value, &via))
		return;
	via.rest = sip_trim(via.rest);
	if (via.rest.len < 2)
		return;
	put_text(out, "Via: ");
	put(out, sip_trim(sy_span(via.rest.at + 1, via.rest.len - 1)));
	put_text(out, "\r\n");
}

/* ---- Route ---- */

static uint32_t
rewrite_routes(const struct sip_message *message)
{
	struct sy_span rest = message->head, list, value;
	uint32_t n = 0;

	(void)sip_line(&rest);
	for (struct sy_span line = sip_line(&rest); line.len; line = sip_line(&rest))
		if (sip_field_is(line, "route", 0, &list))
			while (sip_next_value(&list, &value))
				n++;
	return n;
}

/* *at: which of all values comes next; last: the one that goes, or UINT32_MAX. */
static void
put_route(struct rewrite_out *out, struct sy_span list, const struct rewrite *how, uint32_t *at, uint32_t last)
{
	struct sy_span value;
	bool any = false;

	for (; sip_next_value(&list, &value); ++*at) {
		if (*at < how->routes || *at == last)
			continue;
		put_text(out, any ? ", " : "Route: ");
		put(out, value);
		any = true;
	}
	if (any)
		put_text(out, "\r\n");
}

/* ---- all of it ---- */

size_t
rewrite_most(const struct sip_message *message, const struct rewrite *how)
{
	return message->head.len + how->uri.len + how->fields.len + how->from.len + how->add_route.len + REWRITE_MORE;
}

/* What is not there yet. */
static void
put_missing(struct rewrite_out *out, const struct sip_message *message, const struct rewrite *how)
{
	if (how->add_route.len) {
		put_text(out, "Route: <");
		put(out, how->add_route);
		put_text(out, ">\r\n");
	}
	if (how->forwards && message->max_forwards == UINT32_MAX)
		put_text(out, "Max-Forwards: 70\r\n");
	if (how->length && !message->length) {
		put_number(out, "Content-Length: ", message->body);
		put_text(out, "\r\n");
	}
}

size_t
rewrite(const struct sip_message *message, const struct rewrite *how, uint8_t *at, size_t size)
{
	struct rewrite_out out = { .at = at, .size = size };
	struct sy_span rest = message->head, value;
	uint32_t route = 0, last = how->last_route ? rewrite_routes(message) - 1 : UINT32_MAX;
	bool via = false;

	put_start(&out, sip_line(&rest), message, how);
	put(&out, how->fields);
	for (struct sy_span line = sip_line(&rest); line.len; line = sip_line(&rest)) {
		if (!via && sip_field_is(line, "via", 'v', &value)) {
			via = true;
			if (how->pops_via)
				put_via_popped(&out, value);
			else
				put_via_told(&out, line, value, how);
		} else if ((how->routes || how->last_route) && sip_field_is(line, "route", 0, &value)) {
			put_route(&out, value, how, &route, last);
		} else if (how->forwards && sip_field_is(line, "max-forwards", 0, &value)) {
			put_number(&out, "Max-Forwards: ", message->max_forwards ? message->max_forwards - 1 : 0);
			put_text(&out, "\r\n");
		} else {
			put(&out, line);
			put_text(&out, "\r\n");
		}
	}
	put_missing(&out, message, how);
	put_text(&out, "\r\n");
	return out.full ? 0 : out.len;
}
