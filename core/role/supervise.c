#define _GNU_SOURCE 1
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "proc/spawn.h"
#include "role/master.h"

bool
process_alive(const struct process *process)
{
	return process->pid > 0;
}

static void
supervise_readable(struct ev_loop *loop, struct ev_io *io, int events)
{
	(void)loop, (void)events;
	records_from(container_of(io, struct process, readable));
}

static void
supervise_has_ended(struct ev_loop *loop, struct ev_io *io, int events)
{
	(void)loop, (void)events;
	supervise_ended(container_of(io, struct process, ended));
}

static void
supervise_respawn(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)loop, (void)events;
	supervise_start(container_of(timer, struct process, respawn));
}

void
supervise_init(struct master *master)
{
	for (unsigned row = 0; row < BOARD_ROWS; row++) {
		struct process *process = &master->processes[row];

		process->master = master;
		process->row = row;
		process->index = row >= ROW_WORKER ? row - ROW_WORKER : 0;
		process->control = process->pidfd = process->outbox.fd = process->takes = process->hop = -1;
		link_init(&process->holds);
		ev_timer_init(&process->respawn, supervise_respawn, 0., 0.);
		if (row >= ROW_WORKER)
			snprintf(process->name, sizeof(process->name), "worker %u", process->index);
		else
			snprintf(process->name, sizeof(process->name), "%s",
			         row == ROW_CHECKER ? "checker" : row == ROW_CONSOLE ? "console" : "routing");
	}
}

static void
supervise_fill_row(struct process *process)
{
	struct board_process *row = board_process(process->master->board, process->row);

	row->spawns++;
	row->started_wall_ms = clock_wall_ms();
	row->ready_wall_ms = 0;
	row->beat_ms = clock_ms();
	row->generation = row->generations = row->connections = 0;
	row->last_words[0] = '\0';
}

static int
supervise_spawn(struct process *process, struct sy_err *err)
{
	struct master *master = process->master;
	char title[48];
	int fds[SPAWN_FDS - SPAWN_FD_CONTROL], theirs;

	if (control_pair(&process->control, &theirs, err) != 0)
		return -1;
	supervise_fill_row(process);
	snprintf(title, sizeof(title), "steelyard: %s", process->name);
	fds[SPAWN_FD_CONTROL - SPAWN_FD_CONTROL] = theirs;
	fds[SPAWN_FD_BOARD - SPAWN_FD_CONTROL] = master->board_fd;
	fds[SPAWN_FD_LOG - SPAWN_FD_CONTROL] = master->log.fd;
	process->pid = spawn_role(title, NULL, fds, SPAWN_FDS - SPAWN_FD_CONTROL, err);
	close(theirs);
	if (process->pid > 0) {
		process->pidfd = pidfd_open(process->pid, 0);
		if (process->pidfd >= 0)
			return 0;
		/* Nobody else can have waited for it, so the pid is still its own. */
		sy_fail(err, "cannot watch %s: %s", process->name, strerror(errno));
		kill(process->pid, SIGKILL);
		waitid(P_PID, (id_t)process->pid, &(siginfo_t){ 0 }, WEXITED);
		process->pid = 0;
	}
	process->pid = 0;
	close(process->control);
	process->control = -1;
	return -1;
}

/* What a child must know before it can work; it answers BOUND and READY. */
static void
supervise_introduce(struct process *process)
{
	struct master *master = process->master;

	master_log_tell(process);
	epoch_send(process, master->current);
	listeners_introduce(process);
	process_say(process, CONTROL_SWITCH, 0, master->current->number, 0, 0);
	if (process->row == ROW_CONSOLE)
		trial_tell(master);
	reload_started(process);
}

void
supervise_watch(struct process *process)
{
	struct ev_loop *loop = process->master->loop;

	outbox_open(&process->outbox, loop, process->control);
	ev_io_init(&process->readable, supervise_readable, process->control, EV_READ);
	if (process->control >= 0)
		ev_io_start(loop, &process->readable);
	ev_io_init(&process->ended, supervise_has_ended, process->pidfd, EV_READ);
	ev_io_start(loop, &process->ended);
}

