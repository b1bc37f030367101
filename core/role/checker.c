#include "role/checker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/must.h"
#include "base/text.h"
#include "role/roles.h"

enum {
	CHECKER_MOST = 4096,      /* probes open at once */
	CHECKER_FIRST_MS = 1000,  /* a fresh start knows all servers that answer after so long */
	CHECKER_SUSPECT_MS = 1000, /* a suspicion has a check run at most this often */
	CHECKER_AT_ONCE = 100,    /* more than these are asked for: spread over a second */
	CHECKER_TOLD_MS = 10000,
	CHECKER_ENDING_MS = 3000,
};

/* When. */

static uint64_t
checker_draw(struct checker *checker, uint64_t below)
{
	return below ? hash_random(&checker->random) % below : 0;
}

static void
check_arm(struct check *check, uint64_t after_ms)
{
	struct ev_loop *loop = check->checker->child->loop;

	ev_timer_stop(loop, &check->due);
	ev_timer_set(&check->due, (double)after_ms / 1000, 0.);
	ev_timer_start(loop, &check->due);
}

/* Not later than this, if it is not on its way. */
static void
check_hurry(struct check *check, uint64_t after_ms)
{
	if (!check->errand &&
	    ev_timer_remaining(check->checker->child->loop, &check->due) * 1000 > (double)after_ms)
		check_arm(check, after_ms);
}

/* Probes must never burst. The first ones come soon, and from there each draws its own place in the
 * interval; later ones wander by a tenth. */
static void
check_next(struct check *check)
{
	const struct monitor_settings *settings = &check->monitor->settings;
	uint64_t interval = settings->interval.ms, now_ms = clock_ms(), due_ms;

	if (judge_unsettled(check) && settings->fast_interval.ms &&
	    settings->fast_interval.ms < interval)
		interval = settings->fast_interval.ms;
	else if (!check->spread) {
		check->spread = true;
		interval = 1 + checker_draw(check->checker, interval);
	}
	due_ms = check->started_ms + interval - interval / 10 +
	         checker_draw(check->checker, interval / 5 + 1);
	check_arm(check, due_ms > now_ms ? due_ms - now_ms : 0);
}

static void
check_first(struct check *check)
{
	uint64_t interval = check->monitor->settings.interval.ms;

	if (check->state->health == HEALTH_UNKNOWN && interval > CHECKER_FIRST_MS)
		interval = CHECKER_FIRST_MS;
	check->spread = check->state->health != HEALTH_UNKNOWN;
	if (judge_unsettled(check) && check->monitor->settings.fast_interval.ms < interval)
		interval = check->monitor->settings.fast_interval.ms;
	check_arm(check, checker_draw(check->checker, interval));
}

/* Probes. */

static void
check_set_out(struct check *check)
{
	struct errand *errand = must_alloc(sizeof(*errand));

	*errand = (struct errand){
		.checker = check->checker,
		.generation = generation_hold(check->generation),
		.check = check,
	};
	check->errand = errand;
	check->started_ms = clock_ms();
	errand->probe = probe_ask(check->checker->probes, &check->question, errand);
}

static void
check_due(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct check *check = container_of(timer, struct check, due);

	(void)loop, (void)events;
	if (!check->errand) {
		check_set_out(check);
		return;
	}
	/* A program that was told to end. No second one beside it, but no endless patience either: what
	 * hangs in the kernel cannot be killed. */
	must(check->errand->judged_ms);
	if (clock_ms() < check->errand->judged_ms + CHECKER_ENDING_MS) {
		check_arm(check, CHECKER_ENDING_MS / 10);
		return;
	}
	check->started_ms = clock_ms();
	judge_answer(check, &(struct probe_answer){
		.asked = true, .what = SY_PROBE_DOWN,
		.reason = "the program was killed, but does not end",
	});
	check_next(check);
}

/* This side lacks something: that says nothing about the server, whose state stays as it is. */
static void
checker_not_asked(struct checker *checker, const struct check *check, const char *reason)
{
	char label[CHECK_LABEL_SIZE];
	uint64_t now_ms = clock_ms();

	checker->failed++;
	if (checker->failed_told_ms && now_ms < checker->failed_told_ms + CHECKER_TOLD_MS)
		return;
	log_err("%s: cannot be checked: %s (%llu checks so far; servers stay as they were)",
	        words_label(check, label), reason, (unsigned long long)checker->failed);
	checker->failed = 0;
	checker->failed_told_ms = now_ms;
}

static void
checker_answered(void *owner, const struct probe_answer *answer)
{
	struct errand *errand = owner;
	struct check *check = errand->check;

	errand->judged_ms = clock_ms();
	if (!check)
		return;
	/* A connection that is being closed need not be waited for; a program must be. */
	if (check->plan.transport != SY_OVER_PROGRAM) {
		check->errand = NULL;
		errand->check = NULL;
	}
	if (answer->asked)
		judge_answer(check, answer);
	else
		checker_not_asked(errand->checker, check, answer->reason);
	check_next(check);
}

