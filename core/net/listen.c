#define _GNU_SOURCE 1
#include "net/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "net/socket.h"

enum {
	LISTEN_KEEPALIVE_IDLE = 60, /* seconds; below the 5 minutes of common firewalls and NATs */
	LISTEN_KEEPALIVE_EVERY = 15,
	LISTEN_KEEPALIVE_PROBES = 4,
	LISTEN_UDP_BUFFER = 4 << 20,
};

static int
listen_set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

static int
listen_options_tcp(int fd)
{
	/* SO_REUSEADDR: connections of the run before may still be in TIME_WAIT. */
	return listen_set(fd, SOL_SOCKET, SO_REUSEADDR, 1) |
	       listen_set(fd, IPPROTO_TCP, TCP_NODELAY, 1) |
	       listen_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) |
	       listen_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, LISTEN_KEEPALIVE_IDLE) |
	       listen_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, LISTEN_KEEPALIVE_EVERY) |
	       listen_set(fd, IPPROTO_TCP, TCP_KEEPCNT, LISTEN_KEEPALIVE_PROBES);
}

static int
listen_options_udp(int fd, bool ipv6)
{
	/* Bursts; the first is for root, the second is cut to the system's limit. */
	if (listen_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, LISTEN_UDP_BUFFER) != 0)
		listen_set(fd, SOL_SOCKET, SO_RCVBUF, LISTEN_UDP_BUFFER);
	/* A reply must leave from the very address that the client used. */
	return ipv6 ? listen_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
	            : listen_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

static int
listen_options(int fd, const struct listen_how *how)
{
	bool ipv6 = how->addr.family == SY_IPV6;

	if (ipv6 && listen_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) != 0)
		return -1;
	/* A standby node holds addresses that it does not have yet. */
	if (ipv6 ? listen_set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
	         : listen_set(fd, IPPROTO_IP, IP_FREEBIND, 1))
		return -1;
	if (how->shared && listen_set(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0)
		return -1;
	return how->datagrams ? listen_options_udp(fd, ipv6) : listen_options_tcp(fd);
}

static int
listen_bind(int fd, const struct listen_how *how, struct sy_addr *real)
{
	struct sockaddr_storage name;
	socklen_t len = socket_name(&how->addr, &name);

	if (listen_options(fd, how) != 0)
		return -1;
	if (bind(fd, (const struct sockaddr *)&name, len) != 0)
		return -1;
	/* Bound alone to see that nobody else is there; from now on our own may join. */
	if (!how->shared && listen_set(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0)
		return -1;
	if (!how->datagrams && listen(fd, (int)how->backlog) != 0)
		return -1;
	if (!socket_local(fd, real)) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return 0;
}

static const char *
listen_why(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "another program (or another instance of this one) uses it";
	case EACCES:
		return "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE";
	case EAFNOSUPPORT:
		return "this machine has IPv6 switched off";
	default:
		return strerror(error);
	}
}

int
listen_open(const struct listen_how *how, struct sy_addr *real, struct sy_err *err)
{
	char text[ADDR_TEXT_SIZE];
	int fd, error;

	fd = socket(how->addr.family == SY_IPV6 ? AF_INET6 : AF_INET,
	            (how->datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && listen_bind(fd, how, real) == 0)
		return fd;
	error = errno;
	if (fd >= 0)
		close(fd);
	sy_fail(err, "cannot listen on %s%s: %s", addr_text(&how->addr, text),
	        how->datagrams ? " (udp)" : "", listen_why(error));
	errno = error;
	return -1;
}
