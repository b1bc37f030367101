#define _GNU_SOURCE 1
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "role/master.h"
#include "share/recorder.h"

/* "exit status 1", "killed by signal 11 (Segmentation fault)" */
static const char *
ended_how(const siginfo_t *info, char *out, size_t size)
{
	if (info->si_code == CLD_EXITED)
		snprintf(out, size, "exit status %d", info->si_status);
	else
		snprintf(out, size, "killed by signal %d (%s)%s", info->si_status,
		         strsignal(info->si_status), info->si_code == CLD_DUMPED ? ", core dumped" : "");
	return out;
}

static void
ended_tell(struct process *process, const siginfo_t *info)
{
	struct board_process *row = board_process(process->master->board, process->row);
	bool clean = info->si_code == CLD_EXITED && info->si_status == 0;
	char how[96], words[sizeof(row->last_words)];

	memcpy(words, row->last_words, sizeof(words));
	words[sizeof(words) - 1] = '\0';
	ended_how(info, how, sizeof(how));
	if (!clean || process->state != PROCESS_LEAVING)
		recorder_died(process->master->board);
	if (clean && process->state == PROCESS_LEAVING)
		log_debug("%s (pid %d) has left", process->name, (int)process->pid);
	else if (process->killed_for[0])
		log_err("%s (pid %d) ended: killed because of: %s", process->name, (int)process->pid,
		        process->killed_for);
	else
		log_err("%s (pid %d) ended: %s%s%s", process->name, (int)process->pid, how,
		        words[0] ? "; last words: " : "", words);
}

static void
ended_clear_row(struct process *process)
{
	struct board_process *row = board_process(process->master->board, process->row);

	board_fold(process->master->board, process->row); /* while the row names its process */
	process->last_beat_ms = row->beat_ms;
	row->pid = 0;
	row->ready_wall_ms = row->generation = row->beat_ms = 0;
	row->generations = row->connections = 0;
	row->last_words[0] = '\0';
}

/* Failures before READY double the wait: something is wrong with the machine or the configuration,
 * and trying faster does not help. What dies after READY did its work before: its successor comes at
 * once, but not more than once a second. */
void
supervise_plan_successor(struct process *process)
{
	struct master *master = process->master;
	uint64_t wait_ms = 0, lived_ms = clock_ms() - process->started_ms;
	bool asked = process->state == PROCESS_LEAVING;

	process->state = PROCESS_NONE;
	if (!process->wanted)
		return;
	if (process->ready_ms == 0) {
		wait_ms = MASTER_THROTTLE_MS;
		for (unsigned i = 0; i < process->failures && wait_ms < MASTER_THROTTLE_MOST_MS; i++)
			wait_ms *= 2;
		if (wait_ms > MASTER_THROTTLE_MOST_MS)
			wait_ms = MASTER_THROTTLE_MOST_MS;
		process->failures++;
		log_warn("%s: failed before it was ready (%u in a row): next try in %u s", process->name,
		         process->failures, (unsigned)(wait_ms / 1000));
	} else if (!asked && lived_ms < MASTER_THROTTLE_MS) {
		wait_ms = MASTER_THROTTLE_MS - lived_ms;
	}
	process->state = PROCESS_WAITING;
	ev_timer_stop(master->loop, &process->respawn);
	ev_timer_set(&process->respawn, (double)wait_ms / 1000., 0.);
	ev_timer_start(master->loop, &process->respawn);
	listeners_deal(master);
}

static void
ended_close(struct process *process)
{
	struct ev_loop *loop = process->master->loop;

	outbox_close(&process->outbox);
	ev_io_stop(loop, &process->readable);
	ev_io_stop(loop, &process->ended);
	if (process->control >= 0)
		close(process->control);
	close(process->pidfd);
	process->control = process->pidfd = -1;
	process->pid = 0;
	process->kill_at_ms = process->outdated = 0;
}

void
supervise_ended(struct process *process)
{
	struct master *master = process->master;
	bool was_ready = process->ready_ms > 0;
	siginfo_t info = { 0 };

	/* What it still said counts: why it could not bind, what it released. */
	while (records_from(process))
		;
	if (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
		return;
	ended_tell(process, &info);
	ended_close(process);
	ended_clear_row(process);
	listeners_lost(process);
	console_forget(process);
	reload_died(process);
	epoch_let_all_go(process);
	if (master->phase == MASTER_BEGINNING && !was_ready)
		process->wanted = false;
	supervise_plan_successor(process);
	if (master->phase == MASTER_BEGINNING)
		master_failed(master);
	if (master->phase == MASTER_RUNNING) {
		/* A place became free that somebody may wait for. */
		lanes_staff(master);
		master_staff(master);
		reload_look(master);
	}
	master_look(master);
}
