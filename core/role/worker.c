/* The role that carries the traffic. The way itself is in core/way; here it meets the master. */
#include <unistd.h>

#include "base/log.h"
#include "net/tls_park.h"
#include "proc/child.h"
#include "role/roles.h"
#include "way/ask.h"
#include "way/attach.h"
#include "way/flow.h"
#include "way/hop.h"
#include "way/way.h"

static int
worker_prepare(struct child *child, struct generation *generation, struct sy_err *err)
{
	/* The first thing that happens to a worker. */
	if (!child->run)
		child->run = way_new(child);
	return attach(child->run, generation, err);
}

static void
worker_switched(struct child *child, struct generation *old)
{
	accept_switched(child->run, old);
	flow_switched(child->run);
	attach_switched(child->run);
}

static void
worker_drop(struct child *child, struct generation *generation)
{
	(void)child;
	detach(generation);
}

static void
worker_listen(struct child *child, uint64_t listener, unsigned slot, int fd)
{
	/* It could not bind its first generation, and will be ended. */
	if (!child->run)
		close(fd);
	else if (!listener)
		hops_listen(((struct way *)child->run)->hops, fd);
	else if (flow_is_door(fd))
		flow_listen(child->run, listener, slot, fd);
	else
		accept_listen(child->run, listener, slot, fd);
}

static void
worker_unlisten(struct child *child, uint64_t listener, unsigned slot)
{
	accept_unlisten(child->run, listener, slot);
	flow_unlisten(child->run, listener, slot);
}

static void
worker_message(struct child *child, struct control_message *message)
{
	if (message->record.type == CONTROL_CHANGED)
		attach_changed(child->run, (uint32_t)message->record.id, message->record.value == 1);
	else if (message->record.type == CONTROL_ASK)
		ask_answer(child->run, message);
}

static void
worker_end(struct conn *conn, void *context)
{
	(void)context;
	way_end(conn, REASON_SHUTDOWN);
}

static void
worker_end_flow(struct flow *flow, void *context)
{
	(void)context;
	flow_end(flow, REASON_SHUTDOWN);
}

static void
worker_grace_over(struct ev_loop *loop, struct ev_timer *grace, int events)
{
	struct way *way = container_of(grace, struct way, grace);

	(void)loop, (void)events;
	log_info("%u connections are still open and are reset: the time for a graceful stop is over",
	         way->conns);
	attach_each(way, worker_end, NULL);
	flow_each(way, worker_end_flow, NULL);
}

/* The last connection to end calls way_over(). */
static void
worker_stop(struct child *child, bool graceful, uint64_t grace_ms)
{
	struct way *way = child->run;

	if (!way) {
		child_exit(child);
		return;
	}
	accept_stop(way);
	attach_look_again(way);
	if (!graceful) {
		attach_each(way, worker_end, NULL);
		flow_each(way, worker_end_flow, NULL);
	}
	if (way->conns == 0) {
		way_over(way);
		return;
	}
	if (!grace_ms)
		return;
	ev_timer_init(&way->grace, worker_grace_over, (double)grace_ms / 1000, 0.);
	ev_timer_start(way->loop, &way->grace);
}

static void
worker_beat(struct child *child)
{
	struct way *way = child->run;

	if (way)
		board_process(child->board, child->row)->connections = way->conns;
}

static const struct child_ops worker_ops = {
	.role = "worker",
	.prepare = worker_prepare,
	.switched = worker_switched,
	.drop = worker_drop,
	.listen = worker_listen,
	.unlisten = worker_unlisten,
	.message = worker_message,
	.stop = worker_stop,
	.beat = worker_beat,
};

int
worker_main(int argc, char **argv)
{
	struct child child = { .run = NULL };
	int status;

	(void)argc, (void)argv;
	tls_park_prepare();
	status = child_run(&child, &worker_ops);
	way_free(child.run);
	return status;
}
