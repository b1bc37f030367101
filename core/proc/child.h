/* What worker, checker, console and routing have in common: the control socket, the board, the heartbeat, the
 * log, and the life of generations. The role only says what is its own. */
#ifndef PROC_CHILD_H
#define PROC_CHILD_H

#include <ev.h>

#include "base/timeq.h"
#include "conf/generation.h"
#include "proc/control.h"
#include "share/board.h"

struct child;

struct child_ops {
	const char *role;
	/* Generations are mapped, not bound: no settings, no modules; generation->config is NULL. */
	bool plain;
	/* A generation was bound; make what the role needs of it (generation->run). It is not in use yet.
	 * -1 with err refuses it, and with it the whole reload. */
	int (*prepare)(struct child *child, struct generation *generation, struct sy_err *err);
	/* New exchanges use this one from now on; child->current is set already; `old` may be NULL. */
	void (*switched)(struct child *child, struct generation *old);
	/* The last exchange ended, or it was refused: undo prepare. Called just before it is freed. */
	void (*drop)(struct child *child, struct generation *generation);
	/* Workers (and the console for its own): sockets to listen on; the role owns fd. NULL: closes it. */
	void (*listen)(struct child *child, uint64_t listener, unsigned slot, int fd);
	void (*unlisten)(struct child *child, uint64_t listener, unsigned slot);
	/* Anything else: CHANGED, SUSPECT, ASK, ANSWER, DONE; for the console LISTEN without a descriptor,
	 * which tells the address that a listener really has (id, text). The role may take descriptors from
	 * message->fds by setting them to -1; the rest is closed. */
	void (*message)(struct child *child, struct control_message *message);
	/* Finish and call child_exit when done. Not graceful: at once. NULL: child_exit at once. For a
	 * role without connections graceful means that a successor goes on with what it leaves. */
	void (*stop)(struct child *child, bool graceful, uint64_t grace_ms);
	/* Once a second, before the heartbeat is written, from the first SWITCH on. Optional. */
	void (*beat)(struct child *child);
};

struct child {
	const struct child_ops *ops;
	struct ev_loop *loop;
	struct timeq_set *timeouts;
	struct board *board;
	unsigned row;             /* enum board_row, for workers ROW_WORKER + index */
	unsigned index;           /* of a worker */
	int control;
	struct generation *current; /* NULL before the first SWITCH */
	struct link generations;  /* all that are alive */
	uint64_t now_ms;          /* monotonic, of this turn of the loop: set by child.c before any callback */
	bool stopping;
	void *run;                /* the role's own */
	struct child_core *core;  /* child.c's own */
};

/* Runs the role until it is told to stop, or the master dies (then: graceful stop). Fills all of
 * *child but run; row and index come from the title. Returns the exit status. The loop is not
 * libev's default one: it has no SIGCHLD handler that would wait for everybody's processes
 * (watch a pidfd instead).
 *
 * Order at the start: LOG; GENERATION, with which privileges are dropped before anything of the
 * configuration or a module is touched; prepare(); listen() for each socket; switched(); READY.
 * Order at the end: stop(); the role ends what it has and calls child_exit(); drop() for each
 * generation that is left. Generations are freed at the end of a turn of the loop, so what a
 * callback has in hand stays valid until it returns. */
int child_run(struct child *child, const struct child_ops *ops);
void child_exit(struct child *child);
/* An exchange holds the generation that it started in. */
static inline struct generation *
generation_hold(struct generation *generation)
{
	generation->refs++;
	return generation;
}
void child_release(struct child *child, struct generation *generation);
/* Sends to the master; a full socket is retried until the master reads (kept in order, never lost). */
void child_send(struct child *child, const struct control_record *record, const char *text,
                size_t len, const int *fds, unsigned n_fds);

#endif
