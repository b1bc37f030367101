#define _GNU_SOURCE 1
#include "way/mover.h"

#include <errno.h>
#include <fcntl.h>

#include "net/socket.h"
#include "way/batch.h"
#include "way/side.h"
#include "way/side_tls.h"

enum {
	MOVER_ROUNDS = 4,         /* full buffers in one turn, then the others have theirs */
	MOVER_BULK = 3,           /* full reads in a row: it is bulk */
	MOVER_PIECES = 16,        /* TLS records in one turn */
	MOVER_SMALL = 16384,      /* a splice of less than that was not worth its pipe */
};

enum { MOVER_COPY, MOVER_SPLICE, MOVER_PIECEWISE };

static enum moved
mover_copy(struct conn *conn, struct side *from, struct side *to)
{
	struct way *way = conn->way;

	for (unsigned round = 0; round < MOVER_ROUNDS; round++) {
		uint8_t *at = batch_room(way, to);
		ssize_t n = side_take(conn, from, at, WAY_SCRATCH);

		if (n < 0)
			return errno == EAGAIN ? MOVED : MOVED_READ_ERROR;
		if (n == 0)
			break;
		if (!batch_hold(way, to, at, (size_t)n) && side_send(way, to, sy_span(at, (size_t)n)) < 0)
			return MOVED_WRITE_ERROR;
		if (n < WAY_SCRATCH)
			from->full = 0;
		else if (++from->full >= MOVER_BULK)
			break;
		if (side_pending(to) || !(from->ready & EV_READ))
			break;
	}
	return MOVED;
}

/* What has been read from the socket must be used up, or wait for the other side: nobody would tell
 * of it again. */
static enum moved
mover_pieces(struct conn *conn, struct side *from, struct side *to)
{
	struct way *way = conn->way;

	for (unsigned n_pieces = 1;; n_pieces++) {
		ssize_t n = side_take(conn, from, way->scratch, WAY_SCRATCH);

		if (n < 0)
			return errno == EAGAIN ? MOVED : MOVED_READ_ERROR;
		if (n == 0)
			return MOVED;
		if (side_send(way, to, sy_span(way->scratch, (size_t)n)) < 0)
			return MOVED_WRITE_ERROR;
		if (side_pending(to) || !(from->ready & EV_READ))
			return MOVED;
		if (n_pieces >= MOVER_PIECES && from->tls)
			from->tls->readable = false;
	}
}

int
mover_flush(struct way *way, struct side *side)
{
	struct pipe *pipe = side->pipe;

	while (pipe->held > 0) {
		ssize_t n = splice(pipe->read, NULL, side->io.fd, NULL, pipe->held,
		                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n < 0 && errno == EAGAIN) {
			side->ready &= (uint8_t)~EV_WRITE;
			return 0;
		}
		if (n < 0)
			return -1;
		pipe->held -= (size_t)n;
	}
	side->pipe = NULL;
	pipe_give(way->pipes, pipe);
	return 0;
}

static enum moved
mover_splice(struct conn *conn, struct side *from, struct side *to)
{
	struct way *way = conn->way;
	struct pipe *pipe = pipe_take(way->pipes);
	ssize_t n;

	if (!pipe)
		return mover_copy(conn, from, to);
	n = splice(from->io.fd, NULL, pipe->write, NULL, pipe->size,
	           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	/* The pipe may be full before the socket is empty: a short one says nothing. */
	if (n <= 0) {
		from->ready &= (uint8_t)~EV_READ;
		pipe_give(way->pipes, pipe);
		if (n < 0)
			return errno == EAGAIN ? MOVED : MOVED_READ_ERROR;
		from->eof = true;
		return MOVED;
	}
	side_count(conn, from, (size_t)n);
	if (n < MOVER_SMALL)
		from->full--;
	else
		from->full = MOVER_BULK;
	pipe->held = (size_t)n;
	to->pipe = pipe;
	if (!to->prompt) {
		socket_nodelay(to->io.fd);
		to->prompt = true;
	}
	return mover_flush(way, to) < 0 ? MOVED_WRITE_ERROR : MOVED;
}

static enum moved (*const movers[])(struct conn *, struct side *, struct side *) = {
	[MOVER_COPY] = mover_copy,
	[MOVER_SPLICE] = mover_splice,
	[MOVER_PIECEWISE] = mover_pieces,
};

enum moved
mover_move(struct conn *conn, struct side *from, struct side *to)
{
	if (from->tls || from->strand)
		return movers[MOVER_PIECEWISE](conn, from, to);
	if (from->full >= MOVER_BULK && !to->tls && !to->strand && !conn->way->trace &&
	    conn->service->settings.splice)
		return movers[MOVER_SPLICE](conn, from, to);
	return movers[MOVER_COPY](conn, from, to);
}
