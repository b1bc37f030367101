/* Both ways, until both have ended. A tunnel is moved (way/mover.c); what a protocol module wants to
 * see is shown to it (way/talk.c). */
#include <errno.h>

#include "net/socket.h"
#include "way/aside.h"
#include "way/batch.h"
#include "way/mover.h"
#include "way/report.h"
#include "way/side.h"
#include "way/talk.h"
#include "way/way.h"

uint64_t
relay_idle_ms(const struct conn *conn)
{
	if (conn->trunk)
		return conn->service->settings.server_idle_timeout.ms;
	return conn->datagrams ? service_run(conn)->flow_idle_ms
	                       : conn->service->settings.idle_timeout.ms;
}

bool
relay_is_idle(const struct conn *conn)
{
	uint64_t idle_ms = relay_idle_ms(conn), now_ms = conn->way->child->now_ms;

	if (!idle_ms || now_ms < conn->last_ms + idle_ms)
		return false;
	return !conn->datagrams || conn->talk->session.until_ms <= now_ms;
}

/* The idle timeout is not started anew with each byte: when it comes up, it is armed for what is
 * left. Of the queues for 1, 1/2, 1/4 ... of it the longest that is not too long is taken, so that
 * arming never has to look for its place; the shortest gets the exact time. */
void
relay_rest(struct conn *conn)
{
	struct service_run *run = service_run(conn);
	uint64_t idle_ms = relay_idle_ms(conn);
	uint64_t now_ms = conn->way->child->now_ms, due_ms = conn->last_ms + idle_ms;
	unsigned i = 0;

	if (!idle_ms)
		return;
	if (conn->datagrams || conn->trunk) {
		timeq_arm_at(conn->trunk ? run->trunk_idle : run->post_idle, &conn->timer,
		             due_ms > now_ms ? due_ms : now_ms + idle_ms);
		return;
	}
	while (i < WAY_IDLE_STEPS - 1 && (idle_ms >> i) > due_ms - now_ms)
		i++;
	if (i < WAY_IDLE_STEPS - 1)
		timeq_arm(run->idle[i], &conn->timer, now_ms);
	else
		timeq_arm_at(run->idle[i], &conn->timer, due_ms);
}

/* Connections that stay get keepalive; those that are short never pay for it. */
static enum step
relay_timed(struct conn *conn)
{
	conn->timed = false;
	if (!conn->settled) {
		conn->settled = true;
		socket_keepalive(conn->server.io.fd);
	}
	if (relay_is_idle(conn)) {
		conn->reset = true;
		return way_close(conn, REASON_IDLE);
	}
	relay_rest(conn);
	return WAIT;
}

/* One side cannot be written to any more. What it said before may still be on its way: that is
 * passed on, and then the other side gets an end instead of a reset. */
static enum step
relay_write_failed(struct conn *conn, struct side *to, int error)
{
	struct side *other = way_other(conn, to);
	enum step next = way_close_error(conn, to, error);
	bool words = other->held && batch_write(conn->way, other) == 0;

	if (conn->tunnel && !to->eof && !side_pending(other) &&
	    (error == EPIPE || error == ECONNRESET)) {
		uint64_t before = to->bytes;

		to->full = 0;
		(void)mover_move(conn, to, other);
		if (other->held)
			(void)batch_write(conn->way, other);
		words = words || to->bytes > before;
	}
	if (words) {
		conn->reset = false;
		conn->parting = to == &conn->server;
	}
	return next;
}

/* Bytes that a module had asked for before it made way. */
static int
relay_pour(struct conn *conn, struct side *from, struct side *to)
{
	struct sy_span rest = side_input(conn->way, from);

	if (rest.len == 0)
		return 0;
	if (side_send(conn->way, to, rest) < 0)
		return -1;
	side_use(conn->way, from, rest.len);
	return 0;
}

static enum step
relay_direction(struct conn *conn, struct side *from, struct side *to)
{
	if (conn->talk && relay_pour(conn, from, to) < 0)
		return relay_write_failed(conn, to, errno);
	if (side_can_flush(to) && side_flush(conn->way, to) < 0)
		return relay_write_failed(conn, to, errno);
	if (from->ready & EV_READ && !from->eof && !side_pending(to)) {
		switch (mover_move(conn, from, to)) {
		case MOVED:
			break;
		case MOVED_READ_ERROR:
			return way_close_error(conn, from, errno);
		case MOVED_WRITE_ERROR:
			return relay_write_failed(conn, to, errno);
		}
	}
	if (from->eof && !to->shut && !side_pending(to)) {
		/* Who ends first is the reason, if all else goes well. */
		if (!from->shut)
			conn->from_server = from == &conn->server;
		if (from->shut)
			to->shut = true; /* both have ended: close() says it */
		else
			side_end(to);
	}
	return WAIT;
}

static enum step
relay_tunnel(struct conn *conn)
{
	enum step next = relay_direction(conn, &conn->client, &conn->server);

	if (next == WAIT)
		next = relay_direction(conn, &conn->server, &conn->client);
	if (next != WAIT)
		return next;
	if (conn->client.shut && conn->server.shut)
		return way_close(conn, conn->from_server ? REASON_SERVER_DONE : REASON_CLIENT_DONE);
	return WAIT;
}

static enum step
relay_flush(struct conn *conn, struct side *side)
{
	if (side_can_flush(side) && side_flush(conn->way, side) < 0)
		return talk_lost(conn, side, errno);
	return WAIT;
}

/* With a module: each side is heard until it has nothing more to say that the module can use. */
static enum step
relay_talk(struct conn *conn)
{
	struct side *client = &conn->client, *server = &conn->server;
	enum step next = talk_resume(conn);

	if (next == WAIT)
		next = relay_flush(conn, client);
	if (next == WAIT)
		next = relay_flush(conn, server);
	if (next == WAIT)
		next = talk_listen(conn);
	if (next == WAIT)
		next = talk_hear(conn, server);
	if (next == WAIT && client->eof && conn->talk->needs[SY_CLIENT] && !server->shut &&
	    !service_run(conn)->shares && !side_pending(server))
		side_end(server);
	if (next == STEP_CLASSIFY) {
		timer_stop(&conn->timer);
		report_exchange(conn);
		if (conn->talk->spent || !conn->seat || server->datagram || server->strand)
			pick_drop(conn, false);
		else if (service_run(conn)->shares && !conn->talk->pinned)
			aside_put(conn);
		else
			pick_leave(conn);
	}
	return next;
}

enum step
relay_step(struct conn *conn)
{
	enum step next = WAIT;

	if (conn->timed)
		next = relay_timed(conn);
	if (next == WAIT && !conn->tunnel) {
		next = relay_talk(conn);
		if (next == STEP_RELAY)
			next = WAIT;
	}
	if (next == WAIT && conn->tunnel)
		next = relay_tunnel(conn);
	if (next == WAIT && !timer_armed(&conn->timer)) {
		if (conn->settled)
			relay_rest(conn);
		else
			timeq_arm(service_run(conn)->settle, &conn->timer,
			          conn->way->child->now_ms);
	}
	return next;
}
