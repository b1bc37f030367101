#define _GNU_SOURCE 1
#include "share/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memfd.h"
#include "base/must.h"
#include "share/areas.h"
#include "share/flow.h"
#include "share/persist.h"
#include "share/recorder.h"
#include "share/seq.h"
#include "share/source.h"

#define BOARD_MAGIC UINT64_C(0x535459424f415244) /* "STYBOARD" */
#define BOARD_PAGE 4096u
#define BOARD_MOST (UINT32_C(1) << 26) /* of any table */

static size_t
board_align(size_t size)
{
	return (size + BOARD_PAGE - 1) / BOARD_PAGE * BOARD_PAGE;
}

/* Every number that two processes must agree on to read the same board. */
static uint64_t
board_layout(void)
{
	static const struct hash_key zero;
	const uint64_t numbers[] = {
		sizeof(struct board_head), sizeof(struct board_process), sizeof(struct board_cell),
		sizeof(struct board_check), sizeof(struct board_tally),
		sizeof(struct board_figures), source_area_size(),
		persist_area_size(1024), flow_area_size(1024), recorder_area_size(1024), BOARD_ROWS, BOARD_REASONS, BOARD_SOURCES, BOARD_WORDS,
		offsetof(struct board_cell, health_reason), offsetof(struct board_cell, wish),
	};

	return hash_64(&zero, numbers, sizeof(numbers));
}

static size_t
board_lay_out(size_t at[AREA_END + 1], const struct board_size *size)
{
	size_t slots = ids_slots(size->services) + ids_slots(size->cells - size->services) +
	               ids_slots(size->checks);
	const size_t sizes[AREA_END] = {
		[AREA_PROCESSES] = sizeof(struct board_process) * BOARD_ROWS,
		[AREA_SLOTS] = sizeof(uint32_t) * slots,
		[AREA_CELLS] = sizeof(struct board_cell) * size->cells,
		[AREA_CHECKS] = sizeof(struct board_check) * size->checks,
		[AREA_TALLIES] = sizeof(struct board_tally) * size->cells * BOARD_ROWS,
		[AREA_REASONS] = sizeof(uint64_t) * BOARD_REASONS * size->services * BOARD_ROWS,
		[AREA_FIGURES] = sizeof(struct board_figures) * size->cells * BOARD_ROWS,
		[AREA_SOURCES] = source_area_size() * BOARD_ROWS,
		[AREA_PERSIST] = persist_area_size(size->persist_entries),
		[AREA_FLOWS] = flow_area_size(size->flow_entries) * BOARD_ROWS,
		[AREA_RECORDER] = recorder_area_size(size->records) * BOARD_ROWS,
	};
	size_t offset = board_align(sizeof(struct board_head));

	for (unsigned area = 0; area < AREA_END; area++) {
		at[area] = offset;
		offset += board_align(sizes[area]);
	}
	return at[AREA_END] = offset;
}

static void
board_view_ids(struct board *board)
{
	const struct board_size *size = &board->head->size;
	const uint32_t places[IDS_TABLES] = { size->services, size->cells - size->services,
	                                      size->checks };
	size_t slots = 0;

	for (unsigned i = 0; i < IDS_TABLES; i++) {
		board->ids[i] = (struct ids){
			.head = &board->head->ids[i],
			.slots = board_area(board, AREA_SLOTS, slots * sizeof(uint32_t)),
			.n_slots = ids_slots(places[i]),
			.n_places = places[i],
			.places = board_area(board, AREA_CELLS, 0),
			.place_size = sizeof(struct board_cell),
		};
		slots += ids_slots(places[i]);
	}
	board->ids[IDS_OTHERS].places += (size_t)size->services * sizeof(struct board_cell);
	board->ids[IDS_CHECKS].places = board_area(board, AREA_CHECKS, 0);
	board->ids[IDS_CHECKS].place_size = sizeof(struct board_check);
}

