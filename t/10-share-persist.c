/* The persistence table on the board. */
#define _GNU_SOURCE 1
#include "tap.h"

#include <unistd.h>

#include "base/clock.h"
#include "share/areas.h"
#include "share/persist.h"

static const struct board_size small = { .services = 8, .cells = 32, .checks = 16,
                                         .persist_entries = 64 };

static struct board *
new_board(const struct board_size *size, int *fd)
{
	struct sy_err err = { "" };
	struct board *board = board_new(size, fd, &err);

	if (!board)
		bail_out("no board: %s", err.text);
	return board;
}

static struct sy_key
key_of(const char *text)
{
	struct sy_key key = { .len = (uint8_t)strlen(text) };

	memcpy(key.bytes, text, key.len);
	return key;
}

static const struct sy_persist_life life = { .timeout_ms = 1000, .refresh = true };
static const struct sy_persist_life fixed = { .timeout_ms = 1000, .refresh = false };

static void
test_persist(void)
{
	struct sy_key a = key_of("alpha"), b = key_of("beta"), none = { 0 }, longest;
	uint64_t now = 5000;
	int fd;
	struct board *board = new_board(&small, &fd);

	memset(&longest, 'z', sizeof(longest));
	longest.len = SY_KEY_MAX;
	is_uint(persist_find(board, ROW_WORKER, 1, &a, &life, now), 0, "nothing is there");
	ok(persist_store(board, ROW_WORKER, 1, &a, 11, &life, now), "stored");
	is_uint(persist_find(board, ROW_WORKER, 1, &a, &life, now), 11, "found");
	is_uint(persist_find(board, ROW_WORKER, 1, &b, &life, now), 0, "another key is not");
	is_uint(persist_find(board, ROW_WORKER, 2, &a, &life, now), 0,
	        "nor the key in another group");
	persist_store(board, ROW_WORKER, 1, &longest, 40, &life, now);
	is_uint(persist_find(board, ROW_WORKER, 1, &longest, &life, now), 40, "the longest key");
	longest.len--;
	is_uint(persist_find(board, ROW_WORKER, 1, &longest, &life, now), 0,
	        "and not its beginning");
	persist_store(board, ROW_WORKER, 1, &none, 7, &life, now);
	is_uint(persist_find(board, ROW_WORKER, 1, &none, &life, now), 7, "an empty key is a key");

	is_uint(persist_find(board, ROW_WORKER, 1, &a, &life, now + 900), 11,
	        "alive, and refreshed");
	is_uint(persist_find(board, ROW_WORKER, 1, &a, &life, now + 1899), 11, "so it lives on");
	is_uint(persist_find(board, ROW_WORKER, 1, &a, &life, now + 2899), 0,
	        "until its time is up");
	persist_store(board, ROW_WORKER, 1, &b, 12, &fixed, now);
	is_uint(persist_find(board, ROW_WORKER, 1, &b, &fixed, now + 999), 12, "without refresh");
	is_uint(persist_find(board, ROW_WORKER, 1, &b, &fixed, now + 1000), 0,
	        "it ends all the same");
	persist_store(board, ROW_WORKER, 1, &b, 12, &life, now);
	persist_store(board, ROW_WORKER, 1, &b, 13, &life, now);
	is_uint(persist_find(board, ROW_WORKER, 1, &b, &life, now), 13, "replaced");
	board_unmap(board);
	close(fd);
}

struct seen {
	unsigned n, most;
	struct persist_entry_view last;
};

static bool
see(void *context, const struct persist_entry_view *entry)
{
	struct seen *seen = context;

	seen->last = *entry;
	return ++seen->n < seen->most;
}

static void
fill(struct board *board, uint64_t group, unsigned n, uint64_t server, uint64_t now)
{
	for (unsigned i = 0; i < n; i++) {
		char text[32];
		struct sy_key key;

		snprintf(text, sizeof(text), "%llu/%u", (unsigned long long)group, i);
		key = key_of(text);
		persist_store(board, ROW_WORKER, group, &key, server + i % 2, &life, now + i % 500);
	}
}

