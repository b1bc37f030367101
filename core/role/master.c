#define _GNU_SOURCE 1
#include "role/master.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "proc/notify.h"
#include "role/upgrade.h"
#include "share/tickets.h"

enum {
	MASTER_FDS = 512,         /* beside the listeners: children, pidfds, modules, log */
};

/* What a generation asks of the machine. */

/* The children inherit it; those that run already get it by pid. */
static void
master_limits(struct master *master, const struct gen_head *head)
{
	uint64_t slots = head->slots > master->slots ? head->slots : master->slots;
	uint64_t need = MASTER_FDS + head->n_listeners * slots * 2;
	struct rlimit limit;

	if (need < head->nofile)
		need = head->nofile;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
		return;
	limit.rlim_cur = need;
	if (limit.rlim_max < need)
		limit.rlim_max = need;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
		getrlimit(RLIMIT_NOFILE, &limit);
		log_warn("%llu descriptors may be needed, but the limit is %llu: raise LimitNOFILE, or lower "
		         "worker-connections", (unsigned long long)need, (unsigned long long)limit.rlim_max);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	master_each_process(process, master)
		if (process_alive(process))
			prlimit(process->pid, RLIMIT_NOFILE, &limit, NULL);
}

static void
master_remove_pid_file(struct master *master)
{
	if (master->pid_path[0])
		unlink(master->pid_path);
	master->pid_path[0] = '\0';
}

/* Written beside and moved, so that nobody reads half of it. */
static void
master_pid_file(struct master *master, const char *path)
{
	char beside[GEN_PATH + 8], words[16];
	int fd, len;

	if (strcmp(master->pid_path, path) == 0)
		return;
	master_remove_pid_file(master);
	if (!path[0])
		return;
	snprintf(beside, sizeof(beside), "%s.new", path);
	len = snprintf(words, sizeof(words), "%d\n", (int)getpid());
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 || write(fd, words, (size_t)len) != len || rename(beside, path) != 0)
		log_warn("cannot write the pid file %s: %s", path, strerror(errno));
	else
		snprintf(master->pid_path, sizeof(master->pid_path), "%s", path);
	if (fd >= 0)
		close(fd);
}

/* What a surplus worker serves has been dealt to others before; its connections may take their time.
 * Routing takes away what it made. */
void
master_staff(struct master *master)
{
	master_each_process(process, master) {
		if (process->wanted && process->state == PROCESS_NONE)
			supervise_start(process);
		else if (!process->wanted && process->state != PROCESS_NONE &&
		         process->state != PROCESS_LEAVING)
			supervise_leave(process, process_is_worker(process), 0);
	}
}

void
master_replace(struct process *process)
{
	if (!process->outdated || !process_alive(process) || process->state == PROCESS_LEAVING)
		return;
	log_info("%s is replaced", process->name);
	/* Gracefully: what routing made stays for the next one, and who asks the console is heard out. */
	supervise_leave(process, true, MASTER_STOP_MS);
}

void
master_apply(struct master *master, const struct gen_head *head)
{
	master_limits(master, head);
	lanes_set(master, head->workers);
	listeners_settle(master);
	master->processes[ROW_ROUTING].wanted = head->manage_routing;
	master_staff(master);
	/* Health stays on the board meanwhile. */
	master_replace(&master->processes[ROW_CHECKER]);
	master_replace(&master->processes[ROW_ROUTING]);
	if (master->phase == MASTER_RUNNING)
		master_pid_file(master, head->pid_path);
}

void
master_status(struct master *master)
{
	const struct gen_head *head = master->current->head;

	notify("STATUS=generation %llu: %u services, %u servers, %u workers",
	       (unsigned long long)master->current->number, head->services, head->servers, head->workers);
}

/* Start. */

