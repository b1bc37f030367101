/* Variables, loops, and templates.
 *
 *	template web-farm {
 *		parameter address;
 *		parameter servers;
 *		parameter port default 443;
 *
 *		pool ${address}-servers { $servers; }
 *		virtual-service web { listen ${address}:${port}; pool ${address}-servers; }
 *	}
 *
 *	deploy web-farm {
 *		address 203.0.113.10;
 *		servers { server web1 198.51.100.11; server web2 198.51.100.12; }
 *	}
 *
 * `parameter NAME among 2010 2013;` allows these values only; `default` without a value makes a
 * parameter that may be left out and then stands for nothing, as a word or as a statement.
 *
 * The body of a template is read anew for each deploy, with a scope of its own; a parameter given
 * as a block is read where its name stands as a statement, and sees what the deploy saw. Deploys
 * are carried out when all files are read, so templates may stand anywhere. */
#include "conf/parse_run.h"

#include <string.h>

struct parameter {
	const char *name;
	struct words preset;      /* raw; the words of the default, in the arena */
	struct words allowed;     /* raw; every value must be one of these; n 0: any */
	bool has_preset;
	struct node *place;
	struct parameter *next;
};

struct template {
	const char *name;
	struct parameter *parameters;
	struct cursor body;
	const struct node *place;
};

/* A deploy that waits for the end of all files. */
struct deployment {
	const struct node *node;  /* args[0]: the template's name */
	struct scope scope;       /* what was given */
	struct node *holder; /* stands where the result goes; without a name, so it is unwrapped */
	unsigned depth, blocks;
	struct deployment *next;
};

static struct variable *
variable_new(struct parser *parser, const char *name, const struct node *place)
{
	struct variable *variable = arena_new_of(parser->arena, struct variable);

	variable->name = name;
	variable->place = place;
	return variable;
}

static void
variable_add(struct parser *parser, struct scope *scope, struct variable *variable)
{
	const struct variable *first = names_add(scope->variables, variable->name, variable);

	if (first)
		complain(parser->complaints, variable->place,
			 "%s is given twice; the first time at %s:%u", variable->name,
			 first->place->file, first->place->line);
}

void
parse_set(struct parser *parser, const struct statement *statement, struct scope *scope)
{
	const char *name = statement->raw.n
		? lex_variable_name(parser->arena, statement->raw.at[0]) : NULL;
	struct variable *variable;

	if (!name || statement->raw.n < 2 || statement->block) {
		complain(parser->complaints, statement->node,
			 "set takes a variable and its value: set $name value;");
		return;
	}
	if (parser->blocks != (parser->in_template ? parser->ground : 0)) {
		complain(
		    parser->complaints, statement->node,
		    "set must stand outside of blocks: a variable is known from there to the end");
		return;
	}
	variable = variable_new(parser, name, statement->node);
	variable->words = parse_words(parser, statement, 1, scope, &variable->n);
	variable_add(parser, scope, variable);
}

void
parse_splice(struct parser *parser, const char *name, const struct statement *statement,
	     struct scope *scope, struct tail *tail)
{
	const struct variable *variable = scope_find(scope, name);
	struct cursor body;

	/* A default of nothing stands for no statements as well as for no words. */
	if (variable && !variable->block && variable->n == 0 && !statement->raw.n && !statement->block)
		return;
	if (!variable || !variable->block || statement->raw.n || statement->block) {
		complain(
		    parser->complaints, statement->node,
		    variable && variable->block
			? "$%s is a block of statements and stands alone: $%s;"
			: "$%s begins a statement, but is no parameter that was given as a block",
		    name, name);
		return;
	}
	if (!parse_enter(parser, statement->node))
		return;
	body = variable->body;
	parse_statements(parser, &body, variable->scope, tail, NULL);
	parse_leave(parser);
}

void
parse_for_each(struct parser *parser, struct cursor *cursor, const struct statement *statement,
	       struct scope *scope, struct tail *tail)
{
	const char *name = statement->raw.n
		? lex_variable_name(parser->arena, statement->raw.at[0]) : NULL;
	struct sy_span *words;
	struct cursor body;
	uint32_t n;

