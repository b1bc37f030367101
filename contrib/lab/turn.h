/* turn.h: what the lab's A/V Edges and their clients share, besides the messages (modules/monitor/turn). */
#ifndef LAB_TURN_H
#define LAB_TURN_H

#include "addr.h"
#include "modules/monitor/turn/build.h"

/* The one user that there is. */
extern const char turn_user[], turn_password[];

struct sy_addr turn_from(const struct lab_addr *addr);

struct lab_addr turn_to(const struct sy_addr *addr);

#endif
