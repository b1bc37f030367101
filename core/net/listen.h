/* Listening sockets: several for one address (SO_REUSEPORT slots), all options that accepted ones
 * inherit set here, once. */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include <stdbool.h>

#include "api/addr.h"
#include "api/err.h"

struct listen_how {
	struct sy_addr addr;      /* port 0: the system chooses */
	bool datagrams;           /* UDP */
	unsigned backlog;
	/* Others already have this address and port, and are ours. Without it, an address that any other
	 * socket of the machine uses is refused, even one that would share it with us: two instances by
	 * mistake are worse than none. */
	bool shared;
};

/* Binds and listens; *real gets the address with its port. -1 with errno and err ("cannot listen on
 * ADDRESS (udp): why"). Needs IP_FREEBIND only for addresses that this machine does not have. */
int listen_open(const struct listen_how *how, struct sy_addr *real, struct sy_err *err);

#endif
