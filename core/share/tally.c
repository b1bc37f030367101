/* The part of the board that counts: a row for each process, sums, and what happens to a row when
 * its process has died. */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "share/areas.h"
#include "share/persist.h"
#include "share/seq.h"

/* All rows that were ever in use: the fixed ones, and as many workers as there were. */
static unsigned
tally_rows(const struct board *board)
{
	return ROW_WORKER + board_workers(board);
}

struct board_tally *
board_tally(struct board *board, unsigned row, uint32_t cell)
{
	uint32_t cells = board->head->size.cells;
	size_t at = (size_t)row * cells + cell;

	must(row < BOARD_ROWS && cell < cells);
	return board_area(board, AREA_TALLIES, at * sizeof(struct board_tally));
}

_Atomic uint64_t *
board_reasons(struct board *board, unsigned row, uint32_t service_cell)
{
	uint32_t services = board->head->size.services;

	must(row < BOARD_ROWS && service_cell < services);
	return (_Atomic uint64_t *)board_area(board, AREA_REASONS, 0) +
	       ((size_t)row * services + service_cell) * BOARD_REASONS;
}

static struct board_figures *
tally_figures(struct board *board, unsigned row, uint32_t cell)
{
	return (struct board_figures *)board_area(board, AREA_FIGURES, 0) +
	       (size_t)row * board->head->size.cells + cell;
}

/* Memory that nobody has written to is not touched: looking at it would take it. */
static bool
tally_has_figures(struct board *board, unsigned row, uint32_t cell)
{
	return atomic_load_explicit(&board_tally(board, row, cell)->figures, memory_order_relaxed);
}

struct board_figures *
board_figures(struct board *board, unsigned row, uint32_t cell)
{
	atomic_store_explicit(&board_tally(board, row, cell)->figures, 1, memory_order_relaxed);
	return tally_figures(board, row, cell);
}

void
board_set_workers(struct board *board, unsigned n)
{
	must(n <= BOARD_WORKERS);
	if (n > board_workers(board))
		atomic_store_explicit(&board->head->workers, n, memory_order_release);
}

unsigned
board_workers(const struct board *board)
{
	return atomic_load_explicit(&board->head->workers, memory_order_acquire);
}

uint32_t
board_active(struct board *board, uint32_t cell)
{
	unsigned rows = tally_rows(board);
	uint32_t sum = 0;

	for (unsigned row = ROW_WORKER; row < rows; row++)
		sum += atomic_load_explicit(&board_tally(board, row, cell)->active,
		                            memory_order_relaxed);
	return sum;
}

uint32_t
board_load(struct board *board, uint32_t cell)
{
	unsigned rows = tally_rows(board);
	uint32_t sum = 0;

	for (unsigned row = ROW_WORKER; row < rows; row++)
		sum += atomic_load_explicit(&board_tally(board, row, cell)->load,
		                            memory_order_relaxed);
	return sum;
}

uint32_t
board_response_us(struct board *board, uint32_t cell)
{
	unsigned rows = tally_rows(board), known = 0;
	uint64_t sum = 0;

	for (unsigned row = ROW_WORKER; row < rows; row++) {
		uint32_t us = atomic_load_explicit(&board_tally(board, row, cell)->response_us,
		                                   memory_order_relaxed);

		sum += us;
		known += us != 0;
	}
	return known ? (uint32_t)(sum / known) : 0;
}

#define TALLY_ADD(to, from, field) \
	tally_add((to)->field, atomic_load_explicit(&(from)->field, memory_order_relaxed))

/* What only grows. */
static void
tally_totals(struct board_tally *to, const struct board_tally *from)
{
	TALLY_ADD(to, from, total);
	TALLY_ADD(to, from, bytes_up);
	TALLY_ADD(to, from, bytes_down);
	TALLY_ADD(to, from, connect_failures);
	TALLY_ADD(to, from, refused);
	TALLY_ADD(to, from, failed);
}

void
board_sum(struct board *board, uint32_t cell, struct board_tally *out)
{
	unsigned tries = 0;
	uint32_t was;

	do {
		was = seq_look(&board->head->fold_seq);
		memset(out, 0, sizeof(*out));
		for (unsigned row = 0; row < tally_rows(board); row++) {
			const struct board_tally *tally = board_tally(board, row, cell);

			tally_totals(out, tally);
			TALLY_ADD(out, tally, active);
			TALLY_ADD(out, tally, load);
		}
	} while (!seq_same(&board->head->fold_seq, was) && seq_again(&tries));
	out->response_us = board_response_us(board, cell);
}

static void
tally_add_counters(struct board_figures *to, const struct board_figures *from)
{
	for (unsigned i = 0; i < SY_COUNTERS; i++)
		TALLY_ADD(to, from, counter[i]);
}

static void
tally_latest(struct board_figures *to, const struct board_figures *from)
{
	uint64_t until_ms = atomic_load_explicit(&from->until_ms, memory_order_relaxed);

	if (until_ms > to->until_ms)
		to->until_ms = until_ms;
}

