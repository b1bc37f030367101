/* Runs a program and judges by its exit status, as keepalived's MISC_CHECK does, so that such scripts
 * can be used as they are: 0 is good, anything else is bad. With `dynamic on`: 1 is bad, 2 to 255 are
 * good and say a weight, status minus 2, here in percent of the configured one: 102 and more is the
 * full weight, 3 is one percent, and 2, weight zero, means no new clients.
 *
 * The program finds STEELYARD_SERVICE, STEELYARD_SERVER, STEELYARD_ADDRESS and STEELYARD_PORT in its
 * environment. The first line that it writes is shown as the reason. */
#include <stdio.h>
#include <string.h>

#include "api/monitor.h"

enum { EXEC_ARGS = 30, EXEC_FULL = 102 };

struct exec_conf {
	struct sy_list command;
	bool dynamic;
	const char *argv[EXEC_ARGS + 1]; /* derived */
};

static const struct sy_row exec_rows[] = {
	SY_ROW(struct exec_conf, command, "command", .flags = SY_REQUIRED,
	       .doc = "Program to run, by its absolute path, and its arguments; no shell is involved. It runs as "
	              "the user of the checker, and cannot gain rights (setuid has no effect)."),
	SY_ROW(struct exec_conf, dynamic, "dynamic", .preset = "off",
	       .doc = "on: an exit status of 2 to 255 is good and sets the weight, to status minus 2 "
	              "percent of the configured one."),
	SY_ROW_END
};

struct exec_state {
	char said[120];
};

static int
exec_check(void *conf, struct sy_err *err)
{
	struct exec_conf *exec = conf;

	if (exec->command.n == 0)
		return sy_fail(err, "command: the path of a program is missing");
	if (exec->command.n > EXEC_ARGS)
		return sy_fail(err, "command: more than %d words", EXEC_ARGS);
	if (exec->command.at[0][0] != '/')
		return sy_fail(err, "command: \"%s\" is no absolute path", exec->command.at[0]);
	for (uint32_t i = 0; i < exec->command.n; i++)
		exec->argv[i] = exec->command.at[i];
	exec->argv[exec->command.n] = NULL;
	return 0;
}

static struct sy_probe_plan
exec_plan(const void *conf)
{
	(void)conf;
	return (struct sy_probe_plan){ .transport = SY_OVER_PROGRAM };
}

static struct sy_probe_step
exec_start(const void *conf, void *state, const struct sy_probe *probe)
{
	const struct exec_conf *exec = conf;

	(void)state, (void)probe;
	return (struct sy_probe_step){ .what = SY_PROBE_RUN, .argv = exec->argv };
}

/* What it wrote: the first line that is not empty. */
static struct sy_probe_step
exec_data(const void *conf, void *state, const struct sy_probe *probe, struct sy_span in, bool closed)
{
	struct exec_state *kept = state;
	size_t n = 0;

	(void)conf, (void)probe, (void)closed;
	while (in.len && (*in.at == '\n' || *in.at == '\r' || *in.at == ' ' || *in.at == '\t'))
		in = sy_span(in.at + 1, in.len - 1);
	while (n < in.len && n < sizeof(kept->said) - 1 && in.at[n] && in.at[n] != '\n' &&
	       in.at[n] != '\r') {
		kept->said[n] = (char)in.at[n];
		n++;
	}
	kept->said[n] = '\0';
	return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
}

static struct sy_probe_step
exec_exited(const void *conf, void *state, const struct sy_probe *probe, int status, int signal)
{
	const struct exec_conf *exec = conf;
	const struct exec_state *kept = state;
	const char *between = kept->said[0] ? ": " : "";
	struct sy_probe_step step;

	(void)probe;
	if (status < 0)
		return sy_judge(SY_PROBE_DOWN, "ended by signal %d%s%s", signal, between, kept->said);
	if (status == 0)
		return sy_judge(SY_PROBE_UP, "%s", kept->said[0] ? kept->said : "exit status 0");
	if (status == 1 || !exec->dynamic)
		return sy_judge(SY_PROBE_DOWN, "exit status %d%s%s", status, between, kept->said);
	if (status == 2)
		return sy_judge(SY_PROBE_DRAINING, "weight 0%s%s", between, kept->said);
	step = sy_judge(SY_PROBE_UP, "weight %d %%%s%s", status > EXEC_FULL ? 100 : status - 2, between,
	                kept->said);
	step.weight_percent = status > EXEC_FULL ? 100 : status - 2;
	return step;
}

static const struct sy_monitor exec_ops = {
	.size = sizeof(exec_ops),
	.state_size = sizeof(struct exec_state),
	.plan = exec_plan,
	.start = exec_start,
	.data = exec_data,
	.exited = exec_exited,
};

SY_MODULE(SY_MONITOR, "exec",
	.version = "1.0",
	.summary = "Runs a program and judges by its exit status, as keepalived's MISC_CHECK does.",
	.conf_size = sizeof(struct exec_conf),
	.rows = exec_rows,
	.check = exec_check,
	.ops = &exec_ops);
