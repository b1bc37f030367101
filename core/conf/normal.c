/* Makes the tree complete: what was on a line goes into blocks, defaults are written out, host
 * names get addresses, and settings that name files get contents. What is wrong stays as it is:
 * binding complains about it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "conf/bind.h"
#include "conf/gathered.h"
#include "conf/normal.h"
#include "conf/resolve.h"

struct normal {
	struct gathered *gathered;
	struct arena *arena;
	struct complaints *complaints;
	struct resolver resolver;
};

static struct node *
normal_add(struct normal *normal, struct node *block, const char *name, const char *value)
{
	struct node *node = node_new(normal->arena, block, name, 1);

	node->args[0] = sy_span_text(value);
	node->filled = true;
	node_append(block, node);
	block->block = true;
	return node;
}

static struct node *
normal_child(struct normal *normal, struct node *block, const char *name, const char *preset)
{
	struct node *node = (struct node *)node_child(block, name);

	return node ? node : normal_add(normal, block, name, preset);
}

/* ---- what rows say ---- */

static void
normal_file(struct normal *normal, struct node *node, const struct sy_row *row)
{
	node->found = arena_array(normal->arena, struct sy_span, node->n_args);
	node->found_what = row->type == SY_ROW_SECRET ? FOUND_SECRETS : FOUND_FILES;
	for (uint32_t i = 0; i < node->n_args; i++) {
		const char *path = gathered_path(normal->gathered, node_arg(node, i));
		const struct gathered_file *file = names_find(normal->gathered->files, path);

		node->found[i] = file ? file->content : sy_span("", 0);
		if (!file || file->problem)
			complain(normal->complaints, node, "%s: cannot read %s: %s", row->name,
				 path, file ? file->problem : "that is no path");
		else if (file->content.len == 0)
			complain(normal->complaints, node, "%s: %s is empty", row->name, path);
	}
}

static void
normal_row(void *context, struct node *node, const struct sy_row *row)
{
	struct normal *normal = context;

	if (row->type == SY_ROW_ADDR || row->type == SY_ROW_ADDRS)
		resolve_args(&normal->resolver, node, 0, node->n_args);
	else if (row->type == SY_ROW_FILE || row->type == SY_ROW_SECRET)
		normal_file(normal, node, row);
}

static void
normal_rows(struct normal *normal, struct node *block, const struct sy_row *rows)
{
	rows_fill(normal->arena, block, rows);
	rows_visit(block, rows, normal_row, normal);
}

static void
normal_tls_of(struct normal *normal, struct node *block, const struct sy_row *rows)
{
	struct node *tls = (struct node *)node_child(block, "tls");

	if (!tls)
		return;
	normal_tls(normal->gathered, normal->complaints, tls, rows);
	normal_rows(normal, tls, rows);
}

static void
normal_listens(struct normal *normal, struct node *block)
{
	for (struct node *node = block->children; node; node = node->next) {
		if (strcmp(node->name, "listen") != 0)
			continue;
		resolve_args(&normal->resolver, node, 0, node->n_args);
		normal_tls_of(normal, node, tls_server_rows);
	}
}

/* ---- blocks ---- */

/* Rows that want to know whether they were given are not filled in by rows_fill. */
static void
normal_given(struct normal *normal, struct node *block, const struct sy_row *rows)
{
	for (; rows->name; rows++)
		if (rows->given && rows->preset)
			normal_child(normal, block, rows->name, rows->preset);
}

/* We are who the console will be. */
static void
normal_recorder(struct normal *normal, struct node *node)
{
	const struct node *directory = node_child(node, "directory");
	const char *path = directory ? node_arg(directory, 0) : "";

	normal_rows(normal, node, recorder_rows);
	if (*path == '/' && access(path, W_OK | X_OK) != 0)
		complain_mildly(normal->complaints, directory, "recorder: nothing can be written to %s as user "
				"%s: %s", path, normal->gathered->user ? normal->gathered->user : "of now",
				strerror(errno));
}

