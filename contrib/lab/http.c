#define _GNU_SOURCE 1
#include "http.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

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
	return text_field(message->head, message->head_len, name, nth, len);
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
	const char *value;
	size_t len;

	if (http_field(message, "Transfer-Encoding", 0, &len) ||
	    http_field(message, "Content-Length", 1, &len))
		return -1;
	value = http_field(message, "Content-Length", 0, &len);
	return value ? text_length(value, len) : 0;
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
