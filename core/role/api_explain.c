/* `explain`: the real pick for a client, run here against the same board and the same configuration,
 * with a note on each server. Nothing changes by it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/text.h"
#include "role/api.h"
#include "role/explain.h"
#include "share/persist.h"
#include "share/source.h"
#include "way/choose.h"

__attribute__((format(printf, 2, 3))) static void
explain_step(json_t *steps, const char *format, ...)
{
	char words[512];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	json_array_append_new(steps, json_string(words));
}

/* Who comes too often, in the order of way/limits.c; all clients of the service together have no address. */
static enum reason
explain_source(struct console *console, const struct service *service, const struct sy_addr *client,
               json_t *steps)
{
	static const struct sy_addr everybody;
	const struct service_settings *set = &service->settings;
	uint32_t rate = set->max_rate_per_source.per_second, all = set->max_rate.per_second;
	struct board *board = console->child->board;
	uint64_t now_ms = console->child->now_ms;
	struct source_count source = source_look(board, service->id, client, now_ms);
	uint32_t recent = source_look(board, service->id, &everybody, now_ms).recent;

	if (rate)
		explain_step(steps, "max-rate-per-source: this address came %" PRIu32 " times in the last second, "
		             "%" PRIu32 " are allowed", source.recent, rate);
	if (rate && source.recent >= rate)
		return REASON_SOURCE_RATE;
	if (set->max_connections_per_source)
		explain_step(steps, "max-connections-per-source: this address has %" PRIu32
		             " of %" PRIu32 " open", source.active, set->max_connections_per_source);
	if (set->max_connections_per_source && source.active >= set->max_connections_per_source)
		return REASON_SOURCE_FULL;
	if (all)
		explain_step(steps, "max-rate: %" PRIu32 " came in the last second, %" PRIu32 " are allowed",
		             recent, all);
	return all && recent >= all ? REASON_SERVICE_RATE : REASON_NONE;
}

/* What stands in the client's way before a server is chosen. */
static enum reason
explain_limits(struct console *console, const struct service *service, const struct sy_addr *client,
               json_t *steps)
{
	const struct service_settings *set = &service->settings;
	uint32_t active = board_active(console->child->board, service->cell);
	enum reason admits = choose_admits(service, client);

	if (admits != REASON_NONE) {
		explain_step(steps, "refused: %s", reason_rows[admits].words);
		return admits;
	}
	if (set->max_connections) {
		explain_step(steps, "max-connections: %" PRIu32 " of %" PRIu32 " open", active,
		             set->max_connections);
		if (active >= set->max_connections)
			return REASON_SERVICE_FULL;
	}
	return explain_source(console, service, client, steps);
}

static void
explain_persistence(struct console *console, const struct service *service,
                    const struct target *target, const struct sy_facts *facts, json_t *steps)
{
	const struct sy_persistence *ops;
	struct sy_persist_life life = service->life;
	struct sy_key key = { 0 };
	char words[128] = "";
	uint64_t server;

	if (!service->persistence.module) {
		explain_step(steps, "persistence: none; each connection is balanced anew");
		return;
	}
	ops = service->persistence.module->ops;
	if (ops->named)
		explain_step(steps, "persistence: a request may name its server by itself (%s); an address "
		             "does not tell", service->persistence.module->name);
	ops->key(service->persistence.conf, facts, &key);
	if (key.len == 0) {
		explain_step(steps, "persistence: this client has no key");
		return;
	}
	if (ops->print)
		ops->print(service->persistence.conf, &key, words, sizeof(words));
	life.refresh = false; /* looking must not lengthen its life */
	server = persist_find(console->child->board, console->child->row,
	                      target->group, &key, &life, console->child->now_ms);
	if (!server) {
		explain_step(steps, "persistence: no entry for %s", words);
		return;
	}
	for (uint32_t i = 0; i < target->pool->n_servers; i++)
		if (target->pool->servers[i].id == server)
			explain_step(steps, "persistence: %s has an entry for server %s", words,
			             target->pool->servers[i].name);
}

