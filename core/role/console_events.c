/* What happened, for those who come later: a ring of the last events. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "role/recorder.h"

enum { EVENT_FRESH_MS = 10000 };

void
event_add(struct console *console, const char *format, ...)
{
	struct event *event = &console->events[console->n_events++ % CONSOLE_EVENTS];
	char words[512] = "";
	va_list args;
	int len;

	event->wall_ms = clock_wall_ms();
	va_start(args, format);
	len = vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	words[text_cut(words, len > 0 ? (size_t)len : 0, sizeof(event->words) - 1)] = '\0';
	memcpy(event->words, words, sizeof(event->words));
}

static void
event_seat(struct console *console, const struct service *service, const struct target *target,
           uint32_t cell)
{
	for (uint32_t i = 0; i < target->pool->n_servers; i++) {
		const struct seat *seat = &target->seats[i];
		struct cell_health health;
		const char *state;
		char words[256];

		if (seat->cell != cell && seat->server->cell != cell)
			continue;
		state = seat_state(console, service, seat, &health);
		event_add(console, "server %s (pool %s, service %s): %s%s%s", seat->server->name,
		          target->pool->name, service->name, state, health.reason[0] ? ": " : "",
		          health.reason);
		/* A wish changes no health. */
		if (health.changes > 0 && health.since_wall_ms + EVENT_FRESH_MS > clock_wall_ms() &&
		    strcmp(state, "drain") != 0 && strcmp(state, "disabled") != 0) {
			snprintf(words, sizeof(words), "server %s (pool %s, service %s): %s",
			         seat->server->name, target->pool->name, service->name, state);
			recorder_changed(console, words);
		}
	}
}

void
event_changed(struct console *console, uint32_t cell)
{
	const struct config *config;

	if (!console->child->current)
		return;
	config = console->child->current->config;
	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		const struct target *target;

		for (uint32_t t = 0; (target = service_target(service, t)); t++)
			event_seat(console, service, target, cell);
	}
}

json_t *
events_json(struct console *console, unsigned limit)
{
	json_t *list = json_array();
	uint64_t n = console->n_events < CONSOLE_EVENTS ? console->n_events : CONSOLE_EVENTS;

	for (uint64_t i = 0; i < n && i < limit; i++) {
		const struct event *event =
			&console->events[(console->n_events - 1 - i) % CONSOLE_EVENTS];

		json_array_append_new(list, json_pack("{s:I, s:s}", "time", (json_int_t)event->wall_ms,
		                                      "words", event->words));
	}
	return json_pack("{s:o}", "events", list);
}
