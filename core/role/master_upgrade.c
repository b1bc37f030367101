/* The old master's half of an upgrade in place. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memfd.h"
#include "base/must.h"
#include "proc/notify.h"
#include "proc/spawn.h"
#include "role/upgrade.h"

enum {
	UPGRADE_CHECK_MS = 20000,
	UPGRADE_PATIENCE_MS = 30000, /* for a moment in which nothing else is under way */
};

/* What is true now, as records. */

static void
upgrade_put(struct text *out, const void *record, size_t size)
{
	text_add(out, record, size);
}

static void
upgrade_put_head(const struct master *master, struct text *out)
{
	struct upgrade_head head = {
		.magic = UPGRADE_MAGIC,
		.version = UPGRADE_VERSION,
		.size = sizeof(head),
		.workers = master->workers,
		.slots = master->slots,
		.current = master->current->number,
		.last_number = master->last_number,
		.board_fd = master->board_fd,
		.log_fd = master->log.fd,
		.door_fd = master->door.fd,
		.log_target = master->log.target,
		.log_format = master->log.format,
		.log_level = master->log.level,
		.door_dev = master->door.dev,
		.door_ino = master->door.ino,
	};

	for (unsigned i = 0; i < BOARD_WORKERS; i++)
		head.lanes[i] = master->lanes[i] ? master->lanes[i]->row : 0;
	for (unsigned i = 0; i < BOARD_WORKERS; i++)
		head.hops[i] = master->processes[ROW_WORKER + i].hop;
	list_each(link, &master->epochs)
		head.n_epochs++;
	for (unsigned row = ROW_CHECKER; row < BOARD_ROWS; row++) {
		head.n_processes += process_alive(&master->processes[row]);
		list_each(link, &master->processes[row].holds)
			head.n_holds++;
	}
	list_each(link, &master->listening) {
		head.n_listenings++;
		head.n_slots += container_of(link, struct listening, link)->n_slots;
	}
	memcpy(head.log_path, master->log.path, GEN_PATH);
	memcpy(head.door_path, master->door.path, GEN_PATH);
	memcpy(head.pid_path, master->pid_path, GEN_PATH);
	upgrade_put(out, &head, sizeof(head));
}

static void
upgrade_put_epochs(const struct master *master, struct text *out)
{
	list_each(link, &master->epochs) {
		const struct epoch *epoch = container_of(link, struct epoch, link);
		struct upgrade_epoch record = {
			.number = epoch->number,
			.secrets = epoch->secrets,
			.open = epoch->open,
			.n_fds = epoch->n_fds,
		};

		for (unsigned i = 0; i < epoch->n_fds; i++)
			record.fds[i] = epoch->fds[i];
		upgrade_put(out, &record, sizeof(record));
	}
}

static void
upgrade_put_processes(struct master *master, struct text *out)
{
	master_each_process(process, master) {
		struct upgrade_process record = {
			.row = process->row,
			.state = process->state,
			.wanted = process->wanted,
			.transparent = process->transparent,
			.icmp = process->icmp,
			.pid = process->pid,
			.pidfd = process->pidfd,
			.control = process->control,
			.takes = process->takes,
			.started_ms = process->started_ms,
			.ready_ms = process->ready_ms,
			.kill_at_ms = process->kill_at_ms,
		};

		if (process_alive(process))
			upgrade_put(out, &record, sizeof(record));
	}
	master_each_process(process, master)
		list_each(link, &process->holds) {
			struct upgrade_hold record = {
				.number = container_of(link, struct hold, link)->epoch->number,
				.row = process->row,
			};

			upgrade_put(out, &record, sizeof(record));
		}
}

static void
upgrade_put_listenings(const struct master *master, struct text *out)
{
	list_each(link, &master->listening) {
		const struct listening *listening = container_of(link, struct listening, link);
		struct upgrade_listening record = {
			.want = listening->want,
			.real = listening->real,
			.n_slots = listening->n_slots,
		};

		upgrade_put(out, &record, sizeof(record));
	}
	list_each(link, &master->listening) {
		const struct listening *listening = container_of(link, struct listening, link);

		for (unsigned i = 0; i < listening->n_slots; i++) {
			struct upgrade_slot record = {
				.served = listening->served[i],
				.fd = listening->fds[i],
			};

			upgrade_put(out, &record, sizeof(record));
		}
	}
}

