/* A configuration on trial: unless somebody confirms it in time, or as soon as the console sees that
 * it is worse than the one before, the one before is bound and switched to again, as a generation of
 * its own. The files stay as they are: the next reload reads them. */
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "role/master.h"

void
trial_tell(struct master *master)
{
	struct process *console = &master->processes[ROW_CONSOLE];
	const struct trial *trial = &master->trial;

	if (process_alive(console))
		process_say(console, CONTROL_TRIAL, 0, master->current->number, 0,
		            trial->base ? trial->until_wall_ms : 0);
}

void
trial_ask(struct master *master, uint64_t asker, uint64_t ms)
{
	if (master->reload.state != RELOAD_NONE) {
		console_done(master, asker, false, "another reload is under way: try again");
		return;
	}
	master->trial.asked_ms = ms;
	reload_ask(master, asker);
}

/* While one is on trial already, the way back leads to what was before that. */
void
trial_switched(struct master *master, struct epoch *old)
{
	struct trial *trial = &master->trial;

	if (!trial->asked_ms)
		return;
	if (!trial->base)
		trial->base = old;
	trial->until_ms = clock_ms() + trial->asked_ms;
	trial->until_wall_ms = clock_wall_ms() + trial->asked_ms;
	trial->asked_ms = 0;
	trial_tell(master);
}

void
trial_refused(struct master *master)
{
	master->trial.asked_ms = 0;
}

static void
trial_end(struct master *master)
{
	master->trial.base = NULL;
	master->trial.until_ms = 0;
	trial_tell(master);
}

void
trial_confirm(struct master *master, uint64_t asker)
{
	if (!master->trial.base) {
		console_done(master, asker, false, "no configuration is on trial");
		return;
	}
	log_info("generation %" PRIu64 " is confirmed", master->current->number);
	trial_end(master);
	epochs_sweep(master);
	console_done(master, asker, true, "confirmed: this configuration stays");
}

/* The same descriptors under another number: those who still hold the old one are not confused. */
static struct epoch *
trial_again(struct master *master, const struct epoch *base, struct sy_err *err)
{
	struct control_message *message = must_alloc(sizeof(*message));
	struct epoch *epoch = NULL;

	message->record = (struct control_record){ .flags = base->secrets ? CONTROL_SECRETS : 0 };
	message->n_fds = 0;
	while (message->n_fds < base->n_fds) {
		int fd = fcntl(base->fds[message->n_fds], F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			break;
		message->fds[message->n_fds++] = fd;
	}
	if (message->n_fds == base->n_fds)
		epoch = epoch_new(master, message, err);
	else
		sy_fail(err, "no descriptor is left in the master");
	control_close_fds(message);
	free(message);
	return epoch;
}

static void
trial_back(struct master *master, const char *why)
{
	struct sy_err err;
	struct epoch *base = master->trial.base, *again = trial_again(master, base, &err);

	if (!again) {
		log_err("cannot go back to generation %" PRIu64 ": %s", base->number, err.text);
		trial_end(master);
		return;
	}
	log_warn("going back to the configuration of generation %" PRIu64 ", as generation %" PRIu64 ": %s",
	         base->number, again->number, why);
	trial_end(master);
	master->reload.started_us = clock_us();
	reload_bind(master, again);
}

void
trial_worse(struct master *master, uint64_t asker, const char *why)
{
	if (!master->trial.base || master->reload.state != RELOAD_NONE) {
		console_done(master, asker, false, "no configuration is on trial");
		return;
	}
	console_done(master, asker, true, "going back");
	trial_back(master, why);
}

void
trial_tick(struct master *master, uint64_t now_ms)
{
	if (master->trial.base && now_ms >= master->trial.until_ms &&
	    master->reload.state == RELOAD_NONE && master->phase == MASTER_RUNNING)
		trial_back(master, "it was not confirmed in time");
}
