/* Services and servers as an operator sees them: states in words, numbers from the board. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/text.h"
#include "role/live.h"
#include "share/reasons.h"

static const char *const transport_names[] = { "tcp", "udp" };

void
view_prepare(struct generation *generation)
{
	struct config *config = generation->config;
	uint32_t seats = 0;

	for (uint32_t i = 0; i < config->n_services; i++) {
		struct service *service = &config->services[i];
		struct service_view *view = arena_new_of(generation->arena, struct service_view);

		view->first_seat = seats;
		view->n_seats = service_seats(service);
		view->seats = arena_alloc(generation->arena, (view->n_seats + 1) * sizeof(*view->seats));
		seats += view->n_seats;
		service->run = view;
	}
}

static double
view_rate(uint64_t *last, uint64_t now, uint64_t ms)
{
	double rate = ms && now >= *last ? (double)(now - *last) * 1000 / (double)ms : 0;

	*last = now;
	return rate;
}

/* What the servers of a service take to answer: the mean of those that are known. */
static uint32_t
view_response(struct console *console, const struct service *service)
{
	uint64_t sum = 0;
	uint32_t known = 0;

	for (uint32_t i = 0; i < service->target.pool->n_servers; i++) {
		uint32_t us = board_response_us(console->child->board, service->target.seats[i].cell);

		sum += us;
		known += us != 0;
	}
	return known ? (uint32_t)(sum / known) : 0;
}

void
view_beat(struct console *console)
{
	struct config *config;
	uint64_t now_ms = console->child->now_ms;
	double all[HISTORY_METRICS] = { 0 };
	unsigned answering = 0;

	if (!console->child->current)
		return;
	config = console->child->current->config;
	for (uint32_t i = 0; i < config->n_services; i++) {
		struct service_view *view = config->services[i].run;
		double sample[HISTORY_METRICS];
		struct board_tally sum;
		uint64_t ms = view->last_ms ? now_ms - view->last_ms : 0;

		board_sum(console->child->board, config->services[i].cell, &sum);
		view->rate = view_rate(&view->last_total, sum.total, ms);
		view->up_rate = view_rate(&view->last_up, sum.bytes_up, ms);
		view->down_rate = view_rate(&view->last_down, sum.bytes_down, ms);
		view->last_ms = now_ms;
		sample[HISTORY_RATE] = view->rate;
		sample[HISTORY_ACTIVE] = sum.active;
		sample[HISTORY_UP] = view->up_rate;
		sample[HISTORY_DOWN] = view->down_rate;
		view->response_us = view_response(console, &config->services[i]);
		sample[HISTORY_RESPONSE] = view->response_us;
		history_add(view->history, now_ms, sample);
		answering += view->response_us != 0;
		for (unsigned m = 0; m < HISTORY_METRICS; m++)
			all[m] += sample[m];
	}
	if (answering)
		all[HISTORY_RESPONSE] /= answering;
	history_add(console->history, now_ms, all);
}

static uint32_t
view_wish(struct console *console, const struct seat *seat)
{
	uint32_t server = board_cell_at(console->child->board, seat->server->cell)->wish;
	uint32_t here = board_cell_at(console->child->board, seat->cell)->wish;

	return server > here ? server : here;
}

uint32_t
seat_weight(struct console *console, const struct seat *seat)
{
	uint32_t here = board_cell_at(console->child->board, seat->cell)->wish_weight_plus_1;
	uint32_t server = board_cell_at(console->child->board, seat->server->cell)->wish_weight_plus_1;

	return here ? here - 1 : server ? server - 1 : seat->server->weight;
}

/* What the operator wants is the reason then, and not that all is well with the server. */
static void
view_by_operator(struct console *console, const struct seat *seat, const char *words,
                 struct cell_health *health)
{
	const struct board_cell *server = board_cell_at(console->child->board, seat->server->cell);
	const struct board_cell *here = board_cell_at(console->child->board, seat->cell);

	snprintf(health->reason, sizeof(health->reason), "%s", words);
	health->since_wall_ms = here->wish_since_wall_ms > server->wish_since_wall_ms
	                        ? here->wish_since_wall_ms : server->wish_since_wall_ms;
}

/* The word that stands for a seat; health is what the checker wrote, or why the operator's wish
 * comes first. */
const char *
seat_state(struct console *console, const struct service *service, const struct seat *seat,
           struct cell_health *health)
{
	uint32_t wish = view_wish(console, seat);

