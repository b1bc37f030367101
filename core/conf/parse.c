#include "conf/parse.h"

#include <string.h>

#include "conf/parse_run.h"

bool
parse_enter(struct parser *parser, const struct node *place)
{
	if (parser->depth == PARSE_DEPTH) {
		complain(parser->complaints, place,
			 "blocks, includes and templates are nested deeper than %d", PARSE_DEPTH);
		return false;
	}
	parser->depth++;
	return true;
}

bool
parse_spend(struct parser *parser, const struct node *place, uint32_t n)
{
	if (parser->budget == 0)
		return false;
	if (parser->budget > n) {
		parser->budget -= n;
		return true;
	}
	parser->budget = 0;
	complain(parser->complaints, place, "more than %d statements", PARSE_STATEMENTS);
	return false;
}

void
parse_leave(struct parser *parser)
{
	parser->depth--;
}

const char *
parse_via(struct parser *parser, const struct node *node)
{
	if (node->via)
		return arena_printf(parser->arena, "%s:%u (from %s)", node->file, node->line,
				    node->via);
	return arena_printf(parser->arena, "%s:%u", node->file, node->line);
}

void
parse_append(struct tail *tail, struct node *node)
{
	*tail->at = node;
	tail->at = &node->next;
}

void
parse_skip_block(struct parser *parser, struct cursor *cursor, const struct statement *statement)
{
	struct cursor body;

	if (statement->block && !lex_body(cursor, &body, parser->complaints))
		complain(parser->complaints, statement->node,
			 "the block of %s is never closed: a } is missing", statement->node->name);
}

struct sy_span *
parse_words(struct parser *parser, const struct statement *statement, uint32_t from,
	    struct scope *scope, uint32_t *n)
{
	struct words words = { 0 };
	struct sy_span *kept;

	for (uint32_t i = from; i < statement->raw.n && words.n <= LEX_WORDS_MAX; i++)
		lex_expand(parser->arena, statement->raw.at[i], scope, &words, statement->node,
			   parser->complaints);
	if (words.n > LEX_WORDS_MAX) {
		complain(parser->complaints, statement->node, "%s has more than %d words",
			 statement->node->name, LEX_WORDS_MAX);
		words.n = LEX_WORDS_MAX;
	}
	kept = arena_array(parser->arena, struct sy_span, words.n);
	if (words.n)
		memcpy(kept, words.at, words.n * sizeof(*kept));
	*n = words.n;
	words_free(&words);
	return kept;
}

/* The words up to the ; or {. What follows a statement without either stays unread. */
static void
parse_collect(struct parser *parser, struct cursor *cursor, struct statement *statement)
{
	for (;;) {
		enum token_kind next = lex_peek(cursor);
		struct token token;

		if (next == TOKEN_END || next == TOKEN_CLOSE) {
			struct node place = *statement->node;

			place.line = statement->node->last_line;
			complain(parser->complaints, &place, "the statement %s ends without a ;",
				 statement->node->name);
			return;
		}
		token = lex_next(cursor, parser->complaints);
		statement->block = token.kind == TOKEN_OPEN;
		if (token.kind != TOKEN_WORD)
			return;
		statement->node->last_line = token.line;
		words_add(&statement->raw, token.raw);
	}
}

/* An ordinary statement: it becomes a node. */
static void
parse_node(struct parser *parser, struct cursor *cursor, const struct statement *statement,
	   struct scope *scope, struct tail *tail)
{
	struct node *node = statement->node;
	struct tail children = { &node->children };

	node->args = parse_words(parser, statement, 0, scope, &node->n_args);
	node->block = statement->block;
	parse_append(tail, node);
	if (!node->block)
		return;
	if (!parse_enter(parser, node)) {
		parse_skip_block(parser, cursor, statement);
		return;
	}
	parser->blocks++;
	parse_statements(parser, cursor, scope, &children, node);
	parser->blocks--;
	parse_leave(parser);
}

/* Statements that the parser itself carries out. False: it is none of them. */
static bool
parse_own(struct parser *parser, struct cursor *cursor, const struct statement *statement,
	  struct scope *scope, struct tail *tail)
{
	const char *name = statement->node->name;

	if (strcmp(name, "include") == 0) {
		parse_include(parser, statement, scope, tail);
		parse_skip_block(parser, cursor, statement);
	} else if (strcmp(name, "set") == 0) {
		parse_set(parser, statement, scope);
		parse_skip_block(parser, cursor, statement);
	} else if (strcmp(name, "for-each") == 0) {
		parse_for_each(parser, cursor, statement, scope, tail);
	} else if (strcmp(name, "when") == 0) {
		parse_when(parser, cursor, statement, scope, tail);
	} else if (strcmp(name, "template") == 0) {
		parse_template(parser, cursor, statement);
	} else if (strcmp(name, "deploy") == 0) {
		parse_deploy(parser, cursor, statement, scope, tail);
	} else if (strcmp(name, "parameter") == 0 && parser->in_template &&
		   parser->blocks == parser->ground) {
		parse_skip_block(parser, cursor, statement); /* was read when the template was */
	} else {
		return false;
	}
	return true;
}

