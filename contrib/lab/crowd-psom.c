/*
 * Users in a meeting (handler-psom.c, meeting.h):
 *
 *	the page of the meeting, at the target that psom=NAME names: GET, whose answer has the token
 *	over a new connection to the target itself: JOIN, SAY, a share (many larger frames, which are all on
 *	their way at once), LEAVE
 *
 * A short client has all of it in one exchange. A long one joins, then says something, in every fourth exchange
 * shares, and leaves in the end; in between it hears nothing. Without a page the token is made here.
 */
#include "crowd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "meeting.h"

enum psom_step {
	PSOM_PAGE,
	PSOM_JOIN,
	PSOM_SAY,
	PSOM_SHARE,
	PSOM_LEAVE,
	PSOM_DONE,
};

enum {
	PSOM_SHARE_EVERY = 4,
	PSOM_SHARE_FRAME = 12 * 1024,
	PSOM_AHEAD = 64 * 1024, /* of a share, no more than this is prepared */
};

struct crowd_psom {
	enum psom_step step;
	char user[64], token[MEETING_TOKEN];
	uint64_t said, heard; /* bytes of the share */
	bool closes;
	int server; /* index of the one that the meeting is at */
};

static void
psom_connected(struct crowd_client *client)
{
	struct crowd_psom *psom = client->state;

	psom->closes = false;
	if (client->goes_on)
		return;
	if (!*psom->user)
		snprintf(psom->user, sizeof(psom->user), "guest-%04x-%" PRIu32, client->crowd->id,
			 client->number);
	psom->step = PSOM_JOIN;
	if (!client->target->join) {
		meeting_token(strrchr(meeting_page, '/') + 1, psom->user, psom->token);
		return;
	}
	psom->step = PSOM_PAGE;
	client->next_goal = who_target(client->crowd, client->target->join, 0);
}

static bool
psom_closes(const struct crowd_client *client)
{
	const struct crowd_psom *psom = client->state;

	return psom->closes;
}

/* ---- what is asked ---- */

static void
psom_fill(struct crowd_client *client)
{
	struct crowd_psom *psom = client->state;

	while (psom->step == PSOM_SHARE && psom->said < client->crowd->share &&
	       client->out.len < PSOM_AHEAD) {
		uint64_t left = client->crowd->share - psom->said;
		size_t len = left < PSOM_SHARE_FRAME ? (size_t)left : PSOM_SHARE_FRAME;

		meeting_begin(&client->out, MEETING_SAY, len);
		buf_pattern(&client->out, psom->said, len);
		psom->said += len;
	}
}

static void
psom_question(struct crowd_client *client)
{
	struct crowd_psom *psom = client->state;
	struct lab_buf *out = &client->out;

	snprintf(client->expected, sizeof(client->expected), "%s says %" PRIu64, psom->user,
		 client->sequence);
	switch (psom->step) {
	case PSOM_PAGE:
		buf_print(out, "GET %s HTTP/1.1\r\nHost: %s\r\nX-Lab-User: %s\r\nConnection: close\r\n\r\n",
			  meeting_page, meeting_host, psom->user);
		break;
	case PSOM_JOIN:
		meeting_say(out, MEETING_JOIN, psom->token, strlen(psom->token));
		break;
	case PSOM_SAY:
		meeting_say(out, MEETING_SAY, client->expected, strlen(client->expected));
		break;
	case PSOM_SHARE:
		psom->said = psom->heard = 0;
		psom_fill(client);
		break;
	case PSOM_LEAVE:
		meeting_say(out, MEETING_LEAVE, NULL, 0);
		break;
	case PSOM_DONE:
		break;
	}
}

static void
psom_ask(struct crowd_client *client)
{
	struct crowd_psom *psom = client->state;

	if (client->present)
		psom->step = client->leaving ? PSOM_LEAVE
			     : client->sequence % PSOM_SHARE_EVERY == 0 ? PSOM_SHARE
									 : PSOM_SAY;
	psom_question(client);
}

static enum psom_step
psom_next(const struct crowd_client *client)
{
	const struct crowd_psom *psom = client->state;

	switch (psom->step) {
	case PSOM_PAGE:
		return PSOM_JOIN;
	case PSOM_JOIN:
		return client->leaving ? PSOM_LEAVE : client->stays ? PSOM_DONE : PSOM_SAY;
	case PSOM_SAY:
		return client->stays ? PSOM_DONE : PSOM_SHARE;
	case PSOM_SHARE:
		return client->stays ? PSOM_DONE : PSOM_LEAVE;
	case PSOM_LEAVE:
	case PSOM_DONE:
		break;
	}
	return PSOM_DONE;
}

/* ---- what comes ---- */

