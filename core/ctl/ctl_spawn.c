/* Runs the daemon's own program for what only it can do: its loader. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/ctl.h"
#include "proc/spawn.h"

enum { SPAWN_MOST = 64 << 20 };

static bool
spawn_read_all(int fd, struct text *out)
{
	char buffer[65536];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && out->len < SPAWN_MOST)
			text_add(out, buffer, (size_t)n);
	return n == 0;
}

/* Our own standard output is put aside meanwhile. */
static pid_t
spawn_loader(struct ctl *ctl, const char *const *args, int in, int out, struct sy_err *err)
{
	const char *daemon = ctl->daemon ? ctl->daemon : SBINDIR "/steelyardd";
	int ours = fcntl(1, F_DUPFD_CLOEXEC, 3);
	pid_t pid = -1;

	if (ours < 0 || dup2(out, 1) < 0)
		return sy_fail(err, "no descriptor is left: %s", strerror(errno));
	pid = spawn_image(daemon, "steelyardd", args, &in, in >= 0, err);
	dup2(ours, 1);
	close(ours);
	return pid;
}

bool
ctl_spawn(struct ctl *ctl, const char *const *args, int in, struct text *out)
{
	int ends[2], status = -1;
	struct sy_err err;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	fflush(stdout);
	pid = spawn_loader(ctl, args, in, ends[1], &err);
	close(ends[1]);
	if (pid < 0)
		fprintf(stderr, "steelyardctl: %s (--daemon names another)\n", err.text);
	else
		spawn_read_all(ends[0], out);
	close(ends[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
