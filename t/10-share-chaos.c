/* Processes that write to the board are killed at random moments, by the hundred. Nothing may be
 * torn, nothing may stay stuck, and the counters must be right. The writers are this program
 * itself, started anew by posix_spawn() with a role; all of them end by themselves after a while,
 * whatever happens. */
#define _GNU_SOURCE 1
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memfd.h"
#include "base/poison.h"
#include "share/areas.h"
#include "share/persist.h"
#include "share/source.h"

extern char **environ;

enum {
	WORKERS = 5,
	KEYS = 400,
	CELLS = 200,
	CHECKS = 40,
	LIFETIME_S = 60,          /* of any process of this test, at most */
	BOARD_FD = 10,
	TRUTH_FD = 11,
#ifdef POISON_ON
	RUN_MS = 6000,
	PAUSE_US = 20000,
#else
	RUN_MS = 4000,
	PAUSE_US = 4000,
#endif
};

static const struct board_size sizes = { .services = 8, .cells = 512, .checks = 64,
                                         .persist_entries = 256 };
static const struct sy_persist_life life = { .timeout_ms = 600000, .refresh = true };
static const struct hash_key zero;

/* What happened, beside the board: one writer for each word, so at most one event is missing for
 * each kill. */
struct truth {
	struct {
		_Atomic uint64_t total, bytes, stores, refused, health;
	} row[BOARD_ROWS];
	struct { /* by the reader */
		_Atomic uint64_t rounds, entries, torn_entries, torn_health, torn_checks, less,
		                 foreign;
	} reader;
};

static uint64_t
cell_id(unsigned n)
{
	uint64_t state = n;

	return hash_random(&state) | 1;
}

static struct sy_key
key_of(unsigned n)
{
	struct sy_key key = { .len = (uint8_t)(8 + n % (SY_KEY_MAX - 8)) };

	for (unsigned i = 0; i < key.len; i++)
		key.bytes[i] = (uint8_t)(n >> 8 * (i % 2));
	return key;
}

/* A server's id tells which key it was stored for. */
static uint64_t
server_of(const struct sy_key *key, uint64_t group, uint64_t choice)
{
	return (hash_64(&zero, key->bytes, key->len) ^ group << 32) << 4 | 8 | (choice & 7);
}

static bool
server_fits(uint64_t server, const struct sy_key *key, uint64_t group)
{
	return server >> 4 == server_of(key, group, 0) >> 4;
}

/* Cells of servers that come and go: all workers claim the same ones at about the same time, while
 * they are being buried. */
static void
claim_passing(struct board *board, uint64_t draw)
{
	for (unsigned i = 0; i < 16; i++)
		board_cell(board, CELL_OTHER, cell_id(100000 + (unsigned)(clock_ms() / 16) * 16 +
		                                      (i + (unsigned)draw) % 16));
}

static void
worker(struct board *board, struct truth *truth, unsigned row, uint64_t seed)
{
	uint32_t cells[CELLS], open[16];
	unsigned n_open = 0;

	for (unsigned i = 0; i < CELLS; i++)
		cells[i] = board_cell(board, CELL_OTHER, cell_id((unsigned)(i + seed) % CELLS));
	for (;;) {
		uint64_t draw = hash_random(&seed);
		struct board_tally *tally = board_tally(board, row, cells[draw % CELLS]);
		struct sy_key key = key_of((unsigned)(draw >> 8) % KEYS);
		uint64_t group = 1 + (draw >> 20) % 3;
		struct sy_addr client = { .ip = { 10, 0, 0, (uint8_t)(draw >> 30) },
		                         .family = SY_IPV4 };

		tally_add(tally->active, 1);
		tally_add(tally->total, 1);
		tally_add(truth->row[row].total, 1);
		tally_add(tally->bytes_up, 1000);
		tally_add(truth->row[row].bytes, 1000);
		if (persist_store(board, row, group, &key, server_of(&key, group, draw >> 40),
		                  &life,
		                  clock_ms()))
			tally_add(truth->row[row].stores, 1);
		else
			tally_add(truth->row[row].refused, 1);
		persist_find(board, row, group, &key, &life, clock_ms());
		if (draw >> 50 & 1 && n_open < 16)
			open[n_open++] = source_more(board, row, 1, &client, clock_ms());
		else if (n_open)
			source_less(board, row, open[--n_open]);
		tally_add(tally->active, -1u);
		if (draw >> 54 == 0)
			claim_passing(board, draw);
	}
}

