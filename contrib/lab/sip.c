#define _GNU_SOURCE 1
#include "sip.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

const char *
sip_field(const struct sip_head *head, const char *name, int nth, size_t *len)
{
	return text_field(head->bytes, head->len, name, nth, len);
}

bool
sip_has(const struct sip_head *head, const char *name, const char *part)
{
	size_t len;
	const char *value = sip_field(head, name, 0, &len);

	return value && memmem(value, len, part, strlen(part));
}

bool
sip_is(const struct sip_head *head, const char *method)
{
	size_t len = strlen(method);

	return head->len > len && !memcmp(head->bytes, method, len) && head->bytes[len] == ' ';
}

int
sip_status(const struct sip_head *head)
{
	return head->len > 12 && !memcmp(head->bytes, "SIP/2.0 ", 8) ? atoi(head->bytes + 8) : 0;
}

/* The length of the body, or -1 when the message does not say it well. */
static long
sip_length(const struct sip_head *head)
{
	size_t len;
	const char *value = sip_field(head, "Content-Length", 0, &len);

	if (!value)
		value = sip_field(head, "l", 0, &len);
	return value ? text_length(value, len) : -1;
}

enum sip_got
sip_parse(struct sip_head *head, const char *bytes, size_t len)
{
	const char *end;
	long body;

	if (len >= 4 && !memcmp(bytes, "\r\n\r\n", 4))
		return SIP_PING;
	/* Half a ping may be a pong: who knows better than to wait for more says so. */
	if (len >= 2 && !memcmp(bytes, "\r\n", 2))
		return len == 2 || bytes[2] != '\r' ? SIP_PONG : SIP_MORE;
	end = memmem(bytes, len, "\r\n\r\n", 4);
	if (!end)
		return len > SIP_HEAD_MAX ? SIP_BAD : SIP_MORE;
	*head = (struct sip_head){.bytes = bytes, .len = (size_t)(end - bytes) + 4};
	body = sip_length(head);
	if (body < 0 || body > SIP_BODY_MAX)
		return SIP_BAD;
	head->body = (size_t)body;
	return len < head->len + head->body ? SIP_MORE : SIP_WHOLE;
}

bool
sip_parameter(const char *value, size_t len, const char *name, char *text, size_t size)
{
	size_t name_len = strlen(name), n = 0;
	const char *end = value + len, *at = value;
	bool quoted;

	while ((at = memmem(at, (size_t)(end - at), name, name_len)) &&
	       (at + name_len >= end || at[name_len] != '=' || (at > value && !strchr(" ;,", at[-1]))))
		at += name_len;
	if (!at)
		return false;
	at += name_len + 1;
	quoted = at < end && *at == '"';
	at += quoted;
	while (at < end && n + 1 < size && !strchr(quoted ? "\"" : " ;,>", *at))
		text[n++] = *at++;
	text[n] = 0;
	return true;
}

void
sip_user(const struct sip_head *head, const char *name, char user[static NTLM_NAME])
{
	size_t len, n = 0;
	const char *value = sip_field(head, name, 0, &len), *at;

	user[0] = 0;
	if (!value || !(at = memmem(value, len, "sip:", 4)))
		return;
	for (at += 4; at < value + len && n + 1 < NTLM_NAME && !strchr("@;>", *at); at++)
		user[n++] = *at;
	user[n] = 0;
}
