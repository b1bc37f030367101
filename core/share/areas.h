/* How the board lies in memory: for the files of core/share only. */
#ifndef SHARE_AREAS_H
#define SHARE_AREAS_H

#include "base/must.h"
#include "share/board.h"
#include "share/ids.h"
#include "share/source.h"
#include "share/tickets.h"

enum board_ids { IDS_SERVICES, IDS_OTHERS, IDS_CHECKS, IDS_TABLES };

enum board_area {
	AREA_PROCESSES,
	AREA_SLOTS,               /* of the tables of ids, one after the other */
	AREA_CELLS,
	AREA_CHECKS,
	AREA_TALLIES,             /* one row after the other, as the next three */
	AREA_REASONS,
	AREA_FIGURES,
	AREA_SOURCES,
	AREA_PERSIST,
	AREA_FLOWS,               /* one row after the other, as the next one */
	AREA_RECORDER,
	AREA_END,
};

/* All but ids, workers and fold_seq is constant. */
struct board_head {
	uint64_t magic;
	uint64_t layout;          /* of who made it: all sizes that processes must agree on */
	struct board_size size;
	struct hash_key key;
	uint8_t secret[SY_SECRET];
	uint64_t started_wall_ms;
	_Atomic uint32_t workers; /* by the master */
	_Atomic uint32_t fold_seq; /* odd while the master moves a row's totals; by the master */
	struct ids_head ids[IDS_TABLES];
	struct ticket_area tickets; /* by the master */
};

/* One process's view of it. */
struct board {
	struct board_head *head;
	size_t len;
	size_t at[AREA_END + 1];  /* where each area begins */
	struct ids ids[IDS_TABLES];
};

static inline void *
board_area(const struct board *board, enum board_area area, size_t offset)
{
	return (char *)board->head + board->at[area] + offset;
}

static inline void *
board_source_area(const struct board *board, unsigned row)
{
	must(row < BOARD_ROWS);
	return board_area(board, AREA_SOURCES, row * source_area_size());
}

#endif
