#define _GNU_SOURCE 1
#include "share/persist.h"

#include <string.h>

#include "share/areas.h"
#include "share/seq.h"

enum {
	PERSIST_WAYS = 16,        /* entries in a bucket */
	PERSIST_TRIES = 100,      /* for the owner word, on the way */
	PERSIST_PATIENCE = 10,    /* times as many for the operator's clear */
};

/* server is written last, and is 0 while the rest is: an entry is whole or none at any moment, also
 * when its writer is killed. */
struct persist_entry {
	_Atomic uint64_t server;  /* 0: free */
	_Atomic uint64_t expires_ms;
	uint64_t used_ms;
	uint64_t created_ms;
	uint64_t group;
	struct sy_key key;
	uint8_t zero[7];
};

_Static_assert(sizeof(struct persist_entry) % 8 == 0, "copied in words");

struct persist_bucket {
	_Atomic uint32_t owner;   /* row + 1 of who writes; 0: nobody */
	_Atomic uint32_t seq;     /* odd while it writes */
	uint16_t tag[PERSIST_WAYS]; /* part of the key's hash: spares looking at most entries */
	uint8_t zero[24];
	struct persist_entry entry[PERSIST_WAYS];
};

_Static_assert(sizeof(struct persist_bucket) % 64 == 0, "begins with a cache line");

/* What a row holds: at most one bucket at a time, so repair need not look for it. */
struct persist_head {
	_Atomic uint32_t holding[BOARD_ROWS]; /* bucket + 1 */
	uint8_t zero[64 - BOARD_ROWS * 4 % 64];
};

_Static_assert(sizeof(struct persist_head) % 64 == 0, "the bits begin with a cache line");

struct persist {
	struct persist_head *head;
	_Atomic uint64_t *touched; /* a bit for each bucket that ever held something */
	struct persist_bucket *buckets;
	uint32_t n;
};

static uint32_t
persist_buckets(uint32_t entries)
{
	return entries > PERSIST_WAYS ? entries / PERSIST_WAYS : 1;
}

static size_t
persist_head_size(uint32_t entries)
{
	size_t bits = ((size_t)persist_buckets(entries) + 511) / 512 * 64;

	return sizeof(struct persist_head) + bits;
}

size_t
persist_area_size(uint32_t entries)
{
	return persist_head_size(entries) +
	       persist_buckets(entries) * sizeof(struct persist_bucket);
}

static struct persist
persist_at(void *area, uint32_t entries)
{
	return (struct persist){
		.head = area,
		.touched = (void *)((char *)area + sizeof(struct persist_head)),
		.buckets = (void *)((char *)area + persist_head_size(entries)),
		.n = persist_buckets(entries),
	};
}

static struct persist
persist_of(const struct board *board)
{
	return persist_at(board_area(board, AREA_PERSIST, 0), board->head->size.persist_entries);
}

static uint64_t
persist_hash(const struct board *board, uint64_t group, const struct sy_key *key)
{
	uint8_t bytes[sizeof(group) + SY_KEY_MAX];

	must(key->len <= SY_KEY_MAX);
	memcpy(bytes, &group, sizeof(group));
	memcpy(bytes + sizeof(group), key->bytes, key->len);
	return hash_64(board_key(board), bytes, sizeof(group) + key->len);
}

static uint16_t
persist_tag(uint64_t hash)
{
	return (uint16_t)(hash >> 48);
}

/* The two buckets that a key may be in. */
static uint32_t
persist_first(const struct persist *table, uint64_t hash)
{
	return (uint32_t)hash & (table->n - 1);
}

static uint32_t
persist_second(const struct persist *table, uint64_t hash)
{
	return (uint32_t)(hash >> 24) & (table->n - 1);
}