static void
checker_gone(void *owner)
{
	struct errand *errand = owner;

	if (errand->check && errand->check->errand == errand)
		errand->check->errand = NULL;
	child_release(errand->checker->child, errand->generation);
	free(errand);
}

static const struct probe_ops checker_probe_ops = {
	.answered = checker_answered,
	.gone = checker_gone,
};

/* Generations. */

static unsigned
checker_limit(void)
{
	struct rlimit limit;
	rlim_t most = 256;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
			most = limit.rlim_cur;
	}
	/* A program takes three while it is started, and the process needs some itself. */
	most = most > 128 ? (most - 64) / 3 : 16;
	return most < CHECKER_MOST ? (unsigned)most : CHECKER_MOST;
}

static int
checker_prepare(struct child *child, struct generation *generation, struct sy_err *err)
{
	struct checker *checker = child->run;

	if (!checker->probes) {
		must(getrandom(&checker->random, sizeof(checker->random), 0) ==
		     sizeof(checker->random));
		checker->probes = probes_new(child->loop, child->timeouts, &checker_probe_ops,
		                             checker_limit());
	}
	return plan_make(checker, generation, err);
}

static int
checker_compare_questions(const void *a, const void *b)
{
	const struct check *left = *(struct check *const *)a, *right = *(struct check *const *)b;

	return left->question_id < right->question_id ? -1 : left->question_id > right->question_id;
}

/* A check that is asked at other times from now on knows what it knew. */
static void
checker_hand_on(const struct checker_plan *from, struct checker_plan *to)
{
	struct check **known = must_alloc((from->n_checks + 1) * sizeof(*known));

	for (uint32_t i = 0; i < from->n_checks; i++)
		known[i] = &from->checks[i];
	qsort(known, from->n_checks, sizeof(*known), checker_compare_questions);
	for (uint32_t i = 0; i < to->n_checks; i++) {
		struct check *check = &to->checks[i];
		struct board_check *state = check->state;
		struct check **same;

		if (state->health != HEALTH_UNKNOWN)
			continue;
		same = bsearch(&check, known, from->n_checks, sizeof(*known), checker_compare_questions);
		if (!same || (*same)->state == state)
			continue;
		board_check_begin(state);
		state->health = (*same)->state->health;
		state->since_wall_ms = (*same)->state->since_wall_ms;
		state->latency_us = (*same)->state->latency_us;
		state->weight = (*same)->state->weight;
		memcpy(state->reason, (*same)->state->reason, sizeof(state->reason));
		board_check_end(state);
	}
	free(known);
}

static void
checker_stop_check(struct check *check)
{
	ev_timer_stop(check->checker->child->loop, &check->due);
	if (!check->errand)
		return;
	check->errand->check = NULL;
	if (!check->errand->judged_ms)
		probe_abandon(check->errand->probe);
	check->errand = NULL;
}

/* The same check in the next generation: its time and its probe go on. */
static void
checker_move_check(struct check *from, struct check *to)
{
	struct ev_loop *loop = from->checker->child->loop;
	double remaining = ev_is_active(&from->due) ? ev_timer_remaining(loop, &from->due) : -1;

	to->started_ms = from->started_ms;
	to->spread = from->spread;
	to->warned = from->warned;
	to->errand = from->errand;
	from->errand = NULL;
	if (to->errand)
		to->errand->check = to;
	ev_timer_stop(loop, &from->due);
	if (remaining >= 0)
		check_arm(to, (uint64_t)(remaining * 1000));
}

static void
checker_change_over(struct checker_plan *from, struct checker_plan *to)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < to->n_checks; i++) {
		struct check *check = &to->checks[i];

		while (from && at < from->n_checks && from->checks[at].id < check->id)
			checker_stop_check(&from->checks[at++]);
		ev_timer_init(&check->due, check_due, 0., 0.);
		if (from && at < from->n_checks && from->checks[at].id == check->id)
			checker_move_check(&from->checks[at++], check);
		else
			check_first(check);
	}
	while (from && at < from->n_checks)
		checker_stop_check(&from->checks[at++]);
}

static void
checker_bury(struct board *board, const struct checker_plan *plan)
{
	uint64_t *ids = must_alloc((plan->n_checks + 1) * sizeof(*ids));

	for (uint32_t i = 0; i < plan->n_checks; i++)
		ids[i] = plan->checks[i].id;
	board_bury_checks(board, ids, plan->n_checks);
	free(ids);
}

/* A predecessor may have been killed while it was writing. */
static void
checker_mend(struct checker_plan *plan)
{
	for (uint32_t i = 0; i < plan->n_checks; i++) {
		struct board_check *state = plan->checks[i].state;

		if (!(state->seq & 1))
			continue;
		board_check_begin(state);
		state->reason[sizeof(state->reason) - 1] = '\0';
		if (state->health > HEALTH_UNCHECKED)
			state->health = HEALTH_UNKNOWN;
		board_check_end(state);
	}
}

