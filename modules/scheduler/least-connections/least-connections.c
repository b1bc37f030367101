/* Least connections: the server with the least to do for its weight. The load is what all workers
 * have open at this moment, counted in the protocol's unit, so the choice is exact; it is compared
 * as if each server got one more, so that among idle ones the heavier goes first. */
#include "api/scheduler.h"

static int
least_pick(const void *conf, const struct sy_set *set, const void *table,
           const struct sy_draw *draw)
{
	uint64_t random = draw->random;
	uint32_t ties = 0;
	int best = -1;

	(void)conf, (void)table;
	for (uint32_t i = 0; i < set->n; i++) {
		const struct sy_server *server = &set->server[i];

		if (server->busy || (best >= 0 && sy_less_loaded(&set->server[best], server)))
			continue;
		if (best < 0 || sy_less_loaded(server, &set->server[best]))
			ties = 0;
		/* Ties are drawn, not taken in order: several workers that choose at the same
		 * moment would all run to the first. */
		random = sy_again(random);
		if (random % ++ties == 0)
			best = (int)i;
	}
	return best;
}

static void
least_words(const void *conf, const struct sy_set *set, const void *table,
            const struct sy_draw *draw, uint32_t i, char *out, size_t len)
{
	const struct sy_server *server = &set->server[i];
	uint32_t less = 0;
	char weight[64];

	(void)conf, (void)table, (void)draw;
	for (uint32_t j = 0; j < set->n; j++)
		less += !set->server[j].busy && sy_less_loaded(&set->server[j], server);
	sy_weight_words(server, weight, sizeof(weight));
	snprintf(out, len, "load %u, %s: %u have less to do", server->load, weight, less);
}

static const struct sy_scheduler least = {
	.size = sizeof(struct sy_scheduler),
	.wants = SY_WANT_LOAD,
	.pick = least_pick,
	.words = least_words,
};

SY_MODULE(SY_SCHEDULER, "least-connections",
	.version = "1.0",
	.summary = "The server with the least to do for its weight, exact over all workers.",
	.ops = &least,
);
