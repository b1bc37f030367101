#include "way/aside.h"

#include <errno.h>
#include <string.h>

#include "base/slab.h"
#include "way/side.h"
#include "way/side_tls.h"
#include "way/talk.h"

static void
aside_drop(struct aside *aside)
{
	struct way *way = aside->way;

	timer_stop(&aside->timer);
	list_remove(&aside->of_seat);
	list_remove(&aside->of_way);
	aside->seat->n_aside--;
	way->n_aside--;
	side_close(way, &aside->side, false);
	slab_give(way->aside_slab, aside);
}

static void
aside_timed(struct timer_entry *entry, uint64_t now_ms)
{
	(void)now_ms;
	aside_drop(container_of(entry, struct aside, timer));
}

/* It says something, or leaves; or TLS has something for itself, such as a ticket. */
static void
aside_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct aside *aside = container_of(io, struct aside, side.io);
	uint8_t byte;

	(void)loop;
	side_ready(&aside->side, events);
	if (aside->side.tls && side_tls_read(&aside->side, &byte, 1) < 0 && errno == EAGAIN &&
	    !aside->side.tls->read_wants_write && side_tls_keep(aside->way))
		return;
	aside_drop(aside);
}

void
aside_attach(struct service_run *run)
{
	const struct service *service = run->service;
	const struct service_settings *settings = &service->settings;
	struct way *way = run->way;

	run->shares = service->uses & SY_SHARES && service->snat != SNAT_OFF &&
	              settings->send_proxy.index == SEND_PROXY_OFF &&
	              settings->server_idle_connections;
	if (!run->shares)
		return;
	run->aside = timeq_get(way->child->timeouts, settings->server_idle_timeout.ms, aside_timed);
	if (!way->aside_slab)
		way->aside_slab = slab_new(sizeof(struct aside));
}

static bool
aside_wants(const struct conn *conn)
{
	const struct side *server = &conn->server;
	const struct way *way = conn->way;

	if (!side_open(server) || server->eof || server->shut || side_pending(server) || !conn->heard)
		return false;
	if (way->child->stopping || way->conns + way->n_aside >= way->most)
		return false;
	return choose_keeps(way->board, conn->seat) && !pick_drains(way->board, conn->seat);
}

void
aside_put(struct conn *conn)
{
	struct service_run *run = service_run(conn);
	struct seat_run *seat = seat_run(conn);
	struct way *way = conn->way;
	struct aside *aside;

	if (!aside_wants(conn) || !side_quiet(conn, &conn->server)) {
		pick_drop(conn, false);
		return;
	}
	while (seat->n_aside >= conn->service->settings.server_idle_connections)
		aside_drop(container_of(seat->aside.next, struct aside, of_seat));
	aside = slab_take(way->aside_slab);
	if (!aside) {
		pick_drop(conn, false);
		return;
	}
	*aside = (struct aside){ .way = way, .seat = seat, .addr = conn->server_addr };
	link_init(&aside->of_seat);
	link_init(&aside->of_way);
	timer_init(&aside->timer);
	side_move(way, &aside->side, &conn->server, aside_ready);
	/* What is left is closing the books. */
	conn->server.bytes = aside->side.bytes;
	pick_drop(conn, false);
	list_append(&seat->aside, &aside->of_seat);
	list_append(&way->aside, &aside->of_way);
	seat->n_aside++;
	way->n_aside++;
	timeq_arm(run->aside, &aside->timer, way->child->now_ms);
	side_watch(way, &aside->side, EV_READ);
}

bool
aside_take(struct conn *conn)
{
	struct seat_run *seat = seat_run(conn);
	struct way *way = conn->way;
	uint64_t bytes = conn->server.bytes;

	for (struct link *link = seat->aside.prev; link != &seat->aside; link = link->prev) {
		struct aside *aside = container_of(link, struct aside, of_seat);

		/* A port of the service may be a port of the server. */
		if (memcmp(&aside->addr, &conn->server_addr, sizeof(aside->addr)) != 0)
			continue;
		side_move(way, &conn->server, &aside->side, connect_on_server);
		conn->server.bytes = bytes;
		aside_drop(aside);
		talk_reuse(conn);
		return true;
	}
	return false;
}

void
aside_clear(struct seat_run *seat)
{
	list_each_safe(link, &seat->aside)
		aside_drop(container_of(link, struct aside, of_seat));
}

bool
aside_spare(struct way *way)
{
	if (list_empty(&way->aside))
		return false;
	aside_drop(container_of(way->aside.next, struct aside, of_way));
	return true;
}
