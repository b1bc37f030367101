/* What the files of the parser share: parse.c (statements), include.c (files), template.c
 * (variables, loops, templates), when.c (conditions). Not for others. */
#ifndef CONF_PARSE_RUN_H
#define CONF_PARSE_RUN_H

#include "conf/lex.h"

enum {
	PARSE_DEPTH = 32,         /* blocks within blocks, includes and templates counted */
	PARSE_STATEMENTS = 500000,
	PARSE_TURN = 20,          /* what a turn of a loop or a deploy costs, in statements:
				     empty ones would go on for hours */
	PARSE_FILE_MAX = 16 << 20,
};

/* Where statements go: the end of a list that may be another statement's children. */
struct tail {
	struct node **at;
};

/* A file being read, to notice one that includes itself. */
struct reading {
	uint64_t device, inode;
	const struct reading *above;
};

struct parser {
	struct arena *arena;
	struct complaints *complaints;
	struct scope *global;
	struct names *templates;
	const struct reading *reading; /* NULL: from memory, no includes */
	struct deployment *deployments, **last_deployment;
	uint32_t budget;          /* statements that may still come; loops cost, too */
	unsigned depth, blocks;   /* blocks: how many { are open; 0: top level */
	bool in_template;         /* in the body of one, which began `ground` blocks deep */
	unsigned ground;
};

/* A statement of which only the words are known. */
struct statement {
	struct node *node;        /* place; name once it is known; no arguments yet */
	struct words raw;         /* the words behind the name, as written */
	bool block;               /* the cursor stands behind a { */
};

struct cursor parse_cursor(struct parser *parser, const char *file, struct sy_span bytes);
/* Reads statements up to the end of the cursor, or to the } that closes `opener`. */
void parse_statements(struct parser *parser, struct cursor *cursor, struct scope *scope,
		      struct tail *tail, const struct node *opener);
/* Skips the block of a statement that turned out wrong. */
void parse_skip_block(struct parser *parser, struct cursor *cursor,
		      const struct statement *statement);
/* Puts the words of a statement, from the one given, into an array that lasts. */
struct sy_span *parse_words(struct parser *parser, const struct statement *statement, uint32_t from,
			    struct scope *scope, uint32_t *n);
/* False, with a complaint, when too deep; each true needs a parse_leave. */
bool parse_enter(struct parser *parser, const struct node *place);
void parse_leave(struct parser *parser);
/* False when more was read than any farm can need; the first time with a complaint. */
bool parse_spend(struct parser *parser, const struct node *place, uint32_t n);
void parse_append(struct tail *tail, struct node *node);
/* The place of a statement, as the `via` of those that come from it. */
const char *parse_via(struct parser *parser, const struct node *node);

void parse_include(struct parser *parser, const struct statement *statement,
		   struct scope *scope, struct tail *tail);
/* The bytes of a regular file; false with a complaint at `place`. */
bool parse_read(struct parser *parser, const char *path, const struct node *place,
		struct sy_span *bytes, struct reading *reading);

/* The handlers of template.c; each leaves the cursor behind its statement. */
void parse_set(struct parser *parser, const struct statement *statement, struct scope *scope);
void parse_splice(struct parser *parser, const char *name, const struct statement *statement,
		  struct scope *scope, struct tail *tail);
void parse_for_each(struct parser *parser, struct cursor *cursor, const struct statement *statement,
		    struct scope *scope, struct tail *tail);
void parse_when(struct parser *parser, struct cursor *cursor, const struct statement *statement,
		struct scope *scope, struct tail *tail);
/* Whether a word is one of those. */
bool parse_among(const struct sy_span *word, const struct sy_span *list, uint32_t n);
void parse_template(struct parser *parser, struct cursor *cursor,
		    const struct statement *statement);
void parse_deploy(struct parser *parser, struct cursor *cursor, const struct statement *statement,
		  struct scope *scope, struct tail *tail);
/* Once all files are read, and so all templates known. */
void parse_deployments(struct parser *parser);

#endif