/* Health of a cell says one number four times. */
static void
checker(struct board *board, struct truth *truth, uint64_t seed)
{
	for (;;) {
		uint64_t draw = hash_random(&seed);
		uint32_t number = (uint32_t)(draw >> 40) % 100000;
		uint32_t cell = board_cell(board, CELL_OTHER, cell_id((unsigned)draw % CELLS));
		struct board_check *check = board_check(board, 1 + (draw >> 20) % CHECKS, true);
		char words[BOARD_WORDS];

		snprintf(words, sizeof(words), "%u and at the end, far away from there, again: %u",
		         number,
		         number);
		board_health_write(board_cell_at(board, cell),
		                   number % 2 ? HEALTH_UP : HEALTH_DOWN, words,
		                   number % 100, number);
		tally_add(truth->row[ROW_CHECKER].health, 1);
		board_check_begin(check);
		check->latency_us = number;
		check->runs = number;
		memcpy(check->reason, words, sizeof(words));
		check->weight = number;
		board_check_end(check);
	}
}

static bool
words_fit(const char *words, uint32_t number)
{
	unsigned first = 0, second = 0;

	return !words[0] || strstr(words, "died while") ||
	       (sscanf(words, "%u and at the end, far away from there, again: %u", &first,
	               &second) == 2 &&
	        first == number && second == number);
}

struct look {
	struct truth *truth;
	uint64_t now_ms;
};

static bool
look_entry(void *context, const struct persist_entry_view *entry)
{
	struct look *look = context;

	look->truth->reader.entries++;
	if (!server_fits(entry->server, &entry->key, entry->group) || entry->group < 1 ||
	    entry->group > 3 || entry->used_ms < entry->created_ms)
		look->truth->reader.torn_entries++;
	return true;
}

static void
reader(struct board *board, struct truth *truth, uint64_t seed)
{
	static uint64_t totals[CELLS];

	for (;;) {
		struct look look = { .truth = truth, .now_ms = clock_ms() };

		persist_each(board, look.now_ms, look_entry, &look);
		for (unsigned i = 0; i < CELLS; i++) {
			uint32_t cell = board_cell(board, CELL_OTHER, cell_id(i));
			struct sy_key key = key_of((unsigned)(hash_random(&seed) % KEYS));
			struct board_check *check = board_check(board, 1 + i % CHECKS, false), copy;
			struct cell_health health;
			struct board_tally sum;
			uint64_t server;

			board_sum(board, cell, &sum);
			truth->reader.less += sum.total < totals[i];
			totals[i] = sum.total;
			board_health_read(board_cell_at(board, cell), &health);
			truth->reader.torn_health += !words_fit(health.reason, health.latency_us);
			truth->reader.foreign += board_cell_at(board, cell)->id != cell_id(i);
			server = persist_find(board, ROW_CONSOLE, 1 + i % 3, &key, &life,
			                      clock_ms());
			truth->reader.torn_entries += server && !server_fits(server, &key,
			                                                     1 + i % 3);
			if (check) {
				board_check_read(check, &copy);
				truth->reader.torn_checks +=
					!words_fit(copy.reason, copy.latency_us) ||
					(!strstr(copy.reason, "died while") &&
					 copy.runs != copy.weight);
			}
		}
		truth->reader.rounds++;
	}
}

static pid_t
start(unsigned row, uint64_t seed)
{
	char self[] = "/proc/self/exe", row_text[16], seed_text[32];
	char *args[] = { self, row_text, seed_text, NULL };
	pid_t pid;

	snprintf(row_text, sizeof(row_text), "%u", row);
	snprintf(seed_text, sizeof(seed_text), "%llu", (unsigned long long)seed);
	if (posix_spawn(&pid, self, NULL, NULL, args, environ) != 0)
		bail_out("cannot start a writer: %s", strerror(errno));
	return pid;
}

