/* The board: cells, health, checks, tallies, clients' counts. Persistence is in 10-share-persist.c;
 * what happens when writers are killed, in 10-share-chaos.c. */
#define _GNU_SOURCE 1
#include "tap.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memfd.h"
#include "share/areas.h"
#include "share/seq.h"
#include "share/source.h"

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

static size_t
memory_of(int fd)
{
	struct stat st;

	fstat(fd, &st);
	return (size_t)st.st_blocks * 512;
}

static uint64_t
id_of(uint64_t n)
{
	return hash_random(&n) | 1;
}

static struct sy_addr
addr4(uint32_t n)
{
	struct sy_addr addr = { .family = SY_IPV4, .port = 1024 };

	addr.ip[0] = 10;
	addr.ip[1] = (uint8_t)(n >> 16);
	addr.ip[2] = (uint8_t)(n >> 8);
	addr.ip[3] = (uint8_t)n;
	return addr;
}

static void
test_sizes(void)
{
	static const struct board_size wrong[] = {
		{ .services = 0, .cells = 32, .checks = 16, .persist_entries = 64 },
		{ .services = 8, .cells = 33, .checks = 16, .persist_entries = 64 },
		{ .services = 32, .cells = 32, .checks = 16, .persist_entries = 64 },
		{ .services = 8, .cells = 32, .checks = 16, .persist_entries = 1u << 31 },
	};
	static const char *const words[] = {
		"0 services", "33 cells", "cells must be more", "2147483648 persistence entries",
	};
	int fd;

	for (unsigned i = 0; i < 4; i++) {
		struct sy_err err = { "" };

		ok(!board_new(&wrong[i], &fd, &err) && fd == -1, "a wrong size is refused");
		has_str(err.text, words[i], "  in words");
	}
}

static void
test_memory(void)
{
	static const struct board_size big = { .services = 1024, .cells = 65536, .checks = 65536,
	                                       .persist_entries = 1u << 20 };
	struct board_tally sum;
	struct stat st;
	size_t fresh, used;
	int fd;
	struct board *board = new_board(&big, &fd);
	uint64_t begin;

	fstat(fd, &st);
	fresh = memory_of(fd);
	diag("65,536 cells, 65,536 checks, 1,048,576 persistence entries: %lld MiB of addresses, "
	     "%zu KiB of memory when new", (long long)st.st_size >> 20, fresh >> 10);
	ok(fresh <= 16384, "a new board takes next to no memory");
	board_set_workers(board, 4);
	begin = clock_us();
	for (unsigned i = 0; i < 500; i++)
		board_cell(board, CELL_SERVICE, id_of(i));
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t cell = board_cell(board, CELL_OTHER, id_of(1000000 + i));

		for (unsigned row = ROW_WORKER; row < ROW_WORKER + 4; row++)
			tally_add(board_tally(board, row, cell)->total, 1);
	}
	diag("20,500 cells claimed in %llu us", (unsigned long long)(clock_us() - begin));
	used = memory_of(fd);
	diag("with 500 services, 20,000 servers and seats, 4 workers counting: %zu KiB",
	     used >> 10);
	ok(used < 16u << 20, "what is used of it costs what it should");
	board_sum(board, board_cell(board, CELL_OTHER, id_of(1000000)), &sum);
	is_uint(sum.total, 4, "and is summed");
	board_unmap(board);
	close(fd);
}

static void
test_map(void)
{
	struct sy_err err = { "" };
	struct board *board, *again;
	int fd, other;

	board = new_board(&small, &fd);
	again = board_map(fd, &err);
	ok(again, "a board is mapped again %s", err.text);
	ok(again->head != board->head, "at another address");
	is_mem(board_key(board), board_key(again), sizeof(struct hash_key), "it is the same");
	is_uint(board_cell(board, CELL_OTHER, 77), board_cell(again, CELL_OTHER, 77),
	        "one id, one cell for both");
	ok(board_started_wall_ms(again) <= clock_wall_ms(), "started");
	board_unmap(again);
	board->head->layout++;
	ok(!board_map(fd, &err), "a board of another layout is refused");
	has_str(err.text, "another version", "  in words");
	board->head->layout--;
	board->head->size.cells *= 2;
	ok(!board_map(fd, &err), "one with a wrong length is refused");
	board_unmap(board);
	close(fd);
	other = memfd_shared("other", 8192, &err);
	ok(!board_map(other, &err), "any other memory is refused");
	has_str(err.text, "no board", "  in words");
	close(other);
}

