#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "base/text.h"
#include "role/checker.h"

bool
judge_unsettled(const struct check *check)
{
	const struct board_check *state = check->state;

	switch ((enum board_health)state->health) {
	case HEALTH_UP:
	case HEALTH_DRAINING:
		return state->bad > 0;
	case HEALTH_DOWN:
		return state->good > 0;
	case HEALTH_UNKNOWN:
	case HEALTH_UNCHECKED:
		break;
	}
	return false;
}

/* One check. */

/* The first answer decides at once. A server that says of itself that it is draining, or not any
 * more, is believed at once, too: only up and down are counted. */
static enum board_health
judge_next(const struct check *check, enum board_health was, enum board_health said)
{
	const struct board_check *state = check->state;

	switch (was) {
	case HEALTH_DOWN:
		return state->good >= check->monitor->settings.rise ? said : HEALTH_DOWN;
	case HEALTH_UP:
	case HEALTH_DRAINING:
		return said != HEALTH_DOWN || state->bad >= check->monitor->settings.fall ? said : was;
	case HEALTH_UNKNOWN:
	case HEALTH_UNCHECKED:
		break;
	}
	return said;
}

/* As most of ten thousand answers, it says what was said before. */
static bool
judge_is_old_news(const struct check *check, const char *reason)
{
	const struct board_check *state = check->state;

	return check->label_len && state->health != HEALTH_DOWN && !state->bad &&
	       strcmp(state->reason + check->label_len, reason) == 0;
}

/* "tcp 192.0.2.1:5061: connection refused, third time". While it stays down for the same reason the
 * words stay as they are: how often stands beside them. */
static void
judge_words(struct check *check, const char *reason, enum board_health was, char *out)
{
	const struct board_check *state = check->state;
	const struct monitor_settings *settings = &check->monitor->settings;
	char label[CHECK_LABEL_SIZE], times[TIMES_SIZE] = "", first[256], full[320];
	struct text plain = { 0 };
	size_t len;

	check->label_len = (uint8_t)(strlen(words_label(check, label)) + 2);
	/* Programs, certificates and servers put into a reason what they like; people and JSON get text. */
	text_plain(&plain, reason, strlen(reason));
	len = (size_t)snprintf(first, sizeof(first), "%s: %.*s", label,
	                       (int)text_cut(plain.at, plain.len, 110), plain.at ? plain.at : "");
	len = text_cut(first, len, BOARD_WORDS - TIMES_SIZE);
	first[len] = '\0';
	text_free(&plain);
	if (state->health == HEALTH_DOWN && state->bad) {
		bool same = was == HEALTH_DOWN && strncmp(state->reason, first, len) == 0 &&
		            (state->reason[len] == ',' || !state->reason[len]);

		if (same) {
			memcpy(out, state->reason, BOARD_WORDS);
			return;
		}
		words_times(state->bad, times);
	} else if (state->bad) {
		snprintf(times, sizeof(times), " (%u of %u)", state->bad, settings->fall);
	} else if (state->health == HEALTH_DOWN) {
		snprintf(times, sizeof(times), " (%u of %u)", state->good, settings->rise);
	}
	snprintf(full, sizeof(full), "%s%s", first, times);
	memset(out, 0, BOARD_WORDS);
	snprintf(out, BOARD_WORDS, "%.*s", BOARD_WORDS - 1, full);
}

static void
judge_count(struct check *check, const struct probe_answer *answer, enum board_health said)
{
	struct board_check *state = check->state;
	enum board_health was = (enum board_health)state->health, now;
	uint64_t now_wall_ms = clock_wall_ms();
	char words[BOARD_WORDS];

	board_check_begin(state);
	state->runs++;
	state->last_wall_ms = now_wall_ms;
	if (said == HEALTH_DOWN) {
		state->failures++;
		state->bad++;
		state->good = 0;
	} else {
		state->good++;
		state->bad = 0;
		state->latency_us = answer->latency_us;
		state->weight = (uint32_t)answer->weight_percent;
	}
	now = judge_next(check, was, said);
	if (now != was)
		state->since_wall_ms = now_wall_ms;
	state->health = now;
	if (!judge_is_old_news(check, answer->reason)) {
		judge_words(check, answer->reason, was, words);
		memcpy(state->reason, words, sizeof(words));
	}
	board_check_end(state);
}

/* Seats. */

struct judge_sum {
	enum board_health health;
	uint32_t weight, latency_us;
	const char *reason;
};

/* Of two checks that agree on the health, the one that has more to say gives the reason: one that is
 * about to change its mind. */
static int
judge_order(enum board_health health, bool any)
{
	switch (health) {
	case HEALTH_DOWN:
		return any ? 0 : 3;
	case HEALTH_DRAINING:
		return 2;
	case HEALTH_UNKNOWN:
		return 1;
	case HEALTH_UP:
	case HEALTH_UNCHECKED:
		break;
	}
	return any ? 3 : 0;
}

