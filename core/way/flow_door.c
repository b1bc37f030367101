/* Listening sockets for datagrams: what clients say is received in batches and goes to each one's flow. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "net/socket.h"
#include "way/flow.h"
#include "way/limits.h"
#include "way/post.h"
#include "way/trace.h"

bool
flow_is_door(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	must(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0);
	return type == SOCK_DGRAM;
}

/* Bytes of a client that its server gets. */
static void
flow_count_up(struct flow *flow, struct sy_span bytes)
{
	struct seat_run *run = flow->seat->run;
	size_t len = bytes.len;

	if (flow->door->way->trace)
		trace_datagram(flow, true, bytes);
	flow->up += len;
	tally_add(((struct service_run *)flow->service->run)->tally->bytes_up, len);
	tally_add(run->tally->bytes_up, len);
	tally_add(run->server_tally->bytes_up, len);
}

/* The protocol module has forgotten all with the server that is lost; what the next one will get is news. */
static void
flow_show_again(struct flow *flow, struct flows *flows, unsigned first, unsigned end)
{
	for (unsigned i = first; flow->talk && i < end; i++)
		(void)flow_passes(flow, SY_CLIENT, datagram_bytes(flows->in, i));
	flow->moves = false;
}

/* Sends n datagrams on. A server that refuses is left for another one, which gets what is left. False:
 * the flow has ended. */
static bool
flow_forward(struct flow *flow, struct flows *flows, unsigned first, unsigned n)
{
	unsigned end = first + n;

	for (unsigned attempts = 0; first < end && attempts <= CHOOSE_TRIES; attempts++) {
		unsigned sent;

		if (!flow->seat && !flow_connect(flow, NULL))
			return false;
		sent = datagrams_pass(flows->in, first, end - first, flow->io.fd);
		for (unsigned i = first; i < first + sent; i++)
			flow_count_up(flow, datagram_bytes(flows->in, i));
		first += sent;
		if (first == end)
			break;
		/* A full buffer: what it cannot take is lost. */
		if (errno == EAGAIN || errno == ENOBUFS)
			break;
		if (!flow_refused(flow, errno))
			return false;
		/* The error was about this datagram, and not about the server. */
		if (flow->seat)
			first++;
		else
			flow_show_again(flow, flows, first, end);
	}
	if (!flow->mark_us)
		flow->mark_us = flows_now_us(flows);
	flow_touch(flow);
	return true;
}

static bool
flow_allowed(struct flow_door *door, const struct sy_addr *client)
{
	const struct service *service = door->listener ? door->listener->service : NULL;
	struct service_run *run;

	if (!service || !service->settings.max_packet_rate_per_source.per_second ||
	    limits_packet(door->way, service, client))
		return true;
	run = service->run;
	tally_add(run->tally->refused, 1);
	tally_add(run->reasons[REASON_PACKET_RATE], 1);
	return false;
}

bool
flow_key_of(struct flow_door *door, unsigned i, struct flow_key *key)
{
	struct flows *flows = door->way->flows;

	*key = (struct flow_key){ .listener = door->id };
	if (!datagram_addr(datagram_from(flows->in, i), &key->client))
		return false;
	key->local = door->any ? datagram_local(flows->in, i, &door->addr) : door->addr;
	/* Nobody can be answered there; or it is we, and each answer would be the next question. */
	if (!key->client.port || memcmp(&key->client, &key->local, sizeof(key->client)) == 0)
		return false;
	return flow_allowed(door, &key->client);
}

/* Whose datagram is it? NULL: nobody's, it is dropped. `pending`: has datagrams before this one that are
 * still to be sent. */
