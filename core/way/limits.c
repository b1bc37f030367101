#include "way/limits.h"

#include <stdatomic.h>

#include "share/source.h"

/* All clients of a service together, in the table of sources: no real client has this address. */
static const struct sy_addr limits_everybody;

static enum reason
limits_rate(const struct limited *who, const struct sy_addr *client, uint32_t most,
            enum reason reason)
{
	struct way *way = who->way;

	if (source_look(way->board, who->service->id, client, way->child->now_ms).recent >= most)
		return reason;
	return REASON_NONE;
}

/* A source that is counted keeps its slot until the connection ends. */
static enum reason
limits_source(struct limited *who)
{
	const struct service_settings *settings = &who->service->settings;
	struct way *way = who->way;
	uint64_t now_ms = way->child->now_ms;
	struct source_count count;
	enum reason reason;

	if (settings->max_rate_per_source.per_second) {
		reason = limits_rate(who, who->client, settings->max_rate_per_source.per_second,
		                     REASON_SOURCE_RATE);
		if (reason != REASON_NONE)
			return reason;
	}
	who->slot = source_more(way->board, way->row, who->service->id, who->client, now_ms);
	if (!settings->max_connections_per_source)
		return REASON_NONE;
	count = source_look(way->board, who->service->id, who->client, now_ms);
	return count.active > settings->max_connections_per_source ? REASON_SOURCE_FULL
	                                                           : REASON_NONE;
}

static enum reason
limits_service_rate(const struct limited *who)
{
	struct way *way = who->way;
	enum reason reason;

	reason = limits_rate(who, &limits_everybody, who->service->settings.max_rate.per_second,
	                     REASON_SERVICE_RATE);
	if (reason == REASON_NONE)
		source_less(way->board, way->row,
		            source_more(way->board, way->row, who->service->id,
		                        &limits_everybody, way->child->now_ms));
	return reason;
}

static enum reason
limits_ask(struct limited *who)
{
	const struct service_settings *settings = &who->service->settings;
	enum reason reason = choose_admits(who->service, who->client);

	if (reason != REASON_NONE)
		return reason;
	if (settings->max_connections &&
	    board_active(who->way->board, who->service->cell) > settings->max_connections)
		return REASON_SERVICE_FULL;
	if (settings->max_connections_per_source || settings->max_rate_per_source.per_second) {
		reason = limits_source(who);
		if (reason != REASON_NONE)
			return reason;
	}
	return settings->max_rate.per_second ? limits_service_rate(who) : REASON_NONE;
}

enum reason
limits_admit(struct limited *who)
{
	struct service_run *run = who->service->run;
	enum reason reason;

	who->slot = UINT32_MAX;
	reason = limits_ask(who);
	if (reason != REASON_NONE)
		tally_add(run->tally->refused, 1);
	return reason;
}

/* Counted apart from the service's flows: `group` is made from its id. */
static bool
limits_group(struct way *way, uint64_t group, const struct sy_addr *client, uint32_t most)
{
	if (source_look(way->board, group, client, way->child->now_ms).recent >= most)
		return false;
	source_less(way->board, way->row,
	            source_more(way->board, way->row, group, client, way->child->now_ms));
	return true;
}

bool
limits_packet(struct way *way, const struct service *service, const struct sy_addr *client)
{
	return limits_group(way, ~service->id, client,
	                    service->settings.max_packet_rate_per_source.per_second);
}

bool
limits_unproven(struct way *way, const struct service *service, const struct sy_addr *client,
                uint32_t most)
{
	return limits_group(way, sy_again(service->id), client, most);
}

void
limits_leave(struct way *way, uint32_t *slot)
{
	source_less(way->board, way->row, *slot);
	*slot = UINT32_MAX;
}
