#define _GNU_SOURCE 1
/* The loader's second half: from what was gathered to the bytes of a generation. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memfd.h"
#include "conf/bind.h"
#include "conf/gathered.h"
#include "conf/modules.h"
#include "conf/routes.h"

enum {
	COMPILE_BACKLOG = 65535,  /* the kernel cuts it down to net.core.somaxconn */
	COMPILE_SPARE_FDS = 256,  /* of a worker: log, control, board, reload, libraries */
};

struct compile {
	struct gathered *gathered;
	struct complaints *complaints;
	struct arena *arena;      /* of the trial binding */
	struct config *config;
	struct text tree, secrets;
	struct gen_head head;
};

static const struct sy_module *
compile_module(void *context, enum sy_kind kind, const char *name, struct sy_err *err)
{
	struct gathered_module *module = gathered_find(context, kind, name, err);

	if (!module)
		return NULL;
	if (!module->module)
		*err = module->err;
	return module->module;
}

static void
compile_open_modules(struct gathered *gathered)
{
	for (uint32_t i = 0; i < gathered->n_modules; i++) {
		struct gathered_module *module = gathered->in_order[i];

		module->module = modules_open(module->fd, module->hash, module->kind, module->name,
					      &module->err);
	}
}

/* ---- the head ---- */

static uint32_t
compile_power(uint64_t n, uint32_t least)
{
	uint64_t power = least;

	while (power < n)
		power *= 2;
	return (uint32_t)power;
}

static void
compile_workers(struct compile *compile)
{
	const struct main_bound *bound = compile->config->main;
	struct gen_head *head = &compile->head;
	uint32_t wanted = bound->conf.listen_slots;
	cpu_set_t cpus;

	head->workers = bound->workers;
	if (!head->workers) {
		head->workers =
		    sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
		head->workers = head->workers > BOARD_WORKERS ? BOARD_WORKERS : head->workers;
	}
	head->slots = compile_power(head->workers, 1);
	if (!wanted && head->slots != head->workers)
		head->slots *= 4;
	if (wanted && wanted < head->workers)
		complain(compile->complaints, node_child(compile->config->root, "listen-slots"),
			 "listen-slots %u: each of the %u workers needs one", wanted,
			 head->workers);
	if (wanted > head->slots)
		head->slots = compile_power(wanted, head->slots);
}

static void
compile_limit(struct compile *compile)
{
	struct gen_head *head = &compile->head;
	const struct node *node = node_child(compile->config->root, "worker-connections");
	uint32_t *connections = &compile->config->global.worker_connections;
	uint64_t fixed = COMPILE_SPARE_FDS + (uint64_t)head->n_listeners *
			 ((head->slots + head->workers - 1) / head->workers);
	uint64_t most =
	    compile->gathered->nofile > fixed ? (compile->gathered->nofile - fixed) / 2 : 0;

	if (*connections > most && node && !node->filled)
		complain_mildly(
		    compile->complaints, node,
		    "worker-connections %u needs %llu descriptors for "
		    "each worker, and the system allows %llu: room for %llu connections",
		    *connections, (unsigned long long)(2ull * *connections + fixed),
		    (unsigned long long)compile->gathered->nofile, (unsigned long long)most);
	if (*connections > most)
		*connections = (uint32_t)most;
	head->connections = *connections;
	head->nofile = 2ull * *connections + fixed;
	if (most < 16)
		complain(compile->complaints, node,
			 "the system allows a process %llu descriptors; %llu are "
			 "needed before the first connection (ulimit -n, LimitNOFILE=)",
			 (unsigned long long)compile->gathered->nofile, (unsigned long long)fixed);
}

static void
compile_count(struct compile *compile)
{
	const struct config *config = compile->config;
	struct gen_head *head = &compile->head;

	head->services = config->n_services;
	for (uint32_t i = 0; i < config->n_pools; i++)
		head->servers += config->pools[i].n_servers;
	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];

		head->transparent |= service->snat == SNAT_OFF;
		if (service->snat == SNAT_OFF && !compile->gathered->privileged)
			complain_mildly(
			    compile->complaints, node_child(service->node, "snat"),
			    "snat off needs root's rights when steelyardd starts, and this user "
			    "has none");
		for (uint32_t j = 0; j < service->n_monitors; j++) {
			const struct sy_monitor *ops = service->monitors[j].use.module->ops;

			head->icmp |=
			    ops->plan(service->monitors[j].use.conf).transport == SY_OVER_ICMP;
		}
	}
}

