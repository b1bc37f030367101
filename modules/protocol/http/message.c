#include "message.h"

#include <strings.h>

/* What a byte may be part of. */
enum {
	IS_TOKEN = 1,             /* RFC 9110 5.6.2 */
	IS_VALUE = 2,             /* field-content, blanks and obs-text included: RFC 9110 5.5 */
	IS_TARGET = 4,            /* RFC 3986, and what browsers send besides; no fragment */
	IS_HOST = 8,              /* uri-host and port */
};

/* The first half of the bytes; the second is IS_VALUE. */
static const uint8_t message_bytes[128] = {
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0, /* 00 */
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* 10 */
	 2, 15,  6,  3, 15, 15, 15, 15, 14, 14, 15, 15, 14, 15, 15,  6, /* 20 */
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 14, 14,  6, 14,  6,  6, /* 30 */
	 6, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 40 */
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 14,  6, 14,  7, 15, /* 50 */
	 7, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 60 */
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  7,  6, 15,  0, /* 70 */
};

static bool
message_byte_is(uint8_t byte, uint8_t what)
{
	return (byte < 128 ? message_bytes[byte] : IS_VALUE) & what;
}

static const char *const message_known[FIELD_IDS] = {
	"",
#define MESSAGE_NAME(id, name) name,
	MESSAGE_KNOWN(MESSAGE_NAME)
#undef MESSAGE_NAME
};

/* ---- spans ---- */

static bool
span_made_of(struct sy_span text, uint8_t what)
{
	for (size_t i = 0; i < text.len; i++)
		if (!message_byte_is(text.at[i], what))
			return false;
	return true;
}

bool
span_is_token(struct sy_span text)
{
	return text.len > 0 && span_made_of(text, IS_TOKEN);
}

bool
span_is_value(struct sy_span text)
{
	return span_made_of(text, IS_VALUE);
}

bool
span_is_target(struct sy_span text)
{
	return text.len > 0 && span_made_of(text, IS_TARGET);
}

bool
span_is(struct sy_span text, const char *word)
{
	return text.len == strlen(word) && strncasecmp((const char *)text.at, word, text.len) == 0;
}

