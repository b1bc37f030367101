#include "way/choose.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/must.h"
#include "share/persist.h"

const char *const choose_why_words[] = {
	[BECAUSE_SCHEDULER] = "scheduler",
	[BECAUSE_PERSISTENCE] = "persistence",
	[BECAUSE_RETRY] = "retry",
	[BECAUSE_SORRY] = "sorry",
	[BECAUSE_PINNED] = "pinned",
	[BECAUSE_RESUMED] = "resumed",
	[BECAUSE_FLOW] = "flow",
};

/* What the board says of a seat, and what follows from it. */
struct choose_look {
	struct cell_health health;
	uint32_t wish;            /* the stricter of seat's and server's */
	uint32_t weight;          /* in force; 0: no new clients */
	bool up;                  /* counts for minimum-up */
	bool fresh;               /* open to new clients */
	bool known;               /* open to clients that persistence brings back */
};

static uint32_t
choose_weight(const struct server *server, const struct board_cell *seat,
              const struct board_cell *machine, uint32_t percent)
{
	uint32_t wish = atomic_load_explicit(&seat->wish_weight_plus_1, memory_order_relaxed);
	uint32_t weight = server->weight;

	if (!wish)
		wish = atomic_load_explicit(&machine->wish_weight_plus_1, memory_order_relaxed);
	if (wish)
		weight = wish - 1;
	if (!weight || !percent)
		return weight;
	weight = (uint32_t)((uint64_t)weight * percent / 100);
	return weight ? weight : 1;
}

static void
choose_look(struct board *board, const struct seat *seat, struct choose_look *out)
{
	const struct board_cell *cell = board_cell_at(board, seat->cell);
	const struct board_cell *machine = board_cell_at(board, seat->server->cell);
	uint32_t own = atomic_load_explicit(&cell->wish, memory_order_relaxed);
	uint32_t whole = atomic_load_explicit(&machine->wish, memory_order_relaxed);
	bool usable;

	board_health_read(cell, &out->health);
	out->wish = own > whole ? own : whole;
	out->weight = choose_weight(seat->server, cell, machine, out->health.weight);
	usable = health_usable(out->health.health);
	out->up = usable && out->wish != WISH_DISABLE;
	out->fresh = usable && out->wish == WISH_NONE && out->weight > 0;
	out->known = (usable || out->health.health == HEALTH_DRAINING) &&
	             out->wish != WISH_DISABLE;
}

bool
choose_keeps(struct board *board, const struct seat *seat)
{
	struct choose_look look;

	choose_look(board, seat, &look);
	return look.known;
}

bool
choose_welcomes(struct board *board, const struct seat *seat)
{
	struct choose_look look;

	choose_look(board, seat, &look);
	return look.fresh;
}

static const struct sy_scheduler *
choose_scheduler(const struct service *service)
{
	return service->scheduler.module->ops;
}

/* Lineups. */

void
lineup_init(struct lineup *lineup, const struct service *service, const struct target *target)
{
	*lineup = (struct lineup){ .service = service, .target = target, .stale = true };
}

void
lineup_free(struct lineup *lineup)
{
	free(lineup->set.server);
	free(lineup->all);
	free(lineup->seat_of);
	free(lineup->up_since_ms);
	free(lineup->table);
	free(lineup->relieved_until_ms);
	lineup_init(lineup, lineup->service, lineup->target);
}

static void
lineup_offer(struct lineup *lineup, uint32_t i, const struct choose_look *look)
{
	const struct server *server = lineup->target->seats[i].server;
	uint64_t slow_ms = lineup->target->pool->slow_start.ms;
	uint32_t at = lineup->set.n++;

	lineup->set.server[at] = (struct sy_server){
		.id = server->id,
		.name = server->name,
		.weight = look->weight < 65535 ? look->weight : 65535,
		.share = SY_FULL_SHARE,
	};
	lineup->seat_of[at] = i;
	lineup->up_since_ms[at] = look->health.up_since_ms;
	if (slow_ms && look->health.up_since_ms &&
	    look->health.up_since_ms + slow_ms > lineup->slow_until_ms)
		lineup->slow_until_ms = look->health.up_since_ms + slow_ms;
	if (server->max_connections)
		lineup->limited = true;
}

