/* A connection outlives the configuration that it was accepted under, and what begins on it is of the
 * current one (DESIGN 3.1). */
#ifndef WAY_RENEW_H
#define WAY_RENEW_H

#include "way/way.h"

/* conn's listener in the current configuration. NULL: it is there already; or the current one knows nothing
 * of the service any more, or means another thing by it. */
const struct listener *renew_listener(const struct conn *conn);
/* Between two exchanges: conn is of the current configuration from here on, if its module can go on with
 * other settings (SY_RENEWS). */
void renew(struct conn *conn);

#endif
