/* Persistence: what makes two exchanges belong together. A module names a key; the core keeps the
 * table (on the board, shared by all workers, surviving reload and the death of any process), looks
 * the key up before the pick, and stores it after the connect succeeded. */
#ifndef SY_API_PERSISTENCE_H
#define SY_API_PERSISTENCE_H

#include "api/facts.h"
#include "api/module.h"
#include "api/scheduler.h"

#define SY_KEY_MAX 40

struct sy_key {
	uint8_t len;            /* 0: this exchange has none, the scheduler decides */
	uint8_t bytes[SY_KEY_MAX]; /* longer keys are hashed by the module */
};

/* How long entries live. The core asks once per generation. */
struct sy_persist_life {
	uint64_t timeout_ms;    /* 0: nothing is kept; the key is for schedulers that want one */
	bool refresh;           /* each use starts the time anew */
};

/* There are three ways, and a module may use all of them for one exchange:
 *
 * - a key that the exchange shows (key), kept in the table;
 * - a key that the server's answer shows (learn), stored then, found by key() from the next exchange on;
 * - the server's own name in what the client says (named), which needs no table; the answer carries it
 *   to the client (mark).
 *
 * named() is asked first, then the table by key(), then the scheduler. */
struct sy_persistence {
	uint32_t size; /* sizeof(struct sy_persistence) */
	struct sy_persist_life (*life)(const void *conf);
	void (*key)(const void *conf, const struct sy_facts *facts, struct sy_key *out);
	/* The key as an operator reads it: "192.0.2.0/24". Returns out. */
	const char *(*print)(const void *conf, const struct sy_key *key, char *out, size_t len);
	/* Position of the server that the exchange names, or -1. All servers of the pool are shown, also
	 * those that are not usable (then another one is chosen). Optional. */
	int (*named)(const void *conf, const struct sy_facts *facts, const struct sy_server *server,
	             uint32_t n);
	/* What the answer of the chosen server shall tell the client, in the protocol's form (HTTP: whole
	 * header lines with CRLF). `named`: the exchange had named this server. Returns its length, 0:
	 * nothing. Optional. */
	size_t (*mark)(const void *conf, const struct sy_facts *facts, const struct sy_server *server,
	               bool named, char *out, size_t size);
	/* The key that a server's answer shows (SY_LEARN; HTTP: the head). Optional. */
	void (*learn)(const void *conf, struct sy_span said, struct sy_key *out);
};

#endif