static const char *
parse_name(struct parser *parser, struct sy_span raw, const struct node *place,
	   struct scope *scope)
{
	struct words words = { 0 };
	const char *name;

	lex_expand(parser->arena, raw, scope, &words, place, parser->complaints);
	name = words.n == 1 ? (const char *)words.at[0].at : "";
	words_free(&words);
	return name;
}

static void
parse_statement(struct parser *parser, struct cursor *cursor, const struct token *first,
		struct scope *scope, struct tail *tail)
{
	struct node place = { .file = cursor->file, .via = cursor->via, .line = first->line };
	struct statement statement = { .node = node_new(parser->arena, &place, "", 0) };
	const char *variable = lex_variable_name(parser->arena, first->raw);

	if (!parse_spend(parser, &place, 1)) {
		cursor->at = cursor->end;
		return;
	}
	statement.node->name = variable ? arena_printf(parser->arena, "$%s", variable)
					: parse_name(parser, first->raw, &place, scope);
	parse_collect(parser, cursor, &statement);
	if (variable) {
		parse_splice(parser, variable, &statement, scope, tail);
		parse_skip_block(parser, cursor, &statement);
	} else if (!parse_own(parser, cursor, &statement, scope, tail)) {
		parse_node(parser, cursor, &statement, scope, tail);
	}
	words_free(&statement.raw);
}

void
parse_statements(struct parser *parser, struct cursor *cursor, struct scope *scope,
		 struct tail *tail, const struct node *opener)
{
	struct node place = { .file = cursor->file, .via = cursor->via };

	for (;;) {
		struct token token = lex_next(cursor, parser->complaints);

		place.line = token.line;
		switch (token.kind) {
		case TOKEN_END:
			if (opener && parser->budget)
				complain(parser->complaints, opener,
					 "the block of %s is never closed: a } is missing",
					 opener->name);
			return;
		case TOKEN_CLOSE:
			if (opener)
				return;
			complain(parser->complaints, &place, "} without a { before it");
			break;
		case TOKEN_SEMICOLON:
			complain(parser->complaints, &place,
				 "; without a statement before it (a block ends with } alone)");
			break;
		case TOKEN_OPEN:
			complain(parser->complaints, &place, "{ without a name before it");
			parse_skip_block(parser, cursor,
					 &(struct statement){ .node = &place, .block = true });
			break;
		case TOKEN_WORD:
			parse_statement(parser, cursor, &token, scope, tail);
			break;
		}
	}
}

/* Replaces placeholders by what stands in them. */
static void
parse_unwrap(struct node *parent)
{
	struct node **at = &parent->children;

	while (*at) {
		struct node *node = *at;

		if (node->name) {
			parse_unwrap(node);
			at = &node->next;
		} else if (node->children) {
			struct node *last = node->children;

			while (last->next)
				last = last->next;
			last->next = node->next;
			*at = node->children;
		} else {
			*at = node->next;
		}
	}
}

/* Where the bytes of a file begin: behind the mark that some editors put there (U+FEFF). */
struct cursor
parse_cursor(struct parser *parser, const char *file, struct sy_span bytes)
{
	struct cursor cursor = { .at = (const char *)bytes.at, .file = file, .line = 1 };
	const struct node place = { .file = file };
	const char *nul = memchr(bytes.at, 0, bytes.len);

	cursor.end = cursor.at + bytes.len;
	if (bytes.len >= 3 && memcmp(cursor.at, "\xef\xbb\xbf", 3) == 0)
		cursor.at += 3;
	if (nul) {
		complain(parser->complaints, &place,
			 "a NUL byte at offset %zu: this is no text file",
			 (size_t)(nul - (const char *)bytes.at));
		cursor.end = cursor.at;
	}
	return cursor;
}

static struct node *
parse_all(struct parser *parser, const char *name, struct sy_span bytes)
{
	struct node *root = arena_new_of(parser->arena, struct node);
	struct cursor cursor = parse_cursor(parser, name, bytes);
	struct scope global = { .variables = names_new(parser->arena) };
	struct tail tail = { &root->children };

	root->name = "";
	root->file = name;
	root->block = true;
	parser->global = &global;
	parser->templates = names_new(parser->arena);
	parser->last_deployment = &parser->deployments;
	parser->budget = PARSE_STATEMENTS;
	parse_statements(parser, &cursor, &global, &tail, NULL);
	parse_deployments(parser);
	parse_unwrap(root);
	return root;
}

struct node *
parse_file(struct arena *arena, const char *path, struct complaints *complaints)
{
	struct parser parser = { .arena = arena, .complaints = complaints };
	const char *name = arena_text(arena, path);
	struct node place = { .file = name };
	struct reading reading = { 0 };
	struct sy_span bytes = sy_span("", 0);

	if (!parse_read(&parser, name, &place, &bytes, &reading))
		bytes = sy_span("", 0);
	parser.reading = &reading;
	return parse_all(&parser, name, bytes);
}

struct node *
parse_bytes(struct arena *arena, const char *name, struct sy_span bytes,
	    struct complaints *complaints)
{
	struct parser parser = { .arena = arena, .complaints = complaints };

	return parse_all(&parser, arena_text(arena, name), arena_span(arena, bytes));
}
