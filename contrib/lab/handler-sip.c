/*
 * A registrar, as a Front End is one for its clients: it tells them apart, sends them to their home
 * pool, and keeps their connections.
 *
 *	REGISTER without credentials   401, with NTLM, Kerberos and TLS-DSK to choose from
 *	REGISTER with some             200, with Expires and what is left of ms-keep-alive; for users
 *	                               whose name begins with "away": 301 to two other pools
 *	OPTIONS and the rest           200; INVITE after a 180; NEGOTIATE 405: no compression
 *	CRLF CRLF                      CRLF, unless the client has asked for ms-keep-alive
 *
 * A client that asked for ms-keep-alive and is silent for longer than its timeout is closed. While the
 * port drains, what would begin something (OPTIONS, REGISTER, INVITE, SUBSCRIBE outside dialogs) gets
 * 503 with Retry-After; what goes on is served. "Server:" says who it is. What begins with "LAB " is
 * for handler-say.c.
 *
 * Written apart from the balancer's own reader of SIP, so that the one can be tested by the other: a
 * message that is not as RFC 3261 has it ends the connection.
 */
#define _GNU_SOURCE 1
#include "server.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	SIP_HEAD_MAX = 65536,
	SIP_BODY_MAX = 1 << 20,
	SIP_KEEP_ALIVE = 300, /* seconds that a client may be silent, as we tell it */
	SIP_SLACK = 30,
	SIP_EXPIRES = 600,
};

struct sip_state {
	char say[SAY_STATE_SIZE] __attribute__((aligned(16))); /* of handler-say.c */
	bool ms_keep_alive;
	bool says; /* it speaks handler-say.c's language, whose answers take more than one call */
};

struct sip_head {
	const char *bytes;
	size_t len; /* to the empty line, included */
};

/* The value of the field's first line, or NULL; no folds: clients of the lab make none. */
static const char *
sip_field(const struct sip_head *head, const char *name, size_t *len)
{
	size_t name_len = strlen(name);
	const char *end = head->bytes + head->len;

	for (const char *line = head->bytes, *next; line < end; line = next) {
		next = memmem(line, (size_t)(end - line), "\r\n", 2);
		next = next ? next + 2 : end;
		if ((size_t)(next - line) < name_len + 3 || line[name_len] != ':' ||
		    strncasecmp(line, name, name_len))
			continue;
		line += name_len + 1;
		while (*line == ' ')
			line++;
		*len = (size_t)(next - line) - 2;
		return line;
	}
	return NULL;
}

static bool
sip_has(const struct sip_head *head, const char *name, const char *part)
{
	size_t len;
	const char *value = sip_field(head, name, &len);

	return value && memmem(value, len, part, strlen(part));
}

static bool
sip_is(const struct sip_head *head, const char *method)
{
	size_t len = strlen(method);

	return head->len > len && !memcmp(head->bytes, method, len) && head->bytes[len] == ' ';
}

static void
sip_copy_vias(struct lab_buf *out, const struct sip_head *head)
{
	const char *end = head->bytes + head->len;

	for (const char *line = head->bytes, *next; line < end; line = next) {
		next = memmem(line, (size_t)(end - line), "\r\n", 2);
		next = next ? next + 2 : end;
		if (!strncasecmp(line, "Via:", 4) || !strncasecmp(line, "v:", 2))
			buf_add(out, line, (size_t)(next - line));
	}
}

static void
sip_copy(struct lab_buf *out, const struct sip_head *head, const char *name, const char *more)
{
	size_t len;
	const char *value = sip_field(head, name, &len);

	if (value)
		buf_print(out, "%s: %.*s%s\r\n", name, (int)len, value, more);
}

static void
sip_answer(struct lab_conn *conn, const struct sip_head *head, const char *status,
	   const char *more)
{
	struct lab_buf *out = &conn->out;

	buf_print(out, "SIP/2.0 %s\r\n", status);
	sip_copy_vias(out, head);
	sip_copy(out, head, "From", "");
	sip_copy(out, head, "To", sip_has(head, "To", ";tag=") ? "" : ";tag=lab");
	sip_copy(out, head, "Call-ID", "");
	sip_copy(out, head, "CSeq", "");
	buf_print(out, "Server: %s\r\n%sContent-Length: 0\r\n\r\n", conn->listener->server->name,
		  more);
}

static void
sip_challenge(struct lab_conn *conn, const struct sip_head *head)
{
	char more[512];
	const char *name = conn->listener->server->name;

	snprintf(more, sizeof(more),
		 "WWW-Authenticate: NTLM realm=\"SIP Communications Service\", targetname=\"%s\", "
		 "version=4\r\n"
		 "WWW-Authenticate: Kerberos realm=\"SIP Communications Service\", "
		 "targetname=\"sip/%s\", version=4\r\n"
		 "WWW-Authenticate: TLS-DSK realm=\"SIP Communications Service\", "
		 "targetname=\"%s\", version=4\r\n",
		 name, name, name);
	sip_answer(conn, head, "401 Unauthorized", more);
}

