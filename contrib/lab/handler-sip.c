/*
 * A registrar, as a Front End is one for its clients: it tells them apart, sends them to their home pool, keeps
 * their connections, and takes their calls.
 *
 *	REGISTER without credentials   401, with NTLM, Kerberos and TLS-DSK to choose from
 *	REGISTER with some             NTLM: 401 with a challenge, then 200 for who knows the password; the
 *	                               other schemes have nothing behind them, and are taken as they are
 *	                               200 has Expires and what is left of ms-keep-alive
 *	the same on a port that sends  301 to the pool's own name with TLS, and to another pool after that
 *	users home
 *	OPTIONS and the rest           200; INVITE after a 180; NEGOTIATE 405: no compression
 *	CRLF CRLF                      CRLF, unless the client has asked for ms-keep-alive
 *
 * NTLM is that of [MS-SIPAE]: its first message is empty, the second and third are in gssapi-data. All of it is
 * of one connection, and so is the user from then on. What is left out are the signatures of later messages.
 *
 * A client that asked for ms-keep-alive and is silent for longer than its timeout is closed. While the
 * port drains, what would begin something (OPTIONS, REGISTER, INVITE, SUBSCRIBE outside dialogs) gets
 * 503 with Retry-After; what goes on is served.
 *
 * Two faults of who is in between are seen, counted (lab-server --ask status) and refused: mixed, a request of
 * one user over the connection of another, or a logon in pieces over several (403); and strayed, a request in a
 * dialog of another server (481), which the tag in To tells. "Server:" says who it is, and
 *
 *	X-Lab: <server> <port> <client's address:port>
 *
 * also where, and whom it sees.
 */
#define _GNU_SOURCE 1
#include "server.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "sip.h"

enum { SIP_EXPIRES = 600 };

static const double sip_slack_least = 10;

static const char sip_realm[] = "SIP Communications Service";

struct sip_state {
	bool ms_keep_alive, challenged;
	uint8_t nonce[NTLM_NONCE];
	char user[NTLM_NAME]; /* who has signed in over this connection */
};

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
	const char *value = sip_field(head, name, 0, &len);

	if (value)
		buf_print(out, "%s: %.*s%s\r\n", name, (int)len, value, more);
}

static void
sip_answer(struct lab_conn *conn, const struct sip_head *head, const char *status,
	   const char *more)
{
	const char *name = conn->listener->server->name;
	struct lab_buf *out = &conn->out;
	char tag[64], peer[ADDR_TEXT];

	snprintf(tag, sizeof(tag), ";tag=%s.lab", name);
	buf_print(out, "SIP/2.0 %s\r\n", status);
	sip_copy_vias(out, head);
	sip_copy(out, head, "From", "");
	sip_copy(out, head, "To", sip_has(head, "To", ";tag=") ? "" : tag);
	sip_copy(out, head, "Call-ID", "");
	sip_copy(out, head, "CSeq", "");
	buf_print(out, "Server: %s\r\nX-Lab: %s %u %s\r\n%sContent-Length: 0\r\n\r\n", name, name,
		  addr_port(&conn->listener->addr), addr_text(&conn->peer, peer), more);
}

/* ---- who is it? ---- */

static void
sip_challenge(struct lab_conn *conn, const struct sip_head *head)
{
	const char *name = conn->listener->server->name;
	char more[512];

	snprintf(more, sizeof(more),
		 "WWW-Authenticate: NTLM realm=\"%s\", targetname=\"%s\", version=4\r\n"
		 "WWW-Authenticate: Kerberos realm=\"%s\", targetname=\"sip/%s\", version=4\r\n"
		 "WWW-Authenticate: TLS-DSK realm=\"%s\", targetname=\"%s\", version=4\r\n",
		 sip_realm, name, sip_realm, name, sip_realm, name);
	sip_answer(conn, head, "401 Unauthorized", more);
}

static void
sip_ntlm_challenge(struct lab_conn *conn, const struct sip_head *head)
{
	const char *name = conn->listener->server->name;
	struct sip_state *state = conn->state;
	char text[NTLM_TEXT], more[NTLM_TEXT + 256];
	struct ntlm_message challenge;

	state->challenged = RAND_bytes(state->nonce, NTLM_NONCE) == 1;
	ntlm_challenge(&challenge, state->nonce, name);
	ntlm_encode(&challenge, text);
	snprintf(more, sizeof(more),
		 "WWW-Authenticate: NTLM opaque=\"%s\", gssapi-data=\"%s\", targetname=\"%s\", "
		 "realm=\"%s\", version=4\r\n",
		 name, text, name, sip_realm);
	sip_answer(conn, head, "401 Unauthorized", more);
}

