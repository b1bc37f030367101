/* What persistence modules share whose key stands in the exchange for all to see: a field, a host, a
 * path, a session. Short ones are their own key, so that an operator can read them. */
#ifndef PERSISTENCE_SHOWN_H
#define PERSISTENCE_SHOWN_H

#include "api/head.h"
#include "api/persistence.h"

/* The first member of each module's settings. */
struct shown_conf {
	struct sy_msec timeout;
	bool refresh;
};

#define SHOWN_ROWS(conf, preset_) \
	SY_ROW(conf, shown.timeout, "timeout", .max = 28 * SY_DAY, .preset = preset_, \
	       .doc = "How long the server is remembered. 0: not at all, and a scheduler that hashes " \
	              "(source-hash) finds the same server for the same words again."), \
	SY_ROW(conf, shown.refresh, "refresh", .preset = "on", \
	       .doc = "Each exchange starts that time anew.")

struct sy_persist_life shown_life(const void *conf);
/* An empty text is no key. `fold`: letters count as small ones. */
void shown_key(struct sy_span text, bool fold, struct sy_key *out);
const char *shown_print(const void *conf, const struct sy_key *key, char *out, size_t len);

#endif
