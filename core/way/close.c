/* The end. One reason, one line in the log, and everything given back. A client that has our last
 * words coming gets the time to take them. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/slab.h"
#include "way/batch.h"
#include "way/handshakes.h"
#include "way/limits.h"
#include "way/post.h"
#include "way/reach.h"
#include "way/report.h"
#include "way/side.h"
#include "way/strand.h"
#include "way/way.h"

/* After our last words we wait for the client's end: a close() with bytes unread would be a reset,
 * and could take the words back. WAIT, or STEP_CLOSE when it is over. */
static enum step
close_part(struct conn *conn)
{
	struct side *client = &conn->client;
	struct way *way = conn->way;

	if (conn->reset || conn->timed || !side_open(client) || client->datagram)
		return STEP_CLOSE;
	if (side_can_flush(client) && side_flush(way, client) < 0)
		return STEP_CLOSE;
	if (side_pending(client))
		return WAIT;
	if (!conn->parting || client->eof)
		return STEP_CLOSE;
	if (!client->shut)
		side_end(client);
	while (client->ready & EV_READ && !client->eof) {
		side_use(way, client, side_input(way, client).len);
		if (side_read(conn, client, WAY_SCRATCH) < 0 && errno != EAGAIN)
			return STEP_CLOSE;
	}
	side_use(way, client, side_input(way, client).len);
	return client->eof ? STEP_CLOSE : WAIT;
}

static void
close_tallies(struct conn *conn)
{
	struct service_run *run = service_run(conn);

	tally_add(run->reasons[conn->reason], 1);
	if (reason_rows[conn->reason].error) {
		tally_add(run->tally->failed, 1);
		if (conn->seat) {
			tally_add(seat_run(conn)->tally->failed, 1);
			tally_add(seat_run(conn)->server_tally->failed, 1);
		}
	}
	if (!list_empty(&conn->of_service) && !(conn->talk && conn->talk->parent_id))
		tally_add(run->tally->active, -1u);
}

/* Of datagrams by which nothing began one line a second, else whoever sends them fills the disk. */
static void
close_tell(const struct conn *conn)
{
	struct service_run *run = service_run(conn);
	uint64_t now_ms = conn->way->child->now_ms;

	if (conn->datagrams && !conn->talk->opened && !conn->server_addr.family) {
		if (run->flow_complained_ms && now_ms < run->flow_complained_ms + 1000)
			return;
		run->flow_complained_ms = now_ms;
	}
	report_conn(conn);
}

enum step
close_step(struct conn *conn)
{
	struct way *way = conn->way;
	struct service_run *run = service_run(conn);
	bool reset = conn->reset;

	batch_drop(way, &conn->server);
	pick_leave(conn);
	if (conn->talk) {
		reach_forget(conn);
		post_forget(conn);
		strand_leave(&conn->client);
		strand_leave(&conn->server);
		strand_forget_all(conn);
	}
	if (close_part(conn) == WAIT) {
		if (!timer_armed(&conn->timer) || conn->timer.due_ms > way->child->now_ms +
		                                                       WAY_PARTING_MS)
			timeq_arm(run->parting, &conn->timer, way->child->now_ms);
		return WAIT;
	}
	if (!conn->hop) {
		close_tell(conn);
		close_tallies(conn);
	}
	limits_leave(way, &conn->source_slot);
	handshakes_forget(conn);
	list_remove(&conn->due);
	list_remove(&conn->of_seat);
	if (conn->trunk)
		seat_run(conn)->n_trunks--;
	list_remove(&conn->of_service);
	timer_stop(&conn->timer);
	talk_free(conn);
	side_close(way, &conn->client, reset);
	side_close(way, &conn->server, reset);
	free(conn->problem);
	child_release(way->child, conn->generation);
	slab_give(run->slab, conn);
	way->conns--;
	if (way->paused)
		accept_resume(way);
	if (way->child->stopping && way->conns == 0)
		way_over(way);
	return GONE;
}