/* Makes the bucket ours; false when others kept it for too long. */
static bool
persist_take(const struct persist *table, unsigned row, uint32_t bucket, unsigned patience)
{
	_Atomic uint32_t *owner = &table->buckets[bucket].owner;

	must(row < BOARD_ROWS);
	/* Said before it is done: who repairs looks at the owner word, too. */
	atomic_store_explicit(&table->head->holding[row], bucket + 1, memory_order_release);
	for (unsigned tries = 0; tries < patience * PERSIST_TRIES; tries++) {
		uint32_t nobody = 0;

		if (atomic_compare_exchange_strong_explicit(owner, &nobody, row + 1,
		                                            memory_order_acq_rel,
		                                            memory_order_relaxed)) {
			seq_begin(&table->buckets[bucket].seq);
			return true;
		}
		if (tries >= PERSIST_TRIES)
			sched_yield();
	}
	atomic_store_explicit(&table->head->holding[row], 0, memory_order_relaxed);
	return false;
}

static void
persist_leave(const struct persist *table, unsigned row, uint32_t bucket)
{
	seq_end(&table->buckets[bucket].seq);
	atomic_store_explicit(&table->buckets[bucket].owner, 0, memory_order_release);
	atomic_store_explicit(&table->head->holding[row], 0, memory_order_release);
}

void
persist_area_repair(void *area, uint32_t entries, unsigned row)
{
	struct persist table = persist_at(area, entries);
	uint32_t holding;

	must(row < BOARD_ROWS);
	holding = atomic_load_explicit(&table.head->holding[row], memory_order_acquire);
	if (holding > 0 && holding <= table.n &&
	    atomic_load(&table.buckets[holding - 1].owner) == row + 1)
		persist_leave(&table, row, holding - 1);
	atomic_store_explicit(&table.head->holding[row], 0, memory_order_release);
}

static bool
persist_alive(const struct persist_entry *entry, uint64_t now_ms)
{
	return entry->server && entry->expires_ms > now_ms;
}

static bool
persist_is(const struct persist_entry *entry, uint64_t group, const struct sy_key *key)
{
	return entry->group == group && entry->key.len == key->len &&
	       memcmp(entry->key.bytes, key->bytes, key->len) == 0;
}

/* Copies the key's entry; -1 when there is none, else which it is. */
static int
persist_look(const struct persist_bucket *bucket, uint16_t tag, uint64_t group,
             const struct sy_key *key, struct persist_entry *out)
{
	for (unsigned way = 0; way < PERSIST_WAYS; way++) {
		if (__atomic_load_n(&bucket->tag[way], __ATOMIC_RELAXED) != tag)
			continue;
		seq_copy(out, &bucket->entry[way], sizeof(*out));
		if (out->server && persist_is(out, group, key))
			return (int)way;
	}
	return -1;
}

/* The same, whole; -1, too, when the bucket does not come to rest. */
static int
persist_read(const struct persist_bucket *bucket, uint16_t tag, uint64_t group,
             const struct sy_key *key, struct persist_entry *out)
{
	unsigned tries = 0;

	do {
		uint32_t was = seq_look(&bucket->seq);
		int way = persist_look(bucket, tag, group, key, out);

		if (seq_same(&bucket->seq, was))
			return way;
	} while (seq_again(&tries));
	return -1;
}

static uint64_t
persist_end(const struct sy_persist_life *life, uint64_t now_ms)
{
	return life->timeout_ms < UINT64_MAX - now_ms ? now_ms + life->timeout_ms : UINT64_MAX;
}

/* Another process may have looked at the clock before us and come later: time only moves on. */
static void
persist_use(struct persist_entry *entry, const struct sy_persist_life *life, uint64_t now_ms)
{
	if (now_ms < entry->used_ms)
		return;
	entry->used_ms = now_ms;
	atomic_store_explicit(&entry->expires_ms, persist_end(life, now_ms), memory_order_relaxed);
}

