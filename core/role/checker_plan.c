#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/must.h"
#include "base/text.h"
#include "conf/tls_policy.h"
#include "role/checker.h"

static const struct hash_key plan_key; /* ids are the same everywhere */

/* What is asked. */

enum plan_about { PLAN_QUESTION, PLAN_TIMING, PLAN_TARGET };

/* Where a setting belongs. The target stands in the question as it was resolved. */
static enum plan_about
plan_about(const char *name)
{
	static const char *const timing[] = { "interval", "timeout", "fast-interval", "rise", "fall" };

	for (size_t i = 0; i < sizeof(timing) / sizeof(timing[0]); i++)
		if (strcmp(name, timing[i]) == 0)
			return PLAN_TIMING;
	return strcmp(name, "port") == 0 || strcmp(name, "address") == 0 || strcmp(name, "pools") == 0
	       ? PLAN_TARGET : PLAN_QUESTION;
}

struct plan_settings {
	uint64_t question, timing;
};

/* The order of settings does not matter, so their hashes are added; that of equal names does. */
static void
plan_add(struct plan_settings *sum, const char *name, size_t ordinal, const struct text *value)
{
	struct text line = { 0 };
	uint64_t hash;

	text_printf(&line, "%s %zu ", name, ordinal);
	text_add(&line, value->at, value->len);
	hash = hash_64(&plan_key, line.at, line.len);
	text_free(&line);
	switch (plan_about(name)) {
	case PLAN_QUESTION:
		sum->question += hash;
		return;
	case PLAN_TIMING:
		sum->timing += hash;
		return;
	case PLAN_TARGET:
		return;
	}
}

static void
plan_value(struct text *value, const struct node *node)
{
	for (uint32_t i = 0; i < node->n_args; i++) {
		text_add(value, (const char *)node->args[i].at, node->args[i].len);
		text_add(value, "", 1);
		if (node->found && node->found[i].len)
			text_add(value, (const char *)node->found[i].at, node->found[i].len);
		text_add(value, "", 1);
	}
	for (const struct node *child = node->children; child; child = child->next) {
		text_puts(value, child->name);
		text_add(value, "", 1);
		plan_value(value, child);
	}
}

/* `monitor tcp port=5061;` and `monitor tcp { port 5061; }` are the same. */
static void
plan_argument(struct plan_settings *sum, const struct node *node, uint32_t i)
{
	const char *arg = node_arg(node, i), *equals = strchr(arg, '=');
	struct text name = { 0 }, value = { 0 };

	text_add(&name, arg, equals ? (size_t)(equals - arg) : strlen(arg));
	if (equals)
		text_puts(&value, equals + 1);
	text_add(&value, "", 1);
	if (node->found && node->found[i].len)
		text_add(&value, (const char *)node->found[i].at, node->found[i].len);
	text_add(&value, "", 1);
	plan_add(sum, name.at, 0, &value);
	text_free(&name);
	text_free(&value);
}

static struct plan_settings
plan_settings(const struct node *node)
{
	struct plan_settings sum = { 0, 0 };

	for (uint32_t i = 1; node && i < node->n_args; i++)
		plan_argument(&sum, node, i);
	for (const struct node *child = node ? node->children : NULL; child; child = child->next) {
		struct text value = { 0 };
		size_t ordinal = 0;

		for (const struct node *earlier = node->children; earlier != child; earlier = earlier->next)
			ordinal += strcmp(earlier->name, child->name) == 0;
		plan_value(&value, child);
		plan_add(&sum, child->name, ordinal, &value);
		text_free(&value);
	}
	return sum;
}

static void
plan_identify(struct check *check, const struct plan_settings *settings)
{
	struct {
		uint64_t module, settings, names, timing;
		struct sy_addr to;
		uint32_t zero;
	} key;
	size_t without_timing;

	memset(&key, 0, sizeof(key));
	key.module = hash_id("check", check->monitor->use.module->name, NULL);
	key.settings = settings->question;
	key.to = check->question.to;
	/* A program is told the names, and may answer by them. */
	if (check->plan.transport == SY_OVER_PROGRAM)
		key.names = hash_id(check->question.service, check->question.server, NULL);
	without_timing = hash_64(&plan_key, &key, sizeof(key));
	check->question_id = without_timing;
	key.timing = settings->timing + 1;
	check->id = hash_64(&plan_key, &key, sizeof(key));
	check->id += !check->id;
}

/* Whom. */

static struct sy_addr
plan_to(const struct service *service, const struct target *target, const struct server *server,
        const struct monitor *monitor, const struct sy_probe_plan *plan)
{
	const struct monitor_settings *settings = &monitor->settings;
	struct sy_addr to = settings->address.family ? settings->address : server->addr;

	/* With extra ports the first is asked for, unless the monitor names one. */
	to.port = settings->port ? (uint16_t)settings->port
	        : plan->port ? (uint16_t)plan->port
	        : target_port(target, server, service->n_listeners ? service->listeners[0].addr.port : 0);
	if (plan->transport == SY_OVER_ICMP)
		to.port = 0;
	return to;
}

