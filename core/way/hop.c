#define _GNU_SOURCE 1
#include "way/hop.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/must.h"
#include "base/slab.h"
#include "way/reach.h"
#include "way/side.h"
#include "way/side_tls.h"
#include "way/strand.h"

enum {
	HOP_BATCH = 64,           /* accepted in one turn */
	HOPS_MOST = 1024,         /* that have not said yet what they want */
	HOP_PATIENCE_MS = 1000,   /* for them: it is sent with the connect */
	HOPS_PAUSE_MS = 100,      /* without descriptors */
};

struct hops {
	struct way *way;
	struct ev_io io;          /* fd -1: none */
	struct timeq *patience, *pause;
	struct timer_entry again; /* armed while it is not listened to */
	struct slab *slab;
	struct link waiting;      /* struct hop */
	unsigned n_waiting;
};

/* Somebody has connected. */
struct hop {
	struct ev_io io;
	struct link link;
	struct timer_entry timer;
	struct hops *hops;
};

/* ---- who calls ---- */

int
hop_call(struct board *board, unsigned row, const struct flow_name *name, uint32_t from)
{
	const struct board_process *process = board_process(board, row);
	struct hop_call call = { .magic = HOP_MAGIC, .name = *name, .from = from };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + process->hop_len);
	int fd, error;

	if (!process->hop_len || process->hop_len > sizeof(process->hop)) {
		errno = ECONNREFUSED;
		return -1;
	}
	memcpy(to.sun_path, process->hop, process->hop_len);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	/* There is room in the queue, or it fails at once. */
	if (connect(fd, (const struct sockaddr *)&to, len) == 0 &&
	    send(fd, &call, sizeof(call), MSG_NOSIGNAL) == sizeof(call))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* ---- who is called ---- */

void
hop_describe(const struct conn *client, struct hop_answer *out)
{
	*out = (struct hop_answer){
		.magic = HOP_MAGIC,
		.client = client->client_addr,
		.service = client->service_addr,
		.secure = client->client.tls != NULL,
		.datagram = client->datagrams,
	};
}

/* A tunnel from the socket to the client's session. */
static enum reason
hop_join(struct conn *client, int fd, struct conn **out)
{
	struct way *way = client->way;
	struct conn *conn = NULL;
	enum reason reason;

	if (way->conns < way->most)
		conn = accept_block(way, client->listener, client->generation);
	if (!conn)
		return REASON_NO_MEMORY;
	conn->hop = conn->tunnel = conn->greeted = conn->admitted = conn->settled = true;
	conn->peer = client->peer;
	conn->client_addr = client->client_addr;
	conn->service_addr = client->service_addr;
	conn->talk->parent_id = client->id;
	conn->step = STEP_RELAY;
	list_append(&service_run(conn)->conns, &conn->of_service);
	reason = strand_join(client, conn);
	if (reason != REASON_NONE) {
		way_end(conn, reason);
		return reason;
	}
	side_init(&conn->client, fd, accept_on_client);
	conn->client.prompt = true;
	conn->client.ready = EV_READ;
	*out = conn;
	return REASON_NONE;
}

static void
hop_answer_call(struct hops *hops, const struct hop_call *call, int fd)
{
	struct conn *client = NULL, *conn;
	struct hop_answer answer;
	enum reason reason = REASON_FLOW_GONE;

	if (call->magic == HOP_MAGIC)
		client = reach_find(hops->way, &call->name);
	if (client) {
		hop_describe(client, &answer);
		reason = hop_join(client, fd, &conn);
		if (reason == REASON_NONE)
			conn->server.strand->from = call->from;
		answer.full = reason == REASON_FLOW_FULL;
		/* Who has left already is seen by the tunnel. */
		if (reason == REASON_NONE || answer.full)
			(void)send(fd, &answer, sizeof(answer), MSG_NOSIGNAL);
	}
	if (reason == REASON_NONE)
		way_drive(conn);
	else
		close(fd);
}

