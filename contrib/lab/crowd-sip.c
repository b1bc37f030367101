/*
 * Users who sign in, servers and gateways that call (handler-sip.c). Each step is a question of its own, and
 * each answer is looked at:
 *
 *	sip=user      REGISTER (401), again with NTLM (401 and a challenge), with message 3 (200, Expires,
 *	              ms-keep-alive); or 301: the same at the home pool, which is another target
 *	              INVITE (180, 200), ACK; BYE (200); OPTIONS (200)
 *	              REGISTER with Expires: 0 (200)
 *	sip=call      INVITE, ACK, BYE, OPTIONS: a gateway or a server, which does not sign in
 *	sip=service   SERVICE (200): a server that reports or asks for something
 *
 * A short client has all of it in one exchange. A long one signs in, and then begins a call, ends it, asks
 * (OPTIONS), in turn; in between it says CRLF CRLF whenever it was silent for as long as it was told. A call
 * that stands when its connection is lost is cut.
 */
#define _GNU_SOURCE 1
#include "crowd-sip.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

static void
sip_connected(struct crowd_client *client)
{
	struct crowd_sip *sip = client->state;

	sip->home = client->goes_on;
	if (sip->in_call)
		count_deed(client, DEED_CUT);
	sip->in_call = false;
}

static void
sip_keep(struct crowd_client *client)
{
	buf_add(&client->out, "\r\n\r\n", 4);
	count_deed(client, DEED_KEEP_ALIVE);
}

/* ---- what is next ---- */

/* What comes first: a call that stands is ended by who leaves; who is not signed in signs in. */
static enum sip_step
sip_first(const struct crowd_client *client)
{
	const struct crowd_sip *sip = client->state;

	if (client->target->kind == SIP_SERVICE)
		return SIP_REPORT;
	if (client->target->kind == SIP_USER && !client->present)
		return SIP_KNOCK;
	if (sip->in_call)
		return SIP_BYE;
	if (client->leaving)
		return client->target->kind == SIP_USER ? SIP_SIGN_OUT : SIP_OPTIONS;
	return client->stays && sip->called ? SIP_OPTIONS : SIP_INVITE;
}

static enum sip_step
sip_next(const struct crowd_client *client)
{
	const struct crowd_sip *sip = client->state;
	enum sip_step leave = client->target->kind == SIP_USER ? SIP_SIGN_OUT : SIP_DONE;

	switch (sip->step) {
	case SIP_KNOCK:
		return SIP_NEGOTIATE;
	case SIP_NEGOTIATE:
		return SIP_SIGN_IN;
	case SIP_SIGN_IN:
		return client->leaving ? leave : client->stays ? SIP_DONE : SIP_INVITE;
	case SIP_INVITE:
		return client->stays ? SIP_DONE : SIP_BYE;
	case SIP_BYE:
		return client->leaving || !client->stays ? leave : SIP_DONE;
	case SIP_OPTIONS:
	case SIP_REPORT:
	case SIP_SIGN_OUT:
	case SIP_DONE:
		break;
	}
	return SIP_DONE;
}

static void
sip_ask(struct crowd_client *client)
{
	struct crowd_sip *sip = client->state;

	if (!*sip->user)
		snprintf(sip->user, sizeof(sip->user), "%s-%04x-%" PRIu32,
			 client->target->kind == SIP_USER ? "user" : "server", client->crowd->id,
			 client->number);
	sip->step = sip_first(client);
	sip_request(client);
}

/* ---- answers ---- */

/* The challenge becomes message 3. NULL, or what is wrong. */
static const char *
sip_meet_challenge(struct crowd_sip *sip, const struct sip_head *head)
{
	struct ntlm_message challenge;
	uint8_t own[NTLM_NONCE];
	char data[NTLM_TEXT];
	struct lab_err err;
	const char *value;
	size_t len;

	for (int nth = 0; (value = sip_field(head, "WWW-Authenticate", nth, &len)); nth++) {
		if (len < 5 || memcmp(value, "NTLM ", 5) ||
		    !sip_parameter(value, len, "gssapi-data", data, sizeof(data)) ||
		    !ntlm_decode(&challenge, data, strlen(data)))
			continue;
		if (RAND_bytes(own, sizeof(own)) != 1 ||
		    ntlm_authenticate(&sip->message, &challenge, sip->user, own, &err))
			break;
		return NULL;
	}
	return "no challenge of NTLM came where it should";
}

