#define _GNU_SOURCE 1
#include "net/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
	KEEPALIVE_IDLE_S = 60,    /* silence before the first probe: as listeners have it */
	KEEPALIVE_INTERVAL_S = 15,
	KEEPALIVE_PROBES = 4,
};

socklen_t
socket_name(const struct sy_addr *addr, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (void *)out;
	struct sockaddr_in6 *in6 = (void *)out;

	if (addr->family == SY_IPV4) {
		*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(addr->port) };
		memcpy(&in->sin_addr, addr->ip, 4);
		return sizeof(*in);
	}
	*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(addr->port) };
	memcpy(&in6->sin6_addr, addr->ip, 16);
	return sizeof(*in6);
}

bool
socket_addr(const struct sockaddr_storage *name, struct sy_addr *out)
{
	const struct sockaddr_in *in = (const void *)name;
	const struct sockaddr_in6 *in6 = (const void *)name;

	*out = (struct sy_addr){ .family = SY_NO_ADDR };
	if (name->ss_family == AF_INET) {
		out->family = SY_IPV4;
		out->port = ntohs(in->sin_port);
		memcpy(out->ip, &in->sin_addr, 4);
		return true;
	}
	if (name->ss_family != AF_INET6)
		return false;
	out->port = ntohs(in6->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		out->family = SY_IPV4;
		memcpy(out->ip, in6->sin6_addr.s6_addr + 12, 4);
	} else {
		out->family = SY_IPV6;
		memcpy(out->ip, &in6->sin6_addr, 16);
	}
	return true;
}

bool
socket_any(const struct sy_addr *addr)
{
	static const uint8_t none[16];

	return memcmp(addr->ip, none, sizeof(none)) == 0;
}

bool
socket_local(int fd, struct sy_addr *out)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);

	*out = (struct sy_addr){ .family = SY_NO_ADDR };
	return getsockname(fd, (struct sockaddr *)&name, &len) == 0 && socket_addr(&name, out);
}

static void
socket_set(int fd, int level, int option, int value)
{
	/* None of these can fail on a TCP socket that is alive, and a dead one does not need them. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

void
socket_nodelay(int fd)
{
	socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void
socket_keepalive(int fd)
{
	socket_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	socket_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	socket_set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
	socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

void
socket_datagram_options(int fd, unsigned family)
{
	bool six = family == SY_IPV6;

	socket_set(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_RECVERR : IP_RECVERR, 1);
	socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
}

void
socket_reset_on_close(int fd)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

int
socket_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return errno;
	return error;
}

/* Binds to `from`, which may be foreign. The same client port towards two services of one server
 * collides: then the caller asks for any port. */
static int
socket_bind(int fd, const struct outgoing *way, uint16_t port)
{
	struct sockaddr_storage name;
	struct sy_addr from = way->from;
	bool six = from.family == SY_IPV6;
	socklen_t len;

	from.port = port;
	len = socket_name(&from, &name);
	if (way->transparent) {
		int on = 1;

		if (setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
		               six ? IPV6_TRANSPARENT : IP_TRANSPARENT, &on, sizeof(on)) < 0)
			return -1;
	}
	if (port && (!way->datagrams || way->transparent || way->again))
		socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	else
		socket_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	return bind(fd, (struct sockaddr *)&name, len);
}

static int
socket_try(const struct outgoing *way, uint16_t port)
{
	struct sockaddr_storage name;
	socklen_t len = socket_name(&way->to, &name);
	int fd, error;

	fd = socket(name.ss_family,
	            (way->datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (way->from.family != SY_NO_ADDR && socket_bind(fd, way, port) < 0)
		goto fail;
	/* On a connecting socket, this lets the last ACK of the handshake wait for the data. */
	if (way->data_follows && !way->datagrams)
		socket_set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
	if (connect(fd, (struct sockaddr *)&name, len) < 0 && errno != EINPROGRESS)
		goto fail;
	return fd;
fail:
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int
socket_connect(const struct outgoing *way)
{
	int fd = socket_try(way, way->from.port);

	if (fd < 0 && way->from.port && (errno == EADDRINUSE || errno == EADDRNOTAVAIL))
		fd = socket_try(way, 0);
	return fd;
}
