#include "role/routing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/must.h"
#include "net/rtnetlink.h"
#include "role/roles.h"

enum { ROUTING_LOOK_MS = 5000 };

struct routing {
	struct text rules;        /* as they were made last */
	uint32_t table;           /* 0: nothing is made */
	bool families[2];         /* IPv4, IPv6: rule and route are there, or may be from an earlier life */
	uint64_t look_at_ms;
};

/* ---- what is wanted ---- */

static const struct gen_head *
routing_head(const struct generation *generation)
{
	return generation->map;
}

static int
routing_order(const void *a, const void *b)
{
	const struct gen_route *x = a, *y = b;
	int order = (int)x->server.family - (int)y->server.family;

	return order ? order : memcmp(x->server.ip, y->server.ip, sizeof(x->server.ip));
}

/* Of an old one only the answers count, to the connections that it still has. */
static void
routing_add(struct routing_plan *plan, const struct generation *generation, bool newest)
{
	const struct gen_head *head = routing_head(generation);
	const struct gen_route *routes = generation_routes(head);

	if (newest)
		plan->table = head->routing_table;
	plan->routes = must_realloc(plan->routes, (plan->n + head->n_routes + 1) * sizeof(*routes));
	for (uint32_t i = 0; i < head->n_routes; i++) {
		if (!newest && !routes[i].transparent)
			continue;
		plan->routes[plan->n] = routes[i];
		if (!newest)
			plan->routes[plan->n].source = (struct sy_addr){ .family = SY_NO_ADDR };
		plan->n++;
	}
}

static void
routing_merge(struct routing_plan *plan)
{
	size_t kept = 0;

	if (plan->n > 0)
		qsort(plan->routes, plan->n, sizeof(*plan->routes), routing_order);
	for (size_t i = 0; i < plan->n; i++) {
		struct gen_route *last = kept ? &plan->routes[kept - 1] : NULL;

		if (!last || routing_order(last, &plan->routes[i]) != 0) {
			plan->routes[kept++] = plan->routes[i];
			continue;
		}
		last->transparent |= plan->routes[i].transparent;
		if (last->source.family == SY_NO_ADDR)
			last->source = plan->routes[i].source;
	}
	plan->n = kept;
}

/* Of all that are alive, and the one that is to come. */
static void
routing_plan(struct child *child, const struct generation *next, struct routing_plan *plan)
{
	const struct generation *newest = next;

	*plan = (struct routing_plan){ .table = 0 };
	list_each(link, &child->generations) {
		const struct generation *generation = container_of(link, struct generation, link);

		if (!newest || generation->number > newest->number)
			newest = generation;
	}
	list_each(link, &child->generations) {
		const struct generation *generation = container_of(link, struct generation, link);

		if (generation != newest)
			routing_add(plan, generation, false);
	}
	if (newest)
		routing_add(plan, newest, true);
	routing_merge(plan);
}

/* ---- and made ---- */

static int
routing_families(struct routing *routing, const struct routing_plan *plan, struct sy_err *err)
{
	static const unsigned families[] = { SY_IPV4, SY_IPV6 };

	for (unsigned f = 0; f < 2; f++) {
		bool wanted = false;

		for (size_t i = 0; i < plan->n && !wanted; i++)
			wanted = plan->routes[i].transparent && plan->routes[i].server.family == families[f];
		if (wanted ? rtnetlink_take_marked(families[f], plan->table, err)
		           : routing->families[f] && rtnetlink_leave_marked(families[f], plan->table, err))
			return -1;
		routing->families[f] = wanted;
	}
	return 0;
}

/* Complains, and goes on: at a stop there is nothing better to do. */
static void
routing_unmake(uint32_t table)
{
	struct sy_err err;

	if (rules_remove(table, &err) != 0)
		log_err("table inet steelyard-%u stays: %s", table, err.text);
	if (rtnetlink_leave_marked(SY_IPV4, table, &err) != 0 ||
	    rtnetlink_leave_marked(SY_IPV6, table, &err) != 0)
		log_err("%s", err.text);
}

static void
routing_made(const struct routing_plan *plan)
{
	unsigned answers = 0, outbound = 0;

	for (size_t i = 0; i < plan->n; i++) {
		answers += plan->routes[i].transparent;
		outbound += plan->routes[i].source.family != SY_NO_ADDR;
	}
	log_info("routing table %u, nftables table inet steelyard-%u: answers of %u servers come here, "
	         "%u servers leave from an address of a service", plan->table, plan->table, answers,
	         outbound);
}

