/* What a protocol module keeps count of, carried from its session to the board. A session says what it
 * has of each gauge; told[] is what the board has been told for it, and what leaves with it. */
#ifndef WAY_FIGURES_H
#define WAY_FIGURES_H

#include "way/way.h"

struct figures_held;

/* For each service, once. */
void figures_attach(struct service_run *run);
/* Before the first call into the module. */
void figures_open(const struct service_run *run, struct sy_session *session);
/* After each call into the module. `seat`: the server that it has, or NULL. */
void figures_tell(const struct service_run *run, const struct seat_run *seat,
                  struct sy_session *session, int32_t told[static SY_GAUGES]);
/* It comes to a server, or leaves it. */
void figures_enter(const struct service_run *run, const struct seat_run *seat,
                   const int32_t told[static SY_GAUGES]);
void figures_leave(const struct service_run *run, const struct seat_run *seat,
                   const int32_t told[static SY_GAUGES]);
/* What it has at the servers of its exchanges, after each call; *told: what was carried already, NULL at
 * first. And at its end. */
void figures_hold(const struct service_run *run, struct sy_session *session, struct figures_held **told);
void figures_hold_end(const struct service_run *run, struct figures_held **told);
/* The session ends; it has left its server. */
void figures_end(const struct service_run *run, int32_t told[static SY_GAUGES]);

#endif
