#define _GNU_SOURCE 1
#include "way/attach.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/must.h"
#include "base/slab.h"
#include "net/tls.h"
#include "share/persist.h"
#include "way/aside.h"
#include "way/batch.h"
#include "way/drain.h"
#include "way/edge.h"
#include "way/figures.h"
#include "way/flow.h"
#include "way/handshakes.h"
#include "way/hop.h"
#include "way/talk.h"
#include "way/trace.h"
#include "way/trunk.h"

/* generation->run. All seats of a generation in one array: a change on the board looks at each. */
struct attached {
	struct seat_run *seats;
	uint32_t n_seats;
};

/* Blocks of one size serve all services and generations that need it. */
static struct way_slab {
	struct way_slab *next;
	struct slab *slab;
	size_t size;
} *attach_slabs;

static struct slab *
attach_slab(size_t size)
{
	struct way_slab *entry;

	for (entry = attach_slabs; entry; entry = entry->next)
		if (entry->size == size)
			return entry->slab;
	entry = must_alloc(sizeof(*entry));
	entry->size = size;
	entry->slab = slab_new(size);
	entry->next = attach_slabs;
	attach_slabs = entry;
	return entry->slab;
}

static void
attach_turn_ends(struct ev_loop *loop, struct ev_prepare *turn, int events)
{
	(void)loop, (void)events;
	handshakes_make_room(container_of(turn, struct way, turn));
	way_turn(container_of(turn, struct way, turn));
	log_flush();
}

static void
attach_before_timeouts(void *way)
{
	way_turn(way);
}

struct way *
way_new(struct child *child)
{
	struct way *way = must_alloc(sizeof(*way));

	way->child = child;
	way->loop = child->loop;
	way->board = child->board;
	way->row = child->row;
	way->scratch = must_alloc(WAY_SCRATCH);
	way->batch = batch_new();
	way->chunks = chunk_pool_new();
	way->pipes = pipe_pool_new();
	link_init(&way->doors);
	link_init(&way->aside);
	link_init(&way->due_clients);
	link_init(&way->due_servers);
	link_init(&way->due_handshakes);
	link_init(&way->roused);
	link_init(&way->under_way);
	way->flows = flows_new(way);
	way->hops = hops_new(way);
	table_init(&way->named);
	table_init(&way->strands);
	way->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	way->random = clock_us() * 0x9e3779b97f4a7c15 ^ (uint64_t)getpid() << 32;
	way->most = UINT32_MAX;
	/* Lines of the connections that end in one turn are written together. */
	log_gather();
	edge_open(way);
	ev_prepare_init(&way->turn, attach_turn_ends);
	ev_prepare_start(way->loop, &way->turn);
	timeq_set_first(child->timeouts, attach_before_timeouts, way);
	ev_unref(way->loop);
	return way;
}

void
way_free(struct way *way)
{
	if (!way)
		return;
	must(list_empty(&way->doors) && list_empty(&way->aside) && way->conns == 0);
	flows_free(way->flows);
	hops_free(way->hops);
	table_free(&way->named);
	table_free(&way->strands);
	chunk_pool_free(way->chunks);
	pipe_pool_free(way->pipes);
	trace_free(way);
	if (way->spare_fd >= 0)
		close(way->spare_fd);
	batch_free(way->batch);
	edge_close(way);
	free(way->scratch);
	free(way->records.bytes);
	slab_free(way->tls_slab);
	slab_free(way->aside_slab);
	slab_free(way->strand_slab);
	tls_shared_free(way->tls);
	free(way);
	while (attach_slabs) {
		struct way_slab *entry = attach_slabs;

		attach_slabs = entry->next;
		slab_free(entry->slab);
		free(entry);
	}
}

static void
attach_end_all(struct link *conns, size_t offset, enum reason reason)
{
	list_each_safe(link, conns) {
		struct conn *conn = (void *)((char *)link - offset);

		way_end(conn, reason);
	}
}

static void
attach_end_flows(struct link *flows, size_t offset, enum reason reason)
{
	list_each_safe(link, flows)
		flow_end((struct flow *)(void *)((char *)link - offset), reason);
}

static void
attach_drained(struct timer_entry *entry, uint64_t now_ms)
{
	struct service_run *run = container_of(entry, struct service_run, removed);

	(void)now_ms;
	attach_end_all(&run->conns, offsetof(struct conn, of_service), REASON_REMOVED);
	attach_end_flows(&run->flows, offsetof(struct flow, of_service), REASON_REMOVED);
}

