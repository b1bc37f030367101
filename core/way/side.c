#include "way/side.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "net/socket.h"
#include "way/batch.h"
#include "way/edge.h"
#include "way/mover.h"
#include "way/post.h"
#include "way/side_tls.h"
#include "way/strand.h"
#include "way/talk.h"
#include "way/trace.h"

void
side_init(struct side *side, int fd, void (*ready)(struct ev_loop *, struct ev_io *, int))
{
	ev_io_init(&side->io, ready, fd, 0);
}

void
side_move(struct way *way, struct side *to, struct side *from,
          void (*ready)(struct ev_loop *, struct ev_io *, int))
{
	bool active = ev_is_active(&from->io);

	must(!from->in && !from->held && !from->edge && way->fresh.owner != from);
	if (active || ev_is_pending(&from->io))
		ev_io_stop(way->loop, &from->io);
	*to = *from;
	ev_set_cb(&to->io, ready);
	if (to->tls)
		to->tls->side = to;
	*from = (struct side){ .io.fd = -1 };
	/* libev sees the same descriptor with the same events: the kernel need not hear of it. */
	if (active)
		ev_io_start(way->loop, &to->io);
}

void
side_watch(struct way *way, struct side *side, int events)
{
	int now = ev_is_active(&side->io) ? side->io.events & (EV_READ | EV_WRITE) : 0;

	if (side->io.fd < 0)
		return;
	if (side->edge) {
		edge_watch(way, side, events);
		return;
	}
	if (side->tls)
		events = side_tls_events(side->tls, events);
	if (now == events)
		return;
	if (now)
		ev_io_stop(way->loop, &side->io);
	if (!events)
		return;
	ev_io_set(&side->io, side->io.fd, events);
	ev_io_start(way->loop, &side->io);
}

void
side_ready(struct side *side, int events)
{
	side->ready |= (uint8_t)(events & (EV_READ | EV_WRITE));
	if (side->tls)
		side_tls_ready(side->tls, events);
}

void
side_close(struct way *way, struct side *side, bool reset)
{
	if (way->fresh.owner == side)
		way->fresh.owner = NULL;
	if (side->in)
		chunk_give(way->chunks, side->in);
	side->in = NULL;
	if (side->strand)
		strand_leave(side);
	queue_free(way->chunks, &side->out);
	if (side->pipe)
		pipe_give(way->pipes, side->pipe);
	side->pipe = NULL;
	batch_drop(way, side);
	side_tls_drop(side, side_open(side) && !reset);
	side->datagram = false;
	if (side->io.fd < 0)
		return;
	if (ev_is_active(&side->io) || ev_is_pending(&side->io))
		ev_io_stop(way->loop, &side->io);
	if (reset)
		socket_reset_on_close(side->io.fd);
	close(side->io.fd);
	side->io.fd = -1;
}

struct sy_span
side_input(const struct way *way, const struct side *side)
{
	if (side->in)
		return chunk_span(side->in);
	if (way->fresh.owner == side)
		return sy_span(way->fresh.at, way->fresh.len);
	return sy_span(way->scratch, 0);
}

void
side_use(struct way *way, struct side *side, size_t n)
{
	if (n == 0)
		return;
	if (side->in) {
		window_drop(way->chunks, &side->in, n);
		return;
	}
	must(way->fresh.owner == side && n <= way->fresh.len);
	way->fresh.at += n;
	way->fresh.len -= n;
	if (way->fresh.len == 0)
		way->fresh.owner = NULL;
}

bool
side_keep(struct way *way)
{
	struct side *side = way->fresh.owner;
	struct sy_span rest = sy_span(way->fresh.at, way->fresh.len);

	if (!side)
		return true;
	way->fresh.owner = NULL;
	return window_put(way->chunks, &side->in, rest, rest.len);
}