/* The table only depends on members and weights: a check that came back the same changes nothing. */
static uint64_t
lineup_print(const struct lineup *lineup)
{
	static const struct hash_key key;
	uint64_t print = lineup->set.n + 1;

	for (uint32_t i = 0; i < lineup->set.n; i++) {
		uint64_t words[3] = { print, lineup->set.server[i].id, lineup->set.server[i].weight };

		print = hash_64(&key, words, sizeof(words));
	}
	return print;
}

static void
lineup_table(struct lineup *lineup)
{
	const struct sy_scheduler *scheduler = choose_scheduler(lineup->service);
	const void *conf = lineup->service->scheduler.conf;
	uint64_t print = lineup_print(lineup);
	size_t size;

	if (!scheduler->table_size || lineup->set.n == 0 || print == lineup->built_of)
		return;
	size = scheduler->table_size(conf, &lineup->set);
	if (size > lineup->table_size) {
		free(lineup->table);
		lineup->table = must_alloc(size);
		lineup->table_size = size;
	}
	scheduler->build(conf, &lineup->set, lineup->table);
	lineup->built_of = print;
}

static void
lineup_all(struct lineup *lineup)
{
	const struct pool *pool = lineup->target->pool;

	lineup->all = must_alloc((pool->n_servers + 1) * sizeof(*lineup->all));
	for (uint32_t i = 0; i < pool->n_servers; i++)
		lineup->all[i] = (struct sy_server){
			.id = pool->servers[i].id,
			.name = pool->servers[i].name,
			.weight = pool->servers[i].weight,
			.share = SY_FULL_SHARE,
		};
}

const struct sy_server *
lineup_server(struct lineup *lineup, const struct seat *seat)
{
	if (!lineup->all)
		lineup_all(lineup);
	return &lineup->all[seat - lineup->target->seats];
}

static void
lineup_build(struct lineup *lineup, struct board *board)
{
	uint32_t n = lineup->target->pool->n_servers;
	struct choose_look look;

	if (!lineup->all)
		lineup_all(lineup);
	if (!lineup->set.server) {
		lineup->set.server = must_alloc((n + 1) * sizeof(*lineup->set.server));
		lineup->seat_of = must_alloc((n + 1) * sizeof(*lineup->seat_of));
		lineup->up_since_ms = must_alloc((n + 1) * sizeof(*lineup->up_since_ms));
	}
	lineup->set.n = lineup->up = 0;
	lineup->slow_until_ms = 0;
	lineup->limited = lineup->marked = lineup->stale = false;
	for (uint32_t i = 0; i < n; i++) {
		choose_look(board, &lineup->target->seats[i], &look);
		lineup->up += look.up;
		if (look.fresh)
			lineup_offer(lineup, i, &look);
	}
	lineup_table(lineup);
}

void
lineup_relieve(struct lineup *lineup, const struct seat *seat, uint64_t until_ms)
{
	uint32_t n = lineup->target->pool->n_servers;

	if (!lineup->relieved_until_ms)
		lineup->relieved_until_ms = calloc(n, sizeof(*lineup->relieved_until_ms));
	if (!lineup->relieved_until_ms)
		return;
	lineup->relieved_until_ms[seat - lineup->target->seats] = until_ms;
	if (until_ms > lineup->relief_until_ms)
		lineup->relief_until_ms = until_ms;
}

/* Shares change with time, so they are not part of what a lineup keeps. */
static void
lineup_shares(struct lineup *lineup, uint64_t now_ms)
{
	uint64_t slow_ms = lineup->target->pool->slow_start.ms;

	if (!lineup->slow_until_ms && !lineup->relief_until_ms)
		return;
	for (uint32_t i = 0; i < lineup->set.n; i++) {
		uint64_t since = lineup->up_since_ms[i];
		uint64_t age = now_ms > since ? now_ms - since : 0;
		uint64_t share = since && age < slow_ms ? age * SY_FULL_SHARE / slow_ms
		                                        : SY_FULL_SHARE;

		if (lineup->relieved_until_ms &&
		    now_ms < lineup->relieved_until_ms[lineup->seat_of[i]])
			share /= 4;
		lineup->set.server[i].share = share ? (uint32_t)share : 1;
	}
	if (now_ms >= lineup->slow_until_ms)
		lineup->slow_until_ms = 0;
	if (now_ms >= lineup->relief_until_ms)
		lineup->relief_until_ms = 0;
}