static void
attach_target(struct way *way, const struct service *service, struct target *target,
              struct seat_run **seats, struct arena *arena)
{
	struct lineup *lineup = arena_new_of(arena, struct lineup);

	lineup_init(lineup, service, target);
	target->run = lineup;
	for (uint32_t i = 0; i < target->pool->n_servers; i++) {
		struct seat *seat = &target->seats[i];
		struct seat_run *run = (*seats)++;

		*run = (struct seat_run){
			.cell = seat->cell,
			.server_cell = seat->server->cell,
			.service = service,
			.seat = seat,
			.lineup = lineup,
			.tally = board_tally(way->board, way->row, seat->cell),
			.server_tally = board_tally(way->board, way->row, seat->server->cell),
		};
		link_init(&run->conns);
		link_init(&run->flows);
		link_init(&run->aside);
		link_init(&run->trunks);
		seat->run = run;
		drain_attach(run);
	}
}

static void
attach_timeouts(struct way *way, struct service_run *run)
{
	const struct service_settings *settings = &run->service->settings;
	uint64_t idle_ms = settings->idle_timeout.ms;

	run->greet = way_queue(way, settings->greet_timeout.ms);
	run->connect = way_queue(way, settings->connect_timeout.ms);
	run->post_idle = way_queue(way, run->flow_idle_ms);
	run->trunk_idle = way_queue(way, settings->server_idle_timeout.ms);
	run->parting = way_queue(way, WAY_PARTING_MS);
	run->settle = way_queue(way, idle_ms && idle_ms < WAY_SETTLE_MS ? idle_ms : WAY_SETTLE_MS);
	for (unsigned i = 0; idle_ms && i < WAY_IDLE_STEPS; i++)
		run->idle[i] = way_queue(way, idle_ms >> i ? idle_ms >> i : 1);
}

static void
attach_service(struct way *way, struct service *service, struct arena *arena)
{
	const struct sy_protocol *protocol = service->protocol.module->ops;
	struct service_run *run = arena_new_of(arena, struct service_run);

	run->service = service;
	run->way = way;
	run->tally = board_tally(way->board, way->row, service->cell);
	run->reasons = board_reasons(way->board, way->row, service->cell);
	run->protocol = protocol;
	run->slab = attach_slab((sizeof(struct conn) + 15) / 16 * 16 + talk_size(protocol));
	run->flow_slab = attach_slab((sizeof(struct flow) + 15) / 16 * 16 +
	                             flow_talk_size(protocol));
	figures_attach(run);
	aside_attach(run);
	link_init(&run->conns);
	flow_attach(run);
	timer_init(&run->removed);
	/* Workers do not all begin with the same server. */
	run->sequence = way->child->index;
	attach_timeouts(way, run);
	service->run = run;
}

static int
attach_check(const struct service *service, struct sy_err *err)
{
	const struct sy_protocol *protocol = service->protocol.module->ops;

	if (protocol->window > CHUNK_MOST)
		return sy_fail(err, "virtual-service %s: protocol %s wants to see %u bytes at once; "
		               "%u is the most", service->name, service->protocol.module->name,
		               protocol->window, (unsigned)CHUNK_MOST);
	return 0;
}

static void
detach_tls(struct config *config)
{
	for (struct tls *tls = config->tls; tls; tls = tls->next) {
		tls_context_free(tls->run);
		tls->run = NULL;
	}
}

static int
attach_tls(struct way *way, struct config *config, struct sy_err *err)
{
	if (config->tls && !way->tls)
		way->tls = tls_shared_new(way->board);
	for (struct tls *tls = config->tls; tls; tls = tls->next) {
		tls->run = tls_context_new(tls, way->tls, err);
		if (!tls->run) {
			detach_tls(config);
			return -1;
		}
	}
	return 0;
}

int
attach(struct way *way, struct generation *generation, struct sy_err *err)
{
	struct config *config = generation->config;
	struct arena *arena = generation->arena;
	struct attached *attached = arena_new_of(arena, struct attached);
	struct seat_run *next;

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];

		if (attach_check(service, err) < 0)
			return -1;
		attached->n_seats += service_seats(service);
	}
	if (attach_tls(way, config, err) < 0)
		return -1;
	next = attached->seats = arena_array(arena, struct seat_run, attached->n_seats + 1);
	for (uint32_t i = 0; i < config->n_services; i++) {
		struct service *service = &config->services[i];

		struct target *target;

		attach_service(way, service, arena);
		for (uint32_t j = 0; (target = service_target(service, j)); j++)
			attach_target(way, service, target, &next, arena);
	}
	generation->run = attached;
	return 0;
}