/* Gives the socket away. */
static int
hop_end(struct hop *hop)
{
	struct hops *hops = hop->hops;
	int fd = hop->io.fd;

	ev_io_stop(hops->way->loop, &hop->io);
	timer_stop(&hop->timer);
	list_remove(&hop->link);
	hops->n_waiting--;
	slab_give(hops->slab, hop);
	return fd;
}

static void
hop_timed(struct timer_entry *entry, uint64_t now_ms)
{
	(void)now_ms;
	close(hop_end(container_of(entry, struct hop, timer)));
}

static void
hop_on_call(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct hop *hop = container_of(io, struct hop, io);
	struct hops *hops = hop->hops;
	struct hop_call call;
	ssize_t n = recv(io->fd, &call, sizeof(call), 0);
	int fd;

	(void)loop, (void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	fd = hop_end(hop);
	if (n == sizeof(call))
		hop_answer_call(hops, &call, fd);
	else
		close(fd);
}

/* Anybody on this machine can connect to such a name: only workers are heard. */
static bool
hop_is_worker(struct board *board, int fd)
{
	struct ucred who = { .pid = 0 };
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || who.pid <= 0)
		return false;
	for (unsigned i = 0; i < board_workers(board); i++)
		if (board_process(board, ROW_WORKER + i)->pid == (uint32_t)who.pid)
			return true;
	return false;
}

static void
hop_wait(struct hops *hops, int fd)
{
	struct way *way = hops->way;
	struct hop *hop = NULL;

	if (hops->n_waiting < HOPS_MOST && hop_is_worker(way->board, fd))
		hop = slab_take(hops->slab);
	if (!hop) {
		close(fd);
		return;
	}
	hop->hops = hops;
	ev_io_init(&hop->io, hop_on_call, fd, EV_READ);
	ev_io_start(way->loop, &hop->io);
	timer_init(&hop->timer);
	timeq_arm(hops->patience, &hop->timer, way->child->now_ms);
	link_init(&hop->link);
	list_append(&hops->waiting, &hop->link);
	hops->n_waiting++;
}

static void
hops_again(struct timer_entry *entry, uint64_t now_ms)
{
	struct hops *hops = container_of(entry, struct hops, again);

	(void)now_ms;
	ev_io_start(hops->way->loop, &hops->io);
}

/* Out of descriptors: accept() would fail as fast as it is called. */
static void
hops_rest(struct hops *hops)
{
	ev_io_stop(hops->way->loop, &hops->io);
	timeq_arm(hops->pause, &hops->again, hops->way->child->now_ms);
}

static void
hops_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct hops *hops = container_of(io, struct hops, io);

	(void)loop, (void)events;
	for (unsigned n = 0; n < HOP_BATCH; n++) {
		int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED)
			hops_rest(hops);
		if (fd < 0)
			return;
		hop_wait(hops, fd);
	}
}

/* ---- life ---- */

struct hops *
hops_new(struct way *way)
{
	struct hops *hops = must_alloc(sizeof(*hops));

	hops->way = way;
	hops->io.fd = -1;
	hops->patience = timeq_get(way->child->timeouts, HOP_PATIENCE_MS, hop_timed);
	hops->pause = timeq_get(way->child->timeouts, HOPS_PAUSE_MS, hops_again);
	hops->slab = slab_new(sizeof(struct hop));
	timer_init(&hops->again);
	link_init(&hops->waiting);
	return hops;
}

void
hops_listen(struct hops *hops, int fd)
{
	must(hops->io.fd < 0);
	ev_io_init(&hops->io, hops_ready, fd, EV_READ);
	ev_io_start(hops->way->loop, &hops->io);
}

void
hops_free(struct hops *hops)
{
	list_each(link, &hops->waiting)
		close(container_of(link, struct hop, link)->io.fd);
	if (hops->io.fd >= 0)
		close(hops->io.fd);
	slab_free(hops->slab);
	free(hops);
}
