/* steelyardctl: the table of commands is the usage text. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/ctl_do.h"
#include "ctl/ctl_show.h"
#include "ctl/import.h"

/* POSTs `body` (freed here) and prints the message of the answer. */
static int
ctl_post(struct ctl *ctl, const char *path, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);
	int code;
	json_t *json = ctl_get(ctl, "POST", path, text, &code);
	const char *message = json_string_value(json_object_get(json, "message"));

	if (message && *message)
		printf("%s\n", message);
	free(text);
	json_decref(body);
	json_decref(json);
	return code;
}

static int
ctl_wish(struct ctl *ctl, const char *wish)
{
	char path[300];

	snprintf(path, sizeof(path), "/v1/servers/%s", ctl->argv[0]);
	return ctl_post(ctl, path, json_pack("{s:s, s:s*, s:s*}", "wish", wish, "service", ctl->service,
	                                     "pool", ctl->pool));
}

static int
ctl_drain(struct ctl *ctl)
{
	return ctl_wish(ctl, "drain");
}

static int
ctl_disable(struct ctl *ctl)
{
	return ctl_wish(ctl, "disable");
}

static int
ctl_enable(struct ctl *ctl)
{
	return ctl_wish(ctl, "enable");
}

static int
ctl_weight(struct ctl *ctl)
{
	char path[300];
	uint64_t weight;
	json_t *value;

	if (strcmp(ctl->argv[1], "configured") == 0) {
		value = json_string("configured");
	} else if (uint_parse(ctl->argv[1], &weight) && weight <= 65535) {
		value = json_integer((json_int_t)weight);
	} else {
		fprintf(stderr, "steelyardctl: a weight is 0..65535, or configured; not %s\n",
		        ctl->argv[1]);
		return CTL_USAGE;
	}
	snprintf(path, sizeof(path), "/v1/servers/%s", ctl->argv[0]);
	return ctl_post(ctl, path, json_pack("{s:o, s:s*, s:s*}", "weight", value, "service",
	                                     ctl->service, "pool", ctl->pool));
}

static int
ctl_reload(struct ctl *ctl)
{
	int code = ctl_post(ctl, "/v1/reload", json_pack("{s:s*}", "confirm", ctl->confirm));

	if (code == CTL_OK && ctl->confirm && !ctl->json)
		printf("on trial for %s: steelyardctl confirm, or what was before comes back\n", ctl->confirm);
	return code;
}

static int
ctl_confirm(struct ctl *ctl)
{
	return ctl_post(ctl, "/v1/confirm", json_object());
}

static int
ctl_rotate(struct ctl *ctl)
{
	return ctl_post(ctl, "/v1/logs/rotate", json_object());
}

static int
ctl_log_level(struct ctl *ctl)
{
	return ctl_post(ctl, "/v1/log-level", json_pack("{s:s}", "level", ctl->argv[0]));
}

static int
ctl_stop(struct ctl *ctl)
{
	return ctl_post(ctl, "/v1/stop", json_pack("{s:s}", "how",
	                                           ctl->argc ? ctl->argv[0] : "graceful"));
}

static int
ctl_check(struct ctl *ctl)
{
	return ctl_post(ctl, "/v1/checks", json_object());
}

static int
ctl_close(struct ctl *ctl)
{
	char path[1024] = "/v1/connections";
	json_t *json;
	int code;

	ctl_query(path, sizeof(path), "service", ctl->service);
	ctl_query(path, sizeof(path), "server", ctl->server);
	ctl_query(path, sizeof(path), "client", ctl->client);
	json = ctl_get(ctl, "DELETE", path, NULL, &code);
	if (json)
		printf("%lld connections closed\n",
		       (long long)json_integer_value(json_object_get(json, "closed")));
	json_decref(json);
	return code;
}

static int
ctl_api(struct ctl *ctl)
{
	int status = 0;
	char *answer = ctl_http(ctl, ctl->argv[0], ctl->argv[1], ctl->argc > 2 ? ctl->argv[2] : NULL,
	                        &status);

	if (!answer)
		return CTL_FAILED;
	printf("%s\n", answer);
	free(answer);
	return status < 400 ? CTL_OK : CTL_FAILED;
}

