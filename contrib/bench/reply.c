#include "reply.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void
reply_expect_raw(struct reply *reply, uint64_t id, uint32_t size)
{
	reply->http = false;
	reply->in_body = false;
	reply->id = id;
	reply->size = size;
	reply->position = 0;
	reply->kept = 0;
}

void
reply_expect_http(struct reply *reply, const char *cookie)
{
	reply->http = true;
	reply->cookie = cookie;
	reply->in_body = false;
	reply->size = 0;
	reply->position = 0;
	reply->kept = 0;
}

static enum reply_verdict
reply_bad(struct reply *reply, const char *why)
{
	reply->error = why;
	return REPLY_BAD;
}

static enum reply_verdict
reply_feed_body(struct reply *reply, const uint8_t *bytes, size_t len)
{
	if (reply->position + len > reply->size)
		return reply_bad(reply, "more bytes than asked for");
	if (!wire_pattern_ok(reply->position, bytes, len))
		return reply_bad(reply, "other bytes than the server sent");
	reply->position += len;
	return reply->position == reply->size ? REPLY_DONE : REPLY_MORE;
}

static enum reply_verdict
reply_feed_raw(struct reply *reply, const uint8_t *bytes, size_t len)
{
	size_t part;

	if (!reply->in_body) {
		part = WIRE_HEAD_SIZE - reply->kept;
		if (part > len)
			part = len;
		memcpy((uint8_t *)&reply->head + reply->kept, bytes, part);
		reply->kept += part;
		reply->position += part;
		bytes += part;
		len -= part;
		if (reply->kept < WIRE_HEAD_SIZE)
			return REPLY_MORE;
		if (!wire_head_ok(&reply->head, reply->id))
			return reply_bad(reply, "reply to another request");
		reply->in_body = true;
		if (len == 0)
			return reply->position == reply->size ? REPLY_DONE : REPLY_MORE;
	}
	return reply_feed_body(reply, bytes, len);
}

/* Value of a header field, or NULL; the header ends with an empty line. */
static const char *
reply_field(const char *header, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = strstr(header, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, len) == 0 && line[len] == ':')
			return line + len + 1 + strspn(line + len + 1, " ");
	}
	return NULL;
}

/* The header is whole and ends with a NUL. */
static enum reply_verdict
reply_judge_header(struct reply *reply)
{
	const char *length, *set;

	if (strncmp(reply->header, "HTTP/1.1 200 ", 13) != 0)
		return reply_bad(reply, "status other than 200");
	length = reply_field(reply->header, "Content-Length");
	if (!length)
		return reply_bad(reply, "no Content-Length");
	reply->size = strtoull(length, NULL, 10);
	if (reply->size != WIRE_BODY_SIZE)
		return reply_bad(reply, "body of another size");
	if (!reply->cookie)
		return REPLY_MORE;
	set = reply_field(reply->header, "Set-Cookie");
	if (!set || strncmp(set, reply->cookie, strlen(reply->cookie)) != 0 ||
	    set[strlen(reply->cookie)] != '=')
		return reply_bad(reply, "no cookie was inserted");
	return REPLY_MORE;
}

static enum reply_verdict
reply_feed_http(struct reply *reply, const uint8_t *bytes, size_t len)
{
	size_t part, before = reply->kept;
	char *end;

	if (reply->in_body)
		return reply_feed_body(reply, bytes, len);
	part = sizeof(reply->header) - 1 - reply->kept;
	if (part > len)
		part = len;
	memcpy(reply->header + reply->kept, bytes, part);
	reply->kept += part;
	reply->header[reply->kept] = '\0';
	end = strstr(reply->header, "\r\n\r\n");
	if (!end)
		return reply->kept < sizeof(reply->header) - 1
			       ? REPLY_MORE
			       : reply_bad(reply, "header too long");
	end[2] = '\0';
	part = (size_t)(end + 4 - reply->header) - before;
	if (reply_judge_header(reply) == REPLY_BAD)
		return REPLY_BAD;
	reply->in_body = true;
	return part == len ? REPLY_MORE : reply_feed_body(reply, bytes + part, len - part);
}

enum reply_verdict
reply_feed(struct reply *reply, const uint8_t *bytes, size_t len)
{
	return reply->http ? reply_feed_http(reply, bytes, len) : reply_feed_raw(reply, bytes, len);
}
