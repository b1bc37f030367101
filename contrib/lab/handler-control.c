/*
 * The control socket, with which tests make ports fail. A command is a line; its answer is some
 * lines, the last of which begins with "ok" or "error". WHAT is a server's name or *, and then
 * perhaps a port:
 *
 *	status [WHAT]    a line per port: server, role, service, address, transport, mode, counters
 *	up WHAT          back to normal
 *	down WHAT        the port is closed and its connections are reset: a crash
 *	shut WHAT        the port is closed, its connections live on
 *	mute WHAT        connections are accepted and never answered: a hang
 *	refuse WHAT      connections are accepted and reset
 *	drain WHAT       a registrar takes nothing new (handler-sip.c)
 *	reset WHAT       connections are reset once, the port stays open
 *	stop             ends the process gracefully, as SIGTERM does
 */
#include "server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CONTROL_LINE_MAX = 1024, CONTROL_WORDS = 3 };

struct control_what {
	const char *name;
	uint64_t port; /* 0: all */
};

struct control_command {
	const char *name;
	int (*run)(struct lab_listener *listener, struct lab_buf *out, int arg,
		   struct lab_err *err);
	int arg;
};

static int
control_status(struct lab_listener *listener, struct lab_buf *out, int arg, struct lab_err *err)
{
	char addr[ADDR_TEXT];

	(void)arg;
	(void)err;
	buf_print(out,
		  "%s %s %s %s %s %s accepted=%" PRIu64 " open=%" PRIu64 " exchanges=%" PRIu64
		  " failed=%" PRIu64 " mixed=%" PRIu64 " strayed=%" PRIu64 " users=%" PRIu64 "\n",
		  listener->server->name, listener->server->role->name, listener->service->name,
		  addr_text(&listener->addr, addr), transport_name(listener->service->transport),
		  listener_mode_name(listener->mode), listener->accepted, listener->open,
		  listener->exchanges, listener->failed, listener->mixed, listener->strayed,
		  listener->users);
	return 0;
}

static int
control_mode(struct lab_listener *listener, struct lab_buf *out, int arg, struct lab_err *err)
{
	(void)out;
	return listener_set_mode(listener, (enum listener_mode)arg, err);
}

static int
control_reset(struct lab_listener *listener, struct lab_buf *out, int arg, struct lab_err *err)
{
	(void)out;
	(void)arg;
	(void)err;
	listener_reset(listener);
	return 0;
}

static const struct control_command control_commands[] = {
    {"status", control_status, 0},         {"up", control_mode, LISTENER_UP},
    {"down", control_mode, LISTENER_DOWN}, {"shut", control_mode, LISTENER_SHUT},
    {"mute", control_mode, LISTENER_MUTE}, {"refuse", control_mode, LISTENER_REFUSE},
    {"drain", control_mode, LISTENER_DRAIN}, {"reset", control_reset, 0},
    {NULL, NULL, 0},
};

/* Runs the command on each port that is meant; the number of them, or -1 and err. */
static int
control_each(struct lab *lab, const struct control_command *command,
	     const struct control_what *what, struct lab_buf *out, struct lab_err *err)
{
	int meant = 0;

	for (int i = 0; i < lab->count; i++) {
		struct lab_server *server = &lab->servers[i];

		if (strcmp(what->name, "*") && strcmp(what->name, server->name))
			continue;
		for (int j = 0; j < server->count; j++) {
			struct lab_listener *listener = &server->listeners[j];

			if (what->port && what->port != addr_port(&listener->addr))
				continue;
			meant++;
			if (command->run(listener, out, command->arg, err))
				return -1;
		}
	}
	return meant ? meant
		     : err_set(err, "no server %s%s here", what->name,
			       what->port ? " with that port" : "");
}

static int
control_run(struct lab *lab, int count, char **words, struct lab_buf *out, struct lab_err *err)
{
	const struct control_command *command = control_commands;
	struct control_what what = {.name = "*"};
	int meant;

	if (!strcmp(words[0], "stop")) {
		lab_stop(lab);
		buf_print(out, "ok stopping\n");
		return 0;
	}
	while (command->name && strcmp(command->name, words[0]))
		command++;
	if (!command->name)
		return err_set(err,
			       "\"%s\" is not a command: status, up, down, shut, mute, "
			       "refuse, drain, reset or stop",
			       words[0]);
	if (count == 1 && command->run != control_status)
		return err_set(err, "%s needs the name of a server, or *", words[0]);
	if (count > CONTROL_WORDS)
		return err_set(err, "at most a command, a server and a port are understood");
	if (count > 1)
		what.name = words[1];
	if (count > 2 && text_number(words[2], 1, UINT16_MAX, &what.port, err))
		return -1;
	meant = control_each(lab, command, &what, out, err);
	if (meant >= 0)
		buf_print(out, "ok %d\n", meant);
	return meant < 0 ? -1 : 0;
}

static enum handler_next
control_stream(struct lab_conn *conn)
{
	struct lab *lab = conn->listener->server->lab;

	for (;;) {
		char line[CONTROL_LINE_MAX + 1], *words[CONTROL_WORDS];
		const char *bytes = buf_front(&conn->in);
		const char *end = memchr(bytes, '\n', conn->in.len);
		size_t len = end ? (size_t)(end - bytes) : conn->in.len;
		struct lab_err err;
		int count;

		if (len > CONTROL_LINE_MAX) {
			buf_print(&conn->out, "error: the line is too long\n");
			return HANDLER_FINISH;
		}
		if (!end)
			return HANDLER_WAIT;
		memcpy(line, bytes, len);
		line[len] = 0;
		buf_drop(&conn->in, len + 1);
		count = text_words(line, words, CONTROL_WORDS);
		if (count && control_run(lab, count, words, &conn->out, &err))
			buf_print(&conn->out, "error: %s\n", err.text);
		conn->exchanges++;
	}
}

const struct lab_handler handler_control = {
    .name = "control",
    .stream = control_stream,
};
