#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/poison.h"

#define ARENA_ALIGN 16
#define ARENA_FIRST 4096
#define ARENA_MOST 65536

struct arena_chunk {
	struct arena_chunk *next;
	size_t size; /* this header included */
} __attribute__((aligned(ARENA_ALIGN)));

/* Lives in its own first chunk. */
struct arena {
	struct arena_chunk *chunks;
	char *at, *end;  /* what is left of the current chunk */
	size_t next;     /* size of the next ordinary chunk */
	size_t taken;
};

static size_t
arena_round(size_t size)
{
	return (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

struct arena *
arena_new(void)
{
	struct arena_chunk *chunk = must_alloc(ARENA_FIRST);
	struct arena *arena = (struct arena *)(void *)(chunk + 1);

	chunk->size = ARENA_FIRST;
	arena->chunks = chunk;
	arena->at = (char *)(chunk + 1) + arena_round(sizeof(*arena));
	arena->end = (char *)chunk + ARENA_FIRST;
	arena->next = ARENA_FIRST * 2;
	arena->taken = ARENA_FIRST;
	poison(arena->at, (size_t)(arena->end - arena->at));
	return arena;
}

void
arena_free(struct arena *arena)
{
	struct arena_chunk *chunk, *next;

	if (!arena)
		return;
	for (chunk = arena->chunks; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
}

static char *
arena_chunk(struct arena *arena, size_t size)
{
	struct arena_chunk *chunk = must_alloc(size);

	chunk->size = size;
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	arena->taken += size;
	poison(chunk + 1, size - sizeof(*chunk));
	return (char *)(chunk + 1);
}

void *
arena_alloc(struct arena *arena, size_t size)
{
	size_t need;
	char *block;

	must(size <= PTRDIFF_MAX);
	need = arena_round((size ? size : 1) + POISON_GAP);
	if (need <= (size_t)(arena->end - arena->at)) {
		block = arena->at;
		arena->at += need;
	} else if (need > arena->next / 4) {
		/* A block of its own: the rest of the current chunk stays in use. */
		block = arena_chunk(arena, need + sizeof(struct arena_chunk));
	} else {
		block = arena_chunk(arena, arena->next);
		arena->at = block + need;
		arena->end = block + arena->next - sizeof(struct arena_chunk);
		if (arena->next < ARENA_MOST)
			arena->next *= 2;
	}
	unpoison(block, size);
	return block;
}

char *
arena_text(struct arena *arena, const char *text)
{
	return text ? arena_text_n(arena, text, strlen(text)) : NULL;
}

char *
arena_text_n(struct arena *arena, const char *text, size_t len)
{
	char *copy;

	must(len < PTRDIFF_MAX);
	copy = arena_alloc(arena, len + 1);
	if (len > 0)
		memcpy(copy, text, len);
	return copy;
}

struct sy_span
arena_span(struct arena *arena, struct sy_span bytes)
{
	return sy_span(arena_text_n(arena, (const char *)bytes.at, bytes.len), bytes.len);
}

char *
arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args, again;
	char *out;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	must(len >= 0);
	out = arena_alloc(arena, (size_t)len + 1);
	vsnprintf(out, (size_t)len + 1, format, again);
	va_end(again);
	va_end(args);
	return out;
}

size_t
arena_size(const struct arena *arena)
{
	return arena->taken;
}
