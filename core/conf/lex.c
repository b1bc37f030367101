#include "conf/lex.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

/* ---- tokens ---- */

static bool
lex_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
lex_control(char c)
{
	return ((unsigned char)c < ' ' && !lex_space(c)) || c == 0x7f;
}

static void
lex_skip_space(struct cursor *cursor)
{
	while (cursor->at < cursor->end) {
		if (*cursor->at == '#') {
			while (cursor->at < cursor->end && *cursor->at != '\n')
				cursor->at++;
		} else if (lex_space(*cursor->at)) {
			cursor->line += *cursor->at == '\n';
			cursor->at++;
		} else {
			break;
		}
	}
}

/* Moves behind the closing quote, or to the end when there is none. */
static bool
lex_skip_quoted(struct cursor *cursor)
{
	char quote = *cursor->at++;

	while (cursor->at < cursor->end) {
		char c = *cursor->at++;

		if (c == '\n')
			cursor->line++;
		if (c == quote)
			return true;
		if (c == '\\' && quote == '"' && cursor->at < cursor->end) {
			cursor->line += *cursor->at == '\n';
			cursor->at++;
		}
	}
	return false;
}

/* "${name}": the braces are no block. */
static void
lex_skip_braced(struct cursor *cursor)
{
	const char *at = cursor->at + 2;

	while (at < cursor->end && !lex_space(*at) && *at != ';' && *at != '{' && *at != '}')
		at++;
	cursor->at = at < cursor->end && *at == '}' ? at + 1 : at;
}

static void
lex_skip_word(struct cursor *cursor, struct complaints *complaints)
{
	struct node place = { .file = cursor->file, .via = cursor->via };

	while (cursor->at < cursor->end) {
		char c = *cursor->at;

		place.line = cursor->line;
		if (lex_space(c) || c == ';' || c == '{' || c == '}')
			return;
		if (c == '"' || c == '\'') {
			if (!lex_skip_quoted(cursor))
				complain(complaints, &place,
					 "the quote %c that begins here is never closed", c);
		} else if (c == '$' && cursor->end - cursor->at > 1 && cursor->at[1] == '{') {
			lex_skip_braced(cursor);
		} else {
			if (lex_control(c))
				complain(complaints, &place,
					 "unexpected byte 0x%02x: only text may stand here",
					 (unsigned char)c);
			cursor->at++;
		}
	}
}

struct token
lex_next(struct cursor *cursor, struct complaints *complaints)
{
	struct token token = { .kind = TOKEN_END };
	const char *start;

	lex_skip_space(cursor);
	token.line = cursor->line;
	if (cursor->at == cursor->end)
		return token;
	start = cursor->at;
	switch (*start) {
	case ';':
		token.kind = TOKEN_SEMICOLON;
		cursor->at++;
		break;
	case '{':
		token.kind = TOKEN_OPEN;
		cursor->at++;
		break;
	case '}':
		token.kind = TOKEN_CLOSE;
		cursor->at++;
		break;
	default:
		token.kind = TOKEN_WORD;
		lex_skip_word(cursor, complaints);
	}
	token.raw = sy_span(start, (size_t)(cursor->at - start));
	return token;
}

enum token_kind
lex_peek(const struct cursor *cursor)
{
	struct cursor copy = *cursor;

	lex_skip_space(&copy);
	if (copy.at == copy.end)
		return TOKEN_END;
	return *copy.at == ';' ? TOKEN_SEMICOLON : *copy.at == '{' ? TOKEN_OPEN
	     : *copy.at == '}' ? TOKEN_CLOSE : TOKEN_WORD;
}

bool
lex_body(struct cursor *cursor, struct cursor *body, struct complaints *complaints)
{
	unsigned depth = 1;

	*body = *cursor;
	while (depth) {
		struct token token = lex_next(cursor, complaints);

		if (token.kind == TOKEN_END) {
			body->end = cursor->at;
			return false;
		}
		depth += token.kind == TOKEN_OPEN;
		depth -= token.kind == TOKEN_CLOSE;
	}
	body->end = cursor->at - 1;
	return true;
}

/* ---- words ---- */

void
words_add(struct words *words, struct sy_span word)
{
	if (words->n == words->size) {
		words->size = words->size ? words->size * 2 : 32;
		words->at = must_realloc(words->at, words->size * sizeof(*words->at));
	}
	words->at[words->n++] = word;
}

void
words_free(struct words *words)
{
	free(words->at);
	*words = (struct words){ 0 };
}

const struct variable *
scope_find(const struct scope *scope, const char *name)
{
	const struct variable *variable = NULL;

	for (; scope && !variable; scope = scope->parent)
		variable = names_find(scope->variables, name);
	return variable;
}

static bool
lex_name_byte(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (!first && ((c >= '0' && c <= '9') || c == '-'));
}

/* The length of "$name" or "${name}" at `at`; 0 when there is none. The name without ornaments is
 * given back, too. */
static size_t
lex_variable(const char *at, const char *end, struct sy_span *name)
{
	bool braces = end - at > 1 && at[1] == '{';
	const char *start = at + (braces ? 2 : 1), *stop = start;

	while (stop < end && lex_name_byte(*stop, stop == start))
		stop++;
	*name = sy_span(start, (size_t)(stop - start));
	if (stop == start || (braces && (stop == end || *stop != '}')))
		return 0;
	return (size_t)(stop - at) + braces;
}

