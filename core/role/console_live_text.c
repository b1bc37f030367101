/* What live.h measures, as JSON: arrays of numbers rather than objects, for there are many. */
#include "role/live.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/text.h"
#include "role/api.h"

static void
live_comma(struct text *out, bool *comma)
{
	if (*comma)
		text_add(out, ",", 1);
	*comma = true;
}

static void
live_name(struct text *out, const char *name, const char *value)
{
	text_printf(out, ",\"%s\":", name);
	if (value)
		text_json(out, value, strlen(value));
	else
		text_puts(out, "null");
}

static void
live_string(struct text *out, const char *value)
{
	text_json(out, value, strlen(value));
}

/* [index, state, active, rate * 10, weight, why, since]; the last two only when they changed */
void
live_tell_seat(struct text *out, uint32_t index, const struct live_seat *seat, const char *why,
               uint64_t since_wall_ms, bool *comma)
{
	live_comma(out, comma);
	text_printf(out, "[%" PRIu32 ",%u,%" PRIu32 ",%" PRIu32 ",%" PRIu32, index, seat->state,
	            seat->active, seat->rate_10, seat->weight);
	if (why) {
		text_add(out, ",", 1);
		live_string(out, why);
		text_printf(out, ",%" PRIu64, since_wall_ms);
	}
	text_add(out, "]", 1);
}

/* [index, state, active, rate * 10, bytes up in a second, down, response in us, why] */
void
live_tell_service(struct text *out, uint32_t index, const struct live_service *service,
                  const char *why, bool *comma)
{
	live_comma(out, comma);
	text_printf(out, "[%" PRIu32 ",%u,%" PRIu32 ",%" PRIu32 ",%" PRIu64 ",%" PRIu64 ",%" PRIu32,
	            index, service->state, service->active, service->rate_10, service->up,
	            service->down, service->response_us);
	if (why) {
		text_add(out, ",", 1);
		live_string(out, why);
	}
	text_add(out, "]", 1);
}

/* The seats of a service: positions of their servers, then what is known of each. */
static void
whole_seats(struct text *out, struct console *console, const struct service *service,
            const uint32_t *first_server)
{
	const struct service_view *view = service->run;
	const struct target *target;
	bool comma = false;
	uint32_t n = 0;

	text_puts(out, ",\"servers\":[");
	for (uint32_t t = 0; (target = service_target(service, t)); t++)
		for (uint32_t i = 0; i < target->pool->n_servers; i++) {
			live_comma(out, &comma);
			text_printf(out, "%" PRIu32,
			            first_server[target->pool - service->config->pools] + i);
		}
	text_puts(out, "],\"seats\":[");
	comma = false;
	for (uint32_t t = 0; (target = service_target(service, t)); t++)
		for (uint32_t i = 0; i < target->pool->n_servers; i++, n++) {
			struct cell_health health = { .reason = "" };
			const struct live_seat *live = &view->seats[n];

			if (!live_usable(live->state))
				seat_state(console, service, &target->seats[i], &health);
			live_tell_seat(out, view->first_seat + n, live,
			               live_usable(live->state) ? NULL : health.reason,
			               health.since_wall_ms, &comma);
		}
	text_puts(out, "]");
}

static void
whole_service(struct text *out, struct console *console, const struct service *service,
              uint32_t index, const uint32_t *first_server)
{
	const struct service_view *view = service->run;
	char why[512], address[ADDR_TEXT_SIZE];
	bool comma = false;

	text_puts(out, "{\"name\":");
	live_string(out, service->name);
	live_name(out, "pool", service->target.pool->name);
	live_name(out, "sorry", service->sorry ? service->sorry->pool->name : NULL);
	live_name(out, "protocol", service->protocol.module->name);
	live_name(out, "scheduler", service->scheduler.module->name);
	live_name(out, "persistence",
	          service->persistence.module ? service->persistence.module->name : NULL);
	live_name(out, "file", service->node ? service->node->file : "");
	text_printf(out, ",\"line\":%u,\"minimum_up\":%" PRIu32 ",\"monitors\":[",
	            service->node ? (unsigned)service->node->line : 0, service->settings.minimum_up);
	for (uint32_t i = 0; i < service->n_monitors; i++) {
		live_comma(out, &comma);
		live_string(out, service->monitors[i].use.module->name);
	}
	text_puts(out, "],\"listeners\":[");
	comma = false;
	for (uint32_t i = 0; i < service->n_listeners; i++) {
		live_comma(out, &comma);
		text_printf(out, "\"%s%s\"",
		            view_address(console, &service->listeners[i], address),
		            service->listeners[i].transport == TRANSPORT_UDP ? "/udp" : "");
	}
	service_state(console, service, why, sizeof(why));
	text_puts(out, "],\"live\":");
	comma = false;
	live_tell_service(out, index, &view->live, why, &comma);
	whole_seats(out, console, service, first_server);
	text_puts(out, "}");
}

