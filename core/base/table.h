/* A hash table of things that belong to somebody else: each has an entry, found by a hash that the user
 * makes (keyed, where strangers choose what is hashed) and by the user's own comparison:
 *
 *	table_each(entry, &table, hash)
 *		if (is_it(container_of(entry, struct thing, entry), ...))
 *			...
 *
 * It grows with what is in it; without memory for that, its chains do. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdint.h>

#include "base/list.h"

struct table_entry {
	struct table_entry *next;
	uint64_t hash;
};

struct table {
	struct table_entry **bucket;
	uint32_t n_buckets, n;    /* a power of two; entries */
};

void table_init(struct table *table);
/* There is nothing in it any more. */
void table_free(struct table *table);
void table_put(struct table *table, struct table_entry *entry, uint64_t hash);
/* It is in the table. */
void table_remove(struct table *table, struct table_entry *entry);

static inline struct table_entry *
table_next(struct table_entry *entry, uint64_t hash)
{
	while (entry && entry->hash != hash)
		entry = entry->next;
	return entry;
}

/* All entries of that hash; the table must not change meanwhile. */
#define table_each(var, table, of) \
	for (struct table_entry *var = \
		table_next((table)->bucket[(of) & ((table)->n_buckets - 1)], (of)); \
	     var; var = table_next(var->next, (of)))

#endif
