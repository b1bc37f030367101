/* Lanes: lane i serves the slots with slot % lanes == i, whoever drives in it. Usually that is worker
 * i for ever. A worker that must be replaced although it is well (it lacks a right that a new
 * configuration needs, or an older program runs in it) gets a colleague in a free place, who takes the
 * lane when it is ready; then the old one leaves with its last connection. */
#define _GNU_SOURCE 1
#include "base/must.h"
#include "role/master.h"

static bool
lane_place_is_free(const struct process *process)
{
	return process->state == PROCESS_NONE && !process->wanted;
}

/* Its own number first, so that lane and worker are the same as long as nothing unusual happened. */
static struct process *
lane_find_place(struct master *master, unsigned lane)
{
	struct process *workers = master->processes + ROW_WORKER;

	for (unsigned i = 0; i < BOARD_WORKERS; i++) {
		struct process *process = &workers[(lane + i) % BOARD_WORKERS];

		if (lane_place_is_free(process))
			return process;
	}
	return NULL;
}

static void
lane_leave(struct process *process)
{
	process->wanted = false;
	process->takes = -1;
}

static struct process *
lane_taker(struct master *master, unsigned lane)
{
	master_each_process(process, master)
		if (process->wanted && process->takes == (int)lane)
			return process;
	return NULL;
}

static void
lane_staff(struct master *master, unsigned lane)
{
	struct process *driver = master->lanes[lane], *place;

	if (driver && (!driver->outdated || lane_taker(master, lane)))
		return;
	place = lane_find_place(master, lane);
	/* None left: again when somebody has left. */
	if (!place)
		return;
	place->wanted = true;
	if (driver)
		place->takes = (int)lane;
	else
		master->lanes[lane] = place;
}

/* Readers of the board look no further than this. */
static void
lanes_tell_board(struct master *master)
{
	unsigned rows = 0;

	for (unsigned i = 0; i < BOARD_WORKERS; i++)
		if (master->processes[ROW_WORKER + i].wanted ||
		    board_process(master->board, ROW_WORKER + i)->spawns > 0)
			rows = i + 1;
	board_set_workers(master->board, rows);
}

void
lanes_set(struct master *master, unsigned n)
{
	must(n > 0 && n <= BOARD_WORKERS);
	for (unsigned lane = n; lane < BOARD_WORKERS; lane++) {
		struct process *taker = lane_taker(master, lane);

		if (master->lanes[lane])
			lane_leave(master->lanes[lane]);
		if (taker)
			lane_leave(taker);
		master->lanes[lane] = NULL;
	}
	master->workers = n;
	lanes_staff(master);
}

void
lanes_staff(struct master *master)
{
	for (unsigned lane = 0; lane < master->workers; lane++)
		lane_staff(master, lane);
	lanes_tell_board(master);
}

void
lanes_ready(struct process *process)
{
	struct master *master = process->master;
	struct process *old;

	if (process->takes < 0)
		return;
	old = master->lanes[process->takes];
	master->lanes[process->takes] = process;
	process->takes = -1;
	if (old) {
		lane_leave(old);
		log_info("%s takes over from %s, which leaves with its last connection", process->name,
		         old->name);
	}
	/* Its slots first, then the old one may stop accepting. */
	listeners_deal(master);
	if (old)
		supervise_leave(old, true, 0);
}