static enum exchange_verdict
psom_page(struct crowd_client *client, int *server, const char **words, char *example)
{
	struct crowd_psom *psom = client->state;
	char name[64], port[8], peer[ADDR_TEXT], token[MEETING_TOKEN], body[512] = "", who[256];
	struct http_message message = {0};
	enum http_got got = http_parse(&message, buf_front(&client->in), client->in.len);

	if (got == HTTP_MORE)
		return EXCHANGE_MORE;
	*words = "502: the server is gone";
	if (got == HTTP_WHOLE && http_status(&message) == 502)
		return EXCHANGE_LOST;
	if (got == HTTP_WHOLE)
		http_copy(body, sizeof(body), message.body, message.body_len);
	snprintf(example, CROWD_WORDS, "%s: %d %.150s", meeting_page, http_status(&message), body);
	*words = "the meeting's page did not lead to it";
	if (http_status(&message) != 200 ||
	    sscanf(body, "%63s %7s %127s %*s %*s %159s", name, port, peer, token) != 4)
		return EXCHANGE_WRONG;
	snprintf(who, sizeof(who), "%s %s %s", name, port, peer);
	*words = who_answered(client, who, strlen(who), server);
	if (*words)
		return EXCHANGE_WRONG;
	strcpy(psom->token, token);
	client->crowd->bytes += message.head_len + message.body_len;
	psom->step = PSOM_JOIN;
	return EXCHANGE_ELSEWHERE;
}

/* What the frame means. NULL, or what is wrong with it. */
static const char *
psom_frame(struct crowd_client *client, const struct meeting_frame *frame, int *server)
{
	struct crowd_psom *psom = client->state;
	const char *wrong;

	switch (psom->step) {
	case PSOM_JOIN:
		if (frame->kind != MEETING_WELCOME)
			return "the meeting could not be joined";
		wrong = who_answered(client, frame->bytes, frame->len, server);
		if (wrong)
			return wrong;
		count_present(client, true);
		count_deed(client, DEED_MEETING);
		psom->server = *server;
		return NULL;
	case PSOM_SAY:
		return frame->kind == MEETING_SAID && frame->len == strlen(client->expected) &&
			       !memcmp(frame->bytes, client->expected, frame->len)
			   ? NULL
			   : "what was said in the meeting came back as something else";
	case PSOM_SHARE:
		if (frame->kind != MEETING_SAID || psom->heard + frame->len > psom->said ||
		    pattern_differs(frame->bytes, psom->heard, frame->len) != psom->heard + frame->len)
			return "what was shared arrived with wrong bytes";
		psom->heard += frame->len;
		if (psom->heard == client->crowd->share)
			count_deed(client, DEED_SHARE);
		return NULL;
	case PSOM_LEAVE:
		count_present(client, false);
		psom->closes = true;
		return frame->kind == MEETING_BYE ? NULL : "the meeting did not let its user go";
	case PSOM_PAGE:
	case PSOM_DONE:
		break;
	}
	return "the server spoke without being asked";
}

static enum exchange_verdict
psom_check(struct crowd_client *client, int *server, const char **words,
	   char example[static CROWD_WORDS])
{
	struct crowd_psom *psom = client->state;
	struct meeting_frame frame;
	int whole;

	if (psom->step == PSOM_PAGE)
		return psom_page(client, server, words, example);
	while ((whole = meeting_read(&frame, buf_front(&client->in), client->in.len)) > 0) {
		*words = psom_frame(client, &frame, server);
		if (*words)
			break;
		client->crowd->bytes += MEETING_FRAME + frame.len;
		buf_drop(&client->in, MEETING_FRAME + frame.len);
		if (psom->step == PSOM_SHARE && psom->heard < client->crowd->share)
			continue;
		psom->step = psom_next(client);
		if (psom->step == PSOM_DONE) {
			*server = psom->server;
			return EXCHANGE_RIGHT;
		}
		psom_question(client);
	}
	if (!whole)
		return EXCHANGE_MORE;
	if (whole < 0)
		*words = "what came is no frame of the meeting";
	return EXCHANGE_WRONG;
}

static int
psom_set(struct crowd_target *target, const char *value, struct lab_err *err)
{
	target->join = value ? strdup(value) : NULL;
	return value && !target->join ? err_set(err, "out of memory") : 0;
}

static const char *
psom_missing(const struct crowd_target *target)
{
	return !target->deeds[DEED_MEETING] ? "nobody joined a meeting"
	       : !target->deeds[DEED_SHARE] ? "nobody shared anything"
					    : NULL;
}

const struct crowd_protocol protocol_psom = {
    .setting = "psom",
    .help = "  psom, psom=NAME   a meeting, whose page is at the target of that name: users join, speak,\n"
	    "                    share, leave\n",
    .state_size = sizeof(struct crowd_psom),
    .set = psom_set,
    .connected = psom_connected,
    .ask = psom_ask,
    .check = psom_check,
    .fill = psom_fill,
    .closes = psom_closes,
    .missing = psom_missing,
};