const struct command ctl_commands[] = {
	{ "status", "", "one look: services, and what is not up; exit status 1 if anything is",
	  show_status, 0, 0 },
	{ "top", "", "the same, live: q quits, s sorts, w only what is wrong", ctl_top, 0, 0 },
	{ "services", "[NAME]", "services with their servers, numbers and reasons", show_services, 0, 1 },
	{ "servers", "[NAME]", "each server over all services", show_servers, 0, 1 },
	{ "connections", "[--ended]", "live ones, or those that ended lately; --service --server --client --limit",
	  show_connections, 0, 0 },
	{ "close", "", "closes connections; --service --server --client", ctl_close, 0, 0 },
	{ "persistence", "[list|clear]", "who is kept on which server; --service --server --client --limit",
	  show_persistence, 0, 1 },
	{ "processes", "", "the processes of this instance", show_processes, 0, 0 },
	{ "generations", "", "configurations that are alive", show_generations, 0, 0 },
	{ "checks", "", "what the checks say of each server", show_checks, 0, 0 },
	{ "check", "", "runs all checks now", ctl_check, 0, 0 },
	{ "recorder", "[FILE]", "what was logged and what has ended lately; --limit", show_recorder, 0, 1 },
	{ "trace", "SERVICE|CLIENT FILE", "what is said, as a capture file; --for 10s --limit 16m --decrypted",
	  ctl_trace, 2, 2 },
	{ "events", "", "what changed lately; --limit", show_events, 0, 0 },
	{ "drain", "SERVER", "no new clients; persistence is honoured; --service --pool", ctl_drain, 1, 1 },
	{ "disable", "SERVER", "nothing new at all; --service --pool", ctl_disable, 1, 1 },
	{ "enable", "SERVER", "as configured again; --service --pool", ctl_enable, 1, 1 },
	{ "weight", "SERVER N|configured", "another weight; --service --pool", ctl_weight, 2, 2 },
	{ "reload", "[--confirm 5m]", "reads the configuration anew; goes back if not confirmed", ctl_reload, 0, 0 },
	{ "plan", "FILE", "what a reload with that file would change; --daemon --modules", ctl_plan, 1, 1 },
	{ "confirm", "", "the configuration that is on trial stays", ctl_confirm, 0, 0 },
	{ "preflight", "", "is this machine's routing as snat off needs it; --client", show_preflight, 0, 0 },
	{ "explain", "SERVICE", "where a client would go, and why; --client --pool --config --daemon --modules", show_explain, 1, 1 },
	{ "show", "config", "the configuration in use, with file and line", show_config, 1, 1 },
	{ "log-level", "err|warn|info|debug", "until the next reload", ctl_log_level, 1, 1 },
	{ "rotate-logs", "", "reopens the log file", ctl_rotate, 0, 0 },
	{ "stop", "[graceful|now]", "ends the daemon", ctl_stop, 0, 1 },
	{ "import", "haproxy|loadmaster FILE [FOLDER]", "another balancer's configuration, as files for conf.d",
	  ctl_import, 2, 3 },
	{ "passwd", "NAME [look|operate]", "a line for the console's users file", ctl_passwd, 1, 2 },
	{ "template", "list|show NAME", "ready-made templates, and what they do; --templates", ctl_template,
	  1, 2 },
	{ "api", "METHOD PATH [BODY]", "the answer of the API as it is", ctl_api, 2, 3 },
	{ NULL, NULL, NULL, NULL, 0, 0 }
};

static void
ctl_usage(FILE *out)
{
	fprintf(out, "usage: steelyardctl [-s SOCKET] [--json] COMMAND ...\n\n");
	for (const struct command *command = ctl_commands; command->name; command++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", command->name, command->arguments);
		fprintf(out, "  %-30s  %s\n", left, command->words);
	}
	fprintf(out, "\nThe socket: %s, or $STEELYARD_CONTROL. More: man steelyardctl\n",
	        RUNSTATEDIR "/steelyard/control");
}

