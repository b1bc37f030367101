/* What does the client want? The protocol module says, from the client's first bytes. A protocol
 * that does not look goes straight on. Between two exchanges a connection waits here. */
#include <errno.h>

#include "way/renew.h"
#include "way/side.h"
#include "way/talk.h"
#include "way/trunk.h"

/* A server that is put aside has nothing to say. If it does, or leaves, it is not wanted again. */
static bool
classify_aside(struct conn *conn)
{
	struct side *server = &conn->server;

	if (!side_open(server) || side_quiet(conn, server))
		return true;
	if (!conn->talk->pinned) {
		pick_drop(conn, false);
		return true;
	}
	/* Said before the client asks again, it is no answer, and must not become one. */
	if (conn->service->uses & SY_SHARES)
		return false;
	/* What it says is for the module, when the client has spoken. */
	return side_input(conn->way, server).len > 0;
}

/* Exchanges that are open have timeouts of their own. */
static bool
classify_late(struct conn *conn, bool first)
{
	conn->timed = false;
	if (conn->talk->n_strands > 0)
		return false;
	if (first || relay_is_idle(conn))
		return true;
	relay_rest(conn);
	return false;
}

enum step
classify_step(struct conn *conn)
{
	struct service_run *run;
	/* What a datagram has begun is seen in way/post.c. */
	bool first = !conn->server_addr.family && !conn->datagrams &&
	             !(conn->talk && (conn->talk->opened || conn->talk->n_exchanges));
	enum step next;

	if (conn->tunnel)
		return STEP_PICK;
	if (conn->generation != conn->way->child->current)
		renew(conn);
	run = service_run(conn);
	if (conn->timed && classify_late(conn, first)) {
		conn->reset = !conn->trunk;
		return way_close(conn, first ? REASON_GREET_TIMEOUT : REASON_IDLE);
	}
	if (side_can_flush(&conn->client) && side_flush(conn->way, &conn->client) < 0)
		return way_close_error(conn, &conn->client, errno);
	if (!classify_aside(conn))
		return way_close(conn, REASON_SERVER_DONE);
	next = talk_listen(conn);
	if (next != WAIT) {
		timer_stop(&conn->timer);
		return next;
	}
	if (trunk_is_over(conn))
		return way_close(conn, REASON_SERVER_DONE);
	if ((conn->datagrams || conn->trunk) && !timer_armed(&conn->timer))
		relay_rest(conn);
	else if (!timer_armed(&conn->timer) && (first || run->idle[0]))
		timeq_arm(first ? run->greet : run->idle[0], &conn->timer,
		          conn->way->child->now_ms);
	return WAIT;
}