static int
board_check_size(const char *what, uint32_t n, struct sy_err *err)
{
	if (n && n <= BOARD_MOST && !(n & (n - 1)))
		return 0;
	return sy_fail(err, "the board cannot have room for %u %s: a power of two up to %u is "
	               "needed", n, what, BOARD_MOST);
}

static int
board_check_sizes(const struct board_size *size, struct sy_err *err)
{
	if (board_check_size("services", size->services, err) != 0 ||
	    board_check_size("cells", size->cells, err) != 0 ||
	    board_check_size("checks", size->checks, err) != 0 ||
	    board_check_size("persistence entries", size->persist_entries, err) != 0)
		return -1;
	if (size->flow_entries && board_check_size("flows", size->flow_entries, err) != 0)
		return -1;
	if (size->records && board_check_size("records", size->records, err) != 0)
		return -1;
	if (size->services >= size->cells)
		return sy_fail(err, "the board cannot have room for %u services with %u cells in "
	                       "all: cells must be more", size->services, size->cells);
	return 0;
}

struct board *
board_new(const struct board_size *size, int *fd, struct sy_err *err)
{
	size_t at[AREA_END + 1];
	struct board_head *head;
	struct board *board;
	size_t len;

	*fd = -1;
	if (board_check_sizes(size, err) != 0)
		return NULL;
	*fd = memfd_shared("steelyard-board", board_lay_out(at, size), err);
	if (*fd < 0)
		return NULL;
	head = memfd_map(*fd, 1, &len, err);
	if (!head) {
		close(*fd);
		*fd = -1;
		return NULL;
	}
	head->layout = board_layout();
	head->size = *size;
	tickets_first(&head->tickets, clock_wall_ms());
	must(getrandom(&head->key, sizeof(head->key), 0) == sizeof(head->key));
	must(getrandom(head->secret, sizeof(head->secret), 0) == sizeof(head->secret));
	head->started_wall_ms = clock_wall_ms();
	head->magic = BOARD_MAGIC;
	munmap(head, len);
	board = board_map(*fd, err);
	if (!board) {
		close(*fd);
		*fd = -1;
	}
	return board;
}

struct board *
board_map(int fd, struct sy_err *err)
{
	struct board *board = must_alloc(sizeof(*board));

	memset(board, 0, sizeof(*board));
	board->head = memfd_map(fd, 1, &board->len, err);
	if (!board->head) {
		free(board);
		return NULL;
	}
	if (board->len < sizeof(*board->head) || board->head->magic != BOARD_MAGIC)
		sy_fail(err, "descriptor %d is no board of Steelyard (%zu bytes)", fd, board->len);
	else if (board->head->layout != board_layout())
	        sy_fail(err, "the board was made by another version of Steelyard: restart the "
	                "service");
	else if (board_check_sizes(&board->head->size, err) == 0) {
		if (board_lay_out(board->at, &board->head->size) == board->len) {
			board_view_ids(board);
			return board;
		}
		sy_fail(err, "the board has %zu bytes; its head says %zu", board->len,
		        board->at[AREA_END]);
	}
	board_unmap(board);
	return NULL;
}

void
board_unmap(struct board *board)
{
	if (!board)
		return;
	munmap(board->head, board->len);
	free(board);
}

const struct board_size *
board_sizes(const struct board *board)
{
	return &board->head->size;
}

const struct hash_key *
board_key(const struct board *board)
{
	return &board->head->key;
}

struct sy_span
board_secret(const struct board *board)
{
	return sy_span(board->head->secret, sizeof(board->head->secret));
}

uint64_t
board_started_wall_ms(const struct board *board)
{
	return board->head->started_wall_ms;
}

struct board_process *
board_process(struct board *board, unsigned row)
{
	must(row < BOARD_ROWS);
	return (struct board_process *)board_area(board, AREA_PROCESSES, 0) + row;
}

