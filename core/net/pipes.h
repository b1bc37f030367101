/* Pipes for moving bytes between sockets without copying them (splice). A pipe belongs to one
 * direction of one connection only while bytes are in it. */
#ifndef NET_PIPES_H
#define NET_PIPES_H

#include <stddef.h>
#include <stdint.h>

struct pipe {
	struct pipe *next;
	int read, write;
	size_t size;              /* most bytes that it can hold, if they come in full pages */
	size_t held;              /* bytes in it, kept by who uses it */
};

struct pipe_pool;

struct pipe_pool *pipe_pool_new(void);
void pipe_pool_free(struct pipe_pool *pool);
/* An empty pipe, or NULL: no descriptor or no memory is left, copy instead. */
struct pipe *pipe_take(struct pipe_pool *pool);
/* Back to the pool; one that still holds bytes is closed. */
void pipe_give(struct pipe_pool *pool, struct pipe *pipe);
unsigned pipe_pool_open(const struct pipe_pool *pool);

#endif
