/* ICMP and ICMPv6 echo. One socket for each family and all probes: a datagram ("ping") socket where
 * net.ipv4.ping_group_range allows it, else a raw one, for which CAP_NET_RAW is needed. An answer
 * belongs to the probe that has its sequence number, and counts when it comes from the address that
 * was asked. */
#include <errno.h>
#include <time.h> /* for the next */
#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "net/socket.h"
#include "role/probe_run.h"

enum {
	ECHO_SLOTS = 8192,          /* power of two, more than probes can be open */
	ECHO_HEAD = 8,
	ECHO_MOST = 1472,           /* bytes of the module in one packet */
	ECHO_AT_ONCE = 64,
	ECHO_TRIES = 16,            /* to send one packet, while errors of others are in the way */
	ECHO_V4 = 0, ECHO_V6, ECHO_FAMILIES,
};

struct echo_socket {
	struct probe_echo *echo;
	struct ev_io io;
	int fd;                     /* -1: not open */
	bool raw, six;
};

struct probe_echo {
	struct probes *engine;
	struct echo_socket sockets[ECHO_FAMILIES];
	uint16_t id;                /* of raw sockets; the kernel numbers the others */
	uint16_t next;
	struct probe *slots[ECHO_SLOTS];
};

static uint16_t
echo_checksum(const uint8_t *at, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	if (len & 1)
		sum += (uint32_t)at[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void
echo_let_go(struct probe *probe)
{
	if (probe->echoing)
		probe->engine->echo->slots[probe->echo % ECHO_SLOTS] = NULL;
	probe->echoing = false;
}

static void
icmp_gone(struct probe *probe)
{
	echo_let_go(probe);
	probe_gone(probe);
}

/* The probe that sent the packet which begins at `at` with an ICMP header, or NULL. */
static struct probe *
echo_probe(const struct echo_socket *socket, const uint8_t *at, size_t len, int type,
           const struct sockaddr_storage *from)
{
	const struct probe_echo *echo = socket->echo;
	struct probe *probe;
	struct sy_addr asked, answers;
	uint16_t sequence;

	if (len < ECHO_HEAD || at[0] != type)
		return NULL;
	if (socket->raw && (at[4] << 8 | at[5]) != echo->id)
		return NULL;
	sequence = (uint16_t)(at[6] << 8 | at[7]);
	probe = echo->slots[sequence % ECHO_SLOTS];
	if (!probe || probe->echo != sequence ||
	    (probe->question->to.family == SY_IPV6) != socket->six)
		return NULL;
	if (from) {
		asked = probe->question->to;
		asked.port = 0;
		if (!socket_addr(from, &answers))
			return NULL;
		answers.port = 0;
		if (memcmp(&asked, &answers, sizeof(asked)) != 0)
			return NULL;
	}
	return probe;
}

/* Raw IPv4 sockets show the IP header. */
static size_t
echo_skip_ip(const struct echo_socket *socket, const uint8_t *at, size_t len)
{
	size_t head;

	if (!socket->raw || socket->six)
		return 0;
	head = len ? (size_t)(at[0] & 15) * 4 : 0;
	return head >= 20 && head <= len ? head : len;
}

/* What the error queue gives back begins with our ICMP header, except on raw IPv6 sockets, where the
 * IPv6 header stands before it. */
static size_t
echo_skip_ip6(const struct echo_socket *socket, const uint8_t *at, size_t len)
{
	return socket->raw && socket->six && len > 40 && at[0] >> 4 == 6 && at[6] == IPPROTO_ICMPV6 ? 40 : 0;
}

/* One entry of the error queue. False: there is none. *whose is the probe that it is about, or NULL. */
static bool
echo_error(const struct echo_socket *socket, struct probe **whose, int *error)
{
	uint8_t bytes[512], control[512];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(socket->fd, &message, MSG_ERRQUEUE);
	size_t skip;

	*whose = NULL;
	if (n < 0)
		return false;
	skip = echo_skip_ip6(socket, bytes, (size_t)n);
	for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at)) {
		struct sock_extended_err what;

		if (at->cmsg_type != (socket->six ? IPV6_RECVERR : IP_RECVERR) ||
		    at->cmsg_len < CMSG_LEN(sizeof(what)))
			continue;
		memcpy(&what, CMSG_DATA(at), sizeof(what));
		*whose = echo_probe(socket, bytes + skip, (size_t)n - skip,
		                    socket->six ? ICMPV6_ECHO_REQUEST : ICMP_ECHO, NULL);
		*error = (int)what.ee_errno;
		break;
	}
	return true;
}

