/* The client as proxies in front of us tell it, in X-Forwarded-For or Forwarded (RFC 7239). */
#ifndef PERSISTENCE_SOURCE_FORWARDED_H
#define PERSISTENCE_SOURCE_FORWARDED_H

#include <stdbool.h>

#include "api/addr.h"
#include "api/head.h"

/* Each proxy adds whom it heard from on the right. So from the right, those that are trusted are passed
 * over, and the first that is not is the client: what stands left of it, the client may have made up.
 * When all are trusted the leftmost is the client; when the rightmost cannot be read, nobody is.
 * False: nobody is told.
 * `standard`: Forwarded, else X-Forwarded-For. */
bool forwarded_client(struct sy_span head, bool standard, const struct sy_nets *trusted,
                      struct sy_addr *out);

#endif
