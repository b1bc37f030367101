#include "way/figures.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void
figures_gauge(const struct service_run *run, uint32_t cell, unsigned i, int32_t change)
{
	struct way *way = run->way;
	struct board_figures *figures = board_figures(way->board, way->row, cell);

	tally_add(figures->gauge[i], (uint32_t)change);
	if ((int)i == run->load_gauge)
		tally_add(board_tally(way->board, way->row, cell)->load, (uint32_t)change);
}

static void
figures_of_seat(const struct service_run *run, const struct seat_run *seat, unsigned i,
                int32_t change)
{
	if (!change)
		return;
	figures_gauge(run, seat->cell, i, change);
	figures_gauge(run, seat->server_cell, i, change);
}

static void
figures_count(const struct service_run *run, uint32_t cell, const uint32_t count[SY_COUNTERS])
{
	struct board_figures *figures = board_figures(run->way->board, run->way->row, cell);

	for (unsigned i = 0; i < SY_COUNTERS; i++)
		if (count[i])
			tally_add(figures->counter[i], count[i]);
}

/* The gauge that schedulers see as load, or -1. */
void
figures_attach(struct service_run *run)
{
	const struct sy_figure *gauge = run->protocol->gauges;
	const char *unit = run->service->load_unit;

	run->load_gauge = -1;
	for (int i = 0; i < SY_GAUGES && gauge && gauge[i].name; i++)
		if (strcmp(gauge[i].name, unit) == 0)
			run->load_gauge = i;
}

void
figures_open(const struct service_run *run, struct sy_session *session)
{
	session->count = run->way->count;
}

void
figures_tell(const struct service_run *run, const struct seat_run *seat,
             struct sy_session *session, int32_t told[static SY_GAUGES])
{
	if (session->counted) {
		figures_count(run, run->service->cell, session->count);
		if (seat) {
			figures_count(run, seat->cell, session->count);
			figures_count(run, seat->server_cell, session->count);
		}
		memset(session->count, 0, SY_COUNTERS * sizeof(*session->count));
		session->counted = false;
	}
	if (memcmp(session->gauge, told, SY_GAUGES * sizeof(*told)) == 0)
		return;
	for (unsigned i = 0; i < SY_GAUGES; i++) {
		int32_t change = session->gauge[i] - told[i];

		if (!change)
			continue;
		figures_gauge(run, run->service->cell, i, change);
		if (seat)
			figures_of_seat(run, seat, i, change);
		told[i] = session->gauge[i];
	}
}

void
figures_enter(const struct service_run *run, const struct seat_run *seat,
              const int32_t told[static SY_GAUGES])
{
	for (unsigned i = 0; i < SY_GAUGES; i++)
		figures_of_seat(run, seat, i, told[i]);
}

void
figures_leave(const struct service_run *run, const struct seat_run *seat,
              const int32_t told[static SY_GAUGES])
{
	for (unsigned i = 0; i < SY_GAUGES; i++)
		figures_of_seat(run, seat, i, -told[i]);
}

/* ---- of exchanges ---- */

struct figures_held {
	uint32_t n;
	struct sy_held held[];
};

static const struct seat_run *
figures_seat_of(const struct service *service, uint32_t at)
{
	const struct target *target;

	for (uint32_t i = 0; (target = service_target(service, i)); i++)
		for (uint32_t j = 0; j < target->pool->n_servers; j++)
			if (target->seats[j].cell + 1 == at)
				return target->seats[j].run;
	return NULL;
}

/* In the session's configuration, or in the current one, which its exchanges belong to. */
static const struct seat_run *
figures_seat(const struct service_run *run, uint32_t at)
{
	const struct config *current = run->way->child->current->config;
	const struct seat_run *seat = at ? figures_seat_of(run->service, at) : NULL;
	const struct service *service = at && !seat ? config_service(current, run->service->name) : NULL;

	return service ? figures_seat_of(service, at) : seat;
}

static void
figures_hold_one(const struct service_run *run, struct sy_held *told, const struct sy_held *now)
{
	const struct seat_run *seat = figures_seat(run, told->server);

	for (unsigned i = 0; seat && i < SY_GAUGES; i++)
		figures_of_seat(run, seat, i, -told->gauge[i]);
	seat = now ? figures_seat(run, now->server) : NULL;
	for (unsigned i = 0; seat && i < SY_GAUGES; i++)
		figures_of_seat(run, seat, i, now->gauge[i]);
	if (now)
		*told = *now;
}

void
figures_hold(const struct service_run *run, struct sy_session *session, struct figures_held **told)
{
	if (!session->held_changed)
		return;
	session->held_changed = false;
	if (!*told) {
		*told = calloc(1, sizeof(**told) + session->n_held * sizeof((*told)->held[0]));
		if (!*told)
			return;
		(*told)->n = session->n_held;
	}
	for (uint32_t i = 0; i < (*told)->n; i++)
		if (memcmp(&(*told)->held[i], &session->held[i], sizeof(session->held[i])) != 0)
			figures_hold_one(run, &(*told)->held[i], &session->held[i]);
}

void
figures_hold_end(const struct service_run *run, struct figures_held **told)
{
	for (uint32_t i = 0; *told && i < (*told)->n; i++)
		figures_hold_one(run, &(*told)->held[i], NULL);
	free(*told);
	*told = NULL;
}

void
figures_end(const struct service_run *run, int32_t told[static SY_GAUGES])
{
	for (unsigned i = 0; i < SY_GAUGES; i++)
		if (told[i])
			figures_gauge(run, run->service->cell, i, -told[i]);
	memset(told, 0, SY_GAUGES * sizeof(*told));
}
