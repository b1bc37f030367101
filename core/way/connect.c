/* The connection to the server. The client's first bytes, if they are here already, leave together
 * with the end of the handshake; if the connect fails, they are still here for the next server. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/proxy_header.h"
#include "net/socket.h"
#include "way/aside.h"
#include "way/reach.h"
#include "way/side.h"
#include "way/side_tls.h"
#include "way/talk.h"
#include "way/trace.h"
#include "way/trunk.h"
#include "way/way.h"

enum { CONNECT_SUSPECT_MS = 1000 }; /* the master hears of one server so often */

void
connect_on_server(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct conn *conn = container_of(io, struct conn, server.io);

	(void)loop;
	way_due(&conn->server, events);
}

bool
connect_is_local(int error)
{
	return error == EADDRNOTAVAIL || error == EADDRINUSE || error == EMFILE ||
	       error == ENFILE || error == ENOBUFS || error == ENOMEM || error == EACCES ||
	       error == EPERM || error == EAFNOSUPPORT || error == EINVAL;
}

enum reason
connect_reason(int error)
{
	if (connect_is_local(error))
		return REASON_CONNECT_LOCAL;
	if (error == ECONNREFUSED)
		return REASON_CONNECT_REFUSED;
	if (error == EPROTO)
		return REASON_TLS_SERVER;
	return error == ETIMEDOUT ? REASON_CONNECT_TIMEOUT : REASON_CONNECT_FAILED;
}

void
connect_suspect(struct way *way, const struct seat *seat)
{
	struct seat_run *run = seat->run;
	struct control_record record = { .type = CONTROL_SUSPECT, .id = seat->cell };
	uint64_t now_ms = way->child->now_ms;

	if (run->suspected_ms && now_ms < run->suspected_ms + CONNECT_SUSPECT_MS)
		return;
	run->suspected_ms = now_ms;
	child_send(way->child, &record, NULL, 0, NULL, 0);
}

static enum step
connect_failed(struct conn *conn, int error)
{
	struct seat_run *run = seat_run(conn);
	uint32_t tries = conn->service->settings.tries;

	timer_stop(&conn->timer);
	conn->timed = conn->elsewhere = false;
	conn->error = (int16_t)error;
	conn->from_server = true;
	conn->reason = (uint8_t)connect_reason(error);
	if (!connect_is_local(error)) {
		tally_add(run->tally->connect_failures, 1);
		tally_add(run->server_tally->connect_failures, 1);
		tally_add(service_run(conn)->tally->connect_failures, 1);
		connect_suspect(conn->way, conn->seat);
	}
	if (conn->way->trace)
		trace_connect_failed(conn);
	if (conn->n_tried < CHOOSE_TRIES)
		conn->tried[conn->n_tried++] = conn->seat->server->cell;
	if (conn->n_tried < (tries < CHOOSE_TRIES ? tries : CHOOSE_TRIES)) {
		pick_drop(conn, true);
		return STEP_PICK;
	}
	conn->reset = true;
	return way_close(conn, (enum reason)conn->reason);
}

static enum step
connect_done(struct conn *conn)
{
	uint64_t began_us = conn->mark_us;

	timer_stop(&conn->timer);
	pick_served(conn);
	conn->connect_us = (uint32_t)(conn->mark_us - began_us);
	/* Whether anybody is there will be known later. */
	if (conn->server.datagram)
		talk_reuse(conn);
	trunk_make(conn);
	return STEP_RELAY;
}

/* First bytes of ours: who the client is. */
static size_t
connect_header(const struct conn *conn, uint8_t out[static PROXY_PROVED_MAX])
{
	uint32_t version = conn->service->settings.send_proxy.index;
	char subject[PROXY_SUBJECT_MAX + 1];
	size_t len, n = 0;

	if (version == SEND_PROXY_OFF)
		return 0;
	len = proxy_header_make(version == SEND_PROXY_V1 ? 1 : 2, &conn->client_addr,
	                        &conn->service_addr, out);
	if (version != SEND_PROXY_CONSOLE)
		return len;
	if (conn->client.tls)
		n = tls_common_name(side_tls_awake(conn->client.tls), subject, sizeof(subject));
	return proxy_header_prove(out, len, board_key(conn->way->board), clock_wall_ms(),
	                          sy_span(subject, n));
}