/* Each server once, pool by pool: [name, pool, address, line]. */
static void
whole_servers(struct text *out, const struct config *config)
{
	char address[ADDR_TEXT_SIZE];
	bool comma = false;

	for (uint32_t p = 0; p < config->n_pools; p++)
		for (uint32_t i = 0; i < config->pools[p].n_servers; i++) {
			const struct server *server = &config->pools[p].servers[i];

			live_comma(out, &comma);
			text_add(out, "[", 1);
			live_string(out, server->name);
			text_printf(out, ",%" PRIu32 ",\"%s\",%u]", p,
			            addr_ip_text(&server->addr, address),
			            server->node ? (unsigned)server->node->line : 0);
		}
}

/* [name, file, line] */
static void
whole_pools(struct text *out, const struct config *config)
{
	for (uint32_t p = 0; p < config->n_pools; p++) {
		const struct node *node = config->pools[p].node;

		text_puts(out, p ? ",[" : "[");
		live_string(out, config->pools[p].name);
		text_add(out, ",", 1);
		live_string(out, node ? node->file : "");
		text_printf(out, ",%u]", node ? (unsigned)node->line : 0);
	}
}

static void
whole_render(struct console *console, struct text *out)
{
	const struct live *live = console->live;
	const struct config *config = console->child->current->config;
	uint32_t *first_server = must_alloc((config->n_pools + 1) * sizeof(*first_server));
	char host[128] = "";
	bool comma = false;

	gethostname(host, sizeof(host) - 1);
	first_server[0] = 0;
	for (uint32_t p = 0; p < config->n_pools; p++)
		first_server[p + 1] = first_server[p] + config->pools[p].n_servers;
	text_printf(out, "{\"n\":%" PRIu64 ",\"generation\":%" PRIu64 ",\"now\":%" PRIu64
	            ",\"started\":%" PRIu64, live->number, live->generation, clock_wall_ms(),
	            board_started_wall_ms(console->child->board));
	live_name(out, "version", PACKAGE_VERSION);
	live_name(out, "host", host);
	text_puts(out, ",\"states\":[");
	for (unsigned i = 0; live_words[i]; i++) {
		live_comma(out, &comma);
		live_string(out, live_words[i]);
	}
	text_puts(out, "],\"pools\":[");
	whole_pools(out, config);
	text_puts(out, "],\"servers\":[");
	whole_servers(out, config);
	text_puts(out, "],\"services\":[");
	for (uint32_t i = 0; i < config->n_services; i++) {
		if (i)
			text_add(out, ",", 1);
		whole_service(out, console, &config->services[i], i, first_server);
	}
	text_puts(out, "]}");
	free(first_server);
}

/* Rendered once for each measurement, however many ask. */
const struct text *
live_whole(struct console *console)
{
	struct live *live = console->live;
	uint64_t now_ms = console->child->now_ms;

	if (live->generation != console->child->current->number ||
	    now_ms > live->measured_ms + LIVE_FRESH_MS)
		live_measure(console);
	if (live->whole_number != live->number) {
		text_free(&live->whole);
		live->whole = (struct text){ 0 };
		whole_render(console, &live->whole);
		live->whole_number = live->number;
	}
	return &live->whole;
}
