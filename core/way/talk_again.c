/* An exchange on a connection to a server that served others before: its end may be under way already.
 * What was said to it is kept until it answers; if it ends instead, all is said again to a fresh one.
 * The module does not notice.
 *
 * With datagrams there is no handshake that could fail: that a server is not there is known by its answer
 * to the first of them, if at all. What was said is kept in the same way, and said to another server; each
 * datagram with its length in front. */
#include <errno.h>
#include <string.h>

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
	uint32_t len = (uint32_t)bytes.len;
	bool kept = true;

	if (!talk->keeping)
		return;
	if (!talk->kept)
		talk->framed = conn->server.datagram;
	if (talk->framed)
		kept = queue_put(conn->way->chunks, &talk->kept, sy_span(&len, sizeof(len)));
	if (!kept || queue_len(talk->kept) + bytes.len > TALK_KEPT ||
	    !queue_put(conn->way->chunks, &talk->kept, bytes))
		talk_forget_sent(conn);
}

/* It has not answered yet, and is not there. */
static enum step
talk_refused(struct conn *conn, int error)
{
	conn->error = (int16_t)error;
	conn->elsewhere = true;
	/* Then it is the last one. */
	if (!conn->talk->keeping || conn->talk->session.once)
		conn->n_tried = CHOOSE_TRIES;
	return STEP_CONNECT;
}

enum step
talk_lost(struct conn *conn, struct side *side, int error)
{
	struct talk *talk = conn->talk;
	bool refused = side->datagram && side == &conn->server && !conn->heard && conn->seat;
	enum step next = refused ? talk_refused(conn, error) : STEP_CONNECT;

	if (!refused && (side != &conn->server || !talk->keeping || talk->session.once || error == ENOMEM))
		return way_close_error(conn, side, error);
	talk->resend = talk->keeping;
	talk->keeping = false;
	talk->needs[SY_SERVER] = talk->again[SY_SERVER] = talk->told_eof[SY_SERVER] = false;
	talk->seen[SY_SERVER] = 0;
	talk_forget_facts(talk);
	timer_stop(&conn->timer);
	side_close(conn->way, side, true);
	*side = (struct side){ .io.fd = -1, .bytes = side->bytes };
	conn->settled = false;
	return next;
}

/* -1 with errno. */
static int
talk_resend(struct conn *conn)
{
	struct talk *talk = conn->talk;
	struct sy_span rest;
	uint32_t len;

	if (!talk->kept)
		return 0;
	if (talk->kept->next && !queue_gather(conn->way->chunks, &talk->kept)) {
		errno = ENOMEM;
		return -1;
	}
	rest = chunk_span(talk->kept);
	while (rest.len > 0) {
		len = (uint32_t)rest.len;
		if (talk->framed) {
			memcpy(&len, rest.at, sizeof(len));
			rest = sy_span(rest.at + sizeof(len), rest.len - sizeof(len));
		}
		if (side_send(conn->way, &conn->server, sy_span(rest.at, len)) < 0)
			return -1;
		rest = sy_span(rest.at + len, rest.len - len);
	}
	return 0;
}

enum step
talk_resume(struct conn *conn)
{
	struct talk *talk = conn->talk;

	if (!talk->resend)
		return WAIT;
	talk->resend = false;
	if (talk_resend(conn) < 0)
		return talk_lost(conn, &conn->server, errno);
	if (!talk->keeping)
		talk_forget_sent(conn);
	return WAIT;
}
