/* A flow and its server: which one, the socket towards it, what comes back, and what goes wrong. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "net/socket.h"
#include "share/persist.h"
#include "way/figures.h"
#include "way/flow.h"
#include "way/forecast.h"
#include "way/side.h"
#include "way/trace.h"

enum { FLOW_STALE_ERRORS = 16 };  /* taken from a socket's queue of errors at once */

/* Places. */

static void
flow_enter(struct flow *flow, const struct target *target, const struct seat *seat,
           enum choose_why why)
{
	struct seat_run *run = seat->run;

	flow->target = target;
	flow->seat = seat;
	flow->why = (uint8_t)why;
	tally_add(run->tally->active, 1);
	tally_add(run->server_tally->active, 1);
	list_append(&run->flows, &flow->of_seat);
	/* What the first datagram asked for, before there was a server. */
	if (flow->talk) {
		flow->talk->session.server_name = seat->server->name;
		figures_enter(flow->service->run, run, flow->talk->told);
	}
}

void
flow_leave(struct flow *flow)
{
	struct way *way = flow->door->way;
	struct seat_run *run;

	if (flow->io.fd >= 0) {
		ev_io_stop(way->loop, &flow->io);
		close(flow->io.fd);
		flow->io.fd = -1;
	}
	flow_record_drop(way->board, way->row, flow->record);
	flow->record = FLOW_UNRECORDED;
	flow->extend_ms = UINT64_MAX;
	if (!flow->seat)
		return;
	run = flow->seat->run;
	tally_add(run->tally->active, -1u);
	tally_add(run->server_tally->active, -1u);
	if (flow->talk)
		figures_leave(flow->service->run, run, flow->talk->told);
	list_remove(&flow->of_seat);
	flow->seat = NULL;
	if (flow->talk) {
		flow->talk->session.server_name = NULL;
		forecast_leave(run, &flow->talk->until_told);
	}
}

static void
flow_tried(struct flow *flow, enum reason reason, int error)
{
	flow->reason = (uint8_t)reason;
	flow->error = (int16_t)error;
	if (flow->n_tried < CHOOSE_TRIES)
		flow->tried[flow->n_tried++] = flow->seat->server->cell;
}

void
flow_move(struct flow *flow)
{
	flow->moves = false;
	flow_tried(flow, REASON_NO_SERVER, 0);
	flow_leave(flow);
}

static bool
flow_may_try(const struct flow *flow)
{
	uint32_t tries = flow->service->settings.tries;

	return flow->n_tried < (tries < CHOOSE_TRIES ? tries : CHOOSE_TRIES);
}

static void
flow_count_failure(struct flow *flow)
{
	struct seat_run *run = flow->seat->run;

	tally_add(run->tally->connect_failures, 1);
	tally_add(run->server_tally->connect_failures, 1);
	tally_add(((struct service_run *)flow->service->run)->tally->connect_failures, 1);
	connect_suspect(flow->door->way, flow->seat);
}

/* What an ICMP message, or a neighbour that does not answer, says of the server. Others are about one
 * datagram: too long for the path, forbidden by a filter here. */
static bool
flow_error_is_servers(int error)
{
	return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH ||
	       error == EHOSTDOWN || error == ENOPROTOOPT || error == ECONNRESET;
}