uint64_t
persist_find(struct board *board, unsigned row, uint64_t group, const struct sy_key *key,
             const struct sy_persist_life *life, uint64_t now_ms)
{
	struct persist table = persist_of(board);
	uint64_t hash = persist_hash(board, group, key);
	uint32_t at = persist_first(&table, hash);
	struct persist_entry copy, *entry;
	int way = persist_read(&table.buckets[at], persist_tag(hash), group, key, &copy);

	if (way < 0) {
		at = persist_second(&table, hash);
		way = persist_read(&table.buckets[at], persist_tag(hash), group, key, &copy);
	}
	if (way < 0 || copy.expires_ms <= now_ms)
		return 0;
	if (!life->refresh || !persist_take(&table, row, at, 1))
		return copy.server;
	entry = &table.buckets[at].entry[way];
	/* It may have been replaced since: then it is not ours to refresh. */
	if (entry->server == copy.server && persist_is(entry, group, key))
		persist_use(entry, life, now_ms);
	persist_leave(&table, row, at);
	return copy.server;
}

/* The key's own entry, a free or expired one, or the one that was used longest ago. */
static unsigned
persist_choose(const struct persist_bucket *bucket, uint16_t tag, uint64_t group,
               const struct sy_key *key, uint64_t now_ms)
{
	unsigned best = 0;
	uint64_t oldest = UINT64_MAX;

	for (unsigned way = 0; way < PERSIST_WAYS; way++) {
		const struct persist_entry *entry = &bucket->entry[way];
		uint64_t used = persist_alive(entry, now_ms) ? entry->used_ms + 1 : 0;

		if (entry->server && bucket->tag[way] == tag && persist_is(entry, group, key))
			return way;
		if (used < oldest) {
			best = way;
			oldest = used;
		}
	}
	return best;
}

/* Lower is better for one more: how many live there, or how old the oldest is. */
static uint64_t
persist_weight(const struct persist_bucket *bucket, uint64_t now_ms)
{
	uint64_t alive = 0, oldest = UINT64_MAX - PERSIST_WAYS;

	for (unsigned way = 0; way < PERSIST_WAYS; way++) {
		const struct persist_entry *entry = &bucket->entry[way];

		if (!persist_alive(entry, now_ms))
			continue;
		alive++;
		oldest = entry->used_ms < oldest ? entry->used_ms : oldest;
	}
	return alive < PERSIST_WAYS ? alive : PERSIST_WAYS + oldest;
}

/* The bucket where the key is; else the better of its two. Nothing is held meanwhile: if another
 * process comes between, the key may for a while have an entry in both, and the first counts. */
static uint32_t
persist_where(const struct persist *table, uint64_t hash, uint64_t group, const struct sy_key *key,
              uint64_t now_ms)
{
	uint32_t first = persist_first(table, hash), second = persist_second(table, hash);
	const struct persist_bucket *one = &table->buckets[first], *two = &table->buckets[second];
	struct persist_entry copy;

	if (first == second || persist_look(one, persist_tag(hash), group, key, &copy) >= 0)
		return first;
	if (persist_look(two, persist_tag(hash), group, key, &copy) >= 0)
		return second;
	return persist_weight(two, now_ms) < persist_weight(one, now_ms) ? second : first;
}

bool
persist_store(struct board *board, unsigned row, uint64_t group, const struct sy_key *key,
              uint64_t server, const struct sy_persist_life *life, uint64_t now_ms)
{
	struct persist table = persist_of(board);
	uint64_t hash = persist_hash(board, group, key);
	uint32_t at = persist_where(&table, hash, group, key, now_ms);
	struct persist_bucket *bucket = &table.buckets[at];
	struct persist_entry *entry;
	unsigned way;
	bool same;

	must(server != 0);
	if (!persist_take(&table, row, at, 1))
		return false;
	if (!(atomic_load_explicit(&table.touched[at / 64], memory_order_relaxed) >> at % 64 & 1))
		atomic_fetch_or(&table.touched[at / 64], UINT64_C(1) << at % 64);
	way = persist_choose(bucket, persist_tag(hash), group, key, now_ms);
	entry = &bucket->entry[way];
	same = entry->server == server && entry->expires_ms > now_ms &&
	       bucket->tag[way] == persist_tag(hash) && persist_is(entry, group, key);
	if (!same) {
		atomic_store_explicit(&entry->server, 0, memory_order_release);
		atomic_signal_fence(memory_order_seq_cst);
		__atomic_store_n(&bucket->tag[way], persist_tag(hash), __ATOMIC_RELAXED);
		entry->group = group;
		memset(&entry->key, 0, sizeof(entry->key));
		entry->key.len = key->len;
		memcpy(entry->key.bytes, key->bytes, key->len);
		entry->created_ms = now_ms;
		entry->used_ms = 0;
	}
	persist_use(entry, life, now_ms);
	atomic_store_explicit(&entry->server, server, memory_order_release);
	persist_leave(&table, row, at);
	return true;
}

