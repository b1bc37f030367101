/*
 * lab-server: servers that answer like Front Ends and Edges, for the reference lab and for tests.
 * server.h has the picture.
 */
#include "server.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char server_usage[] =
    "usage: lab-server [options] NAME ADDRESS ROLE [NAME ADDRESS ROLE ...]\n"
    "       lab-server [options] --list FILE [--only NAME]\n"
    "       lab-server --ask SOCKET COMMAND [SERVER [PORT]]\n"
    "\n"
    "Plays one server or several. A role is one of front-end, edge-internal, edge-access,\n"
    "edge-webconf, edge-av, or a list of services such as 5061/tls,80/tcp:web,0/udp, each\n"
    "port/transport[:handler][+asks|+mutual]; port 0 lets the kernel choose. Handlers: say,\n"
    "sip, web, turn, psom.\n"
    "\n"
    "  --list FILE      lines of NAME ADDRESS ROLE; - is standard input\n"
    "  --only NAME      of the list, only the lines of this server\n"
    "  --optional       open the optional services as well (front-end: 448)\n"
    "  --state DIR      keep the test CA and the certificates there, for those who verify them\n"
    "  --cert-days N    days that the servers' certificates are valid (default 30; may be < 0)\n"
    "  --control PATH   UNIX socket for tests; see --ask\n"
    "  --ask PATH ...   send a command there: status, up, down, shut, mute, refuse, drain, reset, stop\n"
    "  --grace TIME     time that connections have to end when stopping (default 1s)\n"
    "  --ready-fd N     when all ports are open, write one line there: ready NAME:SERVICE=\n"
    "                   ADDRESS:PORT/TRANSPORT ...\n"
    "  --keep-alive TIME  that a registrar lets its clients be silent (default 300s)\n"
    "  --stay           TURN: name no Alternate Server, so that clients stay where they asked\n"
    "  --with-parent    stop when the parent process dies\n"
    "  --verbose        say why connections failed, and which ports are open\n"
    "\n"
    "SIGTERM and SIGINT stop gracefully, a second one at once.\n";

struct server_options {
	struct lab *lab;
	const char *list, *only, *state, *control, *ask;
	int ready_fd, days;
	bool with_parent, help;
};

static int
server_list_line(void *ctx, int count, char **words, struct lab_err *err)
{
	struct server_options *options = ctx;

	if (count != 3)
		return err_set(err, "a line is NAME ADDRESS ROLE");
	if (options->only && strcmp(options->only, words[0]))
		return 0;
	return lab_add(options->lab, words[0], words[1], words[2], err);
}

static int
server_option(struct server_options *options, int option, char *value, struct lab_err *err)
{
	uint64_t number;

	switch (option) {
	case 'l':
		options->list = value;
		return 0;
	case 'o':
		options->only = value;
		return 0;
	case 's':
		options->state = value;
		return 0;
	case 'c':
		options->control = value;
		return 0;
	case 'a':
		options->ask = value;
		return 0;
	case 'O':
		options->lab->optional = true;
		return 0;
	case 'v':
		options->lab->verbose = true;
		return 0;
	case 't':
		options->lab->stay = true;
		return 0;
	case 'p':
		options->with_parent = true;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	case 'd':
		if (text_number(value + (value[0] == '-'), 0, 10000, &number, err))
			return -1;
		options->days = value[0] == '-' ? -(int)number : (int)number;
		return 0;
	case 'k':
		return text_duration(value, &options->lab->keep_alive, err);
	case 'g':
		return text_duration(value, &options->lab->grace, err);
	case 'r':
		if (text_number(value, 0, 65535, &number, err))
			return -1;
		options->ready_fd = (int)number;
		return 0;
	default:
		return err_set(err, "not understood");
	}
}

static int
server_options(struct server_options *options, int argc, char **argv, struct lab_err *err)
{
	static const struct option table[] = {
	    {"list", required_argument, NULL, 'l'},
	    {"only", required_argument, NULL, 'o'},
	    {"state", required_argument, NULL, 's'},
	    {"control", required_argument, NULL, 'c'},
	    {"ask", required_argument, NULL, 'a'},
	    {"optional", no_argument, NULL, 'O'},
	    {"cert-days", required_argument, NULL, 'd'},
	    {"keep-alive", required_argument, NULL, 'k'},
	    {"grace", required_argument, NULL, 'g'},
	    {"ready-fd", required_argument, NULL, 'r'},
	    {"stay", no_argument, NULL, 't'},
	    {"verbose", no_argument, NULL, 'v'},
	    {"with-parent", no_argument, NULL, 'p'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int option, row = 0;

	while ((option = getopt_long(argc, argv, "", table, &row)) >= 0) {
		struct lab_err why;

		if (option == '?')
			return err_set(err, "see lab-server --help");
		if (server_option(options, option, optarg, &why))
			return err_set(err, "--%s: %s", table[row].name, why.text);
	}
	if (options->help)
		return 0;
	if (options->ask)
		return optind < argc ? 0 : err_set(err, "--ask needs a command");
	if (options->list && text_list(options->list, 3, server_list_line, options, err))
		return -1;
	if ((argc - optind) % 3)
		return err_set(err,
			       "servers are given as NAME ADDRESS ROLE; see lab-server --help");
	for (; optind < argc; optind += 3)
		if (lab_add(options->lab, argv[optind], argv[optind + 1], argv[optind + 2], err))
			return -1;
	if (!options->lab->count && options->only)
		return err_set(err, "no server %s in the list", options->only);
	return options->lab->count ? 0 : err_set(err, "no servers; see lab-server --help");
}

static void
server_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
	(void)loop;
	(void)events;
	lab_stop(watcher->data);
}

static int
server_run(struct lab *lab, const struct server_options *options)
{
	ev_signal term, interrupt;
	struct lab_buf ports;
	struct lab_err err;
	pid_t parent = getppid();

	if (options->with_parent && (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent))
		return 1;
	ev_signal_init(&term, server_signal, SIGTERM);
	ev_signal_init(&interrupt, server_signal, SIGINT);
	term.data = interrupt.data = lab;
	ev_signal_start(lab->loop, &term);
	ev_signal_start(lab->loop, &interrupt);
	if (lab_open(lab, options->state, options->days, options->control, &err)) {
		fprintf(stderr, "lab-server: %s\n", err.text);
		return 1;
	}
	ports = lab_ports(lab);
	if (lab->verbose)
		fprintf(stderr, "lab-server: open: %s\n", buf_front(&ports));
	text_ready(options->ready_fd, buf_front(&ports));
	buf_free(&ports);
	ev_run(lab->loop, 0);
	return 0;
}

int
main(int argc, char **argv)
{
	struct lab lab = {.grace = 1, .keep_alive = 300, .loop = ev_default_loop(EVFLAG_AUTO)};
	struct server_options options = {.lab = &lab, .ready_fd = -1, .days = 30};
	struct lab_err err;
	int status;

	if (!lab.loop) {
		fprintf(stderr, "lab-server: no event loop\n");
		return 1;
	}
	if (server_options(&options, argc, argv, &err)) {
		fprintf(stderr, "lab-server: %s\n", err.text);
		lab_close(&lab);
		return 2;
	}
	if (options.help) {
		fputs(server_usage, stdout);
		return 0;
	}
	if (options.ask)
		return ask(options.ask, argc - optind, argv + optind);
	loop_prepare();
	status = server_run(&lab, &options);
	lab_close(&lab);
	return status;
}