static void
sip_refuse(struct lab_conn *conn, const struct sip_head *head, const char *status, const char *words)
{
	char more[512];

	snprintf(more, sizeof(more), "Warning: 399 %s \"%.400s\"\r\n", conn->listener->server->name,
		 words);
	sip_answer(conn, head, status, more);
}

static void
sip_mixed(struct lab_conn *conn, const struct sip_head *head, const char *words)
{
	conn->listener->mixed++;
	if (conn->listener->server->lab->verbose)
		fprintf(stderr, "%s port %u: %s\n", conn->listener->server->name,
			addr_port(&conn->listener->addr), words);
	sip_refuse(conn, head, "403 Forbidden", words);
}

/* The third message. False: it is answered already. */
static bool
sip_logon(struct lab_conn *conn, const struct sip_head *head, const char *data)
{
	struct sip_state *state = conn->state;
	char to[NTLM_NAME], user[NTLM_NAME];
	struct ntlm_message message;
	struct lab_err err;

	if (!state->challenged) {
		sip_mixed(conn, head, "an answer to a challenge that this connection was not given");
		return false;
	}
	state->challenged = false;
	sip_user(head, "To", to);
	if (!ntlm_decode(&message, data, strlen(data)))
		err_set(&err, "gssapi-data is not base64");
	else if (!ntlm_verify(&message, state->nonce, ntlm_password, user, &err)) {
		if (!strcmp(user, to)) {
			conn->listener->users++;
			strcpy(state->user, user);
			return true;
		}
		err_set(&err, "%s cannot sign in as %s", user, to);
	}
	sip_refuse(conn, head, "403 Forbidden", err.text);
	return false;
}

/* False: it is answered already. */
static bool
sip_authorize(struct lab_conn *conn, const struct sip_head *head)
{
	struct sip_state *state = conn->state;
	char data[NTLM_TEXT];
	size_t len;
	const char *value = sip_field(head, "Authorization", 0, &len);

	if (*state->user)
		return true;
	if (!value) {
		sip_challenge(conn, head);
		return false;
	}
	if (len < 5 || memcmp(value, "NTLM ", 5))
		return true;
	if (sip_parameter(value, len, "gssapi-data", data, sizeof(data)) && *data)
		return sip_logon(conn, head, data);
	sip_ntlm_challenge(conn, head);
	return false;
}

static void
sip_leave(struct lab_conn *conn)
{
	struct sip_state *state = conn->state;

	conn->listener->users -= *state->user != 0;
	state->user[0] = 0;
}

static void
sip_register(struct lab_conn *conn, const struct sip_head *head)
{
	struct sip_state *state = conn->state;
	char more[512], contact[256] = "", kept[128] = "";
	size_t len;
	const char *value;
	bool leaves;

	if (!sip_authorize(conn, head))
		return;
	if (conn->listener->service->flags & SERVICE_SENDS_HOME) {
		sip_leave(conn);
		snprintf(more, sizeof(more),
			 "Contact: <sip:backup.lab.test:5061;transport=TLS>;q=0.3\r\n"
			 "Contact: <sip:%s:5061;transport=TLS>;q=0.7\r\n",
			 conn->listener->server->role->names[0]);
		sip_answer(conn, head, "301 Redirect request to Home Server", more);
		return;
	}
	if (sip_has(head, "ms-keep-alive", "UAC"))
		state->ms_keep_alive = true;
	value = sip_field(head, "Expires", 0, &len);
	leaves = value && len == 1 && *value == '0';
	value = sip_field(head, "Contact", 0, &len);
	if (value && !leaves)
		snprintf(contact, sizeof(contact), "Contact: %.*s\r\n", (int)len, value);
	if (state->ms_keep_alive)
		snprintf(kept, sizeof(kept),
			 "ms-keep-alive: UAS; tcp=no; hop-hop=yes; end-end=no; timeout=%g\r\n",
			 conn->listener->server->lab->keep_alive);
	snprintf(more, sizeof(more), "%sExpires: %d\r\n%s", contact, leaves ? 0 : SIP_EXPIRES, kept);
	sip_answer(conn, head, "200 OK", more);
	if (leaves)
		sip_leave(conn);
}

