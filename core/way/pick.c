/* Which server? way/choose.c answers; here the answer is taken: the place at the server is counted,
 * and given back when the exchange is over. */
#include <stdatomic.h>

#include "base/clock.h"
#include "base/hash.h"
#include "share/persist.h"
#include "way/aside.h"
#include "way/figures.h"
#include "way/forecast.h"
#include "way/reach.h"
#include "way/side.h"
#include "way/side_tls.h"
#include "way/talk.h"
#include "way/trace.h"
#include "way/trunk.h"
#include "way/way.h"

static bool
pick_wished(const struct board_cell *cell)
{
	return atomic_load_explicit(&cell->wish, memory_order_relaxed) != WISH_NONE;
}

bool
pick_drains(struct board *board, const struct seat *seat)
{
	const struct board_cell *cell = board_cell_at(board, seat->cell);

	return atomic_load_explicit(&cell->health, memory_order_relaxed) == HEALTH_DRAINING ||
	       pick_wished(cell) || pick_wished(board_cell_at(board, seat->server->cell));
}

static void
pick_enter(struct conn *conn, const struct choice *choice)
{
	struct seat_run *run = choice->seat->run;

	conn->target = choice->target;
	conn->seat = choice->seat;
	conn->why = choice->why;
	conn->entered = true;
	tally_add(run->tally->active, 1);
	tally_add(run->server_tally->active, 1);
	if (conn->talk)
		figures_enter(service_run(conn), run, conn->talk->told);
	list_remove(&conn->of_seat);
	list_append(&run->conns, &conn->of_seat);
}

void
pick_leave(struct conn *conn)
{
	if (!conn->entered)
		return;
	conn->entered = false;
	tally_add(seat_run(conn)->tally->active, -1u);
	tally_add(seat_run(conn)->server_tally->active, -1u);
	if (conn->talk) {
		figures_leave(service_run(conn), seat_run(conn), conn->talk->told);
		forecast_leave(seat_run(conn), &conn->talk->until_told);
	}
}

void
pick_served(struct conn *conn)
{
	struct seat_run *run = seat_run(conn);
	struct way *way = conn->way;
	size_t waiting = side_input(way, &conn->client).len;

	conn->mark_us = clock_us();
	conn->heard = false;
	/* With datagrams nobody has answered yet. */
	if (!conn->server.datagram)
		conn->n_tried = 0;
	conn->reason = REASON_NONE;
	conn->error = 0;
	if (!conn->talk || !conn->talk->resend) {
		tally_add(run->tally->total, 1);
		tally_add(run->server_tally->total, 1);
	}
	tally_add(run->tally->bytes_up, waiting);
	tally_add(run->server_tally->bytes_up, waiting);
	/* When the table is busy, this client is balanced anew next time: no harm. */
	if (conn->store)
		persist_store(way->board, way->row, conn->target->group, &conn->key,
		              conn->seat->server->id, &conn->service->life, way->child->now_ms);
	conn->store = false;
	if (conn->talk)
		talk_served(conn);
	if (way->trace)
		trace_served(conn);
}

void
pick_drop(struct conn *conn, bool reset)
{
	struct side *side = &conn->server;

	if (conn->way->trace)
		trace_left(conn, reset);
	pick_leave(conn);
	if (conn->talk)
		talk_dropped(conn);
	list_remove(&conn->of_seat);
	side_close(conn->way, side, reset);
	*side = (struct side){ .io.fd = -1, .bytes = side->bytes };
	/* The next one wants keepalive, too. */
	conn->settled = false;
}

/* Another worker may have taken the last place at the same moment. */
static bool
pick_fits(const struct conn *conn)
{
	const struct server *server = conn->seat->server;

	return !server->max_connections ||
	       board_active(conn->way->board, server->cell) <= server->max_connections;
}

static void
pick_choose(struct conn *conn, const struct sy_facts *facts, struct choice *out)
{
	struct way *way = conn->way;
	uint64_t seed = way->random ^ conn->id << 32 ^ conn->sequence;
	struct choose_ask ask = {
		.service = conn->service,
		.lineup = service_pool(conn->service, facts->pool)->run,
		.sorry = conn->service->sorry ? conn->service->sorry->run : NULL,
		.board = way->board,
		.row = way->row,
		.facts = facts,
		.now_ms = way->child->now_ms,
		.random = hash_random(&seed),
		.sequence = conn->sequence,
		.tried = conn->tried,
		.n_tried = conn->n_tried,
	};

	choose(&ask, out);
	/* Who is known takes nobody's turn: else every second of a client's requests would have the odd ones. */
	if (out->why == BECAUSE_SCHEDULER || out->why == BECAUSE_SORRY)
		service_run(conn)->sequence++;
	conn->store = out->store;
	if (out->store)
		conn->key = out->key;
	if (conn->talk && out->seat)
		talk_chosen(conn, facts, out);
}

/* One that others use, one that another exchange has left, or a new one. */
static enum step
pick_connection(struct conn *conn)
{
	if (!service_run(conn)->shares)
		return STEP_CONNECT;
	connect_address(conn);
	if (!trunk_take(conn) && !aside_take(conn))
		return STEP_CONNECT;
	pick_served(conn);
	return STEP_RELAY;
}

/* A server that is full although the choice did not see it yet counts as tried. */
static enum step
pick_server(struct conn *conn, const struct sy_facts *facts)
{
	struct choice choice;
	const struct seat *before = side_open(&conn->server) ? conn->seat : NULL;

	for (;;) {
		pick_choose(conn, facts, &choice);
		if (!choice.seat) {
			conn->reset = true;
			/* What the last server did is the better answer. */
			return way_close(conn, conn->n_tried ? (enum reason)conn->reason
			                                     : choice.reason);
		}
		if (choice.seat == before) {
			pick_enter(conn, &choice);
			talk_reuse(conn);
			pick_served(conn);
			return STEP_RELAY;
		}
		if (before)
			pick_drop(conn, false);
		before = NULL;
		pick_enter(conn, &choice);
		if (pick_fits(conn))
			return pick_connection(conn);
		conn->reason = REASON_SERVERS_FULL;
		if (conn->n_tried < CHOOSE_TRIES)
			conn->tried[conn->n_tried++] = conn->seat->server->cell;
		pick_drop(conn, false);
		if (conn->n_tried >= CHOOSE_TRIES) {
			conn->reset = true;
			return way_close(conn, REASON_SERVERS_FULL);
		}
	}
}

enum step
pick_step(struct conn *conn)
{
	struct sy_facts facts = { .client = conn->client_addr, .service = conn->service_addr };
	struct service_run *run = service_run(conn);

	/* A new exchange, not another attempt. */
	if (conn->n_tried == 0) {
		tally_add(run->tally->total, 1);
		conn->sequence = run->sequence;
		if (conn->talk)
			conn->talk->began_ms = conn->way->child->now_ms;
	}
	if (conn->talk && conn->talk->session.facts.flow.len)
		return reach_pick(conn);
	if (conn->talk && conn->talk->pinned && side_open(&conn->server)) {
		struct choice same = {
			.target = conn->target, .seat = conn->seat, .why = BECAUSE_PINNED,
		};

		pick_enter(conn, &same);
		pick_served(conn);
		return STEP_RELAY;
	}
	if (!conn->talk)
		side_tls_facts(conn, &facts);
	return pick_server(conn, conn->talk ? &conn->talk->session.facts : &facts);
}
