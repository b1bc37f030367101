/*
 * addr.h: an IPv4 or IPv6 address with a port, or a UNIX socket's path, as text and as the kernel
 * wants it. Names are not resolved: the lab lives on addresses.
 */
#ifndef LAB_ADDR_H
#define LAB_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "text.h"

enum { ADDR_TEXT = 128 };

enum lab_transport {
	LAB_TCP,
	LAB_TLS,
	LAB_UDP,
};

struct lab_addr {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un local;
	};
	socklen_t len;
};

/* A network, from which clients take their own addresses one after the other. */
struct lab_net {
	struct lab_addr base;
	unsigned bits;
};

/* Reads "192.0.2.1" or "2001:db8::1" (also in brackets); the port is 0. */
int addr_parse_host(struct lab_addr *addr, const char *text, struct lab_err *err);

/* Reads "192.0.2.1:443" or "[2001:db8::1]:443". */
int addr_parse(struct lab_addr *addr, const char *text, struct lab_err *err);

/* Takes the path of a UNIX socket. */
int addr_parse_path(struct lab_addr *addr, const char *path, struct lab_err *err);

/* Reads "127.30.0.0/16" or one address. */
int addr_parse_net(struct lab_net *net, const char *text, struct lab_err *err);

/* The nth host of the network (from 0, beginning again when all are used), with port 0. */
void addr_nth(const struct lab_net *net, uint64_t n, struct lab_addr *addr);

void addr_set_port(struct lab_addr *addr, uint16_t port);

uint16_t addr_port(const struct lab_addr *addr);

bool addr_same_host(const struct lab_addr *a, const struct lab_addr *b);

/* "192.0.2.1:443", "[2001:db8::1]:443", "local" for a UNIX socket. Returns text. */
const char *addr_text(const struct lab_addr *addr, char text[static ADDR_TEXT]);

/* The same without port and brackets. Returns text. */
const char *addr_host_text(const struct lab_addr *addr, char text[static ADDR_TEXT]);

/* "tcp", "tls", "udp". */
const char *transport_name(enum lab_transport transport);

int transport_parse(enum lab_transport *transport, const char *text, struct lab_err *err);

#endif
