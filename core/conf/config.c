#include "conf/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "conf/bind.h"
#include "conf/users.h"

enum { NAME_MAX_LEN = 64 };

/* ---- helpers of all bind files ---- */

/* Names end up in JSON, metrics, cookies and on the command line. */
const char *
bind_name(struct binder *binder, const struct node *node)
{
	const char *name = node_arg(node, 0);
	size_t len = strlen(name);

	if (node->n_args == 0) {
		complain(binder->complaints, node, "%s needs a name: %s NAME%s", node->name,
			 node->name, node->block ? " { ... }" : "");
		return NULL;
	}
	if (len == 0 || len > NAME_MAX_LEN ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:") !=
		len) {
		complain(binder->complaints, node,
			 "%s %s: a name has 1 to %d letters, digits and . _ - :", node->name,
			 len ? name : "\"\"", NAME_MAX_LEN);
		return NULL;
	}
	return name;
}

uint32_t
bind_cell(struct binder *binder, enum cell_kind kind, uint64_t id, const struct node *at)
{
	uint32_t cell;

	if (!binder->board)
		return UINT32_MAX;
	cell = board_cell(binder->board, kind, id);
	if (cell == UINT32_MAX)
		complain(binder->complaints, at,
			 "the shared table of %s is full; tables { %s N; } makes it "
			 "larger at the next start",
			 kind == CELL_SERVICE ? "services" : "services and servers",
			 kind == CELL_SERVICE ? "services" : "cells");
	return cell;
}

void
bind_rows(struct binder *binder, const struct node *node, uint32_t first_arg,
	  const struct sy_row *rows, void *conf, const struct rows_other *others)
{
	const struct rows_into into = { rows, conf };

	rows_bind(binder->arena, node, first_arg, &into, 1, others, binder->complaints);
}

const struct node *
bind_one(struct binder *binder, const struct node *block, const char *name)
{
	const struct node *first = NULL;

	for (const struct node *child = block->children; child; child = child->next) {
		if (strcmp(child->name, name) != 0)
			continue;
		if (first)
			complain(binder->complaints, child,
				 "%s is given twice; the first time at %s:%u", name, first->file,
				 first->line);
		else
			first = child;
	}
	return first;
}

uint32_t
bind_count(const struct node *block, const char *name)
{
	uint32_t n = 0;

	for (const struct node *child = block->children; child; child = child->next)
		n += strcmp(child->name, name) == 0;
	return n;
}

/* ---- what stands outside of blocks ---- */

static void
bind_workers(struct binder *binder, struct main_bound *bound)
{
	const struct node *node = node_child(binder->config->root, "workers");
	uint64_t n = 0;

	if (!node || !bound->conf.workers || strcmp(bound->conf.workers, "auto") == 0)
		return;
	if (!uint_parse(bound->conf.workers, &n) || n < 1 || n > BOARD_WORKERS)
		complain(binder->complaints, node,
			 "workers %s: auto, or a number from 1 to %d is expected (default auto)",
			 bound->conf.workers, BOARD_WORKERS);
	else
		bound->workers = (uint32_t)n;
}

static void
bind_log(struct binder *binder, struct main_bound *bound)
{
	const struct node *node = bind_one(binder, binder->config->root, "log"),
			  nothing = { .name = "log" };
	const char *target = node ? node_arg(node, 0) : "stderr";
	bool file = strcmp(target, "file") == 0;

	bind_rows(binder, node ? node : &nothing, file ? 2 : 1, log_rows, &bound->log, NULL);
	bound->log_target = file ? LOG_TO_FILE
			  : strcmp(target, "syslog") == 0 ? LOG_TO_SYSLOG : LOG_TO_STDERR;
	if (!file && strcmp(target, "syslog") != 0 && strcmp(target, "stderr") != 0)
		complain(binder->complaints, node,
			 "log %s: stderr, syslog or file PATH is expected",
			 *target ? target : "\"\"");
	if (file && (node->n_args < 2 || strchr(node_arg(node, 1), '=')))
		complain(binder->complaints, node,
			 "log file needs a path: log file /var/log/steelyard.log;");
	else if (file)
		bound->log_path = node_arg(node, 1);
}