/* One of them; if there are more, libev tells again. A client's come by themselves. */
static ssize_t
side_take_datagram(struct conn *conn, struct side *side, uint8_t *at, size_t len)
{
	ssize_t n;

	side->ready &= (uint8_t)~EV_READ;
	if (side->io.fd >= 0) {
		n = recv(side->io.fd, at, len, MSG_TRUNC);
		if (n < 0 || (n > 0 && (size_t)n <= len))
			return n;
		if (n > 0)
			talk_lose(conn);
	}
	errno = EAGAIN;
	return -1;
}

ssize_t
side_take(struct conn *conn, struct side *side, uint8_t *at, size_t len)
{
	ssize_t n;

	if (side->strand) {
		n = strand_recv(side, at, len);
	} else if (side->tls) {
		n = side_tls_read(side, at, len);
	} else if (side->datagram) {
		n = side_take_datagram(conn, side, at, len);
	} else {
		n = recv(side->io.fd, at, len, 0);
		if (n <= 0 || (n < (ssize_t)len && !side->behind))
			side->ready &= (uint8_t)~EV_READ;
	}
	if (n == 0)
		side->eof = true;
	if (n > 0)
		side_count(conn, side, (size_t)n);
	if (conn->way->trace && n > 0)
		trace_read(conn, side, sy_span(at, (size_t)n));
	else if (conn->way->trace && n == 0)
		trace_eof(conn, side);
	return n;
}

ssize_t
side_read(struct conn *conn, struct side *side, size_t window)
{
	struct way *way = conn->way;
	struct sy_span have = side_input(way, side);
	struct chunk *chunk;
	ssize_t n;

	if (have.len >= window) {
		errno = ENOBUFS;
		return -1;
	}
	if (have.len == 0) {
		if (!side_keep(way))
			goto no_memory;
		n = side_take(conn, side, way->scratch, window < WAY_SCRATCH ? window : WAY_SCRATCH);
		if (n > 0) {
			way->fresh.owner = side;
			way->fresh.at = way->scratch;
			way->fresh.len = (size_t)n;
		}
		return n;
	}
	if (!side_keep(way))
		goto no_memory;
	chunk = side->in;
	if (window_room(chunk) < window - have.len && chunk->size < window) {
		/* Too small for the whole window: moves into one that is not. */
		struct chunk *small = chunk;

		side->in = NULL;
		if (!window_put(way->chunks, &side->in, chunk_span(small), window)) {
			side->in = small;
			goto no_memory;
		}
		chunk_give(way->chunks, small);
		chunk = side->in;
	}
	n = side_take(conn, side, chunk->bytes + chunk->end, window - have.len);
	if (n > 0)
		chunk->end += (uint32_t)n;
	return n;
no_memory:
	errno = ENOMEM;
	return -1;
}

bool
side_quiet(struct conn *conn, struct side *side)
{
	if (side->eof || side_input(conn->way, side).len > 0)
		return false;
	if (!(side->ready & EV_READ))
		return true;
	return side_read(conn, side, 1) < 0 && errno == EAGAIN;
}

/* What cannot be sent at once is lost, as datagrams are. */
static ssize_t
side_write_datagram(struct side *side, struct sy_span bytes)
{
	if (side->io.fd < 0)
		post_send(side_conn(side), bytes);
	else if (send(side->io.fd, bytes.at, bytes.len, MSG_NOSIGNAL) < 0 && errno != EAGAIN &&
	         errno != ENOBUFS)
		return -1;
	return (ssize_t)bytes.len;
}

ssize_t
side_write(struct side *side, struct sy_span bytes)
{
	if (side->strand)
		return strand_send(side, bytes);
	if (side->tls)
		return side_tls_write(side, bytes);
	if (side->datagram)
		return side_write_datagram(side, bytes);
	/* The first segment leaves at once in any case; who writes once does not pay. */
	if (side->wrote && !side->prompt) {
		socket_nodelay(side->io.fd);
		side->prompt = true;
	}
	side->wrote = true;
	return send(side->io.fd, bytes.at, bytes.len, MSG_NOSIGNAL);
}

