/* A scheduler in use with a set, for tests. Draws come from a generator with a fixed seed, so every
 * run sees the same. */
#ifndef T_SCHEDULERS_H
#define T_SCHEDULERS_H

#include "module.h"

#include <math.h>

#include "api/scheduler.h"
#include "base/clock.h"
#include "base/hash.h"

enum { MOST = 4096 };

static struct arena *arena;
static struct sy_server servers[MOST];
static uint32_t counts[MOST];

/* A scheduler in use with a set. */
struct run {
	struct used used;
	const struct sy_scheduler *ops;
	struct sy_set set;
	void *table;
	size_t table_size;
	struct sy_draw draw;
	uint64_t seed;
};

TAP_UNUSED static void
build(struct run *run)
{
	if (!run->ops->table_size || !run->set.n)
		return;
	run->table_size = run->ops->table_size(run->used.conf, &run->set);
	run->table = arena_alloc(arena, run->table_size);
	run->ops->build(run->used.conf, &run->set, run->table);
}

TAP_UNUSED static struct run
begin(const char *name, const char *settings, uint32_t n, const uint32_t *weights)
{
	struct run run = { .used = module_use(arena, SY_SCHEDULER, name, settings, NULL, 0),
	                   .seed = 42 };

	run.ops = run.used.ops;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t id = i + 1;

		servers[i] = (struct sy_server){
			.id = hash_random(&id), .name = "server", .share = SY_FULL_SHARE,
			.weight = weights ? weights[i] : 100,
		};
	}
	run.set = (struct sy_set){ .server = servers, .n = n };
	build(&run);
	return run;
}

TAP_UNUSED static int
pick_again(struct run *run)
{
	return run->ops->pick(run->used.conf, &run->set, run->table, &run->draw);
}

TAP_UNUSED static int
pick(struct run *run)
{
	run->draw.random = hash_random(&run->seed);
	run->draw.key = hash_random(&run->seed);
	return pick_again(run);
}

/* Picks n times and counts; with `load`, each stays open. */
TAP_UNUSED static void
pick_many(struct run *run, uint32_t n, bool load)
{
	memset(counts, 0, sizeof(counts));
	for (uint32_t i = 0; i < n; i++, run->draw.sequence++) {
		int at = pick(run);

		if (at < 0 || (uint32_t)at >= run->set.n)
			bail_out("picked %d of %u", at, run->set.n);
		counts[at]++;
		servers[at].load += load;
	}
}

/* The largest deviation of a count from what it should be, in standard deviations of a fair
 * draw. */
TAP_UNUSED static double
deviation(const struct run *run, uint32_t n, const double *share)
{
	double worst = 0;

	for (uint32_t i = 0; i < run->set.n; i++) {
		double expected = n * share[i], sigma = sqrt(expected * (1 - share[i]) + 1);

		worst = fmax(worst, fabs(counts[i] - expected) / sigma);
	}
	return worst;
}

#endif
