/* Pack: fill the first server up to a load, then the next; when all are that full, the one with the
 * least to do. For machines that are switched on when they are needed. */
#include <api/scheduler.h>

struct pack_conf {
	uint32_t load;
};

static const struct sy_row pack_rows[] = {
	SY_ROW(struct pack_conf, load, "load", .min = 1, .max = 1000000, .preset = "100",
	       .doc = "A server of weight 100 is full with so much to do."),
	SY_ROW_END
};

static bool
pack_full(const struct pack_conf *conf, const struct sy_server *server)
{
	return server->load * (uint64_t)100 * SY_FULL_SHARE >=
	       conf->load * sy_effective_weight(server);
}

static int
pack_pick(const void *conf, const struct sy_set *set, const void *table, const struct sy_draw *draw)
{
	int least = -1;

	(void)table, (void)draw;
	for (uint32_t i = 0; i < set->n; i++) {
		const struct sy_server *server = &set->server[i];

		if (server->busy)
			continue;
		if (!pack_full(conf, server))
			return (int)i;
		if (least < 0 || sy_less_loaded(server, &set->server[least]))
			least = (int)i;
	}
	return least;
}

static void
pack_words(const void *conf, const struct sy_set *set, const void *table,
           const struct sy_draw *draw, uint32_t i, char *out, size_t len)
{
	const struct sy_server *server = &set->server[i];

	(void)table, (void)draw;
	snprintf(out, len, "load %u, %s", server->load,
	         pack_full(conf, server) ? "full" : "has room");
}

static const struct sy_scheduler pack = {
	.size = sizeof(struct sy_scheduler),
	.wants = SY_WANT_LOAD,
	.pick = pack_pick,
	.words = pack_words,
};

SY_MODULE(SY_SCHEDULER, "pack",
	.version = "1.0",
	.summary = "Fills one server after the other up to a load.",
	.conf_size = sizeof(struct pack_conf),
	.rows = pack_rows,
	.ops = &pack,
);
