/* One reload at a time, one remembered. No mask, no lock: a state in the loop.
 *
 *	NONE -> LOADING -> BINDING -> NONE
 *
 * The first start is a reload, too, up to the end of LOADING. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memfd.h"
#include "base/must.h"
#include "proc/notify.h"
#include "proc/spawn.h"
#include "role/master.h"

/* The end of it. */

void
reload_log(bool ok, const char *words)
{
	while (*words) {
		size_t len = strcspn(words, "\n");

		if (len > 0 && ok)
			log_warn("%.*s", (int)len, words);
		else if (len > 0)
			log_err("%.*s", (int)len, words);
		words += len + (words[len] == '\n');
	}
}

void
reload_clear(struct reload *reload)
{
	reload->state = RELOAD_NONE;
	reload->next = NULL;
	reload->deadline_ms = 0;
	text_free(&reload->said);
	reload->said = (struct text){ 0 };
}

/* words: lines; all of them reach the log and whoever asked. */
static void
reload_finish(struct master *master, bool ok, const char *summary, const char *words)
{
	struct reload *reload = &master->reload;
	struct text all = { 0 };

	text_printf(&all, "%s\n%s", summary, words);
	reload_log(ok, words);
	if (ok)
		log_info("%s", summary);
	else
		log_err("%s", summary);
	for (unsigned i = 0; i < reload->askers.n; i++)
		console_done(master, reload->askers.ids[i], ok, all.at);
	reload->askers.n = 0;
	/* Not before it could pass this on. */
	if (ok)
		master_replace(&master->processes[ROW_CONSOLE]);
	text_free(&all);
	reload_clear(reload);
	epochs_sweep(master);
	if (master->phase == MASTER_BEGINNING) {
		master_failed(master);
		return;
	}
	if (master->phase > MASTER_RUNNING)
		return;
	notify("READY=1");
	master_status(master);
	if (reload->again) {
		struct askers done = reload->askers;

		reload->askers = reload->askers_again;
		reload->askers_again = done;
		reload->again = false;
		reload_load(master);
	}
}

void
reload_refuse(struct master *master, const char *words)
{
	struct epoch *next = master->reload.next;
	char *copy = strdup(words ? words : ""); /* an empty struct text has no words */

	must(copy);
	trial_refused(master);
	listeners_undo(master);
	master_each_process(process, master) {
		process->binding = 0;
		if (next && process->outdated == next->number)
			process->outdated = 0;
		if (next && process_alive(process))
			list_each(link, &process->holds)
				if (container_of(link, struct hold, link)->epoch == next) {
					process_say(process, CONTROL_FORGET, 0, next->number, 0, 0);
					break;
				}
	}
	reload_finish(master, false,
	              master->phase == MASTER_BEGINNING ? "the configuration is refused"
	                                                : "reload refused, nothing has changed", copy);
	free(copy);
}

/* BINDING. */

/* What may fail for reasons outside the configuration, done before anything is changed. */
struct reload_opened {
	struct log_setting log;
	bool new_log;
	struct control_socket door;
	bool new_door;
};

static bool
reload_same_log(const struct master *master, const struct gen_head *head)
{
	return master->log.target == (enum log_target)head->log_target &&
	       strcmp(master->log.path, head->log_path) == 0;
}

static int
reload_open(struct master *master, struct epoch *next, struct reload_opened *out,
            struct text *complaints)
{
	struct sy_err err;

	memset(out, 0, sizeof(*out));
	out->door.fd = out->log.fd = -1;
	if (listeners_prepare(master, next, complaints) != 0)
		return -1;
	if (!reload_same_log(master, next->head)) {
		out->new_log = true;
		if (master_log_open(next->head, &out->log, &err) != 0)
			goto failed;
	}
	out->new_door = strcmp(master->door.path, next->head->control_path) != 0;
	if (out->new_door && door_open(next->head, false, &out->door, &err) != 0)
		goto failed;
	if (!out->new_door && door_allow(next->head, next->head->control_path, &err) != 0)
		goto failed;
	return 0;
failed:
	text_printf(complaints, "%s\n", err.text);
	if (out->log.fd > 2)
		close(out->log.fd);
	return -1;
}

static void
reload_use_door(struct master *master, const struct control_socket *door)
{
	struct process *console = &master->processes[ROW_CONSOLE];
	struct control_record record = { .type = CONTROL_LISTEN };

	door_close(&master->door);
	master->door = *door;
	if (!process_alive(console) || console->state == PROCESS_LEAVING)
		return;
	process_say(console, CONTROL_UNLISTEN, 0, 0, 0, 0);
	if (door->fd >= 0)
		outbox_send(&console->outbox, &record, NULL, 0, &door->fd, 1);
}

static void
reload_use_log(struct master *master, struct reload_opened *opened, const struct gen_head *head)
{
	if (!opened->new_log) {
		opened->log = master->log;
		opened->log.format = (enum log_format)head->log_format;
		opened->log.level = (enum log_level)head->log_level;
	}
	master_log_use(master, &opened->log);
}

/* Who learns what comes next: neither those who leave nor those who will be replaced. */
static bool
reload_concerns(const struct process *process)
{
	return process_alive(process) && !process->outdated &&
	       (process->state == PROCESS_STARTING || process->state == PROCESS_READY);
}

static void
reload_say_switch(struct master *master, const struct epoch *next)
{
	master_each_process(process, master)
		if (reload_concerns(process))
			process_say(process, CONTROL_SWITCH, 0, next->number, 0, 0);
}

