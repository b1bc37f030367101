/* Probes over UDP: one connected socket each, so that only the server is heard, and ICMP errors come
 * back as errors of the socket. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "net/socket.h"
#include "role/probe_run.h"

static void
datagram_gone(struct probe *probe)
{
	timer_stop(&probe->again);
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

/* False: the probe has ended. */
static bool
datagram_out(struct probe *probe)
{
	if (send(probe->fd, probe->out.at, probe->out.len, MSG_NOSIGNAL) >= 0)
		return true;
	probe_error(probe, "send", errno);
	return false;
}

/* Datagrams get lost: the same once more, after twice as long each time (RFC 8489 6.2.1). */
static void
datagram_again(struct timer_entry *entry, uint64_t now_ms)
{
	struct probe *probe = container_of(entry, struct probe, again);

	if (!datagram_out(probe))
		return;
	probe->again_ms *= 2;
	timeq_arm(timeq_get(probe->engine->timeouts, probe->again_ms, datagram_again), entry, now_ms);
}

static void
datagram_send(struct probe *probe)
{
	uint64_t repeat_ms = probe->question->plan->repeat_ms;

	timer_stop(&probe->again);
	if (!datagram_out(probe))
		return;
	probe->again_ms = repeat_ms;
	if (repeat_ms)
		timeq_arm(timeq_get(probe->engine->timeouts, repeat_ms, datagram_again), &probe->again,
		          clock_ms());
	probe_watch(probe, EV_READ);
}

/* Two probes of one server from one port would take each other's answers. */
static bool
datagram_alone(const struct probe *probe)
{
	list_each(link, &probe->engine->open) {
		const struct probe *other = container_of(link, struct probe, link);

		if (other != probe &&
		    other->question->plan->local_port == probe->question->plan->local_port &&
		    memcmp(&other->question->to, &probe->question->to, sizeof(struct sy_addr)) == 0)
			return false;
	}
	return true;
}

static void
datagram_open(struct probe *probe)
{
	uint32_t port = probe->question->plan->local_port;
	struct outgoing way = { .to = probe->question->to, .datagrams = true };

	timer_init(&probe->again);
	ev_init(&probe->io, datagram_ready);
	if (port && datagram_alone(probe)) {
		way.from.family = way.to.family;
		way.from.port = (uint16_t)port;
		way.again = true;
	}
	probe->fd = socket_connect(&way);
	if (probe->fd < 0) {
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