/* ---- requests ---- */

/* Would it begin something that this server had to care for from now on? */
static bool
sip_begins_something(const struct sip_head *head)
{
	return sip_is(head, "OPTIONS") || sip_is(head, "REGISTER") ||
	       ((sip_is(head, "INVITE") || sip_is(head, "SUBSCRIBE")) &&
		!sip_has(head, "To", ";tag="));
}

/* A dialog of another server of the lab? */
static bool
sip_is_foreign(const struct lab_conn *conn, const struct sip_head *head)
{
	size_t len;
	const char *to = sip_field(head, "To", 0, &len);
	char tag[SIP_WORD], own[64];

	snprintf(own, sizeof(own), "%s.lab", conn->listener->server->name);
	return to && sip_parameter(to, len, "tag", tag, sizeof(tag)) && strlen(tag) > 4 &&
	       !strcmp(tag + strlen(tag) - 4, ".lab") && strcmp(tag, own);
}

/* One user on the connection of another? */
static bool
sip_is_other(const struct lab_conn *conn, const struct sip_head *head)
{
	const struct sip_state *state = conn->state;
	char from[NTLM_NAME];

	sip_user(head, "From", from);
	return *state->user && *from && strcmp(from, state->user);
}

static void
sip_request(struct lab_conn *conn, const struct sip_head *head)
{
	conn_exchange_done(conn);
	if (sip_is(head, "ACK") || sip_status(head))
		return;
	if (sip_is_other(conn, head)) {
		sip_mixed(conn, head, "a request over the connection of another user");
	} else if (sip_is_foreign(conn, head)) {
		conn->listener->strayed++;
		sip_refuse(conn, head, "481 Call Does Not Exist", "a dialog of another server");
	} else if (conn->listener->mode == LISTENER_DRAIN && sip_begins_something(head)) {
		sip_answer(conn, head, "503 Service Unavailable", "Retry-After: 30\r\n");
	} else if (sip_is(head, "REGISTER")) {
		sip_register(conn, head);
	} else if (sip_is(head, "NEGOTIATE")) {
		sip_answer(conn, head, "405 Method Not Allowed", "");
	} else {
		if (sip_is(head, "INVITE"))
			sip_answer(conn, head, "180 Ringing", "");
		sip_answer(conn, head, "200 OK", "");
	}
}

/* One message or ping. False: there is none that is complete; *next may be set. */
static bool
sip_one(struct lab_conn *conn, enum handler_next *next)
{
	const struct sip_state *state = conn->state;
	struct sip_head head;

	switch (sip_parse(&head, buf_front(&conn->in), conn->in.len)) {
	case SIP_PING:
		if (!state->ms_keep_alive)
			buf_add(&conn->out, "\r\n", 2);
		buf_drop(&conn->in, 4);
		return true;
	case SIP_PONG: /* or the first half of a ping */
		if (conn->in.len == 2)
			return false;
		buf_drop(&conn->in, 2);
		return true;
	case SIP_WHOLE:
		sip_request(conn, &head);
		buf_drop(&conn->in, head.len + head.body);
		return true;
	case SIP_BAD:
		*next = HANDLER_RESET;
		return false;
	case SIP_MORE:
		break;
	}
	return false;
}

static enum handler_next
sip_stream(struct lab_conn *conn)
{
	const struct sip_state *state = conn->state;
	double keep_alive = conn->listener->server->lab->keep_alive;
	enum handler_next next = HANDLER_WAIT;
	bool heard = false;

	if (conn->woken && !conn->in.len)
		return HANDLER_FINISH;
	while (conn->out.len < CONN_OUT_HIGH && conn->in.len && sip_one(conn, &next))
		heard = true;
	if (heard && state->ms_keep_alive)
		conn_wake(conn, keep_alive + (keep_alive / 10 > sip_slack_least ? keep_alive / 10
										: sip_slack_least));
	return next;
}

static void
sip_stream_end(struct lab_conn *conn)
{
	if (conn->state)
		sip_leave(conn);
}

const struct lab_handler handler_sip = {
    .name = "sip",
    .state_size = sizeof(struct sip_state),
    .stream = sip_stream,
    .stream_end = sip_stream_end,
};
