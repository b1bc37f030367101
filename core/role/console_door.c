/* How people come in: connections are accepted here, before the HTTP library sees them, for it is
 * here that one learns who they are. On the control socket the kernel tells. Over TCP the first byte
 * does: a PROXY header is believed when it proves that a worker of ours made it, anything else is
 * somebody on this machine. Who is one too many is told so. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "net/proxy_header.h"
#include "net/socket.h"
#include "role/access.h"

enum { DOOR_BATCH = 32, DOOR_FIRST_OF_PROXY = '\r', DOOR_HEAD = 16 };

/* Before it belongs to the library. */
struct arrival {
	struct link link;         /* in entrance->arrivals */
	struct entrance *entrance;
	struct ev_io io;
	uint64_t until_ms;
	struct sy_addr addr;      /* of the socket */
	size_t len;
	uint8_t header[PROXY_PROVED_MAX];
};

/* What comes after this would be reset by the bytes that nobody has read; so they are read. */
static void
door_refuse(int fd, const char *status, const char *words)
{
	char text[512], rest[4096];
	int len = snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
	                   "Content-Length: %zu\r\nConnection: close\r\n\r\n{\"error\":\"%s\"}", status,
	                   strlen(words) + strlen("{\"error\":\"\"}"), words);

	while (recv(fd, rest, sizeof(rest), MSG_DONTWAIT) == (ssize_t)sizeof(rest))
		;
	send(fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	close(fd);
}

static void
peer_free(struct peer *peer)
{
	list_remove(&peer->link);
	peer->entrance->n_peers--;
	free(peer);
}

static bool
peer_is_there(const struct entrance *entrance, const struct peer *peer)
{
	list_each(link, &entrance->peers)
		if (container_of(link, struct peer, link) == peer)
			return true;
	return false;
}

void
door_connection(void *context, struct MHD_Connection *connection, void **state,
                enum MHD_ConnectionNotificationCode code)
{
	struct entrance *entrance = context;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (*state)
			peer_free(*state);
		*state = NULL;
		return;
	}
	info = mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	list_each(link, &entrance->peers) {
		struct peer *peer = container_of(link, struct peer, link);

		if (info && !peer->known && peer->fd == info->connect_fd) {
			peer->known = true;
			*state = peer;
			return;
		}
	}
}