/* The socket is everybody's: the kernel tells an error of one probe to whoever calls next, be it to
 * send another. So no error of a call is believed before the queue is empty, which says whose each
 * is. What is found about `sending` is left to the caller, in *own. Returns how many there were. */
static unsigned
echo_errors(const struct echo_socket *socket, const struct probe *sending, int *own)
{
	struct probe *whose;
	unsigned n = 0;
	int error = 0;

	while (n < ECHO_SLOTS && echo_error(socket, &whose, &error)) {
		n++;
		if (whose && whose == sending)
			*own = error;
		else if (whose)
			probe_error(whose, "echo", error);
	}
	return n;
}

static void
echo_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct echo_socket *socket = container_of(io, struct echo_socket, io);
	struct probes *engine = socket->echo->engine;
	int own = 0;

	(void)loop, (void)events;
	for (int i = 0; i < ECHO_AT_ONCE; i++) {
		struct sockaddr_storage from;
		socklen_t from_len = sizeof(from);
		uint8_t *at = (uint8_t *)engine->scratch;
		ssize_t n = recvfrom(socket->fd, at, PROBE_SCRATCH, 0, (struct sockaddr *)&from, &from_len);
		struct probe *probe;
		size_t skip;

		/* Woken, and nothing to read: then it is the queue of errors that woke us. */
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (i == 0)
				echo_errors(socket, NULL, &own);
			return;
		}
		if (n < 0) {
			echo_errors(socket, NULL, &own);
			continue;
		}
		skip = echo_skip_ip(socket, at, (size_t)n);
		probe = echo_probe(socket, at + skip, (size_t)n - skip,
		                   socket->six ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY, &from);
		if (probe)
			probe_take(probe, sy_span(at + skip + ECHO_HEAD, (size_t)n - skip - ECHO_HEAD),
			           false);
	}
}

static void
echo_filter(int fd, bool six)
{
	/* Raw sockets hear all ICMP of the machine; answers are all that is wanted. */
	if (six) {
		struct icmp6_filter filter;

		memset(&filter, 0xff, sizeof(filter));
		filter.data[ICMPV6_ECHO_REPLY >> 5] &= ~(1u << (ICMPV6_ECHO_REPLY & 31));
		(void)setsockopt(fd, IPPROTO_ICMPV6, ICMPV6_FILTER, &filter, sizeof(filter));
	} else {
		struct icmp_filter filter = { .data = ~(1u << ICMP_ECHOREPLY) };

		(void)setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter));
	}
}

static int
echo_socket_open(struct echo_socket *echo, bool six)
{
	int domain = six ? AF_INET6 : AF_INET, protocol = six ? IPPROTO_ICMPV6 : IPPROTO_ICMP, on = 1;
	int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;

	echo->six = six;
	echo->raw = false;
	echo->fd = socket(domain, SOCK_DGRAM | flags, protocol);
	if (echo->fd < 0 && errno != EAFNOSUPPORT) {
		echo->fd = socket(domain, SOCK_RAW | flags, protocol);
		echo->raw = true;
	}
	if (echo->fd < 0)
		return -1;
	if (echo->raw)
		echo_filter(echo->fd, six);
	(void)setsockopt(echo->fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_RECVERR : IP_RECVERR,
	                 &on, sizeof(on));
	ev_io_init(&echo->io, echo_ready, echo->fd, EV_READ);
	ev_io_start(echo->echo->engine->loop, &echo->io);
	return 0;
}

