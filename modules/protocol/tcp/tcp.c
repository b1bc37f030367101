/* The smallest protocol: a connection is one exchange, relayed untouched. All that is done, the core
 * does. */
#include "api/module.h"
#include "api/protocol.h"

static const struct sy_protocol tcp = {
	.size = sizeof(tcp),
	.flags = SY_STREAMS,
	.load_unit = "connections",
};

SY_MODULE(SY_PROTOCOL, "tcp",
	.version = "1.0",
	.summary = "Passes a TCP connection through, whatever it carries.",
	.ops = &tcp,
);