bool
span_same(struct sy_span text, const char *word)
{
	return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

bool
span_equal(struct sy_span a, struct sy_span b)
{
	return a.len == b.len && (!a.len || strncasecmp((const char *)a.at, (const char *)b.at, a.len) == 0);
}

struct sy_span
span_trim(struct sy_span text)
{
	while (text.len && (*text.at == ' ' || *text.at == '\t'))
		text = sy_span(text.at + 1, text.len - 1);
	while (text.len && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
		text.len--;
	return text;
}

bool
span_element(struct sy_span *list, struct sy_span *element)
{
	while (list->len) {
		const uint8_t *comma = memchr(list->at, ',', list->len);
		size_t len = comma ? (size_t)(comma - list->at) : list->len;

		*element = span_trim(sy_span(list->at, len));
		len += comma != NULL;
		*list = sy_span(list->at + len, list->len - len);
		if (element->len)
			return true;
	}
	return false;
}

bool
span_lists(struct sy_span list, const char *word)
{
	struct sy_span element;

	while (span_element(&list, &element))
		if (span_is(element, word))
			return true;
	return false;
}

/* ---- the end of a head ---- */

enum head_state
head_scan(struct head_scan *scan, struct sy_span in, const struct head_limits *limits)
{
	while (!scan->whole) {
		size_t most = scan->first ? limits->field : limits->line, line;
		const uint8_t *lf = in.len > scan->seen
		                  ? memchr(in.at + scan->seen, '\n', in.len - scan->seen) : NULL;

		line = (lf ? (size_t)(lf - in.at) + 1 : in.len) - scan->line;
		if (line > most)
			return HEAD_LONG;
		if (!lf) {
			scan->seen = (uint32_t)in.len;
			return HEAD_MORE;
		}
		scan->seen = (uint32_t)(lf - in.at) + 1;
		if (line < 2 || lf[-1] != '\r')
			return HEAD_BARE_LF;
		scan->whole = line == 2;
		if (!scan->whole && !scan->first)
			scan->first = scan->seen;
		scan->line = scan->seen;
	}
	return HEAD_WHOLE;
}

bool
head_begins(struct sy_span in)
{
	size_t i = 0;

	/* The beginning of an empty line, which may come before. */
	if (in.len == 1 && in.at[0] == '\r')
		return true;
	while (i < in.len && i <= MESSAGE_METHOD && message_byte_is(in.at[i], IS_TOKEN))
		i++;
	return i == in.len || (i > 0 && i <= MESSAGE_METHOD && in.at[i] == ' ');
}

/* ---- fields ---- */

static bool
message_refuse(struct message *message, uint32_t status, const char *problem)
{
	message->refusal = status;
	message->problem = problem;
	return false;
}

static uint8_t
message_id(struct sy_span name)
{
	for (unsigned id = FIELD_OTHER + 1; id < FIELD_IDS; id++)
		if ((name.at[0] | 0x20) == message_known[id][0] && span_is(name, message_known[id]))
			return (uint8_t)id;
	return FIELD_OTHER;
}

/* A line without its end. */
static bool
message_field(struct message *message, struct sy_span line)
{
	const uint8_t *colon = memchr(line.at, ':', line.len);
	struct field *field = &message->field[message->n];

	if (*line.at == ' ' || *line.at == '\t')
		return message_refuse(message, 400, message->n ? "a field is folded over two lines"
		                                               : "a blank begins the first field");
	if (!colon)
		return message_refuse(message, 400, "a line of the head has no colon");
	field->name = sy_span(line.at, (size_t)(colon - line.at));
	field->value = span_trim(sy_span(colon + 1, line.len - field->name.len - 1));
	field->gone = false;
	if (field->name.len && (colon[-1] == ' ' || colon[-1] == '\t'))
		return message_refuse(message, 400, "a blank stands before a colon");
	if (!span_is_token(field->name))
		return message_refuse(message, 400, "the name of a field holds what no name may");
	if (!span_is_value(field->value))
		return message_refuse(message, 400, "a field holds a control character");
	field->id = message_id(field->name);
	message->n++;
	return true;
}

/* All lines behind the first; the scan has seen to it that each ends with CR LF. */
static bool
message_fields(struct message *message, size_t first, const struct head_limits *limits)
{
	struct sy_span rest = sy_span(message->head.at + first, message->head.len - first - 2);

	message->n = 0;
	while (rest.len) {
		const uint8_t *lf = memchr(rest.at, '\n', rest.len);
		size_t len = (size_t)(lf - rest.at) + 1;

		if (message->n == limits->fields || message->n == MESSAGE_FIELDS)
			return message_refuse(message, 431, "the head has too many fields");
		if (!message_field(message, sy_span(rest.at, len - 2)))
			return false;
		rest = sy_span(rest.at + len, rest.len - len);
	}
	return true;
}

static bool
message_length(struct message *message, struct sy_span value)
{
	uint64_t n = 0;

	if (message->has_length)
		return message_refuse(message, 400, "there are two Content-Length fields");
	if (!value.len)
		return message_refuse(message, 400, "Content-Length is empty");
	for (size_t i = 0; i < value.len; i++) {
		if (value.at[i] < '0' || value.at[i] > '9')
			return message_refuse(message, 400, "Content-Length is no number");
		if (n > (uint64_t)INT64_MAX / 10 - 1)
			return message_refuse(message, 400, "Content-Length is too large");
		n = n * 10 + (uint64_t)(value.at[i] - '0');
	}
	message->has_length = true;
	message->length = n;
	return true;
}

static bool
message_coding(struct message *message, struct sy_span value)
{
	if (message->chunked)
		return message_refuse(message, 400, "there are two Transfer-Encoding fields");
	if (message->minor == 0)
		return message_refuse(message, 400, "Transfer-Encoding does not belong into HTTP/1.0");
	if (!span_is(value, "chunked"))
		return message_refuse(message, 501, "Transfer-Encoding is another than chunked");
	message->chunked = true;
	return true;
}

static void
message_connection(struct message *message, struct sy_span value)
{
	struct sy_span element;

	while (span_element(&value, &element)) {
		if (span_is(element, "close"))
			message->close = true;
		else if (span_is(element, "keep-alive"))
			message->keep_alive = true;
		else if (span_is(element, "upgrade"))
			message->upgrade = true;
	}
}

/* What decides where the message ends, and what becomes of the connection. */
static bool
message_framing(struct message *message)
{
	for (uint32_t i = 0; i < message->n; i++) {
		const struct field *field = &message->field[i];

		if (field->id == FIELD_CONTENT_LENGTH && !message_length(message, field->value))
			return false;
		if (field->id == FIELD_TRANSFER_ENCODING && !message_coding(message, field->value))
			return false;
		if (field->id == FIELD_CONNECTION)
			message_connection(message, field->value);
		if (field->id == FIELD_TE && span_lists(field->value, "trailers"))
			message->te_trailers = true;
	}
	if (message->chunked && message->has_length)
		return message_refuse(message, 400, "there are both Content-Length and Transfer-Encoding");
	return true;
}

/* ---- the first lines ---- */

/* "HTTP/1.1" */
static bool
message_version(struct message *message, struct sy_span word)
{
	if (word.len != 8 || memcmp(word.at, "HTTP/", 5) != 0 || word.at[6] != '.' ||
	    word.at[5] < '0' || word.at[5] > '9' || word.at[7] < '0' || word.at[7] > '9')
		return message_refuse(message, 400, "the first line names no version of HTTP");
	if (word.at[5] != '1' || word.at[7] > '1')
		return message_refuse(message, 505, "the version of HTTP is neither 1.0 nor 1.1");
	message->minor = (uint32_t)(word.at[7] - '0');
	return true;
}

/* Up to the next blank, which is taken, too. */
static struct sy_span
message_word(struct sy_span *line)
{
	const uint8_t *blank = line->len ? memchr(line->at, ' ', line->len) : NULL;
	struct sy_span word = sy_span(line->at, blank ? (size_t)(blank - line->at) : line->len);
	size_t taken = word.len + (blank != NULL);

	*line = sy_span(line->at + taken, line->len - taken);
	return word;
}

/* http://host:port/path: RFC 9112 3.2.2. The authority goes before the Host field. */
static bool
message_absolute(struct message *message)
{
	struct sy_span target = message->target, rest;
	size_t scheme = target.len > 7 && strncasecmp((const char *)target.at, "http://", 7) == 0 ? 7
	              : target.len > 8 && strncasecmp((const char *)target.at, "https://", 8) == 0 ? 8 : 0;
	const uint8_t *slash, *query;

	if (!scheme)
		return message_refuse(message, 400, "the target is neither a path nor an address of the web");
	rest = sy_span(target.at + scheme, target.len - scheme);
	slash = memchr(rest.at, '/', rest.len);
	query = memchr(rest.at, '?', slash ? (size_t)(slash - rest.at) : rest.len);
	if (query)
		return message_refuse(message, 400, "the target has a query and no path");
	message->host = sy_span(rest.at, slash ? (size_t)(slash - rest.at) : rest.len);
	message->path = slash ? sy_span(slash, rest.len - message->host.len) : sy_span("/", 1);
	if (!message->host.len)
		return message_refuse(message, 400, "the target names no host");
	return true;
}

static bool
message_target(struct message *message)
{
	struct sy_span target = message->target;

	if (span_is(message->method, "connect"))
		return message_refuse(message, 405, "CONNECT is for proxies of another kind");
	if (!span_is_target(target))
		return message_refuse(message, 400, "the target holds what no address may");
	message->path = target;
	if (*target.at == '/')
		return true;
	if (target.len == 1 && *target.at == '*') {
		if (span_is(message->method, "options"))
			return true;
		return message_refuse(message, 400, "the target * is for OPTIONS alone");
	}
	return message_absolute(message);
}

static bool
message_request_line(struct message *message, struct sy_span line)
{
	message->method = message_word(&line);
	message->target = message_word(&line);
	if (!span_is_token(message->method))
		return message_refuse(message, 400, "the first line does not begin with a method");
	if (message->method.len > MESSAGE_METHOD)
		return message_refuse(message, 400, "the method is too long to be one");
	if (!message->target.len || memchr(line.at, ' ', line.len))
		return message_refuse(message, 400, "the first line is not made of three words");
	return message_version(message, line) && message_target(message);
}

/* One Host field, of the characters that a host may have. */
static bool
message_host(struct message *message)
{
	const struct field *found = NULL;

	for (uint32_t i = 0; i < message->n; i++) {
		if (message->field[i].id != FIELD_HOST)
			continue;
		if (found)
			return message_refuse(message, 400, "there are two Host fields");
		found = &message->field[i];
	}
	if (!found && message->minor > 0)
		return message_refuse(message, 400, "the Host field is missing");
	if (found && !message->host.len)
		message->host = found->value;
	if (!span_made_of(message->host, IS_HOST) ||
	    (found && !span_made_of(found->value, IS_HOST)) ||
	    (message->host.len && memchr(message->host.at, ',', message->host.len)))
		return message_refuse(message, 400, "the Host field holds what no host may");
	if (message->minor > 0 && !message->host.len)
		return message_refuse(message, 400, "the Host field is empty");
	return true;
}

static bool
message_expectation(struct message *message)
{
	for (uint32_t i = 0; i < message->n; i++) {
		if (message->field[i].id != FIELD_EXPECT || message->minor == 0)
			continue;
		if (!span_is(message->field[i].value, "100-continue"))
			return message_refuse(message, 417, "Expect asks for other than 100-continue");
		message->expects = true;
	}
	return true;
}

/* All but the fields, which are not looked at before they are there. */
static void
message_clear(struct message *message, struct sy_span head)
{
	memset(message, 0, offsetof(struct message, field));
	message->head = head;
}

static size_t
message_first(struct sy_span head)
{
	const uint8_t *lf = memchr(head.at, '\n', head.len);

	return (size_t)(lf - head.at) + 1;
}

bool
message_request(struct message *message, struct sy_span head, const struct head_limits *limits)
{
	size_t first = message_first(head);

	message_clear(message, head);
	return message_request_line(message, sy_span(head.at, first - 2)) &&
	       message_fields(message, first, limits) && message_framing(message) &&
	       message_host(message) && message_expectation(message);
}

bool
message_response(struct message *message, struct sy_span head, const struct head_limits *limits)
{
	size_t first = message_first(head);
	struct sy_span line = sy_span(head.at, first - 2), code;

	message_clear(message, head);
	if (!message_version(message, message_word(&line)))
		return false;
	code = message_word(&line);
	if (code.len != 3 || code.at[0] < '1' || code.at[0] > '9' || code.at[1] < '0' ||
	    code.at[1] > '9' || code.at[2] < '0' || code.at[2] > '9')
		return message_refuse(message, 502, "the first line holds no status");
	if (!span_is_value(line))
		return message_refuse(message, 502, "the first line holds a control character");
	message->status = (code.at[0] - '0') * 100u + (code.at[1] - '0') * 10u + (code.at[2] - '0');
	message->phrase = line;
	return message_fields(message, first, limits) && message_framing(message);
}

const char *
message_trailer(struct sy_span line)
{
	static const uint8_t never[] = {
		FIELD_CONTENT_LENGTH, FIELD_TRANSFER_ENCODING, FIELD_HOST, FIELD_TRAILER, FIELD_TE,
		FIELD_CONNECTION, FIELD_UPGRADE, FIELD_AUTHORIZATION, FIELD_PROXY_AUTHORIZATION,
		FIELD_COOKIE, FIELD_SET_COOKIE, FIELD_EXPECT, FIELD_X_FORWARDED_FOR, FIELD_FORWARDED,
	};
	struct message one;

	one.n = 0;
	if (!message_field(&one, line))
		return "a trailer is no field";
	for (unsigned i = 0; i < sizeof(never); i++)
		if (one.field[0].id == never[i])
			return "a trailer holds what belongs into the head";
	return NULL;
}

void
message_unlist(struct message *message)
{
	for (uint32_t i = 0; i < message->n; i++) {
		struct sy_span list = message->field[i].value, element;

		if (message->field[i].id != FIELD_CONNECTION)
			continue;
		while (span_element(&list, &element))
			for (uint32_t k = 0; k < message->n; k++)
				if (message->field[k].id != FIELD_UPGRADE &&
				    message->field[k].id != FIELD_CONTENT_LENGTH &&
				    span_equal(message->field[k].name, element))
					message->field[k].gone = true;
	}
}
