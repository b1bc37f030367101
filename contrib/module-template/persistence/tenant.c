/* Persistence by what the protocol calls the session: all connections of one tenant come to the
 * same server. */
#include <api/persistence.h>

struct tenant_conf {
	struct sy_msec timeout;
};

static const struct sy_row tenant_rows[] = {
	SY_ROW(struct tenant_conf, timeout, "timeout", .min = SY_SECOND, .max = SY_DAY,
	       .preset = "1h",
	       .doc = "How long a tenant is remembered after its last connection."),
	SY_ROW_END
};

static struct sy_persist_life
tenant_life(const void *conf)
{
	const struct tenant_conf *tenant = conf;

	return (struct sy_persist_life){ .timeout_ms = tenant->timeout.ms, .refresh = true };
}

/* Of names that are longer than a key can be, the beginning counts. No name, no key. */
static void
tenant_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	struct sy_span name = facts->session;

	(void)conf;
	out->len = (uint8_t)(name.len < SY_KEY_MAX ? name.len : SY_KEY_MAX);
	if (out->len)
		memcpy(out->bytes, name.at, out->len);
}

static const char *
tenant_print(const void *conf, const struct sy_key *key, char *out, size_t len)
{
	(void)conf;
	snprintf(out, len, "tenant %.*s", key->len, (const char *)key->bytes);
	return out;
}

static const struct sy_persistence tenant = {
	.size = sizeof(struct sy_persistence),
	.life = tenant_life,
	.key = tenant_key,
	.print = tenant_print,
};

SY_MODULE(SY_PERSISTENCE, "tenant",
	.version = "1.0",
	.summary = "Connections of one tenant (see protocol tenant) come to the same server.",
	.conf_size = sizeof(struct tenant_conf),
	.rows = tenant_rows,
	.ops = &tenant,
);