static struct flow *
flow_of(struct flow_door *door, unsigned i, const struct flow *pending)
{
	struct flows *flows = door->way->flows;
	struct flow_key key;
	struct flow *flow;
	uint64_t hash;

	if (!flow_key_of(door, i, &key))
		return NULL;
	hash = flow_hash(door->way->board, &key);
	flow = flow_find(flows, hash, &key);
	if (!flow)
		flow = flow_new(door, hash, &key, datagram_from(flows->in, i));
	if (!flow || !flow->talk || flow_passes(flow, SY_CLIENT, datagram_bytes(flows->in, i)))
		return flow;
	/* Garbage makes no flow. */
	if (!flow->served && flow != pending)
		flow_end(flow, REASON_NONE);
	return NULL;
}

/* Datagrams of one client that stand side by side go on together. */
static void
flow_door_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct flow_door *door = container_of(io, struct flow_door, io);
	struct flows *flows = door->way->flows;
	struct flow *flow = NULL;
	unsigned n, first = 0;

	(void)loop, (void)events;
	n = datagrams_receive(flows->in, io->fd, door->any);
	if (door->listener && door->listener->service->uses & SY_MESSAGES) {
		post_receive(door, n);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		struct flow *next = flow_of(door, i, flow);

		if (next == flow && !(flow && flow->moves))
			continue;
		if (flow && !flow_forward(flow, flows, first, i - first) && next == flow)
			next = NULL;
		if (next && next->moves)
			flow_move(next);
		flow = next;
		first = i;
	}
	if (flow)
		(void)flow_forward(flow, flows, first, n - first);
}

/* Doors. */

static void
flow_watch(struct flow_door *door)
{
	bool wanted = door->listener != NULL;

	if (wanted == !!ev_is_active(&door->io))
		return;
	if (wanted)
		ev_io_start(door->way->loop, &door->io);
	else
		ev_io_stop(door->way->loop, &door->io);
}

void
flow_listen(struct way *way, uint64_t listener, unsigned slot, int fd)
{
	struct flows *flows = way->flows;
	struct flow_door *door = must_alloc(sizeof(*door));

	*door = (struct flow_door){ .way = way, .id = listener, .slot = slot };
	must(socket_local(fd, &door->addr));
	door->any = socket_any(&door->addr);
	ev_io_init(&door->io, flow_door_ready, fd, EV_READ);
	list_append(&flows->doors, &door->link);
	if (!flows->in) {
		flows->in = datagrams_new();
		flows->out = datagrams_new();
		ev_prepare_start(way->loop, &flows->turn_ends);
	}
	if (way->child->current)
		door->listener = config_listener(way->child->current->config, listener);
	flow_watch(door);
}

static void
flow_leave_door(struct flow *flow, void *context)
{
	struct flow_door *door = context;

	if (flow->door == door)
		flow_end(flow, door->listener ? REASON_MOVED : REASON_REMOVED);
}

static void
flow_door_free(struct flow_door *door)
{
	/* Some posts may have said something at their end. */
	datagrams_flush(door->way->flows->out);
	close(door->io.fd);
	free(door);
}

void
flow_door_leave(struct flow_door *door)
{
	if (--door->posts == 0 && door->closed)
		flow_door_free(door);
}

static void
flow_door_close(struct flow_door *door)
{
	flow_each(door->way, flow_leave_door, door);
	post_door_closes(door);
	ev_io_stop(door->way->loop, &door->io);
	list_remove(&door->link);
	door->closed = true;
	door->listener = NULL;
	if (door->posts == 0)
		flow_door_free(door);
}

/* What waits in its queue stays there: the socket is the master's, and somebody else serves it now. */
void
flow_unlisten(struct way *way, uint64_t listener, unsigned slot)
{
	list_each_safe(link, &way->flows->doors) {
		struct flow_door *door = container_of(link, struct flow_door, link);

		if (door->id == listener && door->slot == slot)
			flow_door_close(door);
	}
}

void
flow_switched(struct way *way)
{
	list_each(link, &way->flows->doors) {
		struct flow_door *door = container_of(link, struct flow_door, link);

		door->listener = config_listener(way->child->current->config, door->id);
		flow_watch(door);
	}
}