/* 301: the best of its Contacts is where the user goes. NULL, or what is wrong. */
static const char *
sip_redirected(struct crowd_client *client, const struct sip_head *head)
{
	struct crowd_sip *sip = client->state;
	double best = -1;
	const char *value;
	size_t len;

	if (sip->home)
		return "the home pool sent the user away, too";
	for (int nth = 0; (value = sip_field(head, "Contact", nth, &len)); nth++) {
		const char *host = memmem(value, len, "sip:", 4);
		char name[SIP_WORD], q[8] = "1";
		size_t name_len, port = 0;

		if (!host)
			continue;
		host += 4;
		name_len = strcspn(host, ":;>\r");
		if (name_len >= sizeof(name))
			continue;
		memcpy(name, host, name_len);
		name[name_len] = 0;
		port = host[name_len] == ':' ? strtoul(host + name_len + 1, NULL, 10) : 5061;
		sip_parameter(value, len, "q", q, sizeof(q));
		if (atof(q) <= best)
			continue;
		best = atof(q);
		client->next_goal = who_target(client->crowd, name, (uint16_t)port);
	}
	return client->next_goal ? NULL : "the user was sent to a home pool that is no target";
}

static const char *
sip_signed_in(struct crowd_client *client, const struct sip_head *head)
{
	char seconds[16] = "";
	size_t len;
	const char *value = sip_field(head, "Expires", 0, &len);

	if (!value || atoi(value) <= 0)
		return "a user was signed in without Expires";
	value = sip_field(head, "ms-keep-alive", 0, &len);
	if (!value || !sip_parameter(value, len, "timeout", seconds, sizeof(seconds)) || atof(seconds) <= 0)
		return "the registrar did not say how long a client may be silent";
	client->keep_alive = atof(seconds);
	count_present(client, true);
	count_deed(client, DEED_SIGN_IN);
	if (((struct crowd_sip *)client->state)->home)
		count_deed(client, DEED_REDIRECT);
	return NULL;
}

/* What the step's final answer means. NULL, or what is wrong with it. */
static const char *
sip_step_over(struct crowd_client *client, const struct sip_head *head)
{
	struct crowd_sip *sip = client->state;
	int status = sip_status(head);
	const char *value;
	size_t len;

	switch (sip->step) {
	case SIP_KNOCK:
		return status == 401 ? NULL : "REGISTER without credentials was not answered with 401";
	case SIP_NEGOTIATE:
		return status == 401 ? sip_meet_challenge(sip, head) : "the logon was not answered";
	case SIP_SIGN_IN:
		if (status == 301)
			return sip_redirected(client, head);
		return status == 200 ? sip_signed_in(client, head)
				     : "a user was refused who knows the password";
	case SIP_INVITE:
		value = sip_field(head, "To", 0, &len);
		if (status != 200)
			return "a call was refused";
		if (!value || !sip_parameter(value, len, "tag", sip->to_tag, sizeof(sip->to_tag)))
			return "a call was taken by nobody: To has no tag";
		sip->in_call = true;
		if (client->target->kind == SIP_CALLER)
			count_present(client, true);
		sip_ack(client);
		return NULL;
	case SIP_BYE:
		if (status != 200)
			return "a call could not be ended";
		sip->in_call = false;
		sip->called = true;
		sip->to_tag[0] = 0;
		if (client->target->kind == SIP_CALLER)
			count_present(client, false);
		count_deed(client, DEED_CALL);
		return NULL;
	case SIP_SIGN_OUT:
		count_present(client, false);
		client->keep_alive = 0;
		return status == 200 ? NULL : "a user could not sign out";
	case SIP_OPTIONS:
		sip->called = false;
		return status == 200 ? NULL : "OPTIONS was refused";
	case SIP_REPORT:
		return status == 200 ? NULL : "SERVICE was refused";
	case SIP_DONE:
		break;
	}
	return "an answer came that nobody asked for";
}

