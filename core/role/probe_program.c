/* Probes by an external program, in a process group of its own. What it writes goes into a pipe, of
 * which the first few KiB are kept; its end is seen through a pidfd, so that a program which leaves
 * something behind with the pipe open is over all the same. Out of time: SIGTERM to the group, a
 * second later SIGKILL. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "base/text.h"
#include "proc/spawn.h"
#include "role/probe_run.h"

static void
program_close_pipe(struct probe *probe)
{
	ev_io_stop(probe->engine->loop, &probe->io);
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
}

static void
program_gone(struct probe *probe)
{
	program_close_pipe(probe);
	ev_io_stop(probe->engine->loop, &probe->exit);
	if (probe->exit.fd >= 0)
		close(probe->exit.fd);
	probe->exit.fd = -1;
	probe_gone(probe);
}

static void
program_kill(const struct probe *probe, int signal)
{
	if (probe->pid > 0)
		kill(-probe->pid, signal);
}

/* Reads what is there; false at the end. */
static bool
program_listen(struct probe *probe)
{
	char *scratch = probe->engine->scratch;
	ssize_t n = probe->fd >= 0 ? read(probe->fd, scratch, PROBE_SCRATCH) : 0;
	size_t room = PROBE_OUTPUT - probe->in_len;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	if (!probe->in)
		probe->in = must_alloc(PROBE_OUTPUT);
	memcpy(probe->in + probe->in_len, scratch, (size_t)n < room ? (size_t)n : room);
	probe->in_len += (size_t)n < room ? (size_t)n : room;
	return true;
}

static void
program_speaks(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct probe *probe = container_of(io, struct probe, io);

	(void)loop, (void)events;
	if (!program_listen(probe))
		program_close_pipe(probe);
}

static void
program_judge(struct probe *probe, int status, int signal)
{
	const struct probe_question *question = probe->question;
	struct sy_probe_step step;

	program_listen(probe);
	if (!question->ops->exited) {
		probe_down(probe, "the monitor runs a program, but does not look at its end");
		return;
	}
	if (question->ops->data)
		(void)question->ops->data(question->conf, probe->state, &probe->facts,
		                          sy_span(probe->in, probe->in_len), true);
	step = question->ops->exited(question->conf, probe->state, &probe->facts, status, signal);
	if (step.what == SY_PROBE_UP || step.what == SY_PROBE_DOWN || step.what == SY_PROBE_DRAINING)
		probe_step(probe, &step);
	else
		probe_down(probe, "the monitor gave no judgement on the program's end");
}

static void
program_exited(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct probe *probe = container_of(io, struct probe, exit);
	siginfo_t info = { .si_pid = 0 };
	bool exited;

	(void)loop, (void)events;
	/* What it may have left behind; the number of the group is still ours until we have waited. */
	if (probe->phase == PROBE_CLOSING)
		program_kill(probe, SIGKILL);
	if (waitid(P_PID, (id_t)probe->pid, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
		return;
	probe->pid = 0;
	ev_io_stop(probe->engine->loop, &probe->exit);
	if (probe->phase == PROBE_CLOSING) {
		program_gone(probe);
		return;
	}
	exited = info.si_code == CLD_EXITED;
	program_judge(probe, exited ? info.si_status : -1, exited ? 0 : info.si_status);
}

/* The environment of a program: little, and the same everywhere. */
struct program_env {
	char service[160], server[160], address[96], port[32];
	const char *list[8];
};

static void
program_environment(const struct probe *probe, struct program_env *env)
{
	const struct sy_addr *to = &probe->facts.server;
	char ip[ADDR_TEXT_SIZE];
	unsigned n = 0;

	snprintf(env->service, sizeof(env->service), "STEELYARD_SERVICE=%s", probe->facts.service);
	snprintf(env->server, sizeof(env->server), "STEELYARD_SERVER=%s", probe->facts.server_name);
	snprintf(env->address, sizeof(env->address), "STEELYARD_ADDRESS=%s", addr_ip_text(to, ip));
	snprintf(env->port, sizeof(env->port), "STEELYARD_PORT=%u", to->port);
	env->list[n++] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	env->list[n++] = "LANG=C.UTF-8";
	env->list[n++] = env->service;
	env->list[n++] = env->server;
	env->list[n++] = env->address;
	env->list[n++] = env->port;
	env->list[n] = NULL;
}

void
probe_program_run(struct probe *probe, const char *const *argv)
{
	struct program_env env;
	struct sy_err err = { "" };
	int ends[2], fd;

	must(probe->pid == 0);
	if (pipe2(ends, O_CLOEXEC) < 0) {
		probe_error(probe, "pipe", errno);
		return;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	program_environment(probe, &env);
	probe->pid = spawn_program(argv, env.list, ends[1], &err);
	close(ends[1]);
	probe->fd = ends[0];
	if (probe->pid < 0) {
		probe->pid = 0;
		probe_down(probe, "%s", err.text);
		return;
	}
	fd = pidfd_open(probe->pid, 0);
	if (fd < 0) {
		/* Nothing would tell when it ends. */
		program_kill(probe, SIGKILL);
		while (waitpid(probe->pid, NULL, 0) < 0 && errno == EINTR)
			;
		probe->pid = 0;
		probe_error(probe, "pidfd_open", errno);
		return;
	}
	ev_io_set(&probe->exit, fd, EV_READ);
	ev_io_start(probe->engine->loop, &probe->exit);
	probe_watch(probe, EV_READ);
}

static void
program_open(struct probe *probe)
{
	ev_init(&probe->io, program_speaks);
	ev_init(&probe->exit, program_exited);
	probe->exit.fd = -1;
	probe->phase = PROBE_RUNNING;
	probe_begin(probe);
}

static void
program_send(struct probe *probe)
{
	probe_down(probe, "the monitor wants to send bytes, but asks by a program");
}

/* The verdict was given. Still running: its time is up. */
static void
program_end(struct probe *probe)
{
	program_close_pipe(probe);
	if (!probe->pid) {
		program_gone(probe);
		return;
	}
	program_kill(probe, SIGTERM);
	probe_last(probe, PROBE_TERM_MS);
}

static void
program_late(struct probe *probe)
{
	program_kill(probe, SIGKILL);
}

static void
program_cut(struct probe *probe)
{
	program_close_pipe(probe);
	if (!probe->pid) {
		program_gone(probe);
		return;
	}
	program_kill(probe, SIGKILL);
	if (probe->phase == PROBE_CLOSING)
		return;
	timer_stop(&probe->timer);
	list_remove(&probe->link);
	list_append(&probe->engine->closing, &probe->link);
	probe->engine->count.open--;
	probe->engine->count.closing++;
	probe->phase = PROBE_CLOSING;
}

const struct probe_transport probe_program = {
	.open = program_open,
	.send = program_send,
	.end = program_end,
	.cut = program_cut,
	.late = program_late,
};
