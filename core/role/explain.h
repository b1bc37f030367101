/* Why this server for this client: the real pick, with a note on each server. */
#ifndef ROLE_EXPLAIN_H
#define ROLE_EXPLAIN_H

#include "conf/generation.h"
#include "role/console.h"

/* api_explain.c. The pool by name among those of the service (NULL: its own); NULL: it has none such. */
const struct target *explain_target(const struct service *service, const char *pool);
json_t *explain_pick(struct console *console, const struct service *service,
                     const struct target *target, const struct sy_addr *client);

/* explain_candidate.c: the same on a configuration that is not in use, as the loader made it. `ask`:
 *	{ service, client, pool, services: [...], persistence: [...], connections: n }
 * with the lists of /v1/services and /v1/persistence of the daemon that runs, and how many connections
 * /v1/connections has of the client: health, slow start, wishes, weights, what is open and who is kept where
 * come from there. NULL with err. */
json_t *explain_candidate(const struct loaded *loaded, const json_t *ask, struct sy_err *err);

#endif