static int
plan_check(struct check *check, const struct service *service, const struct target *target,
           const struct server *server, const struct monitor *monitor, struct sy_err *err)
{
	const struct sy_monitor *ops = monitor->use.module->ops;

	check->monitor = monitor;
	check->plan = ops->plan(monitor->use.conf);
	check->question = (struct probe_question){
		.ops = ops,
		.conf = monitor->use.conf,
		.to = plan_to(service, target, server, monitor, &check->plan),
		.service = service->name,
		.server = server->name,
		.timeout_ms = monitor->settings.timeout.ms,
	};
	if (!check->question.to.port && check->plan.transport != SY_OVER_ICMP &&
	    check->plan.transport != SY_OVER_PROGRAM)
		return sy_fail(err, "service %s: monitor %s does not know which port of server %s to ask: "
		               "give it a port", service->name, monitor->use.module->name, server->name);
	return 0;
}

/* All together. */

/* One for each seat and monitor, until equal ones are put together. */
struct plan_pair {
	struct check check;
	struct watch *watch;
	uint32_t position;        /* of the check among those of the watch */
};

struct plan_build {
	struct checker *checker;
	struct generation *generation;
	struct checker_plan *plan;
	struct plan_pair *pairs;
	uint32_t n_pairs;
};

static void
plan_count(const struct config *config, uint32_t *seats, uint32_t *pairs)
{
	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		uint32_t n = service_seats(service);

		*seats += n;
		*pairs += service->settings.enabled ? n * service->n_monitors : 0;
	}
}

static int
plan_target(struct plan_build *build, const struct service *service, const struct target *target,
            const struct plan_settings *settings, struct sy_err *err)
{
	struct arena *arena = build->generation->arena;

	for (uint32_t i = 0; i < target->pool->n_servers; i++) {
		struct watch *watch = &build->plan->watches[build->plan->n_watches++];

		watch->service = service;
		watch->seat = &target->seats[i];
		watch->checks = arena_array(arena, struct check *, service->n_monitors + 1);
		for (uint32_t k = 0; service->settings.enabled && k < service->n_monitors; k++) {
			struct plan_pair *pair = &build->pairs[build->n_pairs];

			if (!monitor_asks(&service->monitors[k], target))
				continue;
			build->n_pairs++;
			memset(pair, 0, sizeof(*pair));
			pair->watch = watch;
			pair->position = watch->n_checks++;
			if (plan_check(&pair->check, service, target, watch->seat->server,
			               &service->monitors[k], err) != 0)
				return -1;
			plan_identify(&pair->check, &settings[k]);
		}
	}
	return 0;
}

static int
plan_service(struct plan_build *build, const struct service *service, struct sy_err *err)
{
	struct plan_settings *settings = must_alloc((service->n_monitors + 1) * sizeof(*settings));
	const struct target *target;
	int failed = 0;

	for (uint32_t k = 0; k < service->n_monitors; k++)
		settings[k] = plan_settings(service->monitors[k].use.node);
	for (uint32_t i = 0; !failed && (target = service_target(service, i)); i++)
		failed = plan_target(build, service, target, settings, err);
	free(settings);
	return failed;
}

static int
plan_compare_pairs(const void *a, const void *b)
{
	const struct plan_pair *left = a, *right = b;

	if (left->check.id != right->check.id)
		return left->check.id < right->check.id ? -1 : 1;
	return left->watch < right->watch ? -1 : left->watch > right->watch;
}

static int
plan_compare_watches(const void *a, const void *b)
{
	const struct watch *left = *(struct watch *const *)a, *right = *(struct watch *const *)b;

	return left->seat->cell < right->seat->cell ? -1 : left->seat->cell > right->seat->cell;
}

/* Equal questions become one check. */
static void
plan_share(struct plan_build *build)
{
	struct arena *arena = build->generation->arena;
	struct checker_plan *plan = build->plan;
	uint32_t n = 0;

	qsort(build->pairs, build->n_pairs, sizeof(*build->pairs), plan_compare_pairs);
	for (uint32_t i = 0; i < build->n_pairs; i++)
		n += !i || build->pairs[i].check.id != build->pairs[i - 1].check.id;
	plan->checks = arena_array(arena, struct check, n + 1);
	for (uint32_t i = 0, end; i < build->n_pairs; i = end) {
		struct check *check = &plan->checks[plan->n_checks++];

		for (end = i + 1; end < build->n_pairs; end++)
			if (build->pairs[end].check.id != build->pairs[i].check.id)
				break;
		*check = build->pairs[i].check;
		check->checker = build->checker;
		check->generation = build->generation;
		check->question.plan = &check->plan;
		check->watches = arena_array(arena, struct watch *, end - i);
		for (uint32_t k = i; k < end; k++) {
			struct watch *watch = build->pairs[k].watch;

			watch->checks[build->pairs[k].position] = check;
			/* The same monitor twice in a service is odd, but no reason to count twice. */
			if (!check->n_watches || check->watches[check->n_watches - 1] != watch)
				check->watches[check->n_watches++] = watch;
		}
	}
}

