/* Ports: opening, accepting, datagrams, and what tests do to a port. */
#define _GNU_SOURCE 1
#include "server.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LISTENER_BATCH = 64,
	LISTENER_BACKLOG = 4096,
	LISTENER_DATAGRAM = 65536,
};

static const double listener_rest = 0.1; /* seconds without accepting when descriptors ran out */

const char *
listener_mode_name(enum listener_mode mode)
{
	static const char *const names[] = {"up", "down", "shut", "mute", "refuse", "drain"};

	return names[mode];
}

static void
listener_reset_fd(int fd)
{
	struct lab_stream stream = {.fd = fd};

	stream_close(&stream, true);
}

static void
listener_accept(struct lab_listener *listener, struct ev_loop *loop)
{
	for (int i = 0; i < LISTENER_BATCH; i++) {
		struct lab_addr peer = {.len = sizeof(peer.local)};
		int on = 1, fd;

		fd = accept4(listener->fd, &peer.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == ECONNABORTED || errno == EINTR)
				continue;
			if (errno != EAGAIN) {
				fprintf(stderr, "%s: accept: %s; pausing\n", listener->server->name,
					strerror(errno));
				ev_io_stop(loop, &listener->io);
				ev_timer_again(loop, &listener->pause);
			}
			return;
		}
		listener->accepted++;
		if (peer.any.sa_family != AF_UNIX)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (listener->mode == LISTENER_REFUSE)
			listener_reset_fd(fd);
		else
			conn_open(listener, fd, &peer);
		/* A command that came in there may have closed this port. */
		if (listener->fd < 0)
			return;
	}
}

static void
listener_receive(struct lab_listener *listener)
{
	static char bytes[LISTENER_DATAGRAM];
	struct lab_buf answer = {0};

	for (int i = 0; i < LISTENER_BATCH; i++) {
		struct lab_addr peer = {.len = sizeof(peer.v6)};
		ssize_t len = recvfrom(listener->fd, bytes, sizeof(bytes), 0, &peer.any, &peer.len);

		/* An ICMP error of an earlier answer is reported here too: it concerns nobody. */
		if (len < 0 && errno == EAGAIN)
			break;
		if (len < 0 || listener->mode == LISTENER_MUTE || listener->mode == LISTENER_REFUSE)
			continue;
		listener->accepted++;
		listener->service->handler->datagram(listener, bytes, (size_t)len, &peer, &answer);
		if (!answer.len)
			continue;
		listener->exchanges++;
		if (sendto(listener->fd, buf_front(&answer), answer.len, 0, &peer.any, peer.len) <
		    0)
			listener->failed++;
		buf_drop(&answer, answer.len);
	}
	buf_free(&answer);
}

static void
listener_ready(struct ev_loop *loop, ev_io *io, int events)
{
	struct lab_listener *listener = container_of(io, struct lab_listener, io);

	(void)events;
	if (listener->service->transport == LAB_UDP)
		listener_receive(listener);
	else
		listener_accept(listener, loop);
}

static void
listener_rested(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct lab_listener *listener = container_of(timer, struct lab_listener, pause);

	(void)events;
	ev_timer_stop(loop, timer);
	if (listener->fd >= 0)
		ev_io_start(loop, &listener->io);
}

static int
listener_socket(struct lab_listener *listener)
{
	struct lab_addr *addr = &listener->addr;
	bool stream = listener->service->transport != LAB_UDP;
	int on = 1;
	int fd = socket(addr->any.sa_family,
			(stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	/* For UDP, SO_REUSEADDR would let two servers share the port without a word. */
	if ((stream && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on))) ||
	    (addr->any.sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))) ||
	    bind(fd, &addr->any, addr->len) || (stream && listen(fd, LISTENER_BACKLOG)) ||
	    getsockname(fd, &addr->any, &(socklen_t){sizeof(addr->local)})) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* A socket file that nobody serves any more is in the way of the next one. */
static void
listener_clear_path(const struct lab_addr *addr)
{
	struct stat st;
	int fd;

	if (lstat(addr->local.sun_path, &st) || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, &addr->any, addr->len) && errno == ECONNREFUSED)
		unlink(addr->local.sun_path);
	if (fd >= 0)
		close(fd);
}

int
listener_open(struct lab_listener *listener, struct lab_err *err)
{
	struct ev_loop *loop = listener->server->lab->loop;
	const struct lab_service *service = listener->service;
	char where[ADDR_TEXT];

	if (listener->addr.any.sa_family == AF_UNIX)
		listener_clear_path(&listener->addr);
	listener->fd = listener_socket(listener);
	if (listener->fd < 0)
		return err_set(err, "%s: cannot open %s/%s: %s%s", listener->server->name,
			       listener->addr.any.sa_family == AF_UNIX
				   ? listener->addr.local.sun_path
				   : addr_text(&listener->addr, where),
			       transport_name(service->transport), strerror(errno),
			       errno == EADDRINUSE ? " (does another lab run on this machine?)"
			       : errno == EACCES   ? " (ports below 1024 need root)"
						   : "");
	ev_io_init(&listener->io, listener_ready, listener->fd, EV_READ);
	ev_init(&listener->pause, listener_rested);
	listener->pause.repeat = listener_rest;
	ev_io_start(loop, &listener->io);
	return 0;
}

void
listener_accept_pending(struct lab_listener *listener)
{
	struct ev_loop *loop = listener->server->lab->loop;
	uint64_t before;

	if (listener->service->transport == LAB_UDP)
		return;
	do {
		before = listener->accepted;
		if (listener->fd >= 0)
			listener_accept(listener, loop);
	} while (listener->accepted - before == LISTENER_BATCH);
}

void
listener_close(struct lab_listener *listener)
{
	struct ev_loop *loop = listener->server->lab->loop;

	if (listener->fd < 0)
		return;
	ev_io_stop(loop, &listener->io);
	ev_timer_stop(loop, &listener->pause);
	close(listener->fd);
	listener->fd = -1;
	if (listener->addr.any.sa_family == AF_UNIX)
		unlink(listener->addr.local.sun_path);
}

void
listener_reset(struct lab_listener *listener)
{
	while (listener->conns)
		conn_close(listener->conns, true);
}

int
listener_set_mode(struct lab_listener *listener, enum listener_mode mode, struct lab_err *err)
{
	bool closed = mode == LISTENER_DOWN || mode == LISTENER_SHUT;

	if (closed)
		listener_close(listener);
	else if (listener->fd < 0 && listener_open(listener, err))
		return -1;
	/* A port comes back with new connections: those that it had left unanswered are gone. */
	if (mode == LISTENER_DOWN || mode == LISTENER_REFUSE ||
	    (mode == LISTENER_UP && listener->mode == LISTENER_MUTE))
		listener_reset(listener);
	listener->mode = mode;
	return 0;
}
