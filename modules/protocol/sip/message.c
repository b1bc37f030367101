#include "message.h"

#include "value.h"

static enum sip_read
sip_wrong(struct sip_message *out, uint16_t answer, const char *problem)
{
	out->answer = answer;
	out->problem = problem;
	return SIP_WRONG;
}

/* ---- the bytes, each once ---- */

/* What the first bytes give away, so that nobody waits for the end of a line that never comes. */
static enum sip_read
sip_first(struct sy_span in, struct sip_message *out)
{
	uint8_t first = in.at[0];
	size_t i = 0;

	if (first == 0x16 || first == 0x80)
		return sip_wrong(out, 0, "TLS where SIP in clear is expected");
	while (i < in.len && (sip_is_token(in.at[i]) || (in.at[i] == '/' && i == 3)))
		i++;
	if (i == in.len)
		return i > SIP_METHOD_MOST ? sip_wrong(out, 0, "not SIP: a method without end")
					   : SIP_MORE;
	if (i == 0 || i > SIP_METHOD_MOST || in.at[i] != ' ')
		return sip_wrong(out, 0, "not SIP: it begins with neither a method nor SIP/2.0");
	return SIP_MESSAGE;
}

/* Looks for the empty line, and at the end of each line. SIP_MESSAGE: out->len is the head's. */
static enum sip_read
sip_scan_head(struct sip_scan *scan, struct sy_span in, struct sip_message *out)
{
	size_t most = in.len < SIP_HEAD_MOST ? in.len : SIP_HEAD_MOST;

	while (scan->at < most) {
		uint8_t c = in.at[scan->at];

		if (c == '\r') {
			if (scan->at + 1 == most)
				break;
			if (in.at[scan->at + 1] != '\n')
				return sip_wrong(out, 400, "a CR without LF in a message's head");
			scan->at += 2;
			if (scan->at - scan->line == 2) {
				out->len = scan->at;
				return SIP_MESSAGE;
			}
			if (++scan->lines > SIP_FIELDS_MOST + 1)
				return sip_wrong(out, 513, "a message with more than 256 fields");
			scan->line = scan->at;
			continue;
		}
		if (c == '\n')
			return sip_wrong(out, 400, "a line that ends with LF alone");
		if (c == '\0')
			return sip_wrong(out, 400, "a NUL in a message's head");
		if (scan->at - scan->line >= (scan->lines ? SIP_LINE_MOST : SIP_START_MOST))
			return sip_wrong(out, scan->lines ? 513 : 414, scan->lines
				? "a line longer than 16 KiB" : "a start line longer than 8 KiB");
		scan->at++;
	}
	return in.len >= SIP_HEAD_MOST ? sip_wrong(out, 513, "a head longer than 64 KiB")
				       : SIP_MORE;
}

/* ---- the start line ---- */

static bool
sip_is_version(struct sy_span text)
{
	return sip_is(text, "SIP/2.0");
}

static enum sip_read
sip_status_line(struct sy_span line, struct sip_message *out)
{
	const uint8_t *at = line.at;

	if (line.len < 12 || at[7] != ' ' || at[11] != ' ' || !sip_is_digit(at[8]) ||
	    !sip_is_digit(at[9]) || !sip_is_digit(at[10]))
		return sip_wrong(out, 0, "a response without a status of three digits");
	out->status = (uint16_t)((at[8] - '0') * 100 + (at[9] - '0') * 10 + (at[10] - '0'));
	if (out->status < 100 || out->status > 699)
		return sip_wrong(out, 0, "a response with a status that is none");
	return SIP_MESSAGE;
}

/* METHOD SP URI SP SIP/2.0, with one blank each: more of them are read differently by different
 * servers (RFC 4475 3.1.2.9 to 3.1.2.12). */
