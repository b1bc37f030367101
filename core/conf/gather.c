/* The loader's first half. It runs as root, so it only reads: files, the lists of users and groups,
 * modules. Which settings of a module name files is known when the module is open, and it is opened
 * without root's rights: so each word inside a block that happens to name a regular file is read,
 * and only what turns out to be meant is used. */
#include "conf/gathered.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/modules.h"
#include "conf/parse.h"

enum { GATHER_FILE_MAX = 4 << 20 };

const char *
gathered_key(struct arena *arena, enum sy_kind kind, const char *name)
{
	return arena_printf(arena, "%s/%s", kind_names[kind], name);
}

enum sy_kind
gathered_kind(const char *statement)
{
	for (unsigned kind = 0; kind < SY_KINDS; kind++)
		if (strcmp(statement, kind_names[kind]) == 0)
			return (enum sy_kind)kind;
	return SY_KINDS;
}

const char *
gathered_path(const struct gathered *gathered, const char *path)
{
	return *path == '/' ? path : arena_printf(gathered->arena, "%s/%s", gathered->folder, path);
}

/* ---- users ---- */

/* For the second half of a load that has failed already. */
enum { GATHER_NOBODY = 65534 };

static void
gather_user(struct gathered *gathered, struct complaints *complaints)
{
	const struct node *node = node_child(gathered->root, "user");
	const struct passwd *user;

	gathered->uid = geteuid();
	gathered->gid = getegid();
	gathered->privileged = gathered->uid == 0;
	gathered->user = node && node->n_args == 1 ? node_arg(node, 0) : "steelyard";
	user = getpwnam(gathered->user);
	if (!user && !node && gathered->uid == 0) {
		gathered->user = "nobody";
		user = getpwnam(gathered->user);
		complain_mildly(
		    complaints, gathered->root,
		    "there is no user steelyard, so nobody is used "
		    "(useradd --system steelyard makes one; user NAME; chooses another)");
	}
	if (gathered->uid == 0 && (!user || user->pw_uid == 0))
		gathered->uid = gathered->gid = GATHER_NOBODY;
	if (!user && (node || geteuid() == 0)) {
		complain(complaints, node ? node : gathered->root,
			 "user %s: there is no such user on this "
			 "machine (useradd --system %s makes one)",
			 gathered->user, gathered->user);
	} else if (geteuid() == 0 && user->pw_uid == 0) {
		complain(complaints, node,
			 "user %s: that is root, and workers must not run as root", gathered->user);
	} else if (geteuid() == 0) {
		gathered->uid = user->pw_uid;
		gathered->gid = user->pw_gid;
	} else if (node && user->pw_uid != gathered->uid) {
		complain_mildly(complaints, node,
				"user %s: not started by root, so everything runs as the "
				"user who started it",
				gathered->user);
	}
}

static void
gather_control_group(struct gathered *gathered, struct complaints *complaints)
{
	const struct node *node = node_child(gathered->root, "control");
	const struct group *group;

	gathered->control_gid = getegid(); /* who may steer is named, never assumed */
	for (uint32_t i = 1; node && i < node->n_args; i++) {
		const char *arg = node_arg(node, i);

		if (strncmp(arg, "group=", 6) != 0)
			continue;
		group = getgrnam(arg + 6);
		if (group)
			gathered->control_gid = group->gr_gid;
		else
			complain(complaints, node,
				 "group %s: there is no such group on this machine", arg + 6);
	}
}

