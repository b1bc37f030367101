/* The master: owns the listening sockets, the board and the children. It parses nothing, opens no
 * module, resolves no name: what it must know of a configuration stands in gen_head, in plain fields.
 *
 *	master.c           start, signals, the tick, the end
 *	master_epoch.c     generations, and who still holds which
 *	master_records.c   what children say, and who may say it
 *	master_console.c   commands and questions of the console
 *	master_log.c       where the log goes
 *	master_upgrade.c   SIGUSR2: another program in the same process; see upgrade.h
 *	master_adopt.c     the other program's half
 *	supervise.c        starting children, their sign of life
 *	supervise_end.c    their death, and when a successor comes
 *	supervise_lanes.c  which worker serves which share of the slots
 *	reload_loader.c    the loader's life and answer
 *	reload_trial.c     back to what was before, unless somebody confirms
 *	reload.c           bind everywhere -> switch everywhere, or nothing at all
 *	listeners.c        addresses and their slots, and which worker serves which
 *	listeners_unix.c   the control socket
 *	listeners_hops.c   the sockets that workers reach each other by */
#ifndef ROLE_MASTER_H
#define ROLE_MASTER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/log.h"
#include "base/text.h"
#include "conf/generation.h"
#include "proc/control.h"
#include "proc/outbox.h"
#include "role/roles.h"
#include "share/board.h"

enum {
	MASTER_READY_MS = 30000,   /* a child must be ready by then, or is killed */
	MASTER_BEAT_MS = 10000,    /* so long without a sign of life, and it is killed */
	MASTER_MISSED_MS = 1500,   /* a beat is late: it hangs */
	MASTER_STALLED_MS = 3000,  /* our own tick this late: nobody could beat, nobody is to blame */
	MASTER_LOADER_MS = 120000, /* names are resolved there */
	MASTER_BIND_MS = 30000,    /* all must have bound a new generation by then */
	MASTER_ASK_MS = 5000,
	MASTER_STOP_MS = 5000,     /* after "stop now" */
	MASTER_THROTTLE_MS = 1000, /* the first wait after a failure before READY; doubles */
	MASTER_THROTTLE_MOST_MS = 60000,
	MASTER_TAKEOVER_MS = 3000, /* a predecessor's children may need so long to leave */
	MASTER_MODULES = 64,
	MASTER_SLOTS = 1024,
};

struct master;

/* A generation as the master knows it. Exists while it is in use, about to be, or held by a child. */
struct epoch {
	struct link link;
	uint64_t number;
	const struct gen_head *head;
	void *map;
	size_t len;
	int fds[2 + MASTER_MODULES]; /* as they go to the children: generation, secrets if any, modules */
	unsigned n_fds;
	bool secrets;
	unsigned holders;
	bool open;                /* all the descriptors: until it is neither current nor next */
};

struct hold {
	struct link link;
	struct epoch *epoch;
};

enum process_state {
	PROCESS_NONE,             /* not running, and not about to */
	PROCESS_WAITING,          /* will be started when `respawn` fires */
	PROCESS_STARTING,         /* not ready yet */
	PROCESS_READY,
	PROCESS_LEAVING,          /* told to stop */
};

#define PROCESS_TOO_OLD UINT64_MAX

/* A place for a child. Successors fill the same place: same row, same slots. */
struct process {
	struct master *master;
	char name[24];            /* "worker 0" */
	unsigned row, index;
	bool wanted;              /* to be started again when it ends */
	uint64_t outdated;        /* to be replaced, and learns no new generation: the number of the one that it
	                             cannot use, or PROCESS_TOO_OLD for good; 0: not so */
	int takes;                /* worker: the lane that it takes over when it is ready; -1: none */
	enum process_state state;
	pid_t pid;
	int pidfd;                /* signals and waiting: a pid could be somebody else's by then */
	int control;              /* -1: end of file seen */
	struct outbox outbox;
	struct ev_io readable, ended;
	struct ev_timer respawn;
	uint64_t started_ms;
	uint64_t ready_ms;        /* 0: has not been */
	uint64_t kill_at_ms;      /* 0: no limit to its leaving */
	unsigned failures;        /* in a row, before READY */
	uint64_t binding;         /* the generation whose BOUND is awaited; 0: none */
	uint64_t told_ms;         /* since then */
	uint64_t last_beat_ms;    /* of the one that died */
	bool transparent, icmp;   /* started with the right to it */
	char killed_for[480];     /* why we killed it */
	struct link holds;
	int hop;                  /* worker: its socket for the others, made when first needed; -1: not yet */
};