static enum sip_read
sip_request_line(struct sy_span line, struct sip_message *out)
{
	const uint8_t *first = memchr(line.at, ' ', line.len), *second;
	size_t rest = line.len - (size_t)(first - line.at) - 1;

	second = memchr(first + 1, ' ', rest);
	if (!second || memchr(second + 1, ' ', line.len - (size_t)(second - line.at) - 1))
		return sip_wrong(out, 400, "a request line that is not METHOD, URI and SIP/2.0");
	out->request = true;
	out->method = sy_span(line.at, (size_t)(first - line.at));
	out->uri = sy_span(first + 1, (size_t)(second - first) - 1);
	line = sy_span(second + 1, line.len - (size_t)(second - line.at) - 1);
	if (line.len >= 5 && memcmp(line.at, "HTTP/", 5) == 0)
		return sip_wrong(out, 0, "HTTP where SIP is expected");
	if (!sip_is_version(line))
		return sip_wrong(out, line.len > 4 && memcmp(line.at, "SIP/", 4) == 0 ? 505 : 400,
		                 "a request of a version other than SIP/2.0");
	if (memchr(out->method.at, '/', out->method.len) || !sip_uri_is_plausible(out->uri))
		return sip_wrong(out, 400, "a request line whose URI is none");
	return SIP_MESSAGE;
}

static enum sip_read
sip_start_line(struct sy_span line, struct sip_message *out)
{
	if (line.len > 7 && sip_is_version(sy_span(line.at, 7)) && line.at[7] == ' ')
		return sip_status_line(line, out);
	return sip_request_line(line, out);
}

/* ---- fields ---- */

struct sy_span
sip_line(struct sy_span *rest)
{
	const uint8_t *at = rest->at, *end = at + rest->len;
	struct sy_span line;

	while (end - at > 2 && (at = memchr(at, '\r', (size_t)(end - at) - 1)) != NULL &&
	       at + 2 < end && (at[2] == ' ' || at[2] == '\t') && at > rest->at)
		at += 2;
	if (!at || end - at < 2)
		at = end - (rest->len < 2 ? rest->len : 2);
	line = sy_span(rest->at, (size_t)(at - rest->at));
	at += end - at < 2 ? end - at : 2;
	*rest = sy_span(at, (size_t)(end - at));
	return line;
}

/* The name in front of the colon; len 0 when it is none. */
static struct sy_span
sip_field_name(struct sy_span line, struct sy_span *value)
{
	const uint8_t *colon = memchr(line.at, ':', line.len);
	struct sy_span name;

	if (!colon)
		return sy_span(line.at, 0);
	name = sy_span(line.at, (size_t)(colon - line.at));
	*value = sip_trim(sy_span(colon + 1, line.len - name.len - 1));
	while (name.len && (name.at[name.len - 1] == ' ' || name.at[name.len - 1] == '\t'))
		name.len--;
	for (size_t i = 0; i < name.len; i++)
		if (!sip_is_token(name.at[i]))
			return sy_span(line.at, 0);
	return name;
}

static bool
sip_name_is(struct sy_span have, const char *name, char compact)
{
	if (have.len == 1)
		return compact && (have.at[0] | 0x20) == compact;
	return sip_is(have, name);
}

bool
sip_field_is(struct sy_span line, const char *name, char compact, struct sy_span *value)
{
	struct sy_span have = sip_field_name(line, value);

	return have.len && sip_name_is(have, name, compact);
}

enum field {
	F_VIA, F_FROM, F_TO, F_CALL_ID, F_CSEQ, F_LENGTH, F_MAX_FORWARDS, F_CONTACT, F_EXPIRES,
	F_RETRY_AFTER, F_COMPRESSION, F_OTHER
};

static const struct {
	const char *name;
	char compact;
	bool once;                /* a second one is refused */
} fields[F_OTHER] = {
	[F_VIA] = { "via", 'v', false },
	[F_FROM] = { "from", 'f', true },
	[F_TO] = { "to", 't', true },
	[F_CALL_ID] = { "call-id", 'i', true },
	[F_CSEQ] = { "cseq", 0, true },
	[F_LENGTH] = { "content-length", 'l', false },
	[F_MAX_FORWARDS] = { "max-forwards", 0, true },
	[F_CONTACT] = { "contact", 'm', false },
	[F_EXPIRES] = { "expires", 0, false },
	[F_RETRY_AFTER] = { "retry-after", 0, false },
	[F_COMPRESSION] = { "compression", 0, false },
};

static enum field
sip_which(struct sy_span name)
{
	for (unsigned i = 0; i < F_OTHER; i++)
		if (sip_name_is(name, fields[i].name, fields[i].compact))
			return (enum field)i;
	return F_OTHER;
}

