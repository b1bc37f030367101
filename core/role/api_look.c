/* What there is, and how it is. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/text.h"
#include "role/api.h"
#include "role/live.h"
#include "share/reasons.h"

static const struct config *
look_config(struct request *request)
{
	return request->console->child->current->config;
}

bool
api_client_net(struct request *request, struct sy_net *net)
{
	const char *client = request_query(request, "client");

	if (!client || net_parse(client, net))
		return true;
	request_error(request, 400, "client= is an address or a network such as 192.0.2.0/24, not %s",
	              client);
	return false;
}

const struct service *
api_find_service(struct request *request, const char *name)
{
	const struct config *config = look_config(request);
	const struct service *service = name ? config_service(config, name) : NULL;
	const char **names;
	const char *near;

	if (service)
		return service;
	if (!name) {
		request_error(request, 400, "say which service: ?service=NAME");
		return NULL;
	}
	names = must_alloc((config->n_services + 1) * sizeof(*names));
	for (uint32_t i = 0; i < config->n_services; i++)
		names[i] = config->services[i].name;
	names[config->n_services] = NULL;
	near = text_nearest(name, names);
	request_error(request, 404, "there is no service %s%s%s", name, near ? "; did you mean " : "",
	              near ? near : "");
	free(names);
	return NULL;
}

void
api_services(struct request *request)
{
	const struct config *config = look_config(request);
	json_t *list = json_array();

	for (uint32_t i = 0; i < config->n_services; i++)
		json_array_append_new(list, view_service(request->console, &config->services[i]));
	request_json(request, json_pack("{s:o}", "services", list));
}

void
api_service(struct request *request)
{
	const struct service *service = api_find_service(request, request->tail);

	if (service)
		request_json(request, view_service(request->console, service));
}

/* One server over all services that use its pool. */
static json_t *
look_server(struct request *request, const struct pool *pool, const struct server *server)
{
	const struct config *config = look_config(request);
	struct board_tally sum;
	char address[ADDR_TEXT_SIZE];
	json_t *seats = json_array(), *seat;
	unsigned down = 0, n = 0;

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		const struct target *target = service_target_of(service, pool);
		struct cell_health health;
		const char *state;

		if (!target)
			continue;
		state = seat_state(request->console, service, &target->seats[server - pool->servers],
		                   &health);
		n++;
		down += strcmp(state, "down") == 0;
		seat = json_pack("{s:s, s:s, s:s, s:I}", "service", service->name, "state", state,
		                 "why", health.reason, "since", (json_int_t)health.since_wall_ms);
		if (seat)
			view_forecast(request->console, service, &target->seats[server - pool->servers],
			              seat);
		json_array_append_new(seats, seat);
	}
	board_sum(request->console->child->board, server->cell, &sum);
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:o}",
	                 "name", server->name, "pool", pool->name,
	                 "address", server->addr.port ? addr_text(&server->addr, address)
	                                              : addr_ip_text(&server->addr, address),
	                 "state", n == 0 ? "unused" : down == 0 ? "up" : down == n ? "down" : "partly",
	                 "weight", (int)server->weight, "active", (int)sum.active,
	                 "total", (json_int_t)sum.total,
	                 "bytes_up", (json_int_t)sum.bytes_up, "bytes_down", (json_int_t)sum.bytes_down,
	                 "connect_failures", (json_int_t)sum.connect_failures, "services", seats);
}

void
api_servers(struct request *request)
{
	const struct config *config = look_config(request);
	const char *wanted = request_query(request, "server");
	json_t *list = json_array();

	for (uint32_t p = 0; p < config->n_pools; p++)
		for (uint32_t i = 0; i < config->pools[p].n_servers; i++) {
			const struct server *server = &config->pools[p].servers[i];

			if (!wanted || strcmp(wanted, server->name) == 0)
				json_array_append_new(list, look_server(request, &config->pools[p], server));
		}
	request_json(request, json_pack("{s:o}", "servers", list));
}

/* Everything that is not as it should be, for the one look. */
static void
look_wrong(struct request *request, const struct service *service, json_t *list)
{
	const struct target *target;

	for (uint32_t t = 0; (target = service_target(service, t)); t++)
		for (uint32_t i = 0; i < target->pool->n_servers; i++) {
			struct cell_health health;
			const char *state = seat_state(request->console, service, &target->seats[i],
			                               &health);

			if (strcmp(state, "up") == 0 || strcmp(state, "unchecked") == 0 ||
			    strcmp(state, "unused") == 0)
				continue;
			json_array_append_new(list, json_pack(
				"{s:s, s:s, s:s, s:s, s:I}", "service", service->name, "server",
				target->seats[i].server->name, "state", state, "why", health.reason,
				"since", (json_int_t)health.since_wall_ms));
		}
}

