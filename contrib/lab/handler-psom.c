/*
 * Web conferencing, as far as a balancer can tell: TLS, and a client that is there for long. What is said is the
 * lab's own (meeting.h). Who shows no token that is good is put out; what is no frame, too.
 */
#include "server.h"

#include <stdio.h>

#include "meeting.h"

struct psom_state {
	bool joined;
};

static void
psom_welcome(struct lab_conn *conn)
{
	char text[ADDR_TEXT * 2], peer[ADDR_TEXT];
	int len = snprintf(text, sizeof(text), "%.60s %u %s", conn->listener->server->name,
			   addr_port(&conn->listener->addr), addr_text(&conn->peer, peer));

	meeting_say(&conn->out, MEETING_WELCOME, text, (size_t)len);
}

static enum handler_next
psom_frame(struct lab_conn *conn, const struct meeting_frame *frame)
{
	struct psom_state *state = conn->state;

	conn_exchange_done(conn);
	if (!state->joined) {
		if (frame->kind != MEETING_JOIN || !meeting_admits(frame->bytes, frame->len))
			return HANDLER_RESET;
		state->joined = true;
		conn->listener->users++;
		psom_welcome(conn);
		return HANDLER_WAIT;
	}
	if (frame->kind == MEETING_LEAVE) {
		meeting_say(&conn->out, MEETING_BYE, NULL, 0);
		return HANDLER_FINISH;
	}
	if (frame->kind != MEETING_SAY)
		return HANDLER_RESET;
	meeting_say(&conn->out, MEETING_SAID, frame->bytes, frame->len);
	return HANDLER_WAIT;
}

static enum handler_next
psom_stream(struct lab_conn *conn)
{
	enum handler_next next = HANDLER_WAIT;

	while (next == HANDLER_WAIT && conn->out.len < CONN_OUT_HIGH) {
		struct meeting_frame frame;
		int whole = meeting_read(&frame, buf_front(&conn->in), conn->in.len);

		if (whole < 0)
			return HANDLER_RESET;
		if (!whole)
			break;
		next = psom_frame(conn, &frame);
		buf_drop(&conn->in, MEETING_FRAME + frame.len);
	}
	return next;
}

static void
psom_stream_end(struct lab_conn *conn)
{
	struct psom_state *state = conn->state;

	conn->listener->users -= state && state->joined;
}

const struct lab_handler handler_psom = {
    .name = "psom",
    .state_size = sizeof(struct psom_state),
    .stream = psom_stream,
    .stream_end = psom_stream_end,
};