/* The choice. */

/* Do its address and port mean this server? */
static bool
choose_is_at(const struct choose_ask *ask, const struct seat *seat, const struct sy_addr *addr)
{
	uint16_t port = target_port(ask->lineup->target, seat->server, ask->facts->service.port);

	return seat->server->addr.family == addr->family &&
	       memcmp(seat->server->addr.ip, addr->ip, sizeof(addr->ip)) == 0 &&
	       (!addr->port || addr->port == port);
}

static bool
choose_tried(const struct choose_ask *ask, const struct seat *seat)
{
	for (uint32_t i = 0; i < ask->n_tried; i++)
		if (ask->tried[i] == seat->server->cell)
			return true;
	for (uint32_t i = 0; i < ask->facts->n_avoid; i++)
		if (choose_is_at(ask, seat, &ask->facts->avoid[i]))
			return true;
	return false;
}

static bool
choose_full(const struct choose_ask *ask, const struct server *server)
{
	return server->max_connections &&
	       board_active(ask->board, server->cell) >= server->max_connections;
}

static void
choose_mark_busy(const struct choose_ask *ask, struct lineup *lineup)
{
	bool mark = ask->n_tried > 0 || ask->facts->n_avoid > 0 || lineup->limited;

	if (!mark && !lineup->marked)
		return;
	for (uint32_t i = 0; i < lineup->set.n; i++) {
		const struct seat *seat = &lineup->target->seats[lineup->seat_of[i]];

		lineup->set.server[i].busy = mark && (choose_tried(ask, seat) ||
		                                      choose_full(ask, seat->server));
	}
	lineup->marked = mark;
}

static bool
choose_unit_is_active(const struct service *service)
{
	return strcmp(service->load_unit, "connections") == 0 || strcmp(service->load_unit, "requests") == 0;
}

static void
choose_fill(const struct choose_ask *ask, struct lineup *lineup, uint32_t wants)
{
	bool active = choose_unit_is_active(ask->service);

	for (uint32_t i = 0; i < lineup->set.n && wants; i++) {
		uint32_t cell = lineup->target->seats[lineup->seat_of[i]].cell;
		struct sy_server *server = &lineup->set.server[i];

		if (wants & SY_WANT_LOAD)
			server->load = active ? board_active(ask->board, cell)
			                      : board_load(ask->board, cell);
		if (wants & SY_WANT_RESPONSE)
			server->response_us = board_response_us(ask->board, cell);
	}
}

static struct sy_draw
choose_draw(const struct choose_ask *ask, const struct sy_key *key, uint32_t wants)
{
	static const struct hash_key zero;
	struct sy_draw draw = { .random = ask->random, .sequence = ask->sequence };

	if (wants & SY_WANT_KEY)
		draw.key = key->len ? hash_64(&zero, key->bytes, key->len)
		                    : hash_64(&zero, ask->facts->client.ip, 16);
	return draw;
}

/* Is it open to a client that is known there? */
static bool
choose_known(const struct choose_ask *ask, const struct seat *seat)
{
	return choose_keeps(ask->board, seat) && !choose_tried(ask, seat) &&
	       !choose_full(ask, seat->server);
}

/* What the protocol knows of the exchange. */
static const struct seat *
choose_settled(const struct choose_ask *ask)
{
	const struct target *target = ask->lineup->target;

	if (ask->facts->server.family == SY_NO_ADDR)
		return NULL;
	for (uint32_t i = 0; i < target->pool->n_servers; i++)
		if (choose_is_at(ask, &target->seats[i], &ask->facts->server) &&
		    choose_known(ask, &target->seats[i]))
			return &target->seats[i];
	return NULL;
}

static const struct seat *
choose_remembered(const struct choose_ask *ask, struct choice *out)
{
	const struct service *service = ask->service;
	const struct target *target = ask->lineup->target;
	const struct sy_persistence *persistence;
	struct sy_persist_life life = service->life;
	uint64_t id;

	if (!service->persistence.module)
		return NULL;
	persistence = service->persistence.module->ops;
	persistence->key(service->persistence.conf, ask->facts, &out->key);
	if (!out->key.len)
		return NULL;
	if (!life.timeout_ms)
		return NULL;
	out->store = true;
	life.refresh = life.refresh && !ask->look_only;
	id = persist_find(ask->board, ask->row, target->group, &out->key, &life, ask->now_ms);
	for (uint32_t i = 0; id && i < target->pool->n_servers; i++) {
		const struct seat *seat = &target->seats[i];

		if (seat->server->id != id)
			continue;
		if (!choose_known(ask, seat))
			return NULL;
		out->store = false;
		return seat;
	}
	return NULL;
}