/* `again`: whatever was made before may be gone. */
static int
routing_make(struct child *child, const struct generation *next, bool again, struct sy_err *err)
{
	struct routing *routing = child->run;
	struct routing_plan plan;
	struct text rules = { 0 };
	int result = 0;

	routing_plan(child, next, &plan);
	rules_text(&plan, &rules);
	if (again || !routing->rules.at || strcmp(routing->rules.at, rules.at) != 0) {
		/* The way first: packets with a mark must find it. */
		result = routing_families(routing, &plan, err) != 0 ? -1 : rules_run(rules.at, err);
		if (result == 0) {
			if (routing->table && routing->table != plan.table)
				routing_unmake(routing->table);
			routing->table = plan.table;
			text_free(&routing->rules);
			routing->rules = rules;
			rules = (struct text){ 0 };
			routing_made(&plan);
		}
	}
	text_free(&rules);
	free(plan.routes);
	return result;
}

/* ---- the life of the process ---- */

static int
routing_prepare(struct child *child, struct generation *generation, struct sy_err *err)
{
	struct sy_err why;

	if (rules_load(&why) == 0 && routing_make(child, generation, false, &why) == 0)
		return 0;
	return sy_fail(err, "manage-routing: %s", why.text);
}

/* Connections of the old one may go on for long: its servers stay until no worker has it any more. */
static void
routing_switched(struct child *child, struct generation *old)
{
	(void)child;
	if (old)
		generation_hold(old);
}

static bool
routing_workers_are_new(struct child *child)
{
	for (unsigned row = ROW_WORKER; row < BOARD_ROWS; row++) {
		const struct board_process *process = board_process(child->board, row);

		if (process->pid && (process->generations > 1 || process->generation < child->current->number))
			return false;
	}
	return true;
}

/* A firewall that is loaded anew flushes what others made. */
static void
routing_look(struct child *child)
{
	struct routing *routing = child->run;
	struct routing_plan plan;
	struct sy_err err;
	int failed;

	routing->look_at_ms = child->now_ms + ROUTING_LOOK_MS;
	if (!rules_are_there(routing->table)) {
		log_warn("somebody has removed nftables table inet steelyard-%u: it is made again",
		         routing->table);
		failed = routing_make(child, NULL, true, &err);
	} else {
		routing_plan(child, NULL, &plan);
		failed = routing_families(routing, &plan, &err);
		free(plan.routes);
	}
	if (failed)
		log_err("%s", err.text);
}

static void
routing_beat(struct child *child)
{
	struct routing *routing = child->run;

	if (routing_workers_are_new(child))
		list_each(link, &child->generations) {
			struct generation *generation = container_of(link, struct generation, link);

			if (!generation->current && generation->refs > 0)
				child_release(child, generation);
		}
	if (child->now_ms >= routing->look_at_ms)
		routing_look(child);
}

static void
routing_drop(struct child *child, struct generation *generation)
{
	struct sy_err err;

	(void)generation;
	if (!child->stopping && routing_make(child, NULL, false, &err) != 0)
		log_err("%s", err.text);
}

static void
routing_message(struct child *child, struct control_message *message)
{
	struct routing_plan plan;

	if (message->record.type != CONTROL_ASK)
		return;
	routing_plan(child, NULL, &plan);
	routing_ask(child, &plan, message);
	free(plan.routes);
}

static void
routing_stop(struct child *child, bool graceful, uint64_t grace_ms)
{
	struct routing *routing = child->run;

	(void)grace_ms;
	if (!graceful && routing->table) {
		routing_unmake(routing->table);
		log_info("routing table %u and nftables table inet steelyard-%u are removed", routing->table,
		         routing->table);
	}
	child_exit(child);
}

static const struct child_ops routing_ops = {
	.role = "routing",
	.plain = true,
	.prepare = routing_prepare,
	.switched = routing_switched,
	.drop = routing_drop,
	.message = routing_message,
	.stop = routing_stop,
	.beat = routing_beat,
};

int
routing_main(int argc, char **argv)
{
	struct routing routing = { .families = { true, true } };
	struct child child = { .run = &routing };
	int status;

	(void)argc, (void)argv;
	status = child_run(&child, &routing_ops);
	text_free(&routing.rules);
	return status;
}
