#include "way/drain.h"

#include "way/talk.h"

enum { DRAIN_TICK_MS = 1000 };

static bool
drain_may_close(const struct conn *conn)
{
	const struct way *way = conn->way;
	uint64_t quiet_ms = conn->service->settings.drain_close.ms;

	if (conn->step != STEP_RELAY && conn->step != STEP_CLASSIFY)
		return false;
	if (conn->talk && conn->talk->session.busy)
		return false;
	return way->child->now_ms >= conn->last_ms + quiet_ms && !side_pending(&conn->client) &&
	       !side_pending(&conn->server);
}

static void
drain_tick(struct timer_entry *entry, uint64_t now_ms)
{
	struct seat_run *seat = container_of(entry, struct seat_run, drain);
	uint32_t n = seat->service->settings.drain_close_rate.per_second;

	(void)now_ms;
	list_each_safe(link, &seat->conns) {
		struct conn *conn = container_of(link, struct conn, of_seat);

		if (n == 0)
			break;
		if (!drain_may_close(conn))
			continue;
		n--;
		/* Between two exchanges only the connection to the server goes. */
		if (conn->step == STEP_CLASSIFY && !conn->talk->pinned)
			pick_drop(conn, false);
		else
			way_leave(conn, REASON_DRAINED);
	}
	drain_look(seat);
}

void
drain_attach(struct seat_run *seat)
{
	timer_init(&seat->drain);
	drain_look(seat);
}

void
drain_detach(struct seat_run *seat)
{
	timer_stop(&seat->drain);
}

void
drain_look(struct seat_run *seat)
{
	const struct service_run *run = seat->service->run;
	struct way *way = run->way;

	if (!seat->service->settings.drain_close.ms)
		return;
	if (!pick_drains(way->board, seat->seat))
		timer_stop(&seat->drain);
	else if (!timer_armed(&seat->drain))
		timeq_arm(timeq_get(way->child->timeouts, DRAIN_TICK_MS, drain_tick), &seat->drain,
		          way->child->now_ms);
}
