/* Persistence by the client's address: who comes from the same network comes to the same server. */
#include "api/persistence.h"

#include <arpa/inet.h>

#include "forwarded.h"

enum { FIELD_X_FORWARDED_FOR, FIELD_FORWARDED };

struct source_conf {
	uint32_t mask4, mask6;
	struct sy_msec timeout;
	bool refresh;
	struct sy_nets forwarded_from; /* n 0: nobody tells of other clients */
	struct sy_choice forwarded_field;
};

static const char *const source_fields[] = { "x-forwarded-for", "forwarded", NULL };

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
	SY_ROW(struct source_conf, forwarded_from, "forwarded-from",
	       .doc = "Proxies in front of us: from these networks the client is the one that they name, "
	              "the rightmost address that is not theirs. For protocols that read HTTP."),
	SY_ROW(struct source_conf, forwarded_field, "forwarded-field", .words = source_fields,
	       .preset = "x-forwarded-for",
	       .doc = "Where they name it. A field that they do not write themselves is one that clients "
	              "can write."),
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
	struct sy_addr client = facts->client, net;

	if (source->forwarded_from.n && sy_nets_have(&source->forwarded_from, &client))
		forwarded_client(facts->head, source->forwarded_field.index == FIELD_FORWARDED,
		                 &source->forwarded_from, &client);
	out->len = client.family == SY_IPV4 ? 4 : client.family == SY_IPV6 ? 16 : 0;
	net = sy_addr_mask(client, out->len == 4 ? source->mask4 : source->mask6);
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
