/* What changes things: asked of the master, which alone may. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/must.h"
#include "base/text.h"
#include "role/api.h"

static void
act_done(struct request *request, bool ok, const char *text)
{
	if (ok)
		request_json(request, json_pack("{s:b, s:s}", "ok", 1, "message", text));
	else
		request_error(request, 409, "%s", text);
}

static const char *
act_arg(struct request *request, const char *name)
{
	return json_string_value(json_object_get(request->args, name));
}

static void
wish_near(struct request *request, const char *name)
{
	const struct config *config = request->console->child->current->config;
	const char **names;
	const char *near;
	uint32_t n = 0, at = 0;

	for (uint32_t p = 0; p < config->n_pools; p++)
		n += config->pools[p].n_servers;
	names = must_alloc((n + 1) * sizeof(*names));
	for (uint32_t p = 0; p < config->n_pools; p++)
		for (uint32_t i = 0; i < config->pools[p].n_servers; i++)
			names[at++] = config->pools[p].servers[i].name;
	names[at] = NULL;
	near = text_nearest(name, names);
	request_error(request, 404, "there is no such server: %s%s%s", name,
	              near ? "; did you mean " : "", near ? near : "");
	free(names);
}

static bool
api_find_any(const struct config *config, const char *name)
{
	for (uint32_t p = 0; p < config->n_pools; p++)
		for (uint32_t i = 0; i < config->pools[p].n_servers; i++)
			if (strcmp(config->pools[p].servers[i].name, name) == 0)
				return true;
	return false;
}

bool
api_knows_server(struct request *request, const char *name)
{
	if (api_find_any(request->console->child->current->config, name))
		return true;
	wish_near(request, name);
	return false;
}

bool
api_find_server(struct request *request, const char *name, const char *pool_name,
                const struct service *service, const struct pool **in, const struct server **out)
{
	const struct config *config = request->console->child->current->config;
	unsigned found = 0;

	for (uint32_t p = 0; name && p < config->n_pools; p++) {
		const struct pool *pool = &config->pools[p];
		const struct target *target = service ? service_target_of(service, pool) : NULL;

		if ((pool_name && strcmp(pool->name, pool_name) != 0) || (service && !target))
			continue;
		for (uint32_t i = 0; i < pool->n_servers; i++) {
			if (strcmp(pool->servers[i].name, name) != 0)
				continue;
			found++;
			*in = pool;
			*out = &pool->servers[i];
		}
	}
	if (!name)
		request_error(request, 400, "say which server: server=NAME");
	else if (found == 0 && (pool_name || service) && api_find_any(config, name))
		request_error(request, 404, "%s %s has no server %s%s%s", service ? "service" : "pool",
		              service ? service->name : pool_name, name, service && pool_name ? " of pool " : "",
		              service && pool_name ? pool_name : "");
	else if (found == 0)
		wish_near(request, name);
	else if (found > 1)
		request_error(request, 409, "%u pools have a server %s: say which with \"pool\"", found, name);
	return found == 1;
}

/* Where a wish for this server goes to: the server's own cell, or that of one seat. */
static uint32_t
wish_cell(const struct service *service, const struct pool *pool, const struct server *server)
{
	return service ? service_target_of(service, pool)->seats[server - pool->servers].cell : server->cell;
}

/* The master knows cells; who reads the log knows servers. */
static void
wish_log(struct request *request)
{
	const char *service = act_arg(request, "service"), *wish = act_arg(request, "wish");
	const json_t *weight = json_object_get(request->args, "weight");

	if (json_is_integer(weight))
		log_info("operator: server %s%s%s: weight %d", request->tail, service ? " in service " : "",
		         service ? service : "", (int)json_integer_value(weight));
	else
		log_info("operator: server %s%s%s: %s", request->tail, service ? " in service " : "",
		         service ? service : "", wish ? wish : "weight as configured");
}

