#define _GNU_SOURCE 1
#include "proc/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"

enum {
	SPAWN_MOST_FDS = 16,
	SPAWN_ARGS = 16,
};

/* Ignored signals and the mask would survive the exec. A group of its own, so that Ctrl-C in a
 * terminal reaches the master alone. */
static int
spawn_attributes(posix_spawnattr_t *attributes)
{
	sigset_t all, none;
	int error = posix_spawnattr_init(attributes);

	if (error)
		return error;
	sigfillset(&all);
	sigemptyset(&none);
	error = posix_spawnattr_setsigdefault(attributes, &all);
	if (!error)
		error = posix_spawnattr_setsigmask(attributes, &none);
	if (!error)
		error = posix_spawnattr_setpgroup(attributes, 0);
	if (!error)
		error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
		                                             POSIX_SPAWN_SETPGROUP);
	if (error)
		posix_spawnattr_destroy(attributes);
	return error;
}

/* All that is to be dup2()ed must stand above the numbers that dup2() overwrites. */
static int
spawn_move_up(int fd, int above, int *moved)
{
	*moved = -1;
	if (fd < 0 || fd >= above)
		return fd;
	*moved = fcntl(fd, F_DUPFD_CLOEXEC, above);
	return *moved;
}

static int
spawn_role_fds(posix_spawn_file_actions_t *actions, const int *fds, unsigned n)
{
	int error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

	for (unsigned i = 0; i < n && !error; i++) {
		int to = SPAWN_FD_CONTROL + (int)i;

		error = fds[i] < 0 ? posix_spawn_file_actions_addclose(actions, to)
		                   : posix_spawn_file_actions_adddup2(actions, fds[i], to);
	}
	if (!error)
		error = posix_spawn_file_actions_addclosefrom_np(actions, SPAWN_FD_CONTROL + (int)n);
	return error;
}

static pid_t
spawn_run(const char *path, posix_spawn_file_actions_t *actions, char *const *argv,
          char *const *env, struct sy_err *err)
{
	posix_spawnattr_t attributes;
	pid_t pid = -1;
	int error = spawn_attributes(&attributes);

	if (!error) {
		error = posix_spawn(&pid, path, actions, &attributes, argv, env);
		posix_spawnattr_destroy(&attributes);
	}
	if (error)
		return sy_fail(err, "cannot start \"%s\" (%s): %s", argv[0], path, strerror(error));
	return pid;
}

pid_t
spawn_role(const char *title, const char *const *args, const int *fds, unsigned n, struct sy_err *err)
{
	return spawn_image("/proc/self/exe", title, args, fds, n, err);
}

pid_t
spawn_image(const char *path, const char *title, const char *const *args, const int *fds, unsigned n,
            struct sy_err *err)
{
	posix_spawn_file_actions_t actions;
	char *argv[SPAWN_ARGS];
	int use[SPAWN_MOST_FDS], moved[SPAWN_MOST_FDS];
	unsigned n_args = 0, done = 0;
	pid_t pid = -1;
	int error = 0;

	must(n <= SPAWN_MOST_FDS);
	/* exec takes pointers to non-const for history's sake; it writes nothing. */
	argv[n_args++] = (char *)(uintptr_t)title;
	for (; args && *args && n_args < SPAWN_ARGS - 1; args++)
		argv[n_args++] = (char *)(uintptr_t)*args;
	must(!args || !*args);
	argv[n_args] = NULL;

	for (; done < n && !error; done++) {
		use[done] = spawn_move_up(fds[done], SPAWN_FD_CONTROL + (int)n, &moved[done]);
		if (use[done] < 0 && fds[done] >= 0)
			error = errno;
	}
	if (!error)
		error = posix_spawn_file_actions_init(&actions);
	if (error) {
		sy_fail(err, "cannot prepare the start of \"%s\": %s", title, strerror(error));
	} else {
		error = spawn_role_fds(&actions, use, n);
		if (error)
			sy_fail(err, "cannot prepare the start of \"%s\": %s", title, strerror(error));
		else
			pid = spawn_run(path, &actions, argv, environ, err);
		posix_spawn_file_actions_destroy(&actions);
	}
	for (unsigned i = 0; i < done; i++)
		if (moved[i] >= 0)
			close(moved[i]);
	return pid;
}

static int
spawn_program_fds(posix_spawn_file_actions_t *actions, int in, int out)
{
	int error = in >= 0 ? posix_spawn_file_actions_adddup2(actions, in, 0)
	                    : posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

	if (!error)
		error = out >= 0 ? posix_spawn_file_actions_adddup2(actions, out, 1)
		                 : posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
	if (!error)
		error = posix_spawn_file_actions_adddup2(actions, 1, 2);
	return error ? error : posix_spawn_file_actions_addclosefrom_np(actions, 3);
}

pid_t
spawn_filter(const char *const *argv, const char *const *env, int in, int out, struct sy_err *err)
{
	posix_spawn_file_actions_t actions;
	int moved[2] = { -1, -1 }, use[2], error;
	pid_t pid = -1;

	if (!argv[0] || argv[0][0] != '/')
		return sy_fail(err, "cannot start \"%s\": the path of a program must be absolute",
		               argv[0] ? argv[0] : "");
	use[0] = spawn_move_up(in, SPAWN_FD_CONTROL, &moved[0]);
	use[1] = spawn_move_up(out, SPAWN_FD_CONTROL, &moved[1]);
	error = (use[0] < 0 && in >= 0) || (use[1] < 0 && out >= 0) ? errno : 0;
	if (!error)
		error = posix_spawn_file_actions_init(&actions);
	if (!error) {
		error = spawn_program_fds(&actions, use[0], use[1]);
		if (!error)
			pid = spawn_run(argv[0], &actions, (char *const *)(uintptr_t)argv,
			                (char *const *)(uintptr_t)env, err);
		posix_spawn_file_actions_destroy(&actions);
	}
	if (error)
		sy_fail(err, "cannot prepare the start of \"%s\": %s", argv[0], strerror(error));
	for (unsigned i = 0; i < 2; i++)
		if (moved[i] >= 0)
			close(moved[i]);
	return pid;
}

pid_t
spawn_program(const char *const *argv, const char *const *env, int out, struct sy_err *err)
{
	return spawn_filter(argv, env, -1, out, err);
}

void
spawn_guard_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			must(open("/dev/null", O_RDWR) == fd);
}
