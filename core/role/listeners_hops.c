/* The sockets that workers reach each other by (way/hop.h). One for each place that a worker has had, kept
 * open here as listeners are: a successor finds what came while nobody was there. The kernel chooses the
 * names; they are abstract, so there is no file that could be in the way or stay behind. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "role/master.h"

enum { HOP_BACKLOG = 4096 };

/* The name goes to the board. -1 with errno. */
static int
hop_open(struct board_process *row)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error;
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = offsetof(struct sockaddr_un, sun_path);

	if (fd < 0)
		return -1;
	/* An address without a name: bind() makes one. */
	if (bind(fd, (const struct sockaddr *)&name, len) == 0 && listen(fd, HOP_BACKLOG) == 0) {
		len = sizeof(name);
		if (getsockname(fd, (struct sockaddr *)&name, &len) == 0) {
			len -= (socklen_t)offsetof(struct sockaddr_un, sun_path);
			errno = EMSGSIZE;
			if (len > 0 && len <= sizeof(row->hop)) {
				memcpy(row->hop, name.sun_path, len);
				row->hop_len = len;
				return fd;
			}
		}
	}
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

void
hops_introduce(struct process *process)
{
	struct control_record record = { .type = CONTROL_LISTEN };

	if (process->hop < 0)
		process->hop = hop_open(board_process(process->master->board, process->row));
	if (process->hop >= 0)
		outbox_send(&process->outbox, &record, NULL, 0, &process->hop, 1);
	else
		log_warn("%s cannot be reached by the others, and client connections that it has only by "
		         "itself: no socket: %s", process->name, strerror(errno));
}

void
hops_close(struct master *master)
{
	master_each_process(process, master) {
		if (process->hop >= 0)
			close(process->hop);
		process->hop = -1;
	}
}