static void
end(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* No id has two cells, each is found where it is, and every known id is there. */
static unsigned
wrong_cells(struct board *board)
{
	const struct ids *ids = &board->ids[IDS_OTHERS];
	unsigned wrong = 0;

	for (uint32_t place = 0; place < ids_used(ids); place++) {
		uint64_t id = *ids_id(ids, place);

		wrong += id && ids_find(ids, id) != place;
	}
	for (unsigned i = 0; i < CELLS; i++)
		wrong += ids_find(ids, cell_id(i)) == IDS_NONE;
	return wrong;
}

static void
check_table(struct board *board, struct truth *truth, unsigned kills)
{
	struct look look = { .truth = truth };
	uint64_t torn = truth->reader.torn_entries, entries = truth->reader.entries;
	unsigned stuck = 0, lost = 0;
	size_t used, capacity;

	persist_each(board, clock_ms(), look_entry, &look);
	is_uint(truth->reader.torn_entries - torn, 0, "no entry is torn in the end, either");
	ok(truth->reader.entries > entries, "and there are some");
	for (unsigned i = 0; i < KEYS; i++) {
		struct sy_key key = key_of(i);

		stuck += !persist_store(board, ROW_WORKER, 9, &key, 77, &life, clock_ms());
		lost += persist_find(board, ROW_WORKER, 9, &key, &life, clock_ms()) != 77;
	}
	ok(stuck == 0 && lost == 0, "no bucket is stuck after the folds (%u stuck, %u lost)",
	   stuck, lost);
	persist_usage(board, clock_ms(), &used, &capacity);
	ok(used <= capacity && used == persist_clear(board, ROW_CONSOLE, 0, 0, NULL),
	   "all %zu entries can be cleared", used);
	ok(kills > 50, "%u processes were killed", kills);
}

static void
check_counters(struct board *board, const struct truth *truth, unsigned kills)
{
	uint64_t total = 0, bytes = 0, true_total = 0, true_bytes = 0, active = 0;
	uint64_t stores = 0, refused = 0, open = 0;

	for (unsigned i = 0; i < CELLS; i++) {
		struct board_tally sum;

		board_sum(board, board_cell(board, CELL_OTHER, cell_id(i)), &sum);
		total += sum.total;
		bytes += sum.bytes_up;
		active += sum.active;
	}
	for (unsigned row = 0; row < BOARD_ROWS; row++) {
		true_total += truth->row[row].total;
		true_bytes += truth->row[row].bytes;
		stores += truth->row[row].stores;
		refused += truth->row[row].refused;
	}
	for (unsigned i = 0; i < 256; i++) {
		struct sy_addr client = { .ip = { 10, 0, 0, (uint8_t)i }, .family = SY_IPV4 };

		open += source_look(board, 1, &client, clock_ms()).active;
	}
	diag("%llu exchanges, %llu entries stored, %llu refused by a held bucket",
	     (unsigned long long)total, (unsigned long long)stores, (unsigned long long)refused);
	ok(total >= true_total && total - true_total <= kills,
	   "totals are right but for what was between two words when its writer was killed "
	   "(%llu, counted %llu)", (unsigned long long)total, (unsigned long long)true_total);
	ok(bytes >= true_bytes && bytes - true_bytes <= kills * UINT64_C(1000), "bytes are, too");
	is_uint(active, 0, "nothing is active when all are dead");
	is_uint(open, 0, "no client has anything open");
	ok(refused * 10 < stores, "held buckets are rare");
}

static void
check_reader(const struct truth *truth)
{
	diag("the reader made %llu rounds, saw %llu entries",
	     (unsigned long long)truth->reader.rounds,
	     (unsigned long long)truth->reader.entries);
	ok(truth->reader.rounds > 10 && truth->reader.entries > 1000, "the reader saw it all");
	is_uint(truth->reader.torn_entries, 0, "no persistence entry was torn");
	is_uint(truth->reader.torn_health, 0, "no health was");
	is_uint(truth->reader.torn_checks, 0, "no check was");
	is_uint(truth->reader.less, 0, "no sum ever went down");
	is_uint(truth->reader.foreign, 0, "no cell was another's");
	ok(truth->row[ROW_CHECKER].health > 100, "health was written %llu times",
	   (unsigned long long)truth->row[ROW_CHECKER].health);
}

/* How many ids have two cells; then all but those kept are buried. */
static unsigned
doubles(struct board *board, const uint64_t *keep)
{
	const struct ids *ids = &board->ids[IDS_OTHERS];
	unsigned found = 0;

	for (uint32_t place = 0; place < ids_used(ids); place++) {
		uint64_t id = *ids_id(ids, place);
		uint32_t other = id ? ids_find(ids, id) : place;

		/* One that is just being claimed may not be found yet. */
		found += other != place && other != IDS_NONE && *ids_id(ids, place) == id;
	}
	board_bury(board, keep, CELLS);
	return found;
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static unsigned
kill_at_random(struct board *board, struct truth *truth, pid_t pids[BOARD_ROWS])
{
	static const unsigned rows[] = { ROW_CHECKER, ROW_WORKER, ROW_WORKER + 1, ROW_WORKER + 2,
	                                 ROW_WORKER + 3, ROW_WORKER + 4 };
	uint64_t until = clock_ms() + RUN_MS, seed = clock_us(), keep[CELLS];
	unsigned kills = 0, doubled = 0;

	diag("seed %llu", (unsigned long long)seed);
	for (unsigned i = 0; i < CELLS; i++)
		keep[i] = cell_id(i);
	qsort(keep, CELLS, sizeof(*keep), compare);
	while (clock_ms() < until) {
		unsigned row = rows[hash_random(&seed) % 6];

		usleep((useconds_t)(hash_random(&seed) % PAUSE_US));
		end(pids[row]);
		kills++;
		board_fold(board, row);
		if (hash_random(&seed) % 4 == 0)
			doubled += doubles(board, keep);
		pids[row] = start(row, hash_random(&seed));
		board_process(board, row)->pid = (uint32_t)pids[row];
	}
	for (uint64_t enough = clock_ms() + 5000; truth->reader.rounds < 20 && clock_ms() < enough;)
		usleep(1000);
	for (unsigned i = 0; i < 6; i++) {
		end(pids[rows[i]]);
		kills++;
		board_fold(board, rows[i]);
	}
	end(pids[ROW_CONSOLE]);
	board_fold(board, ROW_CONSOLE);
	is_uint(doubled, 0, "no id ever had two cells");
	return kills;
}

static int
run_role(unsigned row, uint64_t seed)
{
	struct sy_err err = { "" };
	struct board *board = board_map(BOARD_FD, &err);
	size_t len;
	struct truth *truth = memfd_map(TRUTH_FD, 1, &len, &err);

	alarm(LIFETIME_S);
	if (!board || !truth)
		return 1;
	if (row == ROW_CHECKER)
		checker(board, truth, seed);
	else if (row == ROW_CONSOLE)
		reader(board, truth, seed);
	else
		worker(board, truth, row, seed);
	return 0;
}

int
main(int argc, char **argv)
{
	struct sy_err err = { "" };
	pid_t pids[BOARD_ROWS] = { 0 };
	struct truth *truth;
	struct board *board;
	unsigned kills;
	size_t len;
	int fd;

	if (argc == 3)
		return run_role((unsigned)atoi(argv[1]), strtoull(argv[2], NULL, 10));
	alarm(LIFETIME_S);
	board = board_new(&sizes, &fd, &err);
	if (!board || dup2(fd, BOARD_FD) != BOARD_FD)
		bail_out("no board: %s", err.text);
	fd = memfd_shared("truth", sizeof(*truth), &err);
	truth = fd < 0 ? NULL : memfd_map(fd, 1, &len, &err);
	if (!truth || dup2(fd, TRUTH_FD) != TRUTH_FD)
		bail_out("no memory: %s", err.text);
	board_set_workers(board, WORKERS);
	for (unsigned row = ROW_CHECKER; row < ROW_WORKER + WORKERS; row++) {
		/* Counts nothing, so it has no part here. */
		if (row == ROW_ROUTING)
			continue;
		pids[row] = start(row, row);
		board_process(board, row)->pid = (uint32_t)pids[row];
	}
	kills = kill_at_random(board, truth, pids);
	check_reader(truth);
	check_counters(board, truth, kills);
	is_uint(wrong_cells(board), 0, "every id has one cell");
	check_table(board, truth, kills);
	board_unmap(board);
	return done_testing();
}
