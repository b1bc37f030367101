/* What is said on the command line. */
#include "crowd.h"

#include <getopt.h>
#include <string.h>

const char options_usage[] =
    "usage: lab-crowd [options] [FILE]\n"
    "\n"
    "Reads targets, one per line, from FILE (- is standard input), and uses them all: short\n"
    "clients connect, have one exchange and close; long ones stay. Each answer is checked.\n"
    "Users sign in, call and sign out; meetings are joined; media go through relays.\n"
    "\n"
    "  --target WORDS     one more target, written as a line of FILE\n"
    "  --short N          short clients per target (default 2)\n"
    "  --long N           long clients per target (default 2)\n"
    "  --pause TIME       rest of a short client between connections (default 500ms)\n"
    "  --interval TIME    time between the exchanges of a long client (default 1s)\n"
    "  --ramp TIME        the clients begin within that time (default 1s)\n"
    "  --share SIZE       what is shared in a meeting (default 64k)\n"
    "  --half-close N     every Nth short connection says its end with the question and waits\n"
    "                     for the server's (default 4; 0: none)\n"
    "  --source NET       clients take their own addresses from there, e.g. 127.30.0.0/16\n"
    "  --roam             short clients take a new address for each connection\n"
    "  --state DIR        of the lab servers: verify their certificates and show the client's\n"
    "  --timeout TIME     limit for connecting and for each answer (default 10s)\n"
    "  --retry-after TIME  rest before the second try after a lost connection (default 200ms)\n"
    "  --retry-within TIME  limit for the second try, from the loss on (default 5s)\n"
    "  --keep-all         a lost connection is a failure, even if the second try succeeds\n"
    "  --wait TIME        begin when every target has answered, give up after that time\n"
    "  --for TIME         end after that time (default: with SIGINT or SIGTERM)\n"
    "  --rounds N         each client ends after N exchanges\n"
    "  --expect NAMES     fail unless each of these servers (a,b,c) has answered something\n"
    "  --json FILE        write the final report there; - is standard output\n"
    "  --note TEXT        a line to show below the table on a terminal\n"
    "  --ready-fd N       when each client's first exchange is over, write a line there\n"
    "  --with-parent      end when the parent process dies\n"
    "\n"
    "Exit status: 0 if every target carried traffic and nothing failed, 1 if not, 2 for a mistake\n"
    "in the call, 3 if --wait was in vain.\n"
    "\n";

enum {
	OPTION_TARGET = 256,
	OPTION_SHORT,
	OPTION_LONG,
	OPTION_PAUSE,
	OPTION_INTERVAL,
	OPTION_RAMP,
	OPTION_SHARE,
	OPTION_HALF_CLOSE,
	OPTION_SOURCE,
	OPTION_ROAM,
	OPTION_STATE,
	OPTION_TIMEOUT,
	OPTION_RETRY_AFTER,
	OPTION_RETRY_WITHIN,
	OPTION_KEEP_ALL,
	OPTION_WAIT,
	OPTION_FOR,
	OPTION_ROUNDS,
	OPTION_EXPECT,
	OPTION_JSON,
	OPTION_NOTE,
	OPTION_READY,
	OPTION_PARENT,
	OPTION_HELP,
};

static const struct option options_table[] = {
    {"target", required_argument, NULL, OPTION_TARGET},
    {"short", required_argument, NULL, OPTION_SHORT},
    {"long", required_argument, NULL, OPTION_LONG},
    {"pause", required_argument, NULL, OPTION_PAUSE},
    {"interval", required_argument, NULL, OPTION_INTERVAL},
    {"ramp", required_argument, NULL, OPTION_RAMP},
    {"share", required_argument, NULL, OPTION_SHARE},
    {"half-close", required_argument, NULL, OPTION_HALF_CLOSE},
    {"source", required_argument, NULL, OPTION_SOURCE},
    {"roam", no_argument, NULL, OPTION_ROAM},
    {"state", required_argument, NULL, OPTION_STATE},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"retry-after", required_argument, NULL, OPTION_RETRY_AFTER},
    {"retry-within", required_argument, NULL, OPTION_RETRY_WITHIN},
    {"keep-all", no_argument, NULL, OPTION_KEEP_ALL},
    {"wait", required_argument, NULL, OPTION_WAIT},
    {"for", required_argument, NULL, OPTION_FOR},
    {"rounds", required_argument, NULL, OPTION_ROUNDS},
    {"expect", required_argument, NULL, OPTION_EXPECT},
    {"json", required_argument, NULL, OPTION_JSON},
    {"note", required_argument, NULL, OPTION_NOTE},
    {"ready-fd", required_argument, NULL, OPTION_READY},
    {"with-parent", no_argument, NULL, OPTION_PARENT},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static int
