/* The schedulers, through dlopen: what all of them promise, and what each one is for. The hash has a
 * file of its own. */
#define _GNU_SOURCE 1
#include "schedulers.h"

static const char *const names[] = {
	"least-connections", "priority", "random-two", "response-time", "round-robin",
	"source-hash",
};

/* ---- what all promise ---- */

static void
test_retries(const char *name, uint32_t n)
{
	struct run run = begin(name, "", n, NULL);
	bool seen[MOST] = { false };
	uint32_t different = 0;
	int at;

	run.draw = (struct sy_draw){ .key = 77, .random = 12345678901234567u, .sequence = 9 };
	while ((at = pick_again(&run)) >= 0 && different <= n) {
		different += !seen[at] && !servers[at].busy;
		seen[at] = true;
		servers[at].busy = true;
	}
	is_uint(different, n, "%s: with the same draw, each of %u is tried once, then none", name,
	        n);
}

static void
test_pure(const char *name)
{
	static const uint32_t weights[] = { 10, 200, 3, 77, 100 };
	struct run run = begin(name, "", 5, weights);
	struct sy_server copy[5];
	void *table = arena_alloc(arena, run.table_size + 1);
	bool same = true;

	for (unsigned i = 0; i < 5; i++) {
		servers[i].load = i * 7;
		servers[i].response_us = i * 1000;
		servers[i].share = i == 2 ? 40 : SY_FULL_SHARE;
	}
	memcpy(copy, servers, sizeof(copy));
	if (run.table)
		memcpy(table, run.table, run.table_size);
	for (unsigned i = 0; i < 1000; i++, run.draw.sequence++)
		same &= pick(&run) == pick_again(&run);
	ok(same, "%s: the same inputs give the same answer", name);
	ok(memcmp(copy, servers, sizeof(copy)) == 0 &&
	   (!run.table || memcmp(table, run.table, run.table_size) == 0),
	   "%s: changes nothing", name);
	build(&run);
	ok(!run.table || memcmp(table, run.table, run.table_size) == 0,
	   "%s: the same set gives the same table", name);
}

static void
test_none(const char *name)
{
	struct run run = begin(name, "", 0, NULL);

	is_int(pick(&run), -1, "%s: nobody of nobody", name);
	run = begin(name, "", 3, NULL);
	for (unsigned i = 0; i < 3; i++)
		servers[i].busy = true;
	is_int(pick(&run), -1, "%s: nobody when all are busy", name);
	servers[1].busy = false;
	servers[1].share = 1;
	is_int(pick(&run), 1, "%s: the only one left, however slow it starts", name);
	run = begin(name, "", 1, NULL);
	is_int(pick(&run), 0, "%s: one of one", name);
}

static void
test_words(const char *name)
{
	struct run run = begin(name, "", 3, NULL);
	char words[200], few[10];
	bool short_too = true;

	servers[1].share = 64;
	servers[1].response_us = 1500;
	for (uint32_t i = 0; i < 3; i++) {
		memset(words, 1, sizeof(words));
		run.ops->words(run.used.conf, &run.set, run.table, &run.draw, i, words,
		               sizeof(words));
		memset(few, 1, sizeof(few));
		run.ops->words(run.used.conf, &run.set, run.table, &run.draw, i, few, sizeof(few));
		short_too &= memchr(few, '\0', sizeof(few)) != NULL && strncmp(few, words, 9) == 0;
		if (i == 1)
			has_str(words, "weight 100 (25 % in slow start)", "%s explains: %s", name,
		                words);
	}
	ok(short_too, "%s: words are cut to fit", name);
}

static void
test_many(const char *name)
{
	struct run run = begin(name, "", MOST, NULL);
	uint64_t before, built, picked;
	double share[MOST];

	before = clock_us();
	build(&run);
	built = clock_us() - before;
	before = clock_us();
	pick_many(&run, 10000, true);
	picked = clock_us() - before;
	diag("%s, %u servers: table %zu bytes, built in %llu us, %.2f us for a pick", name, MOST,
	     run.table_size, (unsigned long long)built, (double)picked / 10000);
	for (uint32_t i = 0; i < MOST; i++)
		share[i] = 1.0 / MOST;
	ok(deviation(&run, 10000, share) < 6, "%s: %u servers all get something like their part",
	   name,
	   MOST);
}

