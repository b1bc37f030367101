/* Pooled memory for bytes that could not be passed on at once. A chunk belongs to one side of one
 * connection and goes back to the pool when it is empty, so a connection that waits owns none.
 *
 * Used in two ways: one chunk as a window (bytes that must be seen in one piece), or a list of
 * chunks as a queue (bytes on their way out). */
#ifndef NET_CHUNK_H
#define NET_CHUNK_H

#include <stdbool.h>

#include "api/span.h"

struct chunk_pool;

struct chunk {
	struct chunk *next;
	uint32_t start, end;      /* of what is in use */
	uint32_t size;            /* of bytes[] */
	uint32_t class;           /* private to chunk.c */
	uint8_t bytes[];
};

enum { CHUNK_MOST = (1 << 20) - sizeof(struct chunk) }; /* the largest that can be had */

struct chunk_pool *chunk_pool_new(void);
void chunk_pool_free(struct chunk_pool *pool);
/* Bytes of memory in chunks that are in use. */
size_t chunk_pool_used(const struct chunk_pool *pool);

/* Room for at least `size` bytes; NULL when that is too much or the system has no memory. */
struct chunk *chunk_take(struct chunk_pool *pool, size_t size);
void chunk_give(struct chunk_pool *pool, struct chunk *chunk);

static inline struct sy_span
chunk_span(const struct chunk *chunk)
{
	return sy_span(chunk->bytes + chunk->start, chunk->end - chunk->start);
}

/* Appends to a window of at least `window` bytes, which is made, moved or replaced as needed. False
 * when there is no memory: nothing has changed. */
bool window_put(struct chunk_pool *pool, struct chunk **at, struct sy_span bytes, size_t window);
/* Room behind the bytes of a window, after moving them to the front if that helps. */
size_t window_room(struct chunk *chunk);
void window_drop(struct chunk_pool *pool, struct chunk **at, size_t n);

/* The same for queues. */
bool queue_put(struct chunk_pool *pool, struct chunk **first, struct sy_span bytes);
void queue_drop(struct chunk_pool *pool, struct chunk **first, size_t n);
/* Copies the first bytes out of it, at most `len`; returns how many. */
size_t queue_take(struct chunk_pool *pool, struct chunk **first, uint8_t *at, size_t len);
/* Puts one behind the other, which is empty then. */
void queue_join(struct chunk **first, struct chunk **other);
/* Makes one chunk of it, as far as the largest chunk goes. False: no memory. */
bool queue_gather(struct chunk_pool *pool, struct chunk **first);
size_t queue_len(const struct chunk *first);
void queue_free(struct chunk_pool *pool, struct chunk **first);

#endif
