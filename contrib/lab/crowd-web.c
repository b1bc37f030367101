/*
 * Users of web services (handler-web.c). Every other client sits at a desk and logs its connection on
 * with NTLM; the rest are phones, which do not. Both keep a session, which one server knows, and bring
 * the cookie MS-WSMAN. An exchange is a row of requests on one connection:
 *
 *	desks:  GET /abs/ (401), again with message 1 (401 and a challenge), with message 3; once the
 *	        connection is logged on, GET /abs/ alone
 *	all:    GET /dialin/ without the cookie, which must be set again
 *	        POST /mcx (a session, if there is none), GET /mcx/SESSION
 *
 * With web=servers all are like phones: servers among themselves show certificates instead (444).
 *
 * With web=cookie a session outlives its connection, because the cookie leads back to its server. With
 * web=connection it is as old as the connection and ended with each exchange. A session that is not
 * found has strayed: no failure (its server may be gone), but counted.
 */
#define _GNU_SOURCE 1
#include "crowd.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "ntlm.h"
#include "web.h"

enum {
	WEB_WORD = 128,
	WEB_CLOSES = 16, /* so often connections may be ended in one exchange */
};

/* How long sessions live; servers have no users. */
enum web_kind {
	WEB_CONNECTION,
	WEB_COOKIE,
	WEB_SERVERS,
};

enum web_step {
	WEB_KNOCK, /* /abs/ without credentials */
	WEB_NEGOTIATE,
	WEB_AUTHENTICATE,
	WEB_BOOK, /* /abs/, logged on */
	WEB_BARE,
	WEB_BEGIN,
	WEB_GO_ON,
	WEB_END,
	WEB_DONE,
};

struct crowd_web {
	enum web_step step;
	bool logged_on; /* the connection */
	bool closes;    /* the server has said that it closes */
	int closed;     /* connections in this exchange, by the server: it goes on over another one */
	char user[NTLM_NAME], cookie[WEB_WORD], session[WEB_WORD];
	struct ntlm_message message;
	uint64_t requests, asked; /* asked: of the session */
};

struct web_body {
	char server[CROWD_NAME], port[8], peer[ADDR_TEXT], user[NTLM_NAME], id[WEB_WORD],
	    words[WEB_WORD * 2];
};

static void
web_connected(struct crowd_client *client)
{
	struct crowd_web *web = client->state;

	web->logged_on = web->closes = false;
	if (client->target->kind != WEB_COOKIE)
		web->session[0] = web->cookie[0] = 0;
}

static void
web_failed(struct crowd_client *client)
{
	struct crowd_web *web = client->state;

	web->closed = 0;
	web->session[0] = 0;
}

static bool
web_closes(const struct crowd_client *client)
{
	const struct crowd_web *web = client->state;

	return web->closes;
}

static bool
web_is_desk(const struct crowd_client *client)
{
	return client->number % 2 == 0 && client->target->kind != WEB_SERVERS;
}

/* ---- requests ---- */

static const char *
web_line(const struct crowd_web *web, char line[static WEB_WORD * 2])
{
	static const char *const lines[] = {
	    [WEB_KNOCK] = "GET /abs/",    [WEB_NEGOTIATE] = "GET /abs/",
	    [WEB_AUTHENTICATE] = "GET /abs/", [WEB_BOOK] = "GET /abs/",
	    [WEB_BARE] = "GET /dialin/", [WEB_BEGIN] = "POST /mcx",
	    [WEB_GO_ON] = "GET /mcx/",    [WEB_END] = "DELETE /mcx/",
	};
	bool named = web->step == WEB_GO_ON || web->step == WEB_END;

	snprintf(line, WEB_WORD * 2, "%s%s", lines[web->step], named ? web->session : "");
	return line;
}

static void
web_request(struct crowd_client *client)
{
	const struct crowd_target *target = client->target;
	struct crowd_web *web = client->state;
	char line[WEB_WORD * 2], host[ADDR_TEXT], text[NTLM_TEXT];
	struct lab_buf *out = &client->out;

	snprintf(client->expected, sizeof(client->expected), "%04x.%" PRIu32 ".%" PRIu64,
		 client->crowd->id, client->number, ++web->requests);
	buf_print(out, "%s HTTP/1.1\r\nHost: %s\r\nX-Lab-User: %s\r\nX-Lab-Id: %s\r\n",
		  web_line(web, line),
		  target->host ? target->host : addr_text(&target->addr, host), web->user,
		  client->expected);
	if (*web->cookie && web->step != WEB_BARE)
		buf_print(out, "Cookie: %s=%s\r\n", web_cookie, web->cookie);
	if (web->step == WEB_NEGOTIATE || web->step == WEB_AUTHENTICATE) {
		ntlm_encode(&web->message, text);
		buf_print(out, "Authorization: NTLM %s\r\n", text);
	}
	buf_print(out, "%s\r\n", web->step == WEB_BEGIN ? "Content-Length: 0\r\n" : "");
}

