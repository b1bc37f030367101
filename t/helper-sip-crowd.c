/* Many clients of a registrar: PORT CONNECTIONS USERS. Opens so many connections to 127.0.0.1, registers
 * so many users over each, and says "registered N connections C". Then, for each line of input:
 *
 *	check    registers all users again over the same connections; "alive C dead C answered N"
 *	again    connects anew where a connection was lost, and registers; "registered N connections C"
 *
 * An answer other than 200 to the right CSeq ends it with words. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 16384, PATIENCE_MS = 120000, AT_A_TIME = 200 };

struct client {
	int fd;                   /* -1: lost, or not there yet */
	unsigned wanted, cseq;    /* answers still to come */
	size_t len;
	char in[BUFFER];
};

static struct client *clients;
static unsigned n_clients, users, waiting, answered;
static int poll_fd;
static struct sockaddr_in where = { .sin_family = AF_INET };

__attribute__((noreturn)) static void
die(const char *what, const char *more)
{
	printf("failed: %s %s\n", what, more);
	exit(1);
}

static void
lose(struct client *client)
{
	close(client->fd);
	client->fd = -1;
	if (client->wanted)
		waiting--;
	client->wanted = 0;
}

static void
ask(struct client *client)
{
	unsigned id = (unsigned)(client - clients);
	static char out[BUFFER * 4];
	size_t len = 0;

	client->cseq++;
	for (unsigned user = 0; user < users; user++)
		len += (size_t)snprintf(out + len, sizeof(out) - len,
			"REGISTER sip:lab.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK%u-%u-%u\r\n"
			"From: <sip:u%u-%u@lab.test>;tag=1\r\nTo: <sip:u%u-%u@lab.test>\r\nCall-ID: %u-%u\r\n"
			"CSeq: %u REGISTER\r\nMax-Forwards: 70\r\nContact: <sip:u@127.0.0.1>\r\n"
			"Authorization: TLS-DSK x\r\nms-keep-alive: UAC;hop-hop=yes\r\nContent-Length: 0\r\n\r\n",
			id, user, client->cseq, id, user, id, user, id, user, client->cseq);
	client->wanted = users;
	waiting++;
	for (size_t at = 0; at < len;) {
		ssize_t n = send(client->fd, out + at, len - at, MSG_NOSIGNAL);

		if (n <= 0) {
			lose(client);
			return;
		}
		at += (size_t)n;
	}
}

static void
take(struct client *client)
{
	char *end, cseq[40];

	while ((end = memmem(client->in, client->len, "\r\n\r\n", 4)) != NULL) {
		size_t n = (size_t)(end - client->in) + 4;

		*end = '\0';
		snprintf(cseq, sizeof(cseq), "\r\nCSeq: %u REGISTER", client->cseq);
		if (strncmp(client->in, "SIP/2.0 200 ", 12) != 0 || !strstr(client->in, cseq))
			die("an answer that is none of ours:", client->in);
		answered++;
		memmove(client->in, client->in + n, client->len - n);
		client->len -= n;
		if (client->wanted && --client->wanted == 0)
			waiting--;
	}
}

static void
hear(struct client *client)
{
	ssize_t n = recv(client->fd, client->in + client->len, BUFFER - 1 - client->len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(client);
		return;
	}
	client->len += (size_t)n;
	take(client);
}

/* Until not more than so many wait for answers; what ends meanwhile is noted. */
static void
settle(unsigned most)
{
	struct epoll_event events[256];

	do {
		int n = epoll_wait(poll_fd, events, 256, waiting > most ? PATIENCE_MS : 0);

		if (n == 0 && waiting > most)
			die("no answers", "in two minutes");
		for (int i = 0; i < n; i++) {
			struct client *client = &clients[events[i].data.u32];

			if (client->fd >= 0)
				hear(client);
		}
		if (n == 0)
			return;
	} while (true);
}

static void
tell_registered(void)
{
	unsigned open = 0;

	for (unsigned i = 0; i < n_clients; i++)
		open += clients[i].fd >= 0;
	printf("registered %u connections %u\n", answered, open);
	fflush(stdout);
}

static void
connect_all(void)
{
	for (unsigned i = 0; i < n_clients; i++) {
		struct client *client = &clients[i];
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };

		if (client->fd >= 0)
			continue;
		client->len = 0;
		client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&where, sizeof(where)) != 0)
			die("connect:", strerror(errno));
		if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, client->fd, &event) != 0)
			die("epoll:", strerror(errno));
		ask(client);
		settle(AT_A_TIME);
	}
	settle(0);
}

static void
check_all(void)
{
	unsigned alive = 0;

	settle(0);
	answered = 0;
	for (unsigned i = 0; i < n_clients; i++) {
		if (clients[i].fd < 0)
			continue;
		ask(&clients[i]);
		settle(AT_A_TIME);
	}
	settle(0);
	for (unsigned i = 0; i < n_clients; i++)
		alive += clients[i].fd >= 0;
	printf("alive %u dead %u answered %u\n", alive, n_clients - alive, answered);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct rlimit limit;
	char line[32];

	if (argc != 4)
		return 2;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	where.sin_port = htons((uint16_t)atoi(argv[1]));
	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	n_clients = (unsigned)atoi(argv[2]);
	users = (unsigned)atoi(argv[3]);
	clients = calloc(n_clients, sizeof(*clients));
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!clients || poll_fd < 0)
		die("no memory", "");
	for (unsigned i = 0; i < n_clients; i++)
		clients[i].fd = -1;
	connect_all();
	tell_registered();
	while (fgets(line, sizeof(line), stdin)) {
		answered = 0;
		if (strcmp(line, "check\n") == 0) {
			check_all();
		} else {
			connect_all();
			tell_registered();
		}
	}
	return 0;
}