static int
ctl_unknown(const char *name)
{
	const char *names[sizeof(ctl_commands) / sizeof(*ctl_commands)];
	const char *near;
	unsigned n = 0;

	for (; ctl_commands[n].name; n++)
		names[n] = ctl_commands[n].name;
	names[n] = NULL;
	near = text_nearest(name, names);
	fprintf(stderr, "steelyardctl: no command is called %s%s%s; steelyardctl --help lists them\n",
	        name, near ? "; did you mean " : "", near ? near : "");
	return CTL_USAGE;
}

/* An option that is not looked at would leave something out: what was meant for one would be done to all. */
static bool
ctl_takes(const struct command *command, const char *const *given, unsigned n)
{
	char option[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(option, sizeof(option), "--%s", given[i]);
		if (strstr(command->words, option) || strstr(command->arguments, option))
			continue;
		fprintf(stderr, "steelyardctl: %s takes no %s (%s)\n", command->name, option, command->words);
		return false;
	}
	return true;
}

static int
ctl_run(struct ctl *ctl, const char *name, const char *const *given, unsigned n)
{
	for (const struct command *command = ctl_commands; command->name; command++) {
		if (strcmp(command->name, name) != 0)
			continue;
		if (ctl->argc < command->min || ctl->argc > command->max) {
			fprintf(stderr, "usage: steelyardctl %s %s\n", command->name, command->arguments);
			return CTL_USAGE;
		}
		return ctl_takes(command, given, n) ? command->run(ctl) : CTL_USAGE;
	}
	return ctl_unknown(name);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' }, { "json", no_argument, NULL, 'j' },
		{ "service", required_argument, NULL, 'v' }, { "server", required_argument, NULL, 'r' },
		{ "client", required_argument, NULL, 'c' }, { "pool", required_argument, NULL, 'p' },
		{ "limit", required_argument, NULL, 'l' },
		{ "confirm", required_argument, NULL, 'C' }, { "daemon", required_argument, NULL, 'D' },
		{ "modules", required_argument, NULL, 'm' }, { "templates", required_argument, NULL, 't' },
		{ "config", required_argument, NULL, 'f' }, { "for", required_argument, NULL, 'F' },
		{ "decrypted", no_argument, NULL, 'd' }, { "ended", no_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 }
	};
	const char *env = getenv("STEELYARD_CONTROL");
	struct ctl ctl = { .socket = env && *env ? env : RUNSTATEDIR "/steelyard/control",
	                   .templates = SYSCONFDIR "/steelyard/conf.d/templates",
	                   .colour = isatty(1) && !getenv("NO_COLOR") };
	const char *given[32];
	unsigned n = 0;
	int c, at;

	while (at = -1, (c = getopt_long(argc, argv, "s:jhV", options, &at)) != -1) {
		if (at >= 0 && c != 's' && c != 'j' && n < sizeof(given) / sizeof(*given))
			given[n++] = options[at].name;
		switch (c) {
		case 's': ctl.socket = optarg; break;
		case 'j': ctl.json = true; break;
		case 'v': ctl.service = optarg; break;
		case 'r': ctl.server = optarg; break;
		case 'c': ctl.client = optarg; break;
		case 'p': ctl.pool = optarg; break;
		case 'l': ctl.limit = optarg; break;
		case 'D': ctl.daemon = optarg; break;
		case 'm': ctl.modules = optarg; break;
		case 'C': ctl.confirm = optarg; break;
		case 't': ctl.templates = optarg; break;
		case 'f': ctl.config = optarg; break;
		case 'F': ctl.time = optarg; break;
		case 'd': ctl.decrypted = true; break;
		case 'e': ctl.ended = true; break;
		case 'h': ctl_usage(stdout); return CTL_OK;
		case 'V': printf("steelyardctl %s\n", PACKAGE_VERSION); return CTL_OK;
		default: return CTL_USAGE;
		}
	}
	if (optind == argc) {
		ctl_usage(stderr);
		return CTL_USAGE;
	}
	ctl.argc = argc - optind - 1;
	ctl.argv = argv + optind + 1;
	c = ctl_run(&ctl, argv[optind], given, n);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "steelyardctl: the output could not be written\n");
		return CTL_FAILED;
	}
	return c;
}