static int
master_open(struct master *master, struct epoch *epoch, struct text *complaints)
{
	struct log_setting log;
	struct sy_err err;

	master->board = board_new(&epoch->head->board, &master->board_fd, &err);
	master_record(master);
	if (!master->board)
		goto failed;
	master_limits(master, epoch->head);
	if (listeners_prepare(master, epoch, complaints) != 0)
		return -1;
	if (door_open(epoch->head, true, &master->door, &err) != 0)
		goto failed;
	if (master_log_open(epoch->head, &log, &err) != 0)
		goto failed;
	master_log_use(master, &log);
	return 0;
failed:
	text_printf(complaints, "%s\n", err.text);
	return -1;
}

void
master_begin(struct master *master, struct epoch *epoch)
{
	struct text complaints = { 0 };

	master->current = epoch;
	if (master_open(master, epoch, &complaints) == 0) {
		master->processes[ROW_CHECKER].wanted = master->processes[ROW_CONSOLE].wanted = true;
		master_apply(master, epoch->head);
	} else {
		reload_log(false, complaints.at);
		master_failed(master);
	}
	text_free(&complaints);
}

static void
master_ready(struct master *master)
{
	const struct gen_head *head = master->current->head;

	master->phase = MASTER_RUNNING;
	master_pid_file(master, head->pid_path);
	log_info("ready: generation %llu, %u services, %u servers, %u workers (pid %d)",
	         (unsigned long long)master->current->number, head->services, head->servers,
	         head->workers, (int)getpid());
	notify("READY=1");
	master_status(master);
}

/* The end. */

void
master_failed(struct master *master)
{
	master->status = EXIT_FAILURE;
	if (master->phase >= MASTER_ENDING)
		return;
	log_err("the start failed");
	if (master->log.target != LOG_TO_STDERR)
		fprintf(stderr, "steelyardd: the start failed, see %s\n",
		        master->log.target == LOG_TO_FILE ? master->log.path : "syslog");
	master_stop(master, false);
}

static void
master_end_now(struct master *master)
{
	bool again = master->phase == MASTER_ENDING;

	master->phase = MASTER_ENDING;
	reload_end(master);
	master_each_process(process, master) {
		process->wanted = false;
		if (again && process_alive(process))
			pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0);
		else
			supervise_leave(process, false, 0);
	}
	listeners_close(master);
}

void
master_stop(struct master *master, bool graceful)
{
	if (graceful && master->phase > MASTER_RUNNING)
		return;
	notify("STOPPING=1\nSTATUS=%s", graceful ? "waiting for connections to end" : "stopping");
	if (!graceful || master->phase == MASTER_BEGINNING) {
		master_end_now(master);
		master_look(master);
		return;
	}
	master->phase = MASTER_DRAINING;
	reload_end(master);
	master_each_process(process, master) {
		if (!process_is_worker(process))
			continue;
		process->wanted = false;
		supervise_leave(process, true, master->current->head->shutdown_timeout_ms);
	}
	listeners_close(master);
	master_look(master);
}

static bool
master_has_workers(const struct master *master)
{
	for (unsigned row = ROW_WORKER; row < BOARD_ROWS; row++)
		if (process_alive(&master->processes[row]))
			return true;
	return false;
}

static bool
master_all_ready(struct master *master)
{
	master_each_process(process, master)
		if (process->wanted && process->state != PROCESS_READY)
			return false;
	return true;
}

void
master_look(struct master *master)
{
	switch (master->phase) {
	case MASTER_BEGINNING:
		if (master->current && master_all_ready(master))
			master_ready(master);
		break;
	case MASTER_RUNNING:
		break;
	case MASTER_DRAINING:
		if (!master_has_workers(master)) {
			log_info("all workers have left");
			master_stop(master, false);
		}
		break;
	case MASTER_ENDING:
		master_each_process(process, master)
			if (process_alive(process))
				return;
		if (master->reload.pidfd < 0)
			ev_break(master->loop, EVBREAK_ALL);
		break;
	}
}

/* Signals. */

static void
master_rotate(struct master *master)
{
	struct sy_err err;

	if (master_log_rotate(master, &err) != 0)
		log_err("%s", err.text);
}

