/* A configuration as a tree of statements, each with the place where it was written. What the
 * parser makes, what -T prints, what travels in a generation. */
#ifndef CONF_TREE_H
#define CONF_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/span.h"
#include "base/arena.h"
#include "base/text.h"

/* What the loader found out about a statement; it travels in the tree, so that binding needs no
 * I/O. */
enum found {
	FOUND_NOTHING,
	FOUND_ADDRESSES,          /* numeric text for each argument that is a host name */
	FOUND_FILES,              /* the content of the file that each argument names */
	FOUND_SECRETS,            /* the same; content is kept out of the tree, see tree_flatten */
};

struct node {
	const char *name;
	struct sy_span *args;     /* each also ends with a NUL behind len */
	uint32_t n_args;
	bool block;               /* written with { } */
	bool filled;              /* not written by the operator: a default */
	bool unfolded;            /* its line was spread out, see rows_unfold: what is left is too much */
	uint8_t found_what;       /* enum found */
	struct sy_span *found;    /* n_args of them, or NULL */
	struct node *children;    /* in the order of the file */
	struct node *next;
	const char *file;         /* as the operator would open it */
	uint32_t line;
	uint32_t last_line;       /* of the statement's own words: a hint at a missing semicolon */
	const char *via;          /* deployed from a template, or included into a block: the
				     other place, "file:line"; or NULL */
};

/* Argument i as a string, or "" when there is none. */
const char *node_arg(const struct node *node, uint32_t i);
/* The first child of that name, or NULL. */
const struct node *node_child(const struct node *node, const char *name);
/* A statement that no operator wrote, placed where `at` is. */
struct node *node_new(struct arena *arena, const struct node *at, const char *name,
		      uint32_t n_args);
void node_append(struct node *parent, struct node *child);

/* Everything that went wrong, to be told in one go. Lines: "file:line: words", and
 * "file:line: warning: words" for what is only odd. What is said twice of one place, by way of the same
 * deploy, is told once. The first COMPLAINTS_TOLD are kept. */
enum { COMPLAINTS_TOLD = 200 };
struct complaints {
	struct text text;
	unsigned errors;          /* all of them; repeated: those that were told before */
	unsigned repeated, told;  /* told: lines, warnings too */
};

__attribute__((format(printf, 3, 4))) void complain(struct complaints *to, const struct node *at,
						    const char *format, ...);
__attribute__((format(printf, 3, 4))) void complain_mildly(struct complaints *to,
							   const struct node *at,
							   const char *format, ...);

/* The statement form again, one tab per depth; with places as comments if wanted. Bytes of inlined
 * files are not printed, nor secrets. */
void tree_print(const struct node *root, bool places, struct text *out);
/* Flat bytes and back; back copies nothing: spans point into `bytes`, which must be terminated as
 * they were written. Contents of FOUND_SECRETS go into `secrets` and are looked up there; without
 * secrets (len 0) they come back empty. NULL when malformed. */
void tree_flatten(const struct node *root, struct text *out, struct text *secrets);
struct node *tree_unflatten(struct arena *arena, struct sy_span bytes, struct sy_span secrets);
/* Equal for trees that say the same, wherever it was written: places do not count, found things
 * do. */
uint64_t tree_hash(const struct node *root);

#endif