static const char *
sip_cseq(struct sy_span value, struct sip_message *out)
{
	uint64_t number;
	size_t digits = 0;
	struct sy_span method;

	while (digits < value.len && sip_is_digit(value.at[digits]))
		digits++;
	method = sip_trim(sy_span(value.at + digits, value.len - digits));
	if (!sip_number(sy_span(value.at, digits), SIP_NUMBER_MOST, &number) || !method.len ||
	    method.at == value.at + digits)
		return "a CSeq that is not a number below 2^31 and a method";
	for (size_t i = 0; i < method.len; i++)
		if (!sip_is_token(method.at[i]))
			return "a CSeq whose method is none";
	out->cseq = (uint32_t)number;
	if (!out->request)
		out->method = method;
	else if (method.len != out->method.len ||
		 memcmp(method.at, out->method.at, method.len) != 0)
		return "a CSeq with another method than the request";
	return NULL;
}

/* One field. Returns what is wrong with it, or NULL. */
static const char *
sip_field(enum field which, bool again, struct sy_span value, struct sip_message *out)
{
	struct sy_span *const keep[F_OTHER] = {
	    [F_VIA] = &out->via,
	    [F_FROM] = &out->from,
	    [F_TO] = &out->to,
	    [F_CALL_ID] = &out->call_id,
	    [F_CONTACT] = &out->contact,
	    [F_EXPIRES] = &out->expires,
	    [F_RETRY_AFTER] = &out->retry_after,
	    [F_COMPRESSION] = &out->compression,
	};
	uint64_t number;

	if (keep[which] && !again)
		*keep[which] = value;
	switch (which) {
	case F_LENGTH:
		if (!sip_number(value, UINT32_MAX, &number))
			return "a Content-Length that is no number";
		if (again && number != out->body)
			return "two Content-Length that differ";
		out->body = number;
		return NULL;
	case F_CSEQ:
		return sip_cseq(value, out);
	case F_MAX_FORWARDS:
		if (!sip_number(value, 255, &number))
			return "a Max-Forwards that is not 0 to 255";
		out->max_forwards = (uint32_t)number;
		return NULL;
	case F_CALL_ID:
		return value.len ? NULL : "an empty Call-ID";
	case F_FROM:
		return sip_tag(value, &out->from_tag) ? NULL : "a From that cannot be read";
	case F_TO:
		return sip_tag(value, &out->to_tag) ? NULL : "a To that cannot be read";
	case F_VIA:
		return again || sip_via(value, &out->branch) ? NULL : "a Via that cannot be read";
	case F_CONTACT:
	case F_EXPIRES:
	case F_RETRY_AFTER:
	case F_COMPRESSION:
	case F_OTHER:
		break;
	}
	return NULL;
}

static const struct {
	enum field field;
	const char *problem;
} needed[] = {
	{ F_VIA, "a message without Via" },
	{ F_FROM, "a message without From" },
	{ F_TO, "a message without To" },
	{ F_CALL_ID, "a message without Call-ID" },
	{ F_CSEQ, "a message without CSeq" },
};

/* All fields of a complete head, whose lines are good. */
static enum sip_read
sip_fields(struct sy_span rest, bool stream, struct sip_message *out)
{
	uint32_t seen = 0;
	const char *problem = NULL;

	for (struct sy_span line = sip_line(&rest), value; line.len; line = sip_line(&rest)) {
		struct sy_span name = sip_field_name(line, &value);
		enum field which;

		if (!name.len)
			return sip_wrong(out, 400, "a line that is no field");
		which = sip_which(name);
		if (which == F_OTHER)
			continue;
		if (seen & 1u << which && fields[which].once)
			problem = "a field twice that may stand once";
		else if (!problem)
			problem = sip_field(which, seen >> which & 1, value, out);
		else
			(void)sip_field(which, seen >> which & 1, value, out);
		seen |= 1u << which;
	}
	for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]) && !problem; i++)
		if (!(seen & 1u << needed[i].field))
			problem = needed[i].problem;
	if (problem)
		return sip_wrong(out, out->request ? 400 : 0, problem);
	if (stream && !(seen & 1u << F_LENGTH))
		return sip_wrong(out, out->request ? 400 : 0, "a message without Content-Length");
	out->length = seen >> F_LENGTH & 1;
	if (!out->length)
		out->body = UINT64_MAX;
	return SIP_MESSAGE;
}