static void
test_cells(void)
{
	uint64_t keep[40];
	uint32_t cell[40], n = 0, full;
	int fd;
	struct board *board = new_board(&small, &fd);
	bool right = true;

	for (unsigned i = 0; i < 8; i++)
		right &= board_cell(board, CELL_SERVICE, id_of(100 + i)) == i;
	ok(right, "services have the first cells");
	is_uint(board_cell(board, CELL_SERVICE, id_of(200)), UINT32_MAX,
	        "no room for a ninth service");
	for (unsigned i = 0; i < 24; i++) {
		cell[i] = board_cell(board, CELL_OTHER, id_of(i));
		right &= cell[i] == 8 + i && board_cell_at(board, cell[i])->id == id_of(i);
	}
	ok(right, "the other cells are given densely");
	full = board_cell(board, CELL_OTHER, id_of(50));
	is_uint(full, UINT32_MAX, "no room for more");
	for (unsigned i = 0; i < 24; i++)
		right &= board_cell(board, CELL_OTHER, id_of(i)) == cell[i];
	ok(right, "each is found again in the full table");

	board_set_workers(board, 2);
	for (unsigned i = 0; i < 8; i++)
		keep[n++] = id_of(100 + i);
	for (unsigned i = 0; i < 24; i += 2)
		keep[n++] = id_of(i);
	for (unsigned i = 0; i < n; i++) /* sorted */
		for (unsigned j = i + 1; j < n; j++)
			if (keep[j] < keep[i]) {
				uint64_t swap = keep[i];

				keep[i] = keep[j];
				keep[j] = swap;
			}
	board_cell_at(board, cell[1])->wish = WISH_DRAIN;
	tally_add(board_tally(board, ROW_WORKER + 1, cell[1])->total, 5);
	tally_add(board_tally(board, ROW_WORKER + 1, cell[3])->active, 1);
	board_bury(board, keep, n);
	for (unsigned i = 0; i < 24; i += 2)
		right &= board_cell(board, CELL_OTHER, id_of(i)) == cell[i];
	ok(right, "what is kept keeps its cell");
	is_uint(board_cell(board, CELL_OTHER, id_of(3)), cell[3], "so does what is still in use");
	is_uint(board_cell(board, CELL_OTHER, id_of(999)), cell[1], "a buried cell is given again");
	is_uint(board_cell_at(board, cell[1])->wish, WISH_NONE,
	        "without the wishes of the old one");
	is_uint(board_tally(board, ROW_WORKER + 1, cell[1])->total, 0, "and without its counters");

	for (unsigned i = 0; i < 20000 && right; i++) {
		right &= board_cell(board, CELL_OTHER, id_of(5000 + i)) != UINT32_MAX;
		if (i % 8 == 7)
			board_bury(board, keep, n);
		if (i % 64 == 0)
			right &= board_cell(board, CELL_OTHER, id_of(2)) == cell[2];
	}
	ok(right, "20,000 servers come and go in a table for 24");
	board_unmap(board);
	close(fd);
}