/* all: the worst of the checks; any: the best. */
static struct judge_sum
judge_combine(const struct watch *watch)
{
	bool any = watch->service->settings.monitor_policy.index == MONITORS_ANY;
	const struct check *decides = NULL;
	struct judge_sum sum = { .health = HEALTH_UNCHECKED, .reason = "no monitor" };

	for (uint32_t i = 0; i < watch->n_checks; i++) {
		const struct check *check = watch->checks[i];
		const struct board_check *state = check->state;
		int order = judge_order((enum board_health)state->health, any);
		int best = decides ? judge_order((enum board_health)decides->state->health, any) : -1;

		if (order > best || (order == best && judge_unsettled(check) && !judge_unsettled(decides)))
			decides = check;
		if (state->health == HEALTH_UP && state->weight && (!sum.weight || state->weight < sum.weight))
			sum.weight = state->weight;
		if (state->latency_us > sum.latency_us)
			sum.latency_us = state->latency_us;
	}
	if (decides) {
		sum.health = (enum board_health)decides->state->health;
		sum.reason = sum.health == HEALTH_UNKNOWN ? "not checked yet" : decides->state->reason;
	} else if (!watch->service->settings.enabled && watch->service->n_monitors) {
		sum.reason = "the service is not enabled";
	}
	return sum;
}

static void
judge_note(struct checker *checker, const struct watch *watch, const struct cell_health *old,
           enum board_health now)
{
	if (checker->n_changes == checker->changes_size) {
		checker->changes_size = checker->changes_size ? 2 * checker->changes_size : 64;
		checker->changes = must_realloc(checker->changes,
		                                checker->changes_size * sizeof(*checker->changes));
	}
	checker->changes[checker->n_changes++] = (struct change){
		.watch = watch, .before = old->health, .now = now, .since_wall_ms = old->since_wall_ms,
	};
}

/* Tells the others when the seat is used differently from now on. */
static void
judge_tell(struct checker *checker, const struct watch *watch, const struct cell_health *old,
           const struct judge_sum *now)
{
	struct control_record record = {
		.type = CONTROL_CHANGED,
		.id = watch->seat->cell,
		/* Draining ends nothing: only a server that is down loses its connections. */
		.value = now->health == HEALTH_DOWN,
		.generation = checker->child->current->number,
	};

	if (health_usable(old->health) == health_usable(now->health) && old->weight == now->weight &&
	    (old->health == HEALTH_DRAINING) == (now->health == HEALTH_DRAINING))
		return;
	child_send(checker->child, &record, NULL, 0, NULL, 0);
}

static void
judge_watch(struct checker *checker, const struct watch *watch, bool force)
{
	struct board_cell *cell = board_cell_at(checker->child->board, watch->seat->cell);
	struct judge_sum sum = judge_combine(watch);
	struct cell_health old;

	board_health_read(cell, &old);
	if (!force && old.health == sum.health && old.weight == sum.weight &&
	    old.latency_us == sum.latency_us && strcmp(old.reason, sum.reason) == 0)
		return;
	board_health_write(cell, sum.health, sum.reason, sum.weight, sum.latency_us);
	judge_tell(checker, watch, &old, &sum);
	if (old.health != sum.health)
		judge_note(checker, watch, &old, sum.health);
}

void
judge_all(struct checker *checker, bool force)
{
	const struct checker_plan *plan = checker->child->current->run;

	checker->n_changes = 0;
	for (uint32_t i = 0; i < plan->n_watches; i++)
		judge_watch(checker, &plan->watches[i], force);
	words_changes(checker);
}

/* A word about what is not down yet. */
static void
judge_warn(struct check *check, const struct probe_answer *answer)
{
	if (answer->warn && !check->warned)
		log_warn("server %s: %s", check->question.server, check->state->reason);
	check->warned = answer->warn;
}

static void
judge_first(struct checker *checker)
{
	const struct checker_plan *plan = checker->child->current->run;
	uint32_t down = 0;

	if (--checker->unknown)
		return;
	for (uint32_t i = 0; i < plan->n_checks; i++)
		down += plan->checks[i].state->health == HEALTH_DOWN;
	log_info("every server was asked once: %u checks, %u of them down", plan->n_checks, down);
}

void
judge_answer(struct check *check, const struct probe_answer *answer)
{
	struct checker *checker = check->checker;
	bool first = check->state->health == HEALTH_UNKNOWN;
	enum board_health said = answer->what == SY_PROBE_UP ? HEALTH_UP
	                       : answer->what == SY_PROBE_DRAINING ? HEALTH_DRAINING : HEALTH_DOWN;

	judge_count(check, answer, said);
	judge_warn(check, answer);
	checker->n_changes = 0;
	for (uint32_t i = 0; i < check->n_watches; i++)
		judge_watch(checker, check->watches[i], false);
	words_changes(checker);
	if (first)
		judge_first(checker);
}