/* Is it the answer to our question, and who gives it? NULL, or what is wrong. */
static const char *
sip_check_head(struct crowd_client *client, const struct sip_head *head, int *server)
{
	const struct crowd_sip *sip = client->state;
	char want[64];
	size_t len;
	const char *value = sip_field(head, "Call-ID", 0, &len);

	if (!sip_status(head))
		return "the server asks for something";
	if (!value || len != strlen(client->expected) || memcmp(value, client->expected, len))
		return "the answer does not belong to the question";
	snprintf(want, sizeof(want), "%" PRIu32 " %s", sip->cseq, sip_method(sip->step));
	value = sip_field(head, "CSeq", 0, &len);
	if (!value || len != strlen(want) || memcmp(value, want, len))
		return "the answer does not belong to the question";
	value = sip_field(head, "X-Lab", 0, &len);
	return who_answered(client, value ? value : "", value ? len : 0, server);
}

/* One message is there. */
static enum exchange_verdict
sip_message(struct crowd_client *client, const struct sip_head *head, int *server, const char **words,
	    char example[static CROWD_WORDS])
{
	struct crowd_sip *sip = client->state;
	size_t whole = head->len + head->body, len;
	int status = sip_status(head);

	/* A request that was under way when its server died. Servers of the lab say who they are. */
	*words = "503: the server is gone";
	if (status == 503 && !sip_field(head, "X-Lab", 0, &len))
		return EXCHANGE_LOST;
	*words = sip_check_head(client, head, server);
	if (!*words && status >= 200)
		*words = sip_step_over(client, head);
	if (*words) {
		const char *more = sip_field(head, "Warning", 0, &len);

		snprintf(example, CROWD_WORDS, "%s of %s was answered with %d %.*s",
			 sip_method(sip->step), sip->user, status,
			 more ? (int)(len > 150 ? 150 : len) : 0, more ? more : "");
		return EXCHANGE_WRONG;
	}
	client->crowd->bytes += whole;
	buf_drop(&client->in, whole);
	if (status < 200)
		return EXCHANGE_MORE;
	if (status == 301)
		return EXCHANGE_ELSEWHERE;
	sip->step = sip_next(client);
	if (sip->step != SIP_DONE) {
		sip_request(client);
		return EXCHANGE_MORE;
	}
	*words = "the server said more than was asked";
	return client->in.len ? EXCHANGE_WRONG : EXCHANGE_RIGHT;
}

static enum exchange_verdict
sip_check(struct crowd_client *client, int *server, const char **words,
	  char example[static CROWD_WORDS])
{
	for (;;) {
		struct sip_head head;
		enum exchange_verdict verdict;

		switch (sip_parse(&head, buf_front(&client->in), client->in.len)) {
		case SIP_MORE:
			return EXCHANGE_MORE;
		case SIP_WHOLE:
			verdict = sip_message(client, &head, server, words, example);
			if (verdict != EXCHANGE_MORE)
				return verdict;
			break;
		case SIP_PING:
		case SIP_PONG:
		case SIP_BAD:
			*words = "the answer is not SIP";
			return EXCHANGE_WRONG;
		}
	}
}

static int
sip_set(struct crowd_target *target, const char *value, struct lab_err *err)
{
	static const char *const kinds[] = {
	    [SIP_USER] = "user", [SIP_CALLER] = "call", [SIP_SERVICE] = "service"};

	for (target->kind = 0; target->kind < 3; target->kind++)
		if (value && !strcmp(value, kinds[target->kind]))
			return 0;
	return err_set(err, "sip is user, call or service");
}

static const char *
sip_missing(const struct crowd_target *target)
{
	if (target->kind == SIP_USER && !target->deeds[DEED_SIGN_IN])
		return "nobody signed in";
	return target->kind != SIP_SERVICE && !target->deeds[DEED_CALL] ? "nobody called" : NULL;
}

const struct crowd_protocol protocol_sip = {
    .setting = "sip",
    .help = "  sip=user          users sign in with NTLM, call, stay, sign out; who is sent home goes to the\n"
	    "                    target whose tls-name and port that is\n"
	    "  sip=call          gateways and servers: calls and OPTIONS\n"
	    "  sip=service       servers that report: SERVICE\n",
    .state_size = sizeof(struct crowd_sip),
    .set = sip_set,
    .connected = sip_connected,
    .ask = sip_ask,
    .check = sip_check,
    .keep = sip_keep,
    .pace = 3, /* people do not call without a pause */
    .missing = sip_missing,
};
