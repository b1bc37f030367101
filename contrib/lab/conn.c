/*
 * One client's connection to a lab server. conn_run() is the one driver: it reads, has the handler
 * look, writes, as long as something moves, and then sets what to wait for in one place.
 */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CONN_READ = 16384,
	CONN_IN_MAX = 256 * 1024, /* no more is read while so much is not consumed */
	CONN_ROUNDS = 64,         /* then the other connections get their turn */
};

static const double conn_handshake_limit = 30, conn_linger_limit = 2;

static void
conn_unlink(struct lab_conn *conn)
{
	*conn->link = conn->next;
	if (conn->next)
		conn->next->link = conn->link;
	conn->listener->open--;
	if (conn->listener->server != &conn->listener->server->lab->control)
		lab_conn_ended(conn->listener->server->lab);
}

void
conn_close(struct lab_conn *conn, bool reset)
{
	struct ev_loop *loop = conn->listener->server->lab->loop;

	ev_io_stop(loop, &conn->io);
	ev_timer_stop(loop, &conn->timer);
	stream_close(&conn->stream, reset);
	if (conn->listener->service->handler->stream_end)
		conn->listener->service->handler->stream_end(conn);
	conn_unlink(conn);
	buf_free(&conn->in);
	buf_free(&conn->out);
	free(conn->state);
	free(conn);
}

void
conn_exchange_done(struct lab_conn *conn)
{
	conn->exchanges++;
	conn->listener->exchanges++;
}

void
conn_wake(struct lab_conn *conn, double seconds)
{
	struct ev_loop *loop = conn->listener->server->lab->loop;

	conn->woken = false;
	ev_timer_stop(loop, &conn->timer);
	ev_timer_set(&conn->timer, seconds, 0);
	ev_timer_start(loop, &conn->timer);
}

static bool
conn_wants_input(const struct lab_conn *conn)
{
	if (conn->eof)
		return false;
	if (conn->phase == CONN_LINGER || conn->listener->mode == LISTENER_MUTE)
		return true;
	return conn->phase == CONN_OPEN && conn->in.len < CONN_IN_MAX &&
	       conn->out.len < CONN_OUT_HIGH;
}

/* Reads once. True: something moved. */
static bool
conn_fill(struct lab_conn *conn, bool *failed, struct lab_err *err)
{
	ssize_t got;

	if (!conn_wants_input(conn))
		return false;
	got = stream_read(&conn->stream, buf_space(&conn->in, CONN_READ), CONN_READ, err);
	if (got > 0) {
		conn->in.len += (size_t)got;
		if (conn->phase == CONN_LINGER || conn->listener->mode == LISTENER_MUTE)
			buf_drop(&conn->in, conn->in.len);
		return true;
	}
	if (!conn->in.len)
		buf_free(&conn->in);
	conn->eof = got == STREAM_END;
	*failed = got == STREAM_FAILED;
	return conn->eof;
}

static bool
conn_flush(struct lab_conn *conn, bool *failed, struct lab_err *err)
{
	ssize_t sent;

	if (!conn->out.len)
		return false;
	sent = stream_write(&conn->stream, buf_front(&conn->out), conn->out.len, err);
	*failed = sent == STREAM_FAILED;
	if (sent <= 0)
		return false;
	buf_drop(&conn->out, (size_t)sent);
	return true;
}

/* Has the handler look if there is something new for it. False: the connection is to be reset. */
static bool
conn_serve(struct lab_conn *conn, bool *moved)
{
	size_t waiting = conn->in.len;
	enum handler_next next;

	if (conn->phase != CONN_OPEN || conn->listener->mode == LISTENER_MUTE ||
	    conn->out.len >= CONN_OUT_HIGH)
		return true;
	next = conn->listener->service->handler->stream(conn);
	*moved |= conn->in.len != waiting;
	if (next == HANDLER_FINISH)
		conn->phase = CONN_FLUSH;
	return next != HANDLER_RESET;
}

/* Ends what is over. True: the connection is gone. */
static bool
conn_wind_up(struct lab_conn *conn)
{
	struct ev_loop *loop = conn->listener->server->lab->loop;
	bool stopping = conn->listener->server->lab->stopping;

	if (conn->listener->mode == LISTENER_MUTE && !conn->eof)
		return false;
	/* With less output than the handler may make, all whole questions were answered. */
	if (conn->phase == CONN_OPEN && !conn->busy && conn->out.len < CONN_OUT_HIGH &&
	    (conn->eof || (stopping && !conn->in.len && conn->exchanges)))
		conn->phase = CONN_FLUSH;
	if (conn->phase == CONN_FLUSH && !conn->out.len) {
		/* Closing with unread input would reset the connection and might take the last
		 * answer with it: first wait for the other side's end. */
		conn->phase = CONN_LINGER;
		stream_finish(&conn->stream);
		ev_timer_stop(loop, &conn->timer);
		ev_timer_set(&conn->timer, conn_linger_limit, 0);
		ev_timer_start(loop, &conn->timer);
	}
	if (conn->phase == CONN_LINGER && conn->eof) {
		conn_close(conn, false);
		return true;
	}
	return false;
}