/* A complete head. */
static enum sip_read
sip_head(bool stream, struct sip_message *out)
{
	struct sy_span rest = out->head, line;
	enum sip_read got;

	line = sip_line(&rest);
	if (memchr(line.at, '\r', line.len))
		return sip_wrong(out, 400, "a start line that goes on in the next line");
	got = sip_start_line(line, out);
	return got == SIP_MESSAGE ? sip_fields(rest, stream, out) : got;
}

/* ---- the two ways in ---- */

static enum sip_read
sip_blank(struct sy_span in, struct sip_message *out)
{
	size_t n = 0;

	while (n + 1 < in.len && in.at[n] == '\r' && in.at[n + 1] == '\n')
		n += 2;
	out->len = n;
	if (n)
		return SIP_BLANK;
	return in.len > 1 ? sip_wrong(out, 0, "a CR without LF between messages") : SIP_MORE;
}

static enum sip_read
sip_read_on(struct sip_scan *scan, struct sy_span in, uint64_t body_most, struct sip_message *out)
{
	enum sip_read got = scan->started ? SIP_MESSAGE : sip_first(in, out);

	if (got != SIP_MESSAGE)
		return got;
	scan->started = true;
	got = sip_scan_head(scan, in, out);
	if (got != SIP_MESSAGE)
		return got;
	out->head = sy_span(in.at, out->len);
	got = sip_head(true, out);
	if (got == SIP_MESSAGE && out->body > body_most)
		return sip_wrong(out, out->request ? 513 : 0, "a body longer than what is allowed");
	return got;
}

enum sip_read
sip_read(struct sip_scan *scan, struct sy_span in, uint64_t body_most, struct sip_message *out)
{
	enum sip_read got;

	*out = (struct sip_message){ .max_forwards = UINT32_MAX };
	if (!in.len)
		return SIP_MORE;
	if (in.at[0] == '\r')
		return sip_blank(in, out);
	got = sip_read_on(scan, in, body_most, out);
	if (got != SIP_MORE)
		*scan = (struct sip_scan){ 0 };
	return got;
}

enum sip_read
sip_read_start(struct sy_span in, struct sip_message *out)
{
	enum sip_read got;
	const uint8_t *end;

	*out = (struct sip_message){ .max_forwards = UINT32_MAX };
	if (!in.len)
		return SIP_MORE;
	got = sip_first(in, out);
	if (got != SIP_MESSAGE)
		return got;
	end = memchr(in.at, '\n', in.len);
	if (!end)
		return in.len > SIP_START_MOST ? sip_wrong(out, 0, "a start line longer than 8 KiB")
		                               : SIP_MORE;
	if (end[-1] != '\r')
		return sip_wrong(out, 0, "a line that ends with LF alone");
	return sip_start_line(sy_span(in.at, (size_t)(end - in.at) - 1), out);
}

enum sip_read
sip_read_datagram(struct sy_span in, struct sip_message *out)
{
	struct sip_scan scan = { 0 };
	enum sip_read got;

	*out = (struct sip_message){ .max_forwards = UINT32_MAX };
	if (!in.len)
		return sip_wrong(out, 0, "an empty datagram");
	if (in.at[0] == '\r')
		got = sip_blank(in, out);
	else if ((got = sip_first(in, out)) == SIP_MESSAGE)
		got = sip_scan_head(&scan, in, out);
	if (got == SIP_MESSAGE) {
		out->head = sy_span(in.at, out->len);
		got = sip_head(false, out);
	}
	if (got == SIP_MORE)
		return sip_wrong(out, 0, "a datagram that ends within a message's head");
	if (got != SIP_MESSAGE)
		return got;
	if (out->body == UINT64_MAX)
		out->body = in.len - out->len;
	if (out->body > in.len - out->len)
		return sip_wrong(out, out->request ? 400 : 0,
				 "a datagram that ends within a message's body");
	return SIP_MESSAGE;
}

bool
sip_is_keepalive(struct sy_span in)
{
	size_t i = 0;

	if (in.len >= 20 && (in.at[0] == 0 || in.at[0] == 1))
		return true;
	while (i < in.len && i < 8 && (in.at[i] == '\r' || in.at[i] == '\n' || in.at[i] == '\0'))
		i++;
	return i == in.len && in.len > 0;
}

bool
sip_method_is(const struct sip_message *message, const char *method)
{
	return message->method.len == strlen(method) &&
	       memcmp(message->method.at, method, message->method.len) == 0;
}
