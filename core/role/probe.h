/* The probe engine: asks one question of one server for a monitor module, and gives the judgement
 * back. It knows nothing of intervals, rise and fall, or health: that is checker.h.
 *
 *	waiting -> connecting -> [handshake] -> talking -> closing -> gone
 *	                     \-> running (a program) ----/
 *
 * At most so many probes are open at once as probes_new() was told; the others stand in a queue, and
 * their time begins when they leave it. The verdict is given (answered) as soon as it is known; what
 * is left to do then, a clean end of the connection or the end of a program, goes on without the
 * owner, until gone is called.
 *
 * A clean end matters: servers fill their logs with connections that are reset or left in the middle
 * of something. Bytes were exchanged: we say that we are done (close_notify, FIN), read what still
 * comes, and close when the server has closed, or after a second. */
#ifndef ROLE_PROBE_H
#define ROLE_PROBE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/monitor.h"
#include "base/timeq.h"

struct probes;
struct probe;
struct probe_tls;

/* What is asked: borrowed for the life of the probe. */
struct probe_question {
	const struct sy_monitor *ops;
	const void *conf;
	const struct sy_probe_plan *plan;
	struct probe_tls *tls;    /* SY_OVER_TLS only */
	struct sy_addr to;
	const char *service, *server;
	uint64_t timeout_ms;      /* connect, handshake and answer together */
};

struct probe_answer {
	/* False: the question could not be asked, for a reason on this side (no descriptors, no memory):
	 * nothing is known of the server. */
	bool asked;
	enum sy_probe_what what;  /* SY_PROBE_UP, SY_PROBE_DOWN or SY_PROBE_DRAINING */
	int weight_percent;
	bool warn;
	uint32_t latency_us;      /* from the start of the connect to the verdict */
	char reason[160];
};

struct probe_ops {
	/* Once for each probe, unless it was abandoned. */
	void (*answered)(void *owner, const struct probe_answer *answer);
	/* Always, as the last word: the probe and all that it borrowed are not used any more. */
	void (*gone)(void *owner);
};

/* Never NULL. `most`: open at once. */
struct probes *probes_new(struct ev_loop *loop, struct timeq_set *timeouts,
                          const struct probe_ops *ops, unsigned most);
/* Abandons all; programs are killed. gone() is called for each. */
void probes_free(struct probes *probes);
/* Probes that have no verdict yet; those that wait in the queue; those that are ending. */
struct probes_count { unsigned open, waiting, closing; };
struct probes_count probes_count(const struct probes *probes);

/* answered() and gone() never come before this returns. */
struct probe *probe_ask(struct probes *probes, const struct probe_question *question, void *owner);
/* No verdict is wanted any more: cuts it short. Not after gone(). */
void probe_abandon(struct probe *probe);

/* SY_OVER_TLS: what all probes with the same plan share. NULL with err when the plan's certificates
 * are no good. */
struct probe_tls *probe_tls_new(const struct sy_probe_plan *plan, struct sy_err *err);
void probe_tls_drop(struct probe_tls *tls);

/* SY_OVER_ICMP: opens the sockets if that was not done yet. -1 with err when it is not allowed. */
int probes_need_echo(struct probes *probes, struct sy_err *err);

#endif