static void
bind_control(struct binder *binder, struct main_bound *bound)
{
	const struct node *node = bind_one(binder, binder->config->root, "control");
	const struct node nothing = { .name = "control" };
	struct control_conf conf = { 0 };
	char *end = NULL;
	unsigned long mode;

	bind_rows(binder, node ? node : &nothing, 1, control_rows, &conf, NULL);
	mode = conf.mode ? strtoul(conf.mode, &end, 8) : 0660;
	if (end && (*end || end == conf.mode || mode > 0777))
		complain(binder->complaints, node,
			 "mode %s: permissions are three octal digits, such as 0660 or 0600",
			 conf.mode);
	if (node && (node->n_args == 0 || strchr(node_arg(node, 0), '=')))
		complain(binder->complaints, node,
			 "control needs a path: control /run/steelyard/control;");
	else if (node)
		bound->control_path = node_arg(node, 0);
	if (bound->control_path && *bound->control_path != '/')
		complain(binder->complaints, node, "control %s: the path must begin with /",
			 bound->control_path);
	/* sun_path has 108 bytes. */
	if (bound->control_path && strlen(bound->control_path) > 100)
		complain(binder->complaints, node,
			 "control: the path of a socket has at most 100 bytes");
	bound->control_mode = (uint32_t)mode;
	bound->control_group = conf.group;
	bound->control = node;
}

static void
bind_path(struct binder *binder, const char *path, const char *directive)
{
	const struct node *node = node_child(binder->config->root, directive);

	if (path && node && *path != '/')
		complain(binder->complaints, node, "%s %s: the path must begin with /", directive,
			 path);
	if (path && node && strlen(path) > 250)
		complain(binder->complaints, node, "%s: the path is longer than 250 bytes",
			 directive);
}

static void
bind_users(struct binder *binder, const struct node *console, const struct sy_file *file)
{
	struct console_users *users;

	if (!file->path || file->content.len == 0)
		return;
	users = arena_new_of(binder->arena, struct console_users);
	users_parse(binder->arena, file, node_child(console, "users"), users, binder->complaints);
	binder->config->users = users;
}

static void
bind_notify(struct binder *binder, const struct node *node, const struct notify_settings *notify)
{
	if (!notify->program && !notify->mail)
		complain(binder->complaints, node, "notify needs a program or a mail address");
	if (notify->program && *notify->program != '/')
		complain(binder->complaints, node_child(node, "program"),
			 "program %s: the path must begin with /", notify->program);
	if (notify->sendmail && *notify->sendmail != '/')
		complain(binder->complaints, node_child(node, "sendmail"),
			 "sendmail %s: the path must begin with /", notify->sendmail);
	if (notify->mail && (strpbrk(notify->mail, "\r\n ,") || !strchr(notify->mail, '@')))
		complain(binder->complaints, node_child(node, "mail"),
			 "mail %s: one address is expected, such as ops@example.net", notify->mail);
}

static void
bind_exchange_log(struct binder *binder, struct exchange_log *log)
{
	const struct node *node = bind_one(binder, binder->config->root, "exchange-log");
	const struct node nothing = { .name = "exchange-log" };
	unsigned errors = binder->complaints->errors;
	struct sy_err err;

	bind_rows(binder, node ? node : &nothing, 0, exchange_log_rows, log, NULL);
	if (binder->complaints->errors == errors && exchange_log_bind(binder->arena, log, &err) != 0)
		complain(binder->complaints, node, "%s", err.text);
}

static void
bind_recorder(struct binder *binder, struct global_settings *global)
{
	const struct recorder_settings *recorder = &global->recorder;
	const struct node *node = bind_one(binder, binder->config->root, "recorder");

	if (!node)
		return;
	bind_rows(binder, node, 0, recorder_rows, global, NULL);
	if (!recorder->directory)
		complain(binder->complaints, node, "recorder needs a directory: recorder { directory "
			 "/var/log/steelyard/recorder; }");
	if (recorder->directory && *recorder->directory != '/')
		complain(binder->complaints, node_child(node, "directory"),
			 "directory %s: the path must begin with /", recorder->directory);
}

