/* What the loader's first half hands to the second: gather.c fills it, normal.c makes the tree
 * complete with it, compile.c writes the generation. Not for others. */
#ifndef CONF_GATHERED_H
#define CONF_GATHERED_H

#include "conf/generation.h"
#include "conf/names.h"

/* A file that a word of the configuration names, whether or not it is meant as one. */
struct gathered_file {
	const char *problem;      /* NULL: content is there */
	struct sy_span content;
};

struct gathered_module {
	enum sy_kind kind;
	const char *name;
	int fd;                   /* -1: see err */
	uint64_t hash;
	struct sy_err err;
	const struct sy_module *module; /* opened by the second half */
};

struct gathered {
	struct arena *arena;
	struct node *root;
	const char *path, *folder, *module_dir;
	struct names *files;      /* struct gathered_file by path */
	struct names *modules;    /* struct gathered_module by "kind/name" */
	struct gathered_module *in_order[GEN_MODULES];
	uint32_t n_modules;
	uint32_t uid, gid, control_gid;
	const char *user;
	bool privileged;          /* the first half ran as root */
	uint64_t nofile;          /* descriptors that a process may have, at most */
};

/* "kind/name". */
const char *gathered_key(struct arena *arena, enum sy_kind kind, const char *name);
/* The kind that a statement of a virtual-service names, or SY_KINDS. */
enum sy_kind gathered_kind(const char *statement);
/* A path as it is opened: relative ones count from the folder of the main file. */
const char *gathered_path(const struct gathered *gathered, const char *path);
/* The module by kind and name; NULL with err, names of others included. */
struct gathered_module *gathered_find(struct gathered *gathered, enum sy_kind kind,
				      const char *name, struct sy_err *err);

/* Second half, first step: defaults, addresses, contents of files. */
void normal_tree(struct gathered *gathered, struct complaints *complaints);

#endif
