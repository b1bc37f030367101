#define _GNU_SOURCE 1
#include "proc/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"

enum { OUTBOX_MOST = 200000 }; /* beside the socket's own buffer; listeners times slots fit in */

struct outbox_record {
	struct link link;
	struct control_record record;
	unsigned n_fds;
	int *fds;
	size_t len;
	char text[];
};

static void
outbox_free(struct outbox *outbox, struct outbox_record *waiting)
{
	for (unsigned i = 0; i < waiting->n_fds; i++)
		close(waiting->fds[i]);
	list_remove(&waiting->link);
	outbox->n_waiting--;
	free(waiting->fds);
	free(waiting);
}

static void
outbox_drop_all(struct outbox *outbox)
{
	list_each_safe(link, &outbox->waiting)
		outbox_free(outbox, container_of(link, struct outbox_record, link));
	ev_io_stop(outbox->loop, &outbox->writable);
	ev_timer_stop(outbox->loop, &outbox->again);
}

static void
outbox_go_on(struct outbox *outbox)
{
	while (!list_empty(&outbox->waiting)) {
		struct outbox_record *first = container_of(outbox->waiting.next, struct outbox_record, link);

		if (control_send(outbox->fd, &first->record, first->text, first->len, first->fds,
		                 first->n_fds) != 0) {
			if (errno == EAGAIN)
				return;
			break;
		}
		outbox_free(outbox, first);
	}
	outbox_drop_all(outbox);
}

static void
outbox_writable(struct ev_loop *loop, struct ev_io *io, int events)
{
	(void)loop, (void)events;
	outbox_go_on(container_of(io, struct outbox, writable));
}

static void
outbox_again(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)loop, (void)events;
	outbox_go_on(container_of(timer, struct outbox, again));
}

void
outbox_open(struct outbox *outbox, struct ev_loop *loop, int fd)
{
	*outbox = (struct outbox){ .loop = loop, .fd = fd };
	link_init(&outbox->waiting);
	ev_io_init(&outbox->writable, outbox_writable, fd, EV_WRITE);
	ev_timer_init(&outbox->again, outbox_again, 0.05, 0.05);
}

/* The peer may not read for a while, and the caller may close its descriptors meanwhile. -1 when
 * there are none left to duplicate into. */
static int
outbox_keep(struct outbox *outbox, const struct control_record *record, const char *text,
            size_t len, const int *fds, unsigned n_fds)
{
	struct outbox_record *waiting = must_alloc(sizeof(*waiting) + len);

	waiting->record = *record;
	waiting->len = len;
	if (len > 0)
		memcpy(waiting->text, text, len);
	if (n_fds > 0)
		waiting->fds = must_alloc(n_fds * sizeof(int));
	for (; waiting->n_fds < n_fds; waiting->n_fds++) {
		int fd = fcntl(fds[waiting->n_fds], F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			break;
		waiting->fds[waiting->n_fds] = fd;
	}
	list_append(&outbox->waiting, &waiting->link);
	outbox->n_waiting++;
	if (waiting->n_fds < n_fds)
		return -1;
	ev_io_start(outbox->loop, &outbox->writable);
	ev_timer_start(outbox->loop, &outbox->again);
	return 0;
}

void
outbox_send(struct outbox *outbox, const struct control_record *record, const char *text,
            size_t len, const int *fds, unsigned n_fds)
{
	if (outbox->fd < 0)
		return;
	if (list_empty(&outbox->waiting)) {
		if (control_send(outbox->fd, record, text, len, fds, n_fds) == 0 || errno != EAGAIN)
			return;
	}
	/* A record lost would be out of step for ever; a peer lost gets a successor. */
	if (outbox->n_waiting >= OUTBOX_MOST)
		log_err("control: a peer has left %zu records unread: giving it up", outbox->n_waiting);
	else if (outbox_keep(outbox, record, text, len, fds, n_fds) == 0)
		return;
	else
		log_err("control: no descriptor left to keep one for a slow peer (%s): giving it up",
		        strerror(errno));
	outbox_drop_all(outbox);
	shutdown(outbox->fd, SHUT_RDWR);
}

void
outbox_close(struct outbox *outbox)
{
	if (outbox->fd < 0)
		return;
	outbox_drop_all(outbox);
	outbox->fd = -1;
}