/* Else the socket would stay readable for their sake. */
static void
flow_forget_errors(struct flow *flow)
{
	uint8_t control[512], bytes[64];

	for (unsigned i = 0; i < FLOW_STALE_ERRORS; i++) {
		struct iovec part = { .iov_base = bytes, .iov_len = sizeof(bytes) };
		struct msghdr message = {
			.msg_iov = &part, .msg_iovlen = 1,
			.msg_control = control, .msg_controllen = sizeof(control),
		};

		if (recvmsg(flow->io.fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			break;
	}
}

bool
flow_refused(struct flow *flow, int error)
{
	if (!flow_error_is_servers(error)) {
		flow_forget_errors(flow);
		return true;
	}
	flow_count_failure(flow);
	flow_tried(flow, REASON_SERVER_REFUSED, error);
	if (!flow_may_try(flow)) {
		flow_end(flow, REASON_SERVER_REFUSED);
		return false;
	}
	flow_leave(flow);
	flow_forget(flow);
	return true;
}

/* What comes back. */

static bool
flow_answer(struct flow *flow, struct flows *flows, size_t len)
{
	struct flow_door *door = flow->door;
	struct seat_run *run = flow->seat->run;
	struct service_run *service = flow->service->run;
	uint8_t *place = datagram_place(flows->out);

	if (flow->mark_us) {
		uint64_t now_us = flows_now_us(flows);

		side_response(run, now_us > flow->mark_us ? now_us - flow->mark_us : 0);
		flow->mark_us = 0;
	}
	flow->n_tried = 0;
	flow_touch(flow);
	if (flow->talk && !flow_passes(flow, SY_SERVER, sy_span(place, len)))
		return false;
	if (door->way->trace)
		trace_datagram(flow, false, sy_span(place, len));
	flow->down += len;
	tally_add(service->tally->bytes_down, len);
	tally_add(run->tally->bytes_down, len);
	tally_add(run->server_tally->bytes_down, len);
	return datagram_put(flows->out, len, door->io.fd, &flow->name,
	                    door->any ? &flow->key.local : NULL);
}

/* One is the rule; a server that had more of them ready is asked for more, until it has not. */
static void
flow_on_server(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct flow *flow = container_of(io, struct flow, io);
	struct flows *flows = flow->door->way->flows;
	unsigned n = 0;

	(void)loop, (void)events;
	if (flow->turn + 1 == flows->turn && flow->burst < FLOW_BURST)
		flow->burst *= 2;
	flow->turn = flows->turn;
	while (n < flow->burst) {
		ssize_t len = recv(io->fd, datagram_place(flows->out), DATAGRAM_SIZE,
		                   MSG_DONTWAIT);

		if (len < 0) {
			if (errno != EAGAIN)
				(void)flow_refused(flow, errno);
			else if (n == 0)
				flow_forget_errors(flow);
			else
				flow->burst = (uint8_t)n;
			return;
		}
		n++;
		if (flow_answer(flow, flows, (size_t)len))
			datagrams_flush(flows->out);
	}
}

/* The socket. */

static bool
flow_source(struct flow *flow, const struct flow_record *resumed, struct outgoing *way)
{
	const struct sy_addrs *from = &flow->service->snat_from;
	struct service_run *run = flow->service->run;

	way->from = (struct sy_addr){ .family = SY_NO_ADDR };
	if (flow->service->snat == SNAT_OFF) {
		way->from = flow->key.client;
		way->transparent = true;
		return way->from.family == way->to.family;
	}
	if (resumed && resumed->source.family == way->to.family) {
		way->from = resumed->source;
		way->again = true;
		return true;
	}
	for (uint32_t i = 0; i < from->n; i++) {
		const struct sy_addr *addr = &from->at[run->snat_turn++ % from->n];

		if (addr->family != way->to.family)
			continue;
		way->from = *addr;
		way->from.port = 0;
		return true;
	}
	return from->n == 0;
}

/* With several source addresses, one that has no port left is no reason to give up. */
static int
flow_socket(struct flow *flow, const struct flow_record *resumed, struct outgoing *way)
{
	uint32_t turns = flow->service->snat == SNAT_ON && flow->service->snat_from.n
	                 ? flow->service->snat_from.n : 1;

	for (;;) {
		int fd;

		if (!flow_source(flow, resumed, way)) {
			errno = EAFNOSUPPORT;
			return -1;
		}
		fd = socket_connect(way);
		if (fd >= 0 || --turns == 0 || (errno != EADDRNOTAVAIL && errno != EAGAIN))
			return fd;
	}
}

static void
flow_remember(struct flow *flow, const struct sy_addr *source)
{
	struct way *way = flow->door->way;
	struct flow_record record = {
		.key = flow->key,
		.server = flow->seat->server->id,
		.source = *source,
		.expires_ms = way->child->now_ms + 1,
	};

	flow->record = flow_record(way->board, way->row, way->flows->pid, flow->entry.hash, &record,
	                           way->child->now_ms);
	flow->extend_ms = way->child->now_ms;
}

/* False with errno. */
static bool
flow_open(struct flow *flow, const struct flow_record *resumed)
{
	const struct server *server = flow->seat->server;
	struct outgoing way = { .to = server->addr, .datagrams = true };
	struct sy_addr source;
	int fd;

	way.to.port = target_port(flow->target, server, flow->key.local.port);
	flow->server_addr = way.to;
	fd = flow_socket(flow, resumed, &way);
	if (fd < 0)
		return false;
	socket_datagram_options(fd, way.to.family);
	ev_io_init(&flow->io, flow_on_server, fd, EV_READ);
	ev_io_start(flow->door->way->loop, &flow->io);
	flow->served = true;
	if (socket_local(fd, &source))
		flow_remember(flow, &source);
	return true;
}

/* Choosing. */

static const struct seat *
flow_seat_of(const struct target *target, uint64_t server)
{
	for (uint32_t i = 0; i < target->pool->n_servers; i++)
		if (target->seats[i].server->id == server)
			return &target->seats[i];
	return NULL;
}

/* As the predecessor had it. */
static bool
flow_resume(struct flow *flow, const struct flow_record *record)
{
	const struct target *target;
	const struct seat *seat = NULL;

	for (uint32_t i = 0; !seat && (target = service_target(flow->service, i)); i++)
		seat = flow_seat_of(target, record->server);
	if (!seat || !choose_keeps(flow->door->way->board, seat))
		return false;
	flow_enter(flow, target, seat, BECAUSE_RESUMED);
	if (flow_open(flow, record))
		return true;
	flow_leave(flow);
	return false;
}

static void
flow_choose(struct flow *flow, struct choice *out)
{
	const struct service *service = flow->service;
	struct service_run *run = service->run;
	struct way *way = flow->door->way;
	struct sy_facts facts = { .client = flow->key.client, .service = flow->key.local };
	const struct sy_facts *known = flow->talk ? &flow->talk->session.facts : &facts;
	struct choose_ask ask = {
		.service = service,
		.lineup = service_pool(service, known->pool)->run,
		.sorry = service->sorry ? service->sorry->run : NULL,
		.board = way->board,
		.row = way->row,
		.facts = known,
		.now_ms = way->child->now_ms,
		.random = hash_random(&way->random),
		.sequence = run->sequence,
		.tried = flow->tried,
		.n_tried = flow->n_tried,
	};

	choose(&ask, out);
}

/* Another worker may have taken the last place at the same moment. */
static bool
flow_fits(const struct flow *flow)
{
	const struct server *server = flow->seat->server;

	return !server->max_connections ||
	       board_active(flow->door->way->board, server->cell) <= server->max_connections;
}

/* One attempt. False: that server counts as tried. */
static bool
flow_try(struct flow *flow, const struct choice *choice)
{
	struct way *way = flow->door->way;
	struct seat_run *run = choice->seat->run;

	flow_enter(flow, choice->target, choice->seat, choice->why);
	if (!flow_fits(flow)) {
		flow_tried(flow, REASON_SERVERS_FULL, 0);
	} else if (!flow_open(flow, NULL)) {
		flow_tried(flow, connect_reason(errno), errno);
		if (!connect_is_local(flow->error))
			flow_count_failure(flow);
	} else {
		tally_add(run->tally->total, 1);
		tally_add(run->server_tally->total, 1);
		if (choice->store)
			(void)persist_store(way->board, way->row, choice->target->group, &choice->key,
			                    flow->seat->server->id, &flow->service->life,
			                    way->child->now_ms);
		return true;
	}
	flow_leave(flow);
	return false;
}

bool
flow_connect(struct flow *flow, const struct flow_record *resumed)
{
	struct service_run *run = flow->service->run;
	/* Refused by all, maybe long ago: then they are asked once more. */
	bool again = flow->n_tried > 0;
	struct choice choice;

	if (resumed && flow_resume(flow, resumed))
		return true;
	if (!flow->counted) {
		flow->counted = true;
		tally_add(run->tally->total, 1);
		run->sequence++;
	}
	for (;;) {
		flow_choose(flow, &choice);
		if (!choice.seat && again) {
			again = false;
			flow->n_tried = 0;
			continue;
		}
		if (!choice.seat) {
			flow_end(flow, flow->n_tried ? (enum reason)flow->reason : choice.reason);
			return false;
		}
		if (flow_try(flow, &choice))
			return true;
		if (!flow_may_try(flow)) {
			flow_end(flow, (enum reason)flow->reason);
			return false;
		}
	}
}
