/* Sends an ICMP echo request ("ping") and waits for the same bytes to come back. */
#include <string.h>

#include "api/monitor.h"

enum { ICMP_MOST = 1472, ICMP_LEAST = 8 };

struct icmp_conf {
	uint32_t size;
};

static const struct sy_row icmp_rows[] = {
	SY_ROW(struct icmp_conf, size, "size", .min = ICMP_LEAST, .max = ICMP_MOST, .preset = "56",
	       .doc = "Bytes in the packet, without headers."),
	SY_ROW_END
};

struct icmp_state {
	uint8_t bytes[ICMP_MOST];
};

static struct sy_probe_plan
icmp_plan(const void *conf)
{
	(void)conf;
	return (struct sy_probe_plan){ .transport = SY_OVER_ICMP };
}

static struct sy_probe_step
icmp_start(const void *conf, void *state, const struct sy_probe *probe)
{
	const struct icmp_conf *icmp = conf;
	struct icmp_state *sent = state;
	uint64_t random = probe->random;

	/* Not to be mistaken for the answer to another probe, and not all the same byte. */
	for (uint32_t i = 0; i < icmp->size; i++) {
		if (i % 8 == 0)
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		sent->bytes[i] = (uint8_t)(random >> (56 - i % 8 * 7));
	}
	return (struct sy_probe_step){ .what = SY_PROBE_SEND,
	                               .bytes = sy_span(sent->bytes, icmp->size) };
}

static struct sy_probe_step
icmp_data(const void *conf, void *state, const struct sy_probe *probe, struct sy_span in, bool closed)
{
	const struct icmp_conf *icmp = conf;
	const struct icmp_state *sent = state;

	(void)probe, (void)closed;
	if (in.len == icmp->size && memcmp(in.at, sent->bytes, in.len) == 0)
		return sy_judge(SY_PROBE_UP, "echo received");
	return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
}

static const struct sy_monitor icmp_ops = {
	.size = sizeof(icmp_ops),
	.state_size = sizeof(struct icmp_state),
	.plan = icmp_plan,
	.start = icmp_start,
	.data = icmp_data,
};

SY_MODULE(SY_MONITOR, "icmp",
	.version = "1.0",
	.summary = "Sends an ICMP or ICMPv6 echo request and waits for the answer.",
	.conf_size = sizeof(struct icmp_conf),
	.rows = icmp_rows,
	.ops = &icmp_ops);