static void
reload_switch(struct master *master)
{
	struct reload *reload = &master->reload;
	struct epoch *next = reload->next, *old;
	struct reload_opened opened;
	struct text complaints = { 0 };
	char summary[256];

	if (reload_open(master, next, &opened, &complaints) != 0) {
		reload_refuse(master, complaints.at);
		text_free(&complaints);
		return;
	}
	listeners_hand_out(master);
	reload_say_switch(master, next);
	/* From here on a child that starts is told this one, and no other. */
	old = master->current;
	master->current = next;
	trial_switched(master, old);
	reload->next = NULL;
	reload->state = RELOAD_NONE;
	if (opened.new_door)
		reload_use_door(master, &opened.door);
	reload_use_log(master, &opened, next->head);
	master_apply(master, next->head);
	snprintf(summary, sizeof(summary),
	         "generation %" PRIu64 ": %u services, %u servers, %u workers (%.3f s)", next->number,
	         next->head->services, next->head->servers, next->head->workers,
	         (double)(clock_us() - reload->started_us) / 1e6);
	text_puts(&complaints, reload->said.at ? reload->said.at : "");
	reload_finish(master, true, summary, complaints.at ? complaints.at : "");
	text_free(&complaints);
}

void
reload_look(struct master *master)
{
	if (master->reload.state != RELOAD_BINDING)
		return;
	master_each_process(process, master)
		if (process->binding != 0)
			return;
	reload_switch(master);
}

static void
reload_tell(struct process *process)
{
	process->binding = process->master->reload.next->number;
	process->told_ms = clock_ms();
	epoch_send(process, process->master->reload.next);
}

/* A right that was given up cannot be had again in the same process. Such ones stay with what they
 * know; they are replaced after the switch. */
static void
reload_outdate(struct master *master, const struct epoch *next)
{
	master_each_process(process, master) {
		bool lacks = process_is_worker(process) ? next->head->transparent && !process->transparent
		                                        : next->head->icmp && !process->icmp;

		if (geteuid() != 0 || !lacks || process->row == ROW_CONSOLE || process->row == ROW_ROUTING || !reload_concerns(process))
			continue;
		log_info("%s has given up a right that generation %" PRIu64 " needs: it will be replaced",
		         process->name, next->number);
		process->outdated = next->number;
	}
}

void
reload_bind(struct master *master, struct epoch *next)
{
	struct reload *reload = &master->reload;

	reload->next = next;
	reload->state = RELOAD_BINDING;
	reload->deadline_ms = clock_ms() + MASTER_BIND_MS;
	reload_outdate(master, next);
	master_each_process(process, master)
		if (reload_concerns(process))
			reload_tell(process);
	reload_look(master);
}

void
reload_bound(struct process *process, const struct control_message *message)
{
	struct master *master = process->master;
	struct text words = { 0 };

	process->binding = 0;
	if (master->reload.state != RELOAD_BINDING)
		return;
	if (message->record.flags & CONTROL_OK) {
		reload_look(master);
		return;
	}
	text_printf(&words, "%s: %s\n", process->name, message->text);
	reload_refuse(master, words.at);
	text_free(&words);
}

void
reload_died(struct process *process)
{
	struct master *master = process->master;
	struct text words = { 0 };
	bool bound = process->binding == 0;
	bool hung = process->killed_for[0] && process->told_ms > process->last_beat_ms + MASTER_MISSED_MS;

	process->binding = 0;
	/* One that had bound it, had not been told, or hung before it was told, dies for a reason of its
	 * own: its successor is told both. */
	if (master->reload.state != RELOAD_BINDING || bound || hung)
		return;
	text_printf(&words, "%s died while it bound the new configuration\n", process->name);
	reload_refuse(master, words.at);
	text_free(&words);
}

void
reload_started(struct process *process)
{
	if (process->master->reload.state == RELOAD_BINDING)
		reload_tell(process);
}

/* From outside. */

static void
askers_add(struct askers *askers, uint64_t id)
{
	if (id == 0)
		return;
	askers->ids = must_realloc(askers->ids, (askers->n + 1) * sizeof(*askers->ids));
	askers->ids[askers->n++] = id;
}

void
reload_ask(struct master *master, uint64_t asker)
{
	struct reload *reload = &master->reload;

	if (master->phase > MASTER_RUNNING || (master->phase == MASTER_BEGINNING && master->current)) {
		console_done(master, asker, false, master->phase == MASTER_BEGINNING
		                                   ? "still starting" : "stopping: too late for a reload");
		return;
	}
	if (reload->state != RELOAD_NONE) {
		reload->again = true;
		askers_add(&reload->askers_again, asker);
		return;
	}
	askers_add(&reload->askers, asker);
	reload_load(master);
}

void
reload_tick(struct master *master, uint64_t now_ms)
{
	struct reload *reload = &master->reload;
	struct text words = { 0 };

	if (reload->deadline_ms == 0 || now_ms < reload->deadline_ms)
		return;
	reload->deadline_ms = 0;
	switch (reload->state) {
	case RELOAD_NONE:
		break;
	case RELOAD_LOADING:
		log_err("the loader is killed: not done after %d s", MASTER_LOADER_MS / 1000);
		pidfd_send_signal(reload->pidfd, SIGKILL, NULL, 0);
		break;
	case RELOAD_BINDING:
		master_each_process(process, master)
			if (process->binding != 0)
				text_printf(&words, "%s has not bound the new configuration within %d s\n",
				            process->name, MASTER_BIND_MS / 1000);
		reload_refuse(master, words.at);
		text_free(&words);
		break;
	}
}

void
reload_end(struct master *master)
{
	struct reload *reload = &master->reload;

	reload->again = false;
	if (reload->state == RELOAD_BINDING)
		reload_refuse(master, "stopping\n");
	if (reload->pidfd >= 0)
		pidfd_send_signal(reload->pidfd, SIGKILL, NULL, 0);
}