struct peer *
door_peer(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		mhd.get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* The descriptor is the library's from here on. */
static void
door_admit(struct entrance *entrance, int fd, const struct peer *who)
{
	const struct sy_nets *allow = &entrance->console->child->current->config->global.console.allow;
	struct sockaddr_storage name = { .ss_family = AF_UNIX };
	struct peer *peer;

	if (who->way != PEER_CONTROL && allow->n && !sy_nets_have(allow, &who->addr)) {
		door_refuse(fd, "403 Forbidden", "the console's allow does not name your network");
		return;
	}
	peer = must_alloc(sizeof(*peer));
	*peer = *who;
	peer->entrance = entrance;
	peer->fd = fd;
	peer->since_ms = entrance->console->child->now_ms;
	list_append(&entrance->peers, &peer->link);
	entrance->n_peers++;
	if (mhd.add_connection(entrance->daemon, fd, (struct sockaddr *)&name, sizeof(sa_family_t)) != MHD_YES &&
	    peer_is_there(entrance, peer))
		peer_free(peer);
}

static void
arrival_free(struct ev_loop *loop, struct arrival *arrival)
{
	ev_io_stop(loop, &arrival->io);
	list_remove(&arrival->link);
	arrival->entrance->n_arrivals--;
	free(arrival);
}

/* Reads as much of the header as there is, and not a byte of what follows. 1 whole, 0 not yet, -1. */
static int
arrival_read(struct arrival *arrival)
{
	for (;;) {
		size_t want = DOOR_HEAD;
		ssize_t n;

		if (arrival->len >= DOOR_HEAD)
			want += (size_t)arrival->header[14] << 8 | arrival->header[15];
		if (want > sizeof(arrival->header))
			return -1;
		if (arrival->len == want)
			return 1;
		n = recv(arrival->io.fd, arrival->header + arrival->len, want - arrival->len, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -1;
		arrival->len += (size_t)n;
	}
}

static bool
arrival_proved(const struct arrival *arrival, struct peer *who)
{
	struct board *board = arrival->entrance->console->child->board;
	struct proxy_header header;
	struct sy_span in = sy_span(arrival->header, arrival->len);

	if (proxy_header_read(in, &header) != PROXY_DONE ||
	    !proxy_header_proved(in, &header, board_key(board), clock_wall_ms(), who->subject))
		return false;
	who->way = PEER_SERVICE;
	who->addr = header.source;
	return true;
}

static void
arrival_readable(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct arrival *arrival = container_of(io, struct arrival, io);
	struct entrance *entrance = arrival->entrance;
	struct peer who = { .way = PEER_LOOPBACK, .addr = arrival->addr };
	uint8_t first = 0;
	ssize_t n = arrival->len ? 1 : recv(io->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
	int fd = io->fd, got = 1;

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0 && (arrival->len || first == DOOR_FIRST_OF_PROXY))
		got = arrival_read(arrival);
	if (got == 0)
		return;
	if (n <= 0)
		close(fd);
	else if (got < 0 || (arrival->len && !arrival_proved(arrival, &who)))
		door_refuse(fd, "403 Forbidden", "this PROXY header is not of a worker of this instance");
	else
		door_admit(entrance, fd, &who);
	arrival_free(loop, arrival);
	entrances_run(entrance->console);
}

static void
door_arrives(struct entrance *entrance, int fd, const struct sockaddr_storage *name)
{
	struct arrival *arrival = must_alloc(sizeof(*arrival));

	*arrival = (struct arrival){ .entrance = entrance };
	arrival->until_ms = entrance->console->child->now_ms + CONSOLE_REQUEST_MS;
	list_append(&entrance->arrivals, &arrival->link);
	entrance->n_arrivals++;
	socket_addr(name, &arrival->addr);
	ev_io_init(&arrival->io, arrival_readable, fd, EV_READ);
	ev_io_start(entrance->console->child->loop, &arrival->io);
}

static void
door_control(struct entrance *entrance, int fd)
{
	struct peer who = { .way = PEER_CONTROL, .uid = UINT32_MAX };
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
		who.uid = (uint32_t)cred.uid;
		who.pid = (int32_t)cred.pid;
	}
	door_admit(entrance, fd, &who);
}

void
door_readable(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct entrance *entrance = container_of(io, struct entrance, accept);

	(void)events;
	/* Who comes before there is a configuration waits in the queue until the first beat. */
	if (!entrance->console->child->current) {
		ev_io_stop(loop, io);
		return;
	}
	for (int i = 0; i < DOOR_BATCH; i++) {
		struct sockaddr_storage name;
		socklen_t len = sizeof(name);
		int fd = accept4(io->fd, (struct sockaddr *)&name, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
			ev_io_stop(loop, io); /* until the next beat */
		if (fd < 0)
			break;
		if (entrance->n_peers + entrance->n_arrivals >= CONSOLE_PEERS)
			door_refuse(fd, "503 Service Unavailable", "the console has as many connections as it "
			            "serves at once: try again");
		else if (entrance->listener == 0)
			door_control(entrance, fd);
		else
			door_arrives(entrance, fd, &name);
	}
	entrances_run(entrance->console);
}

bool
door_has_fresh(const struct entrance *entrance)
{
	enum { FRESH_MS = 1000 };
	uint64_t now_ms = entrance->console->child->now_ms;

	list_each(link, &entrance->peers) {
		const struct peer *peer = container_of(link, struct peer, link);

		if (peer->since_ms && now_ms < peer->since_ms + FRESH_MS)
			return true;
	}
	return false;
}

/* Who has not said within a time what he wants has had his turn; the library only counts silence. */
void
door_beat(struct entrance *entrance)
{
	struct ev_loop *loop = entrance->console->child->loop;
	uint64_t now_ms = entrance->console->child->now_ms;

	if (!ev_is_active(&entrance->accept))
		ev_io_start(loop, &entrance->accept);
	list_each_safe(link, &entrance->arrivals) {
		struct arrival *arrival = container_of(link, struct arrival, link);

		if (now_ms < arrival->until_ms)
			continue;
		door_refuse(arrival->io.fd, "408 Request Timeout", "no request came in time");
		arrival_free(loop, arrival);
	}
	list_each(link, &entrance->peers) {
		struct peer *peer = container_of(link, struct peer, link);

		if (peer->since_ms && now_ms > peer->since_ms + CONSOLE_REQUEST_MS)
			shutdown(peer->fd, SHUT_RDWR);
	}
}

void
door_close_arrivals(struct entrance *entrance)
{
	list_each_safe(link, &entrance->arrivals) {
		struct arrival *arrival = container_of(link, struct arrival, link);

		close(arrival->io.fd);
		arrival_free(entrance->console->child->loop, arrival);
	}
}
