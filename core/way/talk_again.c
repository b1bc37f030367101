/* An exchange on a connection to a server that served others before: its end may be under way already.
 * What was said to it is kept until it answers; if it ends instead, all is said again to a fresh one.
 * The module does not notice. */
#include <errno.h>

#include "way/side.h"
#include "way/talk.h"

enum { TALK_KEPT = 16384 };       /* bytes of one exchange, at most */

void
talk_forget_sent(struct conn *conn)
{
	struct talk *talk = conn->talk;

	talk->keeping = talk->resend = false;
	queue_free(conn->way->chunks, &talk->kept);
}

void
talk_reuse(struct conn *conn)
{
	struct talk *talk = conn->talk;

	/* What must be said to another server must still be said to this one. */
	if (!talk->resend)
		talk_forget_sent(conn);
	talk->keeping = true;
}

void
talk_keep_sent(struct conn *conn, struct sy_span bytes)
{
	struct talk *talk = conn->talk;

	if (!talk->keeping)
		return;
	if (queue_len(talk->kept) + bytes.len > TALK_KEPT ||
	    !queue_put(conn->way->chunks, &talk->kept, bytes))
		talk_forget_sent(conn);
}

enum step
talk_lost(struct conn *conn, struct side *side, int error)
{
	struct talk *talk = conn->talk;

	if (side != &conn->server || !talk->keeping || talk->session.once || error == ENOMEM)
		return way_close_error(conn, side, error);
	talk->keeping = false;
	talk->resend = true;
	talk->needs[SY_SERVER] = talk->again[SY_SERVER] = talk->told_eof[SY_SERVER] = false;
	talk->seen[SY_SERVER] = 0;
	talk_forget_facts(talk);
	timer_stop(&conn->timer);
	side_close(conn->way, side, true);
	*side = (struct side){ .io.fd = -1, .bytes = side->bytes };
	conn->settled = false;
	return STEP_CONNECT;
}

enum step
talk_resume(struct conn *conn)
{
	struct talk *talk = conn->talk;

	if (!talk->resend)
		return WAIT;
	talk->resend = false;
	for (struct chunk *chunk = talk->kept; chunk; chunk = chunk->next)
		if (side_send(conn->way, &conn->server, chunk_span(chunk)) < 0)
			return talk_lost(conn, &conn->server, errno);
	if (!talk->keeping)
		talk_forget_sent(conn);
	return WAIT;
}