	board_health_read(board_cell_at(console->child->board, seat->cell), health);
	if (service->n_monitors == 0)
		health->health = HEALTH_UNCHECKED;
	if (wish == WISH_DISABLE) {
		view_by_operator(console, seat, "disabled by the operator", health);
		return "disabled";
	}
	if (health->health == HEALTH_DOWN)
		return service->settings.optional && health->up_since_ms == 0 ? "unused" : "down";
	if (wish == WISH_DRAIN) {
		view_by_operator(console, seat, "drained by the operator", health);
		return "drain";
	}
	if (seat_weight(console, seat) == 0) {
		snprintf(health->reason, sizeof(health->reason), "its weight is 0");
		return "drain";
	}
	switch ((enum board_health)health->health) {
	case HEALTH_UNKNOWN:
		return "unknown";
	case HEALTH_UP:
		return "up";
	case HEALTH_DRAINING:
		return "draining";
	case HEALTH_DOWN:
		return "down";
	case HEALTH_UNCHECKED:
		return "unchecked";
	}
	return "unknown";
}

static unsigned
view_usable(struct console *console, const struct service *service, const struct target *target,
            const char **first_reason, char *buffer, size_t len)
{
	unsigned usable = 0;

	for (uint32_t i = 0; i < target->pool->n_servers; i++) {
		struct cell_health health;
		const char *state = seat_state(console, service, &target->seats[i], &health);

		if (strcmp(state, "up") == 0 || strcmp(state, "unchecked") == 0 ||
		    strcmp(state, "unknown") == 0) {
			usable++;
		} else if (!*first_reason && health.reason[0] && strcmp(state, "down") == 0) {
			snprintf(buffer, len, "%s: %s", target->seats[i].server->name, health.reason);
			*first_reason = buffer;
		}
	}
	return usable;
}

const char *
service_state(struct console *console, const struct service *service, char *why, size_t len)
{
	const struct target *target = &service->target;
	uint32_t wanted = service->settings.minimum_up ? service->settings.minimum_up : 1;
	uint32_t n = target->pool->n_servers;
	char buffer[256], sorry_buffer[256];
	const char *reason = NULL, *sorry_reason = NULL;
	unsigned usable;

	why[0] = '\0';
	if (!service->settings.enabled)
		return "disabled";
	usable = view_usable(console, service, target, &reason, buffer, sizeof(buffer));
	if (usable == n)
		return "up";
	if (usable >= wanted) {
		snprintf(why, len, "%u of %u servers take new clients%s%s", usable, n,
		         reason ? "; " : "", reason ? reason : "");
		return "degraded";
	}
	if (service->settings.optional && usable == 0) {
		snprintf(why, len, "optional, and no server answers");
		return "unused";
	}
	snprintf(why, len, "%u of %u servers take new clients, %u are wanted%s%s", usable, n, wanted,
	         reason ? "; " : "", reason ? reason : "");
	if (service->sorry && view_usable(console, service, service->sorry, &sorry_reason, sorry_buffer,
	                                  sizeof(sorry_buffer)) > 0)
		return "sorry";
	return "down";
}

/* What a cell has counted, as members of `object`. */
static void
view_counts(struct console *console, uint32_t cell, json_t *object)
{
	struct board_tally sum;

	board_sum(console->child->board, cell, &sum);
	json_object_set_new(object, "active", json_integer(sum.active));
	json_object_set_new(object, "total", json_integer((json_int_t)sum.total));
	json_object_set_new(object, "bytes_up", json_integer((json_int_t)sum.bytes_up));
	json_object_set_new(object, "bytes_down", json_integer((json_int_t)sum.bytes_down));
	json_object_set_new(object, "connect_failures", json_integer((json_int_t)sum.connect_failures));
	json_object_set_new(object, "refused", json_integer(sum.refused));
	json_object_set_new(object, "failed", json_integer((json_int_t)sum.failed));
	json_object_set_new(object, "response_us", json_integer(sum.response_us));
}

/* What the protocol keeps count of, by name. */
static void
view_figures(struct console *console, const struct service *service, uint32_t cell, json_t *object)
{
	const struct sy_protocol *protocol = service->protocol.module->ops;
	struct board_figures sum;
	json_t *json;

	if (!protocol->gauges && !protocol->counters)
		return;
	board_sum_figures(console->child->board, cell, &sum);
	json = json_object();
	for (unsigned i = 0; protocol->gauges && protocol->gauges[i].name; i++)
		json_object_set_new(json, protocol->gauges[i].name, json_integer(sum.gauge[i]));
	for (unsigned i = 0; protocol->counters && protocol->counters[i].name; i++)
		json_object_set_new(json, protocol->counters[i].name,
		                    json_integer((json_int_t)sum.counter[i]));
	json_object_set_new(object, "figures", json);
}

