/* What the tests of the log share: files, and what was written to files, pipes and sockets. */
#ifndef T_UNIT_BASE_LOG_H
#define T_UNIT_BASE_LOG_H

#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tap.h"

static char got[1 << 18];

/* What was written to a file so far. */
TAP_UNUSED static char *
content(int fd)
{
	ssize_t n = pread(fd, got, sizeof(got) - 1, 0);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

/* What waits in a pipe or socket; datagrams are told apart by '|'. */
TAP_UNUSED static char *
waiting(int fd, bool datagrams)
{
	size_t len = 0;

	while (len < sizeof(got) - 2) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&ready, 1, 0) <= 0)
			break;
		n = read(fd, got + len, sizeof(got) - 2 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		if (datagrams)
			got[len++] = '|';
	}
	got[len] = '\0';
	return got;
}

TAP_UNUSED static int
new_file(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	if (fd < 0)
		bail_out("memfd: %s", strerror(errno));
	fcntl(fd, F_SETFL, O_APPEND);
	return fd;
}

/* Gives the text behind a timestamp that has the right form, or NULL. */
TAP_UNUSED static const char *
after_time(const char *line)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";

	for (size_t i = 0; form[i]; i++)
		if (form[i] == 'd' ? line[i] < '0' || line[i] > '9' : line[i] != form[i])
			return NULL;
	return line + sizeof(form) - 1;
}

TAP_UNUSED static unsigned
count(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

#endif