static void
conn_poll(struct lab_conn *conn)
{
	struct ev_loop *loop = conn->listener->server->lab->loop;
	int events = conn->stream.wants;

	if (conn->phase == CONN_HANDSHAKE && conn->listener->mode == LISTENER_MUTE)
		events = 0;
	if (conn->phase != CONN_HANDSHAKE) {
		if (conn_wants_input(conn))
			events |= EV_READ;
		if (conn->out.len)
			events |= EV_WRITE;
	}
	if (events == conn->io.events && ev_is_active(&conn->io))
		return;
	ev_io_stop(loop, &conn->io);
	ev_io_set(&conn->io, conn->stream.fd, events);
	if (events)
		ev_io_start(loop, &conn->io);
}

static void
conn_failed(struct lab_conn *conn, const struct lab_err *err)
{
	char peer[ADDR_TEXT];

	conn->listener->failed++;
	if (conn->listener->server->lab->verbose)
		fprintf(stderr, "%s port %u: %s: %s\n", conn->listener->server->name,
			addr_port(&conn->listener->addr), addr_text(&conn->peer, peer), err->text);
	conn_close(conn, true);
}

/* Goes on with the handshake. True: it is done. The connection may be gone if not. */
static bool
conn_greet(struct lab_conn *conn)
{
	struct lab_err err;
	int done = conn->listener->mode == LISTENER_MUTE ? STREAM_AGAIN
							 : stream_handshake(&conn->stream, &err);

	if (done == STREAM_FAILED) {
		conn_failed(conn, &err);
		return false;
	}
	if (done == STREAM_AGAIN) {
		conn_poll(conn);
		return false;
	}
	conn->phase = CONN_OPEN;
	ev_timer_stop(conn->listener->server->lab->loop, &conn->timer);
	return true;
}

void
conn_run(struct lab_conn *conn)
{
	struct ev_loop *loop = conn->listener->server->lab->loop;
	struct lab_err err;
	bool failed = false, moved = true;

	conn->stream.wants = 0;
	if (conn->phase == CONN_HANDSHAKE && !conn_greet(conn))
		return;
	for (int round = 0; moved && round < CONN_ROUNDS; round++) {
		moved = conn_fill(conn, &failed, &err);
		if (!failed && !conn_serve(conn, &moved)) {
			conn_close(conn, true);
			return;
		}
		moved |= !failed && conn_flush(conn, &failed, &err);
		if (failed) {
			conn_failed(conn, &err);
			return;
		}
	}
	if (!moved && conn_wind_up(conn))
		return;
	conn_poll(conn);
	if (moved)
		ev_feed_event(loop, &conn->io, EV_READ);
}

static void
conn_ready(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	conn_run(container_of(io, struct lab_conn, io));
}

static void
conn_timeout(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct lab_conn *conn = container_of(timer, struct lab_conn, timer);

	(void)loop;
	(void)events;
	switch (conn->phase) {
	case CONN_HANDSHAKE:
		conn->listener->failed++;
		conn_close(conn, true);
		break;
	case CONN_LINGER:
		conn_close(conn, false);
		break;
	case CONN_OPEN:
	case CONN_FLUSH:
		conn->woken = true;
		conn_run(conn);
		break;
	}
}

static int
conn_set_up(struct lab_conn *conn, struct lab_err *err)
{
	const struct lab_service *service = conn->listener->service;

	if (service->handler->state_size) {
		conn->state = calloc(1, service->handler->state_size);
		if (!conn->state)
			return err_set(err, "out of memory");
	}
	if (service->transport != LAB_TLS)
		return 0;
	if (stream_secure(&conn->stream, conn->listener->server->tls, true, err))
		return -1;
	if (service->flags & (SERVICE_ASKS | SERVICE_MUTUAL))
		SSL_set_verify(
		    conn->stream.ssl,
		    SSL_VERIFY_PEER |
			(service->flags & SERVICE_MUTUAL ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
		    NULL);
	return 0;
}

void
conn_open(struct lab_listener *listener, int fd, const struct lab_addr *peer)
{
	struct lab_conn *conn = calloc(1, sizeof(*conn));
	struct lab_stream stream = {.fd = fd};
	struct lab_err err;

	if (!conn) {
		listener->failed++;
		stream_close(&stream, true);
		return;
	}
	conn->listener = listener;
	conn->stream = stream;
	conn->peer = *peer;
	ev_io_init(&conn->io, conn_ready, fd, 0);
	ev_timer_init(&conn->timer, conn_timeout, conn_handshake_limit, 0);
	conn->next = listener->conns;
	conn->link = &listener->conns;
	if (conn->next)
		conn->next->link = &conn->next;
	listener->conns = conn;
	listener->open++;
	if (listener->server != &listener->server->lab->control)
		listener->server->lab->open++;
	if (conn_set_up(conn, &err)) {
		conn_failed(conn, &err);
		return;
	}
	if (conn->stream.ssl)
		ev_timer_start(listener->server->lab->loop, &conn->timer);
	conn_run(conn);
}