void
supervise_start(struct process *process)
{
	struct master *master = process->master;
	struct sy_err err;

	must(!process_alive(process));
	ev_timer_stop(master->loop, &process->respawn);
	process->killed_for[0] = '\0';
	process->outdated = 0;
	process->kill_at_ms = process->ready_ms = process->binding = 0;
	process->started_ms = clock_ms();
	process->icmp = master->current->head->icmp;
	process->transparent = master->current->head->transparent;
	if (supervise_spawn(process, &err) != 0) {
		log_err("%s", err.text);
		supervise_plan_successor(process);
		return;
	}
	process->state = PROCESS_STARTING;
	board_process(master->board, process->row)->pid = (uint32_t)process->pid;
	supervise_watch(process);
	log_debug("%s started (pid %d)", process->name, (int)process->pid);
	supervise_introduce(process);
}

void
supervise_ready(struct process *process)
{
	struct master *master = process->master;

	if (process->state != PROCESS_STARTING)
		return;
	process->state = PROCESS_READY;
	process->ready_ms = clock_ms();
	process->failures = 0;
	board_process(master->board, process->row)->ready_wall_ms = clock_wall_ms();
	if (master->phase == MASTER_RUNNING)
		log_info("%s is ready (pid %d, %u ms)", process->name, (int)process->pid,
		         (unsigned)(process->ready_ms - process->started_ms));
	listeners_deal(master);
	lanes_ready(process);
	master_look(master);
}

void
supervise_leave(struct process *process, bool graceful, uint64_t grace_ms)
{
	struct master *master = process->master;

	ev_timer_stop(master->loop, &process->respawn);
	if (!process_alive(process)) {
		process->state = PROCESS_NONE;
		return;
	}
	process->state = PROCESS_LEAVING;
	process->binding = 0;
	process->kill_at_ms = 0;
	if (!graceful || grace_ms > 0)
		process->kill_at_ms = clock_ms() + grace_ms + MASTER_STOP_MS;
	listeners_lost(process);
	process_say(process, CONTROL_STOP, graceful ? CONTROL_GRACEFUL : 0, 0, 0, grace_ms);
}

void
supervise_kill(struct process *process, const char *format, ...)
{
	va_list args;

	if (!process_alive(process) || process->killed_for[0])
		return;
	va_start(args, format);
	vsnprintf(process->killed_for, sizeof(process->killed_for), format, args);
	va_end(args);
	log_err("%s (pid %d) is killed: %s", process->name, (int)process->pid, process->killed_for);
	pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0);
}

static void
supervise_look_at(struct process *process, uint64_t now_ms, bool excused)
{
	uint64_t beat = board_process(process->master->board, process->row)->beat_ms;

	if (process->kill_at_ms && now_ms >= process->kill_at_ms)
		supervise_kill(process, "it did not leave in time");
	else if (excused)
		return;
	else if (process->state == PROCESS_STARTING && now_ms - process->started_ms > MASTER_READY_MS)
		supervise_kill(process, "not ready after %d s", MASTER_READY_MS / 1000);
	else if (now_ms > beat && now_ms - beat > MASTER_BEAT_MS)
		supervise_kill(process, "no sign of life for %u s", (unsigned)((now_ms - beat) / 1000));
}

void
supervise_tick(struct master *master, uint64_t now_ms)
{
	/* When we did not run for a while (the machine was suspended, or starved), neither did they. */
	if (now_ms - master->last_tick_ms > MASTER_STALLED_MS)
		master->excused_until_ms = now_ms + MASTER_BEAT_MS;
	master->last_tick_ms = now_ms;
	master_each_process(process, master)
		if (process_alive(process))
			supervise_look_at(process, now_ms, now_ms < master->excused_until_ms);
}
