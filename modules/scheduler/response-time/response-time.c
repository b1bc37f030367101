/* Response time: the smoothed time to connect or to the first byte, times what a server has to do,
 * for its weight. One that nobody knows yet is taken for as fast as the fastest, so it gets its
 * first exchanges; one that was slow once would never be asked again, so a few exchanges go to
 * whoever the weights say (`explore`). */
#include "api/scheduler.h"

struct response_conf {
	uint32_t explore;
};

static const struct sy_row response_rows[] = {
	SY_ROW(struct response_conf, explore, "explore", .max = 1000000, .preset = "64",
	       .doc = "One exchange in this many goes to a server drawn by weight alone, so that "
	              "one that was slow is measured again; 0: none does."),
	SY_ROW_END
};

/* The best time that is known; 1 when none is: then the load decides. */
static double
response_best(const struct sy_set *set)
{
	uint32_t best = 0;

	for (uint32_t i = 0; i < set->n; i++) {
		uint32_t us = set->server[i].response_us;

		if (us && (!best || us < best))
			best = us;
	}
	return best ? best : 1;
}

static double
response_score(const struct sy_server *server, double best)
{
	double us = server->response_us ? server->response_us : best;

	return us * (server->load + 1.0) / (double)sy_effective_weight(server);
}

static bool
response_explores(const struct response_conf *conf, const struct sy_draw *draw)
{
	return conf->explore && draw->random % conf->explore == 0;
}

static int
response_pick(const void *conf, const struct sy_set *set, const void *table,
              const struct sy_draw *draw)
{
	double fastest = response_best(set), least = 0;
	uint64_t random = sy_again(draw->random);
	uint32_t ties = 0;
	int best = -1;

	(void)table;
	if (response_explores(conf, draw))
		return sy_pick_by_weight(set, random, -1);
	for (uint32_t i = 0; i < set->n; i++) {
		double score = response_score(&set->server[i], fastest);

		if (set->server[i].busy || (best >= 0 && score > least))
			continue;
		if (best < 0 || score < least)
			ties = 0;
		least = score;
		random = sy_again(random);
		if (random % ++ties == 0)
			best = (int)i;
	}
	return best;
}

static void
response_words(const void *conf, const struct sy_set *set, const void *table,
               const struct sy_draw *draw, uint32_t i, char *out, size_t len)
{
	const struct sy_server *server = &set->server[i];
	char weight[64], time[48] = "not known yet";

	(void)table;
	if (server->response_us)
		snprintf(time, sizeof(time), "%u.%03u ms", server->response_us / 1000,
		         server->response_us % 1000);
	sy_weight_words(server, weight, sizeof(weight));
	snprintf(out, len, "response time %s, load %u, %s%s", time, server->load, weight,
	         response_explores(conf, draw) ? "; this one explores" : "");
}

static const struct sy_scheduler response = {
	.size = sizeof(struct sy_scheduler),
	.wants = SY_WANT_LOAD | SY_WANT_RESPONSE,
	.pick = response_pick,
	.words = response_words,
};

SY_MODULE(SY_SCHEDULER, "response-time",
	.version = "1.0",
	.summary = "The server that answers fastest for what it has to do and its weight.",
	.conf_size = sizeof(struct response_conf),
	.rows = response_rows,
	.ops = &response,
);
