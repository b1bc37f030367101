/* Flows: found by who speaks to which address of ours, begun, ended. */
#include "way/flow.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/slab.h"
#include "share/source.h"
#include "way/figures.h"
#include "way/forecast.h"
#include "way/limits.h"
#include "way/report.h"

/* A record on the board outlives what it tells of, so that it is there for as long as the flow is. */
enum { FLOW_RECORD_SLACK_MS = 5000 };

static void
flows_turn_ends(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
	struct flows *flows = container_of(prepare, struct flows, turn_ends);

	(void)loop, (void)events;
	datagrams_flush(flows->out);
	flows->now_us = 0;
	flows->turn++;
}

struct flows *
flows_new(struct way *way)
{
	struct flows *flows = must_alloc(sizeof(*flows));

	*flows = (struct flows){ .way = way, .pid = (uint32_t)getpid() };
	table_init(&flows->table);
	table_init(&flows->posts);
	link_init(&flows->doors);
	ev_prepare_init(&flows->turn_ends, flows_turn_ends);
	/* Behind all others: what they have to say leaves with this turn, too. */
	ev_set_priority(&flows->turn_ends, EV_MINPRI);
	return flows;
}

void
flows_free(struct flows *flows)
{
	list_each_safe(link, &flows->doors) {
		struct flow_door *door = container_of(link, struct flow_door, link);

		close(door->io.fd);
		free(door);
	}
	datagrams_free(flows->in);
	datagrams_free(flows->out);
	table_free(&flows->table);
	table_free(&flows->posts);
	slab_free(flows->post_slab);
	free(flows);
}

/* The clock is looked at once in a turn. */
uint64_t
flows_now_us(struct flows *flows)
{
	if (!flows->now_us)
		flows->now_us = clock_us();
	return flows->now_us;
}

struct flow *
flow_find(const struct flows *flows, uint64_t hash, const struct flow_key *key)
{
	table_each(entry, &flows->table, hash) {
		struct flow *flow = container_of(entry, struct flow, entry);

		if (memcmp(&flow->key, key, sizeof(*key)) == 0)
			return flow;
	}
	return NULL;
}

/* The protocol module. */

size_t
flow_talk_size(const struct sy_protocol *protocol)
{
	return protocol->packet ? sizeof(struct flow_talk) + protocol->session_size : 0;
}

static const struct sy_protocol *
flow_protocol(const struct flow *flow)
{
	return flow->service->protocol.module->ops;
}

static void
flow_talk_open(struct flow *flow)
{
	const struct sy_protocol *protocol = flow_protocol(flow);
	struct flow_talk *talk;

	if (!protocol->packet)
		return;
	talk = flow->talk = (void *)((char *)flow + (sizeof(*flow) + 15) / 16 * 16);
	memset(talk, 0, flow_talk_size(protocol));
	talk->session.conf = flow->service->protocol.conf;
	talk->session.state = talk->state;
	talk->session.now_ms = flow->door->way->child->now_ms;
	talk->session.facts.client = flow->key.client;
	talk->session.facts.service = flow->key.local;
	talk->session.service_name = flow->service->name;
	talk->session.datagram = talk->session.server_datagram = true;
	talk->session.secret = board_secret(flow->door->way->board);
	figures_open(flow->service->run, &talk->session);
	if (protocol->open)
		protocol->open(&talk->session);
}

static void
flow_talk_close(struct flow *flow)
{
	const struct sy_protocol *protocol = flow_protocol(flow);

	if (!flow->talk)
		return;
	if (protocol->close)
		protocol->close(&flow->talk->session);
	figures_end(flow->service->run, flow->talk->told);
}

void
flow_forget(struct flow *flow)
{
	flow_talk_close(flow);
	flow_talk_open(flow);
}

static void
flow_extend(struct flow *flow)
{
	uint64_t idle_ms = ((struct service_run *)flow->service->run)->flow_idle_ms;
	struct way *way = flow->door->way;
	uint64_t until = way->child->now_ms + idle_ms + idle_ms / 4;

	flow->extend_ms = way->child->now_ms + idle_ms / 4;
	if (until < flow->alive_ms)
		until = flow->alive_ms;
	flow_record_extend(way->board, way->row, flow->record, until + FLOW_RECORD_SLACK_MS);
}

