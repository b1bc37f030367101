/* The load generator's UDP flows: one datagram under way in each, the next when it came back. */
#include "load.h"
#include "reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLOWS_DATAGRAM 2048

struct flows_flow {
	int fd;
	uint64_t id;
	uint64_t began;
};

static struct {
	const struct load_plan *plan;
	struct flows_flow *flows;
} flows;

static void
flows_send(struct flows_flow *flow)
{
	static uint8_t bytes[FLOWS_DATAGRAM];
	size_t run;

	flow->began = load_now();
	flow->id++;
	memcpy(bytes, wire_pattern(0, &run), flows.plan->reply_size);
	wire_request_make((struct wire_request *)(void *)bytes, flows.plan->reply_size, flow->id);
	if (send(flow->fd, bytes, flows.plan->reply_size, 0) < 0)
		load_failed("datagram", strerrordesc_np(errno));
}

void
flows_event(void *who)
{
	static uint8_t bytes[FLOWS_DATAGRAM];
	struct flows_flow *flow = who;
	struct reply reply;
	ssize_t n = recv(flow->fd, bytes, sizeof(bytes), 0);

	if (n < 0) {
		/* An ICMP error shows here; the datagram is resent by the tick. */
		if (errno != EAGAIN)
			load_failed("datagram", strerrordesc_np(errno));
		return;
	}
	reply_expect_raw(&reply, flow->id, flows.plan->reply_size);
	if ((size_t)n >= WIRE_HEAD_SIZE &&
	    !wire_head_ok((struct wire_head *)(void *)bytes, flow->id))
		return; /* late: it was counted as lost already */
	if (reply_feed(&reply, bytes, (size_t)n) != REPLY_DONE) {
		load_failed("datagram", "other bytes than the server sent");
	} else {
		load_done(flow->began, flows.plan->reply_size);
		load_tally.server = reply.head.server;
	}
	flows_send(flow);
}

void
flows_tick(void)
{
	uint64_t now = load_now();

	for (unsigned i = 0; i < flows.plan->connections; i++) {
		if (now < flows.flows[i].began + flows.plan->patience)
			continue;
		load_failed("datagram", "lost: no answer within the time limit");
		flows_send(&flows.flows[i]);
	}
}

void
flows_start(const struct load_plan *plan, int epoll)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct flows_flow *flow;

	flows.plan = plan;
	flows.flows = calloc(plan->connections, sizeof(*flows.flows));
	if (!flows.flows)
		load_die("flows", "out of memory");
	if (plan->reply_size < WIRE_REQUEST_SIZE || plan->reply_size > FLOWS_DATAGRAM)
		load_die("--reply", "a datagram has 64 to 2048 bytes");
	for (unsigned i = 0; i < plan->connections; i++) {
		flow = &flows.flows[i];
		flow->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (flow->fd < 0 ||
		    connect(flow->fd, (const struct sockaddr *)&plan->to, sizeof(plan->to)) < 0)
			load_die("flow", strerror(errno));
		event.data.ptr = flow;
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, flow->fd, &event) < 0)
			load_die("epoll_ctl", strerror(errno));
		flows_send(flow);
	}
}

void
flows_stop(void)
{
	for (unsigned i = 0; i < flows.plan->connections; i++)
		close(flows.flows[i].fd);
	free(flows.flows);
}