static void
checker_switched(struct child *child, struct generation *old)
{
	struct checker *checker = child->run;
	struct checker_plan *plan = child->current->run;
	struct checker_plan *before = old ? old->run : NULL;

	if (before)
		checker_hand_on(before, plan);
	else
		checker_mend(plan);
	checker->unknown = 0;
	for (uint32_t i = 0; i < plan->n_checks; i++)
		checker->unknown += plan->checks[i].state->health == HEALTH_UNKNOWN;
	checker_change_over(before, plan);
	judge_all(checker, !before);
	checker_bury(child->board, plan);
}

static void
checker_drop(struct child *child, struct generation *generation)
{
	struct checker_plan *plan = generation->run;

	for (uint32_t i = 0; plan && i < plan->n_checks; i++)
		ev_timer_stop(child->loop, &plan->checks[i].due);
	plan_free(plan);
}

/* Messages. */

/* A worker could not connect: ask that server now. Who is down already is not asked more often. */
static void
checker_suspect(struct checker *checker, uint32_t cell)
{
	struct watch *watch = plan_watch(checker->child->current->run, cell);
	uint64_t now_ms = clock_ms();

	for (uint32_t i = 0; watch && i < watch->n_checks; i++) {
		struct check *check = watch->checks[i];
		uint64_t from_ms = check->started_ms + CHECKER_SUSPECT_MS;

		if (check->state->health != HEALTH_DOWN)
			check_hurry(check, check->started_ms && from_ms > now_ms ? from_ms - now_ms : 0);
	}
}

static void
checker_reply(struct checker *checker, const struct control_message *question, struct text *text)
{
	struct control_record record = {
		.type = CONTROL_ANSWER,
		.flags = CONTROL_OK,
		.row = ROW_CHECKER,
		.id = question->record.id,
		.generation = question->record.generation,
	};

	child_send(checker->child, &record, text->at, text->len, NULL, 0);
	text_free(text);
}

static void
checker_now(struct checker *checker, const struct control_message *message)
{
	struct checker_plan *plan = checker->child->current->run;
	struct text text = { 0 };
	uint64_t cell, spread;
	uint32_t n = 0;

	if (message->len == 0) {
		spread = plan->n_checks > CHECKER_AT_ONCE ? CHECKER_FIRST_MS : 0;
		for (; n < plan->n_checks; n++)
			check_hurry(&plan->checks[n], checker_draw(checker, spread));
	} else if (uint_parse(message->text, &cell) && cell < UINT32_MAX) {
		struct watch *watch = plan_watch(plan, (uint32_t)cell);

		for (; watch && n < watch->n_checks; n++)
			check_hurry(watch->checks[n], 0);
	}
	text_printf(&text, "{\"process\": \"checker\", \"checks\": %u}", n);
	checker_reply(checker, message, &text);
}

static void
checker_memory(struct checker *checker, const struct control_message *message)
{
	const struct generation *current = checker->child->current;
	const struct checker_plan *plan = current->run;
	struct probes_count count = probes_count(checker->probes);
	struct text text = { 0 };

	text_printf(&text, "{\"process\": \"checker\", \"configuration\": %zu, \"checks\": %u, "
	            "\"seats\": %u, \"probes_open\": %u, \"probes_waiting\": %u, "
	            "\"probes_closing\": %u}", arena_size(current->arena), plan->n_checks,
	            plan->n_watches, count.open, count.waiting, count.closing);
	checker_reply(checker, message, &text);
}

static void
checker_message(struct child *child, struct control_message *message)
{
	struct checker *checker = child->run;

	if (!child->current)
		return;
	if (message->record.type == CONTROL_SUSPECT) {
		checker_suspect(checker, (uint32_t)message->record.id);
	} else if (message->record.type == CONTROL_ASK) {
		struct text nothing = { 0 };

		switch ((enum control_ask)message->record.value) {
		case ASK_CHECK_NOW:
			checker_now(checker, message);
			return;
		case ASK_MEMORY:
			checker_memory(checker, message);
			return;
		case ASK_CONNECTIONS:
		case ASK_ROUTES:
		case ASK_CLEAR_CONNECTIONS:
	case ASK_TRACE:
	case ASK_TRACE_END:
			text_puts(&nothing, "[]");
			checker_reply(checker, message, &nothing);
			return;
		}
	}
}

static void
checker_stop(struct child *child, bool graceful, uint64_t grace_ms)
{
	struct checker *checker = child->run;

	(void)graceful, (void)grace_ms;
	if (checker->probes)
		probes_free(checker->probes);
	checker->probes = NULL;
	free(checker->changes);
	checker->changes = NULL;
	checker->changes_size = 0;
	if (child->current) {
		struct checker_plan *plan = child->current->run;

		for (uint32_t i = 0; i < plan->n_checks; i++)
			ev_timer_stop(child->loop, &plan->checks[i].due);
	}
	child_exit(child);
}

static const struct child_ops checker_ops = {
	.role = "checker",
	.prepare = checker_prepare,
	.switched = checker_switched,
	.drop = checker_drop,
	.message = checker_message,
	.stop = checker_stop,
};

int
checker_main(int argc, char **argv)
{
	struct checker checker = { .failed = 0 };
	struct child child = { .run = &checker };

	(void)argc, (void)argv;
	checker.child = &child;
	return child_run(&child, &checker_ops);
}
