/* Persistence by the name of the host that is asked for. */
#include "shown.h"

struct host_conf {
	struct shown_conf shown;
};

static const struct sy_row host_rows[] = {
	SHOWN_ROWS(struct host_conf, "0"),
	SY_ROW_END
};

/* Without the port behind it: "a.example:8080", "[2001:db8::1]:80". */
static struct sy_span
host_alone(struct sy_span host)
{
	const uint8_t *end;

	if (host.len && *host.at == '[') {
		end = memchr(host.at, ']', host.len);
		return end ? sy_span(host.at, (size_t)(end - host.at) + 1) : host;
	}
	end = host.len ? memchr(host.at, ':', host.len) : NULL;
	return end ? sy_span(host.at, (size_t)(end - host.at)) : host;
}

static void
host_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	struct sy_span host = host_alone(facts->host.len ? facts->host : facts->sni);

	(void)conf;
	/* A dot at the end names the same host. */
	if (host.len && host.at[host.len - 1] == '.')
		host.len--;
	shown_key(host, true, out);
}

static const struct sy_persistence host = {
	.size = sizeof(host), .life = shown_life, .key = host_key, .print = shown_print,
};

SY_MODULE(SY_PERSISTENCE, "host",
	.version = "1.0",
	.summary = "Requests for the same host come to the same server; the name that TLS asked for (SNI) "
	           "serves where the protocol knows no other.",
	.conf_size = sizeof(struct host_conf),
	.rows = host_rows,
	.ops = &host,
);