/* What the client says of itself: no table is needed. */
static const struct seat *
choose_named(const struct choose_ask *ask, struct choice *out)
{
	const struct service *service = ask->service;
	struct lineup *lineup = ask->lineup;
	const struct sy_persistence *ops =
		service->persistence.module ? service->persistence.module->ops : NULL;
	uint32_t n = lineup->target->pool->n_servers;
	int at;

	if (!ops || !ops->named)
		return NULL;
	at = ops->named(service->persistence.conf, ask->facts, lineup->all, n);
	if (at < 0)
		return NULL;
	must((uint32_t)at < n);
	out->asked = &lineup->target->seats[at];
	out->named = choose_known(ask, out->asked);
	return out->named ? out->asked : NULL;
}

static const struct seat *
choose_scheduled(const struct choose_ask *ask, struct lineup *lineup, struct choice *out)
{
	const struct sy_scheduler *scheduler = choose_scheduler(ask->service);
	struct sy_draw draw = choose_draw(ask, &out->key, scheduler->wants);
	int at;

	if (lineup->set.n == 0) {
		out->reason = REASON_NO_SERVER;
		return NULL;
	}
	lineup_shares(lineup, ask->now_ms);
	choose_mark_busy(ask, lineup);
	choose_fill(ask, lineup, scheduler->wants);
	at = scheduler->pick(ask->service->scheduler.conf, &lineup->set, lineup->table, &draw);
	if (at < 0) {
		out->reason = lineup->limited ? REASON_SERVERS_FULL : REASON_NO_SERVER;
		return NULL;
	}
	must((uint32_t)at < lineup->set.n && !lineup->set.server[at].busy);
	return &lineup->target->seats[lineup->seat_of[at]];
}

static void
choose_from(const struct choose_ask *ask, struct choice *out)
{
	struct lineup *lineup = ask->lineup;
	bool own = lineup->target == &ask->service->target;

	if ((own && lineup->up < ask->service->settings.minimum_up) || lineup->up == 0) {
		if (!ask->sorry) {
			out->reason = lineup->up ? REASON_TOO_FEW_UP : REASON_NO_SERVER;
			return;
		}
		out->target = ask->sorry->target;
		out->why = BECAUSE_SORRY;
		out->seat = choose_scheduled(ask, ask->sorry, out);
		return;
	}
	out->target = lineup->target;
	out->why = BECAUSE_PERSISTENCE;
	out->seat = choose_settled(ask);
	if (!out->seat)
		out->seat = choose_named(ask, out);
	if (!out->seat)
		out->seat = choose_remembered(ask, out);
	if (out->seat)
		return;
	out->why = ask->n_tried || ask->facts->n_avoid ? BECAUSE_RETRY : BECAUSE_SCHEDULER;
	out->seat = choose_scheduled(ask, lineup, out);
}

/* The trace. */

static void
choose_note(const struct choose_ask *ask, struct lineup *lineup, uint32_t i,
            const struct choice *choice, struct choose_note *note)
{
	const struct sy_scheduler *scheduler = choose_scheduler(ask->service);
	const struct seat *seat = &lineup->target->seats[i];
	struct sy_draw draw = choose_draw(ask, &choice->key, scheduler->wants);
	struct choose_look look;
	uint32_t at = 0;

	choose_look(ask->board, seat, &look);
	note->seat = seat;
	note->chosen = seat == choice->seat;
	while (at < lineup->set.n && lineup->seat_of[at] != i)
		at++;
	note->offered = at < lineup->set.n;
	if (choose_tried(ask, seat))
		snprintf(note->words, sizeof(note->words), "tried already");
	else if (choose_full(ask, seat->server))
		snprintf(note->words, sizeof(note->words), "has max-connections (%u) open",
		         seat->server->max_connections);
	else if (look.health.health == HEALTH_DOWN)
		snprintf(note->words, sizeof(note->words), "down: %s", look.health.reason);
	else if (look.wish == WISH_DISABLE)
		snprintf(note->words, sizeof(note->words), "disabled by the operator");
	else if (look.wish == WISH_DRAIN)
		snprintf(note->words, sizeof(note->words), "drained by the operator: known clients only");
	else if (look.health.health == HEALTH_DRAINING)
		snprintf(note->words, sizeof(note->words), "drains by its own word: %s",
		         look.health.reason);
	else if (!look.weight)
		snprintf(note->words, sizeof(note->words), "weight 0: known clients only");
	else if (note->offered && scheduler->words)
		scheduler->words(ask->service->scheduler.conf, &lineup->set, lineup->table, &draw, at,
		                 note->words, sizeof(note->words));
	else
		snprintf(note->words, sizeof(note->words), "weight %u", look.weight);
}