/* What the kernel did not take of header and bytes. */
static int
connect_rest(struct conn *conn, struct sy_span header, struct sy_span bytes, size_t sent)
{
	struct way *way = conn->way;

	if (sent < header.len &&
	    !queue_put(way->chunks, &conn->server.out,
	               sy_span(header.at + sent, header.len - sent)))
		return -1;
	sent = sent > header.len ? sent - header.len : 0;
	if (sent < bytes.len &&
	    !queue_put(way->chunks, &conn->server.out, sy_span(bytes.at + sent, bytes.len - sent)))
		return -1;
	return 0;
}

/* Sends the first bytes. That they are taken is the proof that the server has answered; a message
 * without bytes is taken, too, and asks the same question. */
static enum step
connect_send(struct conn *conn)
{
	struct side *server = &conn->server;
	uint8_t made[PROXY_PROVED_MAX];
	struct sy_span header = sy_span(made, connect_header(conn, made));
	struct sy_span bytes = side_input(conn->way, &conn->client);
	struct iovec parts[2] = {
		{ .iov_base = (void *)(uintptr_t)header.at, .iov_len = header.len },
		{ .iov_base = (void *)(uintptr_t)bytes.at, .iov_len = conn->tunnel ? bytes.len : 0 },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n;
	enum step next;

	if (header.len)
		n = sendmsg(server->io.fd, &message, MSG_NOSIGNAL);
	else
		n = send(server->io.fd, bytes.at, parts[1].iov_len, MSG_NOSIGNAL);
	if (n < 0) {
		server->ready &= (uint8_t)~EV_WRITE;
		return errno == EAGAIN ? WAIT : connect_failed(conn, errno);
	}
	server->wrote = n > 0;
	next = connect_done(conn);
	if (conn->way->trace) {
		trace_written(conn, server, header);
		trace_written(conn, server, sy_span(bytes.at, parts[1].iov_len));
	}
	if (connect_rest(conn, header, sy_span(bytes.at, parts[1].iov_len), (size_t)n) < 0) {
		conn->reset = true;
		return way_close(conn, REASON_NO_MEMORY);
	}
	if (conn->tunnel)
		side_use(conn->way, &conn->client, bytes.len);
	return next;
}

/* Before TLS only the PROXY header is sent, and in clear; the bytes follow when the handshake is
 * done. */
static enum step
connect_begin_tls(struct conn *conn)
{
	struct side *server = &conn->server;
	uint8_t made[PROXY_PROVED_MAX];
	size_t len = connect_header(conn, made);
	ssize_t n = len ? send(server->io.fd, made, len, MSG_NOSIGNAL) : 0;

	if (n < 0) {
		server->ready &= (uint8_t)~EV_WRITE;
		return errno == EAGAIN ? WAIT : connect_failed(conn, errno);
	}
	/* An empty socket that does not take that much is none that would take more. */
	if ((size_t)n < len)
		return connect_failed(conn, ENOBUFS);
	server->wrote = n > 0;
	if (!side_tls_connect(conn, conn->target->tls)) {
		conn->reset = true;
		return way_close(conn, REASON_NO_MEMORY);
	}
	return WAIT;
}

/* When it is told, another server may have been tried, or none be left. */
static void
connect_name_problem(struct conn *conn)
{
	char *words = conn->problem;

	if (!words || asprintf(&conn->problem, "%s: %s", conn->seat->server->name, words) < 0)
		conn->problem = NULL;
	free(words);
}

static enum step
connect_tls(struct conn *conn)
{
	struct side *server = &conn->server;
	struct sy_span bytes;
	enum step next;

	if (!server->tls) {
		next = connect_begin_tls(conn);
		if (next != WAIT || !server->tls)
			return next;
	}
	switch (side_tls_secure(server)) {
	case SECURE_WAIT:
		return WAIT;
	case SECURE_FAILED:
		side_tls_words(conn, server);
		connect_name_problem(conn);
		return connect_failed(conn, server->tls->error && server->tls->error != ECONNRESET
		                            ? server->tls->error : EPROTO);
	case SECURE_DONE:
		break;
	}
	next = connect_done(conn);
	bytes = side_input(conn->way, &conn->client);
	if (!conn->tunnel || bytes.len == 0)
		return next;
	if (side_send(conn->way, server, bytes) < 0)
		return way_close_error(conn, server, errno);
	side_use(conn->way, &conn->client, bytes.len);
	return next;
}

/* Have the client's first bytes arrived? A client that speaks first has often done so by now. */
static enum step
connect_listen(struct conn *conn)
{
	struct side *client = &conn->client;

	if (!conn->tunnel || client->eof || !(client->ready & EV_READ) ||
	    side_input(conn->way, client).len > 0)
		return WAIT;
	if (side_read(conn, client, WAY_SCRATCH) < 0 && errno != EAGAIN)
		return way_close_error(conn, client, errno);
	return WAIT;
}

/* Where the connection comes from: SNAT_OFF the client itself, else one of our addresses. */
static int
connect_from(struct conn *conn, struct outgoing *way)
{
	const struct service *service = conn->service;
	const struct sy_addrs *from = &service->snat_from;

	if (service->snat == SNAT_OFF) {
		if (conn->client_addr.family != way->to.family) {
			errno = EAFNOSUPPORT;
			return -1;
		}
		way->from = conn->client_addr;
		way->transparent = true;
		return 0;
	}
	for (uint32_t i = 0; i < from->n; i++) {
		const struct sy_addr *addr = &from->at[service_run(conn)->snat_turn++ % from->n];

		if (addr->family != way->to.family)
			continue;
		way->from = *addr;
		way->from.port = 0;
		return 0;
	}
	if (from->n == 0)
		return 0;
	errno = EAFNOSUPPORT;
	return -1;
}

/* With several source addresses, one that has no port left is no reason to give up. */
static int
connect_open(struct conn *conn, struct outgoing *way)
{
	uint32_t turns = conn->service->snat == SNAT_ON && conn->service->snat_from.n
	                 ? conn->service->snat_from.n : 1;

	for (;;) {
		int fd;

		if (connect_from(conn, way) < 0)
			return -1;
		fd = socket_connect(way);
		if (fd < 0 && errno == EMFILE && aside_spare(conn->way))
			fd = socket_connect(way);
		if (fd >= 0 || --turns == 0 ||
		    (errno != EADDRNOTAVAIL && !(way->datagrams && errno == EAGAIN)))
			return fd;
	}
}

void
connect_address(struct conn *conn)
{
	const struct server *server = conn->seat->server;

	conn->server_addr = server->addr;
	conn->server_addr.port = target_port(conn->target, server, conn->port);
}

static enum step
connect_start(struct conn *conn)
{
	struct outgoing way;
	int fd;

	connect_address(conn);
	way = (struct outgoing){
		.to = conn->server_addr,
		.datagrams = target_transport(conn->target, conn->listener->transport) == TRANSPORT_UDP,
	};
	if (way.datagrams && conn->tunnel)
		return talk_broken(conn, "TUNNEL to a server that speaks UDP");
	conn->mark_us = clock_us();
	way.data_follows = side_input(conn->way, &conn->client).len > 0 || conn->target->tls ||
	                   conn->service->settings.send_proxy.index != SEND_PROXY_OFF;
	fd = connect_open(conn, &way);
	if (fd < 0)
		return connect_failed(conn, errno);
	side_init(&conn->server, fd, connect_on_server);
	conn->server.of_server = true;
	conn->server.edge = !conn->talk && !conn->target->tls;
	if (!way.datagrams)
		return WAIT;
	socket_datagram_options(fd, way.to.family);
	conn->server.datagram = conn->settled = true;
	return connect_done(conn);
}

void
connect_elsewhere(struct conn *conn)
{
	conn->elsewhere = true;
	conn->error = EHOSTDOWN;
	way_drive(conn);
}

enum step
connect_step(struct conn *conn)
{
	enum step next;

	if (!conn->seat)
		return reach_connect(conn);
	if (conn->timed)
		return connect_failed(conn, ETIMEDOUT);
	if (conn->elsewhere)
		return connect_failed(conn, conn->error);
	if (side_open(&conn->server)) {
		if (!(conn->server.ready & EV_WRITE) && !conn->server.tls)
			return WAIT;
		/* It took a round trip: the client has had the time to speak. */
		side_ready(&conn->client, EV_READ);
	}
	next = connect_listen(conn);
	if (next == WAIT && !side_open(&conn->server))
		next = connect_start(conn);
	if (next == WAIT)
		next = conn->target->tls ? connect_tls(conn) : connect_send(conn);
	if (next == WAIT && !timer_armed(&conn->timer))
		timeq_arm(service_run(conn)->connect, &conn->timer, conn->way->child->now_ms);
	return next;
}