static void
sip_register(struct lab_conn *conn, struct sip_state *state, const struct sip_head *head)
{
	char more[512], contact[256] = "";
	size_t len;
	const char *value;
	bool leaves;

	if (!sip_field(head, "Authorization", &len)) {
		sip_challenge(conn, head);
		return;
	}
	if (sip_has(head, "To", "sip:away")) {
		sip_answer(conn, head, "301 Redirect request to Home Server",
			   "Contact: <sip:pool-a.lab.test:5061;transport=TLS>;q=0.7\r\n"
			   "Contact: <sip:pool-b.lab.test:5061;transport=TLS>;q=0.3\r\n");
		return;
	}
	if (sip_has(head, "ms-keep-alive", "UAC"))
		state->ms_keep_alive = true;
	value = sip_field(head, "Expires", &len);
	leaves = value && len == 1 && *value == '0';
	value = sip_field(head, "Contact", &len);
	if (value && !leaves)
		snprintf(contact, sizeof(contact), "Contact: %.*s\r\n", (int)len, value);
	snprintf(more, sizeof(more), "%sExpires: %d\r\n%s", contact, SIP_EXPIRES,
		 state->ms_keep_alive
		     ? "ms-keep-alive: UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300\r\n"
		     : "");
	sip_answer(conn, head, "200 OK", more);
}

/* Would it begin something that this server had to care for from now on? */
static bool
sip_begins_something(const struct sip_head *head)
{
	return sip_is(head, "OPTIONS") || sip_is(head, "REGISTER") ||
	       ((sip_is(head, "INVITE") || sip_is(head, "SUBSCRIBE")) &&
		!sip_has(head, "To", ";tag="));
}

static void
sip_request(struct lab_conn *conn, struct sip_state *state, const struct sip_head *head)
{
	conn_exchange_done(conn);
	if (sip_is(head, "ACK") || !memcmp(head->bytes, "SIP/", 4))
		return;
	if (conn->listener->mode == LISTENER_DRAIN && sip_begins_something(head)) {
		sip_answer(conn, head, "503 Service Unavailable", "Retry-After: 30\r\n");
		return;
	}
	if (sip_is(head, "REGISTER")) {
		sip_register(conn, state, head);
		return;
	}
	if (sip_is(head, "NEGOTIATE")) {
		sip_answer(conn, head, "405 Method Not Allowed", "");
		return;
	}
	if (sip_is(head, "INVITE"))
		sip_answer(conn, head, "180 Ringing", "");
	sip_answer(conn, head, "200 OK", "");
}

/* The length of the body, or -1 when the message does not say it well. */
static long
sip_length(const struct sip_head *head)
{
	size_t len;
	const char *value = sip_field(head, "Content-Length", &len);
	char digits[8] = "";

	if (!value)
		value = sip_field(head, "l", &len);
	if (!value || len == 0 || len >= sizeof(digits))
		return -1;
	memcpy(digits, value, len);
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)digits[i]))
			return -1;
	return strtol(digits, NULL, 10);
}

/* One message or ping. False: there is none that is complete; *next may be set. */
static bool
sip_one(struct lab_conn *conn, struct sip_state *state, enum handler_next *next)
{
	struct sip_head head = {.bytes = buf_front(&conn->in)};
	const char *end;
	long body;

	if (conn->in.len >= 4 && !memcmp(head.bytes, "\r\n\r\n", 4)) {
		if (!state->ms_keep_alive)
			buf_add(&conn->out, "\r\n", 2);
		buf_drop(&conn->in, 4);
		return true;
	}
	if (conn->in.len >= 3 && !memcmp(head.bytes, "\r\n", 2) && head.bytes[2] != '\r') {
		buf_drop(&conn->in, 2);
		return true;
	}
	end = memmem(head.bytes, conn->in.len, "\r\n\r\n", 4);
	if (!end || conn->in.len < 4) {
		*next = conn->in.len > SIP_HEAD_MAX ? HANDLER_RESET : HANDLER_WAIT;
		return false;
	}
	head.len = (size_t)(end - head.bytes) + 4;
	body = sip_length(&head);
	if (body < 0 || body > SIP_BODY_MAX) {
		*next = HANDLER_RESET;
		return false;
	}
	if (conn->in.len < head.len + (size_t)body)
		return false;
	sip_request(conn, state, &head);
	buf_drop(&conn->in, head.len + (size_t)body);
	return true;
}

static enum handler_next
sip_stream(struct lab_conn *conn)
{
	struct sip_state *state = conn->state;
	enum handler_next next = HANDLER_WAIT;
	bool heard = false;

	if (conn->in.len >= 4 && !memcmp(buf_front(&conn->in), "LAB ", 4))
		state->says = true;
	if (state->says)
		return handler_say.stream(conn);
	if (conn->woken && !conn->in.len)
		return HANDLER_FINISH;
	while (conn->out.len < CONN_OUT_HIGH && conn->in.len && sip_one(conn, state, &next))
		heard = true;
	if (heard && state->ms_keep_alive)
		conn_wake(conn, SIP_KEEP_ALIVE + SIP_SLACK);
	return next;
}

static void
sip_stream_end(struct lab_conn *conn)
{
	handler_say.stream_end(conn);
}

const struct lab_handler handler_sip = {
    .name = "sip",
    .state_size = sizeof(struct sip_state),
    .stream = sip_stream,
    .stream_end = sip_stream_end,
};