/* What anybody can ask in anybody's name: an answer that is longer than the question would make a weapon
 * of the server. */
static bool
flow_unproven(struct flow *flow, uint32_t most)
{
	struct service_run *run = flow->service->run;

	if (limits_unproven(flow->door->way, flow->service, &flow->key.client, most))
		return true;
	tally_add(run->reasons[REASON_PACKET_RATE], 1);
	tally_add(run->tally->refused, 1);
	return false;
}

bool
flow_passes(struct flow *flow, enum sy_side side, struct sy_span bytes)
{
	struct service_run *run = flow->service->run;
	uint64_t now_ms = flow->door->way->child->now_ms;
	struct sy_packet_verdict verdict;

	flow->talk->session.now_ms = now_ms;
	verdict = flow_protocol(flow)->packet(&flow->talk->session, side, bytes);
	figures_tell(run, flow->seat ? flow->seat->run : NULL, &flow->talk->session,
	             flow->talk->told);
	forecast_tell(flow->seat ? flow->seat->run : NULL, &flow->talk->session,
	              &flow->talk->until_told);
	if (verdict.what == SY_PACKET_DROP) {
		flow->words = verdict.reason;
		tally_add(run->reasons[REASON_PACKET_DROPPED], 1);
		tally_add(run->tally->refused, 1);
		return false;
	}
	if (verdict.most_per_second && !flow_unproven(flow, verdict.most_per_second))
		return false;
	if (verdict.lifetime_ms) {
		flow->alive_ms = now_ms + verdict.lifetime_ms;
		flow_extend(flow);
	}
	if (verdict.relieve_ms && flow->seat)
		lineup_relieve(((struct seat_run *)flow->seat->run)->lineup, flow->seat,
		               now_ms + verdict.relieve_ms);
	flow->moves = verdict.fresh && flow->seat &&
	              !choose_welcomes(flow->door->way->board, flow->seat);
	return true;
}

/* Life. */

void
flow_touch(struct flow *flow)
{
	uint64_t now_ms = flow->door->way->child->now_ms;

	flow->last_ms = now_ms;
	if (now_ms >= flow->extend_ms)
		flow_extend(flow);
}

/* The one who arms it. */
static void
flow_timed(struct timer_entry *entry, uint64_t now_ms)
{
	struct flow *flow = container_of(entry, struct flow, timer);
	struct service_run *run = flow->service->run;
	uint64_t due_ms = flow->last_ms + run->flow_idle_ms;

	if (due_ms < flow->alive_ms)
		due_ms = flow->alive_ms;
	if (now_ms >= due_ms) {
		flow_end(flow, REASON_IDLE);
		return;
	}
	if (due_ms > now_ms + run->flow_idle_ms)
		due_ms = now_ms + run->flow_idle_ms;
	timeq_arm_at(run->flow_idle, entry, due_ms);
}

void
flow_attach(struct service_run *run)
{
	const struct service_settings *settings = &run->service->settings;

	link_init(&run->flows);
	run->flow_idle_ms = settings->idle_given ? settings->idle_timeout.ms : FLOW_IDLE_MS;
	run->flow_idle = timeq_get(run->way->child->timeouts, run->flow_idle_ms, flow_timed);
}

/* Resumed flows are not new: only what forbids them altogether ends them. */
static enum reason
flow_admit(struct flow *flow, bool resumed)
{
	const struct service_settings *settings = &flow->service->settings;
	struct limited who = { flow->door->way, flow->service, &flow->key.client, UINT32_MAX };
	struct way *way = who.way;
	enum reason reason;

	if (!resumed) {
		if (way->conns > way->most - way->most / 4)
			return REASON_WORKER_FULL;
		reason = limits_admit(&who);
		flow->source_slot = who.slot;
		return reason;
	}
	if (settings->max_connections_per_source || settings->max_rate_per_source.per_second)
		flow->source_slot = source_more(way->board, way->row, flow->service->id,
		                                who.client, way->child->now_ms);
	return choose_admits(flow->service, who.client);
}