	if (!name || statement->raw.n < 2 || !statement->block ||
	    statement->raw.at[1].len != 2 || memcmp(statement->raw.at[1].at, "in", 2) != 0) {
		complain(parser->complaints, statement->node,
			 "for-each takes a variable, `in`, values, and a block: "
			 "for-each $name in a b c { ... }");
		parse_skip_block(parser, cursor, statement);
		return;
	}
	words = parse_words(parser, statement, 2, scope, &n);
	if (!lex_body(cursor, &body, parser->complaints))
		complain(parser->complaints, statement->node,
			 "the block of for-each is never closed: a } is missing");
	if (!parse_enter(parser, statement->node))
		return;
	parser->blocks++;
	for (uint32_t i = 0; i < n && parse_spend(parser, statement->node, PARSE_TURN); i++) {
		struct scope *inner = arena_new_of(parser->arena, struct scope);
		struct variable *variable = variable_new(parser, name, statement->node);
		struct cursor turn = body;

		*inner = (struct scope){ names_new(parser->arena), scope };
		variable->words = &words[i];
		variable->n = 1;
		names_add(inner->variables, name, variable);
		parse_statements(parser, &turn, inner, tail, NULL);
	}
	parser->blocks--;
	parse_leave(parser);
}

/* ---- template ---- */

static bool
template_word_is(struct sy_span word, const char *text)
{
	return word.len == strlen(text) && memcmp(word.at, text, word.len) == 0;
}

/* Keeps n words from the one given. */
static struct words
template_keep(struct parser *parser, const struct words *words, uint32_t from, uint32_t n)
{
	struct words kept = { arena_array(parser->arena, struct sy_span, n), n, 0 };

	for (uint32_t i = 0; i < n; i++)
		kept.at[i] = words->at[from + i];
	return kept;
}

/* NAME [among VALUE ...] [default VALUE ...] */
static void
template_parameter(struct parser *parser, struct template *template, struct words *words,
		   struct node *place)
{
	struct parameter *parameter, **at = &template->parameters;
	struct words name = { 0 };
	uint32_t among = words->n > 1 && template_word_is(words->at[1], "among") ? 2 : 1;
	uint32_t preset = among;

	while (among == 2 && preset < words->n && !template_word_is(words->at[preset], "default"))
		preset++;
	if (words->n == 0 || (among == 2 && preset == 2) ||
	    (preset < words->n && !template_word_is(words->at[preset], "default"))) {
		complain(parser->complaints, place,
			 "parameter takes a name, perhaps the values that it may have, and perhaps a "
			 "default: parameter NAME [among VALUE ...] [default VALUE ...];");
		return;
	}
	parameter = arena_new_of(parser->arena, struct parameter);
	lex_expand(parser->arena, words->at[0], NULL, &name, place, parser->complaints);
	parameter->name = name.n ? (const char *)name.at[0].at : "";
	parameter->place = place;
	parameter->has_preset = preset < words->n;
	words_free(&name);
	if (parameter->has_preset)
		parameter->preset = template_keep(parser, words, preset + 1, words->n - preset - 1);
	if (among == 2)
		parameter->allowed = template_keep(parser, words, 2, preset - 2);
	for (; *at; at = &(*at)->next)
		if (strcmp((*at)->name, parameter->name) == 0)
			complain(parser->complaints, place,
				 "parameter %s is there twice; the first time "
				 "at %s:%u",
				 parameter->name, (*at)->place->file, (*at)->place->line);
	*at = parameter;
}

/* Looks through the body for parameters; the rest is only cut into tokens. */
static void
template_scan(struct parser *parser, struct template *template)
{
	struct complaints quiet = { .told = COMPLAINTS_TOLD + 1 }; /* was complained about */
	struct cursor cursor = template->body;
	struct words words = { 0 };
	unsigned depth = 0;
	uint32_t line = 0;

	for (;;) {
		struct token token = lex_next(&cursor, &quiet);

		if (token.kind == TOKEN_END)
			break;
		if (token.kind == TOKEN_WORD && depth == 0) {
			line = words.n ? line : token.line;
			words_add(&words, token.raw);
			continue;
		}
		if (token.kind == TOKEN_SEMICOLON && words.n && words.at[0].len == 9 &&
		    memcmp(words.at[0].at, "parameter", 9) == 0) {
			struct words rest = { words.at + 1, words.n - 1, 0 };
			struct node place = { .file = cursor.file, .line = line,
					      .via = cursor.via };

			template_parameter(parser, template, &rest,
					   node_new(parser->arena, &place, "parameter", 0));
		}
		words.n = 0;
		depth += token.kind == TOKEN_OPEN;
		depth -= token.kind == TOKEN_CLOSE && depth;
	}
	words_free(&words);
}