static json_t *
explain_servers(struct console *console, const struct service *service,
                const struct target *target, const struct choose_trace *trace)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < trace->n; i++) {
		const struct choose_note *note = &trace->notes[i];
		struct cell_health health;
		const char *state = seat_state(console, service, note->seat, &health);

		json_array_append_new(list, json_pack(
			"{s:s, s:s, s:s, s:i, s:i, s:b, s:b, s:b, s:s}",
			"name", note->seat->server->name, "pool",
			note->sorry ? service->sorry->pool->name : target->pool->name, "state", state,
			"active", (int)board_active(console->child->board, note->seat->cell),
			"weight", (int)note->seat->server->weight,
			"offered", note->offered, "chosen", note->chosen, "sorry", note->sorry,
			"why", note->words));
	}
	return list;
}

json_t *
explain_pick(struct console *console, const struct service *service, const struct target *target,
             const struct sy_addr *client)
{
	struct lineup lineup, sorry;
	struct choose_trace trace = { 0 };
	struct sy_facts facts = { .client = *client };
	struct choice choice = { 0 };
	json_t *steps = json_array(), *answer;
	enum reason limit;
	char outcome[512], address[ADDR_TEXT_SIZE];
	struct choose_ask ask = {
		.service = service, .lineup = &lineup, .sorry = service->sorry ? &sorry : NULL,
		.board = console->child->board, .row = console->child->row,
		.facts = &facts, .now_ms = console->child->now_ms, .random = clock_us(),
		.look_only = true, .trace = &trace,
	};

	if (service->n_listeners)
		facts.service = service->listeners[0].addr;
	trace.room = service_seats(service);
	trace.notes = must_alloc(trace.room * sizeof(*trace.notes));
	memset(trace.notes, 0, trace.room * sizeof(*trace.notes));
	limit = explain_limits(console, service, client, steps);
	if (target != &service->target)
		explain_step(steps, "pool: %s, as a rule of protocol %s may choose", target->pool->name,
		             service->protocol.module->name);
	explain_persistence(console, service, target, &facts, steps);
	lineup_init(&lineup, service, target);
	if (service->sorry)
		lineup_init(&sorry, service, service->sorry);
	choose(&ask, &choice);
	if (trace.words[0])
		explain_step(steps, "%s", trace.words);
	addr_ip_text(client, address);
	if (limit != REASON_NONE)
		snprintf(outcome, sizeof(outcome), "%s is refused by %s: %s", address, service->name,
		         reason_rows[limit].words);
	else if (choice.seat)
		snprintf(outcome, sizeof(outcome), "%s goes to %s of %s: %s", address,
		         choice.seat->server->name, choice.target->pool->name, choose_why_words[choice.why]);
	else
		snprintf(outcome, sizeof(outcome), "%s gets no server of %s: %s", address, service->name,
		         reason_rows[choice.reason].words);
	answer = json_pack("{s:s, s:s, s:s?, s:o, s:o}", "outcome", outcome, "service", service->name,
	                   "server", limit == REASON_NONE && choice.seat ? choice.seat->server->name : NULL,
	                   "steps", steps,
	                   "servers", explain_servers(console, service, target, &trace));
	lineup_free(&lineup);
	if (service->sorry)
		lineup_free(&sorry);
	free(trace.notes);
	return answer;
}

/* What a rule of the protocol would choose is asked for by name. */
const struct target *
explain_target(const struct service *service, const char *pool)
{
	if (!pool || strcmp(pool, service->target.pool->name) == 0)
		return &service->target;
	for (uint32_t i = 0; i < service->n_more; i++)
		if (strcmp(pool, service->more[i].pool->name) == 0)
			return &service->more[i];
	return NULL;
}

void
api_explain(struct request *request)
{
	const struct service *service = api_find_service(request, request_query(request, "service"));
	const char *text = request_query(request, "client"), *pool = request_query(request, "pool");
	const struct target *target;
	struct sy_addr client;

	if (!service)
		return;
	target = explain_target(service, pool);
	if (!target)
		request_error(request, 404, "virtual-service %s has no pool %s beside its own",
		              service->name, pool);
	else if (!text || !addr_parse(text, &client))
		request_error(request, 400, "client= is an address such as 192.0.2.7 or 2001:db8::1, "
		              "not %s", text ? text : "nothing");
	else
		request_json(request, explain_pick(request->console, service, target, &client));
}
