#include "way/reach.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/hash.h"
#include "way/hop.h"
#include "way/side.h"
#include "way/strand.h"

_Static_assert(sizeof(struct flow_name) <= SY_FLOW_MOST, "it fits");

/* ---- names ---- */

uint64_t
reach_process(struct board *board, unsigned row)
{
	const struct board_process *process = board_process(board, row);
	const uint32_t who[2] = { row, process->spawns };

	return process->pid ? hash_64(board_key(board), who, sizeof(who)) : 0;
}

/* Ids of one worker are the same in their last digits. */
static uint64_t
reach_hash(const struct flow_name *name)
{
	return name->id / BOARD_WORKERS;
}

void
reach_name(struct conn *conn)
{
	struct talk *talk = conn->talk;
	struct way *way = conn->way;

	if (!talk->session.stream) {
		talk->name = (struct flow_name){ reach_process(way->board, way->row), conn->id };
		table_put(&way->named, &talk->named, reach_hash(&talk->name));
		talk->is_named = true;
	}
	talk->session.flow = sy_span(&talk->name, sizeof(talk->name));
}

void
reach_forget(struct conn *conn)
{
	struct talk *talk = conn->talk;

	if (!talk->is_named)
		return;
	talk->is_named = false;
	table_remove(&conn->way->named, &talk->named);
}

struct conn *
reach_find(const struct way *way, const struct flow_name *name)
{
	table_each(entry, &way->named, reach_hash(name)) {
		struct talk *talk = container_of(entry, struct talk, named);

		if (memcmp(&talk->name, name, sizeof(*name)) == 0)
			return talk->conn;
	}
	return NULL;
}

/* ---- the ROUTE to one ---- */

static enum step
reach_failed(struct conn *conn, enum reason reason)
{
	timer_stop(&conn->timer);
	conn->timed = false;
	conn->reset = true;
	conn->from_server = true;
	return way_close(conn, reason);
}

static enum step
reach_served(struct conn *conn, const struct hop_answer *answer)
{
	struct sy_session *session = &conn->talk->session;

	timer_stop(&conn->timer);
	conn->mark_us = clock_us();
	conn->heard = false;
	conn->reason = REASON_NONE;
	conn->n_tried = 0;
	conn->error = 0;
	conn->why = BECAUSE_FLOW;
	conn->server_addr = answer->client;
	session->server = answer->client;
	session->flow_service = answer->service;
	session->server_secure = answer->secure;
	session->server_datagram = answer->datagram;
	/* What TCP needs set, this does not. */
	conn->settled = conn->server.prompt = true;
	return STEP_RELAY;
}

/* sy_session.at of the server that asks: its trunk tells, or the address that it comes from. 0: that is
 * nobody's, or that of several. */
static uint32_t
reach_from(const struct conn *conn)
{
	const struct conn *parent = conn->client.strand ? conn->client.strand->parent : NULL;
	const struct target *target;
	uint32_t found = 0;

	if (parent && parent->trunk)
		return parent->seat->cell + 1;
	for (uint32_t i = 0; (target = service_target(conn->service, i)); i++)
		for (uint32_t j = 0; j < target->pool->n_servers; j++) {
			const struct sy_addr *addr = &target->pool->servers[j].addr;
			uint32_t at = target->seats[j].cell + 1;

			if (addr->family != conn->client_addr.family ||
			    memcmp(addr->ip, conn->client_addr.ip, sizeof(addr->ip)) != 0 || found == at)
				continue;
			if (found)
				return 0;
			found = at;
		}
	return found;
}

static enum step
reach_here(struct conn *conn, const struct flow_name *name)
{
	struct conn *client = reach_find(conn->way, name);
	struct hop_answer answer;
	enum reason reason;

	if (!client || client == conn)
		return reach_failed(conn, REASON_FLOW_GONE);
	reason = strand_join(client, conn);
	if (reason != REASON_NONE)
		return reach_failed(conn, reason);
	conn->server.strand->from = reach_from(conn);
	hop_describe(client, &answer);
	return reach_served(conn, &answer);
}

static enum step
reach_there(struct conn *conn, const struct flow_name *name, unsigned row)
{
	int fd = hop_call(conn->way->board, row, name, reach_from(conn));

	if (fd < 0) {
		conn->error = (int16_t)errno;
		return reach_failed(conn, connect_is_local(errno) ? REASON_CONNECT_LOCAL
		                                                  : REASON_CONNECT_FAILED);
	}
	side_init(&conn->server, fd, connect_on_server);
	conn->server.of_server = true;
	timeq_arm(service_run(conn)->connect, &conn->timer, conn->way->child->now_ms);
	return STEP_CONNECT;
}

enum step
reach_pick(struct conn *conn)
{
	struct sy_span flow = conn->talk->session.facts.flow;
	struct way *way = conn->way;
	struct flow_name name;
	unsigned row;

	if (side_open(&conn->server))
		pick_drop(conn, false);
	conn->seat = NULL;
	conn->target = NULL;
	conn->server_addr = (struct sy_addr){ .family = SY_NO_ADDR };
	talk_forget_sent(conn);
	if (flow.len != sizeof(name))
		return reach_failed(conn, REASON_FLOW_GONE);
	memcpy(&name, flow.at, sizeof(name));
	row = ROW_WORKER + (unsigned)(name.id % BOARD_WORKERS);
	if (!name.process || name.process != reach_process(way->board, row))
		return reach_failed(conn, REASON_FLOW_GONE);
	return row == way->row ? reach_here(conn, &name) : reach_there(conn, &name, row);
}

enum step
reach_connect(struct conn *conn)
{
	struct side *server = &conn->server;
	struct hop_answer answer;
	ssize_t n;

	if (conn->timed)
		return reach_failed(conn, REASON_CONNECT_TIMEOUT);
	if (!(server->ready & EV_READ))
		return WAIT;
	/* It was sent in one piece, and so it comes. */
	n = recv(server->io.fd, &answer, sizeof(answer), 0);
	if (n < 0 && errno == EAGAIN) {
		server->ready &= (uint8_t)~EV_READ;
		return WAIT;
	}
	if (n != sizeof(answer) || answer.magic != HOP_MAGIC)
		return reach_failed(conn, REASON_FLOW_GONE);
	return answer.full ? reach_failed(conn, REASON_FLOW_FULL) : reach_served(conn, &answer);
}
