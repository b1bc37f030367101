/* A table of things by name, so that no load is quadratic in what it names. Names are borrowed. */
#ifndef CONF_NAMES_H
#define CONF_NAMES_H

#include <stdint.h>

#include "base/arena.h"

struct names;

struct names *names_new(struct arena *arena);
/* NULL when there is none of that name. */
void *names_find(const struct names *names, const char *name);
/* The thing that has the name already, or NULL when it was free and is taken now. */
void *names_add(struct names *names, const char *name, void *thing);
/* All names in the order in which they were added, NULL at the end; for text_nearest. */
const char *const *names_all(const struct names *names);

#endif