static void
master_signal(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
	struct master *master = watcher->data;

	(void)loop, (void)events;
	switch (watcher->signum) {
	case SIGTERM:
	case SIGINT:
		log_info("%s: stopping", watcher->signum == SIGTERM ? "SIGTERM" : "SIGINT");
		master_stop(master, false);
		break;
	case SIGQUIT:
		log_info("SIGQUIT: stopping when the connections have ended");
		master_stop(master, true);
		break;
	case SIGHUP:
		log_info("SIGHUP: reloading");
		reload_ask(master, 0);
		break;
	case SIGUSR1:
		master_rotate(master);
		break;
	default:
		log_info("SIGUSR2: upgrading");
		upgrade_ask(master);
	}
}

static void
master_signals(struct master *master)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2 };

	sigset_t none;

	_Static_assert(sizeof(numbers) / sizeof(numbers[0]) <=
	               sizeof(master->signals) / sizeof(master->signals[0]), "one watcher each");
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		ev_signal_init(&master->signals[i], master_signal, numbers[i]);
		master->signals[i].data = master;
		ev_signal_start(master->loop, &master->signals[i]);
	}
	must_catch_signals();
	/* An upgrade came with all of them blocked. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
master_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct master *master = container_of(timer, struct master, tick);
	uint64_t now_ms = clock_ms();

	(void)loop, (void)events;
	if (master->board) {
		supervise_tick(master, now_ms);
		tickets_rotate(master->board, clock_wall_ms());
	}
	reload_tick(master, now_ms);
	trial_tick(master, now_ms);
	upgrade_tick(master, now_ms);
	console_expire(master, now_ms);
	if (notify_watchdog())
		notify("WATCHDOG=1");
}

/* The whole of it. */

static void
master_init(struct master *master, const struct options *options)
{
	master->options = options;
	/* Not libev's default loop: that one waits for all processes behind our back. */
	master->loop = ev_loop_new(EVFLAG_AUTO);
	must(master->loop);
	master->board_fd = master->door.fd = -1;
	master->log = (struct log_setting){ .fd = 2, .target = LOG_TO_STDERR, .level = LOG_LEVEL_INFO };
	log_open("master", 2, LOG_TO_STDERR, LOG_TEXT,
	         options->quiet ? LOG_LEVEL_WARN : LOG_LEVEL_INFO);
	link_init(&master->epochs);
	link_init(&master->listening);
	link_init(&master->questions);
	supervise_init(master);
	reload_init(master);
	upgrade_init(master);
	master->last_tick_ms = clock_ms();
	ev_timer_init(&master->tick, master_tick, 1., 1.);
	ev_timer_start(master->loop, &master->tick);
}

static void
master_free(struct master *master)
{
	reload_free(master);
	upgrade_free(master);
	listeners_close(master);
	door_close(&master->door);
	master_remove_pid_file(master);
	master->current = master->trial.base = NULL;
	epochs_sweep(master);
	if (master->board) {
		board_unmap(master->board);
		close(master->board_fd);
	}
	ev_timer_stop(master->loop, &master->tick);
	for (size_t i = 0; i < sizeof(master->signals) / sizeof(master->signals[0]); i++)
		ev_signal_stop(master->loop, &master->signals[i]);
	ev_loop_destroy(master->loop);
}

int
master_main(const struct options *options)
{
	struct master *master = must_alloc(sizeof(*master));
	int status, state = upgrade_fd();
	struct sy_err err;

	umask(022);
	notify_open();
	master_init(master, options);
	master_signals(master);
	if (state >= 0 && upgrade_adopt(master, state, &err) != 0) {
		log_err("%s", err.text);
		return EXIT_FAILURE;
	}
	/* After an upgrade, too: it brings the new program's own generation, and new children for it. */
	reload_ask(master, 0);
	ev_run(master->loop, 0);
	log_info("the end");
	status = master->status;
	master_free(master);
	free(master);
	return status;
}