static void
bind_main(struct binder *binder)
{
	const struct node *root = binder->config->root;
	const struct node *tables = bind_one(binder, root, "tables"), nothing = { .name = "" };
	const struct node *console = bind_one(binder, root, "console");
	const struct node *notify = bind_one(binder, root, "notify");
	struct main_bound *bound = arena_new_of(binder->arena, struct main_bound);

	binder->config->main = bound;
	bind_rows(binder, root, 0, main_rows, &bound->conf, main_others);
	bind_workers(binder, bound);
	bind_log(binder, bound);
	bind_path(binder, bound->log_path, "log");
	bind_path(binder, bound->conf.pid_file, "pid-file");
	bind_control(binder, bound);
	bind_rows(binder, tables ? tables : &nothing, 0, tables_rows, &bound->tables, NULL);
	bound->conf.global.log_level = bound->log.level;
	bound->conf.global.log_format = bound->log.format;
	if (console) {
		bind_rows(binder, console, 0, console_rows, &bound->conf.global, console_others);
		bind_listens(binder, console, NULL, true, &binder->config->console,
			     &binder->config->n_console);
		bind_users(binder, console, &bound->conf.global.console.users);
	}
	if (notify) {
		bind_rows(binder, notify, 0, notify_rows, &bound->conf.global, NULL);
		bind_notify(binder, notify, &bound->conf.global.notify);
	}
	bind_exchange_log(binder, &bound->conf.global.exchange_log);
	bind_recorder(binder, &bound->conf.global);
	binder->config->global = bound->conf.global;
}

/* ---- all of it ---- */

static void
bind_all_pools(struct binder *binder)
{
	struct config *config = binder->config;

	config->pools = arena_array(binder->arena, struct pool, bind_count(config->root, "pool"));
	for (const struct node *node = config->root->children; node; node = node->next)
		if (strcmp(node->name, "pool") == 0)
			bind_pool(binder, node, &config->pools[config->n_pools++]);
}

static void
bind_all_services(struct binder *binder)
{
	struct config *config = binder->config;

	config->services = arena_array(binder->arena, struct service,
				       bind_count(config->root, "virtual-service"));
	for (const struct node *node = config->root->children; node; node = node->next)
		if (strcmp(node->name, "virtual-service") == 0)
			bind_service(binder, node, &config->services[config->n_services++]);
}

static int
bind_by_id(const void *a, const void *b)
{
	uint64_t x = (*(struct listener *const *)a)->id, y = (*(struct listener *const *)b)->id;

	return x < y ? -1 : x > y;
}

static void
bind_all_listeners(struct binder *binder)
{
	struct config *config = binder->config;
	uint32_t n = 0;

	for (uint32_t i = 0; i < config->n_services; i++)
		n += config->services[i].n_listeners;
	config->listeners = arena_array(binder->arena, struct listener *, n);
	for (uint32_t i = 0; i < config->n_services; i++)
		for (uint32_t j = 0; config->services[i].settings.enabled &&
				     j < config->services[i].n_listeners; j++)
			config->listeners[config->n_listeners++] =
			    &config->services[i].listeners[j];
	qsort(config->listeners, config->n_listeners, sizeof(*config->listeners), bind_by_id);
}

struct config *
config_bind(struct arena *arena, const struct node *root, struct board *board,
	    const struct sy_module *(*module)(void *context, enum sy_kind kind, const char *name,
					      struct sy_err *err),
	    void *context, struct complaints *complaints)
{
	struct config *config = arena_new_of(arena, struct config);
	struct arena *scratch = arena_new();
	struct binder binder = { arena, scratch, board, module, context, complaints, config,
				 names_new(scratch), names_new(arena), names_new(scratch) };
	unsigned errors = complaints->errors;

	config->root = root;
	config->arena = arena;
	config->by_name = binder.services;
	bind_main(&binder);
	bind_all_pools(&binder);
	bind_all_services(&binder);
	bind_all_listeners(&binder);
	bind_check(&binder);
	arena_free(scratch);
	if (complaints->errors == errors)
		return config;
	config_release(config);
	return NULL;
}

void
config_release(struct config *config)
{
	for (struct release *release = config->releases; release; release = release->next)
		release->module->release(release->conf);
	config->releases = NULL;
}

const struct listener *
config_listener(const struct config *config, uint64_t id)
{
	struct listener wanted = { .id = id }, *key = &wanted, **found;

	/* bsearch(3) wants a pointer even to nothing. */
	if (config->n_listeners == 0)
		return NULL;
	found = bsearch(&key, config->listeners, config->n_listeners, sizeof(*config->listeners),
			bind_by_id);
	return found ? *found : NULL;
}

const struct service *
config_service(const struct config *config, const char *name)
{
	return names_find(config->by_name, name);
}
