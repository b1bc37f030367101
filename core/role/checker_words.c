#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "base/text.h"
#include "role/checker.h"

const char *
words_label(const struct check *check, char out[static CHECK_LABEL_SIZE])
{
	const struct sy_addr *to = &check->question.to;
	char addr[ADDR_TEXT_SIZE];

	snprintf(out, CHECK_LABEL_SIZE, "%.60s %s", check->monitor->use.module->name,
	         to->port ? addr_text(to, addr) : addr_ip_text(to, addr));
	return out;
}

const char *
words_times(uint32_t n, char out[static TIMES_SIZE])
{
	static const char *const ordinals[] = {
		"", "", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
	};
	const char *end = "th";

	if (n < 2)
		out[0] = '\0';
	else if (n < sizeof(ordinals) / sizeof(ordinals[0]))
		snprintf(out, TIMES_SIZE, ", %s time", ordinals[n]);
	else {
		if (n / 10 % 10 != 1)
			end = n % 10 == 1 ? "st" : n % 10 == 2 ? "nd" : n % 10 == 3 ? "rd" : "th";
		snprintf(out, TIMES_SIZE, ", %u%s time", n, end);
	}
	return out;
}

/* "server edge1 (pool edge, service access)", "server edge1 (pool edge, 500 services)" */
static void
words_who(const struct watch *watch, uint32_t n, char *out, size_t size)
{
	const struct service *service = watch->service;
	const struct target *target;
	const struct server *server = watch->seat->server;

	for (uint32_t i = 0; (target = service_target(service, i)); i++)
		if (watch->seat >= target->seats && watch->seat < target->seats + target->pool->n_servers)
			break;
	must(target != NULL);
	if (n == 1)
		snprintf(out, size, "server %s (pool %s, service %s)", server->name, target->pool->name,
		         service->name);
	else
		snprintf(out, size, "server %s (pool %s, %u services)", server->name, target->pool->name, n);
}

static void
words_change(struct checker *checker, const struct change *change, uint32_t n)
{
	const struct watch *watch = change->watch;
	const char *reason = board_cell_at(checker->child->board, watch->seat->cell)->health_reason;
	uint64_t now_wall_ms = clock_wall_ms();
	char who[256], words[DURATION_TEXT_SIZE];

	words_who(watch, n, who, sizeof(who));
	age_text(now_wall_ms > change->since_wall_ms ? now_wall_ms - change->since_wall_ms : 0, words);
	switch ((enum board_health)change->now) {
	case HEALTH_DOWN:
		log_warn("%s is down: %s", who, reason);
		return;
	case HEALTH_DRAINING:
		log_info("%s takes no new clients: %s", who, reason);
		return;
	case HEALTH_UP:
		if (change->before == HEALTH_DOWN)
			log_info("%s is up again after %s: %s", who, words, reason);
		else if (change->before == HEALTH_DRAINING)
			log_info("%s takes new clients again after %s: %s", who, words, reason);
		return;
	case HEALTH_UNKNOWN:
	case HEALTH_UNCHECKED:
		return;
	}
}

void
words_changes(struct checker *checker)
{
	for (uint32_t i = 0; i < checker->n_changes; i++) {
		struct change *first = &checker->changes[i];
		uint32_t n = 0;

		if (first->told)
			continue;
		for (uint32_t k = i; k < checker->n_changes; k++) {
			struct change *other = &checker->changes[k];

			if (other->watch->seat->server->id != first->watch->seat->server->id ||
			    other->before != first->before || other->now != first->now)
				continue;
			other->told = true;
			n++;
		}
		words_change(checker, first, n);
	}
}
