/* The last hour and the last day of each service and of all together, in rings of fixed size. They
 * live as long as the console: a day is long, and nobody is paged by a chart. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/text.h"
#include "role/api.h"
#include "role/live.h"

static const char *const metric_names[HISTORY_METRICS] = { "rate", "active", "bytes_up", "bytes_down",
	                                                   "response_us" };

/* Of one of the two rings: how to reach it. */
struct span {
	struct history_ring *ring;
	float (*points)[HISTORY_METRICS];
	unsigned n, step_s;
};

static struct span
history_span(struct history *history, bool day)
{
	return day ? (struct span){ &history->day_ring, history->day, HISTORY_DAY, HISTORY_DAY_STEP_S }
	           : (struct span){ &history->hour_ring, history->hour, HISTORY_HOUR,
	                            HISTORY_HOUR_STEP_S };
}

struct history *
history_new(void)
{
	struct history *history = must_alloc(sizeof(*history));

	memset(history, 0, sizeof(*history));
	for (unsigned m = 0; m < HISTORY_METRICS; m++) {
		for (unsigned i = 0; i < HISTORY_HOUR; i++)
			history->hour[i][m] = NAN;
		for (unsigned i = 0; i < HISTORY_DAY; i++)
			history->day[i][m] = NAN;
	}
	return history;
}

/* Time went on to another slot: what was gathered becomes a point, what was missed is empty. */
static void
span_move(struct span *span, uint64_t slot)
{
	struct history_ring *ring = span->ring;
	uint64_t from = ring->slot;

	if (from && slot - from > span->n)
		from = slot - span->n;
	for (uint64_t i = from; from && i < slot; i++)
		for (unsigned m = 0; m < HISTORY_METRICS; m++)
			span->points[i % span->n][m] =
				i == ring->slot && ring->n ? (float)(ring->sum[m] / ring->n) : NAN;
	memset(ring, 0, sizeof(*ring));
	ring->slot = slot;
}

void
history_add(struct history *history, uint64_t now_ms, const double sample[HISTORY_METRICS])
{
	for (int day = 0; day < 2; day++) {
		struct span span = history_span(history, day);
		uint64_t slot = now_ms / 1000 / span.step_s + 1; /* 0: none yet */

		if (slot != span.ring->slot)
			span_move(&span, slot);
		for (unsigned m = 0; m < HISTORY_METRICS; m++)
			span.ring->sum[m] += sample[m];
		span.ring->n++;
	}
}

void
history_switch(struct generation *old, struct generation *current)
{
	for (uint32_t i = 0; i < current->config->n_services; i++) {
		const struct service *service = &current->config->services[i], *before = NULL;
		struct service_view *view = service->run;

		if (old)
			before = config_service(old->config, service->name);
		if (before) {
			struct service_view *last = before->run;

			view->history = last->history;
			last->history = NULL;
		}
		if (!view->history)
			view->history = history_new();
	}
	if (old)
		history_drop(old);
}

void
history_drop(struct generation *generation)
{
	for (uint32_t i = 0; i < generation->config->n_services; i++) {
		struct service_view *view = generation->config->services[i].run;

		free(view->history);
		view->history = NULL;
	}
}

static void
span_value(struct text *out, double value)
{
	if (isnan(value))
		text_puts(out, "null");
	else
		text_printf(out, "%.4g", value);
}

/* The points of one metric, oldest first; `each` of them become one. The last is of the time that
 * is not over yet. */
static void
span_text(struct text *out, const struct span *span, unsigned m, unsigned each)
{
	const struct history_ring *ring = span->ring;
	double sum = 0;
	unsigned n = 0;

	text_puts(out, "[");
	for (unsigned i = 1; i <= span->n; i++) {
		double value = i < span->n ? (double)span->points[(ring->slot + i) % span->n][m]
		             : ring->n ? ring->sum[m] / ring->n : (double)NAN;

		if (!isnan(value)) {
			sum += value;
			n++;
		}
		if (i % each)
			continue;
		if (i > each)
			text_puts(out, ",");
		span_value(out, n ? sum / n : (double)NAN);
		sum = 0;
		n = 0;
	}
	text_puts(out, "]");
}

void
api_history(struct request *request)
{
	const char *name = request_query(request, "service");
	const char *wanted = request_query(request, "span");
	struct history *history = request->console->history;
	struct text out = { 0 };
	struct span span;

	if (wanted && strcmp(wanted, "hour") != 0 && strcmp(wanted, "day") != 0) {
		request_error(request, 400, "span= is hour or day, not %s", wanted);
		return;
	}
	if (name) {
		const struct service *service = api_find_service(request, name);

		if (!service)
			return;
		history = ((struct service_view *)service->run)->history;
	}
	span = history_span(history, wanted && strcmp(wanted, "day") == 0);
	text_puts(&out, "{\"service\":");
	if (name)
		text_json(&out, name, strlen(name));
	else
		text_puts(&out, "null");
	text_printf(&out, ",\"step_s\":%u,\"end\":%llu", span.step_s,
	            (unsigned long long)clock_wall_ms());
	for (unsigned m = 0; m < HISTORY_METRICS; m++) {
		text_printf(&out, ",\"%s\":", metric_names[m]);
		span_text(&out, &span, m, 1);
	}
	text_puts(&out, "}");
	request_rendered(request, "application/json", out.at, out.len);
}

/* The hour's rate of every service, a point a minute: for the small charts of a list. */
void
api_history_services(struct request *request)
{
	const struct config *config = request->console->child->current->config;
	struct text out = { 0 };

	text_printf(&out, "{\"step_s\":60,\"end\":%llu,\"rate\":{", (unsigned long long)clock_wall_ms());
	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service_view *view = config->services[i].run;
		struct span span = history_span(view->history, false);

		if (i)
			text_puts(&out, ",");
		text_json(&out, config->services[i].name, strlen(config->services[i].name));
		text_puts(&out, ":");
		span_text(&out, &span, HISTORY_RATE, 60 / HISTORY_HOUR_STEP_S);
	}
	text_puts(&out, "}}");
	request_rendered(request, "application/json", out.at, out.len);
}