/* One address with its slots. */
struct listening {
	struct link link;
	struct gen_listener want;
	struct sy_addr real;
	unsigned n_slots;
	int *fds;
	uint64_t *served;         /* for each slot: bits of the workers that have it */
	bool stays, fresh;        /* scratch of a reload */
};

enum reload_state {
	RELOAD_NONE,
	RELOAD_LOADING,
	RELOAD_BINDING,
};

/* Commands of the console that wait for a reload to end. */
struct askers {
	uint64_t *ids;
	unsigned n;
};

struct reload {
	enum reload_state state;
	bool again;               /* another was asked for meanwhile */
	struct askers askers, askers_again;
	uint64_t started_us;
	uint64_t deadline_ms;
	pid_t loader;
	int pidfd;
	int control;              /* -1: has said its last */
	struct ev_io readable, ended;
	bool answered;
	struct epoch *next;       /* BINDING */
	struct text said;         /* by the loader: warnings, or why it refused */
};

/* A configuration that must be confirmed. */
struct trial {
	uint64_t asked_ms;        /* the reload under way is for a trial of so long; 0: it is not */
	struct epoch *base;       /* where the way back leads; NULL: nothing is on trial */
	uint64_t until_ms, until_wall_ms;
};

/* The new program, looking at what it would take over. */
struct upgrade {
	int pidfd;                /* -1: nobody looks */
	struct ev_io ended;
	uint64_t until_ms;
	uint64_t waits_until_ms;  /* asked for in a bad moment; 0: no */
};

enum master_phase {
	MASTER_BEGINNING,         /* any failure ends it all */
	MASTER_RUNNING,
	MASTER_DRAINING,          /* workers finish their connections */
	MASTER_ENDING,            /* everybody goes now */
};

struct log_setting {
	int fd;
	enum log_target target;
	enum log_format format;
	enum log_level level;
	char path[GEN_PATH];
};

struct control_socket {
	int fd;                   /* -1: none */
	char path[GEN_PATH];
	dev_t dev;
	ino_t ino;                /* unlinked only if it is still ours */
};

struct master {
	const struct options *options;
	struct ev_loop *loop;
	enum master_phase phase;
	int status;               /* to exit with */
	struct board *board;
	int board_fd;
	struct log_setting log;
	struct link epochs;
	struct epoch *current;
	uint64_t last_number;
	struct process processes[BOARD_ROWS]; /* by row; the folded row is unused */
	unsigned workers;         /* wanted: lanes in use */
	struct process *lanes[BOARD_WORKERS]; /* who serves; NULL: nobody, for want of a place */
	unsigned slots;           /* of each address */
	struct link listening;
	struct control_socket door;
	char pid_path[GEN_PATH];
	struct reload reload;
	struct trial trial;
	struct upgrade upgrade;
	char program[GEN_PATH];   /* our file, as it was called at the start */
	struct link questions;
	uint64_t last_question;
	struct ev_timer tick;
	uint64_t last_tick_ms, excused_until_ms;
	struct ev_signal signals[8];
	struct control_message message; /* the one in hand */
};

#define master_each_process(var, master) \
	for (struct process *var = (master)->processes + ROW_CHECKER; \
	     var < (master)->processes + BOARD_ROWS; var++)

/* master.c */
/* The first generation has been loaded: open everything, start everybody. */
void master_begin(struct master *master, struct epoch *epoch);
void master_failed(struct master *master); /* the first start: everybody goes, status 1 */
void master_stop(struct master *master, bool graceful);
/* The phase may have come to its end: called when a child became ready or died. */
void master_look(struct master *master);
/* Starts who is wanted and not there; lets go who is there and not wanted. */
void master_staff(struct master *master);
/* Checker, routing or console, if it is outdated. There is one place for each: the successor comes when the old
 * one has left. */
void master_replace(struct process *process);
/* A generation is in use: limits, listeners, number of workers, pid file. */
void master_apply(struct master *master, const struct gen_head *head);
void master_status(struct master *master);
/* There is a board: what the master says is recorded there, too. */
void master_record(struct master *master);

/* master_log.c. Opens what the head names. -1 with err. */
int master_log_open(const struct gen_head *head, struct log_setting *out, struct sy_err *err);
/* Uses it, here and in all children; the old descriptor is closed. */
void master_log_use(struct master *master, const struct log_setting *setting);
int master_log_rotate(struct master *master, struct sy_err *err);
void master_log_level(struct master *master, enum log_level level);
void master_log_tell(struct process *process);

/* master_upgrade.c */
void upgrade_init(struct master *master);
void upgrade_free(struct master *master);
void upgrade_ask(struct master *master);
void upgrade_tick(struct master *master, uint64_t now_ms);

