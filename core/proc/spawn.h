/* The one place that starts a process. posix_spawn(), never fork(): of our own image with a role, or
 * of a program that a monitor runs. Close-on-exec everywhere: the child has descriptors 0, 1, 2 and
 * those given here, nothing else; signal mask and dispositions are the system's defaults. */
#ifndef PROC_SPAWN_H
#define PROC_SPAWN_H

#include <sys/types.h>

#include "api/err.h"

/* What a role finds open. The numbers are the contract between master and children. */
enum spawn_fd {
	SPAWN_FD_CONTROL = 3,     /* SOCK_SEQPACKET to the master */
	SPAWN_FD_BOARD = 4,       /* not for the loader */
	SPAWN_FD_LOG = 5,         /* may be the same file as 2 */
	SPAWN_FDS
};

/* Starts /proc/self/exe. title is argv[0], which ps shows and from which the child takes its role
 * ("steelyard: worker 0"); args follow it (NULL at the end; may be NULL). fds[i] becomes
 * descriptor SPAWN_FD_CONTROL + i; -1 leaves that number closed. Returns the pid, or -1 with err. */
pid_t spawn_role(const char *title, const char *const *args, const int *fds, unsigned n,
                 struct sy_err *err);

/* The same, but of another file: what is installed now, for an upgrade. */
pid_t spawn_image(const char *path, const char *title, const char *const *args, const int *fds,
                  unsigned n, struct sy_err *err);

/* Starts a program for a monitor: absolute path, no shell, its own process group, /dev/null on 0,
 * `out` (or /dev/null when -1) on 1 and 2, the environment given. */
pid_t spawn_program(const char *const *argv, const char *const *env, int out, struct sy_err *err);
/* The same, with `in` on 0. */
pid_t spawn_filter(const char *const *argv, const char *const *env, int in, int out,
                   struct sy_err *err);

/* First thing in main: 0, 1 and 2 are open, on /dev/null if need be. */
void spawn_guard_standard_fds(void);

#endif
