#include "net/chunk.h"

#include <stdlib.h>

#include "base/must.h"
#include "base/slab.h"

enum { CHUNK_CLASSES = 5 };

/* With their heads, so that a class fills its share of a slab's run well. */
static const uint32_t chunk_sizes[CHUNK_CLASSES] = { 4064, 16352, 65504, 1 << 18, 1 << 20 };

struct chunk_pool {
	struct slab *slabs[CHUNK_CLASSES]; /* made when first wanted */
};

struct chunk_pool *
chunk_pool_new(void)
{
	return must_alloc(sizeof(struct chunk_pool));
}

void
chunk_pool_free(struct chunk_pool *pool)
{
	if (!pool)
		return;
	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		slab_free(pool->slabs[i]);
	free(pool);
}

size_t
chunk_pool_used(const struct chunk_pool *pool)
{
	size_t used = 0;

	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		if (pool->slabs[i])
			used += slab_in_use(pool->slabs[i]) * chunk_sizes[i];
	return used;
}

struct chunk *
chunk_take(struct chunk_pool *pool, size_t size)
{
	struct chunk *chunk;
	unsigned class = 0;

	while (class < CHUNK_CLASSES && size > chunk_sizes[class] - sizeof(*chunk))
		class++;
	if (class == CHUNK_CLASSES)
		return NULL;
	if (!pool->slabs[class])
		pool->slabs[class] = slab_new(chunk_sizes[class]);
	chunk = slab_take(pool->slabs[class]);
	if (!chunk)
		return NULL;
	*chunk = (struct chunk){
		.size = chunk_sizes[class] - (uint32_t)sizeof(*chunk),
		.class = class,
	};
	return chunk;
}

void
chunk_give(struct chunk_pool *pool, struct chunk *chunk)
{
	slab_give(pool->slabs[chunk->class], chunk);
}

size_t
window_room(struct chunk *chunk)
{
	if (chunk->start > 0) {
		memmove(chunk->bytes, chunk->bytes + chunk->start, chunk->end - chunk->start);
		chunk->end -= chunk->start;
		chunk->start = 0;
	}
	return chunk->size - chunk->end;
}

bool
window_put(struct chunk_pool *pool, struct chunk **at, struct sy_span bytes, size_t window)
{
	struct chunk *chunk = *at;
	size_t have = chunk ? chunk->end - chunk->start : 0;

	if (!chunk || window_room(chunk) < bytes.len) {
		size_t want = have + bytes.len > window ? have + bytes.len : window;
		struct chunk *larger = chunk_take(pool, want);

		if (!larger)
			return false;
		if (chunk) {
			memcpy(larger->bytes, chunk->bytes + chunk->start, have);
			larger->end = (uint32_t)have;
			chunk_give(pool, chunk);
		}
		*at = chunk = larger;
	}
	memcpy(chunk->bytes + chunk->end, bytes.at, bytes.len);
	chunk->end += (uint32_t)bytes.len;
	return true;
}

void
window_drop(struct chunk_pool *pool, struct chunk **at, size_t n)
{
	struct chunk *chunk = *at;

	must(chunk && n <= chunk->end - chunk->start);
	chunk->start += (uint32_t)n;
	if (chunk->start < chunk->end)
		return;
	chunk_give(pool, chunk);
	*at = NULL;
}

bool
queue_put(struct chunk_pool *pool, struct chunk **first, struct sy_span bytes)
{
	while (*first && (*first)->next)
		first = &(*first)->next;
	while (bytes.len > 0) {
		struct chunk *chunk = *first;
		size_t n = chunk ? chunk->size - chunk->end : 0;

		if (n == 0) {
			chunk = chunk_take(pool, bytes.len < 4096 ? bytes.len : 16000);
			if (!chunk)
				return false;
			if (*first)
				first = &(*first)->next;
			*first = chunk;
			n = chunk->size;
		}
		n = n < bytes.len ? n : bytes.len;
		memcpy(chunk->bytes + chunk->end, bytes.at, n);
		chunk->end += (uint32_t)n;
		bytes.at += n;
		bytes.len -= n;
	}
	return true;
}

void
queue_drop(struct chunk_pool *pool, struct chunk **first, size_t n)
{
	while (n > 0) {
		struct chunk *chunk = *first;
		size_t here;

		must(chunk);
		here = chunk->end - chunk->start;
		if (n < here) {
			chunk->start += (uint32_t)n;
			return;
		}
		n -= here;
		*first = chunk->next;
		chunk_give(pool, chunk);
	}
}

size_t
queue_take(struct chunk_pool *pool, struct chunk **first, uint8_t *at, size_t len)
{
	size_t taken = 0;

	while (*first && taken < len) {
		struct sy_span span = chunk_span(*first);
		size_t n = span.len < len - taken ? span.len : len - taken;

		memcpy(at + taken, span.at, n);
		taken += n;
		queue_drop(pool, first, n);
	}
	return taken;
}

void
queue_join(struct chunk **first, struct chunk **other)
{
	while (*first)
		first = &(*first)->next;
	*first = *other;
	*other = NULL;
}

bool
queue_gather(struct chunk_pool *pool, struct chunk **first)
{
	size_t len = queue_len(*first);
	struct chunk *whole = chunk_take(pool, len < CHUNK_MOST ? len : CHUNK_MOST);

	if (!whole)
		return false;
	whole->end = (uint32_t)queue_take(pool, first, whole->bytes, whole->size);
	whole->next = *first;
	*first = whole;
	return true;
}

size_t
queue_len(const struct chunk *first)
{
	size_t len = 0;

	for (; first; first = first->next)
		len += first->end - first->start;
	return len;
}

void
queue_free(struct chunk_pool *pool, struct chunk **first)
{
	while (*first) {
		struct chunk *chunk = *first;

		*first = chunk->next;
		chunk_give(pool, chunk);
	}
}
