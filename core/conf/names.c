#include "conf/names.h"

#include <string.h>

#include "base/hash.h"

struct names {
	struct arena *arena;
	const char **all;   /* n names and a NULL */
	void **things;
	uint32_t *slots;    /* position + 1; a power of two of them, at most half of them taken */
	uint32_t n, n_slots;
};

static uint32_t
names_slot(const struct names *names, const char *name)
{
	uint32_t slot = (uint32_t)hash_64(&(struct hash_key){ 0, 0 }, name, strlen(name));

	for (;; slot++) {
		slot &= names->n_slots - 1;
		if (names->slots[slot] == 0 ||
		    strcmp(names->all[names->slots[slot] - 1], name) == 0)
			return slot;
	}
}

/* What is outgrown stays in the arena: all of it together is less than what is in use. */
static void
names_grow(struct names *names)
{
	const char **all = names->all;
	void **things = names->things;

	names->n_slots = names->n_slots ? names->n_slots * 2 : 4;
	names->slots = arena_array(names->arena, uint32_t, names->n_slots);
	names->all = arena_array(names->arena, const char *, names->n_slots / 2 + 1);
	names->things = arena_array(names->arena, void *, names->n_slots / 2 + 1);
	for (uint32_t i = 0; i < names->n; i++) {
		names->all[i] = all[i];
		names->things[i] = things[i];
		names->slots[names_slot(names, all[i])] = i + 1;
	}
}

struct names *
names_new(struct arena *arena)
{
	struct names *names = arena_new_of(arena, struct names);

	names->arena = arena;
	names_grow(names);
	return names;
}

void *
names_find(const struct names *names, const char *name)
{
	uint32_t slot = names_slot(names, name);

	return names->slots[slot] ? names->things[names->slots[slot] - 1] : NULL;
}

void *
names_add(struct names *names, const char *name, void *thing)
{
	uint32_t slot = names_slot(names, name);

	if (names->slots[slot])
		return names->things[names->slots[slot] - 1];
	if (names->n == names->n_slots / 2) {
		names_grow(names);
		slot = names_slot(names, name);
	}
	names->all[names->n] = name;
	names->things[names->n] = thing;
	names->slots[slot] = ++names->n;
	return NULL;
}

const char *const *
names_all(const struct names *names)
{
	return names->all;
}