static void
choose_notes(const struct choose_ask *ask, struct lineup *lineup, bool sorry,
             const struct choice *choice)
{
	struct choose_trace *trace = ask->trace;

	/* Persistence may have decided before the scheduler was asked. */
	lineup_shares(lineup, ask->now_ms);
	choose_mark_busy(ask, lineup);
	choose_fill(ask, lineup, choose_scheduler(ask->service)->wants);
	for (uint32_t i = 0; i < lineup->target->pool->n_servers && trace->n < trace->room; i++) {
		struct choose_note *note = &trace->notes[trace->n++];

		*note = (struct choose_note){ .sorry = sorry };
		choose_note(ask, lineup, i, choice, note);
	}
}

static void
choose_explain(const struct choose_ask *ask, const struct choice *choice)
{
	struct choose_trace *trace = ask->trace;
	const struct sy_persistence *persistence;
	char key[96] = "", asked[96] = "";

	trace->n = 0;
	choose_notes(ask, ask->lineup, false, choice);
	if (ask->sorry)
		choose_notes(ask, ask->sorry, true, choice);
	if (choice->key.len) {
		persistence = ask->service->persistence.module->ops;
		persistence->print(ask->service->persistence.conf, &choice->key, key, sizeof(key));
	}
	if (choice->asked && !choice->named)
		snprintf(asked, sizeof(asked), "; the client named %s, which is not usable",
		         choice->asked->server->name);
	if (!choice->seat)
		snprintf(trace->words, sizeof(trace->words), "nobody: %s",
		         reason_rows[choice->reason].words);
	else if (choice->named)
		snprintf(trace->words, sizeof(trace->words), "%s: the client names it (persistence %s)",
		         choice->seat->server->name, ask->service->persistence.module->name);
	else if (choice->why == BECAUSE_PERSISTENCE)
		snprintf(trace->words, sizeof(trace->words), "%s: persistence remembers %s%s",
		         choice->seat->server->name, key, asked);
	else
		snprintf(trace->words, sizeof(trace->words), "%s: chosen by %s%s%s%s%s",
		         choice->seat->server->name, ask->service->scheduler.module->name,
		         choice->why == BECAUSE_SORRY ? " in the sorry pool" : "",
		         !*key ? "" : ask->service->life.timeout_ms ? "; persistence has no usable entry for "
		                                                    : " by ", key, asked);
}

/* The calls. */

enum reason
choose_admits(const struct service *service, const struct sy_addr *client)
{
	const struct service_settings *settings = &service->settings;

	if (!settings->enabled)
		return REASON_DISABLED;
	if (settings->deny.n && sy_nets_have(&settings->deny, client))
		return REASON_DENIED;
	if (settings->allow.n && !sy_nets_have(&settings->allow, client))
		return REASON_NOT_ALLOWED;
	return REASON_NONE;
}

void
choose(const struct choose_ask *ask, struct choice *out)
{
	out->target = NULL;
	out->seat = NULL;
	out->why = BECAUSE_SCHEDULER;
	out->reason = REASON_NONE;
	out->store = out->named = false;
	out->asked = NULL;
	out->key.len = 0;
	if (ask->lineup->stale)
		lineup_build(ask->lineup, ask->board);
	if (ask->sorry && ask->sorry->stale)
		lineup_build(ask->sorry, ask->board);
	out->reason = ask->trace ? choose_admits(ask->service, &ask->facts->client) : REASON_NONE;
	if (out->reason == REASON_NONE)
		choose_from(ask, out);
	if (ask->trace)
		choose_explain(ask, out);
}
