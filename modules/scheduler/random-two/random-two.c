/* Random-two: draw two servers by weight, take the one with less to do. Nearly as even as looking
 * at all of them, and balancers that do not know of each other never all run to the same server
 * (Mitzenmacher 2001, "The power of two choices in randomized load balancing"). */
#include "api/scheduler.h"

static int
random_two_pick(const void *conf, const struct sy_set *set, const void *table,
                const struct sy_draw *draw)
{
	int one = sy_pick_by_weight(set, draw->random, -1);
	int two = sy_pick_by_weight(set, sy_again(draw->random), one);

	(void)conf, (void)table;
	if (two >= 0 && sy_less_loaded(&set->server[two], &set->server[one]))
		return two;
	return one;
}

static void
random_two_words(const void *conf, const struct sy_set *set, const void *table,
                 const struct sy_draw *draw, uint32_t i, char *out, size_t len)
{
	int one = sy_pick_by_weight(set, draw->random, -1);
	int two = sy_pick_by_weight(set, sy_again(draw->random), one);
	const char *drawn = (int)i == one   ? "drawn first"
	                    : (int)i == two ? "drawn second"
	                                    : "not drawn";
	char weight[64];

	(void)conf, (void)table;
	sy_weight_words(&set->server[i], weight, sizeof(weight));
	snprintf(out, len, "%s, load %u, %s", drawn, set->server[i].load, weight);
}

static const struct sy_scheduler random_two = {
	.size = sizeof(struct sy_scheduler),
	.wants = SY_WANT_LOAD,
	.pick = random_two_pick,
	.words = random_two_words,
};

SY_MODULE(SY_SCHEDULER, "random-two",
	.version = "1.0",
	.summary = "Draws two servers by weight and takes the one with less to do.",
	.ops = &random_two,
);
