/*
 * The web services of a Front End, as far as a balancer can spoil them:
 *
 *	/abs/...             the address book: for users who log the connection on with NTLM. From then on
 *	                     every request of this connection is this user's, whoever sent it
 *	POST /mcx            begins a session, as phones have them; its name is the answer's last word
 *	GET, DELETE /mcx/ID  goes on with it, ends it. A session is known to the server that made it
 *	all else             a page for everybody
 *
 * Who asks without the cookie MS-WSMAN gets one: for the session only, readable by scripts, in each answer
 * to a request that had none. It names the server; the one that a balancer sets in its place does not.
 *
 * Clients say in X-Lab-User who they are, so that two faults are seen, counted (lab-server --ask status)
 * and answered with 409: mixed, a request over a connection that another user has logged on, or a logon
 * that comes in pieces over several connections; and strayed, a session or a cookie of another server
 * (answered with 404, or 200). Each answer's body is one line:
 *
 *	<server> <port> <client's address:port> <user or -> <X-Lab-Id or -> <words>
 *
 * The page of a meeting, /meet/NAME, has as its last word what its user shows to join it (meeting.h).
 */
#define _GNU_SOURCE 1
#include "server.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http.h"
#include "meeting.h"
#include "ntlm.h"
#include "web.h"

enum { WEB_WORD = 128 };

struct web_state {
	bool challenged;
	uint8_t nonce[NTLM_NONCE];
	char user[NTLM_NAME]; /* who has logged this connection on */
};

struct web_request {
	const struct http_message *message;
	char method[16], path[WEB_WORD], user[NTLM_NAME], id[WEB_WORD];
	bool bare; /* without the cookie */
	bool close;
};

static void
web_answer(struct lab_conn *conn, const struct web_request *request, const char *status,
	   const char *fields, const char *words)
{
	const struct web_state *state = conn->state;
	const struct lab_server *server = conn->listener->server;
	struct lab_buf body = {0};
	char peer[ADDR_TEXT];

	buf_print(&body, "%s %u %s %s %s %s\n", server->name, addr_port(&conn->listener->addr),
		  addr_text(&conn->peer, peer), *state->user ? state->user : "-",
		  *request->id ? request->id : "-", words);
	buf_print(&conn->out,
		  "HTTP/1.1 %s\r\nServer: %s\r\nContent-Type: text/plain\r\n"
		  "Content-Length: %zu\r\nCache-Control: no-store\r\n%s%s",
		  status, server->name, body.len, fields,
		  request->close ? "Connection: close\r\n" : "");
	if (request->bare)
		buf_print(&conn->out, "Set-Cookie: %s=%s.lab; Path=/\r\n", web_cookie, server->name);
	buf_print(&conn->out, "\r\n");
	if (strcmp(request->method, "HEAD"))
		buf_add(&conn->out, buf_front(&body), body.len);
	buf_free(&body);
	conn_exchange_done(conn);
}

static void
web_fault(struct lab_conn *conn, uint64_t *count, const char *words)
{
	(*count)++;
	if (conn->listener->server->lab->verbose)
		fprintf(stderr, "%s port %u: %s\n", conn->listener->server->name,
			addr_port(&conn->listener->addr), words);
}

/* ---- NTLM ---- */

static void
web_mixed(struct lab_conn *conn, const struct web_request *request, const char *words)
{
	web_fault(conn, &conn->listener->mixed, words);
	web_answer(conn, request, "409 Conflict", "", words);
}

static void
web_challenge(struct lab_conn *conn, const struct web_request *request, const char *scheme)
{
	struct web_state *state = conn->state;
	char text[NTLM_TEXT], field[NTLM_TEXT + 64];
	struct ntlm_message challenge;

	state->challenged = RAND_bytes(state->nonce, NTLM_NONCE) == 1;
	ntlm_challenge(&challenge, state->nonce, conn->listener->server->name);
	ntlm_encode(&challenge, text);
	snprintf(field, sizeof(field), "WWW-Authenticate: %s %s\r\n", scheme, text);
	web_answer(conn, request, "401 Unauthorized", field, "challenged");
}

/* Message 3. False: it is answered already. */
static bool
web_logon(struct lab_conn *conn, const struct web_request *request, const struct ntlm_message *message)
{
	struct web_state *state = conn->state;
	char words[sizeof(state->user) * 3 + 64], user[NTLM_NAME];
	struct lab_err err;

	if (!state->challenged) {
		web_mixed(conn, request, "an answer to a challenge that this connection was not given");
		return false;
	}
	state->challenged = false;
	if (ntlm_verify(message, state->nonce, ntlm_password, user, &err)) {
		web_answer(conn, request, "401 Unauthorized", "WWW-Authenticate: NTLM\r\n", err.text);
		return false;
	}
	if (*state->user && strcmp(state->user, user)) {
		snprintf(words, sizeof(words), "a logon of %s over the connection of %s", user,
			 state->user);
		web_mixed(conn, request, words);
		return false;
	}
	strcpy(state->user, user);
	return true;
}

/* What the request says to authorize itself. False: it is answered already. */
static bool
web_authorize(struct lab_conn *conn, const struct web_request *request)
{
	static const char *const schemes[] = {"NTLM", "Negotiate"};
	struct ntlm_message message;
	size_t len;
	const char *value = http_field(request->message, "Authorization", 0, &len);

	for (int i = 0; value && i < 2; i++) {
		size_t begin = strlen(schemes[i]) + 1;

		if (len <= begin || strncasecmp(value, schemes[i], begin - 1) || value[begin - 1] != ' ' ||
		    !ntlm_decode(&message, value + begin, len - begin))
			continue;
		if (ntlm_type(&message) == 3)
			return web_logon(conn, request, &message);
		if (ntlm_type(&message) != 1)
			break;
		web_challenge(conn, request, schemes[i]);
		return false;
	}
	if (value)
		web_answer(conn, request, "400 Bad Request", "", "no message of NTLM");
	return !value;
}

