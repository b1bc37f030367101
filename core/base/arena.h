/* An arena: memory that lives and dies together (a process, a generation, the use of a module).
 * Allocation moves a pointer; nothing is freed alone. Memory is zeroed and aligned to 16 bytes. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "api/span.h"

struct arena;

struct arena *arena_new(void);
/* Frees the arena and all that was allocated from it. NULL is fine. */
void arena_free(struct arena *arena);
/* Never NULL: dies when memory is out (see must_alloc). */
void *arena_alloc(struct arena *arena, size_t size);
char *arena_text(struct arena *arena, const char *text);
char *arena_text_n(struct arena *arena, const char *text, size_t len); /* adds a NUL */
struct sy_span arena_span(struct arena *arena, struct sy_span bytes);
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *arena, const char *format, ...);
/* Bytes taken from the system. */
size_t arena_size(const struct arena *arena);

#define arena_new_of(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define arena_array(arena, type, n) ((type *)arena_alloc((arena), sizeof(type) * (n)))

#endif
