/* Persistence by a parameter of the query: /join?meeting=4711. */
#include "shown.h"

struct query_conf {
	struct shown_conf shown;
	const char *name;
};

static const struct sy_row query_rows[] = {
	SY_ROW(struct query_conf, name, "name", .flags = SY_REQUIRED,
	       .doc = "Name of the parameter, as it stands in the address; the first one of that name "
	              "counts."),
	SHOWN_ROWS(struct query_conf, "0"),
	SY_ROW_END
};

static int
query_check(void *conf, struct sy_err *err)
{
	const struct query_conf *query = conf;

	if (!*query->name || strpbrk(query->name, "&=#? \t\r\n"))
		return sy_fail(err, "name \"%.80s\": that is no name of a parameter", query->name);
	return 0;
}

static void
query_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	const struct query_conf *query = conf;
	const uint8_t *mark = facts->path.len ? memchr(facts->path.at, '?', facts->path.len) : NULL;
	size_t len = strlen(query->name);
	struct sy_span rest, part;

	out->len = 0;
	if (!mark)
		return;
	rest = sy_span(mark + 1, facts->path.len - (size_t)(mark - facts->path.at) - 1);
	while (sy_span_part(&rest, '&', &part)) {
		if (part.len <= len || part.at[len] != '=' || memcmp(part.at, query->name, len) != 0)
			continue;
		shown_key(sy_span(part.at + len + 1, part.len - len - 1), false, out);
		return;
	}
}

static const struct sy_persistence query = {
	.size = sizeof(query), .life = shown_life, .key = query_key, .print = shown_print,
};

SY_MODULE(SY_PERSISTENCE, "query",
	.version = "1.0",
	.summary = "Requests with the same value of a parameter of their query come to the same server; for "
	           "protocols that read HTTP.",
	.conf_size = sizeof(struct query_conf),
	.rows = query_rows,
	.check = query_check,
	.ops = &query,
);
