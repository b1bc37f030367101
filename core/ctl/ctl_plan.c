/* `plan FILE`: what a reload with that file would change in what runs. The daemon's own loader reads
 * the file (steelyardd -T, as the user who asks: nothing is changed by it), the running daemon tells
 * what it uses and how much hangs on it; both are compared here, statement by statement. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/parse.h"
#include "ctl/ctl_do.h"

struct plan {
	struct ctl *ctl;
	struct arena *arena;
	const struct node *now, *then;
	json_t *services;         /* of the running daemon */
	unsigned changes;
	struct text risks;
};

/* ---- both configurations ---- */

/* What the loader makes of the file, on `out`; its complaints go to our own standard error. */
static bool
plan_load(struct ctl *ctl, const char *file, struct text *out)
{
	const char *args[] = { "-T", "-c", file, ctl->modules ? "-m" : NULL, ctl->modules, NULL };

	return ctl_spawn(ctl, args, -1, out);
}

static const struct node *
plan_parse(struct plan *plan, const char *name, const char *text)
{
	struct complaints complaints = { 0 };
	const struct node *root = parse_bytes(plan->arena, name, sy_span(text, strlen(text)), &complaints);

	if (complaints.errors)
		fprintf(stderr, "steelyardctl: what is printed of %s cannot be read:\n%s", name, complaints.text.at);
	text_free(&complaints.text);
	return complaints.errors ? NULL : root;
}

/* ---- statements ---- */

static const struct node *
plan_find(const struct node *block, const char *name, const char *arg)
{
	for (const struct node *node = block->children; node; node = node->next)
		if (strcmp(node->name, name) == 0 && strcmp(node_arg(node, 0), arg) == 0)
			return node;
	return NULL;
}

/* A statement with all in it, as one line. */
static char *
plan_words(const struct node *node)
{
	struct node alone = *node, root = { .children = &alone };
	struct text text = { 0 };

	alone.next = NULL;
	tree_print(&root, false, &text);
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] == '\n' || text.at[i] == '\t')
			text.at[i] = ' ';
	while (text.len && text.at[text.len - 1] == ' ')
		text.at[--text.len] = '\0';
	return text.at;
}

static void
plan_say(struct plan *plan, const char *indent, char sign, const struct node *node)
{
	char *words = plan_words(node);

	printf("%s%c %s\n", indent, sign, words);
	free(words);
	plan->changes++;
}

static bool
plan_same(const struct node *a, const struct node *b)
{
	char *x = plan_words(a), *y = plan_words(b);
	bool same = strcmp(x, y) == 0;

	free(x);
	free(y);
	return same;
}

/* Is there a statement that says the very same? */
static bool
plan_has(const struct node *block, const struct node *node)
{
	for (const struct node *other = block->children; other; other = other->next)
		if (strcmp(other->name, node->name) == 0 && plan_same(other, node))
			return true;
	return false;
}

static long long
plan_count(const struct plan *plan, const char *service, const char *server, const char *name)
{
	json_t *one, *seat;
	size_t i, k;

	json_array_foreach(plan->services, i, one) {
		if (strcmp(json_string_value(json_object_get(one, "name")), service) != 0)
			continue;
		if (!server)
			return json_integer_value(json_object_get(one, name));
		json_array_foreach(json_object_get(one, "servers"), k, seat)
			if (strcmp(json_string_value(json_object_get(seat, "name")), server) == 0)
				return json_integer_value(json_object_get(seat, name));
	}
	return 0;
}

/* How many clients are kept by the persistence of a service. */
static long long
plan_kept(struct plan *plan, const char *service)
{
	char path[300] = "/v1/persistence";
	json_t *json;
	long long n;
	int status = 0;
	char *answer;

	ctl_query(path, sizeof(path), "service", service);
	ctl_query(path, sizeof(path), "limit", "1");
	answer = ctl_http(plan->ctl, "GET", path, NULL, &status);
	json = answer ? json_loads(answer, 0, NULL) : NULL;
	n = (long long)json_array_size(json_object_get(json, "entries")) +
	    json_integer_value(json_object_get(json, "left_out"));
	json_decref(json);
	free(answer);
	return n;
}

