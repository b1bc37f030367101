#define _GNU_SOURCE 1
#include "http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void
http_copy(char *to, size_t size, const char *from, size_t len)
{
	if (len >= size)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = 0;
}

const char *
http_field(const struct http_message *message, const char *name, int nth, size_t *len)
{
	const char *end = message->head + message->head_len;
	size_t name_len = strlen(name);

	for (const char *line = message->head, *next; line < end; line = next) {
		next = memmem(line, (size_t)(end - line), "\r\n", 2);
		next = next ? next + 2 : end;
		if ((size_t)(next - line) < name_len + 3 || line[name_len] != ':' ||
		    strncasecmp(line, name, name_len) || nth-- > 0)
			continue;
		line += name_len + 1;
		while (*line == ' ' || *line == '\t')
			line++;
		*len = (size_t)(next - line) - 2;
		return line;
	}
	return NULL;
}

bool
http_has(const struct http_message *message, const char *name, const char *text)
{
	char value[256];
	const char *field;
	size_t len;

	for (int nth = 0; (field = http_field(message, name, nth, &len)); nth++) {
		http_copy(value, sizeof(value), field, len);
		if (strcasestr(value, text))
			return true;
	}
	return false;
}

/* The length of the body, or -1 when it is not said well. */
static long
http_length(const struct http_message *message)
{
	char digits[12];
	const char *value;
	size_t len;

	if (http_field(message, "Transfer-Encoding", 0, &len) ||
	    http_field(message, "Content-Length", 1, &len))
		return -1;
	value = http_field(message, "Content-Length", 0, &len);
	if (!value)
		return 0;
	http_copy(digits, sizeof(digits), value, len);
	if (!len || len >= sizeof(digits) || strspn(digits, "0123456789") != len)
		return -1;
	return strtol(digits, NULL, 10);
}

enum http_got
http_parse(struct http_message *message, const char *bytes, size_t len)
{
	const char *end = memmem(bytes, len, "\r\n\r\n", 4);
	long body;

	if (!end)
		return len > HTTP_HEAD_MAX ? HTTP_BAD : HTTP_MORE;
	*message =
	    (struct http_message){.head = bytes, .head_len = (size_t)(end - bytes) + 4, .body = end + 4};
	body = http_length(message);
	if (body < 0 || body > HTTP_BODY_MAX || message->head_len > HTTP_HEAD_MAX)
		return HTTP_BAD;
	message->body_len = (size_t)body;
	return len < message->head_len + message->body_len ? HTTP_MORE : HTTP_WHOLE;
}

int
http_status(const struct http_message *message)
{
	char digits[4];

	if (message->head_len < 13 || memcmp(message->head, "HTTP/1.", 7))
		return 0;
	http_copy(digits, sizeof(digits), message->head + 9, 3);
	return atoi(digits);
}
