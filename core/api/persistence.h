/* Persistence: what makes two exchanges belong together. A module names a key; the core keeps the
 * table (on the board, shared by all workers, surviving reload and the death of any process), looks
 * the key up before the pick, and stores it after the connect succeeded. */
#ifndef SY_API_PERSISTENCE_H
#define SY_API_PERSISTENCE_H

#include "api/facts.h"
#include "api/module.h"

#define SY_KEY_MAX 40

struct sy_key {
	uint8_t len;            /* 0: this exchange has none, the scheduler decides */
	uint8_t bytes[SY_KEY_MAX]; /* longer keys are hashed by the module */
};

/* How long entries live. The core asks once per generation. */
struct sy_persist_life {
	uint64_t timeout_ms;
	bool refresh;           /* each use starts the time anew */
};

struct sy_persistence {
	uint32_t size; /* sizeof(struct sy_persistence) */
	struct sy_persist_life (*life)(const void *conf);
	void (*key)(const void *conf, const struct sy_facts *facts, struct sy_key *out);
	/* The key as an operator reads it: "192.0.2.0/24". Returns out. */
	const char *(*print)(const void *conf, const struct sy_key *key, char *out, size_t len);
};

#endif