/* master_epoch.c */
struct epoch *epoch_new(struct master *master, struct control_message *loaded, struct sy_err *err);
void epoch_hold(struct process *process, struct epoch *epoch);
void epoch_let_go(struct process *process, uint64_t number);
void epoch_let_all_go(struct process *process);
/* Frees what nobody holds, closes what will not be sent any more, buries cells on the board. */
void epochs_sweep(struct master *master);
void epoch_send(struct process *process, struct epoch *epoch);

/* master_records.c */
/* One record, so that no child can keep us from the others. False when there is none (left). */
bool records_from(struct process *process);
void process_say(struct process *process, enum control_type type, unsigned flags,
                 uint64_t generation, uint64_t id, uint64_t value);

/* master_console.c */
void console_command(struct process *console, const struct control_message *message);
void console_question(struct process *console, const struct control_message *message);
void console_answer(struct process *from, const struct control_message *message);
void console_done(struct master *master, uint64_t id, bool ok, const char *words);
void console_forget(struct process *process); /* it died: its questions, or its answers */
void console_expire(struct master *master, uint64_t now_ms);

/* supervise.c */
void supervise_init(struct master *master);
void supervise_start(struct process *process);
/* Its control socket, and its end. */
void supervise_watch(struct process *process);
void supervise_ready(struct process *process);
/* Told to stop; killed after grace_ms + MASTER_STOP_MS, unless 0 and graceful. */
void supervise_leave(struct process *process, bool graceful, uint64_t grace_ms);
void supervise_kill(struct process *process, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void supervise_tick(struct master *master, uint64_t now_ms);
bool process_alive(const struct process *process);
static inline bool
process_is_worker(const struct process *process)
{
	return process->row >= ROW_WORKER;
}

/* supervise_lanes.c */
/* So many lanes, each with somebody who is wanted there. */
void lanes_set(struct master *master, unsigned n);
/* Places for lanes that have nobody, or somebody outdated. The caller starts who is wanted. */
void lanes_staff(struct master *master);
void lanes_ready(struct process *process);

/* supervise_end.c */
void supervise_ended(struct process *process);
/* When the next one is tried: at once, later, or never. */
void supervise_plan_successor(struct process *process);

/* reload_loader.c */
void reload_init(struct master *master);
void reload_free(struct master *master);
void reload_load(struct master *master);

/* reload.c */
void reload_log(bool ok, const char *lines);
void reload_clear(struct reload *reload);
/* Nothing changes: those who have bound the next generation, or still do, forget it. */
void reload_refuse(struct master *master, const char *lines);
/* The loader has accepted it: bind it everywhere, then switch. */
void reload_bind(struct master *master, struct epoch *next);
void reload_ask(struct master *master, uint64_t asker); /* asker 0: a signal */
void reload_bound(struct process *process, const struct control_message *message);
/* Have all bound it? */
void reload_look(struct master *master);
void reload_died(struct process *process); /* a child did, before its successor is thought of */
void reload_started(struct process *process); /* a child was started and introduced */
void reload_tick(struct master *master, uint64_t now_ms);
void reload_end(struct master *master); /* the master goes */

/* reload_trial.c */
void trial_ask(struct master *master, uint64_t asker, uint64_t ms);
void trial_switched(struct master *master, struct epoch *old); /* another one is in use now */
void trial_refused(struct master *master);
void trial_confirm(struct master *master, uint64_t asker);
void trial_worse(struct master *master, uint64_t asker, const char *why);
void trial_tick(struct master *master, uint64_t now_ms);
void trial_tell(struct master *master); /* the console */

/* listeners.c */
/* Opens what `epoch` wants and is not there yet; on failure closes all of that again, and complains
 * about each. */
int listeners_prepare(struct master *master, const struct epoch *epoch, struct text *complaints);
void listeners_undo(struct master *master);
/* Hands the fresh ones out: before SWITCH. */
void listeners_hand_out(struct master *master);
/* After SWITCH: takes back and closes what is not wanted any more. */
void listeners_settle(struct master *master);
/* All that a child that starts is to have. */
void listeners_introduce(struct process *process);
/* Moves slots to the workers that should have them now. */
void listeners_deal(struct master *master);
void listeners_lost(struct process *process);
void listeners_close(struct master *master);

/* listeners_hops.c */
/* A worker that starts gets its socket; its name is on the board from then on. */
void hops_introduce(struct process *process);
void hops_close(struct master *master);

/* listeners_unix.c */
int door_open(const struct gen_head *head, bool patient, struct control_socket *out,
              struct sy_err *err);
/* Owner and mode. */
int door_allow(const struct gen_head *head, const char *path, struct sy_err *err);
void door_close(struct control_socket *door);

#endif