const char *
lex_variable_name(struct arena *arena, struct sy_span raw)
{
	const char *at = (const char *)raw.at;
	struct sy_span name;

	if (raw.len < 2 || *at != '$' || lex_variable(at, at + raw.len, &name) != raw.len)
		return NULL;
	return arena_text_n(arena, (const char *)name.at, name.len);
}

struct expansion {
	struct arena *arena;
	const struct scope *scope;
	const struct node *place;
	struct complaints *complaints;
	struct text word;
	bool bad;
};

static const struct variable *
lex_look_up(struct expansion *into, const char *name)
{
	const struct variable *variable = scope_find(into->scope, name);
	const char *near = NULL;

	if (variable)
		return variable;
	for (const struct scope *scope = into->scope; scope && !near; scope = scope->parent)
		near = text_nearest(name, names_all(scope->variables));
	if (near)
		complain(into->complaints, into->place,
			 "there is no variable $%s; did you mean $%s?", name, near);
	else
		complain(
		    into->complaints, into->place,
		    "there is no variable $%s (set $%s VALUE; makes one; a $ that is meant as such "
		    "stands in single quotes)",
		    name, name);
	into->bad = true;
	return NULL;
}

static void
lex_put(struct expansion *into, const char *bytes, size_t len)
{
	if (into->bad)
		return;
	if (into->word.len + len > LEX_WORD_MAX) {
		complain(into->complaints, into->place, "a word is longer than %d bytes",
			 LEX_WORD_MAX);
		into->bad = true;
		return;
	}
	text_add(&into->word, bytes, len);
}

/* A variable inside a word: one value, or, between quotes, several with spaces between them. */
static void
lex_put_variable(struct expansion *into, struct sy_span span, bool quoted)
{
	const char *name = arena_text_n(into->arena, (const char *)span.at, span.len);
	const struct variable *variable = lex_look_up(into, name);

	if (!variable)
		return;
	if (variable->block || (variable->n != 1 && !quoted)) {
		complain(into->complaints, into->place,
			 variable->block
			     ? "$%s is a block of statements and cannot be part of a word; it "
			       "stands alone: $%s;"
			     : "$%s has more than one value here, or none; only a word of its "
			       "own, or a quoted one, can hold all of $%s",
			 name, name);
		into->bad = true;
		return;
	}
	for (uint32_t i = 0; i < variable->n; i++) {
		if (i)
			lex_put(into, " ", 1);
		lex_put(into, (const char *)variable->words[i].at, variable->words[i].len);
	}
}

/* What stands at `at`, between double quotes or outside of any; returns how long it is. */
static size_t
lex_put_next(struct expansion *into, const char *at, const char *end, bool quoted)
{
	struct sy_span name;
	size_t len;

	if (*at == '$') {
		len = lex_variable(at, end, &name);
		if (len) {
			lex_put_variable(into, name, quoted);
			return len;
		}
		if (end - at > 1 && at[1] == '{' && !quoted) {
			complain(into->complaints, into->place,
				 "${ begins a variable that has no name or is "
				 "not closed with }");
			into->bad = true;
		}
	}
	if (quoted && *at == '\\' && end - at > 1) {
		static const char from[] = "nt\"\\$", to[] = "\n\t\"\\$";
		const char *found = strchr(from, at[1]);

		/* Anything else keeps its backslash: patterns are full of them. */
		lex_put(into, found ? &to[found - from] : at, found ? 1 : 2);
		return 2;
	}
	lex_put(into, at, 1);
	return 1;
}

static void
lex_put_word(struct expansion *into, const char *at, const char *end)
{
	char quote = 0;

	while (at < end && !into->bad) {
		if (!quote && (*at == '"' || *at == '\'')) {
			quote = *at++;
		} else if (quote && *at == quote) {
			quote = 0;
			at++;
		} else if (quote == '\'') {
			lex_put(into, at++, 1);
		} else {
			at += lex_put_next(into, at, end, quote == '"');
		}
	}
}

static bool
lex_is_plain(struct sy_span raw)
{
	for (size_t i = 0; i < raw.len; i++)
		if (raw.at[i] == '"' || raw.at[i] == '\'' || raw.at[i] == '$')
			return false;
	return raw.len <= LEX_WORD_MAX;
}

/* A copy that also ends with a NUL. */
static struct sy_span
lex_keep(struct arena *arena, struct sy_span word)
{
	return sy_span(arena_text_n(arena, (const char *)word.at, word.len), word.len);
}

void
lex_expand(struct arena *arena, struct sy_span raw, const struct scope *scope,
	   struct words *words, const struct node *place, struct complaints *complaints)
{
	struct expansion into = { arena, scope, place, complaints, { 0 }, false };
	const char *name = lex_variable_name(arena, raw);
	const struct variable *variable = name ? lex_look_up(&into, name) : NULL;

	if (!name && lex_is_plain(raw)) {
		words_add(words, lex_keep(arena, raw));
		return;
	}
	if (name && variable && !variable->block) {
		for (uint32_t i = 0; i < variable->n; i++)
			words_add(words, variable->words[i]);
		return;
	}
	if (name && !variable) {
		words_add(words, sy_span("", 0));
		return;
	}
	lex_put_word(&into, (const char *)raw.at, (const char *)raw.at + raw.len);
	words_add(words, lex_keep(arena, sy_span(into.word.at ? into.word.at : "", into.word.len)));
	text_free(&into.word);
}