/* What a client begins with on this connection; after a close, what was next, and half a logon is none. */
static enum web_step
web_first(const struct crowd_client *client)
{
	const struct crowd_web *web = client->state;

	if (web->closed && web->step >= WEB_BARE)
		return web->step >= WEB_GO_ON && !*web->session ? WEB_BEGIN : web->step;
	if (!web_is_desk(client))
		return WEB_BARE;
	return web->logged_on ? WEB_BOOK : WEB_KNOCK;
}

static enum web_step
web_next(const struct crowd_client *client)
{
	const struct crowd_web *web = client->state;

	switch (web->step) {
	case WEB_KNOCK:
		return WEB_NEGOTIATE;
	case WEB_NEGOTIATE:
		return WEB_AUTHENTICATE;
	case WEB_AUTHENTICATE:
	case WEB_BOOK:
		return WEB_BARE;
	case WEB_BARE:
		return *web->session ? WEB_GO_ON : WEB_BEGIN;
	case WEB_BEGIN:
		return WEB_GO_ON;
	case WEB_GO_ON:
		return *web->session && client->target->kind != WEB_COOKIE ? WEB_END : WEB_DONE;
	case WEB_END:
	case WEB_DONE:
		break;
	}
	return WEB_DONE;
}

static void
web_ask(struct crowd_client *client)
{
	struct crowd_web *web = client->state;

	if (!*web->user)
		snprintf(web->user, sizeof(web->user), "%s-%04x-%" PRIu32,
			 web_is_desk(client) ? "desk" : "phone", client->crowd->id, client->number);
	web->step = web_first(client);
	web_request(client);
}

/* ---- answers ---- */

static bool
web_body(struct web_body *body, const struct http_message *message)
{
	char text[1024];

	if (message->body_len >= sizeof(text))
		return false;
	http_copy(text, sizeof(text), message->body, message->body_len);
	return sscanf(text, "%40s %7s %127s %47s %127s %255[^\n]", body->server, body->port, body->peer,
		      body->user, body->id, body->words) == 6;
}

/* The challenge becomes message 3. NULL, or what is wrong. */
static const char *
web_meet_challenge(struct crowd_web *web, const struct http_message *message)
{
	struct ntlm_message challenge;
	uint8_t own[NTLM_NONCE];
	struct lab_err err;
	const char *value;
	size_t len;

	for (int nth = 0; (value = http_field(message, "WWW-Authenticate", nth, &len)); nth++) {
		if (len < 6 || memcmp(value, "NTLM ", 5) || !ntlm_decode(&challenge, value + 5, len - 5))
			continue;
		if (RAND_bytes(own, sizeof(own)) != 1 ||
		    ntlm_authenticate(&web->message, &challenge, web->user, own, &err))
			break;
		return NULL;
	}
	return "no challenge of NTLM came where it should";
}

/* What the step's answer means. NULL, or what is wrong with it. */
static const char *
web_step_over(struct crowd_client *client, const struct http_message *message,
	      const struct web_body *body)
{
	struct crowd_web *web = client->state;
	int status = http_status(message);
	uint64_t asked;

	if (status == 409)
		return "the connections of two users were mixed up";
	switch (web->step) {
	case WEB_KNOCK:
		ntlm_negotiate(&web->message);
		return status == 401 && http_has(message, "WWW-Authenticate", "NTLM")
			   ? NULL
			   : "the address book was open to somebody who had not logged on";
	case WEB_NEGOTIATE:
		return status == 401 ? web_meet_challenge(web, message) : "the logon was not answered";
	case WEB_AUTHENTICATE:
		web->logged_on = true;
		/* fallthrough */
	case WEB_BOOK:
		return status == 200 ? NULL : "a user was refused who had logged on";
	case WEB_BARE:
		return status == 200 ? NULL : "a page for everybody was refused";
	case WEB_BEGIN:
		http_copy(web->session, sizeof(web->session), body->words, strlen(body->words));
		web->asked = 0;
		return status == 201 ? NULL : "no session was begun";
	case WEB_GO_ON:
	case WEB_END:
		if (status == 404) {
			web->session[0] = 0;
			client->target->strayed++;
			client->crowd->strayed++;
			return NULL;
		}
		/* A request that was lost may have been counted; one that was answered must have been. */
		asked = strtoull(body->words, NULL, 10);
		if (status != 200 || asked <= web->asked)
			return "the session is not what it was";
		web->asked = asked;
		if (web->step == WEB_END)
			web->session[0] = 0;
		return NULL;
	case WEB_DONE:
		break;
	}
	return "an answer came that nobody asked for";
}