static void
wish_done(struct request *request, bool ok, const char *text)
{
	const struct server *server = NULL;
	const struct pool *pool;
	struct board_tally sum;

	if (!ok) {
		request_error(request, 409, "%s", text);
		return;
	}
	wish_log(request);
	/* The configuration may be another one by now. */
	if (!api_find_server(request, request->tail, act_arg(request, "pool"), NULL, &pool, &server))
		return;
	board_sum(request->console->child->board, server->cell, &sum);
	request_json(request, json_pack("{s:b, s:s, s:i}", "ok", 1, "message", text, "active",
	                                (int)sum.active));
}

void
api_wish(struct request *request)
{
	const char *wish = act_arg(request, "wish"), *service_name = act_arg(request, "service");
	json_t *weight = json_object_get(request->args, "weight");
	const struct service *service = NULL;
	const struct server *server;
	const struct pool *pool;
	uint32_t cell;
	char command[128];

	if (service_name && !(service = api_find_service(request, service_name)))
		return;
	if (!api_find_server(request, request->tail, act_arg(request, "pool"), service, &pool, &server))
		return;
	cell = wish_cell(service, pool, server);
	if (wish && !weight &&
	    (strcmp(wish, "drain") == 0 || strcmp(wish, "disable") == 0 || strcmp(wish, "enable") == 0)) {
		snprintf(command, sizeof(command), "%" PRIu32 " %s", cell, wish);
	} else if (!wish && json_is_integer(weight) && json_integer_value(weight) >= 0 &&
	           json_integer_value(weight) <= 65535) {
		snprintf(command, sizeof(command), "%" PRIu32 " weight %d", cell,
		         (int)json_integer_value(weight));
	} else if (!wish && json_is_string(weight) &&
	           strcmp(json_string_value(weight), "configured") == 0) {
		snprintf(command, sizeof(command), "%" PRIu32 " weight configured", cell);
	} else {
		request_error(request, 400, "say \"wish\": \"drain\", \"disable\" or \"enable\"; or "
		              "\"weight\": 0..65535 or \"configured\"");
		return;
	}
	request_ask(request, CONTROL_COMMAND, COMMAND_WISH, command, wish_done);
}

void
api_reload(struct request *request)
{
	const char *text = act_arg(request, "confirm");
	char command[24] = "";
	uint64_t ms;

	if (text) {
		if (!duration_parse(text, &ms) || ms < 1000 || ms > 24 * 3600000) {
			request_error(request, 400, "confirm is how long the configuration is on trial, 1s to 24h, "
			              "such as 5m; not %s", text);
			return;
		}
		snprintf(command, sizeof(command), "%" PRIu64, ms);
		trial_begin(request->console);
	}
	request_ask(request, CONTROL_COMMAND, COMMAND_RELOAD, command, act_done);
}

void
api_confirm(struct request *request)
{
	request_ask(request, CONTROL_COMMAND, COMMAND_CONFIRM, "", act_done);
}

void
api_rotate(struct request *request)
{
	request_ask(request, CONTROL_COMMAND, COMMAND_ROTATE_LOGS, "", act_done);
}

void
api_log_level(struct request *request)
{
	static const char *const levels[] = { "err", "warn", "info", "debug" };
	const char *level = act_arg(request, "level");

	for (unsigned i = 0; level && i < 4; i++)
		if (strcmp(level, levels[i]) == 0) {
			request_ask(request, CONTROL_COMMAND, COMMAND_LOG_LEVEL, level, act_done);
			return;
		}
	request_error(request, 400, "say \"level\": \"err\", \"warn\", \"info\" or \"debug\"");
}

void
api_stop(struct request *request)
{
	const char *how = act_arg(request, "how");

	if (how && (strcmp(how, "now") == 0 || strcmp(how, "graceful") == 0))
		request_ask(request, CONTROL_COMMAND, COMMAND_STOP, how, act_done);
	else
		request_error(request, 400, "say \"how\": \"now\" or \"graceful\"");
}

static void
check_done(struct request *request, bool ok, const char *text)
{
	act_done(request, ok, *text || !ok ? text : "every server is being asked now");
}

void
api_check_now(struct request *request)
{
	request_ask(request, CONTROL_ASK, ASK_CHECK_NOW, "", check_done);
}
