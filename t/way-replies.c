/* A protocol for tests of the way: one exchange after the other. */
#include "way-replies.h"

static const struct sy_protocol replies = {
	.size = sizeof(struct sy_protocol),
	.flags = SY_STREAMS | SY_SHARES,
	.load_unit = "requests",
	.session_size = sizeof(struct replies),
	.window = 200,
	.data = replies_data,
	.fail = replies_fail,
};

SY_MODULE(SY_PROTOCOL, "replies",
	.version = "1.0",
	.summary = "Lines, each a request.",
	.ops = &replies,
);
