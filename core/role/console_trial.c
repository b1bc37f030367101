/* While a configuration is on trial the console compares it with what was before: how many servers
 * take clients, and how many exchanges end well. When either falls for a while the master is asked
 * to go back. The deadline is the master's own: it holds even if this process dies. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "role/api.h"
#include "role/live.h"

enum {
	TRIAL_WORSE_BEATS = 5,    /* seconds in a row */
	TRIAL_FALL = 10,          /* percent points */
	TRIAL_EXCHANGES = 20,     /* fewer say nothing */
};

static struct trial_state
trial_measure(struct console *console)
{
	const struct config *config = console->child->current->config;
	struct trial_state state = { 0 };

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		struct board_tally sum;

		board_sum(console->child->board, service->cell, &sum);
		state.total += sum.total;
		state.failed += sum.failed;
		for (uint32_t k = 0; k < service->target.pool->n_servers; k++) {
			struct cell_health health;

			state.servers++;
			state.usable += live_usable(live_state(seat_state(console, service,
			                                                  &service->target.seats[k], &health)));
		}
	}
	return state;
}

void
trial_begin(struct console *console)
{
	console->trial.before = trial_measure(console);
	console->trial.known = true;
}

static unsigned
trial_percent(uint64_t part, uint64_t whole, unsigned otherwise)
{
	return whole ? (unsigned)(part * 100 / whole) : otherwise;
}

/* NULL: it is not worse. */
static const char *
trial_is_worse(const struct trial_state *before, const struct trial_state *now, char *out, size_t len)
{
	unsigned up_before = trial_percent(before->usable, before->servers, 0);
	unsigned up_now = trial_percent(now->usable, now->servers, 100);
	unsigned failed_before = trial_percent(before->failed, before->total, 0);
	uint64_t total = now->total > before->total ? now->total - before->total : 0;
	unsigned failed_now = total < TRIAL_EXCHANGES || now->failed < before->failed ? 0
	                    : trial_percent(now->failed - before->failed, total, 0);

	if (up_now + TRIAL_FALL <= up_before)
		snprintf(out, len, "%u of %u servers take new clients, %u %% before and %u %% now",
		         (unsigned)now->usable, (unsigned)now->servers, up_before, up_now);
	else if (failed_now >= failed_before + TRIAL_FALL)
		snprintf(out, len, "%u %% of exchanges fail, %u %% did before", failed_now, failed_before);
	else
		return NULL;
	return out;
}

void
trial_beat(struct console *console)
{
	struct trial_watch *watch = &console->trial;
	struct control_record record = { .type = CONTROL_COMMAND, .value = COMMAND_BACK };
	struct trial_state now;
	char why[200];

	if (!watch->until_wall_ms || !watch->known || !console->child->current)
		return;
	now = trial_measure(console);
	if (!trial_is_worse(&watch->before, &now, why, sizeof(why))) {
		watch->worse = 0;
		return;
	}
	if (++watch->worse < TRIAL_WORSE_BEATS)
		return;
	watch->known = false; /* once is enough */
	event_add(console, "the configuration on trial is worse: %s", why);
	child_send(console->child, &record, why, strlen(why), NULL, 0);
}

/* The master says until when; 0: it is over. */
void
trial_until(struct console *console, uint64_t until_wall_ms)
{
	if (until_wall_ms && !console->trial.until_wall_ms)
		event_add(console, "a configuration is on trial");
	else if (!until_wall_ms && console->trial.until_wall_ms)
		event_add(console, "the trial of a configuration is over");
	console->trial.until_wall_ms = until_wall_ms;
	console->trial.worse = 0;
	if (!until_wall_ms)
		console->trial.known = false;
}