uint32_t
board_cell(struct board *board, enum cell_kind kind, uint64_t id)
{
	uint32_t first = kind == CELL_SERVICE ? 0 : board->head->size.services;
	uint32_t place = ids_claim(&board->ids[kind == CELL_SERVICE ? IDS_SERVICES : IDS_OTHERS],
	                           id);

	return place == IDS_NONE ? UINT32_MAX : first + place;
}

struct board_cell *
board_cell_at(struct board *board, uint32_t cell)
{
	must(cell < board->head->size.cells);
	return (struct board_cell *)board_area(board, AREA_CELLS, 0) + cell;
}

struct board_check *
board_check(struct board *board, uint64_t id, bool claim)
{
	const struct ids *ids = &board->ids[IDS_CHECKS];
	uint32_t place = claim ? ids_claim(ids, id) : ids_find(ids, id);

	return place == IDS_NONE ? NULL : (struct board_check *)(void *)ids_id(ids, place);
}

/* Health and all that the checker writes with it, as it lies in the cell. */
#define HEALTH_AT offsetof(struct board_cell, health)
#define HEALTH_LEN (offsetof(struct board_cell, health_reason) + BOARD_WORDS - HEALTH_AT)

_Static_assert(HEALTH_AT % 4 == 0 && HEALTH_LEN % 4 == 0, "copied in words of 4 bytes");
_Static_assert(sizeof(struct board_check) % 4 == 0, "copied in words of 4 bytes");

#define BOARD_TORN "the checker died while it was writing this; its successor will check again"

void
board_health_read(const struct board_cell *cell, struct cell_health *out)
{
	struct board_cell copy;
	unsigned tries = 0;
	uint32_t was;
	bool whole;

	do {
		was = seq_look(&cell->health_seq);
		seq_copy((char *)&copy + HEALTH_AT, (const char *)cell + HEALTH_AT, HEALTH_LEN);
		whole = seq_same(&cell->health_seq, was);
	} while (!whole && seq_again(&tries));
	out->health = copy.health;
	out->weight = copy.health_weight;
	out->latency_us = copy.health_latency_us;
	out->since_wall_ms = copy.health_since_wall_ms;
	out->up_since_ms = copy.up_since_ms;
	out->changes = copy.health_changes;
	memcpy(out->reason, copy.health_reason, sizeof(out->reason));
	out->reason[sizeof(out->reason) - 1] = '\0';
	if (!whole)
		snprintf(out->reason, sizeof(out->reason), "%s", BOARD_TORN);
}

void
board_health_write(struct board_cell *cell, uint32_t health, const char *reason, uint32_t weight,
                   uint32_t latency_us)
{
	uint32_t old = atomic_load_explicit(&cell->health, memory_order_relaxed);
	char words[BOARD_WORDS] = "";

	memcpy(words, reason, strnlen(reason, sizeof(words) - 1));
	seq_begin(&cell->health_seq);
	if (health != old) {
		cell->health_since_wall_ms = clock_wall_ms();
		/* The first result is no change, and the server may have been up for long. */
		cell->health_changes += old != HEALTH_UNKNOWN;
		cell->up_since_ms = health == HEALTH_UP && old != HEALTH_UNKNOWN ? clock_ms() : 0;
	}
	cell->health_weight = weight;
	cell->health_latency_us = latency_us;
	seq_put(cell->health_reason, words, sizeof(words));
	atomic_store_explicit(&cell->health, health, memory_order_release);
	seq_end(&cell->health_seq);
}

void
board_check_begin(struct board_check *check)
{
	seq_begin(&check->seq);
}

void
board_check_end(struct board_check *check)
{
	seq_end(&check->seq);
}

void
board_check_read(const struct board_check *check, struct board_check *out)
{
	unsigned tries = 0;
	uint32_t was;
	bool whole;

	do {
		was = seq_look(&check->seq);
		seq_copy(out, check, sizeof(*out));
		whole = seq_same(&check->seq, was);
	} while (!whole && seq_again(&tries));
	if (!whole)
		snprintf(out->reason, sizeof(out->reason), "%s", BOARD_TORN);
	out->reason[sizeof(out->reason) - 1] = '\0';
}
