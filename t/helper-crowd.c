/* Clients for tests: some connections that stay and exchange a line every now and then, and new ones
 * that come for one exchange each. The servers are helper-server's `echo`, so each answer names the
 * server that gave it.
 *
 *	helper-crowd [hold=N] [every=MS] [rate=N] [sources=N] [late=MS] [reopen=1] ADDRESS:PORT ...
 *
 * hold connections stay, and say something every so often; rate new ones come per second; they come
 * from so many addresses in 127.77.0.0/16, and each address must always meet the same server (moved
 * counts where it did not). An exchange that takes longer than late fails. Connections that were
 * lost are opened again with reopen=1.
 *
 * `r` on standard input: one line of JSON with what happened so far; the longest times are those
 * since the last `r`. Standard input ends: so does the crowd. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { TARGETS = 16, NAMES = 32, NAME = 16, LINE = 128, NEW_AT_ONCE = 1000, TICK_MS = 2 };

enum state { CLOSED, CONNECTING, WAITING, RESTING };

struct client {
	int fd;
	enum state state;
	bool stays;
	unsigned number, source;
	unsigned server;          /* in names, the last one that answered */
	uint64_t since_ms;        /* of the exchange, or of the rest */
	uint64_t said;
	char line[LINE];
	size_t line_len;
};

static struct {
	unsigned hold, every, rate, sources, late, reopen;
} want = { .every = 100, .late = 10000 };

static struct sockaddr_in targets[TARGETS];
static unsigned n_targets;
static char names[NAMES][NAME];
static unsigned n_names;
static struct client *held, *fresh;
static uint8_t *met;              /* by source: 1 + the server */
static int crowd_epoll;
static uint64_t now_ms, born_ms, started; /* new ones so far */

static struct {
	uint64_t exchanges, opened, lost, lost_reset, lost_eof, refused, late, wrong, moved;
	uint64_t new_ok, new_failed;
	uint64_t by[NAMES], lost_by[NAMES];
	uint64_t exchange_max, new_max;
	char words[96];
} count;

static uint64_t
crowd_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static unsigned
crowd_name(const char *name, size_t len)
{
	if (len >= NAME)
		len = NAME - 1;
	for (unsigned i = 0; i < n_names; i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return i;
	if (n_names == NAMES)
		errx(1, "more than %d servers", NAMES);
	memcpy(names[n_names], name, len);
	return n_names++;
}

static void
client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	client->state = CLOSED;
	client->since_ms = now_ms;
}

/* error 0: the other side ended; -1: it took too long. */
static void
client_failed(struct client *client, int error)
{
	bool was_there = client->state == RESTING || client->said > 0;

	snprintf(count.words, sizeof(count.words), "%s %s after %llu ms: %s",
	         client->stays ? "held" : "new",
	         client->state == CONNECTING ? "connecting" : client->state == WAITING ? "waiting" : "resting",
	         (unsigned long long)(now_ms - client->since_ms),
	         error > 0 ? strerror(error) : error < 0 ? "late" : "end of file");
	count.late += error < 0;
	if (!client->stays) {
		count.new_failed++;
		if (now_ms - client->since_ms > count.new_max)
			count.new_max = now_ms - client->since_ms;
	} else if (was_there) {
		count.lost++;
		count.lost_reset += error > 0;
		count.lost_eof += error == 0;
		count.lost_by[client->server]++;
	} else {
		count.refused++;
	}
	client->said = 0;
	client_close(client);
}

static void
client_say(struct client *client)
{
	char line[LINE];
	int len = snprintf(line, sizeof(line), "%u.%llu\n", client->number,
	                   (unsigned long long)client->said);

	if (client->state == RESTING)
		client->since_ms = now_ms;
	client->state = WAITING;
	client->line_len = 0;
	if (send(client->fd, line, (size_t)len, MSG_NOSIGNAL) != len)
		client_failed(client, errno);
}

