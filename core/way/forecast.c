#include "way/forecast.h"

#include <stdatomic.h>

#include "way/flow.h"
#include "way/talk.h"

static _Atomic uint64_t *
forecast_word(const struct seat_run *seat)
{
	struct way *way = ((struct service_run *)seat->service->run)->way;

	return &board_figures(way->board, way->row, seat->cell)->until_ms;
}

/* The one that was the latest is not any more. */
static uint64_t
forecast_look(const struct seat_run *seat)
{
	uint64_t latest = 0;

	list_each(link, &seat->conns) {
		const struct conn *conn = container_of(link, struct conn, of_seat);

		if (conn->talk && conn->talk->until_told > latest)
			latest = conn->talk->until_told;
	}
	list_each(link, &seat->flows) {
		const struct flow *flow = container_of(link, struct flow, of_seat);

		if (flow->talk && flow->talk->until_told > latest)
			latest = flow->talk->until_told;
	}
	return latest;
}

static void
forecast_set(const struct seat_run *seat, uint64_t was, uint64_t now)
{
	_Atomic uint64_t *word = forecast_word(seat);
	uint64_t latest = atomic_load_explicit(word, memory_order_relaxed);

	if (now >= latest)
		latest = now;
	else if (was == latest)
		latest = forecast_look(seat);
	else
		return;
	atomic_store_explicit(word, latest, memory_order_relaxed);
}

void
forecast_tell(const struct seat_run *seat, const struct sy_session *session, uint64_t *told)
{
	uint64_t was = *told;

	if (session->until_ms == was || !seat)
		return;
	*told = session->until_ms;
	forecast_set(seat, was, *told);
}

void
forecast_leave(const struct seat_run *seat, uint64_t *told)
{
	uint64_t was = *told;

	*told = 0;
	if (was)
		forecast_set(seat, was, 0);
}
