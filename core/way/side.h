/* Reading from and writing to one side of a connection. Reads land in the worker's scratch buffer,
 * or behind what the side has in its window; writes go out at once, and only the rest is kept. */
#ifndef WAY_SIDE_H
#define WAY_SIDE_H

#include <sys/types.h>

#include "way/way.h"

void side_init(struct side *side, int fd, void (*ready)(struct ev_loop *, struct ev_io *, int));
/* A connection gets another owner, with all that it has but the bytes that were read: there are none. */
void side_move(struct way *way, struct side *to, struct side *from,
               void (*ready)(struct ev_loop *, struct ev_io *, int));
/* Stops watching, closes, and gives back what it held. Safe when there is no connection. */
void side_close(struct way *way, struct side *side, bool reset);
/* What libev, or for short connections way/edge.h, shall wait for; 0: nothing. */
void side_watch(struct way *way, struct side *side, int events);

/* What it said. */
void side_ready(struct side *side, int events);

/* Bytes read and not used yet. */
struct sy_span side_input(const struct way *way, const struct side *side);
void side_use(struct way *way, struct side *side, size_t n);
/* Reads more, so that at most `window` bytes are there. Like recv(): ENOBUFS when the window is full.
 * Clears `ready` when the socket has no more, sets `eof`. */
ssize_t side_read(struct conn *conn, struct side *side, size_t window);
/* It has nothing to say, and has not left: what libev said may be TLS talking to itself. Reads a byte
 * when it has to know. */
bool side_quiet(struct conn *conn, struct side *side);
/* Moves what the scratch buffer holds into its owner's window. False: no memory. */
bool side_keep(struct way *way);

/* Reads to `at`, past the window. As recv(). */
ssize_t side_take(struct conn *conn, struct side *side, uint8_t *at, size_t len);

/* Writes, keeps what does not fit. 0, or -1 with errno. */
int side_send(struct way *way, struct side *side, struct sy_span bytes);
/* Writes what was kept, as far as possible. 0, or -1 with errno. */
int side_flush(struct way *way, struct side *side);
/* Like send(), and takes care of TCP_NODELAY. */
ssize_t side_write(struct side *side, struct sy_span bytes);
/* Tells it that nothing more will come. */
void side_end(struct side *side);

/* Bytes went by: totals, tallies, the time of the last byte. */
void side_count(struct conn *conn, struct side *side, size_t n);
/* How long the server took to answer, smoothed over about eight exchanges. */
void side_response(struct seat_run *run, uint64_t took_us);

#endif