static void
test_persist_table(void)
{
	static const struct board_size one = { .services = 1, .cells = 2, .checks = 1,
	                                       .persist_entries = 16 };
	static const struct board_size mid = { .services = 8, .cells = 32, .checks = 16,
	                                       .persist_entries = 4096 };
	struct seen seen = { .most = 1000 };
	struct sy_key key = key_of("1/0"), late = key_of("late");
	size_t used, capacity;
	int fd;
	struct board *board = new_board(&one, &fd);

	fill(board, 1, 16, 100, 5000);
	persist_usage(board, 5000, &used, &capacity);
	ok(used == 16 && capacity == 16, "a bucket is full");
	persist_find(board, ROW_WORKER, 1, &key, &life, 5500);
	persist_store(board, ROW_WORKER, 1, &late, 9, &life, 5600);
	is_uint(persist_find(board, ROW_WORKER, 1, &late, &life, 5600), 9,
	        "there is room for one more");
	is_uint(persist_find(board, ROW_WORKER, 1, &key, &life, 5600), 100,
	        "not from what was used");
	key = key_of("1/1");
	is_uint(persist_find(board, ROW_WORKER, 1, &key, &life, 5600), 0, "but from the oldest");
	board_unmap(board);
	close(fd);

	board = new_board(&mid, &fd);
	fill(board, 1, 100, 100, 5000);
	fill(board, 2, 100, 100, 5000);
	persist_each(board, 5100, see, &seen);
	is_uint(seen.n, 200, "each entry is seen");
	ok(seen.last.created_ms >= 5000 && seen.last.expires_ms == seen.last.used_ms + 1000 &&
	   (seen.last.group == 1 || seen.last.group == 2) && seen.last.key.len >= 3,
	   "with its times");
	seen = (struct seen){ .most = 10 };
	persist_each(board, 5100, see, &seen);
	is_uint(seen.n, 10, "or as many as wanted");
	seen = (struct seen){ .most = 1000 };
	persist_each(board, 6050, see, &seen);
	ok(seen.n == 98, "expired ones are not (%u)", seen.n);
	is_uint(persist_clear(board, ROW_CONSOLE, 1, 101, NULL), 50, "cleared by group and server");
	is_uint(persist_clear(board, ROW_CONSOLE, 2, 0, &key), 0, "a key that is not there");
	key = key_of("2/4");
	is_uint(persist_clear(board, ROW_CONSOLE, 0, 0, &key), 1, "cleared by key");
	is_uint(persist_clear(board, ROW_CONSOLE, 0, 100, NULL), 99, "cleared by server");
	is_uint(persist_clear(board, ROW_CONSOLE, 0, 0, NULL), 50, "all of it");
	persist_usage(board, 5000, &used, &capacity);
	ok(used == 0 && capacity == 4096, "nothing is left");
	fill(board, 3, 2048, 100, 5000);
	persist_usage(board, 5000, &used, &capacity);
	is_uint(used, 2048, "half full, none is lost");
	persist_clear(board, ROW_CONSOLE, 0, 0, NULL);
	fill(board, 3, 3686, 100, 5000);
	persist_usage(board, 5000, &used, &capacity);
	ok(used > 3686 - 74, "at nine tenths, next to none (%zu of 3686 kept)", used);
	board_unmap(board);
	close(fd);
}

/* As if a worker had been killed inside the only bucket. */
static void
test_persist_dead(void)
{
	static const struct board_size one = { .services = 1, .cells = 2, .checks = 1,
	                                       .persist_entries = 16 };
	struct sy_key key = key_of("k"), other = key_of("o");
	uint64_t begin;
	int fd;
	struct board *board = new_board(&one, &fd);
	struct {
		_Atomic uint32_t holding[BOARD_ROWS];
	} *head = board_area(board, AREA_PERSIST, 0);
	/* Behind the head, rounded up to 64, and one line of bits. */
	_Atomic uint32_t *bucket = (void *)((char *)head + (sizeof(*head) + 63) / 64 * 64 + 64);

	persist_store(board, ROW_WORKER, 1, &key, 5, &life, 1000);
	head->holding[ROW_WORKER + 1] = 1;
	bucket[0] = ROW_WORKER + 1 + 1;
	bucket[1]++;
	begin = clock_us();
	is_uint(persist_find(board, ROW_WORKER, 1, &key, &life, 1000), 0,
	        "in flux: taken for a miss");
	ok(!persist_store(board, ROW_WORKER, 1, &other, 6, &life, 1000), "nothing is stored");
	is_uint(persist_clear(board, ROW_CONSOLE, 0, 5, NULL), 0, "nothing cleared");
	diag("the three gave up after %llu us", (unsigned long long)(clock_us() - begin));
	ok(clock_us() - begin < 30000000, "and nobody waited");
	board_fold(board, ROW_WORKER);
	ok(!persist_store(board, ROW_WORKER, 1, &other, 6, &life, 1000),
	   "another's death frees nothing");
	board_fold(board, ROW_WORKER + 1);
	is_uint(persist_find(board, ROW_WORKER, 1, &key, &life, 1000), 5,
	        "the fold makes it whole");
	ok(persist_store(board, ROW_WORKER, 1, &other, 6, &life, 1000), "and free");
	board_unmap(board);
	close(fd);
}

int
main(void)
{
	test_persist();
	test_persist_table();
	test_persist_dead();
	return done_testing();
}