/* Those that give in proportion to weight when loads and times say nothing. */
static void
test_weights(const char *name, const uint32_t *weights, uint32_t n, const char *what)
{
	struct run run = begin(name, "", n, weights);
	double share[16], all = 0;

	for (uint32_t i = 0; i < n; i++)
		all += weights[i];
	for (uint32_t i = 0; i < n; i++)
		share[i] = weights[i] / all;
	pick_many(&run, 100000, true);
	ok(deviation(&run, 100000, share) < 4.5, "%s: weights %s are kept (%u %u ...)", name, what,
	   counts[0],
	   counts[1]);
}

static void
test_slow_start(const char *name)
{
	static const uint32_t weights[] = { 100, 100, 200 };
	/* The second has a quarter of its weight: 100, 25, 200 of 325. */
	static const double share[] = { 100 / 325.0, 25 / 325.0, 200 / 325.0 };
	struct run run = begin(name, "", 3, weights);

	servers[1].share = SY_FULL_SHARE / 4;
	pick_many(&run, 100000, true);
	ok(deviation(&run, 100000, share) < 4.5,
	   "%s: a server in slow start gets its share (%u %u %u)", name,
	   counts[0], counts[1], counts[2]);
}

static void
test_busy(const char *name)
{
	static const uint32_t weights[] = { 100, 300, 200, 100 };
	static const double share[] = { 0.25, 0, 0.5, 0.25 };
	struct run run = begin(name, "", 4, weights);

	servers[1].busy = true;
	pick_many(&run, 100000, true);
	ok(deviation(&run, 100000, share) < 4.5 && counts[1] == 0,
	   "%s: what a busy one leaves goes to the rest by weight (%u %u %u %u)", name, counts[0],
	   counts[1], counts[2], counts[3]);
}

static void
test_all(void)
{
	static const uint32_t mixed[] = { 1, 2, 3, 10, 100 }, huge[] = { 65535, 1, 65535, 30000 };

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		test_none(names[i]);
		test_retries(names[i], 1);
		test_retries(names[i], 2);
		test_retries(names[i], 17);
		test_pure(names[i]);
		test_words(names[i]);
		if (strcmp(names[i], "source-hash") != 0)
			test_many(names[i]);
		if (strcmp(names[i], "priority") == 0)
			continue;
		/* random-two sees loads of all weights through two draws: close, not exact. */
		if (strcmp(names[i], "source-hash") != 0) {
			test_weights(names[i], mixed, 5, "1 2 3 10 100");
			test_slow_start(names[i]);
		}
		test_weights(names[i], huge, 4, "65535 1 65535 30000");
		test_busy(names[i]);
	}
}

/* ---- round-robin ---- */

static void
test_round_robin_order(uint32_t n)
{
	struct run run = begin("round-robin", "", n, NULL);
	bool cyclic = true, each = true;
	int first[64];

	for (uint32_t i = 0; i < 5 * n; i++, run.draw.sequence++) {
		int at = pick(&run);

		if (i < n)
			first[i] = at;
		else
			cyclic &= at == first[i % n];
	}
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = i + 1; j < n; j++)
			each &= first[i] != first[j];
	ok(cyclic && each, "round-robin: %u equal servers take turns, each once a round", n);
	if (n == 3)
		ok(first[0] == 0 && first[1] == 1 && first[2] == 2,
	           "three of them in the order of the file");
}

/* Over any stretch of the sequence a server has what its weight says, give or take a little: that
 * is what "evenly mixed" means. */
