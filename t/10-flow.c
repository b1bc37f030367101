/* Records of UDP flows on the board: found by the successor, by other workers, never torn. */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "share/flow.h"
#include "t/tap.h"

static const struct board_size flow_size = { .services = 8, .cells = 32, .checks = 16,
	                                     .persist_entries = 64, .flow_entries = 64 };

static struct flow_key
key_of(uint16_t port)
{
	return (struct flow_key){
		.listener = 77,
		.client = { .ip = { 192, 0, 2, 7 }, .port = port, .family = SY_IPV4 },
		.local = { .ip = { 203, 0, 113, 1 }, .port = 3478, .family = SY_IPV4 },
	};
}

static struct flow_record
record_of(uint16_t port, uint64_t server, uint64_t expires_ms)
{
	return (struct flow_record){
		.key = key_of(port),
		.server = server,
		.expires_ms = expires_ms,
		.source = { .ip = { 10, 0, 0, 1 }, .port = (uint16_t)(port + 1), .family = SY_IPV4 },
	};
}

static uint32_t
put(struct board *board, unsigned row, uint32_t pid, const struct flow_record *record, uint64_t now)
{
	return flow_record(board, row, pid, flow_hash(board, &record->key), record, now);
}

static bool
recall(struct board *board, unsigned row, uint16_t port, uint64_t now, struct flow_record *out)
{
	struct flow_key key = key_of(port);

	return flow_recall(board, row, flow_hash(board, &key), &key, now, out);
}

static void
test_life(struct board *board)
{
	struct flow_record record = record_of(1000, 5, 2000), got;
	uint32_t at = put(board, ROW_WORKER, 10, &record, 1000);
	size_t used, room;

	ok(at != FLOW_UNRECORDED, "recorded");
	ok(recall(board, ROW_WORKER, 1000, 1500, &got) && got.server == 5 && got.source.port == 1001,
	   "the successor finds server and source port");
	ok(recall(board, ROW_WORKER + 1, 1000, 1500, &got), "another worker does, too");
	ok(!recall(board, ROW_WORKER, 1001, 1500, &got), "another client is unknown");
	ok(!recall(board, ROW_WORKER, 1000, 2000, &got), "it expires");
	flow_record_extend(board, ROW_WORKER, at, 5000);
	ok(recall(board, ROW_WORKER, 1000, 2000, &got), "unless it is extended");
	record.server = 6;
	is_int((long)put(board, ROW_WORKER, 11, &record, 1000), (long)at,
	       "the same key takes the same place");
	ok(recall(board, ROW_WORKER, 1000, 1500, &got) && got.server == 6, "with what is new");
	flow_usage(board, 1500, &used, &room);
	ok(used == 1 && room == 64, "usage: %zu of %zu", used, room);
	flow_record_drop(board, ROW_WORKER, at);
	ok(!recall(board, ROW_WORKER, 1000, 1500, &got), "dropped");
	flow_record_drop(board, ROW_WORKER, FLOW_UNRECORDED);
	flow_record_extend(board, ROW_WORKER, FLOW_UNRECORDED, 1);
}

static void
test_full(struct board *board)
{
	struct flow_record got;
	unsigned recorded = 0, found = 0, taken = 0;

	for (uint16_t port = 1; port <= 500; port++) {
		struct flow_record record = record_of(port, port, 9000);

		recorded += put(board, ROW_WORKER + 1, 20, &record, 1000) != FLOW_UNRECORDED;
	}
	for (uint16_t port = 1; port <= 500; port++)
		found += recall(board, ROW_WORKER, port, 1000, &got) && got.server == port;
	ok(recorded == 64, "a full table records as many as it has room for: %u", recorded);
	is_int((long)found, (long)recorded, "and all of them are found");
	for (uint16_t port = 1001; port <= 1500; port++) {
		struct flow_record record = record_of(port, port, 9500);

		taken += put(board, ROW_WORKER + 1, 21, &record, 1000) != FLOW_UNRECORDED;
	}
	is_int((long)taken, 64, "what a predecessor left gives way to the living");
	for (uint16_t port = 2001; port <= 2500; port++) {
		struct flow_record record = record_of(port, port, 19500);

		taken += put(board, ROW_WORKER + 1, 21, &record, 9600) != FLOW_UNRECORDED;
	}
	is_int((long)taken, 128, "and so does what has expired");
}

static void
test_none(void)
{
	struct board_size size = flow_size;
	struct flow_record record = record_of(1, 2, 3000), got;
	struct sy_err err;
	struct board *board;
	int fd;

	size.flow_entries = 0;
	board = board_new(&size, &fd, &err);
	ok(board != NULL, "a board without room for flows");
	ok(put(board, ROW_WORKER, 1, &record, 1000) == FLOW_UNRECORDED &&
	   !recall(board, ROW_WORKER, 1, 1000, &got), "records none, and finds none");
	board_unmap(board);
	close(fd);
	size.flow_entries = 100;
	ok(board_new(&size, &fd, &err) == NULL, "a number that is no power of two is refused");
	has_str(err.text, "flows", "in words");
}

static struct {
	struct board *board;
	_Atomic bool over;
} shared;

static void *
writer(void *unused)
{
	uint32_t at = FLOW_UNRECORDED;

	(void)unused;
	for (uint64_t i = 1; !shared.over; i++) {
		struct flow_record record = record_of(7, i, 1000000 + i);

		record.source.port = (uint16_t)i;
		at = put(shared.board, ROW_WORKER, 1, &record, 1000);
		if (i % 7 == 0)
			flow_record_drop(shared.board, ROW_WORKER, at);
	}
	return NULL;
}

static void
test_torn(struct board *board)
{
	unsigned seen = 0, torn = 0;
	struct flow_record got;
	pthread_t thread;

	shared.board = board;
	pthread_create(&thread, NULL, writer, NULL);
	for (unsigned i = 0; i < 3000000 && seen < 20000; i++) {
		if (!recall(board, ROW_WORKER + 1, 7, 1000, &got))
			continue;
		seen++;
		torn += got.source.port != (uint16_t)got.server ||
		        got.expires_ms != 1000000 + got.server;
	}
	shared.over = true;
	pthread_join(thread, NULL);
	ok(seen > 0 && torn == 0, "no record is seen half written: %u reads, %u torn", seen, torn);
}

int
main(void)
{
	struct sy_err err;
	int fd;
	struct board *board = board_new(&flow_size, &fd, &err);

	if (!board) {
		ok(false, "board: %s", err.text);
		return done_testing();
	}
	board_set_workers(board, 2);
	test_life(board);
	test_full(board);
	test_torn(board);
	test_none();
	board_unmap(board);
	close(fd);
	return done_testing();
}