void
parse_template(struct parser *parser, struct cursor *cursor, const struct statement *statement)
{
	struct template *template = arena_new_of(parser->arena, struct template);
	const struct template *first;
	struct sy_span *words;
	uint32_t n;

	words = parse_words(parser, statement, 0, parser->global, &n);
	if (n != 1 || !statement->block || parser->blocks || parser->in_template) {
		complain(parser->complaints, statement->node, parser->blocks || parser->in_template
			 ? "template must stand outside of all blocks"
			 : "template takes a name and a block: template NAME { ... }");
		parse_skip_block(parser, cursor, statement);
		return;
	}
	template->name = (const char *)words[0].at;
	template->place = statement->node;
	if (!lex_body(cursor, &template->body, parser->complaints))
		complain(parser->complaints, statement->node,
			 "the block of template %s is never closed: a } is missing",
			 template->name);
	template_scan(parser, template);
	first = names_add(parser->templates, template->name, template);
	if (first)
		complain(parser->complaints, statement->node,
			 "template %s is there twice; the first time at %s:%u", template->name,
			 first->place->file, first->place->line);
}

/* ---- deploy ---- */

/* name=value on the line of the deploy. */
static void
deploy_argument(struct parser *parser, struct deployment *deployment, uint32_t i)
{
	const struct sy_span *word = &deployment->node->args[i];
	const char *text = (const char *)word->at, *equals = strchr(text, '=');
	struct variable *variable;

	if (!equals) {
		complain(parser->complaints, deployment->node,
			 "%s: after the template's name, deploy takes name=value", text);
		return;
	}
	variable = variable_new(parser, arena_text_n(parser->arena, text, (size_t)(equals - text)),
				deployment->node);
	variable->words = arena_new_of(parser->arena, struct sy_span);
	variable->words[0] = sy_span(equals + 1, word->len - (size_t)(equals + 1 - text));
	variable->n = 1;
	variable_add(parser, &deployment->scope, variable);
}

/* One `name value...;` or `name { ... }` of the deploy's block. */
static void
deploy_parameter(struct parser *parser, struct cursor *cursor, const struct token *first,
		 struct scope *scope, struct deployment *deployment)
{
	struct node place = { .file = cursor->file, .via = cursor->via, .line = first->line };
	struct statement statement = { .node = node_new(parser->arena, &place, "", 0) };
	struct words name = { 0 };
	struct variable *variable;
	struct token token;

	lex_expand(parser->arena, first->raw, scope, &name, &place, parser->complaints);
	statement.node->name = name.n == 1 ? (const char *)name.at[0].at : "";
	words_free(&name);
	variable = variable_new(parser, statement.node->name, statement.node);
	while ((token = lex_next(cursor, parser->complaints)).kind == TOKEN_WORD)
		words_add(&statement.raw, token.raw);
	if (token.kind == TOKEN_OPEN && statement.raw.n == 0) {
		variable->block = true;
		variable->scope = scope;
		if (!lex_body(cursor, &variable->body, parser->complaints))
			complain(parser->complaints, statement.node,
				 "the block of %s is never closed: a } is missing", variable->name);
	} else if (token.kind != TOKEN_SEMICOLON) {
		complain(parser->complaints, statement.node,
			 "a parameter is given as `%s value;` or `%s { statements }`",
			 variable->name, variable->name);
		statement.block = token.kind == TOKEN_OPEN;
		parse_skip_block(parser, cursor, &statement);
	}
	variable->words = parse_words(parser, &statement, 0, scope, &variable->n);
	variable_add(parser, &deployment->scope, variable);
	words_free(&statement.raw);
}

