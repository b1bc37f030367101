/* What a wish would do, told before it is done: nobody should have to find out. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "role/api.h"
#include "role/live.h"
#include "share/persist.h"

enum effect_wish { EFFECT_DRAIN, EFFECT_DISABLE, EFFECT_ENABLE, EFFECT_WEIGHT };

struct effect {
	struct request *request;
	const struct config *config;
	const struct pool *pool;
	const struct server *server;
	const struct service *only;  /* NULL: all that use the pool */
	enum effect_wish wish;
	uint64_t weight;
	json_t *services;
	struct text words;
	unsigned n_services;
	uint64_t active, load;
	const char *unit;
	uint64_t kept, kept_until_ms;
};

static bool
effect_is(const struct effect *effect, const struct seat *seat, const char *state)
{
	if (seat->server != effect->server)
		return live_usable(live_state(state));
	switch (effect->wish) {
	case EFFECT_DRAIN:
	case EFFECT_DISABLE:
		return false;
	case EFFECT_WEIGHT:
		if (effect->weight == 0)
			return false;
		break;
	case EFFECT_ENABLE:
		break;
	}
	return strcmp(state, "down") != 0 && strcmp(state, "unused") != 0 &&
	       strcmp(state, "draining") != 0;
}

/* In the protocol's unit, when that is another one than what is counted anyway. */
static void
effect_load(struct effect *effect, const struct service *service, uint32_t load)
{
	if (!load || strcmp(service->load_unit, "connections") == 0)
		return;
	effect->unit = service->load_unit;
	effect->load += load;
}

/* The service's own pool decides; the sorry pool helps out. */
static void
effect_service(struct effect *effect, const struct service *service, const struct target *target)
{
	struct console *console = effect->request->console;
	const struct seat *mine = &target->seats[effect->server - effect->pool->servers];
	uint32_t wanted = service->settings.minimum_up ? service->settings.minimum_up : 1;
	uint32_t n = target->pool->n_servers, before = 0, after = 0;
	struct board_tally sum;
	const char *then;

	for (uint32_t i = 0; i < n; i++) {
		struct cell_health health;
		const char *state = seat_state(console, service, &target->seats[i], &health);

		before += live_usable(live_state(state));
		after += effect_is(effect, &target->seats[i], state);
	}
	board_sum(console->child->board, mine->cell, &sum);
	effect->active += sum.active;
	effect_load(effect, service, sum.load);
	effect->n_services++;
	then = target != &service->target ? "unchanged"
	     : after == n ? "up" : after >= wanted ? "degraded" : service->sorry ? "sorry" : "down";
	json_array_append_new(effect->services, json_pack(
		"{s:s, s:i, s:i, s:i, s:i, s:i, s:s}", "service", service->name, "active",
		(int)sum.active, "servers", (int)n, "accepting_now", (int)before, "accepting_then",
		(int)after, "wanted", (int)wanted, "state_then", then));
	if (target == &service->target && after < wanted && before >= wanted)
		text_printf(&effect->words, "%s %s: %" PRIu32 " of %" PRIu32 " servers would take new clients, "
		            "%" PRIu32 " %s wanted. ", service->name,
		            service->sorry ? "would go to its sorry pool" : "would go down", after, n,
		            wanted, wanted == 1 ? "is" : "are");
}

static bool
effect_kept(void *context, const struct persist_entry_view *entry)
{
	struct effect *effect = context;

	if (entry->server != effect->server->id || (effect->only && entry->group != effect->only->id))
		return true;
	effect->kept++;
	if (entry->expires_ms > effect->kept_until_ms)
		effect->kept_until_ms = entry->expires_ms;
	return true;
}

static void
effect_words(struct effect *effect, struct text *out)
{
	const char *where = effect->only ? effect->only->name : effect->n_services == 1 ? "its one service"
	                                                      : "all its services";
	const char *name = effect->server->name;

	switch (effect->wish) {
	case EFFECT_DRAIN:
		text_printf(out, "%s gets no new clients in %s; those that persistence keeps on it may come "
		            "back. ", name, where);
		break;
	case EFFECT_DISABLE:
		text_printf(out, "%s gets nothing new at all in %s; those that persistence kept on it go "
		            "elsewhere. ", name, where);
		break;
	case EFFECT_ENABLE:
		text_printf(out, "%s takes new clients again in %s, as soon as its checks say up. ", name, where);
		break;
	case EFFECT_WEIGHT:
		text_printf(out, "%s has the weight %" PRIu64 " in %s from then on%s. ", name, effect->weight,
		            where, effect->weight ? "" : ": no new clients");
		break;
	}
	text_printf(out, "%" PRIu64 " connection%s live%s on", effect->active,
	            effect->active == 1 ? "" : "s", effect->active == 1 ? "s" : "");
	if (effect->load && effect->unit)
		text_printf(out, ", with %" PRIu64 " %s", effect->load, effect->unit);
	text_puts(out, " until they end by themselves. ");
	if (effect->kept)
		text_printf(out, "%" PRIu64 " client%s kept on it by persistence. ", effect->kept,
		            effect->kept == 1 ? " is" : "s are");
	text_add(out, effect->words.at ? effect->words.at : "", effect->words.len);
}

static void
effect_answer(struct effect *effect)
{
	struct child *child = effect->request->console->child;
	uint64_t now_ms = clock_ms(), wall_ms = clock_wall_ms();
	struct text words = { 0 };

	for (uint32_t i = 0; i < effect->config->n_services; i++) {
		const struct service *service = &effect->config->services[i];
		const struct target *target;

		if (effect->only && effect->only != service)
			continue;
		target = service_target_of(service, effect->pool);
		if (target)
			effect_service(effect, service, target);
	}
	persist_each(child->board, now_ms, effect_kept, effect);
	effect_words(effect, &words);
	while (words.len && words.at[words.len - 1] == ' ')
		words.at[--words.len] = '\0';
	request_json(effect->request, json_pack(
		"{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "server", effect->server->name, "pool",
		effect->pool->name, "words", words.at, "active", (json_int_t)effect->active, "load",
		(json_int_t)effect->load, "persistence", (json_int_t)effect->kept, "persistence_until",
		(json_int_t)(effect->kept ? wall_ms + effect->kept_until_ms - now_ms : 0), "services",
		effect->services));
	text_free(&words);
	text_free(&effect->words);
}

static bool
effect_wish(struct effect *effect)
{
	static const char *const wishes[] = { "drain", "disable", "enable" };
	const char *wish = request_query(effect->request, "wish");
	const char *weight = request_query(effect->request, "weight");

	for (unsigned i = 0; wish && i < 3; i++)
		if (strcmp(wish, wishes[i]) == 0) {
			effect->wish = (enum effect_wish)i;
			return !weight;
		}
	effect->wish = EFFECT_WEIGHT;
	if (wish || !weight)
		return false;
	if (strcmp(weight, "configured") == 0)
		effect->weight = effect->server->weight;
	else if (!uint_parse(weight, &effect->weight) || effect->weight > 65535)
		return false;
	return true;
}

void
api_effect(struct request *request)
{
	const char *service = request_query(request, "service");
	struct effect effect = { .request = request, .config = request->console->child->current->config };

	if (service && !(effect.only = api_find_service(request, service)))
		return;
	if (!api_find_server(request, request_query(request, "server"), request_query(request, "pool"),
	                     effect.only, &effect.pool, &effect.server))
		return;
	if (!effect_wish(&effect)) {
		request_error(request, 400, "say wish=drain, disable or enable; or weight=0..65535 or configured");
		return;
	}
	effect.services = json_array();
	effect_answer(&effect);
}
