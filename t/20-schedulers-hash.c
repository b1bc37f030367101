/* Source hash: who goes where, who moves when a server goes, comes, is busy or starts slowly. */
#define _GNU_SOURCE 1
#include "schedulers.h"

enum { CLIENTS = 50000 };
static int before_of[CLIENTS];

static int
server_of_client(struct run *run, uint32_t client)
{
	uint64_t key = client;

	run->draw.key = hash_random(&key);
	run->draw.random = client * UINT64_C(977);
	run->draw.sequence++;
	return pick_again(run);
}

/* One server of n goes: how many clients of the others move with those who must. */
static void
test_hash_loss(uint32_t n, const char *settings)
{
	struct run run = begin("source-hash", settings, n, NULL);
	uint32_t gone = n / 2, must_move = 0, moved = 0, back = 0;
	struct sy_server server = servers[gone];

	for (uint32_t i = 0; i < CLIENTS; i++)
		before_of[i] = server_of_client(&run, i);
	memmove(&servers[gone], &servers[gone + 1], (n - gone - 1) * sizeof(*servers));
	run.set.n--;
	build(&run);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		int now = server_of_client(&run, i);

		now += now >= (int)gone;
		must_move += before_of[i] == (int)gone;
		moved += before_of[i] != now;
	}
	diag("1 of %u servers lost%s%s: %.2f %% of the clients move (1/n is %.2f %%, its own were "
	     "%.2f %%)", n, *settings ? ", " : "", settings, 100.0 * moved / CLIENTS, 100.0 / n,
	     100.0 * must_move / CLIENTS);
	ok(moved >= must_move && moved - must_move < CLIENTS * 0.03,
	   "source-hash: of %u servers one goes, few others move", n);
	memmove(&servers[gone + 1], &servers[gone], (n - gone - 1) * sizeof(*servers));
	servers[gone] = server;
	run.set.n++;
	build(&run);
	for (uint32_t i = 0; i < CLIENTS; i++)
		back += server_of_client(&run, i) == before_of[i];
	is_uint(back, CLIENTS, "it comes back, and so does everybody");
}

static void
test_hash_even(const uint32_t *weights, uint32_t n, const char *what)
{
	struct run run = begin("source-hash", "", n, weights);
	double worst = 0, all = 0;

	memset(counts, 0, sizeof(counts));
	for (uint32_t i = 0; i < n; i++)
		all += servers[i].weight;
	for (uint32_t slot = 0; slot < 16381; slot++) {
		run.draw.key = slot;
		counts[pick_again(&run)]++;
	}
	for (uint32_t i = 0; i < n; i++)
		worst = fmax(worst, fabs(counts[i] - 16381 * servers[i].weight / all));
	ok(worst <= 1.5, "source-hash: %s: each has the slots of its weight (%.2f off at worst)",
	   what, worst);
}

static void
test_hash_busy(void)
{
	struct run run = begin("source-hash", "", 10, NULL);
	uint32_t moved = 0, to[10] = { 0 }, least = UINT32_MAX;

	for (uint32_t i = 0; i < CLIENTS; i++)
		before_of[i] = server_of_client(&run, i);
	servers[3].busy = true;
	for (uint32_t i = 0; i < CLIENTS; i++) {
		int now = server_of_client(&run, i);

		moved += before_of[i] != 3 && now != before_of[i];
		to[now] += before_of[i] == 3;
	}
	for (unsigned i = 0; i < 10; i++)
		least = i != 3 && to[i] < least ? to[i] : least;
	is_uint(moved, 0, "source-hash: one is busy, and clients of the others stay");
	ok(to[3] == 0 && least > CLIENTS / 100 * 0.8,
	   "its own are spread over all (%u at least to each)",
	   least);
}

static void
test_hash_slow_start(void)
{
	struct run run = begin("source-hash", "", 5, NULL);
	uint32_t own = 0, got = 0, left = 0, strange = 0;
	static bool was[CLIENTS];

	for (uint32_t i = 0; i < CLIENTS; i++)
		own += (before_of[i] = server_of_client(&run, i)) == 2;
	for (uint32_t share = 32; share <= SY_FULL_SHARE; share += 32) {
		servers[2].share = share;
		for (uint32_t i = 0; i < CLIENTS; i++) {
			int now = server_of_client(&run, i);

			strange += before_of[i] != 2 && now != before_of[i];
			left += was[i] && now != 2;
			was[i] = now == 2;
			got += share == 64 && now == 2;
		}
	}
	ok(got > own * 0.22 && got < own * 0.28,
	   "source-hash: in slow start a quarter of its own come back "
	   "(%u of %u)", got, own);
	is_uint(left, 0, "who came back stays while the share grows");
	is_uint(strange, 0, "and nobody else moves");
}

static void
test_hash_settings(void)
{
	char problems[600];

	module_use(arena, SY_SCHEDULER, "source-hash", "table-size 65536;", problems,
	           sizeof(problems));
	has_str(problems, "table-size 65536 is not a prime (2 times 32768)", "no prime: %s",
	        problems);
	module_use(arena, SY_SCHEDULER, "source-hash", "table-size 997003;", problems,
	           sizeof(problems));
	has_str(problems, "is not a prime (", "a product of two primes is none, either");
	module_use(arena, SY_SCHEDULER, "source-hash", "table-size 7;", problems, sizeof(problems));
	ok(*problems, "too small: %s", problems);
	module_use(arena, SY_SCHEDULER, "source-hash", "table-size 999983;", problems,
	           sizeof(problems));
	is_str(problems, "", "a large prime");
	module_use(arena, SY_SCHEDULER, "response-time", "exlpore 3;", problems, sizeof(problems));
	has_str(problems, "explore", "a wrong name: %s", problems);
}

static void
test_hash(void)
{
	static const uint32_t mixed[] = { 1, 2, 3, 10, 100 };
	struct run run;
	uint64_t before;

	test_hash_even(NULL, 2, "two equal");
	test_hash_even(NULL, 20, "twenty equal");
	test_hash_even(mixed, 5, "weights 1 2 3 10 100");
	test_hash_loss(2, "");
	test_hash_loss(3, "");
	test_hash_loss(10, "");
	test_hash_loss(20, "");
	test_hash_loss(100, "");
	test_hash_loss(100, "table-size 65537;");
	test_hash_busy();
	test_hash_slow_start();
	test_hash_settings();
	run = begin("source-hash", "table-size 1000003;", MOST, NULL);
	before = clock_us();
	build(&run);
	diag("source-hash, table-size 1000003, %u servers: %zu bytes, built in %llu us", MOST,
	     run.table_size,
	     (unsigned long long)(clock_us() - before));
	for (uint32_t i = 0; i < MOST; i++)
		servers[i].weight = i ? 1 : 65535;
	before = clock_us();
	build(&run);
	diag("the same with one weight of 65535 among ones: %llu us",
	     (unsigned long long)(clock_us() - before));
	ok(pick(&run) >= 0, "4,096 servers");
	run = begin("source-hash", "table-size 101;", MOST, NULL);
	ok(pick(&run) >= 0, "more servers than slots");
}

int
main(void)
{
	arena = arena_new();
	test_hash();
	arena_free(arena);
	return done_testing();
}
