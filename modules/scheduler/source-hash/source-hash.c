/* Source hash: a client goes to the same server as long as that is there, and nothing is stored
 * about it. Maglev hashing (Eisenbud and others, NSDI 2016): every server has an order of its own
 * in which it wants the slots of a table, and they take turns until all slots are given. When one
 * of n servers goes, its clients are spread over the others, and few of the rest move.
 *
 * The turns: server i takes its k-th at the time (k + phase) / weight, with a phase from its id.
 * So each gets slots in proportion to its weight, and who comes before whom does not depend on who
 * else is there. A heap finds the next. */
#include "api/scheduler.h"

struct hash_conf {
	uint32_t table_size;
};

static const struct sy_row hash_rows[] = {
	SY_ROW(struct hash_conf, table_size, "table-size", .min = 101, .max = 1000003,
	       .preset = "16381",
	       .doc = "Slots of the table, a prime; a hundred for each server keep the shares "
	              "even. Another size sends most clients to another server."),
	SY_ROW_END
};

/* One server while the table is being made. */
struct hash_turn {
	double time, step;        /* of its next turn; between two */
	uint32_t slot, skip;      /* that it wants next; to the one after */
	uint32_t server;
};

enum { HASH_TRIES = 64 };

static int
hash_check(void *conf, struct sy_err *err)
{
	uint32_t size = ((struct hash_conf *)conf)->table_size;

	for (uint32_t d = 2; d * d <= size; d++)
		if (size % d == 0)
			return sy_fail(err, "table-size %u is not a prime (%u times %u): 1021, "
		                       "4093, 16381, 65537 and 262147 are", size, d, size / d);
	return 0;
}

/* Positions have 16 bits; a set that is larger than that goes without its end. */
static uint32_t
hash_servers(const struct sy_set *set)
{
	return set->n < UINT16_MAX ? set->n : UINT16_MAX;
}

/* The table: what build() needs, and behind it the position of a server for each slot. */
static const uint16_t *
hash_slots(const struct sy_set *set, const void *table)
{
	return (const void *)((const struct hash_turn *)table + hash_servers(set));
}

static size_t
hash_table_size(const void *conf, const struct sy_set *set)
{
	return hash_servers(set) * sizeof(struct hash_turn) +
	       ((const struct hash_conf *)conf)->table_size * sizeof(uint16_t);
}

/* Lets the turn at the top sink to where no earlier one is below it. */
static void
hash_sink(struct hash_turn *heap, uint32_t n, uint32_t at)
{
	struct hash_turn turn = heap[at];

	for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && heap[child + 1].time < heap[child].time)
			child++;
		if (turn.time <= heap[child].time)
			break;
		heap[at] = heap[child];
	}
	heap[at] = turn;
}

static struct hash_turn
hash_first_turn(const struct sy_server *server, uint32_t i, uint32_t size)
{
	uint64_t one = sy_again(server->id), two = sy_again(one), three = sy_again(two);
	double step = 1.0 / server->weight;

	return (struct hash_turn){
		.time = (double)(one >> 11) * 0x1p-53 * step,
		.step = step,
		.slot = (uint32_t)(two % size),
		.skip = (uint32_t)(three % (size - 1)) + 1,
		.server = i,
	};
}

static void
hash_build(const void *conf, const struct sy_set *set, void *table)
{
	uint32_t size = ((const struct hash_conf *)conf)->table_size, n = hash_servers(set);
	struct hash_turn *turn = table;
	uint16_t *slots = (void *)(turn + n);

	for (uint32_t i = 0; i < n; i++)
		turn[i] = hash_first_turn(&set->server[i], i, size);
	for (uint32_t i = n / 2; i-- > 0;)
		hash_sink(turn, n, i);
	for (uint32_t slot = 0; slot < size; slot++)
		slots[slot] = UINT16_MAX;
	for (uint32_t given = 0; n && given < size; given++) {
		while (slots[turn->slot] != UINT16_MAX) {
			turn->slot += turn->skip;
			turn->slot -= turn->slot < size ? 0 : size;
		}
		slots[turn->slot] = (uint16_t)turn->server;
		turn->time += turn->step;
		hash_sink(turn, n, 0);
	}
}

/* In slow start a server gets back its share of its clients, always the same ones first. */
static bool
hash_takes(const struct sy_server *server, uint64_t key)
{
	return !server->busy && sy_again(key ^ server->id) % SY_FULL_SHARE < server->share;
}

static int
hash_pick(const void *conf, const struct sy_set *set, const void *table,
          const struct sy_draw *draw)
{
	uint32_t size = ((const struct hash_conf *)conf)->table_size;
	uint64_t key = draw->key;
	const uint16_t *slots;

	if (set->n == 0)
		return -1;
	slots = hash_slots(set, table);
	/* The client's slot; after that other slots, in an order that is the client's own. */
	for (unsigned tries = 0; tries < HASH_TRIES; tries++) {
		uint32_t i = slots[key % size];

		if (hash_takes(&set->server[i], draw->key))
			return (int)i;
		key = sy_again(key);
	}
	/* Nearly all are busy. */
	return sy_pick_by_weight(set, draw->key, -1);
}

static void
hash_words(const void *conf, const struct sy_set *set, const void *table,
           const struct sy_draw *draw, uint32_t i, char *out, size_t len)
{
	uint32_t size = ((const struct hash_conf *)conf)->table_size, own = 0;
	const uint16_t *slots = hash_slots(set, table);
	char weight[64];

	for (uint32_t slot = 0; slot < size; slot++)
		own += slots[slot] == i;
	sy_weight_words(&set->server[i], weight, sizeof(weight));
	snprintf(out, len, "%u of %u slots, %s%s", own, size, weight,
	         slots[draw->key % size] == i ? ": the client's slot is one of them" : "");
}

static const struct sy_scheduler hash = {
	.size = sizeof(struct sy_scheduler),
	.wants = SY_WANT_KEY,
	.table_size = hash_table_size,
	.build = hash_build,
	.pick = hash_pick,
	.words = hash_words,
};

SY_MODULE(SY_SCHEDULER, "source-hash",
	.version = "1.0",
	.summary = "A client keeps its server without any table of clients (Maglev hashing).",
	.conf_size = sizeof(struct hash_conf),
	.rows = hash_rows,
	.check = hash_check,
	.ops = &hash,
);