/* ---- sessions ---- */

/* A name of another server: of a session, or in the cookie, "NAME....". */
static bool
web_is_foreign(const struct lab_conn *conn, const char *name)
{
	const char *own = conn->listener->server->name;
	size_t len = strlen(own);

	return strchr(name, '.') && (strncmp(name, own, len) || name[len] != '.');
}

static void
web_session(struct lab_conn *conn, const struct web_request *request)
{
	struct web_sessions *web = &conn->listener->server->web;
	const char *id = request->path + strlen("/mcx");
	char words[2 * WEB_WORD];
	uint64_t asked;

	if (!*id && !strcmp(request->method, "POST")) {
		web_session_begin(web, conn->listener->server->name, words, sizeof(words));
		web_answer(conn, request, "201 Created", "", words);
		return;
	}
	id += *id == '/';
	if (web_session_use(web, id, !strcmp(request->method, "DELETE"), &asked)) {
		snprintf(words, sizeof(words), "%" PRIu64, asked);
		web_answer(conn, request, "200 OK", "", words);
		return;
	}
	if (web_is_foreign(conn, id)) {
		snprintf(words, sizeof(words), "the session %s is not of this server", id);
		web_fault(conn, &conn->listener->strayed, words);
	}
	web_answer(conn, request, "404 Not Found", "", "no such session here");
}

static void
web_look_at_cookie(struct lab_conn *conn, struct web_request *request)
{
	char value[WEB_WORD], words[2 * WEB_WORD];

	request->bare = !web_cookie_find(request->message, "Cookie", value, sizeof(value));
	if (request->bare || !web_is_foreign(conn, value))
		return;
	request->bare = true; /* it gets the right one */
	/* A session at the wrong server is counted itself. */
	if (!strncmp(request->path, "/mcx/", 5))
		return;
	snprintf(words, sizeof(words), "the cookie %s is not of this server", value);
	web_fault(conn, &conn->listener->strayed, words);
}

/* ---- requests ---- */

static void
web_take(struct lab_conn *conn, struct web_request *request)
{
	struct web_state *state = conn->state;
	char words[2 * NTLM_NAME + 64], token[MEETING_TOKEN];

	web_look_at_cookie(conn, request);
	if (*state->user && *request->user && strcmp(state->user, request->user)) {
		snprintf(words, sizeof(words), "a request of %s over the connection of %s", request->user,
			 state->user);
		web_mixed(conn, request, words);
		return;
	}
	if (!web_authorize(conn, request))
		return;
	if (!strncmp(request->path, "/abs/", 5) && !*state->user)
		web_answer(conn, request, "401 Unauthorized",
			   "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n", "who is it?");
	else if (!strncmp(request->path, "/mcx", 4) && strchr("/", request->path[4]))
		web_session(conn, request);
	else if (!strncmp(request->path, "/meet/", 6) && *request->user)
		web_answer(conn, request, "200 OK", "",
			   meeting_token(request->path + 6, request->user, token));
	else
		web_answer(conn, request, "200 OK", "", request->path);
}

/* False: its first line is none. */
static bool
web_read(struct web_request *request, const struct http_message *message)
{
	const char *line = message->head, *end = memchr(line, '\r', message->head_len);
	const char *space = memchr(line, ' ', (size_t)(end - line)), *last, *value;
	size_t len;

	*request = (struct web_request){.message = message};
	last = space ? memrchr(line, ' ', (size_t)(end - line)) : NULL;
	if (!space || last <= space + 1 || space[1] != '/' || end - last != 9 ||
	    memcmp(last + 1, "HTTP/1.", 7))
		return false;
	http_copy(request->method, sizeof(request->method), line, (size_t)(space - line));
	http_copy(request->path, sizeof(request->path), space + 1, (size_t)(last - space) - 1);
	if ((value = http_field(message, "X-Lab-User", 0, &len)))
		http_copy(request->user, sizeof(request->user), value, len);
	if ((value = http_field(message, "X-Lab-Id", 0, &len)))
		http_copy(request->id, sizeof(request->id), value, len);
	request->close = last[8] == '0' || http_has(message, "Connection", "close");
	return true;
}

static enum handler_next
web_stream(struct lab_conn *conn)
{
	static const struct http_message nothing = {.head = "\r\n\r\n", .head_len = 4};
	struct web_request bad = {.message = &nothing, .close = true};

	while (conn->out.len < CONN_OUT_HIGH && conn->in.len) {
		struct http_message message;
		struct web_request request;
		enum http_got got = http_parse(&message, buf_front(&conn->in), conn->in.len);

		if (got == HTTP_MORE)
			return HANDLER_WAIT;
		if (got == HTTP_BAD || !web_read(&request, &message)) {
			web_answer(conn, &bad, "400 Bad Request", "", "not understood");
			return HANDLER_FINISH;
		}
		web_take(conn, &request);
		buf_drop(&conn->in, message.head_len + message.body_len);
		if (request.close)
			return HANDLER_FINISH;
	}
	return HANDLER_WAIT;
}

const struct lab_handler handler_web = {
    .name = "web",
    .state_size = sizeof(struct web_state),
    .stream = web_stream,
};