void
api_status(struct request *request)
{
	struct console *console = request->console;
	const struct config *config = look_config(request);
	json_t *services = json_array(), *wrong = json_array();
	unsigned down = 0, active = 0;
	double rate = 0;

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		const struct service_view *view = service->run;
		unsigned up = 0, n = service->target.pool->n_servers;
		char why[512];
		const char *state = service_state(console, service, why, sizeof(why));
		uint32_t now = board_active(console->child->board, service->cell);

		for (uint32_t k = 0; k < n; k++) {
			struct cell_health health;
			const char *seat = seat_state(console, service, &service->target.seats[k],
			                              &health);

			up += strcmp(seat, "up") == 0 || strcmp(seat, "unchecked") == 0;
		}
		json_array_append_new(services, json_pack(
			"{s:s, s:s, s:s, s:i, s:i, s:i, s:f}", "name", service->name, "state", state,
			"why", why, "up", (int)up, "servers", (int)n, "active", (int)now,
			"rate", view->rate));
		down += strcmp(state, "down") == 0 || strcmp(state, "sorry") == 0;
		active += now;
		rate += view->rate;
		if (service->settings.enabled)
			look_wrong(request, service, wrong);
	}
	request_json(request, json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:f, s:b, s:o, s:o}", "version", PACKAGE_VERSION,
		"trial_until", (json_int_t)console->trial.until_wall_ms,
		"started", (json_int_t)board_started_wall_ms(console->child->board),
		"now", (json_int_t)clock_wall_ms(),
		"generation", (json_int_t)console->child->current->number,
		"services_total", (int)config->n_services, "services_down", (int)down,
		"active", (int)active, "rate", rate, "well", down == 0 && json_array_size(wrong) == 0,
		"services", services, "wrong", wrong));
}

static const char *const health_words[] = { "unknown", "up", "down", "draining", "unchecked" };

static json_t *
look_check(struct request *request, const struct service *service, const struct seat *seat)
{
	struct cell_health health;

	board_health_read(board_cell_at(request->console->child->board, seat->cell), &health);
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "service", service->name,
	                 "server", seat->server->name,
	                 "state", health_words[health.health <= HEALTH_UNCHECKED ? health.health : 0],
	                 "why", health.reason, "since", (json_int_t)health.since_wall_ms,
	                 "changes", (json_int_t)health.changes,
	                 "latency_us", (json_int_t)health.latency_us);
}

/* Seat by seat: what the checker has written, with reason and latency. */
void
api_checks(struct request *request)
{
	const struct config *config = look_config(request);
	json_t *list = json_array();

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		const struct target *target;

		for (uint32_t t = 0; service->n_monitors && (target = service_target(service, t)); t++)
			for (uint32_t k = 0; k < target->pool->n_servers; k++)
				json_array_append_new(list, look_check(request, service,
				                                       &target->seats[k]));
	}
	request_json(request, json_pack("{s:o}", "checks", list));
}

/* How connections ended, of one service or of all; each reason with its words. */
void
api_reasons(struct request *request)
{
	const struct config *config = look_config(request);
	const char *name = request_query(request, "service");
	const struct service *service = NULL;
	uint64_t all[BOARD_REASONS] = { 0 };
	json_t *list = json_array();

	if (name) {
		service = api_find_service(request, name);
		if (!service) {
			json_decref(list);
			return;
		}
	}
	for (uint32_t i = 0; i < config->n_services; i++) {
		uint64_t counts[BOARD_REASONS];

		if (service && service != &config->services[i])
			continue;
		board_sum_reasons(request->console->child->board, config->services[i].cell, counts);
		for (unsigned reason = 0; reason < REASONS_END; reason++)
			all[reason] += counts[reason];
	}
	for (unsigned reason = 1; reason < REASONS_END; reason++)
		if (all[reason])
			json_array_append_new(list, json_pack(
				"{s:s, s:s, s:b, s:I}", "reason", reason_rows[reason].name, "words",
				reason_rows[reason].words, "error", reason_rows[reason].error, "total",
				(json_int_t)all[reason]));
	request_json(request, json_pack("{s:o}", "reasons", list));
}
