/* Listening sockets, and the first step: a connection gets its block and its addresses. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "base/slab.h"
#include "net/socket.h"
#include "way/aside.h"
#include "way/side.h"
#include "way/talk.h"
#include "way/way.h"

enum { ACCEPT_BATCH = 64 };
#define ACCEPT_PAUSE_S 0.1

/* A slot of a listener: the master's socket, ours to accept from. */
struct door {
	struct link link;         /* way.doors */
	struct ev_io io;
	struct way *way;
	uint64_t id;              /* of the listener */
	unsigned slot;
	struct sy_addr addr;      /* that it is really bound to */
	const struct listener *listener; /* in the current generation; NULL: not served */
	unsigned expect;          /* connections that are likely to wait */
};

void
accept_on_client(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct conn *conn = container_of(io, struct conn, client.io);

	(void)loop;
	way_due(&conn->client, events);
}

enum step
accept_step(struct conn *conn)
{
	struct service_run *run = service_run(conn);

	tally_add(run->tally->active, 1);
	list_append(&run->conns, &conn->of_service);
	if (!conn->service_addr.family && !socket_local(conn->client.io.fd, &conn->service_addr)) {
		conn->reset = true;
		return way_close(conn, REASON_CLIENT_LOST);
	}
	conn->port = conn->service_addr.port;
	return STEP_GREET;
}

struct conn *
accept_block(struct way *way, const struct listener *listener, struct generation *generation)
{
	struct service_run *run = listener->service->run;
	struct conn *conn = slab_take(run->slab);

	if (!conn)
		return NULL;
	memset(conn, 0, sizeof(*conn));
	conn->client.io.fd = conn->server.io.fd = -1;
	timer_init(&conn->timer);
	link_init(&conn->of_service);
	link_init(&conn->of_seat);
	link_init(&conn->due);
	conn->way = way;
	conn->service = listener->service;
	conn->listener = listener;
	conn->generation = generation_hold(generation);
	conn->id = ++way->made * BOARD_WORKERS + way->child->index;
	conn->accepted_ms = conn->last_ms = way->child->now_ms;
	conn->source_slot = UINT32_MAX;
	conn->step = STEP_ACCEPT;
	talk_init(conn);
	way->conns++;
	return conn;
}

static struct conn *
accept_conn(struct door *door, struct generation *generation, int fd)
{
	struct conn *conn = accept_block(door->way, door->listener, generation);

	if (!conn)
		return NULL;
	side_init(&conn->client, fd, accept_on_client);
	/* Inherited from the listener. */
	conn->client.prompt = true;
	/* The first bytes have often arrived with the handshake. */
	conn->client.ready = EV_READ;
	conn->client.edge = !conn->talk && !door->listener->tls;
	/* Asked of the connection only where the listener does not say. */
	if (!socket_any(&door->addr))
		conn->service_addr = door->addr;
	return conn;
}

/* So many TLS handshakes are under way that their clients had better wait where they cost nothing. */
static bool
accept_is_busy(const struct door *door)
{
	return door->way->busy && door->listener->tls;
}

/* Those that are due will be under way before the next ones are looked at. */
static bool
accept_is_enough(const struct door *door)
{
	const struct way *way = door->way;

	return way->paused || (door->listener->tls &&
	                       way->handshakes + way->n_due_handshakes >= way->most_handshakes);
}

static void
accept_watch(struct door *door)
{
	bool wanted = !door->way->paused && door->listener &&
	              door->listener->transport == TRANSPORT_TCP && !accept_is_busy(door);

	if (wanted == !!ev_is_active(&door->io))
		return;
	if (wanted)
		ev_io_start(door->way->loop, &door->io);
	else
		ev_io_stop(door->way->loop, &door->io);
}

static void
accept_watch_all(struct way *way)
{
	list_each(link, &way->doors)
		accept_watch(container_of(link, struct door, link));
}

static void
accept_pause_over(struct ev_loop *loop, struct ev_timer *pause, int events)
{
	struct way *way = container_of(pause, struct way, pause);

	(void)loop, (void)events;
	if (way->conns >= way->most)
		return;
	way->paused = false;
	accept_watch_all(way);
}

static void
accept_pause(struct way *way, double seconds)
{
	way->paused = true;
	accept_watch_all(way);
	if (seconds <= 0 || ev_is_active(&way->pause))
		return;
	ev_timer_init(&way->pause, accept_pause_over, seconds, 0.);
	ev_timer_start(way->loop, &way->pause);
}

void
accept_resume(struct way *way)
{
	if (!way->paused || ev_is_active(&way->pause) || way->conns >= way->most)
		return;
	way->paused = false;
	accept_watch_all(way);
}

/* Once a second is often enough for what will not change before an operator acts. */
static bool
accept_may_complain(struct way *way)
{
	if (way->complained_ms && way->child->now_ms < way->complained_ms + 1000)
		return false;
	way->complained_ms = way->child->now_ms;
	return true;
}

