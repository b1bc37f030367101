#include "addr.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

int
addr_parse_host(struct lab_addr *addr, const char *text, struct lab_err *err)
{
	char host[INET6_ADDRSTRLEN];
	size_t len = strlen(text);

	memset(addr, 0, sizeof(*addr));
	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len < sizeof(host)) {
		memcpy(host, text, len);
		host[len] = 0;
		if (inet_pton(AF_INET, host, &addr->v4.sin_addr) == 1) {
			addr->v4.sin_family = AF_INET;
			addr->len = sizeof(addr->v4);
			return 0;
		}
		if (inet_pton(AF_INET6, host, &addr->v6.sin6_addr) == 1) {
			addr->v6.sin6_family = AF_INET6;
			addr->len = sizeof(addr->v6);
			return 0;
		}
	}
	return err_set(err, "\"%s\" is not an IPv4 or IPv6 address", text);
}

int
addr_parse(struct lab_addr *addr, const char *text, struct lab_err *err)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	uint64_t port;

	if (!colon || (size_t)(colon - text) >= sizeof(host) ||
	    (memchr(text, ':', (size_t)(colon - text)) && text[0] != '['))
		return err_set(err,
			       "\"%s\" is not an address with a port, such as 192.0.2.1:443 "
			       "or [2001:db8::1]:443",
			       text);
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = 0;
	if (text_number(colon + 1, 1, UINT16_MAX, &port, err) || addr_parse_host(addr, host, err))
		return -1;
	addr_set_port(addr, (uint16_t)port);
	return 0;
}

int
addr_parse_path(struct lab_addr *addr, const char *path, struct lab_err *err)
{
	size_t len = strlen(path);

	memset(addr, 0, sizeof(*addr));
	if (!len || len >= sizeof(addr->local.sun_path))
		return err_set(err, "\"%s\" cannot be the path of a socket: 1 to %zu characters",
			       path, sizeof(addr->local.sun_path) - 1);
	addr->local.sun_family = AF_UNIX;
	memcpy(addr->local.sun_path, path, len + 1);
	addr->len = sizeof(addr->local);
	return 0;
}

int
addr_parse_net(struct lab_net *net, const char *text, struct lab_err *err)
{
	char host[INET6_ADDRSTRLEN + 2];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	uint64_t bits, all;

	if (len >= sizeof(host))
		return err_set(err, "\"%s\" is not a network such as 127.30.0.0/16", text);
	memcpy(host, text, len);
	host[len] = 0;
	if (addr_parse_host(&net->base, host, err))
		return -1;
	all = net->base.any.sa_family == AF_INET ? 32 : 128;
	bits = all;
	if (slash && text_number(slash + 1, 1, all, &bits, err))
		return -1;
	net->bits = (unsigned)bits;
	return 0;
}

void
addr_nth(const struct lab_net *net, uint64_t n, struct lab_addr *addr)
{
	unsigned all = net->base.any.sa_family == AF_INET ? 32 : 128;
	unsigned free_bits = all - net->bits;
	uint64_t hosts, low;

	*addr = net->base;
	addr_set_port(addr, 0);
	if (!free_bits)
		return;
	/* The first address of a network is never handed out, and in IPv4 neither is the last. */
	hosts = (UINT64_C(1) << (free_bits > 32 ? 32 : free_bits)) - (all == 32 ? 2 : 1);
	n = hosts ? n % hosts + 1 : n % 2;
	if (all == 32) {
		low = ntohl(addr->v4.sin_addr.s_addr) & ~((UINT64_C(1) << free_bits) - 1);
		addr->v4.sin_addr.s_addr = htonl((uint32_t)(low + n));
		return;
	}
	memcpy(&low, addr->v6.sin6_addr.s6_addr + 8, sizeof(low));
	low = htobe64(be64toh(low) + n);
	memcpy(addr->v6.sin6_addr.s6_addr + 8, &low, sizeof(low));
}

void
addr_set_port(struct lab_addr *addr, uint16_t port)
{
	if (addr->any.sa_family == AF_INET)
		addr->v4.sin_port = htons(port);
	else if (addr->any.sa_family == AF_INET6)
		addr->v6.sin6_port = htons(port);
}

uint16_t
addr_port(const struct lab_addr *addr)
{
	if (addr->any.sa_family == AF_INET)
		return ntohs(addr->v4.sin_port);
	return addr->any.sa_family == AF_INET6 ? ntohs(addr->v6.sin6_port) : 0;
}

bool
addr_same_host(const struct lab_addr *a, const struct lab_addr *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return !memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr));
}

const char *
addr_host_text(const struct lab_addr *addr, char text[static ADDR_TEXT])
{
	if (addr->any.sa_family == AF_INET)
		inet_ntop(AF_INET, &addr->v4.sin_addr, text, ADDR_TEXT);
	else if (addr->any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &addr->v6.sin6_addr, text, ADDR_TEXT);
	else
		strcpy(text, "local");
	return text;
}

const char *
addr_text(const struct lab_addr *addr, char text[static ADDR_TEXT])
{
	char host[ADDR_TEXT];

	addr_host_text(addr, host);
	if (addr->any.sa_family == AF_INET)
		snprintf(text, ADDR_TEXT, "%.64s:%u", host, addr_port(addr));
	else if (addr->any.sa_family == AF_INET6)
		snprintf(text, ADDR_TEXT, "[%.64s]:%u", host, addr_port(addr));
	else
		strcpy(text, host);
	return text;
}

static const char *const transport_names[] = {"tcp", "tls", "udp"};

const char *
transport_name(enum lab_transport transport)
{
	return transport_names[transport];
}

int
transport_parse(enum lab_transport *transport, const char *text, struct lab_err *err)
{
	for (int i = LAB_TCP; i <= LAB_UDP; i++) {
		if (!strcmp(transport_names[i], text)) {
			*transport = (enum lab_transport)i;
			return 0;
		}
	}
	return err_set(err, "\"%s\" is not a transport: tcp, tls or udp", text);
}