options_target_line(void *ctx, int count, char **words, struct lab_err *err)
{
	return target_add(ctx, count, words, err);
}

static int
options_target(struct crowd *crowd, char *line, struct lab_err *err)
{
	char *words[TARGET_WORDS];
	int count = text_words(line, words, TARGET_WORDS);

	if (count > TARGET_WORDS)
		return err_set(err, "too many words for a target");
	return target_add(crowd, count, words, err);
}

static int
options_number(const char *value, uint64_t min, uint64_t max, int *number, struct lab_err *err)
{
	uint64_t wide;

	if (text_number(value, min, max, &wide, err))
		return -1;
	*number = (int)wide;
	return 0;
}

/* Options that are a number, a time or a size. 1: it is none of these. */
static int
options_measure(struct crowd *crowd, int option, const char *value, struct lab_err *err)
{
	switch (option) {
	case OPTION_SHORT:
		return options_number(value, 0, 100000, &crowd->shorts, err);
	case OPTION_LONG:
		return options_number(value, 0, 100000, &crowd->longs, err);
	case OPTION_READY:
		return options_number(value, 0, 65535, &crowd->ready_fd, err);
	case OPTION_PAUSE:
		return text_duration(value, &crowd->pause, err);
	case OPTION_INTERVAL:
		return text_duration(value, &crowd->interval, err);
	case OPTION_RAMP:
		return text_duration(value, &crowd->ramp, err);
	case OPTION_TIMEOUT:
		return text_duration(value, &crowd->timeout, err);
	case OPTION_RETRY_AFTER:
		return text_duration(value, &crowd->retry_after, err);
	case OPTION_RETRY_WITHIN:
		return text_duration(value, &crowd->retry_within, err);
	case OPTION_WAIT:
		return text_duration(value, &crowd->wait_for, err);
	case OPTION_FOR:
		return text_duration(value, &crowd->run_for, err);
	case OPTION_SHARE:
		if (text_size(value, &crowd->share, err))
			return -1;
		return crowd->share ? 0 : err_set(err, "nothing cannot be shared");
	case OPTION_HALF_CLOSE:
		return text_number(value, 0, UINT32_MAX, &crowd->half_close_every, err);
	case OPTION_ROUNDS:
		return text_number(value, 1, UINT32_MAX, &crowd->rounds, err);
	default:
		return 1;
	}
}

static int
options_set(struct crowd *crowd, int option, char *value, struct lab_err *err)
{
	int measured = options_measure(crowd, option, value, err);

	if (measured != 1)
		return measured;
	switch (option) {
	case OPTION_TARGET:
		return options_target(crowd, value, err);
	case OPTION_SOURCE:
		crowd->has_net = true;
		return addr_parse_net(&crowd->net, value, err);
	case OPTION_ROAM:
		crowd->roam = true;
		return 0;
	case OPTION_STATE:
		crowd->state = value;
		return 0;
	case OPTION_KEEP_ALL:
		crowd->keep_all = true;
		return 0;
	case OPTION_EXPECT:
		crowd->expect = value;
		return 0;
	case OPTION_JSON:
		crowd->json = value;
		return 0;
	case OPTION_NOTE:
		if (crowd->note_count == (int)(sizeof(crowd->notes) / sizeof(crowd->notes[0])))
			return err_set(err, "too many notes");
		crowd->notes[crowd->note_count++] = value;
		return 0;
	case OPTION_PARENT:
		crowd->with_parent = true;
		return 0;
	case OPTION_HELP:
		crowd->help = true;
		return 0;
	default:
		return err_set(err, "not understood");
	}
}

int
options_read(struct crowd *crowd, int argc, char **argv, struct lab_err *err)
{
	int option, row = 0;

	while ((option = getopt_long(argc, argv, "", options_table, &row)) >= 0) {
		struct lab_err why;

		if (option == '?')
			return err_set(err, "see lab-crowd --help");
		if (options_set(crowd, option, optarg, &why))
			return err_set(err, "--%s: %s", options_table[row].name, why.text);
	}
	if (crowd->help)
		return 0;
	if (argc - optind > 1)
		return err_set(err, "one list of targets is enough; see lab-crowd --help");
	if (optind < argc && text_list(argv[optind], TARGET_WORDS, options_target_line, crowd, err))
		return -1;
	for (int i = 0; i < crowd->target_count; i++)
		if (crowd->targets[i].join && !who_target(crowd, crowd->targets[i].join, 0))
			return err_set(err, "%s: there is no target %s with the meeting's page",
				       crowd->targets[i].name, crowd->targets[i].join);
	return crowd->target_count ? 0 : err_set(err, "no targets; see lab-crowd --help");
}
