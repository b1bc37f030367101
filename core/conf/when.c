/* `when $version in 2010 2013 { ... }`: statements that are read only if a value is among others;
 * `when $certificate given { ... }`: if there is a value at all. It is for templates that differ in a
 * few lines, so it compares words and nothing else. */
#include "conf/parse_run.h"

#include <string.h>

static bool
when_is(struct sy_span word, const char *text)
{
	return word.len == strlen(text) && memcmp(word.at, text, word.len) == 0;
}

bool
parse_among(const struct sy_span *word, const struct sy_span *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (word->len == list[i].len && memcmp(word->at, list[i].at, word->len) == 0)
			return true;
	return false;
}

/* The first word is expanded alone: a variable without a value must not move the others. */
static bool
when_holds(struct parser *parser, const struct statement *statement, struct scope *scope)
{
	struct statement left = *statement;
	struct sy_span *values, *list;
	uint32_t n_values, n;
	bool found = false;

	left.raw.n = 1;
	values = parse_words(parser, &left, 0, scope, &n_values);
	list = parse_words(parser, statement, 2, scope, &n);
	for (uint32_t i = 0; i < n_values && !found; i++)
		found = parse_among(&values[i], list, n);
	return found == when_is(statement->raw.at[1], "in");
}

/* `given` and `missing` are asked of a variable, which may also be a block. */
static bool
when_given(const struct statement *statement, struct scope *scope, const char *name)
{
	const struct variable *variable = scope_find(scope, name);
	bool given = variable && (variable->block || variable->n);

	return given == when_is(statement->raw.at[1], "given");
}

void
parse_when(struct parser *parser, struct cursor *cursor, const struct statement *statement,
	   struct scope *scope, struct tail *tail)
{
	struct sy_span how = statement->raw.n > 1 ? statement->raw.at[1] : sy_span("", 0);
	bool among = statement->raw.n > 2 && (when_is(how, "in") || when_is(how, "not-in"));
	bool given = statement->raw.n == 2 && (when_is(how, "given") || when_is(how, "missing"));
	const char *name = given ? lex_variable_name(parser->arena, statement->raw.at[0]) : NULL;
	struct cursor body;

	if (!statement->block || (!among && !name)) {
		complain(parser->complaints, statement->node,
			 "when takes a value, `in' or `not-in', and values, or a variable and `given' or "
			 "`missing', and a block: when $version in 2010 2013 { ... }");
		parse_skip_block(parser, cursor, statement);
		return;
	}
	if (!lex_body(cursor, &body, parser->complaints))
		complain(parser->complaints, statement->node,
			 "the block of when is never closed: a } is missing");
	if (!(among ? when_holds(parser, statement, scope) : when_given(statement, scope, name)) ||
	    !parse_enter(parser, statement->node))
		return;
	parser->blocks++;
	parse_statements(parser, &body, scope, tail, NULL);
	parser->blocks--;
	parse_leave(parser);
}
