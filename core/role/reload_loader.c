/* The first half of a reload: the loader, a process that lives for a second, and its answer. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memfd.h"
#include "proc/notify.h"
#include "proc/spawn.h"
#include "role/master.h"

static void
reload_take_refusal(struct master *master, const struct control_message *message)
{
	struct text words = { 0 };
	struct sy_err err;
	size_t len = 0;
	char *map = message->n_fds > 0 ? memfd_map(message->fds[0], 0, &len, &err) : NULL;

	if (map && len > 0) {
		text_add(&words, map, len);
		munmap(map, len);
	} else {
		text_puts(&words, message->len > 0 ? message->text : "the loader refused it without a word\n");
	}
	text_puts(&master->reload.said, words.at);
	text_free(&words);
}

static void
reload_loader_says(struct master *master)
{
	struct reload *reload = &master->reload;
	struct control_message *message = &master->message;
	struct sy_err err;
	int got = control_receive(reload->control, message);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got > 0 && !reload->answered) {
		reload->answered = true;
		if (message->fds_lost) {
			text_puts(&reload->said, "no descriptor is left in the master\n");
		} else if (message->record.type == CONTROL_LOADED) {
			reload->next = epoch_new(master, message, &err);
			text_puts(&reload->said, reload->next ? message->text : err.text);
		} else if (message->record.type == CONTROL_REFUSED) {
			reload_take_refusal(master, message);
		} else {
			reload->answered = false;
		}
	}
	if (got > 0) {
		control_close_fds(message);
		return;
	}
	ev_io_stop(master->loop, &reload->readable);
	close(reload->control);
	reload->control = -1;
}

static void
reload_readable(struct ev_loop *loop, struct ev_io *io, int events)
{
	(void)loop, (void)events;
	reload_loader_says(container_of(container_of(io, struct reload, readable), struct master, reload));
}

static void
reload_close_loader(struct master *master)
{
	struct reload *reload = &master->reload;

	ev_io_stop(master->loop, &reload->readable);
	ev_io_stop(master->loop, &reload->ended);
	if (reload->control >= 0)
		close(reload->control);
	if (reload->pidfd >= 0)
		close(reload->pidfd);
	reload->control = reload->pidfd = -1;
	reload->loader = 0;
}

static void
reload_loaded(struct master *master, const siginfo_t *info)
{
	struct reload *reload = &master->reload;
	struct epoch *next = reload->next;
	struct text words = { 0 };

	if (next && master->phase == MASTER_BEGINNING) {
		reload_log(true, reload->said.at ? reload->said.at : "");
		reload_clear(reload);
		master_begin(master, next);
		return;
	}
	if (next) {
		reload_bind(master, next);
		return;
	}
	if (!reload->answered)
		text_printf(&words, "the loader ended without an answer (%s %d)\n",
		            info->si_code == CLD_EXITED ? "exit status" : "signal", info->si_status);
	text_puts(&words, reload->said.at ? reload->said.at : "");
	reload_refuse(master, words.at);
	text_free(&words);
}

static void
reload_ended(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct reload *reload = container_of(io, struct reload, ended);
	struct master *master = container_of(reload, struct master, reload);
	siginfo_t info = { 0 };

	(void)loop, (void)events;
	if (waitid(P_PIDFD, (id_t)reload->pidfd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
		return;
	/* Its answer, and the end of file behind it. */
	for (int i = 0; i < 4 && reload->control >= 0; i++)
		reload_loader_says(master);
	reload_close_loader(master);
	if (master->phase <= MASTER_RUNNING)
		reload_loaded(master, &info);
	else
		master_look(master);
}

static int
reload_spawn(struct master *master, struct sy_err *err)
{
	struct reload *reload = &master->reload;
	const char *args[] = { master->options->config, master->options->module_dir, NULL };
	int fds[SPAWN_FDS - SPAWN_FD_CONTROL] = { -1, -1, -1 }, theirs;

	if (control_pair(&reload->control, &theirs, err) != 0)
		return -1;
	fds[SPAWN_FD_CONTROL - SPAWN_FD_CONTROL] = theirs;
	fds[SPAWN_FD_LOG - SPAWN_FD_CONTROL] = master->log.fd;
	reload->loader = spawn_role("steelyard: loader", args, fds, SPAWN_FDS - SPAWN_FD_CONTROL, err);
	close(theirs);
	if (reload->loader > 0) {
		reload->pidfd = pidfd_open(reload->loader, 0);
		if (reload->pidfd >= 0)
			return 0;
		sy_fail(err, "cannot watch the loader: %s", strerror(errno));
		kill(reload->loader, SIGKILL);
		waitid(P_PID, (id_t)reload->loader, &(siginfo_t){ 0 }, WEXITED);
	}
	reload_close_loader(master);
	return -1;
}

void
reload_load(struct master *master)
{
	struct reload *reload = &master->reload;
	struct sy_err err;

	reload->state = RELOAD_LOADING;
	reload->started_us = clock_us();
	reload->deadline_ms = clock_ms() + MASTER_LOADER_MS;
	reload->answered = false;
	if (master->phase == MASTER_RUNNING)
		notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=loading the configuration",
		       reload->started_us);
	if (reload_spawn(master, &err) != 0) {
		reload_refuse(master, err.text);
		return;
	}
	ev_io_init(&reload->readable, reload_readable, reload->control, EV_READ);
	ev_io_start(master->loop, &reload->readable);
	ev_io_init(&reload->ended, reload_ended, reload->pidfd, EV_READ);
	ev_io_start(master->loop, &reload->ended);
}

void
reload_init(struct master *master)
{
	master->reload.control = master->reload.pidfd = -1;
}

void
reload_free(struct master *master)
{
	struct reload *reload = &master->reload;

	if (reload->pidfd >= 0) {
		pidfd_send_signal(reload->pidfd, SIGKILL, NULL, 0);
		waitid(P_PIDFD, (id_t)reload->pidfd, &(siginfo_t){ 0 }, WEXITED);
	}
	reload_close_loader(master);
	reload_clear(reload);
	free(reload->askers.ids);
	free(reload->askers_again.ids);
}