/* ---- telling ---- */

/* What is in `a` and not in `b`, each on a line of its own. */
static void
plan_tell(struct plan *plan, const struct node *a, const struct node *b, char sign, const char *skip)
{
	for (const struct node *node = a->children; node; node = node->next)
		if (strcmp(node->name, skip) != 0 && !plan_has(b, node))
			plan_say(plan, "    ", sign, node);
}

static void
plan_service_changed(struct plan *plan, const struct node *now, const struct node *then)
{
	const char *name = node_arg(then, 0);
	const struct node *kept = node_child(now, "persistence");
	long long n;

	printf("virtual-service %s changes; %lld connections go on as they began\n", name,
	       plan_count(plan, name, NULL, "active"));
	plan_tell(plan, now, then, '-', "");
	plan_tell(plan, then, now, '+', "");
	if (kept && !plan_has(then, kept)) {
		n = plan_kept(plan, name);
		if (n)
			text_printf(&plan->risks, "virtual-service %s: %lld clients are kept by the persistence that "
			            "changes; where its key is another one they are balanced anew\n", name, n);
	}
}

static void
plan_services(struct plan *plan)
{
	for (const struct node *node = plan->now->children; node; node = node->next) {
		const char *name = node_arg(node, 0);
		const struct node *then, *drain = node_child(node, "drain-timeout");
		long long active;

		if (strcmp(node->name, "virtual-service") != 0)
			continue;
		then = plan_find(plan->then, "virtual-service", name);
		if (then && !plan_same(node, then))
			plan_service_changed(plan, node, then);
		if (then)
			continue;
		active = plan_count(plan, name, NULL, "active");
		printf("virtual-service %s goes\n", name);
		plan->changes++;
		if (active)
			text_printf(&plan->risks, "virtual-service %s goes: its %lld connections may go on %s%s\n", name,
			            active, drain && strcmp(node_arg(drain, 0), "0") != 0 ? "for " : "as long as they like",
			            drain && strcmp(node_arg(drain, 0), "0") != 0 ? node_arg(drain, 0) : "");
	}
	for (const struct node *node = plan->then->children; node; node = node->next)
		if (strcmp(node->name, "virtual-service") == 0 &&
		    !plan_find(plan->now, "virtual-service", node_arg(node, 0))) {
			printf("virtual-service %s is new\n", node_arg(node, 0));
			plan->changes++;
		}
}

/* Connections of one server of a pool, over all services that use the pool. */
static long long
plan_on_server(const struct plan *plan, const char *pool, const char *server)
{
	long long n = 0;
	json_t *one;
	size_t i;

	json_array_foreach(plan->services, i, one)
		if (strcmp(json_string_value(json_object_get(one, "pool")), pool) == 0)
			n += plan_count(plan, json_string_value(json_object_get(one, "name")), server, "active");
	return n;
}

static void
plan_pool(struct plan *plan, const struct node *now, const struct node *then)
{
	const char *name = node_arg(now, 0);

	printf("pool %s changes\n", name);
	plan_tell(plan, now, then, '-', "");
	plan_tell(plan, then, now, '+', "");
	for (const struct node *node = now->children; node; node = node->next) {
		const char *server = node_arg(node, 0);
		const struct node *same;

		if (strcmp(node->name, "server") != 0)
			continue;
		same = plan_find(then, "server", server);
		if (!same)
			text_printf(&plan->risks, "pool %s: server %s goes: no new clients; its %lld connections go "
			            "on, clients that persistence keeps on it are balanced anew\n", name, server,
			            plan_on_server(plan, name, server));
		else if (strcmp(node_arg(node, 1), node_arg(same, 1)) != 0)
			text_printf(&plan->risks, "pool %s: server %s is at %s then, not %s: its health begins anew\n",
			            name, server, node_arg(same, 1), node_arg(node, 1));
	}
}

