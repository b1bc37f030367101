/* Round-robin: one after the other, as often as the weights say, and evenly mixed: weights 5, 1, 1
 * give a a b a a c a, not a a a a a b c.
 *
 * Nothing is remembered between picks. The servers are the leaves of a tree. The k-th exchange that
 * comes to a node with weight l on its left and s in all finds that ceil(k * l / s) of those before
 * it went left, and goes left itself when that number grows with it. So the k-th pick takes
 * log2(n) steps for any weights, and over s picks each server gets exactly its weight. */
#include "api/scheduler.h"

/* The table: sum[i] is the weight of all servers before i. */
static size_t
round_table_size(const void *conf, const struct sy_set *set)
{
	(void)conf;
	return (set->n + 1) * sizeof(uint64_t);
}

static void
round_build(const void *conf, const struct sy_set *set, void *table)
{
	uint64_t *sum = table;

	(void)conf;
	sum[0] = 0;
	for (uint32_t i = 0; i < set->n; i++)
		sum[i + 1] = sum[i] + set->server[i].weight;
}

/* How many of the first k went left. */
static uint64_t
round_left(uint64_t k, uint64_t left, uint64_t all)
{
	return (k * left + all - 1) / all;
}

/* Whose turn the k-th is. */
static uint32_t
round_turn(const uint64_t *sum, uint32_t n, uint64_t k)
{
	uint32_t from = 0, to = n;

	k %= sum[n];
	while (to - from > 1) {
		uint32_t middle = from + (to - from) / 2;
		uint64_t left = sum[middle] - sum[from], all = sum[to] - sum[from];
		uint64_t before = round_left(k, left, all);

		if (round_left(k + 1, left, all) > before) {
			to = middle;
			k = before;
		} else {
			from = middle;
			k -= before;
		}
	}
	return from;
}

static int
round_pick(const void *conf, const struct sy_set *set, const void *table,
           const struct sy_draw *draw)
{
	const struct sy_server *server;
	uint32_t turn;

	(void)conf;
	if (set->n == 0)
		return -1;
	turn = round_turn(table, set->n, draw->sequence);
	server = &set->server[turn];
	/* In slow start a server takes its share of its turns. What it leaves, and all that a busy
	 * one leaves, is drawn by effective weight: that makes the proportions exact again. */
	if (!server->busy && draw->random % SY_FULL_SHARE < server->share)
		return (int)turn;
	return sy_pick_by_weight(set, sy_again(draw->random), -1);
}

static void
round_words(const void *conf, const struct sy_set *set, const void *table,
            const struct sy_draw *draw, uint32_t i, char *out, size_t len)
{
	const uint64_t *sum = table;
	bool turn = round_turn(sum, set->n, draw->sequence) == i;
	char weight[64];

	(void)conf;
	sy_weight_words(&set->server[i], weight, sizeof(weight));
	snprintf(out, len, "%s of %llu%s", weight, (unsigned long long)sum[set->n],
	         turn ? ", its turn" : "");
}

static const struct sy_scheduler round_robin = {
	.size = sizeof(struct sy_scheduler),
	.table_size = round_table_size,
	.build = round_build,
	.pick = round_pick,
	.words = round_words,
};

SY_MODULE(SY_SCHEDULER, "round-robin",
	.version = "1.0",
	.summary = "One server after the other, as often as the weights say, evenly mixed.",
	.ops = &round_robin,
);
