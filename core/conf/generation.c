/* The children's side: what the loader made, mapped and bound. */
#include "conf/generation.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memfd.h"
#include "base/must.h"
#include "conf/modules.h"

/* ---- the head ---- */

static bool
generation_ended(const char *text, size_t size)
{
	return memchr(text, 0, size) != NULL;
}

static const char *
generation_problem(const struct gen_head *head, size_t len)
{
	uint64_t parts;

	if (len < sizeof(*head))
		return "it is too short";
	if (head->magic != GEN_MAGIC || head->size != sizeof(*head))
		return "it was made by another version";
	if (head->n_modules > GEN_MODULES)
		return "it has too many modules";
	parts = sizeof(*head) + (uint64_t)head->n_listeners * sizeof(struct gen_listener) +
		(uint64_t)head->n_modules * sizeof(struct gen_module) +
		(uint64_t)head->n_cells * sizeof(uint64_t) +
		(uint64_t)head->n_routes * sizeof(struct gen_route);
	if (head->tree_offset != parts || parts > len || head->tree_len != len - parts)
		return "its parts do not fit";
	if (head->workers == 0 || head->workers > BOARD_WORKERS || head->slots < head->workers ||
	    (head->slots & (head->slots - 1)))
		return "its numbers make no sense";
	if (!generation_ended(head->log_path, GEN_PATH) ||
	    !generation_ended(head->pid_path, GEN_PATH) ||
	    !generation_ended(head->control_path, GEN_PATH))
		return "its paths have no end";
	return NULL;
}

const struct gen_head *
generation_head(const void *map, size_t len, struct sy_err *err)
{
	const char *problem = generation_problem(map, len);

	if (problem)
		sy_fail(err, "the generation cannot be used: %s", problem);
	return problem ? NULL : map;
}

const struct gen_listener *
generation_listeners(const struct gen_head *head)
{
	return (const struct gen_listener *)(const void *)(head + 1);
}

const struct gen_module *
generation_modules(const struct gen_head *head)
{
	return (const struct gen_module *)(const void *)(generation_listeners(head) +
							 head->n_listeners);
}

const uint64_t *
generation_cells(const struct gen_head *head)
{
	return (const uint64_t *)(const void *)(generation_modules(head) + head->n_modules);
}

const struct gen_route *
generation_routes(const struct gen_head *head)
{
	return (const struct gen_route *)(const void *)(generation_cells(head) + head->n_cells);
}

_Static_assert(sizeof(struct gen_head) % 8 == 0 && sizeof(struct gen_listener) % 8 == 0 &&
	       sizeof(struct gen_module) % 8 == 0 && sizeof(struct gen_route) % 8 == 0, "all parts are aligned for the numbers in them");

/* ---- binding ---- */

struct generation_modules {
	const struct gen_head *head;
	const int *fds;
};

static const struct sy_module *
generation_module(void *context, enum sy_kind kind, const char *name, struct sy_err *err)
{
	const struct generation_modules *modules = context;
	const struct gen_module *module = generation_modules(modules->head);

	for (uint32_t i = 0; i < modules->head->n_modules; i++)
		if (module[i].kind == kind &&
		    strncmp(module[i].name, name, sizeof(module[i].name)) == 0)
			return modules_open(modules->fds[i], module[i].hash, kind, name, err);
	sy_fail(err, "the module is not part of the generation");
	return NULL;
}

static int
generation_bind_tree(struct generation *generation, const struct gen_head *head,
		     const int *module_fds, struct board *board, struct sy_err *err)
{
	struct generation_modules modules = { head, module_fds };
	struct complaints complaints = { 0 };
	struct node *root = tree_unflatten(
	    generation->arena,
	    sy_span((const char *)generation->map + head->tree_offset, head->tree_len),
	    sy_span(generation->secrets, generation->secrets_len));

	if (!root)
		return sy_fail(err, "the generation cannot be used: its tree is malformed");
	generation->config =
	    config_bind(generation->arena, root, board, generation_module, &modules, &complaints);
	if (!generation->config)
		sy_fail(err, "%s", complaints.text.at ? complaints.text.at : "binding failed");
	text_free(&complaints.text);
	return generation->config ? 0 : -1;
}

struct generation *
generation_map(uint64_t number, int generation_fd, struct sy_err *err)
{
	struct generation *generation = must_alloc(sizeof(*generation));

	*generation = (struct generation){ .number = number, .arena = arena_new() };
	link_init(&generation->link);
	generation->map = memfd_map(generation_fd, 0, &generation->map_len, err);
	if (generation->map && generation_head(generation->map, generation->map_len, err))
		return generation;
	generation_free(generation);
	return NULL;
}

struct generation *
generation_bind(uint64_t number, int generation_fd, int secrets_fd, const int *module_fds,
		unsigned n_modules, struct board *board, struct sy_err *err)
{
	struct generation *generation = generation_map(number, generation_fd, err);
	const struct gen_head *head;

	if (!generation)
		return NULL;
	head = generation->map;
	if (head->n_modules != n_modules) {
		sy_fail(err, "the generation has %u modules, and %u came with it", head->n_modules,
			n_modules);
		head = NULL;
	}
	if (head && secrets_fd >= 0) {
		generation->secrets = memfd_map(secrets_fd, 0, &generation->secrets_len, err);
		if (!generation->secrets)
			head = NULL;
	}
	if (!head || generation_bind_tree(generation, head, module_fds, board, err) < 0) {
		generation_free(generation);
		return NULL;
	}
	/* What the system allows is known to the loader only. */
	generation->config->global.worker_connections = (uint32_t)head->connections;
	return generation;
}

void
generation_free(struct generation *generation)
{
	if (!generation)
		return;
	if (generation->config)
		config_release(generation->config);
	arena_free(generation->arena);
	if (generation->map)
		munmap(generation->map, generation->map_len);
	if (generation->secrets)
		munmap(generation->secrets, generation->secrets_len);
	free(generation);
}