static void
test_health(void)
{
	struct cell_health health;
	int fd;
	struct board *board = new_board(&small, &fd);
	struct board_cell *cell = board_cell_at(board, board_cell(board, CELL_OTHER, 9));
	char words[400];

	board_health_read(cell, &health);
	is_uint(health.health, HEALTH_UNKNOWN, "unknown at first");
	ok(health_usable(health.health), "and usable");
	board_health_write(cell, HEALTH_UP, "answered in 2 ms", 80, 2000);
	board_health_read(cell, &health);
	is_uint(health.health, HEALTH_UP, "up");
	is_str(health.reason, "answered in 2 ms", "with a reason");
	ok(health.weight == 80 && health.latency_us == 2000, "weight and latency");
	ok(health.changes == 0 && health.up_since_ms == 0,
	   "up from the start: no change, no slow start");
	ok(health.since_wall_ms > 0, "since when");
	board_health_write(cell, HEALTH_DOWN, "connection refused", 0, 0);
	board_health_write(cell, HEALTH_DOWN, "no answer in 2 s", 0, 0);
	board_health_read(cell, &health);
	ok(!health_usable(health.health) && health.changes == 1, "down is one change");
	is_str(health.reason, "no answer in 2 s", "the last reason is shown");
	board_health_write(cell, HEALTH_UP, "", 0, 900);
	board_health_read(cell, &health);
	ok(health.changes == 2 && health.up_since_ms > 0 && health.up_since_ms <= clock_ms(),
	   "up again: slow start counts from now");
	memset(words, 'x', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	board_health_write(cell, HEALTH_UP, words, 0, 900);
	board_health_read(cell, &health);
	is_uint(strlen(health.reason), BOARD_WORDS - 1, "a long reason is cut");

	cell->health_seq++; /* the checker was killed in the middle */
	board_health_read(cell, &health);
	is_uint(health.health, HEALTH_UP, "health can be read of a cell that was being written");
	has_str(health.reason, "died while", "and the reason says so");
	board_health_write(cell, HEALTH_DOWN, "reset", 0, 0);
	board_health_read(cell, &health);
	is_str(health.reason, "reset", "the successor's words are read again");
	board_unmap(board);
	close(fd);
}

static void
test_checks(void)
{
	struct board_check copy, *check;
	uint64_t keep[] = { 5, 7 };
	int fd;
	struct board *board = new_board(&small, &fd);
	bool right = true;

	ok(!board_check(board, 5, false), "a check that nobody claimed is not found");
	check = board_check(board, 5, true);
	ok(check && board_check(board, 5, false) == check, "a claimed one is");
	board_check_begin(check);
	check->runs = 3;
	snprintf(check->reason, sizeof(check->reason), "three");
	board_check_read(check, &copy);
	has_str(copy.reason, "died while", "one that is being written says so");
	board_check_end(check);
	board_check_read(check, &copy);
	ok(copy.runs == 3 && !strcmp(copy.reason, "three"), "and is read whole afterwards");
	for (uint64_t id = 1; id <= 16; id++)
		right &= board_check(board, id, true) != NULL;
	ok(right && !board_check(board, 17, true), "16 of 16, and no more");
	is_uint(board_bury_checks(board, keep, 2), 14, "14 are buried");
	ok(board_check(board, 5, false) == check && check->runs == 3, "what is kept stays");
	check = board_check(board, 20, true);
	ok(check && check->runs == 0 && !check->reason[0], "a new one starts empty");
	board_unmap(board);
	close(fd);
}

static void
test_tallies(void)
{
	uint64_t reasons[BOARD_REASONS];
	struct board_tally sum, *tally;
	int fd;
	struct board *board = new_board(&small, &fd);
	uint32_t service = board_cell(board, CELL_SERVICE, 3);
	uint32_t cell = board_cell(board, CELL_OTHER, 4);

	board_set_workers(board, 3);
	board_set_workers(board, 2);
	is_uint(board_workers(board), 3, "rows that were used stay known");
	for (unsigned worker = 0; worker < 3; worker++) {
		tally = board_tally(board, ROW_WORKER + worker, cell);
		tally_add(tally->active, 2 + worker);
		tally_add(tally->load, 10);
		tally_add(tally->total, 100);
		tally_add(tally->bytes_up, UINT64_C(1) << 40);
		tally_add(tally->refused, 1);
		tally->response_us = worker ? 1000 * worker : 0;
		board_reasons(board, ROW_WORKER + worker, service)[7]++;
	}
	is_uint(board_active(board, cell), 9, "active over all workers");
	is_uint(board_load(board, cell), 30, "load over all workers");
	board_sum(board, cell, &sum);
	ok(sum.active == 9 && sum.load == 30 && sum.total == 300 && sum.refused == 3 &&
	   sum.bytes_up == UINT64_C(3) << 40, "sums");
	is_uint(sum.response_us, 1500, "response time: the mean of those who know one");
	board_fold(board, ROW_WORKER + 2);
	board_sum(board, cell, &sum);
	ok(sum.total == 300 && sum.refused == 3 && sum.bytes_up == UINT64_C(3) << 40,
	   "totals of a dead worker are kept");
	ok(sum.active == 5 && board_active(board, cell) == 5, "what it had open is gone");
	board_sum_reasons(board, service, reasons);
	is_uint(reasons[7], 3, "reasons are kept");
	is_uint(board_reasons(board, ROW_WORKER + 2, service)[7], 0, "its row is empty");
	board_unmap(board);
	close(fd);
}

static void
test_sources(void)
{
	struct source_count count;
	struct sy_addr a = addr4(1), b = addr4(2), six = { .family = SY_IPV6 }, six2;
	uint32_t slot, slots[40];
	uint64_t now = 1000000;
	size_t before;
	unsigned full = 0;
	int fd;
	struct board *board = new_board(&small, &fd);

	board_set_workers(board, 2);
	before = memory_of(fd);
	slot = source_more(board, ROW_WORKER, 1, &a, now);
	a.port++;
	source_more(board, ROW_WORKER + 1, 1, &a, now);
	count = source_look(board, 1, &a, now);
	ok(count.active == 2 && count.recent == 2, "counted over workers, whatever the port");
	count = source_look(board, 1, &b, now);
	ok(count.active == 0 && count.recent == 0, "another client is not");
	count = source_look(board, 2, &a, now);
	is_uint(count.active, 0, "nor the same client at another service");
	count = source_look(board, 1, &a, now + 500);
	is_uint(count.recent, 2, "half a second later both are recent");
	count = source_look(board, 1, &a, now + 1500);
	is_uint(count.recent, 1, "then fade");
	count = source_look(board, 1, &a, now + 2000);
	ok(count.recent == 0 && count.active == 2, "and are gone, but open");
	source_less(board, ROW_WORKER, slot);
	is_uint(source_look(board, 1, &a, now).active, 1, "one less");
	source_less(board, ROW_WORKER, UINT32_MAX);

	six.ip[0] = 0x20;
	six2 = six;
	six2.ip[15] = 9;
	source_more(board, ROW_WORKER, 1, &six, now);
	is_uint(source_look(board, 1, &six2, now).active, 1, "IPv6 clients count by /64");
	six2.ip[7] = 1;
	is_uint(source_look(board, 1, &six2, now).active, 0, "and no further");

	for (unsigned i = 0; i < 100; i++)
		for (unsigned j = 0; j < 10; j++)
			source_more(board, ROW_WORKER, 3, &b, now + i * 100);
	count = source_look(board, 3, &b, now + 9900);
	ok(count.recent >= 90 && count.recent <= 110, "a steady 100 a second is seen as %u",
	   count.recent);
	ok(memory_of(fd) > before, "this took memory");
	board_fold(board, ROW_WORKER);
	board_fold(board, ROW_WORKER + 1);
	is_uint(source_look(board, 3, &b, now).active, 0,
	        "nothing is open after the worker's death");
	diag("memory before %zu, after the fold %zu bytes", before, memory_of(fd));
	ok(memory_of(fd) <= before + 65536, "and the memory is given back");

	/* Full: what is idle makes room, what is open does not. */
	for (uint32_t i = 0; i < BOARD_SOURCES * 2; i++) {
		struct sy_addr client = addr4(i);

		full += source_more(board, ROW_WORKER, 4, &client, now) == UINT32_MAX;
	}
	diag("%u clients into %u slots: %u not counted", BOARD_SOURCES * 2, BOARD_SOURCES, full);
	ok(full >= BOARD_SOURCES && full < BOARD_SOURCES * 3 / 2, "a full table counts no more");
	board_fold(board, ROW_WORKER);
	full = 0;
	for (uint32_t i = 0; i < BOARD_SOURCES * 4; i++) {
		struct sy_addr client = addr4(i);

		slots[0] = source_more(board, ROW_WORKER, 4, &client, now + i);
		full += slots[0] == UINT32_MAX;
		source_less(board, ROW_WORKER, slots[0]);
	}
	is_uint(full, 0, "idle clients make room for new ones");
	board_fold(board, ROW_WORKER);
	for (full = 0, slot = 0; slot < BOARD_SOURCES / 2; slot++) {
		struct sy_addr client = addr4(slot);

		full += source_more(board, ROW_WORKER, 5, &client, now) == UINT32_MAX;
	}
	ok(full < BOARD_SOURCES / 2 / 1000,
	   "half full, next to every client has a slot (%u of %u do not)",
	   full, BOARD_SOURCES / 2);
	board_unmap(board);
	close(fd);
}

static void
test_ids_dead(void)
{
	int fd;
	struct board *board = new_board(&small, &fd);
	struct ids *ids = &board->ids[IDS_OTHERS];
	pid_t none = 0x3ffffff; /* beyond any pid_max */
	uint32_t cell = board_cell(board, CELL_OTHER, id_of(1));

	/* Killed when the place had its id, and the table did not know it yet. */
	ids->head->inside = (uint32_t)none;
	seq_begin(&ids->head->seq);
	ids->head->used = 3;
	*ids_id(ids, 2) = id_of(2);
	is_uint(board_cell(board, CELL_OTHER, id_of(1)), cell, "finding asks nobody");
	is_uint(board_cell(board, CELL_OTHER, id_of(2)), cell + 2,
	        "what the dead left is completed");
	is_uint(board_cell(board, CELL_OTHER, id_of(3)), cell + 1, "and the table goes on");
	is_uint(ids->head->inside, 0, "nobody is inside");
	/* The same by the master. */
	ids->head->inside = (uint32_t)none;
	seq_begin(&ids->head->seq);
	*ids_id(ids, 3) = id_of(4);
	ids->head->used = 4;
	board_process(board, ROW_WORKER)->pid = (uint32_t)none;
	board_fold(board, ROW_WORKER);
	ok(ids->head->inside == 0 && !(ids->head->seq & 1), "the fold completes it, too");
	is_uint(board_cell(board, CELL_OTHER, id_of(4)), cell + 3, "rightly");
	board_unmap(board);
	close(fd);
}

int
main(void)
{
	test_sizes();
	test_memory();
	test_map();
	test_cells();
	test_health();
	test_checks();
	test_tallies();
	test_sources();
	test_ids_dead();
	return done_testing();
}