/* What has to be got from outside. */

static int
plan_claim(struct checker_plan *plan, struct board *board, struct sy_err *err)
{
	for (uint32_t i = 0; i < plan->n_checks; i++) {
		plan->checks[i].state = board_check(board, plan->checks[i].id, true);
		if (!plan->checks[i].state)
			return sy_fail(err, "the table of checks is full: %u are needed, there is room for %u "
			               "with those that are still in use; set more with \"tables { checks N; }\" "
			               "and restart", plan->n_checks, board_sizes(board)->checks);
	}
	return 0;
}

static uint64_t
plan_tls_id(const struct sy_probe_plan *plan)
{
	const struct sy_span spans[] = {
		plan->tls_ca, plan->tls_certificate, plan->tls_key, sy_span_text(plan->tls_alpn),
	};
	uint64_t id = plan->tls_verify;

	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
		uint64_t both[2] = { id, spans[i].len ? hash_64(&plan_key, spans[i].at, spans[i].len) : 0 };

		id = hash_64(&plan_key, both, sizeof(both));
	}
	for (uint32_t i = 0; i < plan->tls_versions.n; i++) {
		uint64_t both[2] = { id, (uint64_t)tls_policy_version(plan->tls_versions.at[i]) };

		id = hash_64(&plan_key, both, sizeof(both));
	}
	return id;
}

static int
plan_tls(struct checker_plan *plan, struct arena *arena, struct sy_err *err)
{
	uint64_t *ids = must_alloc((plan->n_checks + 1) * sizeof(*ids));
	int failed = 0;

	plan->tls = arena_array(arena, struct probe_tls *, plan->n_checks + 1);
	for (uint32_t i = 0; i < plan->n_checks && !failed; i++) {
		struct check *check = &plan->checks[i];
		struct sy_err why = { "" };
		uint64_t id;
		uint32_t k = 0;

		if (check->plan.transport != SY_OVER_TLS)
			continue;
		id = plan_tls_id(&check->plan);
		while (k < plan->n_tls && ids[k] != id)
			k++;
		if (k == plan->n_tls) {
			ids[k] = id;
			plan->tls[k] = probe_tls_new(&check->plan, &why);
			if (!plan->tls[k])
				failed = sy_fail(err, "service %s: monitor %s: %s", check->question.service,
				                 check->monitor->use.module->name, why.text);
			else
				plan->n_tls++;
		}
		check->question.tls = plan->tls[k];
	}
	free(ids);
	return failed;
}

static int
plan_echo(struct checker_plan *plan, struct probes *probes, struct sy_err *err)
{
	for (uint32_t i = 0; i < plan->n_checks; i++)
		if (plan->checks[i].plan.transport == SY_OVER_ICMP)
			return probes_need_echo(probes, err);
	return 0;
}

int
plan_make(struct checker *checker, struct generation *generation, struct sy_err *err)
{
	const struct config *config = generation->config;
	struct arena *arena = generation->arena;
	struct plan_build build = { .checker = checker, .generation = generation };
	uint32_t seats = 0, pairs = 0;
	int failed = 0;

	plan_count(config, &seats, &pairs);
	build.plan = arena_new_of(arena, struct checker_plan);
	build.plan->watches = arena_array(arena, struct watch, seats + 1);
	build.pairs = must_alloc((pairs + 1) * sizeof(*build.pairs));
	for (uint32_t i = 0; i < config->n_services && !failed; i++)
		failed = plan_service(&build, &config->services[i], err);
	if (!failed)
		plan_share(&build);
	free(build.pairs);
	build.plan->by_cell = arena_array(arena, struct watch *, seats + 1);
	for (uint32_t i = 0; i < build.plan->n_watches; i++)
		build.plan->by_cell[i] = &build.plan->watches[i];
	qsort(build.plan->by_cell, build.plan->n_watches, sizeof(struct watch *), plan_compare_watches);
	if (failed || plan_claim(build.plan, checker->child->board, err) != 0 ||
	    plan_echo(build.plan, checker->probes, err) != 0 ||
	    plan_tls(build.plan, arena, err) != 0) {
		plan_free(build.plan);
		return -1;
	}
	generation->run = build.plan;
	return 0;
}

void
plan_free(struct checker_plan *plan)
{
	for (uint32_t i = 0; plan && i < plan->n_tls; i++)
		probe_tls_drop(plan->tls[i]);
}

struct watch *
plan_watch(const struct checker_plan *plan, uint32_t cell)
{
	struct seat seat = { .cell = cell };
	struct watch key = { .seat = &seat }, *wanted = &key, **found;

	found = bsearch(&wanted, plan->by_cell, plan->n_watches, sizeof(struct watch *),
	                plan_compare_watches);
	return found ? *found : NULL;
}