static void
normal_main(struct normal *normal)
{
	struct node *root = normal->gathered->root, *node;

	if (!node_child(root, "user") && normal->gathered->user)
		normal_add(normal, root, "user", normal->gathered->user);
	rows_fill(normal->arena, root, main_rows);
	normal_given(normal, root, main_rows);
	node = normal_child(normal, root, "log", "stderr");
	rows_fill_line(normal->arena, node, strcmp(node_arg(node, 0), "file") == 0 ? 2 : 1,
		       log_rows);
	node = normal_child(normal, root, "control", RUNSTATEDIR "/steelyard/control");
	rows_fill_line(normal->arena, node, 1, control_rows);
	node = (struct node *)node_child(root, "tables");
	if (node) {
		rows_unfold(normal->arena, node, 0, tables_rows, NULL);
		rows_fill(normal->arena, node, tables_rows);
	}
	node = (struct node *)node_child(root, "notify");
	if (node) {
		normal_rows(normal, node, notify_rows);
	}
	node = (struct node *)node_child(root, "recorder");
	if (node)
		normal_recorder(normal, node);
	node = (struct node *)node_child(root, "exchange-log");
	if (node)
		normal_rows(normal, node, exchange_log_rows);
	node = (struct node *)node_child(root, "console");
	if (node) {
		normal_listens(normal, node);
		normal_rows(normal, node, console_rows);
	}
}

static void
normal_pool(struct normal *normal, struct node *pool)
{
	rows_unfold(normal->arena, pool, 1, pool_rows, NULL);
	normal_rows(normal, pool, pool_rows);
	normal_tls_of(normal, pool, tls_client_rows);
	for (struct node *node = pool->children; node; node = node->next) {
		if (strcmp(node->name, "server") != 0)
			continue;
		rows_fill_line(normal->arena, node, 2, server_rows);
		resolve_args(&normal->resolver, node, 1, 1);
	}
}

/* timeout and fast-interval follow the interval when they are not given; see bind_monitor_times. */
static void
normal_monitor(struct normal *normal, struct node *node)
{
	const struct node *interval;
	uint64_t ms;

	normal_rows(normal, node, monitor_rows);
	interval = node_child(node, "interval");
	if (!interval || !duration_parse(node_arg(interval, 0), &ms))
		return;
	for (const struct sy_row *row = monitor_rows; row->name; row++) {
		char text[DURATION_TEXT_SIZE];
		uint64_t preset;

		if (!row->given || !row->preset || node_child(node, row->name) ||
		    !duration_parse(row->preset, &preset))
			continue;
		duration_text(preset < ms ? preset : ms, text);
		normal_add(normal, node, row->name, arena_text(normal->arena, text));
	}
}

static void
normal_use(struct normal *normal, struct node *node, enum sy_kind kind)
{
	const struct gathered_module *module;
	const struct sy_row *rows;

	if (node->n_args == 0 || strcmp(node_arg(node, 0), "off") == 0)
		return;
	module = names_find(normal->gathered->modules,
			    gathered_key(normal->arena, kind, node_arg(node, 0)));
	rows = module && module->module ? module->module->rows : NULL;
	rows_unfold(normal->arena, node, 1, rows, kind == SY_MONITOR ? monitor_rows : NULL);
	if (kind == SY_MONITOR)
		normal_monitor(normal, node);
	if (rows)
		normal_rows(normal, node, rows);
}

static void
normal_service(struct normal *normal, struct node *service)
{
	rows_unfold(normal->arena, service, 1, service_rows, NULL);
	normal_rows(normal, service, service_rows);
	normal_listens(normal, service);
	normal_child(normal, service, "protocol", "tcp");
	normal_child(normal, service, "scheduler", "least-connections");
	normal_child(normal, service, "persistence", "off");
	normal_child(normal, service, "snat", "on");
	for (struct node *node = service->children; node; node = node->next) {
		enum sy_kind kind = gathered_kind(node->name);

		if (kind != SY_KINDS)
			normal_use(normal, node, kind);
		if (strcmp(node->name, "pool") == 0 || strcmp(node->name, "sorry-pool") == 0)
			normal_tls_of(normal, node, tls_client_rows);
	}
}

void
normal_tree(struct gathered *gathered, struct complaints *complaints)
{
	struct normal normal = { gathered, gathered->arena, complaints,
				 { gathered->arena, names_new(gathered->arena), complaints } };

	normal_main(&normal);
	for (struct node *node = gathered->root->children; node; node = node->next) {
		if (strcmp(node->name, "pool") == 0)
			normal_pool(&normal, node);
		else if (strcmp(node->name, "virtual-service") == 0)
			normal_service(&normal, node);
	}
}
