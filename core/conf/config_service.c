#include <string.h>

#include "base/hash.h"
#include "conf/bind.h"
#include "conf/modules.h"

/* ---- the pools ---- */

static void
bind_seats(struct binder *binder, const struct node *node, const struct service *service,
	   struct target *target)
{
	const struct pool *pool = target->pool;

	target->seats = arena_array(binder->arena, struct seat, pool->n_servers);
	for (uint32_t i = 0; i < pool->n_servers && service->name; i++) {
		struct seat *seat = &target->seats[i];

		seat->server = &pool->servers[i];
		seat->id = hash_id(service->name, pool->name, seat->server->name, NULL);
		seat->cell = bind_cell(binder, CELL_OTHER, seat->id, node);
	}
}

static const struct pool *
bind_pool_named(struct binder *binder, const struct node *node, const char *name)
{
	const struct pool *pool = names_find(binder->pools, name);
	const char *near;

	if (pool)
		return pool;
	near = text_nearest(name, names_all(binder->pools));
	complain(binder->complaints, node, "there is no pool %s%s%s%s", name,
		 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	return NULL;
}

/* Who wants to know which pool a row of the protocol names. */
struct bind_more {
	struct binder *binder;
	struct service *service;
	uint32_t room;
};

static struct target *
bind_more_grow(struct bind_more *more)
{
	struct service *service = more->service;
	struct target *larger;

	if (service->n_more == more->room) {
		more->room = more->room ? more->room * 2 : 4;
		larger = arena_array(more->binder->arena, struct target, more->room);
		if (service->n_more)
			memcpy(larger, service->more, service->n_more * sizeof(*larger));
		service->more = larger;
	}
	return &service->more[service->n_more++];
}

/* struct rows_pools. 1 is the service's own pool; those after it are made as they are named. */
static uint32_t
bind_more_pool(void *context, const struct node *node, const char *name)
{
	struct bind_more *more = context;
	struct service *service = more->service;
	const struct pool *pool = bind_pool_named(more->binder, node, name);
	struct target *target;

	if (!pool)
		return 0;
	if (pool == service->target.pool)
		return 1;
	for (uint32_t i = 0; i < service->n_more; i++)
		if (service->more[i].pool == pool)
			return i + 2;
	if (service->sorry && service->sorry->pool == pool) {
		complain(more->binder->complaints, node,
			 "pool %s is the sorry pool of virtual-service %s, and cannot be another one there",
			 name, service->name ? service->name : "");
		return 0;
	}
	target = bind_more_grow(more);
	target->pool = pool;
	target->tls = pool->tls;
	target->group = hash_id(service->name ? service->name : "", "pool", name, NULL);
	bind_seats(more->binder, node, service, target);
	return service->n_more + 1;
}

/* ---- modules ---- */

static void
bind_release(struct binder *binder, const struct sy_module *module, void *conf)
{
	struct release *release;

	if (!module->release)
		return;
	release = arena_new_of(binder->arena, struct release);
	*release = (struct release){ module, conf, binder->config->releases };
	binder->config->releases = release;
}

/* `protocol NAME key=value { ... }`: the module and its settings. `core`: rows that the core reads
 * from the same block. */
static void
bind_use(struct binder *binder, const struct node *node, enum sy_kind kind, const char *preset,
	 const struct rows_into *core, const struct rows_pools *pools, struct use *use)
{
	struct complaints *complaints = binder->complaints;
	unsigned errors = complaints->errors, n = 0;
	struct rows_into into[2];
	struct sy_err err = { 0 };
	bool named = node->n_args && strcmp(node->name, kind_names[kind]) == 0;
	const char *name = named ? node_arg(node, 0) : preset;
	void *conf;

	if (strcmp(node->name, kind_names[kind]) == 0 && !named) {
		complain(complaints, node, "%s needs the name of a module: %s NAME;", node->name,
			 node->name);
		return;
	}
	use->node = node;
	use->module = binder->module(binder->context, kind, name, &err);
	if (!use->module) {
		complain(complaints, node, "%s %s: %s", kind_names[kind], name, err.text);
		return;
	}
	conf = arena_alloc(binder->arena, use->module->conf_size);
	use->conf = conf;
	if (core)
		into[n++] = *core;
	into[n++] = (struct rows_into){ use->module->rows, conf };
	if (named) {
		rows_bind_pools(binder->arena, node, 1, into, n, NULL, pools, complaints);
	} else {
		const struct node nothing = { .name = kind_names[kind], .file = node->file,
					      .line = node->line, .via = node->via };

		rows_bind(binder->arena, &nothing, 0, into, n, NULL, complaints);
	}
	if (complaints->errors > errors)
		return;
	if (use->module->check && use->module->check(conf, &err) < 0)
		complain(complaints, node, "%s %s: %s", kind_names[kind], name, err.text);
	else
		bind_release(binder, use->module, conf);
}

static bool
bind_is_off(const struct node *node)
{
	return node->n_args == 1 && !node->block && strcmp(node_arg(node, 0), "off") == 0;
}

/* ---- the pool and the sorry pool ---- */

static void
bind_target(struct binder *binder, const struct node *node, struct service *service,
	    struct target *target)
{
	const struct pool *pool;
	const char *name;

	bind_rows(binder, node, 1, target_rows, target, target_others);
	target->tls = bind_tls(binder, node, false,
			       arena_printf(binder->arena, "virtual-service %s",
					    service->name ? service->name : ""));
	name = bind_name(binder, node);
	if (!name)
		return;
	pool = bind_pool_named(binder, node, name);
	if (!pool)
		return;
	target->pool = pool;
	target->group = service->id;
	bind_tls_servers(binder, target->tls, pool);
	if (!target->tls)
		target->tls = pool->tls;
	bind_seats(binder, node, service, target);
}

/* ---- snat ---- */

static void
bind_snat(struct binder *binder, const struct node *block, struct service *service)
{
	static const struct sy_row row = {
	    .name = "snat", .type = SY_ROW_ADDRS, .flags = SY_NO_PORT};
	const struct node *node = bind_one(binder, block, "snat");
	struct row_value *values;

	service->snat = SNAT_ON;
	if (!node || (node->n_args == 1 && strcmp(node_arg(node, 0), "on") == 0))
		return;
	if (node->n_args == 1 && strcmp(node_arg(node, 0), "off") == 0) {
		service->snat = SNAT_OFF;
		return;
	}
	if (node->n_args == 0 || node->block) {
		complain(binder->complaints, node,
			 "snat takes on, off, or addresses of this machine");
		return;
	}
	values = arena_array(binder->arena, struct row_value, node->n_args);
	for (uint32_t i = 0; i < node->n_args; i++) {
		struct sy_addr addr;

		values[i] = (struct row_value){ node_arg(node, i), sy_span("", 0), node };
		if (addr_parse(values[i].text, &addr) && addr.port == 0)
			continue;
		complain(
		    binder->complaints, node,
		    "snat %s: on, off, or addresses of this machine without a port are expected",
		    values[i].text);
		return;
	}
	row_parse(binder->arena, &row, values, node->n_args, &service->snat_from,
		  binder->complaints);
}

/* ---- monitors ---- */

/* A short interval pulls the defaults of the others down with it; what was written must fit. */
static void
bind_monitor_times(struct binder *binder, const struct node *node, struct monitor_conf *conf)
{
	struct monitor_settings *settings = &conf->settings;
	char timeout[DURATION_TEXT_SIZE], interval[DURATION_TEXT_SIZE];

	duration_text(settings->interval.ms, interval);
	if (settings->timeout.ms > settings->interval.ms && conf->timeout_given)
		complain(binder->complaints, node,
			 "timeout %s is longer than interval %s: a probe would "
			 "begin before the one before it has ended",
			 duration_text(settings->timeout.ms, timeout), interval);
	if (settings->fast_interval.ms > settings->interval.ms && conf->fast_given)
		complain(binder->complaints, node, "fast-interval %s is longer than interval %s",
			 duration_text(settings->fast_interval.ms, timeout), interval);
	if (settings->timeout.ms > settings->interval.ms)
		settings->timeout = settings->interval;
	if (settings->fast_interval.ms > settings->interval.ms)
		settings->fast_interval = settings->interval;
}

static void
bind_monitors(struct binder *binder, const struct node *block, struct service *service)
{
	uint32_t n = bind_count(block, "monitor");

	service->monitors = arena_array(binder->arena, struct monitor, n);
	for (const struct node *node = block->children; node; node = node->next) {
		struct monitor *monitor = &service->monitors[service->n_monitors];
		struct monitor_conf conf = { 0 };
		const struct rows_into core = { monitor_rows, &conf };

		if (strcmp(node->name, "monitor") != 0)
			continue;
		if (bind_is_off(node)) {
			if (n > 1)
				complain(binder->complaints, node,
					 "monitor off, and there are others");
			continue;
		}
		bind_use(binder, node, SY_MONITOR, "", &core, NULL, &monitor->use);
		bind_monitor_times(binder, node, &conf);
		monitor->settings = conf.settings;
		service->n_monitors += monitor->use.module != NULL;
	}
}

/* ---- the service ---- */

static void
bind_protocol(struct binder *binder, const struct node *node, struct service *service)
{
	const struct node *protocol = bind_one(binder, node, "protocol");
	struct bind_more more = { .binder = binder, .service = service };
	const struct rows_pools pools = { bind_more_pool, &more };
	unsigned errors = binder->complaints->errors;
	const struct sy_protocol *ops;

	bind_use(binder, protocol ? protocol : node, SY_PROTOCOL, "tcp", NULL, &pools,
		 &service->protocol);
	if (!service->protocol.module || binder->complaints->errors > errors)
		return;
	ops = service->protocol.module->ops;
	service->load_unit = ops->load ? ops->load(service->protocol.conf) : ops->load_unit;
	service->uses = ops->uses ? ops->uses(service->protocol.conf) & ops->flags : ops->flags;
}

static void
bind_modules(struct binder *binder, const struct node *node, struct service *service)
{
	const struct node *scheduler = bind_one(binder, node, "scheduler");
	const struct node *persistence = bind_one(binder, node, "persistence");

	bind_protocol(binder, node, service);
	bind_use(binder, scheduler ? scheduler : node, SY_SCHEDULER, "least-connections", NULL, NULL,
		 &service->scheduler);
	if (persistence && !bind_is_off(persistence)) {
		const struct sy_persistence *ops;
		unsigned errors = binder->complaints->errors;

		bind_use(binder, persistence, SY_PERSISTENCE, "", NULL, NULL, &service->persistence);
		ops = service->persistence.module ? service->persistence.module->ops : NULL;
		if (ops && binder->complaints->errors == errors)
			service->life = ops->life(service->persistence.conf);
	}
	bind_monitors(binder, node, service);
}

static void
bind_targets(struct binder *binder, const struct node *node, struct service *service)
{
	const struct node *pool = bind_one(binder, node, "pool");
	const struct node *sorry = bind_one(binder, node, "sorry-pool");

	if (!pool)
		complain(binder->complaints, node, "virtual-service %s needs a pool: pool NAME;",
			 service->name ? service->name : "");
	else
		bind_target(binder, pool, service, &service->target);
	if (!sorry)
		return;
	service->sorry = arena_new_of(binder->arena, struct target);
	bind_target(binder, sorry, service, service->sorry);
	if (service->sorry->pool && service->sorry->pool == service->target.pool)
		complain(binder->complaints, sorry, "the sorry pool is the pool itself");
}

void
bind_service(struct binder *binder, const struct node *node, struct service *service)
{
	struct service *first;

	service->name = bind_name(binder, node);
	service->node = node;
	service->config = binder->config;
	bind_rows(binder, node, 1, service_rows, &service->settings, service_others);
	if (service->name) {
		first = names_add(binder->services, service->name, service);
		if (first)
			complain(binder->complaints, node,
				 "virtual-service %s is there twice; the first time at %s:%u",
				 service->name, first->node->file, first->node->line);
		service->id = hash_id(service->name, NULL);
		service->cell = bind_cell(binder, CELL_SERVICE, service->id, node);
	}
	bind_listens(binder, node, service, false, &service->listeners, &service->n_listeners);
	if (!node_child(node, "listen"))
		complain(binder->complaints, node,
			 "virtual-service %s listens nowhere: listen ADDRESS:PORT;",
			 service->name ? service->name : "");
	bind_targets(binder, node, service);
	bind_snat(binder, node, service);
	bind_modules(binder, node, service);
	bind_tls_alpn(binder, service);
	bind_check_service(binder, service);
}
