#include "reply.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPLY_START = 128 };  /* for the status line and Retry-After */

static const struct {
	const char *name;
	char compact;
} copied[] = { { "via", 'v' }, { "from", 'f' }, { "to", 't' }, { "call-id", 'i' }, { "cseq", 0 } };

enum { COPIED = sizeof(copied) / sizeof(copied[0]), COPIED_VIA = 0, COPIED_TO = 2 };

static void
reply_add(struct reply *reply, const void *bytes, size_t len)
{
	memcpy(reply->bytes + reply->len, bytes, len);
	reply->len += len;
}

/* A tag that is the same when the request comes again. */
static void
reply_add_tag(struct reply *reply, struct sy_span call_id)
{
	uint32_t hash = 5381;
	char tag[16];

	for (size_t i = 0; i < call_id.len; i++)
		hash = hash * 33 ^ call_id.at[i];
	reply_add(reply, tag, (size_t)snprintf(tag, sizeof(tag), ";tag=%08x", hash));
}

/* Copies the fields that an answer repeats. Gives which of them there were, by a bit each. */
static unsigned
reply_copy(struct reply *reply, const struct sip_message *message, struct sy_span rest)
{
	unsigned seen = 0;
	struct sy_span value;

	for (struct sy_span line = sip_line(&rest); line.len; line = sip_line(&rest))
		for (unsigned i = 0; i < COPIED; i++) {
			if (!sip_field_is(line, copied[i].name, copied[i].compact, &value) ||
			    (i != COPIED_VIA && seen & 1u << i))
				continue;
			reply_add(reply, line.at, line.len);
			if (i == COPIED_TO && !message->to_tag.len)
				reply_add_tag(reply, message->call_id);
			reply_add(reply, "\r\n", 2);
			seen |= 1u << i;
			break;
		}
	return seen;
}

struct reply *
reply_make(const struct sip_message *message)
{
	static const char end[] = "Content-Length: 0\r\n\r\n";
	struct sy_span rest = message->head;
	struct reply *reply;

	if (!message->request || !message->head.len || !message->call_id.len ||
	    (message->method.len == 3 && memcmp(message->method.at, "ACK", 3) == 0))
		return NULL;
	reply = malloc(sizeof(*reply) + REPLY_START + message->head.len + sizeof(end) + 16);
	if (!reply)
		return NULL;
	reply->len = REPLY_START;
	(void)sip_line(&rest);
	if (reply_copy(reply, message, rest) != (1u << COPIED) - 1) {
		free(reply);
		return NULL;
	}
	reply_add(reply, end, sizeof(end) - 1);
	return reply;
}

static const char *
reply_phrase(unsigned status)
{
	switch (status) {
	case 100: return "Trying";
	case 200: return "OK";
	case 400: return "Bad Request";
	case 403: return "Forbidden: a Route of Another Key, or of Another Call";
	case 408: return "Request Timeout";
	case 414: return "Request-URI Too Long";
	case 430: return "Flow Failed";
	case 482: return "Loop Detected";
	case 483: return "Too Many Hops";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 505: return "Version Not Supported";
	case 513: return "Message Too Large";
	default: return "Server Internal Error";
	}
}

struct sy_span
reply_say(struct reply *reply, unsigned status, uint32_t retry_after_s)
{
	char start[REPLY_START + 1];
	int len = snprintf(start, sizeof(start), "SIP/2.0 %u %s\r\n", status, reply_phrase(status));

	if (retry_after_s)
		len += snprintf(start + len, sizeof(start) - (size_t)len, "Retry-After: %u\r\n",
		                retry_after_s);
	memcpy(reply->bytes + REPLY_START - len, start, (size_t)len);
	return sy_span(reply->bytes + REPLY_START - len, reply->len - REPLY_START + (size_t)len);
}
