/* Who may come in, and how many. Counts are exact over all workers: each counts itself first and
 * looks then, so that two that come at the same moment cannot both take the last place. */
#ifndef WAY_LIMITS_H
#define WAY_LIMITS_H

#include "way/way.h"

struct limited {
	struct way *way;
	const struct service *service;
	const struct sy_addr *client;
	uint32_t slot;            /* out: to be given back with limits_leave(), refused or not */
};

/* Once for each connection or flow, when the client is known, and after it was counted as active.
 * REASON_NONE: it may pass. */
enum reason limits_admit(struct limited *who);
/* At its end. */
void limits_leave(struct way *way, uint32_t *slot);
/* One datagram more of this client, for services with max-packet-rate-per-source. */
bool limits_packet(struct way *way, const struct service *service, const struct sy_addr *client);
/* One more of those that `most` a second may come of one client (sy_packet_verdict.most_per_second). */
bool limits_unproven(struct way *way, const struct service *service, const struct sy_addr *client,
                     uint32_t most);

#endif