static void
test_round_robin_smooth(const uint32_t *weights, uint32_t n, const char *what)
{
	struct run run = begin("round-robin", "", n, weights);
	uint32_t all = 0, steps;
	double worst = 0;

	for (uint32_t i = 0; i < n; i++)
		all += weights[i];
	memset(counts, 0, sizeof(counts));
	steps = all < 100000 ? all : 100000;
	for (uint32_t k = 1; k <= steps; k++, run.draw.sequence++) {
		counts[pick(&run)]++;
		for (uint32_t i = 0; i < n; i++)
			worst = fmax(worst, fabs(counts[i] - (double)k * weights[i] / all));
	}
	ok(worst < 2 + log2(n), "round-robin: weights %s are mixed evenly (%.2f off at worst)",
	   what, worst);
	if (steps == all)
		ok(memcmp(counts, weights, n * sizeof(*counts)) == 0,
	           "and exact after a round of %u", all);
}

static void
test_round_robin(void)
{
	static const uint32_t few[] = { 5, 1, 1 }, more[] = { 7, 3, 2, 9, 1, 1 };
	static const uint32_t huge[] = { 65535, 65534, 1 };
	static const uint32_t equal[] = { 100, 100, 100 };
	struct run run;
	char order[16] = "";

	for (uint32_t n = 1; n < 20; n++)
		test_round_robin_order(n);
	test_round_robin_smooth(few, 3, "5 1 1");
	test_round_robin_smooth(more, 6, "7 3 2 9 1 1");
	test_round_robin_smooth(huge, 3, "65535 65534 1");
	test_round_robin_smooth(equal, 3, "100 100 100");
	run = begin("round-robin", "", 3, few);
	for (unsigned i = 0; i < 7; i++, run.draw.sequence++)
		order[i] = (char)('a' + pick(&run));
	diag("weights 5 1 1: %s", order);
	ok(!strstr(order, "aaaa"), "four of the same do not come in a row");
	run.draw.sequence = UINT64_MAX;
	ok(pick(&run) >= 0, "the last number of the sequence is one like others");
}

/* ---- least connections ---- */

static void
test_least_exact(void)
{
	static const uint32_t weights[] = { 100, 50, 200, 25 };
	struct run run = begin("least-connections", "", 4, weights);

	pick_many(&run, 3750, true);
	ok(servers[0].load == 1000 && servers[1].load == 500 && servers[2].load == 2000 &&
	   servers[3].load == 250, "least-connections: loads are as weights, exactly (%u %u %u %u)",
	   servers[0].load, servers[1].load, servers[2].load, servers[3].load);
	servers[2].load -= 100;
	pick_many(&run, 100, true);
	is_uint(counts[2], 100, "who lost some gets the next ones");
}

/* Exchanges end at random: at every moment no server may be more than one ahead. */
static void
test_least_moves(void)
{
	struct run run = begin("least-connections", "", 7, NULL);
	uint64_t seed = 1;
	bool even = true;

	for (unsigned i = 0; i < 20000; i++) {
		int at = pick(&run);

		for (uint32_t j = 0; j < 7; j++)
			even &= servers[at].load <= servers[j].load;
		servers[at].load++;
		at = (int)(hash_random(&seed) % 7);
		if (i > 500 && servers[at].load)
			servers[at].load--;
	}
	ok(even, "least-connections: always the least loaded, whatever ends when");
}

static void
test_least_ties(void)
{
	static const double quarter[] = { 0.25, 0.25, 0.25, 0.25 }, half[] = { 0.5, 0, 0.5, 0 };
	struct run run = begin("least-connections", "", 4, NULL);

	pick_many(&run, 40000, false);
	ok(deviation(&run, 40000, quarter) < 4.5,
	   "least-connections: equals are drawn, so workers don't herd "
	   "(%u %u %u %u)", counts[0], counts[1], counts[2], counts[3]);
	servers[1].load = servers[3].load = 1;
	pick_many(&run, 40000, false);
	ok(deviation(&run, 40000, half) < 4.5, "wherever they stand");
	for (unsigned i = 0; i < 4; i++) {
		servers[i].load = UINT32_MAX - i;
		servers[i].weight = 65535;
	}
	is_int(pick(&run), 3, "the largest loads and weights are compared rightly");
}

