/* Sockets of connections: names, options, and how an outgoing one is made. Nothing here blocks or
 * allocates. */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "api/addr.h"

/* Fills `out` for the kernel; returns its length. */
socklen_t socket_name(const struct sy_addr *addr, struct sockaddr_storage *out);
/* What the kernel says, as an address of ours: IPv4-mapped becomes IPv4. False when it is neither. */
bool socket_addr(const struct sockaddr_storage *name, struct sy_addr *out);
/* 0.0.0.0 or ::, whatever the port. */
bool socket_any(const struct sy_addr *addr);
/* Our end of a socket; false when the kernel does not say. */
bool socket_local(int fd, struct sy_addr *out);

/* The kernel inherits these from a listener to what it accepts, so only outgoing sockets pay. */
void socket_nodelay(int fd);
void socket_keepalive(int fd);
/* For a connected UDP socket: errors of all kinds are told, and its address and port may be used by
 * whoever goes on with it. */
void socket_datagram_options(int fd, unsigned family);
/* The next close() sends a reset instead of an orderly end. */
void socket_reset_on_close(int fd);
/* What went wrong with a connection, 0 for nothing; clears it. */
int socket_error(int fd);

struct outgoing {
	struct sy_addr to;
	struct sy_addr from;      /* SY_NO_ADDR: the system chooses; port 0: any port */
	bool transparent;         /* `from` need not be an address of this machine */
	bool datagrams;           /* UDP */
	bool again;               /* `from` is an address and port that is ours, maybe still in use */
	bool data_follows;        /* bytes will be sent at once: they can carry the handshake's last ACK */
};

/* A non-blocking socket that is connected or connecting, or -1 with errno. When `from` with its port
 * is taken, another port of the same address is used. */
int socket_connect(const struct outgoing *way);

#endif
