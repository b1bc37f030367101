#include "way/way.h"

#include <errno.h>

#include "base/log.h"
#include "base/must.h"
#include "way/batch.h"
#include "way/handshakes.h"
#include "way/side.h"
#include "way/side_tls.h"
#include "way/strand.h"

#define TO(step) (1u << STEP_##step)

/* The steps and the arrows that may follow. */
static const struct {
	enum step (*run)(struct conn *conn);
	unsigned next;
} way_steps[STEPS] = {
	[STEP_ACCEPT] = { accept_step, TO(GREET) | TO(CLOSE) },
	[STEP_GREET] = { greet_step, TO(CLASSIFY) | TO(CLOSE) },
	[STEP_CLASSIFY] = { classify_step, TO(PICK) | TO(CLOSE) },
	[STEP_PICK] = { pick_step, TO(CONNECT) | TO(RELAY) | TO(CLOSE) },
	[STEP_CONNECT] = { connect_step, TO(PICK) | TO(RELAY) | TO(CLOSE) },
	[STEP_RELAY] = { relay_step, TO(CLASSIFY) | TO(CONNECT) | TO(CLOSE) },
	[STEP_CLOSE] = { close_step, 0 },
};

const char *const way_step_names[STEPS] = {
	[STEP_ACCEPT] = "accept", [STEP_GREET] = "greet",     [STEP_CLASSIFY] = "classify",
	[STEP_PICK] = "pick",     [STEP_CONNECT] = "connect", [STEP_RELAY] = "relay",
	[STEP_CLOSE] = "close",
};

/* Reading pays when somebody waits for the bytes and there is room for them. */
static bool
way_reads_client(const struct conn *conn)
{
	const struct side *client = &conn->client;

	if (client->eof)
		return false;
	switch ((enum step)conn->step) {
	case STEP_GREET:
		return true;
	case STEP_CLASSIFY:
		return !side_pending(client) && talk_has_room(conn, client);
	case STEP_RELAY:
		if (side_pending(&conn->server))
			return false;
		return conn->tunnel || (!side_pending(client) && talk_has_room(conn, client));
	case STEP_CLOSE:
		return !side_pending(client);
	case STEP_ACCEPT:
	case STEP_PICK:
	case STEP_CONNECT:
	case STEPS:
	case GONE:
		break;
	}
	return false;
}

static bool
way_reads_server(const struct conn *conn)
{
	const struct side *server = &conn->server;

	if (!side_open(server) || server->eof)
		return false;
	if (conn->step == STEP_CONNECT)
		return !conn->seat;
	if (conn->step == STEP_CLASSIFY)
		return side_input(conn->way, server).len == 0;
	if (conn->step != STEP_RELAY || side_pending(&conn->client))
		return false;
	return conn->tunnel || (!side_pending(server) && talk_has_room(conn, server));
}

/* The one place that derives what is waited for. */
static void
way_poll(struct conn *conn)
{
	/* Another worker takes what is said at once, and answers. */
	bool connecting = conn->step == STEP_CONNECT && conn->seat;

	side_watch(conn->way, &conn->client,
	           (way_reads_client(conn) ? EV_READ : 0) |
	           (side_pending(&conn->client) ? EV_WRITE : 0));
	if (side_open(&conn->server))
		side_watch(conn->way, &conn->server,
		           (way_reads_server(conn) ? EV_READ : 0) |
		           (connecting || side_pending(&conn->server) ? EV_WRITE : 0));
}

/* The scratch buffers are the next connection's. */
static bool
way_keep(struct conn *conn)
{
	bool kept = conn->talk ? talk_keep(conn) : side_keep(conn->way);

	return kept && side_tls_keep(conn->way);
}

void
way_drive(struct conn *conn)
{
	for (;;) {
		enum step next = way_steps[conn->step].run(conn);

		if (next == GONE)
			return;
		if (next == WAIT) {
			if (way_keep(conn))
				break;
			next = way_close(conn, REASON_NO_MEMORY);
		}
		must(way_steps[conn->step].next & 1u << next);
		if (next == STEP_CLOSE && conn->talk)
			talk_fail(conn);
		conn->step = (uint8_t)next;
	}
	/* With something held it is driven once more in this turn. */
	if (!conn->client.held && !conn->server.held)
		way_poll(conn);
}

