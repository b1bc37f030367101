#include "base/table.h"

#include <stdlib.h>

#include "base/must.h"

enum {
	TABLE_BUCKETS = 256,      /* at the beginning */
	TABLE_BUCKETS_MOST = 1 << 18,
};

void
table_init(struct table *table)
{
	*table = (struct table){ .n_buckets = TABLE_BUCKETS };
	table->bucket = must_alloc(TABLE_BUCKETS * sizeof(*table->bucket));
}

void
table_free(struct table *table)
{
	must(table->n == 0);
	free(table->bucket);
}

static void
table_chain(struct table *table, struct table_entry *entry)
{
	struct table_entry **at = &table->bucket[entry->hash & (table->n_buckets - 1)];

	entry->next = *at;
	*at = entry;
}

static void
table_grow(struct table *table)
{
	uint32_t n = table->n_buckets;
	struct table_entry **old = table->bucket, **bucket;

	if (table->n <= n || n >= TABLE_BUCKETS_MOST)
		return;
	bucket = calloc(2 * (size_t)n, sizeof(*bucket));
	if (!bucket)
		return;
	table->bucket = bucket;
	table->n_buckets = 2 * n;
	for (uint32_t i = 0; i < n; i++) {
		for (struct table_entry *entry = old[i], *next; entry; entry = next) {
			next = entry->next;
			table_chain(table, entry);
		}
	}
	free(old);
}

void
table_put(struct table *table, struct table_entry *entry, uint64_t hash)
{
	entry->hash = hash;
	table_chain(table, entry);
	table->n++;
	table_grow(table);
}

void
table_remove(struct table *table, struct table_entry *entry)
{
	struct table_entry **at = &table->bucket[entry->hash & (table->n_buckets - 1)];

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	table->n--;
}