/* How many descriptors a child may get. Root may ask for more than its own limit. */
static void
gather_limit(struct gathered *gathered)
{
	struct rlimit limit, wanted;
	unsigned long most = 1048576;
	FILE *file = fopen("/proc/sys/fs/nr_open", "re");

	if (file) {
		if (fscanf(file, "%lu", &most) != 1)
			most = 1048576;
		fclose(file);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		limit.rlim_cur = limit.rlim_max = 1024;
	wanted = (struct rlimit){ limit.rlim_cur, most };
	if (limit.rlim_max < most && setrlimit(RLIMIT_NOFILE, &wanted) == 0)
		limit.rlim_max = most;
	gathered->nofile = limit.rlim_max;
}

/* ---- modules ---- */

static void
gather_module(struct gathered *gathered, enum sy_kind kind, const char *name)
{
	const char *key = gathered_key(gathered->arena, kind, name);
	struct gathered_module *module;

	if (names_find(gathered->modules, key))
		return;
	module = arena_new_of(gathered->arena, struct gathered_module);
	module->kind = kind;
	module->name = name;
	names_add(gathered->modules, key, module);
	if (gathered->n_modules == GEN_MODULES) {
		module->fd = -1;
		sy_fail(&module->err, "more than %d modules are in use", GEN_MODULES);
		return;
	}
	module->fd = modules_copy(gathered->module_dir, kind, name, &module->hash, &module->err);
	if (module->fd >= 0)
		gathered->in_order[gathered->n_modules++] = module;
}

static void
gather_modules(struct gathered *gathered, const struct node *service)
{
	for (const struct node *node = service->children; node; node = node->next) {
		enum sy_kind kind = gathered_kind(node->name);

		if (kind != SY_KINDS && node->n_args && strcmp(node_arg(node, 0), "off") != 0)
			gather_module(gathered, kind, node_arg(node, 0));
	}
	if (!node_child(service, "protocol"))
		gather_module(gathered, SY_PROTOCOL, "tcp");
	if (!node_child(service, "scheduler"))
		gather_module(gathered, SY_SCHEDULER, "least-connections");
}

static bool
gather_has(const char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

struct gathered_module *
gathered_find(struct gathered *gathered, enum sy_kind kind, const char *name, struct sy_err *err)
{
	const char *key = gathered_key(gathered->arena, kind, name);
	struct gathered_module *module = names_find(gathered->modules, key);
	const char **names, *near;
	struct text known = { 0 };

	if (module && module->fd >= 0)
		return module;
	names = modules_names(gathered->module_dir, kind);
	near = text_nearest(name, names);
	for (unsigned i = 0; names[i]; i++)
		text_printf(&known, "%s%s", i ? ", " : "", names[i]);
	if (module && gather_has(names, name))
		*err = module->err;
	else if (!known.len)
		sy_fail(err, "there is no such module, and no other in %s/%s", gathered->module_dir,
			kind_names[kind]);
	else
		sy_fail(err, "there is no such module%s%s%s (there are: %.300s)",
			near ? "; did you mean " : "", near ? near : "", near ? "?" : "", known.at);
	text_free(&known);
	free(names);
	return NULL;
}

/* ---- files ---- */

static void
gather_content(struct gathered *gathered, const char *path, struct gathered_file *file)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;
	size_t len = 0;
	char *at;

	if (fd < 0 || fstat(fd, &status) < 0) {
		file->problem = strerror(errno);
	} else if (!S_ISREG(status.st_mode)) {
		file->problem = "it is not a regular file";
	} else if (status.st_size > GATHER_FILE_MAX) {
		file->problem = "it is larger than 4m";
	} else {
		at = arena_alloc(gathered->arena, (size_t)status.st_size + 1);
		while (len < (size_t)status.st_size) {
			ssize_t n = read(fd, at + len, (size_t)status.st_size - len);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				break;
			len += (size_t)n;
		}
		file->content = sy_span(at, len);
	}
	if (fd >= 0)
		close(fd);
}

static bool
gather_is_no_path(const char *word)
{
	uint64_t n;

	return !*word || strlen(word) >= PATH_MAX - 1 || uint_parse(word, &n) ||
	       duration_parse(word, &n) || strcmp(word, "on") == 0 || strcmp(word, "off") == 0;
}

static void
gather_file(struct gathered *gathered, const char *word)
{
	struct gathered_file *file;
	const char *path;
	struct stat status;

	if (gather_is_no_path(word))
		return;
	path = gathered_path(gathered, word);
	if (names_find(gathered->files, path))
		return;
	file = arena_new_of(gathered->arena, struct gathered_file);
	names_add(gathered->files, path, file);
	/* Opening a device can do things; asking what it is cannot. */
	if (stat(path, &status) < 0)
		file->problem = strerror(errno);
	else if (!S_ISREG(status.st_mode))
		file->problem =
		    S_ISDIR(status.st_mode) ? "it is a folder" : "it is not a regular file";
	else
		gather_content(gathered, path, file);
}

/* `depth` 1: what stands in a pool or a virtual-service; only blocks and name=value of it matter.
 */
static void
gather_files(struct gathered *gathered, const struct node *block, unsigned depth)
{
	for (const struct node *node = block->children; node; node = node->next) {
		for (uint32_t i = 0; i < node->n_args; i++) {
			const char *arg = node_arg(node, i), *equals = strchr(arg, '=');

			if (equals)
				gather_file(gathered, equals + 1);
			if (depth > 1)
				gather_file(gathered, arg);
		}
		gather_files(gathered, node, depth + 1);
	}
}

/* ---- all of it ---- */

struct gathered *
generation_gather(const char *path, const char *module_dir, struct complaints *complaints)
{
	struct arena *arena = arena_new();
	struct gathered *gathered = arena_new_of(arena, struct gathered);
	const char *slash = strrchr(path, '/');

	gathered->arena = arena;
	gathered->path = arena_text(arena, path);
	gathered->folder = slash ? arena_text_n(arena, path, (size_t)(slash - path)) : ".";
	if (slash == path)
		gathered->folder = "";
	gathered->module_dir = arena_text(arena, module_dir);
	gathered->files = names_new(arena);
	gathered->modules = names_new(arena);
	gathered->root = parse_file(arena, path, complaints);
	gather_user(gathered, complaints);
	gather_control_group(gathered, complaints);
	gather_limit(gathered);
	for (const struct node *node = gathered->root->children; node; node = node->next) {
		bool service = strcmp(node->name, "virtual-service") == 0;

		if (service)
			gather_modules(gathered, node);
		if (service || strcmp(node->name, "pool") == 0)
			gather_files(gathered, node, 1);
		if (strcmp(node->name, "console") == 0)
			gather_files(gathered, node, 2);
	}
	return gathered;
}

void
gathered_user(const struct gathered *gathered, uint32_t *uid, uint32_t *gid)
{
	*uid = gathered->uid;
	*gid = gathered->gid;
}

const struct node *
gathered_tree(const struct gathered *gathered)
{
	return gathered->root;
}

void
gathered_free(struct gathered *gathered)
{
	for (uint32_t i = 0; i < gathered->n_modules; i++)
		if (gathered->in_order[i]->fd >= 0)
			close(gathered->in_order[i]->fd);
	arena_free(gathered->arena);
}