static bool
persist_touched(const struct persist *table, uint32_t bucket)
{
	return atomic_load_explicit(&table->touched[bucket / 64], memory_order_acquire) >>
	       bucket % 64 & 1;
}

/* A whole copy of a bucket's entries; false when it does not come to rest. */
static bool
persist_copy(const struct persist_bucket *bucket, struct persist_entry out[PERSIST_WAYS])
{
	unsigned tries = 0;

	do {
		uint32_t was = seq_look(&bucket->seq);

		seq_copy(out, bucket->entry, sizeof(bucket->entry));
		if (seq_same(&bucket->seq, was))
			return true;
	} while (seq_again(&tries));
	return false;
}

void
persist_each(struct board *board, uint64_t now_ms,
             bool (*each)(void *context, const struct persist_entry_view *entry), void *context)
{
	struct persist table = persist_of(board);
	struct persist_entry copy[PERSIST_WAYS];

	for (uint32_t at = 0; at < table.n; at++) {
		if (!persist_touched(&table, at) || !persist_copy(&table.buckets[at], copy))
			continue;
		for (unsigned way = 0; way < PERSIST_WAYS; way++) {
			const struct persist_entry *entry = &copy[way];
			struct persist_entry_view view = {
				.group = entry->group,
				.server = entry->server,
				.created_ms = entry->created_ms,
				.used_ms = entry->used_ms,
				.expires_ms = entry->expires_ms,
				.key = entry->key,
			};

			if (persist_alive(entry, now_ms) && !each(context, &view))
				return;
		}
	}
}

void
persist_usage(struct board *board, uint64_t now_ms, size_t *used, size_t *capacity)
{
	struct persist table = persist_of(board);

	/* Each entry for itself, without its bucket: a figure for people. */
	*used = 0;
	for (uint32_t at = 0; at < table.n; at++)
		for (unsigned way = 0; persist_touched(&table, at) && way < PERSIST_WAYS; way++)
			*used += persist_alive(&table.buckets[at].entry[way], now_ms);
	*capacity = (size_t)table.n * PERSIST_WAYS;
}

static bool
persist_matches(const struct persist_entry *entry, uint64_t group, uint64_t server,
                const struct sy_key *key)
{
	return entry->server && (!group || entry->group == group) &&
	       (!server || entry->server == server) &&
	       (!key || persist_is(entry, entry->group, key));
}

static size_t
persist_clear_bucket(const struct persist *table, unsigned row, uint32_t at, uint64_t group,
                     uint64_t server, const struct sy_key *key)
{
	struct persist_bucket *bucket = &table->buckets[at];
	size_t cleared = 0;
	bool any = false;

	for (unsigned way = 0; way < PERSIST_WAYS && !any; way++)
		any = persist_matches(&bucket->entry[way], group, server, key);
	if (!any || !persist_take(table, row, at, PERSIST_PATIENCE))
		return 0;
	for (unsigned way = 0; way < PERSIST_WAYS; way++) {
		if (!persist_matches(&bucket->entry[way], group, server, key))
			continue;
		atomic_store_explicit(&bucket->entry[way].server, 0, memory_order_release);
		cleared++;
	}
	persist_leave(table, row, at);
	return cleared;
}

size_t
persist_clear(struct board *board, unsigned row, uint64_t group, uint64_t server,
              const struct sy_key *key)
{
	struct persist table = persist_of(board);
	size_t cleared = 0;

	for (uint32_t at = 0; at < table.n; at++)
		if (persist_touched(&table, at))
			cleared += persist_clear_bucket(&table, row, at, group, server, key);
	return cleared;
}
