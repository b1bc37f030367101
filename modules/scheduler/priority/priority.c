/* Priority: the server with the highest weight takes all there is, until it fails or is full; then
 * the next. Servers of the same weight share. It is what LoadMaster calls fixed weighting: a main
 * server and a standby, not a proportion. */
#include "api/scheduler.h"

static int
priority_pick(const void *conf, const struct sy_set *set, const void *table,
              const struct sy_draw *draw)
{
	uint64_t random = draw->random, shares = 0;
	uint32_t highest = 0;
	int picked = -1;

	(void)conf, (void)table;
	for (uint32_t i = 0; i < set->n; i++) {
		const struct sy_server *server = &set->server[i];

		if (server->busy || server->weight < highest)
			continue;
		if (server->weight > highest) {
			highest = server->weight;
			shares = 0;
		}
		/* Among equals each new one takes its part from those before it. */
		shares += server->share;
		random = sy_again(random);
		if (random % shares < server->share)
			picked = (int)i;
	}
	return picked;
}

static void
priority_words(const void *conf, const struct sy_set *set, const void *table,
               const struct sy_draw *draw, uint32_t i, char *out, size_t len)
{
	const struct sy_server *server = &set->server[i];
	uint32_t above = 0, equal = 0;
	char weight[64];

	(void)conf, (void)table, (void)draw;
	for (uint32_t j = 0; j < set->n; j++) {
		above += !set->server[j].busy && set->server[j].weight > server->weight;
		equal += !set->server[j].busy && set->server[j].weight == server->weight && j != i;
	}
	sy_weight_words(server, weight, sizeof(weight));
	if (above)
		snprintf(out, len, "%s: stands by behind %u", weight, above);
	else if (equal)
		snprintf(out, len, "%s: the highest, shared with %u", weight, equal);
	else
		snprintf(out, len, "%s: the highest", weight);
}

static const struct sy_scheduler priority = {
	.size = sizeof(struct sy_scheduler),
	.pick = priority_pick,
	.words = priority_words,
};

SY_MODULE(SY_SCHEDULER, "priority",
	.version = "1.0",
	.summary = "The server with the highest weight takes all until it fails; equals share.",
	.ops = &priority,
);