bool
board_sum_figures(struct board *board, uint32_t cell, struct board_figures *out)
{
	unsigned tries = 0;
	bool any;
	uint32_t was;

	do {
		was = seq_look(&board->head->fold_seq);
		memset(out, 0, sizeof(*out));
		any = false;
		for (unsigned row = 0; row < tally_rows(board); row++) {
			const struct board_figures *from;

			if (!tally_has_figures(board, row, cell))
				continue;
			from = tally_figures(board, row, cell);
			tally_add_counters(out, from);
			for (unsigned i = 0; i < SY_GAUGES; i++)
				TALLY_ADD(out, from, gauge[i]);
			tally_latest(out, from);
			any = true;
		}
	} while (!seq_same(&board->head->fold_seq, was) && seq_again(&tries));
	return any;
}

void
board_sum_reasons(struct board *board, uint32_t service_cell, uint64_t out[static BOARD_REASONS])
{
	unsigned tries = 0;
	uint32_t was;

	do {
		was = seq_look(&board->head->fold_seq);
		memset(out, 0, sizeof(*out) * BOARD_REASONS);
		for (unsigned row = 0; row < tally_rows(board); row++) {
			const _Atomic uint64_t *reasons = board_reasons(board, row, service_cell);

			for (unsigned i = 0; i < BOARD_REASONS; i++)
				out[i] += atomic_load_explicit(&reasons[i], memory_order_relaxed);
		}
	} while (!seq_same(&board->head->fold_seq, was) && seq_again(&tries));
}

static void
tally_fold_cells(struct board *board, unsigned row, uint32_t first, uint32_t n)
{
	for (uint32_t cell = first; cell < first + n; cell++) {
		struct board_tally *tally = board_tally(board, row, cell);

		tally_totals(board_tally(board, ROW_FOLDED, cell), tally);
		if (tally_has_figures(board, row, cell)) {
			struct board_figures *figures = tally_figures(board, row, cell);

			tally_add_counters(board_figures(board, ROW_FOLDED, cell), figures);
			memset(figures, 0, sizeof(*figures));
		}
		memset(tally, 0, sizeof(*tally));
	}
}

static void
tally_fold_reasons(struct board *board, unsigned row, uint32_t services)
{
	for (uint32_t cell = 0; cell < services; cell++) {
		_Atomic uint64_t *from = board_reasons(board, row, cell);
		_Atomic uint64_t *to = board_reasons(board, ROW_FOLDED, cell);

		for (unsigned i = 0; i < BOARD_REASONS; i++) {
			tally_add(to[i], from[i]);
			from[i] = 0;
		}
	}
}

void
board_fold(struct board *board, unsigned row)
{
	uint32_t services = ids_used(&board->ids[IDS_SERVICES]);
	uint32_t others = ids_used(&board->ids[IDS_OTHERS]);
	void *sources = board_source_area(board, row);

	must(row != ROW_FOLDED);
	for (unsigned i = 0; i < IDS_TABLES; i++)
		ids_repair(&board->ids[i], board_process(board, row)->pid);
	persist_area_repair(board_area(board, AREA_PERSIST, 0), board->head->size.persist_entries,
	                    row);
	seq_begin(&board->head->fold_seq);
	tally_fold_cells(board, row, 0, services);
	tally_fold_cells(board, row, board->head->size.services, others);
	tally_fold_reasons(board, row, services);
	seq_end(&board->head->fold_seq);
	/* Gives the pages back, too. */
	if (madvise(sources, source_area_size(), MADV_REMOVE) != 0)
		memset(sources, 0, source_area_size());
}

struct tally_burial {
	struct board *board;
	uint32_t first;           /* cell of place 0 */
	const uint64_t *keep;
	size_t n;
};

static int
tally_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool
tally_kept(const struct tally_burial *burial, uint64_t id)
{
	return burial->n &&
	       bsearch(&id, burial->keep, burial->n, sizeof(*burial->keep), tally_compare) != NULL;
}

/* Clears all that was counted for the cell, in all rows: nobody writes there any more. */
static bool
tally_bury_cell(void *context, uint32_t place, uint64_t id)
{
	const struct tally_burial *burial = context;
	struct board *board = burial->board;
	uint32_t cell = burial->first + place;
	unsigned rows = tally_rows(board);

	if (tally_kept(burial, id) || board_active(board, cell))
		return false;
	for (unsigned row = 0; row < rows; row++) {
		if (tally_has_figures(board, row, cell))
			memset(tally_figures(board, row, cell), 0, sizeof(struct board_figures));
		memset(board_tally(board, row, cell), 0, sizeof(struct board_tally));
		if (cell < board->head->size.services)
			memset(board_reasons(board, row, cell), 0,
		               sizeof(uint64_t) * BOARD_REASONS);
	}
	return true;
}

void
board_bury(struct board *board, const uint64_t *keep, size_t n)
{
	struct tally_burial burial = { .board = board, .keep = keep, .n = n };

	ids_bury(&board->ids[IDS_SERVICES], tally_bury_cell, &burial);
	burial.first = board->head->size.services;
	ids_bury(&board->ids[IDS_OTHERS], tally_bury_cell, &burial);
}

static bool
tally_bury_check(void *context, uint32_t place, uint64_t id)
{
	(void)place;
	return !tally_kept(context, id);
}

size_t
board_bury_checks(struct board *board, const uint64_t *keep, size_t n)
{
	struct tally_burial burial = { .board = board, .keep = keep, .n = n };

	return ids_bury(&board->ids[IDS_CHECKS], tally_bury_check, &burial);
}