static int
upgrade_state_fd(struct master *master, struct sy_err *err)
{
	struct text bytes = { 0 };
	int fd;

	upgrade_put_head(master, &bytes);
	upgrade_put_epochs(master, &bytes);
	upgrade_put_processes(master, &bytes);
	upgrade_put_listenings(master, &bytes);
	fd = memfd_sealed("steelyard-upgrade", bytes.at, bytes.len, err);
	text_free(&bytes);
	return fd;
}

/* Descriptors over the exec. */

static void
upgrade_keep_fd(int fd, bool keep)
{
	if (fd > 2)
		fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

void
upgrade_keep_fds(struct master *master, bool keep)
{
	upgrade_keep_fd(master->board_fd, keep);
	upgrade_keep_fd(master->log.fd, keep);
	upgrade_keep_fd(master->door.fd, keep);
	list_each(link, &master->epochs) {
		const struct epoch *epoch = container_of(link, struct epoch, link);

		/* Of an old one only the head is needed. */
		for (unsigned i = 0; i < (epoch->open ? epoch->n_fds : 1); i++)
			upgrade_keep_fd(epoch->fds[i], keep);
	}
	master_each_process(process, master) {
		upgrade_keep_fd(process->control, keep);
		upgrade_keep_fd(process->pidfd, keep);
		upgrade_keep_fd(process->hop, keep);
	}
	list_each(link, &master->listening) {
		const struct listening *listening = container_of(link, struct listening, link);

		for (unsigned i = 0; i < listening->n_slots; i++)
			upgrade_keep_fd(listening->fds[i], keep);
	}
}

/* The path that we were called by, so that a link to the current version is followed anew. */
static const char *
upgrade_program(const struct master *master)
{
	const char *called = master->options->argv[0];

	return called[0] == '/' ? called : master->program;
}

/* Only returns when it failed. */
static void
upgrade_exec(struct master *master)
{
	struct sy_err err;
	sigset_t all, before;
	char number[16];
	int fd = upgrade_state_fd(master, &err);

	if (fd < 0) {
		log_err("upgrade: %s", err.text);
		return;
	}
	snprintf(number, sizeof(number), "%d", fd);
	setenv(UPGRADE_ENV, number, 1);
	notify_hand_on();
	upgrade_keep_fd(fd, true);
	upgrade_keep_fds(master, true);
	/* A signal that comes before the new program listens must wait, not kill. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	execv(upgrade_program(master), master->options->argv);
	log_err("upgrade: cannot execute %s: %s; nothing has changed", upgrade_program(master),
	        strerror(errno));
	sigprocmask(SIG_SETMASK, &before, NULL);
	upgrade_keep_fds(master, false);
	unsetenv(UPGRADE_ENV);
	notify_forget();
	close(fd);
}

/* A moment in which nothing is under way. Returns why not. */
static const char *
upgrade_obstacle(struct master *master)
{
	if (master->phase != MASTER_RUNNING)
		return "it is starting or stopping";
	if (master->reload.state != RELOAD_NONE)
		return "a reload is under way";
	if (master->trial.base)
		return "a configuration is on trial";
	master_each_process(process, master) {
		if (process->wanted && process->state != PROCESS_READY)
			return "not all processes are ready";
		if (process_alive(process) && process->outbox.n_waiting > 0)
			return "a child does not read what it is told";
		if (process->takes >= 0 || (process->outdated && process->state != PROCESS_LEAVING))
			return "processes are being replaced";
	}
	return NULL;
}

/* The new program's opinion. */

static void
upgrade_checked(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct upgrade *upgrade = container_of(io, struct upgrade, ended);
	struct master *master = container_of(upgrade, struct master, upgrade);
	siginfo_t info = { 0 };
	const char *obstacle;

	(void)events;
	if (waitid(P_PIDFD, (id_t)upgrade->pidfd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
		return;
	ev_io_stop(loop, &upgrade->ended);
	close(upgrade->pidfd);
	upgrade->pidfd = -1;
	obstacle = upgrade_obstacle(master);
	if (info.si_code != CLD_EXITED || info.si_status != 0)
		log_err("upgrade: %s cannot take over (%s %d); nothing has changed", upgrade_program(master),
		        info.si_code == CLD_EXITED ? "exit status" : "signal", info.si_status);
	else if (obstacle)
		upgrade_ask(master);
	else
		upgrade_exec(master);
}

static int
upgrade_spawn(struct master *master, struct sy_err *err)
{
	int fds[SPAWN_FDS - SPAWN_FD_CONTROL], state = upgrade_state_fd(master, err);
	pid_t pid;

	if (state < 0)
		return -1;
	fds[SPAWN_FD_CONTROL - SPAWN_FD_CONTROL] = state;
	fds[SPAWN_FD_BOARD - SPAWN_FD_CONTROL] = master->board_fd;
	fds[SPAWN_FD_LOG - SPAWN_FD_CONTROL] = master->log.fd;
	pid = spawn_image(upgrade_program(master), "steelyard: upgrade", NULL, fds,
	                  SPAWN_FDS - SPAWN_FD_CONTROL, err);
	close(state);
	if (pid < 0)
		return -1;
	master->upgrade.pidfd = pidfd_open(pid, 0);
	if (master->upgrade.pidfd >= 0)
		return 0;
	sy_fail(err, "cannot watch the new program: %s", strerror(errno));
	kill(pid, SIGKILL);
	waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED);
	return -1;
}

static void
upgrade_try(struct master *master)
{
	struct upgrade *upgrade = &master->upgrade;
	struct sy_err err;

	upgrade->waits_until_ms = 0;
	if (upgrade_spawn(master, &err) != 0) {
		log_err("upgrade: %s; nothing has changed", err.text);
		return;
	}
	upgrade->until_ms = clock_ms() + UPGRADE_CHECK_MS;
	ev_io_init(&upgrade->ended, upgrade_checked, upgrade->pidfd, EV_READ);
	ev_io_start(master->loop, &upgrade->ended);
}

void
upgrade_ask(struct master *master)
{
	const char *obstacle = upgrade_obstacle(master);

	if (master->upgrade.pidfd >= 0 || master->upgrade.waits_until_ms)
		return;
	if (!obstacle) {
		upgrade_try(master);
		return;
	}
	log_info("upgrade: waiting: %s", obstacle);
	master->upgrade.waits_until_ms = clock_ms() + UPGRADE_PATIENCE_MS;
}

void
upgrade_tick(struct master *master, uint64_t now_ms)
{
	struct upgrade *upgrade = &master->upgrade;
	const char *obstacle;

	if (upgrade->pidfd >= 0 && now_ms >= upgrade->until_ms)
		pidfd_send_signal(upgrade->pidfd, SIGKILL, NULL, 0);
	if (upgrade->pidfd >= 0 || !upgrade->waits_until_ms)
		return;
	obstacle = upgrade_obstacle(master);
	if (!obstacle) {
		upgrade_try(master);
	} else if (now_ms >= upgrade->waits_until_ms) {
		log_err("upgrade: given up: %s; nothing has changed", obstacle);
		upgrade->waits_until_ms = 0;
	}
}

void
upgrade_init(struct master *master)
{
	ssize_t len = readlink("/proc/self/exe", master->program, sizeof(master->program) - 1);

	master->program[len > 0 ? len : 0] = '\0';
	master->upgrade.pidfd = -1;
}

void
upgrade_free(struct master *master)
{
	struct upgrade *upgrade = &master->upgrade;

	if (upgrade->pidfd < 0)
		return;
	pidfd_send_signal(upgrade->pidfd, SIGKILL, NULL, 0);
	waitid(P_PIDFD, (id_t)upgrade->pidfd, &(siginfo_t){ 0 }, WEXITED);
	ev_io_stop(master->loop, &upgrade->ended);
	close(upgrade->pidfd);
	upgrade->pidfd = -1;
}