/* An eighth below the limit is early enough: the doors are not to be opened and shut for each one. */
void
accept_handshakes(struct way *way)
{
	uint32_t most = way->most_handshakes;
	bool busy = way->handshakes >= (way->busy ? most - most / 8 : most);

	if (busy == way->busy)
		return;
	way->busy = busy;
	accept_watch_all(way);
	if (busy && accept_may_complain(way))
		log_warn("accept: %u TLS handshakes are under way, that is worker-handshakes; more "
		         "must wait", way->handshakes);
}

/* No descriptor is left. The first in the queue is told at once instead of being left to wait, and
 * the queue has a rest: accept() would fail as fast as it is called. */
static void
accept_shed(struct door *door, int error)
{
	struct way *way = door->way;

	if (error == EMFILE && aside_spare(way))
		return;
	if (error == EMFILE && way->spare_fd >= 0) {
		int fd;

		close(way->spare_fd);
		fd = accept4(door->io.fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			socket_reset_on_close(fd);
			close(fd);
		}
		way->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	if (door->listener) {
		struct service_run *run = door->listener->service->run;

		tally_add(run->tally->refused, 1);
		tally_add(run->reasons[REASON_WORKER_FULL], 1);
	}
	if (accept_may_complain(way))
		log_warn("accept: no connection can be taken for 100 ms: %s (%u are open)",
		         error == EMFILE ? "this process has no descriptor left"
		         : error == ENFILE ? "the system has no descriptor left" : "no memory",
		         way->conns);
	accept_pause(way, ACCEPT_PAUSE_S);
}

/* False: nothing more waits, or nothing more can be taken. */
static bool
accept_one(struct door *door, struct generation *generation)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	struct conn *conn;
	int fd;

	fd = accept4(door->io.fd, (struct sockaddr *)&name, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			accept_shed(door, errno);
		/* Others are the news of one connection that died in the queue: accept(2). */
		return errno != EAGAIN && errno != EINVAL && !door->way->paused;
	}
	conn = accept_conn(door, generation, fd);
	if (!conn) {
		close(fd);
		accept_shed(door, ENOMEM);
		return false;
	}
	socket_addr(&name, &conn->peer);
	conn->client_addr = conn->peer;
	if (door->way->conns >= door->way->most) {
		if (accept_may_complain(door->way))
			log_warn("accept: %u connections are open, that is worker-connections; "
			         "more must wait", door->way->conns);
		accept_pause(door->way, 0);
	}
	way_drive(conn);
	return !accept_is_enough(door);
}

/* Takes as many as were there the last time: asking for one more only to hear that there is none
 * costs a call, and libev comes back when there is. */
static void
accept_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct door *door = container_of(io, struct door, io);
	unsigned n = 0;

	(void)loop, (void)events;
	if (accept_is_enough(door))
		return;
	while (n < door->expect && accept_one(door, door->way->child->current))
		n++;
	if (n == door->expect)
		door->expect = n < ACCEPT_BATCH ? n + 1 : n;
	else
		door->expect = n ? n : 1;
}

void
accept_listen(struct way *way, uint64_t listener, unsigned slot, int fd)
{
	struct door *door = must_alloc(sizeof(*door));

	door->way = way;
	door->id = listener;
	door->slot = slot;
	door->expect = 1;
	must(socket_local(fd, &door->addr));
	ev_io_init(&door->io, accept_ready, fd, EV_READ);
	list_append(&way->doors, &door->link);
	if (way->child->current)
		door->listener = config_listener(way->child->current->config, listener);
	accept_watch(door);
}

/* What waits was accepted by the kernel in our name: it is served. Bounded by the queue itself, which
 * nobody fills any more once the master has closed the socket; and by the clock of the listener. */
static void
accept_drain(struct door *door, struct generation *generation)
{
	if (!door->listener || door->listener->transport != TRANSPORT_TCP)
		return;
	for (unsigned n = 0; n < 65536 && accept_one(door, generation); n++)
		continue;
}

static void
accept_close(struct door *door)
{
	ev_io_stop(door->way->loop, &door->io);
	close(door->io.fd);
	list_remove(&door->link);
	free(door);
}

void
accept_unlisten(struct way *way, uint64_t listener, unsigned slot)
{
	list_each_safe(link, &way->doors) {
		struct door *door = container_of(link, struct door, link);

		if (door->id != listener || door->slot != slot)
			continue;
		if (way->child->current)
			accept_drain(door, way->child->current);
		accept_close(door);
	}
}

void
accept_switched(struct way *way, struct generation *old)
{
	list_each_safe(link, &way->doors) {
		struct door *door = container_of(link, struct door, link);
		const struct listener *next =
			config_listener(way->child->current->config, door->id);

		if (!next && old)
			accept_drain(door, old);
		door->listener = next;
		accept_watch(door);
	}
}

void
accept_stop(struct way *way)
{
	list_each_safe(link, &way->doors) {
		struct door *door = container_of(link, struct door, link);

		if (way->child->current)
			accept_drain(door, way->child->current);
		accept_close(door);
	}
}
