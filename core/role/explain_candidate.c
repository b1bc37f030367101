/* See explain.h. The candidate is bound as every process would bind it, to a board of its own, on which
 * stands what the running daemon tells of servers of the same names. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memfd.h"
#include "base/text.h"
#include "role/explain.h"
#include "share/persist.h"
#include "share/source.h"

enum { CANDIDATE_AGO_MS = 60000 };

static const char *
candidate_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static const struct seat *
candidate_seat(const struct service *service, const json_t *told)
{
	const struct target *target;

	for (uint32_t t = 0; (target = service_target(service, t)); t++)
		for (uint32_t i = 0; i < target->pool->n_servers; i++)
			if (strcmp(target->pool->name, candidate_text(told, "pool")) == 0 &&
			    strcmp(target->pool->servers[i].name, candidate_text(told, "name")) == 0)
				return &target->seats[i];
	return NULL;
}

/* The words of seat_state(), the other way round. */
static void
candidate_state(struct board *board, const struct seat *seat, const json_t *told)
{
	static const struct {
		const char *word;
		enum board_health health;
		enum board_wish wish;
	} words[] = {
		{ "up", HEALTH_UP, WISH_NONE }, { "down", HEALTH_DOWN, WISH_NONE },
		{ "unused", HEALTH_DOWN, WISH_NONE }, { "draining", HEALTH_DRAINING, WISH_NONE },
		{ "drain", HEALTH_UP, WISH_DRAIN }, { "disabled", HEALTH_UP, WISH_DISABLE },
		{ "unchecked", HEALTH_UNCHECKED, WISH_NONE },
	};
	struct board_cell *cell = board_cell_at(board, seat->cell);
	json_int_t weight = json_integer_value(json_object_get(told, "weight"));
	json_int_t up_since_ms = json_integer_value(json_object_get(told, "up_since"));
	json_int_t configured = json_integer_value(json_object_get(told, "weight_configured"));

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].word, candidate_text(told, "state")) != 0)
			continue;
		board_health_write(cell, words[i].health, candidate_text(told, "why"), 0, 0);
		/* A weight of 0 is shown as drain. */
		if (words[i].wish != WISH_DRAIN || weight > 0)
			cell->wish = words[i].wish;
	}
	if (up_since_ms)
		cell->up_since_ms = clock_ms() - (clock_wall_ms() - (uint64_t)up_since_ms);
	if (weight != configured)
		cell->wish_weight_plus_1 = (uint32_t)weight + 1;
}

static void
candidate_active(struct board *board, const struct seat *seat, const json_t *told)
{
	uint32_t active = (uint32_t)json_integer_value(json_object_get(told, "active"));

	board_tally(board, ROW_WORKER, seat->cell)->active = active;
	board_tally(board, ROW_WORKER, seat->server->cell)->active += active;
}

static void
candidate_services(struct board *board, const struct config *config, const json_t *services)
{
	const json_t *told, *server;
	size_t i, k;

	json_array_foreach(services, i, told) {
		const struct service *service = config_service(config, candidate_text(told, "name"));

		if (!service)
			continue;
		board_tally(board, ROW_WORKER, service->cell)->active =
			(uint32_t)json_integer_value(json_object_get(told, "active"));
		json_array_foreach(json_object_get(told, "servers"), k, server) {
			const struct seat *seat = candidate_seat(service, server);

			if (!seat)
				continue;
			candidate_state(board, seat, server);
			candidate_active(board, seat, server);
		}
	}
}

/* An entry counts when the candidate's persistence has the same key for this client. */
static void
candidate_kept(struct child *child, const struct service *service, const struct target *target,
               const struct sy_addr *client, const json_t *entries)
{
	const struct sy_persistence *ops = service->persistence.module->ops;
	struct sy_facts facts = { .client = *client };
	struct sy_key key = { .len = 0 };
	char words[128] = "";
	const json_t *entry;
	size_t i;

	ops->key(service->persistence.conf, &facts, &key);
	if (key.len && ops->print)
		ops->print(service->persistence.conf, &key, words, sizeof(words));
	json_array_foreach(entries, i, entry) {
		if (!*words || strcmp(words, candidate_text(entry, "key")) != 0 ||
		    strcmp(service->name, candidate_text(entry, "service")) != 0)
			continue;
		for (uint32_t k = 0; k < target->pool->n_servers; k++)
			if (strcmp(target->pool->servers[k].name, candidate_text(entry, "server")) == 0)
				persist_store(child->board, child->row, target->group, &key,
				              target->pool->servers[k].id, &service->life, child->now_ms);
	}
}

/* What the client has open now counts, and how fast it came does not: nobody has it from this configuration. */
static void
candidate_open(struct child *child, const struct service *service, const struct sy_addr *client, json_int_t n)
{
	while (n-- > 0)
		source_more(child->board, ROW_WORKER, service->id, client,
		            child->now_ms > CANDIDATE_AGO_MS ? child->now_ms - CANDIDATE_AGO_MS : 0);
}

static json_t *
candidate_explain(struct child *child, const json_t *ask, struct sy_err *err)
{
	static struct console console;
	const struct config *config = child->current->config;
	const char *name = candidate_text(ask, "service"), *pool = candidate_text(ask, "pool");
	const struct service *service = config_service(config, name);
	const struct target *target = service ? explain_target(service, *pool ? pool : NULL) : NULL;
	struct sy_addr client;

	if (!service || !target) {
		if (service)
			sy_fail(err, "virtual-service %s has no pool %s beside its own", name, pool);
		else
			sy_fail(err, "there is no virtual-service %s in this configuration", name);
		return NULL;
	}
	if (!addr_parse(candidate_text(ask, "client"), &client)) {
		sy_fail(err, "a client is an address such as 192.0.2.7 or 2001:db8::1");
		return NULL;
	}
	console.child = child;
	candidate_services(child->board, config, json_object_get(ask, "services"));
	candidate_open(child, service, &client, json_integer_value(json_object_get(ask, "connections")));
	if (service->persistence.module)
		candidate_kept(child, service, target, &client, json_object_get(ask, "persistence"));
	return explain_pick(&console, service, target, &client);
}

json_t *
explain_candidate(const struct loaded *loaded, const json_t *ask, struct sy_err *err)
{
	struct child child = { .row = ROW_CONSOLE, .now_ms = clock_ms() };
	const struct gen_head *head;
	json_t *answer = NULL;
	size_t len;
	int fd = -1;
	void *map = memfd_map(loaded->generation_fd, 0, &len, err);

	head = map ? generation_head(map, len, err) : NULL;
	if (head)
		child.board = board_new(&head->board, &fd, err);
	if (!child.board)
		return NULL;
	board_set_workers(child.board, 1); /* all connections are its */
	child.current = generation_bind(1, loaded->generation_fd, loaded->secrets_fd, loaded->module_fds,
	                                loaded->n_modules, child.board, err);
	if (child.current)
		answer = candidate_explain(&child, ask, err);
	generation_free(child.current);
	board_unmap(child.board);
	munmap(map, len);
	close(fd);
	return answer;
}
