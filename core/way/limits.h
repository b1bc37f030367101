/* Who may come in, and how many. Counts are exact over all workers: each counts itself first and
 * looks then, so that two that come at the same moment cannot both take the last place. */
#ifndef WAY_LIMITS_H
#define WAY_LIMITS_H

#include "way/way.h"

/* Once for each connection, when the client is known. REASON_NONE: it may pass. */
enum reason limits_admit(struct conn *conn);
/* At its end. */
void limits_leave(struct conn *conn);

#endif
