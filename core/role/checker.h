/* The checker: the one process that asks servers how they are, and the only writer of health.
 *
 *	service x monitor x seat  ->  check  ->  probe (probe.h), every interval
 *	                                |
 *	     seat's health  <-  all or any of its checks  ->  CHANGED to the others
 *
 * A check is one question to one server: module, settings, address, port. Services that ask the same
 * share it: it is asked once. What is known of it, counts included, stands on the board under the
 * hash of the question, and so survives reload and the death of this process; another address, port
 * or setting is another check, which starts from nothing. Only a change of its timing (interval, rise,
 * ...) hands the state on.
 *
 * Files: checker.c the process, and when each check is due; checker_plan.c the checks of a
 * generation; checker_judge.c what an answer means; checker_words.c how it is told. */
#ifndef ROLE_CHECKER_H
#define ROLE_CHECKER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "proc/child.h"
#include "role/probe.h"

struct checker;
struct check;

/* A probe on its way. Outlives a reload: then it answers to the check of the same id. */
struct errand {
	struct checker *checker;
	struct generation *generation; /* held: the question lies in it */
	struct check *check;      /* NULL: nobody waits for it any more */
	struct probe *probe;
	uint64_t judged_ms;       /* when the verdict came; a program has still to end then. 0: not yet */
};

/* A seat, and the checks that decide about it, in the order of the service's monitors. */
struct watch {
	const struct service *service;
	const struct seat *seat;
	struct check **checks;    /* of the service's monitors that ask this server; none when it is not enabled */
	uint32_t n_checks;
};

/* What became of a seat when a check had its answer. */
struct change {
	const struct watch *watch;
	uint32_t before, now;     /* enum board_health */
	uint64_t since_wall_ms;   /* of before */
	bool told;
};

struct check {
	uint64_t id;              /* hash of what is asked, of whom, and how often */
	uint64_t question_id;     /* the same without how often */
	const struct monitor *monitor;
	struct sy_probe_plan plan;
	struct probe_question question;
	struct board_check *state;
	struct watch **watches;
	uint32_t n_watches;

	/* From the switch on: */
	struct checker *checker;
	struct generation *generation;
	struct ev_timer due;
	struct errand *errand;
	uint64_t started_ms;      /* of the last probe; 0: none yet */
	bool spread;              /* its place in the interval was drawn */
	uint8_t label_len;        /* of state->reason, before what was answered; 0: not known */
	bool warned;
};

/* What the checker makes of a generation. */
struct checker_plan {
	struct check *checks;     /* sorted by id */
	uint32_t n_checks;
	struct watch *watches;    /* all seats */
	struct watch **by_cell;
	uint32_t n_watches;
	struct probe_tls **tls;
	uint32_t n_tls;
};

struct checker {
	struct child *child;
	struct probes *probes;
	uint64_t random;
	struct change *changes;   /* of one answer: scratch of checker_judge.c */
	uint32_t n_changes, changes_size;
	uint32_t unknown;         /* checks that never answered */
	uint64_t failed;          /* probes that could not be made, since it was last told */
	uint64_t failed_told_ms;
};

/* checker_plan.c. -1 with err: nothing is left over. */
int plan_make(struct checker *checker, struct generation *generation, struct sy_err *err);
void plan_free(struct checker_plan *plan);
struct watch *plan_watch(const struct checker_plan *plan, uint32_t cell);

/* checker_judge.c: counts an answer, and tells whom it concerns. Changes go to the board, the other
 * processes and the log. */
void judge_answer(struct check *check, const struct probe_answer *answer);
/* After a switch: each seat's health from what its checks know. force: writes even what is the same
 * (a predecessor may have died while it was writing). */
void judge_all(struct checker *checker, bool force);
/* Neither up nor down for good: rise or fall is being counted. */
bool judge_unsettled(const struct check *check);

/* checker_words.c */
#define CHECK_LABEL_SIZE 128
/* "tcp 192.0.2.1:5061" */
const char *words_label(const struct check *check, char out[static CHECK_LABEL_SIZE]);
/* ", third time" for 3; "" for 1 and less. */
#define TIMES_SIZE 32
const char *words_times(uint32_t n, char out[static TIMES_SIZE]);
/* One line for each server whose seats changed, however many services share it. */
void words_changes(struct checker *checker);

#endif