/* What was given against what the template wants; defaults may use the parameters before them. */
static void
deploy_check(struct parser *parser, const struct template *template, struct deployment *deployment)
{
	const char *const *given = names_all(deployment->scope.variables);
	struct names *wanted = names_new(parser->arena);
	uint32_t n = 0;

	for (struct parameter *parameter = template->parameters; parameter;
	     parameter = parameter->next)
		names_add(wanted, parameter->name, parameter);
	while (given[n])
		n++;
	for (uint32_t i = 0; i < n; i++) {
		const struct variable *variable = names_find(deployment->scope.variables, given[i]);
		const char *near = text_nearest(given[i], names_all(wanted));

		if (!names_find(wanted, given[i]))
			complain(parser->complaints, variable->place,
				 "template %s (%s:%u) has no parameter %s%s%s%s", template->name,
				 template->place->file, template->place->line, given[i],
				 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	}
	for (struct parameter *parameter = template->parameters; parameter;
	     parameter = parameter->next) {
		struct statement preset = { .node = parameter->place,
					    .raw = parameter->preset };
		struct variable *variable;

		variable = names_find(deployment->scope.variables, parameter->name);
		if (variable && !variable->block && variable->n == 0 && !parameter->has_preset)
			complain(parser->complaints, variable->place,
				 "%s needs a value here: template %s (%s:%u) cannot do without", parameter->name,
				 template->name, parameter->place->file, parameter->place->line);
		if (variable)
			continue;
		if (!parameter->has_preset)
			complain(parser->complaints, deployment->node,
				 "template %s needs the parameter %s (%s:%u)", template->name,
				 parameter->name, parameter->place->file, parameter->place->line);
		variable = variable_new(parser, parameter->name, parameter->place);
		variable->words = parse_words(parser, &preset, 0, &deployment->scope, &variable->n);
		names_add(deployment->scope.variables, parameter->name, variable);
	}
}

/* Values of parameters that may have only some. */
static void
deploy_check_values(struct parser *parser, const struct template *template,
		    struct deployment *deployment)
{
	for (struct parameter *parameter = template->parameters; parameter;
	     parameter = parameter->next) {
		const struct variable *variable =
		    names_find(deployment->scope.variables, parameter->name);
		struct statement allowed = { .node = parameter->place, .raw = parameter->allowed };
		struct text list = { 0 };
		struct sy_span *words;
		uint32_t n;

		if (!parameter->allowed.n || !variable)
			continue;
		words = parse_words(parser, &allowed, 0, &deployment->scope, &n);
		for (uint32_t i = 0; i < n; i++)
			text_printf(&list, "%s%s", i ? ", " : "", (const char *)words[i].at);
		for (uint32_t i = 0; i < variable->n; i++)
			if (!parse_among(&variable->words[i], words, n))
				complain(parser->complaints, variable->place,
					 "%s %s: template %s knows %s", parameter->name,
					 (const char *)variable->words[i].at, template->name, list.at);
		if (variable->block)
			complain(parser->complaints, variable->place,
				 "%s is no block: template %s knows %s", parameter->name,
				 template->name, list.at);
		text_free(&list);
	}
}

static void
deploy_run(struct parser *parser, struct deployment *deployment)
{
	const char *name = node_arg(deployment->node, 0);
	const struct template *template = names_find(parser->templates, name);
	const char *near = text_nearest(name, names_all(parser->templates));
	struct tail tail = { &deployment->holder->children };
	unsigned errors = parser->complaints->errors;
	struct cursor body;

	if (!template) {
		complain(parser->complaints, deployment->node, "there is no template %s%s%s%s",
			 name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
		return;
	}
	deploy_check(parser, template, deployment);
	deploy_check_values(parser, template, deployment);
	if (parser->complaints->errors > errors || !parse_enter(parser, deployment->node))
		return;
	body = template->body;
	body.via = parse_via(parser, deployment->node);
	parser->in_template = true;
	parser->ground = parser->blocks;
	parse_statements(parser, &body, &deployment->scope, &tail, NULL);
	parser->in_template = false;
	parse_leave(parser);
}

void
parse_deploy(struct parser *parser, struct cursor *cursor, const struct statement *statement,
	     struct scope *scope, struct tail *tail)
{
	struct deployment *deployment = arena_new_of(parser->arena, struct deployment);
	struct token token;

	statement->node->args = parse_words(parser, statement, 0, scope, &statement->node->n_args);
	deployment->node = statement->node;
	deployment->scope = (struct scope){ names_new(parser->arena), parser->global };
	deployment->holder = node_new(parser->arena, statement->node, NULL, 0);
	deployment->depth = parser->depth;
	deployment->blocks = parser->blocks;
	if (statement->node->n_args == 0)
		complain(parser->complaints, statement->node,
			 "deploy takes the name of a template: deploy NAME { parameter value; }");
	for (uint32_t i = 1; i < statement->node->n_args; i++)
		deploy_argument(parser, deployment, i);
	while (statement->block &&
	       (token = lex_next(cursor, parser->complaints)).kind != TOKEN_CLOSE) {
		if (token.kind == TOKEN_WORD) {
			deploy_parameter(parser, cursor, &token, scope, deployment);
		} else if (token.kind == TOKEN_END) {
			complain(parser->complaints, statement->node,
				 "the block of deploy is never closed: a } is missing");
			break;
		} else {
			complain(parser->complaints, statement->node,
				 "a parameter of the template is expected in the block of deploy");
			break;
		}
	}
	parse_append(tail, deployment->holder);
	*parser->last_deployment = deployment;
	parser->last_deployment = &deployment->next;
}

void
parse_deployments(struct parser *parser)
{
	/* The list grows while templates deploy others; the budget ends what would not end. */
	for (struct deployment *deployment = parser->deployments;
	     deployment && parse_spend(parser, deployment->node, PARSE_TURN);
	     deployment = deployment->next) {
		parser->depth = deployment->depth;
		parser->blocks = deployment->blocks;
		if (deployment->node->n_args)
			deploy_run(parser, deployment);
	}
	parser->depth = parser->blocks = 0;
}
