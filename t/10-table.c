/* The hash table of base: what is put is found, by its hash and no other; also when the table has grown,
 * and when many have the same hash. */
#include "base/table.h"
#include "t/tap.h"

enum { THINGS = 20000, SAME = 50 };

struct thing {
	uint64_t number;
	struct table_entry entry;
};

static struct thing things[THINGS];

/* Some have a hash in common. */
static uint64_t
hash_of(uint64_t number)
{
	return number % SAME ? number * UINT64_C(0x9e3779b97f4a7c15) : 4711;
}

static unsigned
count(const struct table *table, uint64_t number)
{
	unsigned n = 0;

	table_each(entry, table, hash_of(number))
		n += container_of(entry, struct thing, entry)->number == number;
	return n;
}

static unsigned
found(const struct table *table, unsigned every)
{
	unsigned n = 0;

	for (unsigned i = 0; i < THINGS; i += every)
		n += count(table, i);
	return n;
}

int
main(void)
{
	struct table table;
	unsigned same = 0;

	table_init(&table);
	is_int(count(&table, 1), 0, "there is nothing in an empty table");
	for (unsigned i = 0; i < THINGS; i++) {
		things[i].number = i;
		table_put(&table, &things[i].entry, hash_of(i));
	}
	is_int(table.n, THINGS, "it knows how many it has");
	ok(table.n_buckets >= THINGS, "and has grown: %u buckets", table.n_buckets);
	is_int(found(&table, 1), THINGS, "each is found once");
	table_each(entry, &table, 4711)
		same++;
	is_int(same, THINGS / SAME, "all that have the same hash are found together");
	for (unsigned i = 0; i < THINGS; i += 2)
		table_remove(&table, &things[i].entry);
	is_int(found(&table, 2), 0, "what was removed is not found");
	is_int(found(&table, 1), THINGS / 2, "the rest is");
	for (unsigned i = 1; i < THINGS; i += 2)
		table_remove(&table, &things[i].entry);
	is_int(table.n, 0, "it is empty");
	table_free(&table);
	return done_testing();
}
