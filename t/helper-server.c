/* A server for tests, quick enough for crowds: helper-server NAME ADDRESS PORT WHAT
 *
 *	echo   each line comes back as "NAME: line"; the end of the client's bytes is answered with ours
 *	flood  sends without end, whatever the client does
 *	sink   reads all that comes, says nothing
 *	tell   says how many bytes came once the client has ended, and ends
 *
 * Prints its port (PORT 0: the system's choice), then serves until its standard input ends. SIGUSR1
 * makes its queue of new connections as short as can be, SIGUSR2 long again: stopped with a queue that
 * is full, it is as dead as a machine without power. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum what { ECHO, FLOOD, SINK, TELL };

struct peer {
	int fd;
	bool writing;             /* waits for room */
	bool ended;               /* has said its last byte */
	uint64_t bytes;
	char *out;                /* not sent yet */
	size_t out_len, out_size;
	char line[512];           /* the beginning of one */
	size_t line_len;
};

static const char *server_name;
static enum what server_what;
static int server_epoll, server_listen;
static char server_bytes[65536];

static void
server_watch(struct peer *peer, int op)
{
	struct epoll_event event = {
		.events = (peer->ended ? 0 : EPOLLIN) | (peer->writing ? EPOLLOUT : 0),
		.data.ptr = peer,
	};

	if (epoll_ctl(server_epoll, op, peer->fd, &event) < 0)
		err(1, "epoll_ctl");
}

static void
server_drop(struct peer *peer)
{
	close(peer->fd);
	free(peer->out);
	free(peer);
}

static void
server_say(struct peer *peer, const char *bytes, size_t len)
{
	if (peer->out_len + len > peer->out_size) {
		peer->out_size = (peer->out_len + len) * 2;
		peer->out = realloc(peer->out, peer->out_size);
		if (!peer->out)
			err(1, "realloc");
	}
	memcpy(peer->out + peer->out_len, bytes, len);
	peer->out_len += len;
}

/* False: the connection is gone. */
static bool
server_flush(struct peer *peer)
{
	bool writing;

	if (server_what == FLOOD) {
		ssize_t n;

		do
			n = send(peer->fd, server_bytes, sizeof(server_bytes), MSG_NOSIGNAL);
		while (n > 0);
		return errno == EAGAIN;
	}
	while (peer->out_len > 0) {
		ssize_t n = send(peer->fd, peer->out, peer->out_len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0)
			break;
		peer->out_len -= (size_t)n;
		memmove(peer->out, peer->out + n, peer->out_len);
	}
	writing = peer->out_len > 0;
	if (peer->ended && !writing)
		return false;
	if (writing != peer->writing) {
		peer->writing = writing;
		server_watch(peer, EPOLL_CTL_MOD);
	}
	return true;
}

static void
server_echo(struct peer *peer, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (peer->line_len < sizeof(peer->line))
			peer->line[peer->line_len++] = bytes[i];
		if (bytes[i] != '\n')
			continue;
		server_say(peer, server_name, strlen(server_name));
		server_say(peer, ": ", 2);
		server_say(peer, peer->line, peer->line_len);
		peer->line_len = 0;
	}
}

static bool
server_read(struct peer *peer)
{
	char bytes[16384];
	ssize_t n = recv(peer->fd, bytes, sizeof(bytes), 0);

	if (n < 0)
		return errno == EAGAIN;
	if (n == 0) {
		char words[64];

		peer->ended = true;
		snprintf(words, sizeof(words), "%s: %llu bytes\n", server_name,
		         (unsigned long long)peer->bytes);
		if (server_what == TELL)
			server_say(peer, words, strlen(words));
		server_watch(peer, EPOLL_CTL_MOD);
		return true;
	}
	peer->bytes += (uint64_t)n;
	if (server_what == ECHO)
		server_echo(peer, bytes, (size_t)n);
	return true;
}

static void
server_accept(void)
{
	int fd, on = 1;

	while ((fd = accept4(server_listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct peer *peer = calloc(1, sizeof(*peer));

		if (!peer)
			err(1, "calloc");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		peer->fd = fd;
		peer->writing = server_what == FLOOD;
		server_watch(peer, EPOLL_CTL_ADD);
	}
}

static void
server_queue(int signal)
{
	listen(server_listen, signal == SIGUSR1 ? 0 : 4096);
}

static void
server_open(const char *address, const char *port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	socklen_t len = sizeof(name);
	int on = 1;

	if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
		errx(2, "%s is no IPv4 address", address);
	server_listen = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(server_listen, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(server_listen, (struct sockaddr *)&name, sizeof(name)) < 0)
		err(1, "bind %s:%s", address, port);
	if (listen(server_listen, 4096) < 0)
		err(1, "listen");
	getsockname(server_listen, (struct sockaddr *)&name, &len);
	printf("%u\n", ntohs(name.sin_port));
	fflush(stdout);
}

static void
server_turn(const struct epoll_event *event)
{
	struct peer *peer = event->data.ptr;

	if (peer == NULL)
		exit(0); /* standard input has ended */
	if (peer == (void *)&server_listen) {
		server_accept();
		return;
	}
	if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !peer->ended && !server_read(peer)) {
		server_drop(peer);
		return;
	}
	if (!server_flush(peer))
		server_drop(peer);
}

int
main(int argc, char **argv)
{
	static const char *const whats[] = { "echo", "flood", "sink", "tell" };
	struct epoll_event events[256], event = { .events = EPOLLIN };
	struct rlimit files;
	unsigned what = 0;

	if (argc != 5)
		errx(2, "usage: helper-server NAME ADDRESS PORT echo|flood|sink|tell");
	while (what < 4 && strcmp(whats[what], argv[4]) != 0)
		what++;
	if (what == 4)
		errx(2, "%s is not among echo, flood, sink, tell", argv[4]);
	server_what = (enum what)what;
	server_name = argv[1];
	memset(server_bytes, 'x', sizeof(server_bytes));
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	server_epoll = epoll_create1(EPOLL_CLOEXEC);
	server_open(argv[2], argv[3]);
	signal(SIGUSR1, server_queue);
	signal(SIGUSR2, server_queue);
	event.data.ptr = NULL;
	if (epoll_ctl(server_epoll, EPOLL_CTL_ADD, 0, &event) < 0)
		err(1, "standard input must be a pipe");
	event.data.ptr = &server_listen;
	epoll_ctl(server_epoll, EPOLL_CTL_ADD, server_listen, &event);
	for (;;) {
		int n = epoll_wait(server_epoll, events, 256, -1);

		for (int i = 0; i < n; i++)
			server_turn(&events[i]);
	}
}
