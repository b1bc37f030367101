#define _GNU_SOURCE 1
#include "net/pipes.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"

enum {
	PIPE_SIZE = 1 << 19,
	PIPES_KEPT = 16,          /* empty ones, ready for use */
};

struct pipe_pool {
	struct pipe *kept;
	unsigned n_kept, n_open;
};

struct pipe_pool *
pipe_pool_new(void)
{
	return must_alloc(sizeof(struct pipe_pool));
}

static void
pipe_close(struct pipe_pool *pool, struct pipe *pipe)
{
	close(pipe->read);
	close(pipe->write);
	free(pipe);
	pool->n_open--;
}

void
pipe_pool_free(struct pipe_pool *pool)
{
	if (!pool)
		return;
	while (pool->kept) {
		struct pipe *pipe = pool->kept;

		pool->kept = pipe->next;
		pipe_close(pool, pipe);
	}
	free(pool);
}

struct pipe *
pipe_take(struct pipe_pool *pool)
{
	struct pipe *pipe = pool->kept;
	int fds[2], size;

	if (pipe) {
		pool->kept = pipe->next;
		pool->n_kept--;
		return pipe;
	}
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
		return NULL;
	/* Refused when this user's pipes hold too many pages already: then it stays as it is. */
	size = fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
	if (size < 0)
		size = fcntl(fds[1], F_GETPIPE_SZ);
	pipe = size > 0 ? calloc(1, sizeof(*pipe)) : NULL;
	if (!pipe) {
		close(fds[0]);
		close(fds[1]);
		return NULL;
	}
	pipe->read = fds[0];
	pipe->write = fds[1];
	pipe->size = (size_t)size;
	pool->n_open++;
	return pipe;
}

void
pipe_give(struct pipe_pool *pool, struct pipe *pipe)
{
	if (pipe->held > 0 || pool->n_kept >= PIPES_KEPT) {
		pipe_close(pool, pipe);
		return;
	}
	pipe->next = pool->kept;
	pool->kept = pipe;
	pool->n_kept++;
}

unsigned
pipe_pool_open(const struct pipe_pool *pool)
{
	return pool->n_open;
}