static void
compile_tables(struct compile *compile, uint64_t checks)
{
	const struct board_size *wanted = &compile->config->main->tables;
	struct board_size *size = &compile->head.board;

	size->services = compile_power(wanted->services ? wanted->services
							: 4ull * compile->head.services, 256);
	/* Cells that are no services have what is left. */
	size->cells = compile_power(wanted->cells ? wanted->cells
				    : size->services + 4ull * (compile->head.n_cells -
							       compile->head.services), 1024);
	if (size->cells <= size->services)
		size->cells = 2 * size->services;
	size->checks = compile_power(wanted->checks ? wanted->checks : 4 * checks, 1024);
	size->persist_entries = compile_power(wanted->persist_entries, 1024);
	size->flow_entries = compile_power(wanted->flow_entries, 1024);
	size->records = wanted->records ? compile_power(wanted->records, 256) : 0;
}

static int
compile_path(struct compile *compile, char out[static GEN_PATH], const char *path, const char *what)
{
	if (path && strlen(path) >= GEN_PATH) {
		complain(compile->complaints, node_child(compile->config->root, what),
			 "%s: the path is too long", what);
		return -1;
	}
	strcpy(out, path ? path : "");
	return 0;
}

/* ---- the parts behind the head ---- */

static void
compile_listener(struct text *out, const struct listener *listener)
{
	struct gen_listener record = { .id = listener->id, .addr = listener->addr,
				       .transport = listener->transport, .backlog = COMPILE_BACKLOG,
				       .console = listener->service == NULL };

	snprintf(record.where, sizeof(record.where), "%s:%u", listener->node->file,
		 listener->node->line);
	text_add(out, (const char *)&record, sizeof(record));
}

static void
compile_listeners(struct compile *compile, struct text *out)
{
	const struct config *config = compile->config;

	for (uint32_t i = 0; i < config->n_listeners; i++)
		compile_listener(out, config->listeners[i]);
	for (uint32_t i = 0; i < config->n_console; i++)
		compile_listener(out, &config->console[i]);
	compile->head.n_listeners = config->n_listeners + config->n_console;
}

static void
compile_modules(struct compile *compile, struct text *out)
{
	for (uint32_t i = 0; i < compile->gathered->n_modules; i++) {
		const struct gathered_module *module = compile->gathered->in_order[i];
		struct gen_module record = { .kind = module->kind, .hash = module->hash };

		snprintf(record.name, sizeof(record.name), "%s", module->name);
		text_add(out, (const char *)&record, sizeof(record));
	}
	compile->head.n_modules = compile->gathered->n_modules;
}

static int
compile_by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
compile_add_id(struct text *ids, uint64_t id)
{
	text_add(ids, (const char *)&id, sizeof(id));
}

static uint64_t
compile_seats(struct text *ids, const struct target *target)
{
	for (uint32_t i = 0; i < target->pool->n_servers; i++)
		compile_add_id(ids, target->seats[i].id);
	return target->pool->n_servers;
}

/* Ids of all cells, sorted; returns how many checks there may be. */
static uint64_t
compile_cells(struct compile *compile, struct text *out)
{
	const struct config *config = compile->config;
	struct text ids = { 0 };
	uint64_t checks = 0, last = 0;
	uint64_t *at;
	size_t n;

	for (uint32_t i = 0; i < config->n_pools; i++)
		for (uint32_t j = 0; j < config->pools[i].n_servers; j++)
			compile_add_id(&ids, config->pools[i].servers[j].id);
	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		const struct target *target;

		compile_add_id(&ids, service->id);
		for (uint32_t j = 0; (target = service_target(service, j)); j++)
			checks += compile_seats(&ids, target) * service->n_monitors;
	}
	n = ids.len / sizeof(*at);
	at = (uint64_t *)(void *)ids.at;
	if (n)
		qsort(at, n, sizeof(*at), compile_by_number);
	for (size_t i = 0; i < n; i++) {
		if (at[i] == last)
			continue;
		last = at[i];
		compile_add_id(out, last);
		compile->head.n_cells++;
	}
	text_free(&ids);
	return checks;
}

/* What tells two generations apart: words, contents, and modules. */
static uint64_t
compile_hash(struct compile *compile)
{
	uint64_t hash = tree_hash(compile->gathered->root);

	for (uint32_t i = 0; i < compile->gathered->n_modules; i++) {
		uint64_t both[2] = { hash, compile->gathered->in_order[i]->hash };

		hash = hash_64(&(struct hash_key){ 0, 0 }, both, sizeof(both));
	}
	return hash;
}