void
detach(struct generation *generation)
{
	struct config *config = generation->config;
	struct attached *attached = generation->run;

	if (!attached)
		return;
	for (uint32_t i = 0; i < attached->n_seats; i++) {
		drain_detach(&attached->seats[i]);
		aside_clear(&attached->seats[i]);
	}
	for (uint32_t i = 0; i < config->n_services; i++) {
		struct service *service = &config->services[i];
		struct service_run *run = service->run;
		const struct target *target;

		must(list_empty(&run->conns) && list_empty(&run->flows));
		timer_stop(&run->removed);
		for (uint32_t j = 0; (target = service_target(service, j)); j++)
			lineup_free(target->run);
	}
	detach_tls(config);
	generation->run = NULL;
}

static void
attach_remove(struct service_run *run, uint64_t now_ms)
{
	uint64_t drain_ms = run->service->settings.drain_timeout.ms;

	run->removed_ms = now_ms;
	if ((list_empty(&run->conns) && list_empty(&run->flows)) || !drain_ms)
		return;
	log_info("virtual-service %s was removed: its connections end in %llu s at the latest",
	         run->service->name, (unsigned long long)drain_ms / 1000);
	timeq_arm(timeq_get(run->way->child->timeouts, drain_ms, attach_drained), &run->removed,
	          now_ms);
}

static void
attach_rouse(struct conn *conn, void *context)
{
	(void)context;
	if (conn->talk && conn->step == STEP_CLASSIFY)
		way_rouse(conn);
}

void
attach_look_again(struct way *way)
{
	attach_each(way, attach_rouse, NULL);
}

void
attach_switched(struct way *way)
{
	struct generation *current = way->child->current;

	attach_look_again(way);
	way->most = current->config->global.worker_connections;
	way->most_handshakes = current->config->global.worker_handshakes;
	list_each(link, &way->child->generations) {
		struct generation *generation = container_of(link, struct generation, link);

		if (generation == current || !generation->run)
			continue;
		for (uint32_t i = 0; i < generation->config->n_services; i++) {
			struct service_run *run = generation->config->services[i].run;
			bool gone = !config_service(current->config, run->service->name);

			if (gone && !run->removed_ms)
				attach_remove(run, way->child->now_ms);
			if (gone || !run->removed_ms)
				continue;
			/* It has come back. */
			timer_stop(&run->removed);
			run->removed_ms = 0;
		}
	}
}

/* Persistence is cleared by one worker: the table is shared. */
static bool
attach_is_first(const struct way *way)
{
	for (unsigned row = ROW_WORKER; row < way->row; row++)
		if (board_process(way->board, row)->pid != 0)
			return false;
	return true;
}

static void
attach_seat_down(struct way *way, struct seat_run *run)
{
	const struct service *service = run->service;

	if (service->persistence.module && attach_is_first(way))
		persist_clear(way->board, way->row, run->lineup->target->group, run->seat->server->id,
		              NULL);
	list_each_safe(link, &run->conns) {
		struct conn *conn = container_of(link, struct conn, of_seat);

		if (conn->step == STEP_CONNECT)
			connect_elsewhere(conn);
		else if (conn->step == STEP_CLASSIFY && !conn->talk->pinned)
			pick_drop(conn, true); /* kept for an exchange that may come */
		else if (service->settings.on_down.index == ON_DOWN_RESET)
			way_end(conn, REASON_SERVER_DOWN);
	}
	attach_end_flows(&run->flows, offsetof(struct flow, of_seat), REASON_SERVER_DOWN);
}

void
attach_changed(struct way *way, uint32_t cell, bool down)
{
	list_each(link, &way->child->generations) {
		struct attached *attached = container_of(link, struct generation, link)->run;

		for (uint32_t i = 0; attached && i < attached->n_seats; i++) {
			struct seat_run *run = &attached->seats[i];

			if (run->cell != cell && run->server_cell != cell)
				continue;
			run->lineup->stale = true;
			drain_look(run);
			if (down || pick_drains(way->board, run->seat))
				aside_clear(run);
			if (down && run->cell == cell)
				attach_seat_down(way, run);
			trunk_look(run);
		}
	}
}

void
attach_each(struct way *way, void (*each)(struct conn *conn, void *context), void *context)
{
	list_each(link, &way->child->generations) {
		struct generation *generation = container_of(link, struct generation, link);

		for (uint32_t i = 0; generation->run && i < generation->config->n_services; i++) {
			struct service_run *run = generation->config->services[i].run;

			list_each_safe(at, &run->conns)
				each(container_of(at, struct conn, of_service), context);
		}
	}
}
