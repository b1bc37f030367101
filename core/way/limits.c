#include "way/limits.h"

#include <stdatomic.h>

#include "share/source.h"

/* All clients of a service together, in the table of sources: no real client has this address. */
static const struct sy_addr limits_everybody;

static enum reason
limits_rate(struct conn *conn, const struct sy_addr *who, uint32_t most, enum reason reason)
{
	struct way *way = conn->way;

	if (source_look(way->board, conn->service->id, who, way->child->now_ms).recent >= most)
		return reason;
	return REASON_NONE;
}

/* A source that is counted keeps its slot until the connection ends. */
static enum reason
limits_source(struct conn *conn)
{
	const struct service_settings *settings = &conn->service->settings;
	struct way *way = conn->way;
	uint64_t now_ms = way->child->now_ms;
	struct source_count count;
	enum reason reason;

	if (settings->max_rate_per_source.per_second) {
		reason = limits_rate(conn, &conn->client_addr,
		                     settings->max_rate_per_source.per_second,
		                     REASON_SOURCE_RATE);
		if (reason != REASON_NONE)
			return reason;
	}
	conn->source_slot = source_more(way->board, way->row, conn->service->id,
	                                &conn->client_addr, now_ms);
	if (!settings->max_connections_per_source)
		return REASON_NONE;
	count = source_look(way->board, conn->service->id, &conn->client_addr, now_ms);
	return count.active > settings->max_connections_per_source ? REASON_SOURCE_FULL
	                                                           : REASON_NONE;
}

static enum reason
limits_service_rate(struct conn *conn)
{
	struct way *way = conn->way;
	enum reason reason;

	reason = limits_rate(conn, &limits_everybody,
	                     conn->service->settings.max_rate.per_second, REASON_SERVICE_RATE);
	if (reason == REASON_NONE)
		source_less(way->board, way->row,
		            source_more(way->board, way->row, conn->service->id,
		                        &limits_everybody, way->child->now_ms));
	return reason;
}

static enum reason
limits_ask(struct conn *conn)
{
	const struct service_settings *settings = &conn->service->settings;
	enum reason reason = choose_admits(conn->service, &conn->client_addr);

	if (reason != REASON_NONE)
		return reason;
	if (settings->max_connections &&
	    board_active(conn->way->board, conn->service->cell) > settings->max_connections)
		return REASON_SERVICE_FULL;
	if (settings->max_connections_per_source || settings->max_rate_per_source.per_second) {
		reason = limits_source(conn);
		if (reason != REASON_NONE)
			return reason;
	}
	return settings->max_rate.per_second ? limits_service_rate(conn) : REASON_NONE;
}

enum reason
limits_admit(struct conn *conn)
{
	enum reason reason = limits_ask(conn);

	if (reason != REASON_NONE)
		tally_add(service_run(conn)->tally->refused, 1);
	else
		conn->admitted = true;
	return reason;
}

void
limits_leave(struct conn *conn)
{
	source_less(conn->way->board, conn->way->row, conn->source_slot);
	conn->source_slot = UINT32_MAX;
}
