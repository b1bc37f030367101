/* A scheduler picks one of the servers offered. It is a pure function: the same inputs give the
 * same answer in every process, which is what lets `steelyardctl explain` run the real pick.
 *
 * Scenario: three servers, one goes down. The core calls build() with the two that are left (in
 * configuration order) and keeps the table until the set or a weight changes again. For each
 * exchange it fills loads (if wanted) and the draw, and calls pick(). If the connect fails it sets
 * busy on that server and calls pick() again with the same draw. */
#ifndef SY_API_SCHEDULER_H
#define SY_API_SCHEDULER_H

#include "api/addr.h"
#include "api/module.h"

/* What a scheduler asks the core to fill in before pick(). */
enum sy_want {
	SY_WANT_LOAD = 1,     /* sy_server.load: exact sum over all workers, at this moment */
	SY_WANT_RESPONSE = 2, /* sy_server.response_us */
	SY_WANT_KEY = 4,      /* sy_draw.key from the client's address, or the persistence key */
};

#define SY_FULL_SHARE 256

struct sy_server {
	uint64_t id;           /* hash of pool and name: the same in all processes and generations */
	const char *name;
	uint32_t weight;       /* 1..65535 as configured or wished for; servers of weight 0 are not offered */
	uint32_t share;        /* slow start: 1..SY_FULL_SHARE; multiply the weight by share/SY_FULL_SHARE */
	uint32_t load;         /* in the unit of the protocol: connections, requests, allocations */
	uint32_t response_us;  /* smoothed time to connect or to the first byte; 0: not known yet */
	bool busy;             /* tried already for this exchange, or at its limit: must not be picked */
};

struct sy_set {
	struct sy_server *server;
	uint32_t n;
};

struct sy_draw {
	uint64_t key;      /* hash of what identifies the client; stable over processes and restarts */
	uint64_t random;   /* uniform */
	uint64_t sequence; /* 0, 1, 2, ...: counts picks of this service in this process */
};

struct sy_scheduler {
	uint32_t size;   /* sizeof(struct sy_scheduler) */
	uint32_t wants;  /* enum sy_want */
	/* Bytes that build() needs for this set. NULL: no table. */
	size_t (*table_size)(const void *conf, const struct sy_set *set);
	/* Fills the table; called when membership or a weight changes, not per exchange. Weights are
	 * final here; share, load and busy are not. */
	void (*build)(const void *conf, const struct sy_set *set, void *table);
	/* Position in set->server, or -1 when none is usable (all busy). */
	int (*pick)(const void *conf, const struct sy_set *set, const void *table,
	            const struct sy_draw *draw);
	/* For `explain`: a few words on server i, e.g. "12 connections / weight 100". Optional. */
	void (*words)(const void *conf, const struct sy_set *set, const void *table,
	              const struct sy_draw *draw, uint32_t i, char *out, size_t len);
};

/* Weight with slow start taken into account, times SY_FULL_SHARE. */
static inline uint64_t
sy_effective_weight(const struct sy_server *server)
{
	return (uint64_t)server->weight * server->share;
}

/* Another number from a number: for a second draw. The finalizer of SplitMix64 (Steele, Lea, Flood
 * 2014). */
static inline uint64_t
sy_again(uint64_t number)
{
	number += UINT64_C(0x9e3779b97f4a7c15);
	number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
	return number ^ number >> 31;
}

/* One of the servers that are not busy, drawn in proportion to effective weight; -1 when there is
 * none. `except` is left out as if it were busy (-1: nobody). */
static inline int
sy_pick_by_weight(const struct sy_set *set, uint64_t random, int except)
{
	uint64_t all = 0;

	for (uint32_t i = 0; i < set->n; i++)
		if (!set->server[i].busy && (int)i != except)
			all += sy_effective_weight(&set->server[i]);
	if (!all)
		return -1;
	random %= all;
	for (uint32_t i = 0;; i++) {
		uint64_t weight = sy_effective_weight(&set->server[i]);

		if (set->server[i].busy || (int)i == except)
			continue;
		if (random < weight)
			return (int)i;
		random -= weight;
	}
}

/* Does a have less to do than b for its effective weight, if each got one more? Equal: neither. */
static inline bool
sy_less_loaded(const struct sy_server *a, const struct sy_server *b)
{
	return (a->load + UINT64_C(1)) * sy_effective_weight(b) <
	       (b->load + UINT64_C(1)) * sy_effective_weight(a);
}

/* "weight 100", "weight 100 (40 % in slow start)": how words() begin. Returns what snprintf() does. */
static inline int
sy_weight_words(const struct sy_server *server, char *out, size_t len)
{
	if (server->share == SY_FULL_SHARE)
		return snprintf(out, len, "weight %u", server->weight);
	return snprintf(out, len, "weight %u (%u %% in slow start)", server->weight,
	                server->share * 100 / SY_FULL_SHARE);
}

#endif