static int
compile_head(struct compile *compile, struct text *parts)
{
	const struct main_bound *bound = compile->config->main;
	struct gen_head *head = &compile->head;
	unsigned errors = compile->complaints->errors;

	head->magic = GEN_MAGIC;
	head->size = sizeof(*head);
	compile_workers(compile);
	compile_count(compile);
	compile_listeners(compile, parts);
	compile_modules(compile, parts);
	compile_tables(compile, compile_cells(compile, parts));
	head->manage_routing = compile->config->global.manage_routing;
	head->routing_table = compile->config->global.routing_table;
	head->n_routes = routes_compile(compile->config, parts);
	compile_limit(compile);
	head->uid = compile->gathered->uid;
	head->gid = compile->gathered->gid;
	head->control_gid = compile->gathered->control_gid;
	head->control_mode = bound->control_mode;
	head->log_target = bound->log_target;
	head->log_format = bound->log.format.index;
	head->log_level = bound->log.level.index;
	head->shutdown_timeout_ms = compile->config->global.shutdown_timeout.ms;
	compile_path(compile, head->log_path, bound->log_path, "log");
	compile_path(compile, head->control_path, bound->control_path, "control");
	compile_path(compile, head->pid_path, bound->conf.pid_file, "pid-file");
	head->tree_offset = sizeof(*head) + parts->len;
	head->tree_len = compile->tree.len;
	head->hash = compile_hash(compile);
	return compile->complaints->errors > errors ? -1 : 0;
}

/* ---- all of it ---- */

static int
compile_write(struct compile *compile, const struct text *parts, struct loaded *out)
{
	struct sy_err err;
	struct text all = { 0 };

	text_add(&all, (const char *)&compile->head, sizeof(compile->head));
	text_add(&all, parts->at, parts->len);
	text_add(&all, compile->tree.at, compile->tree.len);
	out->generation_fd = memfd_sealed("steelyard-generation", all.at, all.len, &err);
	text_free(&all);
	if (out->generation_fd >= 0 && compile->secrets.len)
		out->secrets_fd = memfd_sealed("steelyard-secrets", compile->secrets.at,
					       compile->secrets.len, &err);
	if (out->generation_fd < 0 || (compile->secrets.len && out->secrets_fd < 0)) {
		complain(compile->complaints, compile->gathered->root, "%s", err.text);
		return -1;
	}
	out->n_modules = compile->gathered->n_modules;
	for (uint32_t i = 0; i < out->n_modules; i++)
		out->module_fds[i] = compile->gathered->in_order[i]->fd;
	out->services = compile->head.services;
	out->servers = compile->head.servers;
	return 0;
}

/* Binds what the others will bind: the bytes, not the tree that they were made of. */
static int
compile_bind(struct compile *compile)
{
	struct node *copy;

	tree_flatten(compile->gathered->root, &compile->tree, &compile->secrets);
	copy = tree_unflatten(compile->arena, sy_span(compile->tree.at, compile->tree.len),
			      sy_span(compile->secrets.at, compile->secrets.len));
	if (!copy) {
		complain(compile->complaints, compile->gathered->root,
			 "the configuration is nested too deep to be passed on");
		return -1;
	}
	compile->config = config_bind(compile->arena, copy, NULL, compile_module, compile->gathered,
				      compile->complaints);
	return compile->config && compile->complaints->errors == 0 ? 0 : -1;
}

int
generation_compile(struct gathered *gathered,
		   void (*look)(const struct config *config, struct complaints *complaints),
		   struct loaded *out, struct complaints *complaints)
{
	struct compile compile = { .gathered = gathered, .complaints = complaints,
				   .arena = arena_new() };
	struct text parts = { 0 };
	int result = -1;

	*out = (struct loaded){ .generation_fd = -1, .secrets_fd = -1 };
	compile_open_modules(gathered);
	normal_tree(gathered, complaints);
	if (compile_bind(&compile) == 0 && compile_head(&compile, &parts) == 0)
		result = compile_write(&compile, &parts, out);
	if (result == 0 && look)
		look(compile.config, complaints);
	text_free(&parts);
	text_free(&compile.tree);
	if (compile.secrets.at)
		explicit_bzero(compile.secrets.at, compile.secrets.len);
	text_free(&compile.secrets);
	if (compile.config)
		config_release(compile.config);
	arena_free(compile.arena);
	if (result < 0 && out->generation_fd >= 0) {
		close(out->generation_fd);
		out->generation_fd = -1;
	}
	return result;
}