static void
plan_pools(struct plan *plan)
{
	for (const struct node *node = plan->now->children; node; node = node->next) {
		const struct node *then;

		if (strcmp(node->name, "pool") != 0)
			continue;
		then = plan_find(plan->then, "pool", node_arg(node, 0));
		if (then && !plan_same(node, then))
			plan_pool(plan, node, then);
		else if (!then && ++plan->changes)
			printf("pool %s goes\n", node_arg(node, 0));
	}
	for (const struct node *node = plan->then->children; node; node = node->next)
		if (strcmp(node->name, "pool") == 0 && !plan_find(plan->now, "pool", node_arg(node, 0))) {
			printf("pool %s is new\n", node_arg(node, 0));
			plan->changes++;
		}
}

static bool
plan_is_other(const struct node *node)
{
	return strcmp(node->name, "pool") != 0 && strcmp(node->name, "virtual-service") != 0;
}

static void
plan_others(struct plan *plan, const struct node *a, const struct node *b, char sign)
{
	for (const struct node *node = a->children; node; node = node->next)
		if (plan_is_other(node) && !plan_has(b, node))
			plan_say(plan, "  ", sign, node);
}

/* What every service stands on when it loses one server more. */
static void
plan_capacity(struct plan *plan)
{
	printf("\nWith one server less:\n");
	for (const struct node *node = plan->then->children; node; node = node->next) {
		const struct node *use, *pool, *least;
		unsigned n = 0, wanted;
		long long active;

		if (strcmp(node->name, "virtual-service") != 0 || !(use = node_child(node, "pool")) ||
		    !(pool = plan_find(plan->then, "pool", node_arg(use, 0))))
			continue;
		for (const struct node *server = pool->children; server; server = server->next)
			n += strcmp(server->name, "server") == 0;
		least = node_child(node, "minimum-up");
		wanted = least ? (unsigned)strtoul(node_arg(least, 0), NULL, 10) : 1;
		active = plan_count(plan, node_arg(node, 0), NULL, "active");
		if (n <= wanted)
			printf("  %s is down: %u of %u servers, %u wanted\n", node_arg(node, 0), n ? n - 1 : 0, n, wanted);
		else
			printf("  %s: %u of %u servers, %.0f connections on each instead of %.0f\n", node_arg(node, 0),
			       n - 1, n, (double)active / (n - 1), (double)active / n);
	}
}

static int
plan_tell_all(struct plan *plan)
{
	plan_services(plan);
	plan_pools(plan);
	plan_others(plan, plan->now, plan->then, '-');
	plan_others(plan, plan->then, plan->now, '+');
	if (!plan->changes)
		printf("Nothing would change.\n");
	if (plan->risks.len)
		printf("\nWhat clients would notice:\n%s", plan->risks.at);
	plan_capacity(plan);
	text_free(&plan->risks);
	return CTL_OK;
}

int
ctl_plan(struct ctl *ctl)
{
	struct plan plan = { .ctl = ctl, .arena = arena_new() };
	struct text candidate = { 0 };
	int status = 0, code = CTL_FAILED;
	char *running, *services;
	json_t *json;

	if (!plan_load(ctl, ctl->argv[0], &candidate)) {
		fprintf(stderr, "steelyardctl: a reload with %s would be refused: nothing would change\n", ctl->argv[0]);
		text_free(&candidate);
		arena_free(plan.arena);
		return CTL_FAILED;
	}
	running = ctl_http(ctl, "GET", "/v1/config", NULL, &status);
	services = running ? ctl_http(ctl, "GET", "/v1/services", NULL, &status) : NULL;
	json = services ? json_loads(services, 0, NULL) : NULL;
	plan.services = json_object_get(json, "services");
	if (plan.services && (plan.now = plan_parse(&plan, "what runs", running)) &&
	    (plan.then = plan_parse(&plan, ctl->argv[0], candidate.at ? candidate.at : "")))
		code = plan_tell_all(&plan);
	json_decref(json);
	free(services);
	free(running);
	text_free(&candidate);
	arena_free(plan.arena);
	return code;
}
