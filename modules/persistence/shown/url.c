/* Persistence by the path that is asked for: each server keeps its own part of the pages in memory. */
#include "shown.h"

struct url_conf {
	struct shown_conf shown;
	uint32_t depth;
	bool query;
};

static const struct sy_row url_rows[] = {
	SY_ROW(struct url_conf, depth, "depth", .max = 64, .preset = "0",
	       .doc = "How many parts of the path count: with 1 all below /a come to one server. 0: all."),
	SY_ROW(struct url_conf, query, "query", .preset = "off",
	       .doc = "on: what stands behind the ? counts, too."),
	SHOWN_ROWS(struct url_conf, "0"),
	SY_ROW_END
};

static void
url_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	const struct url_conf *url = conf;
	struct sy_span path = facts->path;
	uint32_t depth = 0;

	for (size_t i = 0; i < path.len; i++) {
		if (path.at[i] == '?' && url->query && !url->depth)
			break;
		if (path.at[i] == '?' || path.at[i] == '#' ||
		    (path.at[i] == '/' && url->depth && depth++ == url->depth))
			path.len = i;
	}
	shown_key(path, false, out);
}

static const struct sy_persistence url = {
	.size = sizeof(url), .life = shown_life, .key = url_key, .print = shown_print,
};

SY_MODULE(SY_PERSISTENCE, "url",
	.version = "1.0",
	.summary = "Requests for the same path come to the same server; for protocols that read HTTP.",
	.conf_size = sizeof(struct url_conf),
	.rows = url_rows,
	.ops = &url,
);