void
view_forecast(struct console *console, const struct service *service, const struct seat *seat,
              json_t *object)
{
	const struct sy_protocol *protocol = service->protocol.module->ops;
	struct board_figures sum;
	uint64_t now_ms = console->child->now_ms, left_ms;

	for (unsigned i = 0; protocol->gauges && protocol->gauges[i].name; i++) {
		if (strcmp(protocol->gauges[i].name, service->load_unit) != 0)
			continue;
		board_sum_figures(console->child->board, seat->cell, &sum);
		left_ms = sum.until_ms > now_ms ? sum.until_ms - now_ms : 0;
		json_object_set_new(object, "load", json_integer(sum.gauge[i]));
		json_object_set_new(object, "load_unit", json_string(service->load_unit));
		json_object_set_new(object, "until", json_integer(sum.gauge[i] && left_ms ?
		                    (json_int_t)(clock_wall_ms() + left_ms) : 0));
	}
}

/* Slow start counts from there. 0: it is not up, or was so from the start. */
static json_int_t
view_up_since(const struct console *console, const struct cell_health *health)
{
	uint64_t now_ms = console->child->now_ms, up_ms = health->up_since_ms;

	return up_ms ? (json_int_t)(clock_wall_ms() - (now_ms > up_ms ? now_ms - up_ms : 0)) : 0;
}

json_t *
view_seat(struct console *console, const struct service *service, const struct target *target,
          const struct seat *seat)
{
	struct cell_health health;
	char address[ADDR_TEXT_SIZE];
	struct sy_addr addr = seat->server->addr;
	const char *state = seat_state(console, service, seat, &health);
	json_t *json;

	addr.port = target_port(target, seat->server, 0);
	if (addr.port)
		addr_text(&addr, address);
	else
		addr_ip_text(&addr, address); /* the port that the client used */
	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:I, s:b}",
	                 "name", seat->server->name, "pool", target->pool->name, "address", address,
	                 "state", state, "why", health.reason,
	                 "since", (json_int_t)health.since_wall_ms,
	                 "up_since", view_up_since(console, &health), "changes", (json_int_t)health.changes,
	                 "weight", (int)seat_weight(console, seat),
	                 "weight_configured", (int)seat->server->weight,
	                 "latency_us", (json_int_t)health.latency_us,
	                 "sorry", service->sorry == target);
	if (json) {
		view_counts(console, seat->cell, json);
		view_figures(console, service, seat->cell, json);
		view_forecast(console, service, seat, json);
	}
	return json;
}

const char *
view_address(const struct console *console, const struct listener *listener,
             char out[static ADDR_TEXT_SIZE])
{
	for (unsigned i = 0; i < console->n_addresses; i++)
		if (console->addresses[i].listener == listener->id)
			return console->addresses[i].text;
	return addr_text(&listener->addr, out);
}

static void
view_listeners(struct console *console, const struct service *service, json_t *list)
{
	char address[ADDR_TEXT_SIZE];

	for (uint32_t i = 0; i < service->n_listeners; i++)
		json_array_append_new(list, json_pack(
			"{s:s, s:s}", "address", view_address(console, &service->listeners[i], address),
			"transport", transport_names[service->listeners[i].transport]));
}

static json_t *
view_reasons(struct console *console, const struct service *service)
{
	json_t *json = json_object();
	uint64_t counts[BOARD_REASONS];

	board_sum_reasons(console->child->board, service->cell, counts);
	for (unsigned reason = 0; reason < REASONS_END; reason++)
		if (counts[reason])
			json_object_set_new(json, reason_rows[reason].name,
			                    json_integer((json_int_t)counts[reason]));
	return json;
}

json_t *
view_service(struct console *console, const struct service *service)
{
	const struct target *target;
	const struct service_view *view = service->run;
	json_t *listeners = json_array(), *servers = json_array(), *monitors = json_array(), *json;
	char why[512];
	const char *state = service_state(console, service, why, sizeof(why));

	view_listeners(console, service, listeners);
	for (uint32_t t = 0; (target = service_target(service, t)); t++)
		for (uint32_t i = 0; i < target->pool->n_servers; i++)
			json_array_append_new(servers, view_seat(console, service, target,
			                                         &target->seats[i]));
	for (uint32_t i = 0; i < service->n_monitors; i++)
		json_array_append_new(monitors,
		                      json_string(service->monitors[i].use.module->name));
	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:o, s:o, s:o, s:f, s:b, s:s, s:i}",
	                 "name", service->name, "state", state, "why", why,
	                 "pool", service->target.pool->name,
	                 "protocol", service->protocol.module->name,
	                 "scheduler", service->scheduler.module->name,
	                 "persistence", service->persistence.module ? service->persistence.module->name
	                                                            : NULL,
	                 "monitors", monitors, "listeners", listeners, "servers", servers,
	                 "rate", view->rate, "optional", service->settings.optional,
	                 "file", service->node ? service->node->file : "",
	                 "line", service->node ? (int)service->node->line : 0);
	if (json) {
		view_counts(console, service->cell, json);
		view_figures(console, service, service->cell, json);
		json_object_set_new(json, "reasons", view_reasons(console, service));
	}
	return json;
}
