/* The smallest protocol for datagrams: a flow (what one client address and port say to one of ours) is
 * one exchange, passed through untouched. All that is done, the core does. */
#include "api/module.h"
#include "api/protocol.h"

static const struct sy_protocol udp = {
	.size = sizeof(udp),
	.flags = SY_DATAGRAMS,
	.load_unit = "connections",
};

SY_MODULE(SY_PROTOCOL, "udp",
	.version = "1.0",
	.summary = "Passes datagrams through, whatever they carry.",
	.ops = &udp,
);
