/* Records on their way to a peer that may be slow: sent at once when the socket takes them, otherwise
 * kept in order (with duplicates of their descriptors) until it does. Never lost, except with the
 * peer. */
#ifndef PROC_OUTBOX_H
#define PROC_OUTBOX_H

#include <ev.h>

#include "base/list.h"
#include "proc/control.h"

struct outbox {
	struct ev_loop *loop;
	int fd;                   /* borrowed; -1: closed */
	struct ev_io writable;
	struct ev_timer again;    /* for refusals that no event ends, as too many descriptors in flight */
	struct link waiting;
	size_t n_waiting;
};

void outbox_open(struct outbox *outbox, struct ev_loop *loop, int fd);
/* To a dead peer: does nothing; the end of file on the socket tells. */
void outbox_send(struct outbox *outbox, const struct control_record *record, const char *text,
                 size_t len, const int *fds, unsigned n_fds);
/* Drops what waits. The socket stays the caller's. Safe when closed. */
void outbox_close(struct outbox *outbox);

#endif