/* Looks at who answers, and whom. NULL, or what is wrong. */
static const char *
web_check_body(const struct crowd_client *client, const struct web_body *body)
{
	const struct crowd_web *web = client->state;
	char want[8];

	snprintf(want, sizeof(want), "%u", client->target->answers_port);
	if (strcmp(body->id, client->expected))
		return "the answer does not belong to the question";
	if (client->target->answers_port && strcmp(body->port, want))
		return "another port of the server answered";
	if (strcmp(body->user, "-") && strcmp(body->user, web->user))
		return "the connections of two users were mixed up";
	return NULL;
}

static const char *
web_check_cookie(struct crowd_web *web, const struct http_message *message)
{
	bool brought = *web->cookie && web->step != WEB_BARE;
	char value[WEB_WORD];
	const char *wrong = web_cookie_wrong(message);

	if (wrong)
		return wrong;
	if (!web_cookie_find(message, "Set-Cookie", value, sizeof(value)))
		return brought ? NULL : "a request without MS-WSMAN was answered without it";
	if (web->step != WEB_BARE)
		strcpy(web->cookie, value);
	return NULL;
}

static const char *
web_answer(struct crowd_client *client, const struct http_message *message, struct web_body *body)
{
	const char *words;

	if (!web_body(body, message))
		return "the answer is not of the lab's web services";
	words = web_check_body(client, body);
	if (!words)
		words = web_step_over(client, message, body);
	return words ? words : web_check_cookie(client->state, message);
}

static enum exchange_verdict
web_check(struct crowd_client *client, int *server, const char **words,
	  char example[static CROWD_WORDS])
{
	struct crowd_web *web = client->state;
	struct http_message message = {0};
	struct web_body body = {.server = ""};
	enum http_got got = http_parse(&message, buf_front(&client->in), client->in.len);

	if (got == HTTP_MORE)
		return EXCHANGE_MORE;
	/* A request that was under way when its server died: users press the key once more. */
	*words = "502: the server is gone";
	if (got == HTTP_WHOLE && http_status(&message) == 502)
		return EXCHANGE_LOST;
	*words = got == HTTP_BAD ? "the answer is not HTTP" : web_answer(client, &message, &body);
	if (!*words && message.head_len + message.body_len < client->in.len)
		*words = "the server said more than was asked";
	if (!*words) {
		*server = count_server(client->crowd, body.server, strlen(body.server));
		*words = *server < 0 ? "more servers answer than can be told apart" : NULL;
	}
	if (*words) {
		char line[WEB_WORD * 2];

		snprintf(example, CROWD_WORDS, "%.100s of %s was answered with %d: %.120s",
			 web_line(web, line), web->user, http_status(&message), body.words);
		return EXCHANGE_WRONG;
	}
	web->closes = http_has(&message, "Connection", "close");
	client->crowd->bytes += message.head_len + message.body_len;
	buf_drop(&client->in, message.head_len + message.body_len);
	web->step = web_next(client);
	if (web->step == WEB_DONE) {
		web->closed = 0;
		return EXCHANGE_RIGHT;
	}
	if (!web->closes) {
		web_request(client);
		return EXCHANGE_MORE;
	}
	*words = "the server ends one connection after the other";
	return ++web->closed > WEB_CLOSES ? EXCHANGE_WRONG : EXCHANGE_ELSEWHERE;
}

static int
web_set(struct crowd_target *target, const char *value, struct lab_err *err)
{
	static const char *const kinds[] = {
	    [WEB_CONNECTION] = "connection", [WEB_COOKIE] = "cookie", [WEB_SERVERS] = "servers"};

	for (target->kind = 0; target->kind < 3; target->kind++)
		if (value && !strcmp(value, kinds[target->kind]))
			return 0;
	return err_set(err, "web is connection, cookie or servers");
}

const struct crowd_protocol protocol_web = {
    .setting = "web",
    .help = "  web=connection    a web service: users at desks log on with NTLM, phones do not; each\n"
	    "                    exchange has a session of its own\n"
	    "  web=cookie        the same, with sessions that outlive connections by the cookie MS-WSMAN\n"
	    "  web=servers       the same without users: HTTPS of servers among themselves\n",
    .state_size = sizeof(struct crowd_web),
    .set = web_set,
    .connected = web_connected,
    .failed = web_failed,
    .ask = web_ask,
    .check = web_check,
    .closes = web_closes,
};
