/* Opens modules for tests the way the daemon does: the file that would be installed, copied,
 * checked, and its settings bound by its rows. */
#ifndef T_MODULE_H
#define T_MODULE_H

#include "tap.h"

#include "base/arena.h"
#include "conf/modules.h"
#include "conf/parse.h"
#include "conf/rows.h"

struct used {
	const struct sy_module *module;
	const void *ops;
	void *conf;               /* NULL: it has no settings */
};

TAP_UNUSED static const char *
module_dir(void)
{
	static char path[4096];
	const char *build = getenv("STEELYARD_BUILD");

	snprintf(path, sizeof(path), "%s/t/modules", build ? build : ".");
	return path;
}

TAP_UNUSED static const struct sy_module *
module_of(enum sy_kind kind, const char *name)
{
	struct sy_err err = { "" };
	const struct sy_module *module = NULL;
	uint64_t hash;
	int fd = modules_copy(module_dir(), kind, name, &hash, &err);

	if (fd >= 0)
		module = modules_open(fd, hash, kind, name, &err);
	if (!module)
		bail_out("%s %s: %s (make check-modules puts it there)", kind_names[kind], name,
	                 err.text);
	return module;
}

/* Tests have no pools: "p3" has the index 3. */
TAP_UNUSED static uint32_t
module_pool(void *context, const struct node *at, const char *name)
{
	size_t digit = strcspn(name, "0123456789");

	(void)context, (void)at;
	return name[digit] ? (uint32_t)atoi(name + digit) : 1;
}

/* What check() took is given back with the arena, as it is with a generation. */
static struct {
	struct arena *arena;
	const struct sy_module *module;
	void *conf;
} module_uses[1024];
static unsigned module_n_uses;

TAP_UNUSED static void
module_arena_free(struct arena *arena)
{
	for (unsigned i = 0; i < module_n_uses; i++)
		if (module_uses[i].arena == arena)
			module_uses[i].module->release(module_uses[i].conf);
	module_n_uses = 0;
	arena_free(arena);
}
#define arena_free module_arena_free

/* Settings as in a block of the configuration, "mask4 24; timeout 5m;"; what was wrong with them
 * goes to `problems` if that is not NULL, else ends the test. */
TAP_UNUSED static struct used
module_use(struct arena *arena, enum sy_kind kind, const char *name, const char *settings,
           char *problems, size_t len)
{
	const struct sy_module *module = module_of(kind, name);
	struct used used = { .module = module, .ops = module->ops };
	struct complaints complaints = { .errors = 0 };
	struct sy_err err = { "" };
	struct rows_into into = { .rows = module->rows };
	const struct rows_pools pools = { module_pool, NULL };
	char *text = arena_printf(arena, "%s { %s }", name, settings);
	struct node *root;

	if (problems)
		*problems = '\0';
	if (!module->conf_size)
		return used;
	root = parse_bytes(arena, "test", sy_span_text(text), &complaints);
	into.conf = used.conf = arena_alloc(arena, module->conf_size);
	if (!complaints.errors)
		rows_bind_pools(arena, root->children, 0, &into, 1, NULL, &pools, &complaints);
	if (!complaints.errors && module->check && module->check(used.conf, &err) != 0)
		complain(&complaints, root->children, "%s", err.text);
	else if (!complaints.errors && module->release) {
		if (module_n_uses == sizeof(module_uses) / sizeof(*module_uses))
			bail_out("more uses of modules than this knows of");
		module_uses[module_n_uses].arena = arena;
		module_uses[module_n_uses].module = module;
		module_uses[module_n_uses++].conf = used.conf;
	}
	if (complaints.errors && !problems)
		bail_out("%s { %s }: %s", name, settings, complaints.text.at);
	if (complaints.errors)
		snprintf(problems, len, "%s", complaints.text.at);
	text_free(&complaints.text);
	return used;
}

#endif