int
side_send(struct way *way, struct side *side, struct sy_span bytes)
{
	if (way->trace)
		trace_written(side_conn(side), side, bytes);
	while (!side_pending(side)) {
		ssize_t n = side_write(side, bytes);

		if (n < 0 && errno != EAGAIN)
			return -1;
		if (n > 0) {
			bytes.at += n;
			bytes.len -= (size_t)n;
		}
		/* TLS takes one record at a time. */
		if (side->tls && n > 0 && bytes.len > 0)
			continue;
		if (bytes.len > 0)
			side->ready &= (uint8_t)~EV_WRITE;
		break;
	}
	if (bytes.len == 0 || queue_put(way->chunks, &side->out, bytes))
		return 0;
	errno = ENOMEM;
	return -1;
}

int
side_flush(struct way *way, struct side *side)
{
	if (side->held)
		return batch_write(way, side);
	if (side->pipe)
		return mover_flush(way, side);
	while (side->out) {
		struct sy_span bytes = chunk_span(side->out);
		ssize_t n = side_write(side, bytes);

		if (n < 0 && errno != EAGAIN)
			return -1;
		if (n > 0)
			queue_drop(way->chunks, &side->out, (size_t)n);
		if (n < (ssize_t)bytes.len && (n < 0 || !side->tls)) {
			side->ready &= (uint8_t)~EV_WRITE;
			break;
		}
	}
	return side->end_due && !side->out ? side_tls_end(side) : 0;
}

void
side_end(struct side *side)
{
	struct conn *conn = side_conn(side);

	/* There is no end of datagrams. */
	if (side->datagram)
		return;
	side->shut = true;
	if (conn->way->trace)
		trace_shut(conn, side);
	if (side->strand) {
		strand_shut(side);
		return;
	}
	if (side->tls) {
		(void)side_tls_end(side);
		return;
	}
	/* Fails only when the connection is dead, which the next read tells. */
	(void)shutdown(side->io.fd, SHUT_WR);
}

void
side_response(struct seat_run *run, uint64_t took_us)
{
	struct board_tally *to[2] = { run->tally, run->server_tally };
	uint32_t sample = took_us < UINT32_MAX / 2 ? (uint32_t)took_us : UINT32_MAX / 2;

	if (!sample)
		sample = 1;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t old = atomic_load_explicit(&to[i]->response_us, memory_order_relaxed);
		uint32_t smooth = old ? (uint32_t)(((uint64_t)old * 7 + sample) / 8) : sample;

		atomic_store_explicit(&to[i]->response_us, smooth ? smooth : 1,
		                      memory_order_relaxed);
	}
}

void
side_count(struct conn *conn, struct side *side, size_t n)
{
	struct board_tally *service = service_run(conn)->tally;
	struct seat_run *seat = conn->seat ? conn->seat->run : NULL;

	side->bytes += n;
	conn->last_ms = conn->way->child->now_ms;
	if (conn->hop)
		return;
	if (side == &conn->server) {
		tally_add(service->bytes_down, n);
		if (seat) {
			tally_add(seat->tally->bytes_down, n);
			tally_add(seat->server_tally->bytes_down, n);
		}
		if (!conn->heard) {
			conn->response_us = (uint32_t)(clock_us() - conn->mark_us);
			if (seat)
				side_response(seat, conn->response_us);
		}
		conn->heard = true;
		return;
	}
	/* What a stream says was the parent's client's before. */
	if (!side->strand)
		tally_add(service->bytes_up, n);
	/* What comes before there is a server is added when it is connected. */
	if (seat && conn->step == STEP_RELAY) {
		tally_add(seat->tally->bytes_up, n);
		tally_add(seat->server_tally->bytes_up, n);
	}
}
