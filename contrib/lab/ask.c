/* The asking side of the control socket: one command, one answer. */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ASK_LIMIT_SECONDS = 10 };

static int
ask_connect(const char *path, struct lab_err *err)
{
	struct timeval limit = {.tv_sec = ASK_LIMIT_SECONDS};
	struct lab_addr addr;
	int fd;

	if (addr_parse_path(&addr, path, err))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    connect(fd, &addr.any, addr.len)) {
		err_set(err, "cannot reach a lab server on %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* Prints the answer line by line. 0: ok; 1: refused; -1: no whole answer. */
static int
ask_print(int fd)
{
	FILE *in = fdopen(fd, "r");
	char *line = NULL;
	size_t room = 0;
	int result = -1;

	while (in && result < 0 && getline(&line, &room, in) > 0) {
		bool refused = !strncmp(line, "error", 5);

		fputs(line, refused ? stderr : stdout);
		if (refused || !strncmp(line, "ok", 2))
			result = refused;
	}
	free(line);
	if (in)
		fclose(in);
	return result;
}

int
ask(const char *path, int count, char **words)
{
	struct lab_buf line = {0};
	struct lab_err err;
	int fd = ask_connect(path, &err), result = -1;

	if (fd < 0) {
		fprintf(stderr, "lab-server: %s\n", err.text);
		return 2;
	}
	for (int i = 0; i < count; i++)
		buf_print(&line, "%s%s", i ? " " : "", words[i]);
	buf_add(&line, "\n", 1);
	if (send(fd, buf_front(&line), line.len, MSG_NOSIGNAL) == (ssize_t)line.len)
		result = ask_print(fd);
	buf_free(&line);
	if (result < 0) {
		fprintf(stderr, "lab-server: no answer from the lab server on %s\n", path);
		return 2;
	}
	return result;
}