enum step
way_close(struct conn *conn, enum reason reason)
{
	conn->reason = (uint8_t)reason;
	return STEP_CLOSE;
}

enum step
way_close_error(struct conn *conn, const struct side *side, int error)
{
	bool server = side == &conn->server;

	conn->error = (int16_t)error;
	conn->reset = true;
	conn->from_server = server;
	if (error == ENOMEM)
		return way_close(conn, REASON_NO_MEMORY);
	if (error == EPROTO && side->tls) {
		side_tls_words(conn, server ? &conn->server : &conn->client);
		return way_close(conn, REASON_TLS_BROKEN);
	}
	if (error == ECONNRESET || error == EPIPE)
		return way_close(conn, server ? REASON_SERVER_RESET : REASON_CLIENT_RESET);
	return way_close(conn, server ? REASON_SERVER_LOST : REASON_CLIENT_LOST);
}

void
way_end(struct conn *conn, enum reason reason)
{
	bool closing = conn->step == STEP_CLOSE;

	/* It is on its way out already: then without the pleasantries. */
	if (closing)
		reason = (enum reason)conn->reason;
	conn->reset = true;
	conn->step = (uint8_t)way_close(conn, reason);
	if (!closing && conn->talk)
		talk_fail(conn);
	way_drive(conn);
}

void
way_leave(struct conn *conn, enum reason reason)
{
	if (conn->step == STEP_CLOSE)
		return;
	conn->step = (uint8_t)way_close(conn, reason);
	way_drive(conn);
}

void
way_due(struct side *side, int events)
{
	struct conn *conn = side_conn(side);
	struct way *way = conn->way;

	side_ready(side, events);
	/* libev calls for the newest first; who was ready first is served first. */
	if (list_empty(&conn->due))
		list_append(side->of_server ? way->due_servers.next : way->due_clients.next, &conn->due);
}

void
way_rouse(struct conn *conn)
{
	if (list_empty(&conn->talk->roused))
		list_append(&conn->way->roused, &conn->talk->roused);
}

static void
way_unrest(struct ev_loop *loop, struct ev_idle *unrest, int events)
{
	(void)loop, (void)unrest, (void)events;
}

void
way_turn(struct way *way)
{
	batch_hear(way, &way->due_clients);
	batch_hear(way, &way->due_servers);
	batch_say(way);
	handshakes_go_on(way);
	for (unsigned n = 0; n < WAY_ROUSED && !list_empty(&way->roused); n++) {
		struct conn *conn = container_of(way->roused.next, struct talk, roused)->conn;

		list_remove(&conn->talk->roused);
		if (!strand_is_orphan(conn))
			way_drive(conn);
		else if (conn->entered || (conn->talk->routed && side_open(&conn->server)))
			way_end(conn, REASON_CLIENT_RESET);
		else
			way_leave(conn, REASON_CLIENT_DONE);
	}
	if ((list_empty(&way->roused) && list_empty(&way->due_handshakes)) != !!ev_is_active(&way->unrest))
		return;
	/* The others get their turn, but the loop must not wait for them. */
	if (ev_is_active(&way->unrest)) {
		ev_idle_stop(way->loop, &way->unrest);
		return;
	}
	ev_idle_init(&way->unrest, way_unrest);
	ev_idle_start(way->loop, &way->unrest);
}

void
way_over(struct way *way)
{
	if (way->over)
		return;
	way->over = true;
	ev_timer_stop(way->loop, &way->pause);
	ev_timer_stop(way->loop, &way->grace);
	log_flush();
	child_exit(way->child);
}

static void
way_timed(struct timer_entry *entry, uint64_t now_ms)
{
	struct conn *conn = container_of(entry, struct conn, timer);

	(void)now_ms;
	conn->timed = true;
	way_drive(conn);
}

struct timeq *
way_queue(struct way *way, uint64_t ms)
{
	return timeq_get(way->child->timeouts, ms, way_timed);
}
