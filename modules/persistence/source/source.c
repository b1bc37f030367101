/* Persistence by the client's address: who comes from the same network comes to the same server. */
#include "api/persistence.h"

#include <arpa/inet.h>

struct source_conf {
	uint32_t mask4, mask6;
	struct sy_msec timeout;
	bool refresh;
};

static const struct sy_row source_rows[] = {
	SY_ROW(struct source_conf, mask4, "mask4", .min = 1, .max = 32, .preset = "32",
	       .doc = "Bits of an IPv4 address that count: 24 takes a network of 256 for one "
	              "client."),
	SY_ROW(struct source_conf, mask6, "mask6", .min = 1, .max = 128, .preset = "64",
	       .doc = "Bits of an IPv6 address that count: 64 takes the network of a host for "
	              "one client, because hosts change the rest."),
	SY_ROW(struct source_conf, timeout, "timeout", .min = SY_SECOND, .max = 28 * SY_DAY,
	       .preset = "20m", .doc = "How long a client is remembered."),
	SY_ROW(struct source_conf, refresh, "refresh", .preset = "on",
	       .doc = "Each exchange starts the time anew."),
	SY_ROW_END
};

static struct sy_persist_life
source_life(const void *conf)
{
	const struct source_conf *source = conf;

	return (struct sy_persist_life){
		.timeout_ms = source->timeout.ms,
		.refresh = source->refresh,
	};
}

/* The network of the client: 4 or 16 bytes. */
static void
source_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	const struct source_conf *source = conf;
	uint8_t family = facts->client.family;
	struct sy_addr net;

	out->len = family == SY_IPV4 ? 4 : family == SY_IPV6 ? 16 : 0;
	net = sy_addr_mask(facts->client, out->len == 4 ? source->mask4 : source->mask6);
	memcpy(out->bytes, net.ip, out->len);
}

static const char *
source_print(const void *conf, const struct sy_key *key, char *out, size_t len)
{
	const struct source_conf *source = conf;
	bool four = key->len == 4;
	uint32_t bits = four ? source->mask4 : source->mask6;
	char ip[INET6_ADDRSTRLEN] = "?";

	if (four || key->len == 16)
		inet_ntop(four ? AF_INET : AF_INET6, key->bytes, ip, sizeof(ip));
	if (bits == (four ? 32 : 128))
		snprintf(out, len, "%s", ip);
	else
		snprintf(out, len, "%s/%u", ip, bits);
	return out;
}

static const struct sy_persistence source = {
	.size = sizeof(struct sy_persistence),
	.life = source_life,
	.key = source_key,
	.print = source_print,
};

SY_MODULE(SY_PERSISTENCE, "source",
	.version = "1.0",
	.summary = "Clients of one address, or of one network, come to the same server.",
	.conf_size = sizeof(struct source_conf),
	.rows = source_rows,
	.ops = &source,
);
