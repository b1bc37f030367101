/* Cuts configuration files into tokens, and words with quotes and variables into what they stand
 * for. A cursor is a place in some bytes; a copy of it remembers where a body begins. */
#ifndef CONF_LEX_H
#define CONF_LEX_H

#include "conf/names.h"
#include "conf/tree.h"

enum {
	LEX_WORD_MAX = 65536,     /* bytes that a word may have once variables are put in */
	LEX_WORDS_MAX = 4096,     /* words of a statement or a variable */
};

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,
	TOKEN_SEMICOLON,
	TOKEN_OPEN,
	TOKEN_CLOSE,
};

struct cursor {
	const char *at, *end;
	const char *file, *via;   /* as in struct node */
	uint32_t line;
};

struct token {
	enum token_kind kind;
	struct sy_span raw;       /* WORD: as written, quotes and all */
	uint32_t line;
};

/* What a variable or a parameter stands for: words, or the statements of a block. */
struct variable {
	const char *name;
	struct sy_span *words;
	uint32_t n;
	bool block;
	struct cursor body;       /* block: the statements, read where they are used */
	struct scope *scope; /* block: what they see */
	const struct node *place; /* where it was set */
};

struct scope {
	struct names *variables;
	const struct scope *parent; /* looked at next, or NULL */
};

/* Words that a statement is made of; scratch memory that grows. */
struct words {
	struct sy_span *at;
	uint32_t n, size;
};

struct token lex_next(struct cursor *cursor, struct complaints *complaints);
/* The same without moving on or complaining. */
enum token_kind lex_peek(const struct cursor *cursor);
/* From behind a `{`: the statements up to the matching `}` as a cursor of their own; `cursor` moves
 * behind the `}`. False when there is none: the rest was skipped. */
bool lex_body(struct cursor *cursor, struct cursor *body, struct complaints *complaints);
/* Appends what a word stands for, in memory of the arena: one word, or as many as the variable
 * has that it consists of. Complains at `place`. */
void lex_expand(struct arena *arena, struct sy_span raw, const struct scope *scope,
		struct words *words, const struct node *place, struct complaints *complaints);
void words_add(struct words *words, struct sy_span word);
void words_free(struct words *words);
/* The name of the variable, when the whole word is $name or ${name}; else NULL. */
const char *lex_variable_name(struct arena *arena, struct sy_span raw);
const struct variable *scope_find(const struct scope *scope, const char *name);

#endif