/* ---- priority ---- */

static void
test_priority(void)
{
	static const uint32_t weights[] = { 10, 200, 200, 50 };
	static const double share[] = { 0, 0.8, 0.2, 0 };
	struct run run = begin("priority", "", 4, weights);

	pick_many(&run, 10000, true);
	ok(counts[0] == 0 && counts[3] == 0 && counts[1] > 4700 && counts[2] > 4700,
	   "priority: the highest take all and share it (%u %u)", counts[1], counts[2]);
	servers[2].share = SY_FULL_SHARE / 4;
	pick_many(&run, 10000, true);
	ok(deviation(&run, 10000, share) < 4.5, "by their share in slow start");
	servers[2].share = SY_FULL_SHARE;
	servers[1].busy = true;
	pick_many(&run, 1000, true);
	is_uint(counts[2], 1000, "one fails: the other takes all");
	servers[2].busy = true;
	pick_many(&run, 1000, true);
	is_uint(counts[3], 1000, "both fail: the next weight does");
	servers[1].busy = false;
	servers[1].share = 1;
	pick_many(&run, 1000, true);
	is_uint(counts[1], 1000, "the highest comes back, and takes all at once");
}

/* ---- response time ---- */

static void
test_response(void)
{
	struct run run = begin("response-time", "explore 0;", 3, NULL);
	double ratio;

	servers[0].response_us = 1000;
	servers[1].response_us = 9000;
	servers[2].response_us = 3000;
	pick_many(&run, 1000, false);
	is_uint(counts[0], 1000, "response-time: the fastest of idle ones");
	pick_many(&run, 13000, true);
	ratio = (double)servers[0].load / servers[1].load;
	ok(ratio > 8.8 && ratio < 9.2,
	   "loads follow speeds: nine times as fast, %.2f times the load", ratio);
	run = begin("response-time", "explore 0;", 3, NULL);
	servers[0].response_us = 1000;
	servers[1].response_us = 1000;
	servers[0].load = servers[1].load = 3;
	is_int(pick(&run), 2, "one that nobody knows is tried");
	servers[2].load = 4;
	ok(pick(&run) != 2, "but not flooded before it has answered");
	run = begin("response-time", "explore 10;", 2, NULL);
	servers[0].response_us = 10;
	servers[1].response_us = 1000000;
	pick_many(&run, 100000, false);
	ok(counts[1] > 4500 && counts[1] < 5500,
	   "explore 10: half of every tenth goes to the slow one (%u)",
	   counts[1]);
	run = begin("response-time", "", 2, NULL);
	servers[0].response_us = UINT32_MAX;
	servers[1].response_us = UINT32_MAX;
	servers[0].load = UINT32_MAX;
	servers[0].weight = 1;
	is_int(pick(&run), 1, "the largest numbers are compared rightly");
}

/* ---- random-two ---- */

static void
test_random_two(void)
{
	struct run run = begin("random-two", "", 10, NULL);
	uint32_t least = UINT32_MAX, most = 0;

	pick_many(&run, 100000, true);
	for (unsigned i = 0; i < 10; i++) {
		least = counts[i] < least ? counts[i] : least;
		most = counts[i] > most ? counts[i] : most;
	}
	ok(most - least < 20,
	   "random-two: 100,000 on ten servers, %u to %u each (one draw: 1,000 apart)",
	   least, most);
	servers[4].load += 1000000;
	pick_many(&run, 10000, true);
	is_uint(counts[4], 0, "the one with the most to do gets none");
}

int
main(void)
{
	arena = arena_new();
	test_all();
	test_round_robin();
	test_least_exact();
	test_least_moves();
	test_least_ties();
	test_priority();
	test_response();
	test_random_two();
	arena_free(arena);
	return done_testing();
}