static void
client_open(struct client *client, unsigned number)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT, .data.ptr = client };
	const struct sockaddr_in *to = &targets[number % n_targets];
	int on = 1;

	client->number = number;
	client->source = want.sources ? number % want.sources : 0;
	client->since_ms = now_ms;
	client->said = 0;
	client->state = CONNECTING;
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		err(1, "socket");
	setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (want.sources) {
		from.sin_addr.s_addr = htonl(0x7f4d0000 | (client->source + 1));
		setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		if (bind(client->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
			err(1, "bind");
	}
	if (epoll_ctl(crowd_epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
		err(1, "epoll_ctl");
	if (connect(client->fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS)
		client_failed(client, errno);
}

static void
client_met(struct client *client)
{
	if (!want.sources)
		return;
	if (met[client->source] && met[client->source] != client->server + 1)
		count.moved++;
	met[client->source] = (uint8_t)(client->server + 1);
}

/* "NAME: NUMBER.SAID\n" */
static void
client_heard(struct client *client)
{
	char expect[LINE], *colon = memchr(client->line, ':', client->line_len);
	uint64_t took = now_ms - client->since_ms;
	int len = snprintf(expect, sizeof(expect), ": %u.%llu\n", client->number,
	                   (unsigned long long)client->said);

	if (!colon || client->line + client->line_len - colon != len ||
	    memcmp(colon, expect, (size_t)len) != 0) {
		count.wrong++;
		client_failed(client, EPROTO);
		return;
	}
	client->server = crowd_name(client->line, (size_t)(colon - client->line));
	client_met(client);
	if (!client->stays) {
		count.new_ok++;
		count.by[client->server]++;
		if (took > count.new_max)
			count.new_max = took;
		client_close(client);
		return;
	}
	count.opened += client->said == 0;
	count.exchanges++;
	if (took > count.exchange_max)
		count.exchange_max = took;
	client->said++;
	client->state = RESTING;
	client->since_ms = now_ms;
}

static void
client_read(struct client *client)
{
	ssize_t n = recv(client->fd, client->line + client->line_len, LINE - client->line_len, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		client_failed(client, n < 0 ? errno : 0);
		return;
	}
	client->line_len += (size_t)n;
	if (client->line[client->line_len - 1] == '\n')
		client_heard(client);
	else if (client->line_len == LINE)
		client_failed(client, EPROTO);
}

static void
client_event(struct client *client, uint32_t events)
{
	if (client->state == CLOSED)
		return;
	if (client->state == CONNECTING) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
		int error = 0;
		socklen_t len = sizeof(error);

		getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if (error) {
			client_failed(client, error);
			return;
		}
		if (!(events & EPOLLOUT))
			return;
		epoll_ctl(crowd_epoll, EPOLL_CTL_MOD, client->fd, &event);
		client_say(client);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		client_read(client);
}

static void
crowd_held(struct client *client, unsigned number)
{
	uint64_t age = now_ms - client->since_ms;

	switch (client->state) {
	case CLOSED:
		if (client->number == UINT32_MAX || (want.reopen && age >= 20))
			client_open(client, number);
		break;
	case RESTING:
		if (age >= want.every)
			client_say(client);
		break;
	case CONNECTING:
	case WAITING:
		if (age >= want.late)
			client_failed(client, -1);
		break;
	}
}

static void
crowd_fresh(void)
{
	uint64_t due = (now_ms - born_ms) * want.rate / 1000;

	for (unsigned i = 0; i < NEW_AT_ONCE && want.rate; i++) {
		struct client *client = &fresh[i];

		if (client->state != CLOSED && now_ms - client->since_ms >= want.late)
			client_failed(client, -1);
		if (client->state == CLOSED && started < due) {
			client_open(client, (unsigned)(want.hold + started));
			started++;
		}
	}
	/* Nobody left to send: those are not owed. */
	if (started < due)
		started = due;
}

static void
crowd_names(const char *what, const uint64_t *counts)
{
	const char *comma = "";

	printf(",\"%s\":{", what);
	for (unsigned i = 0; i < n_names; i++) {
		if (counts[i])
			printf("%s\"%s\":%llu", comma, names[i], (unsigned long long)counts[i]);
		comma = counts[i] ? "," : comma;
	}
	printf("}");
}

static void
crowd_report(void)
{
	unsigned there = 0, pending = 0;

	for (unsigned i = 0; i < want.hold; i++)
		there += held[i].said > 0;
	for (unsigned i = 0; want.rate && i < NEW_AT_ONCE; i++)
		pending += fresh[i].state != CLOSED;
#define NUMBER(name) printf(",\"" #name "\":%llu", (unsigned long long)count.name)
	printf("{\"held\":%u,\"pending\":%u", there, pending);
	NUMBER(exchanges), NUMBER(opened), NUMBER(lost), NUMBER(lost_reset), NUMBER(lost_eof);
	NUMBER(refused), NUMBER(late), NUMBER(wrong), NUMBER(moved), NUMBER(new_ok), NUMBER(new_failed);
	NUMBER(exchange_max), NUMBER(new_max);
	crowd_names("by", count.by);
	crowd_names("lost_by", count.lost_by);
	printf(",\"words\":\"%s\"}\n", count.words);
	fflush(stdout);
	count.exchange_max = count.new_max = 0;
}

static void
crowd_command(void)
{
	char bytes[64];
	ssize_t n = read(0, bytes, sizeof(bytes));

	if (n <= 0)
		exit(0);
	for (ssize_t i = 0; i < n; i++)
		if (bytes[i] == 'r')
			crowd_report();
}

static void
crowd_target(const char *text)
{
	char address[32];
	const char *colon = strchr(text, ':');
	struct sockaddr_in *to = &targets[n_targets++];

	if (n_targets > TARGETS || !colon || colon - text >= (ptrdiff_t)sizeof(address))
		errx(2, "%s is no ADDRESS:PORT, or one too many", text);
	memcpy(address, text, (size_t)(colon - text));
	address[colon - text] = '\0';
	*to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1)) };
	if (inet_pton(AF_INET, address, &to->sin_addr) != 1)
		errx(2, "%s is no IPv4 address", address);
}

static void
crowd_option(const char *text)
{
	const struct { const char *name; unsigned *to; } options[] = {
		{ "hold=", &want.hold }, { "every=", &want.every }, { "rate=", &want.rate },
		{ "sources=", &want.sources }, { "late=", &want.late }, { "reopen=", &want.reopen },
	};

	for (unsigned i = 0; i < sizeof(options) / sizeof(*options); i++) {
		size_t len = strlen(options[i].name);

		if (strncmp(text, options[i].name, len) != 0)
			continue;
		*options[i].to = (unsigned)strtoul(text + len, NULL, 10);
		return;
	}
	errx(2, "%s is no option", text);
}

static void
crowd_begin(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	held = calloc(want.hold + 1, sizeof(*held));
	fresh = calloc(NEW_AT_ONCE, sizeof(*fresh));
	met = calloc(want.sources + 1, 1);
	if (!held || !fresh || !met)
		err(1, "calloc");
	for (unsigned i = 0; i < want.hold; i++)
		held[i] = (struct client){ .fd = -1, .stays = true, .number = UINT32_MAX };
	for (unsigned i = 0; i < NEW_AT_ONCE; i++)
		fresh[i].fd = -1;
	crowd_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(crowd_epoll, EPOLL_CTL_ADD, 0, &event) < 0)
		err(1, "standard input must be a pipe");
}

int
main(int argc, char **argv)
{
	struct epoll_event events[256];
	uint64_t last_ms = 0;
	unsigned opened = 0;

	for (int i = 1; i < argc; i++)
		if (strchr(argv[i], '='))
			crowd_option(argv[i]);
		else
			crowd_target(argv[i]);
	if (!n_targets)
		errx(2, "usage: helper-crowd [OPTION=N ...] ADDRESS:PORT ...");
	crowd_begin();
	born_ms = now_ms = crowd_clock();
	for (;;) {
		int n = epoll_wait(crowd_epoll, events, 256, TICK_MS);

		now_ms = crowd_clock();
		for (int i = 0; i < n; i++)
			if (events[i].data.ptr)
				client_event(events[i].data.ptr, events[i].events);
			else
				crowd_command();
		if (now_ms - last_ms < TICK_MS)
			continue;
		last_ms = now_ms;
		/* A few hundred at a time: queues are finite. */
		opened = opened + 200 < want.hold ? opened + 200 : want.hold;
		for (unsigned i = 0; i < opened; i++)
			crowd_held(&held[i], i);
		crowd_fresh();
	}
}