int
probes_need_echo(struct probes *engine, struct sy_err *err)
{
	struct probe_echo *echo = engine->echo;

	if (!echo) {
		echo = engine->echo = must_alloc(sizeof(*echo));
		memset(echo, 0, sizeof(*echo));
		echo->engine = engine;
		echo->id = (uint16_t)(engine->random >> 7);
		for (int i = 0; i < ECHO_FAMILIES; i++)
			echo->sockets[i] = (struct echo_socket){ .echo = echo, .fd = -1 };
	}
	for (int i = 0; i < ECHO_FAMILIES; i++)
		if (echo->sockets[i].fd < 0 && echo_socket_open(&echo->sockets[i], i == ECHO_V6) != 0 &&
		    errno != EAFNOSUPPORT)
			return sy_fail(err, "monitor icmp: no socket for ICMP can be opened (%s): allow it with "
			               "\"sysctl net.ipv4.ping_group_range='0 2147483647'\", or restart "
			               "steelyardd, so that its checker keeps CAP_NET_RAW", strerror(errno));
	return 0;
}

void
probe_echo_free(struct probes *engine)
{
	for (int i = 0; engine->echo && i < ECHO_FAMILIES; i++)
		if (engine->echo->sockets[i].fd >= 0) {
			ev_io_stop(engine->loop, &engine->echo->sockets[i].io);
			close(engine->echo->sockets[i].fd);
		}
	free(engine->echo);
	engine->echo = NULL;
}

/* 0, or the error that is this probe's own. */
static int
echo_transmit(struct probe *probe, const uint8_t *packet, size_t len)
{
	bool six = probe->question->to.family == SY_IPV6;
	const struct echo_socket *socket = &probe->engine->echo->sockets[six ? ECHO_V6 : ECHO_V4];
	struct sockaddr_storage name;
	struct sy_addr to = probe->question->to;
	socklen_t name_len;
	int error = 0;

	to.port = 0;
	name_len = socket_name(&to, &name);
	for (int tries = 0; tries < ECHO_TRIES; tries++) {
		int own = 0;

		if (sendto(socket->fd, packet, len, MSG_NOSIGNAL, (struct sockaddr *)&name, name_len) >= 0)
			return 0;
		error = errno;
		if (error == EINTR)
			continue;
		/* Nothing in the queue, and it is not the first time: nobody else's. */
		if (!echo_errors(socket, probe, &own) && tries > 0)
			return error;
		if (own)
			return own;
	}
	/* Errors of others come faster than this can be sent: that says nothing about this server. */
	return EAGAIN;
}

static void
icmp_number(struct probe *probe)
{
	struct probe_echo *echo = probe->engine->echo;

	for (unsigned i = 0; i < ECHO_SLOTS && !probe->echoing; i++) {
		probe->echo = echo->next++;
		if (echo->slots[probe->echo % ECHO_SLOTS])
			continue;
		echo->slots[probe->echo % ECHO_SLOTS] = probe;
		probe->echoing = true;
	}
	must(probe->echoing);
}

static void
icmp_send(struct probe *probe)
{
	bool six = probe->question->to.family == SY_IPV6;
	uint16_t id = probe->engine->echo->id, sum;
	size_t len = probe->out.len < ECHO_MOST ? probe->out.len : ECHO_MOST;
	uint8_t packet[ECHO_HEAD + ECHO_MOST];
	int error;

	icmp_number(probe);
	memset(packet, 0, ECHO_HEAD);
	packet[0] = six ? ICMPV6_ECHO_REQUEST : ICMP_ECHO;
	packet[4] = (uint8_t)(id >> 8);
	packet[5] = (uint8_t)id;
	packet[6] = (uint8_t)(probe->echo >> 8);
	packet[7] = (uint8_t)probe->echo;
	memcpy(packet + ECHO_HEAD, probe->out.at, len);
	sum = six ? 0 : echo_checksum(packet, ECHO_HEAD + len); /* of ICMPv6: by the kernel */
	packet[2] = (uint8_t)(sum >> 8);
	packet[3] = (uint8_t)sum;
	probe->out.len = 0;
	error = echo_transmit(probe, packet, ECHO_HEAD + len);
	if (error)
		probe_error(probe, "echo", error);
}

static void
icmp_open(struct probe *probe)
{
	bool six = probe->question->to.family == SY_IPV6;

	if (!probe->engine->echo || probe->engine->echo->sockets[six ? ECHO_V6 : ECHO_V4].fd < 0)
		probe_failed(probe, "no socket for ICMP");
	else
		probe_begin(probe);
}

const struct probe_transport probe_icmp = {
	.open = icmp_open,
	.send = icmp_send,
	.end = icmp_gone,
	.cut = icmp_gone,
	.late = icmp_gone,
};
