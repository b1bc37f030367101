/* Upgrading in place (SIGUSR2): the master executes the program that is installed now, in the same
 * process: same pid, same listening sockets, same board, same children. What it knows goes over in a
 * sealed memfd of fixed records; descriptors keep their numbers.
 *
 *	old master: state -> the new program looks at it ("steelyard: upgrade", a child) -> exec
 *	new master: adopts everything -> reload with its own loader -> new checker, console, workers
 *	            take over; the old workers leave with their last connection
 *
 * Nothing is irrevocable before the exec: a program that is missing, broken, or does not understand
 * the state changes nothing. */
#ifndef ROLE_UPGRADE_H
#define ROLE_UPGRADE_H

#include "role/master.h"

#define UPGRADE_MAGIC UINT64_C(0x5354414e44425921)
/* Raised whenever a record here changes, or what children of the version before would not
 * understand: proc/control.h. (Board and generation are checked for themselves.) */
enum { UPGRADE_VERSION = 2 };
#define UPGRADE_ENV "STEELYARD_UPGRADE"

struct upgrade_head {
	uint64_t magic;
	uint32_t version;
	uint32_t size;            /* of this head */
	uint32_t n_epochs, n_processes, n_holds, n_listenings, n_slots;
	uint32_t workers, slots;
	uint32_t lanes[BOARD_WORKERS]; /* rows; 0: nobody */
	uint64_t current, last_number;
	int32_t board_fd, log_fd, door_fd;
	int32_t hops[BOARD_WORKERS];
	uint32_t log_target, log_format, log_level;
	uint64_t door_dev, door_ino;
	char log_path[GEN_PATH], door_path[GEN_PATH], pid_path[GEN_PATH];
};

struct upgrade_epoch {
	uint64_t number;
	uint32_t secrets, open, n_fds;
	int32_t fds[2 + MASTER_MODULES];
};

struct upgrade_process {
	uint32_t row, state, wanted, transparent, icmp;
	int32_t pid, pidfd, control, takes;
	uint64_t started_ms, ready_ms, kill_at_ms;
};

struct upgrade_hold {
	uint64_t number;
	uint32_t row;
};

struct upgrade_listening {
	struct gen_listener want;
	struct sy_addr real;
	uint32_t n_slots;         /* the next so many records of the slots */
};

struct upgrade_slot {
	uint64_t served;
	int32_t fd;
};

/* The memfd's parts, checked against its size. */
struct upgrade_state {
	const struct upgrade_head *head;
	const struct upgrade_epoch *epochs;
	const struct upgrade_process *processes;
	const struct upgrade_hold *holds;
	const struct upgrade_listening *listenings;
	const struct upgrade_slot *slots;
};

/* Whether our descriptors survive an exec. */
void upgrade_keep_fds(struct master *master, bool keep);
/* -1 with err when it is not for this program. */
int upgrade_read(const void *map, size_t len, struct upgrade_state *out, struct sy_err *err);
/* The descriptor in the environment, taken out of it; -1: an ordinary start. */
int upgrade_fd(void);
/* New master: takes all of it over. -1 with err: nothing can be done any more. */
int upgrade_adopt(struct master *master, int fd, struct sy_err *err);

#endif
