/* Probes over UDP: one connected socket each, so that only the server is heard, and ICMP errors come
 * back as errors of the socket. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/socket.h"
#include "role/probe_run.h"

static void
datagram_gone(struct probe *probe)
{
	ev_io_stop(probe->engine->loop, &probe->io);
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
	probe_gone(probe);
}

static void
datagram_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct probe *probe = container_of(io, struct probe, io);
	ssize_t n = recv(probe->fd, probe->engine->scratch, PROBE_SCRATCH, 0);

	(void)loop, (void)events;
	if (n >= 0)
		probe_take(probe, sy_span(probe->engine->scratch, (size_t)n), false);
	else if (errno != EAGAIN && errno != EINTR)
		probe_error(probe, "receive", errno);
}

static void
datagram_send(struct probe *probe)
{
	if (send(probe->fd, probe->out.at, probe->out.len, MSG_NOSIGNAL) < 0) {
		probe_error(probe, "send", errno);
		return;
	}
	probe->out.len = 0;
	probe_watch(probe, EV_READ);
}

static void
datagram_open(struct probe *probe)
{
	struct sockaddr_storage name;
	socklen_t len = socket_name(&probe->question->to, &name);

	ev_init(&probe->io, datagram_ready);
	probe->fd = socket(name.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe->fd < 0 || connect(probe->fd, (struct sockaddr *)&name, len) < 0) {
		probe_error(probe, "connect", errno);
		return;
	}
	if (probe->question->plan->local)
		socket_local(probe->fd, &probe->facts.local);
	probe_begin(probe);
}

const struct probe_transport probe_datagram = {
	.open = datagram_open,
	.send = datagram_send,
	.end = datagram_gone,
	.cut = datagram_gone,
	.late = datagram_gone,
};
