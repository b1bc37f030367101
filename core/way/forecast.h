/* When a server that drains will be empty: each session that is busy may know how long, at the latest
 * (sy_session.until_ms); the board knows the latest of them, for each seat. */
#ifndef WAY_FORECAST_H
#define WAY_FORECAST_H

#include "way/way.h"

/* After each call into the module. `told`: what the board was told of this session. */
void forecast_tell(const struct seat_run *seat, const struct sy_session *session, uint64_t *told);
/* It leaves the seat. */
void forecast_leave(const struct seat_run *seat, uint64_t *told);

#endif
