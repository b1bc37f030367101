/* Measures services and seats, and tells what differs; see live.h. */
#include "role/live.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"

const char *const live_words[] = { "up", "unchecked", "unknown", "degraded", "draining", "drain",
	                           "disabled", "unused", "sorry", "down", NULL };

enum { LIVE_UP, LIVE_UNCHECKED, LIVE_UNKNOWN };

bool
live_usable(uint8_t state)
{
	return state <= LIVE_UNKNOWN;
}

uint8_t
live_state(const char *word)
{
	uint8_t state = 0;

	while (live_words[state] && strcmp(live_words[state], word) != 0)
		state++;
	return live_words[state] ? state : LIVE_UNKNOWN;
}

static uint64_t
live_hash(const char *words)
{
	static const struct hash_key zero;

	return *words ? hash_64(&zero, words, strlen(words)) : 0;
}

struct live_pass {
	struct console *console;
	double seconds;           /* since the last one; 0: there was none to compare with */
	struct text services, seats;
	bool services_comma, seats_comma;
};

static void
live_seat(struct live_pass *pass, const struct service *service, const struct seat *seat,
          uint32_t index, struct live_seat *last)
{
	struct console *console = pass->console;
	struct cell_health health;
	struct board_tally sum;
	struct live_seat now = { .state = live_state(seat_state(console, service, seat, &health)) };
	bool differs;

	board_sum(console->child->board, seat->cell, &sum);
	now.active = sum.active;
	now.total = sum.total;
	now.weight = seat_weight(console, seat);
	if (pass->seconds > 0 && now.total >= last->total)
		now.rate_10 = (uint32_t)((double)(now.total - last->total) * 10 / pass->seconds + 0.5);
	/* While a server is up the reason is the time that its last check took: no news. */
	now.why = live_usable(now.state) ? 0 : live_hash(health.reason);
	differs = now.state != last->state || now.active != last->active ||
	          now.rate_10 != last->rate_10 || now.weight != last->weight || now.why != last->why;
	if (differs && pass->seconds > 0)
		live_tell_seat(&pass->seats, index, &now,
		               now.why != last->why || now.state != last->state ? health.reason : NULL,
		               health.since_wall_ms, &pass->seats_comma);
	*last = now;
}

static void
live_service(struct live_pass *pass, const struct service *service, uint32_t index)
{
	struct console *console = pass->console;
	struct service_view *view = service->run;
	const struct target *target;
	struct board_tally sum;
	char why[512];
	struct live_service now = { 0 };
	uint32_t seat = 0;

	now.state = live_state(service_state(console, service, why, sizeof(why)));
	board_sum(console->child->board, service->cell, &sum);
	now.active = sum.active;
	now.rate_10 = (uint32_t)(view->rate * 10 + 0.5);
	now.response_us = view->response_us;
	now.up = (uint64_t)view->up_rate;
	now.down = (uint64_t)view->down_rate;
	now.why = live_hash(why);
	if (pass->seconds > 0 && memcmp(&now, &view->live, sizeof(now)) != 0)
		live_tell_service(&pass->services, index, &now,
		                  now.why != view->live.why ? why : NULL, &pass->services_comma);
	view->live = now;
	for (uint32_t t = 0; (target = service_target(service, t)); t++)
		for (uint32_t i = 0; i < target->pool->n_servers; i++, seat++)
			live_seat(pass, service, &target->seats[i], view->first_seat + seat,
			          &view->seats[seat]);
}

/* New events, oldest first. */
static void
live_events(struct console *console, struct text *out)
{
	struct live *live = console->live;
	uint64_t from = live->events_told;

	if (console->n_events - from > CONSOLE_EVENTS)
		from = console->n_events - CONSOLE_EVENTS;
	text_puts(out, ",\"events\":[");
	for (uint64_t i = from; i < console->n_events; i++) {
		const struct event *event = &console->events[i % CONSOLE_EVENTS];

		text_printf(out, "%s{\"time\":%llu,\"words\":", i > from ? "," : "",
		            (unsigned long long)event->wall_ms);
		text_json(out, event->words, strlen(event->words));
		text_puts(out, "}");
	}
	text_puts(out, "]");
	live->events_told = console->n_events;
}

static void
live_push(struct live_pass *pass, bool anew)
{
	struct console *console = pass->console;
	struct live *live = console->live;
	struct text out = { 0 };

	text_printf(&out, "{\"n\":%llu,\"generation\":%llu,\"now\":%llu",
	            (unsigned long long)live->number, (unsigned long long)live->generation,
	            (unsigned long long)clock_wall_ms());
	live_events(console, &out);
	if (anew) {
		text_puts(&out, ",\"anew\":true}");
	} else {
		text_puts(&out, ",\"services\":[");
		text_add(&out, pass->services.at, pass->services.len);
		text_puts(&out, "],\"seats\":[");
		text_add(&out, pass->seats.at, pass->seats.len);
		text_puts(&out, "]}");
	}
	stream_push(console, out.at, out.len);
	text_free(&out);
}

void
live_measure(struct console *console)
{
	struct child *child = console->child;
	struct live *live = console->live;
	struct live_pass pass = { .console = console };
	const struct config *config;

	if (!child->current)
		return;
	config = child->current->config;
	if (live->number && live->generation == child->current->number &&
	    child->now_ms > live->measured_ms)
		pass.seconds = (double)(child->now_ms - live->measured_ms) / 1000;
	live->number++;
	live->measured_ms = child->now_ms;
	live->generation = child->current->number;
	for (uint32_t i = 0; i < config->n_services; i++)
		live_service(&pass, &config->services[i], i);
	/* Twice in one millisecond: nothing was compared, so all must be loaded anew. */
	live_push(&pass, pass.seconds == 0);
	text_free(&pass.services);
	text_free(&pass.seats);
}