static struct flow *
flow_begin(struct flow_door *door, uint64_t hash, const struct flow_key *key,
           const struct datagram_name *name)
{
	struct way *way = door->way;
	const struct service *service = door->listener->service;
	struct service_run *run = service->run;
	struct flow *flow = slab_take(run->flow_slab);

	if (!flow)
		return NULL;
	memset(flow, 0, sizeof(*flow));
	flow->io.fd = -1;
	flow->key = *key;
	flow->name = *name;
	timer_init(&flow->timer);
	link_init(&flow->of_seat);
	flow->door = door;
	flow->generation = generation_hold(way->child->current);
	flow->service = service;
	flow->id = ++way->made * BOARD_WORKERS + way->child->index;
	flow->began_ms = flow->last_ms = way->child->now_ms;
	flow->extend_ms = UINT64_MAX;
	flow->record = FLOW_UNRECORDED;
	flow->source_slot = UINT32_MAX;
	flow->burst = 1;
	list_append(&run->flows, &flow->of_service);
	tally_add(run->tally->active, 1);
	timeq_arm(run->flow_idle, &flow->timer, way->child->now_ms);
	table_put(&way->flows->table, &flow->entry, hash);
	way->conns++;
	flow_talk_open(flow);
	return flow;
}

struct flow *
flow_new(struct flow_door *door, uint64_t hash, const struct flow_key *key,
         const struct datagram_name *name)
{
	struct way *way = door->way;
	struct flow_record record;
	struct flow *flow;
	enum reason reason;
	bool resumed;

	if (!door->listener || way->child->stopping)
		return NULL;
	resumed = flow_recall(way->board, way->row, hash, key, way->child->now_ms, &record);
	flow = flow_begin(door, hash, key, name);
	if (!flow)
		return NULL;
	reason = flow_admit(flow, resumed);
	if (reason != REASON_NONE) {
		flow_end(flow, reason);
		return NULL;
	}
	flow->counted = resumed;
	if (resumed && !flow_connect(flow, &record))
		return NULL;
	return flow;
}

/* Of clients that are refused one line a second, else whoever sends datagrams fills the disk. */
static void
flow_tell(struct flow *flow)
{
	struct service_run *run = flow->service->run;
	uint64_t now_ms = flow->door->way->child->now_ms;
	struct conn portrait;

	if (!flow->served) {
		if (run->flow_complained_ms && now_ms < run->flow_complained_ms + 1000)
			return;
		run->flow_complained_ms = now_ms;
	}
	flow_portrait(flow, &portrait);
	report_flow(&portrait, flow->talk ? &flow->talk->session : NULL);
}

static void
flow_tally_end(const struct flow *flow, enum reason reason)
{
	struct service_run *run = flow->service->run;
	struct seat_run *seat = flow->seat ? flow->seat->run : NULL;

	tally_add(run->reasons[reason], 1);
	tally_add(run->tally->active, -1u);
	if (!reason_rows[reason].error)
		return;
	tally_add(run->tally->failed, 1);
	if (seat) {
		tally_add(seat->tally->failed, 1);
		tally_add(seat->server_tally->failed, 1);
	}
}

void
flow_end(struct flow *flow, enum reason reason)
{
	struct service_run *run = flow->service->run;
	struct way *way = flow->door->way;

	flow->reason = (uint8_t)reason;
	/* All datagrams of it were dropped, and counted, one by one. */
	if (reason != REASON_NONE) {
		flow_tell(flow);
		flow_tally_end(flow, reason);
	} else {
		tally_add(run->tally->active, -1u);
	}
	/* Somebody else goes on with it. */
	if (reason == REASON_MOVED || reason == REASON_SHUTDOWN)
		flow->record = FLOW_UNRECORDED;
	flow_leave(flow);
	flow_talk_close(flow);
	limits_leave(way, &flow->source_slot);
	list_remove(&flow->of_service);
	timer_stop(&flow->timer);
	table_remove(&way->flows->table, &flow->entry);
	child_release(way->child, flow->generation);
	slab_give(run->flow_slab, flow);
	way->conns--;
	if (way->paused)
		accept_resume(way);
	if (way->child->stopping && way->conns == 0)
		way_over(way);
}

void
flow_each(struct way *way, void (*each)(struct flow *flow, void *context), void *context)
{
	list_each(link, &way->child->generations) {
		struct generation *generation = container_of(link, struct generation, link);

		for (uint32_t i = 0; generation->run && i < generation->config->n_services; i++) {
			struct service_run *run = generation->config->services[i].run;

			list_each_safe(at, &run->flows)
				each(container_of(at, struct flow, of_service), context);
		}
	}
}
