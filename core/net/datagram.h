/* Datagrams in batches: one system call receives up to DATAGRAMS of them, one sends as many, to
 * different clients. A batch is a fixed set of places; each has room for the largest datagram, and
 * memory is taken only as datagrams are long. Nothing here allocates after datagrams_new(). */
#ifndef NET_DATAGRAM_H
#define NET_DATAGRAM_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "api/addr.h"
#include "api/span.h"

enum {
	DATAGRAMS = 64,
	DATAGRAM_SIZE = 65536,    /* no UDP datagram is larger */
	DATAGRAM_CONTROL = 64,
};

struct mmsghdr;

/* A socket name, ready for the kernel. */
struct datagram_name {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
};

struct datagrams;

/* Never NULL. */
struct datagrams *datagrams_new(void);
void datagrams_free(struct datagrams *batch);

/* Receiving. At most one batch, without waiting; returns how many, 0: nothing (more) is there, or an
 * error that only says that some client is gone. `local`: the address that was used is wanted. */
unsigned datagrams_receive(struct datagrams *batch, int fd, bool local);
struct sy_span datagram_bytes(const struct datagrams *batch, unsigned i);
/* Who sent it. */
const struct datagram_name *datagram_from(const struct datagrams *batch, unsigned i);
/* The address that it was sent to; its port and, if the kernel did not say, all of it is `bound`. */
struct sy_addr datagram_local(const struct datagrams *batch, unsigned i,
                              const struct sy_addr *bound);
/* Sends datagrams first..first + n - 1 of a received batch on, over a connected socket. Returns how many
 * the kernel took; fewer than n: errno says why the next one was not. */
unsigned datagrams_pass(struct datagrams *batch, unsigned first, unsigned n, int fd);

/* Sending. The next free place: DATAGRAM_SIZE bytes to be filled; the batch must not be full. */
uint8_t *datagram_place(struct datagrams *batch);
/* The place is filled: to be sent from fd to a name. `local`: from this address of ours; NULL: from what
 * fd is bound to. True: the batch is full now. */
bool datagram_put(struct datagrams *batch, size_t len, int fd, const struct datagram_name *to,
                  const struct sy_addr *local);
/* Sends all. What the kernel does not take is lost, as datagrams are; returns how many. */
unsigned datagrams_flush(struct datagrams *batch);

bool datagram_addr(const struct datagram_name *name, struct sy_addr *out);

#endif
