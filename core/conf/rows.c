#include "conf/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "conf/core_rows.h"

/* The values of one row, gathered from all places where it may be given. Scratch. */
struct gathered {
	struct row_value *values;
	uint32_t n, size;
	const struct node *first; /* statement or line that gave it; NULL: none did */
	bool repeated;
};

struct binding {
	struct arena *arena;
	const struct node *block;
	uint32_t first_arg;
	const struct rows_into *into;
	unsigned n;
	const struct rows_other *others;
	struct complaints *complaints;
	struct gathered gathered;
};

static const struct sy_row *
rows_find(const struct sy_row *rows, const char *name, size_t len)
{
	for (; rows && rows->name; rows++)
		if (strncmp(rows->name, name, len) == 0 && rows->name[len] == '\0')
			return rows;
	return NULL;
}

static bool
rows_other_has(const struct rows_other *others, const char *name)
{
	for (; others && others->name; others++)
		if (strcmp(others->name, name) == 0)
			return true;
	return false;
}

/* Length of the name in "name=value", or 0. */
static size_t
rows_key_len(const char *arg)
{
	const char *equals = strchr(arg, '=');

	return equals ? (size_t)(equals - arg) : 0;
}

/* ---- names ---- */

static void
rows_unknown(const struct binding *binding, const struct node *at, const char *name, bool value)
{
	const struct rows_other *others = binding->others;
	unsigned most = 1, n = 0;
	const char **words, *near, *home = value ? NULL : core_rows_home(name);
	char where[160] = "";

	for (unsigned i = 0; i < binding->n; i++)
		for (const struct sy_row *row = binding->into[i].rows; row && row->name; row++)
			most++;
	for (; others && others->name; others++)
		most++;
	words = must_alloc(most * sizeof(*words));
	for (unsigned i = 0; i < binding->n; i++)
		for (const struct sy_row *row = binding->into[i].rows; row && row->name; row++)
			words[n++] = row->name;
	for (others = binding->others; others && others->name && !value; others++)
		words[n++] = others->name;
	words[n] = NULL;
	near = text_nearest(name, words);
	free(words);
	if (*binding->block->name)
		snprintf(where, sizeof(where), " in %s%s%.80s", binding->block->name,
			 binding->first_arg ? " " : "",
			 binding->first_arg ? node_arg(binding->block, 0) : "");
	if (home)
		complain(binding->complaints, at, "%s does not belong%s, but %s%s", name,
			 *where ? where : " here", *home ? "in " : "outside of blocks", home);
	else
		complain(binding->complaints, at, "unknown %s %s%s%s%s%s",
			 value ? "setting" : "directive", name, where,
			 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static const struct sy_row *
rows_find_any(const struct binding *binding, const char *name, size_t len)
{
	const struct sy_row *row = NULL;

	for (unsigned i = 0; i < binding->n && !row; i++)
		row = rows_find(binding->into[i].rows, name, len);
	return row;
}

static void
rows_check_names(const struct binding *binding)
{
	const struct node *block = binding->block;

	for (uint32_t i = binding->first_arg; i < block->n_args; i++) {
		const char *arg = node_arg(block, i);
		size_t len = rows_key_len(arg);
		const struct sy_row *row = rows_find_any(binding, arg, len);

		if (len == 0 || (row && row->type == SY_ROW_BLOCK))
			complain(binding->complaints, block,
				 "%s: unexpected %s; settings are written as "
				 "name=value here, or in a block: %s ... { name value; }",
				 block->name, *arg ? arg : "\"\"", block->name);
		else if (!row)
			rows_unknown(binding, block, arena_text_n(binding->arena, arg, len), true);
	}
	for (const struct node *child = block->children; child; child = child->next)
		if (!rows_find_any(binding, child->name, strlen(child->name)) &&
		    !rows_other_has(binding->others, child->name))
			rows_unknown(binding, child, child->name, false);
}

/* ---- values ---- */

static void
rows_gather(struct gathered *to, const char *text, struct sy_span found, const struct node *at)
{
	if (to->n == to->size) {
		to->size = to->size ? to->size * 2 : 8;
		to->values = must_realloc(to->values, to->size * sizeof(*to->values));
	}
	to->values[to->n++] = (struct row_value){ text, found, at };
}

/* "a,b,c" of a list given as name=a,b,c. */
static void
rows_gather_list(struct binding *binding, const char *text)
{
	for (;; text++) {
		size_t len = strcspn(text, ",");

		rows_gather(&binding->gathered, arena_text_n(binding->arena, text, len),
			    sy_span("", 0), binding->block);
		text += len;
		if (!*text)
			return;
	}
}

static void
rows_gather_args(struct binding *binding, const struct sy_row *row)
{
	const struct node *block = binding->block;
	struct gathered *to = &binding->gathered;

	for (uint32_t i = binding->first_arg; i < block->n_args && row->type != SY_ROW_BLOCK; i++) {
		const char *arg = node_arg(block, i);
		size_t len = rows_key_len(arg);

		if (len == 0 || strncmp(arg, row->name, len) != 0 || row->name[len])
			continue;
		to->repeated |= to->first != NULL;
		to->first = block;
		if (row_is_list(row) && row->type != SY_ROW_RANGES)
			rows_gather_list(binding, arg + len + 1);
		else
			rows_gather(to, arg + len + 1,
				    block->found ? block->found[i] : sy_span("", 0), block);
	}
}

static void
rows_no_value(const struct binding *binding, const struct node *at, const struct sy_row *row)
{
	struct text range = { 0 };

	rows_range_text(row, &range);
	complain(binding->complaints, at, "%s needs a value: %s", row->name, range.at);
	text_free(&range);
}

static void
rows_gather_children(struct binding *binding, const struct sy_row *row)
{
	struct gathered *to = &binding->gathered;

	for (const struct node *child = binding->block->children; child; child = child->next) {
		if (strcmp(child->name, row->name) != 0)
			continue;
		if (to->first && !row_is_list(row)) {
			complain(binding->complaints, child,
				 "%s is given twice; the first time at %s:%u", row->name,
				 to->first->file, to->first->line);
			continue;
		}
		if (child->block && row->type != SY_ROW_BLOCK)
			complain(binding->complaints, child, "%s takes no block", row->name);
		else if (child->n_args == 0 && row->type != SY_ROW_BLOCK)
			rows_no_value(binding, child, row);
		if (!to->first)
			to->first = child;
		for (uint32_t i = 0; i < child->n_args; i++)
			rows_gather(to, node_arg(child, i),
				    child->found_what ? child->found[i] : sy_span("", 0), child);
	}
}

/* A preset as it would be written: words with spaces between them, or one text. */
static void
rows_gather_preset(struct binding *binding, const struct sy_row *row)
{
	const char *at = row->preset;

	if (row->type == SY_ROW_TEXT || !*at) {
		rows_gather(&binding->gathered, row->preset, sy_span("", 0), binding->block);
		return;
	}
	while (*at) {
		size_t len = strcspn(at, " ");

		rows_gather(&binding->gathered, arena_text_n(binding->arena, at, len),
			    sy_span("", 0), binding->block);
		at += len;
		at += strspn(at, " ");
	}
}

static void
rows_bind_block(struct binding *binding, const struct sy_row *row, void *conf)
{
	static const struct node nothing = { .name = "" };
	const struct rows_into into = { row->rows, conf };
	const struct node *child = binding->gathered.first;

	if (!child && (row->flags & SY_REQUIRED))
		complain(binding->complaints, binding->block, "%s needs a block %s { ... }",
			 binding->block->name, row->name);
	if (child) {
		rows_bind(binding->arena, child, 0, &into, 1, NULL, binding->complaints);
	} else {
		struct complaints none = { .errors = COMPLAINTS_TOLD + 1 };

		rows_bind(binding->arena, &nothing, 0, &into, 1, NULL, &none);
	}
}

static void
rows_bind_row(struct binding *binding, const struct sy_row *row, void *conf)
{
	struct gathered *from = &binding->gathered;
	char *field = (char *)conf + row->offset;

	from->n = 0;
	from->first = NULL;
	from->repeated = false;
	rows_gather_args(binding, row);
	rows_gather_children(binding, row);
	if (from->repeated && !row_is_list(row))
		complain(binding->complaints, binding->block, "%s is given twice", row->name);
	if (row->given)
		*((bool *)conf + row->given - 1) = from->first && !from->first->filled;
	if (row->type == SY_ROW_BLOCK) {
		rows_bind_block(binding, row, field);
		return;
	}
	if (!from->first && (row->flags & SY_REQUIRED)) {
		struct text range = { 0 };

		rows_range_text(row, &range);
		complain(binding->complaints, binding->block, "%s %s needs %s: %s",
			 binding->block->name, node_arg(binding->block, 0), row->name, range.at);
		text_free(&range);
	} else if (from->n && (!from->repeated || row_is_list(row))) {
		row_parse(binding->arena, row, from->values, from->n, field, binding->complaints);
	} else if (!from->first && row->preset) {
		rows_gather_preset(binding, row);
		row_parse(binding->arena, row, from->values, from->n, field, binding->complaints);
	}
}

void
rows_bind(struct arena *arena, const struct node *block, uint32_t first_arg,
	  const struct rows_into *into, unsigned n, const struct rows_other *others,
	  struct complaints *complaints)
{
	struct binding binding = { arena, block, first_arg, into, n, others, complaints, { 0 } };

	rows_check_names(&binding);
	for (unsigned i = 0; i < n; i++)
		for (const struct sy_row *row = into[i].rows; row && row->name; row++)
			rows_bind_row(&binding, row, into[i].conf);
	free(binding.gathered.values);
}

/* ---- the other way round ---- */

void
rows_unfold(struct arena *arena, struct node *block, uint32_t first_arg)
{
	uint32_t kept = first_arg < block->n_args ? first_arg : block->n_args;
	struct node **tail = &block->children;

	/* Arguments stand before what the block says. */
	for (uint32_t i = kept; i < block->n_args; i++) {
		const char *arg = node_arg(block, i);
		size_t len = rows_key_len(arg);
		struct node *child;

		if (len == 0) {
			block->args[kept++] = block->args[i];
			continue;
		}
		child = node_new(arena, block, arena_text_n(arena, arg, len), 1);
		child->args[0] = sy_span_text(arg + len + 1);
		child->next = *tail;
		*tail = child;
		tail = &child->next;
		block->block = true;
	}
	block->n_args = kept;
}

static bool
rows_given(const struct node *block, uint32_t first_arg, const struct sy_row *row)
{
	for (uint32_t i = first_arg; i < block->n_args; i++) {
		size_t len = rows_key_len(node_arg(block, i));

		if (len && strncmp(node_arg(block, i), row->name, len) == 0 &&
		    row->name[len] == '\0')
			return true;
	}
	return node_child(block, row->name) != NULL;
}

static void
rows_fill_row(struct arena *arena, struct node *block, const struct sy_row *row)
{
	struct binding words = { .arena = arena, .block = block };
	struct node *child;

	rows_gather_preset(&words, row);
	child = node_new(arena, block, row->name, words.gathered.n);
	child->filled = true;
	for (uint32_t i = 0; i < child->n_args; i++)
		child->args[i] = sy_span_text(words.gathered.values[i].text);
	free(words.gathered.values);
	node_append(block, child);
	block->block = true;
}

void
rows_fill(struct arena *arena, struct node *block, const struct sy_row *rows)
{
	for (; rows && rows->name; rows++) {
		struct node *child = (struct node *)node_child(block, rows->name);

		if (rows->type == SY_ROW_BLOCK && child) {
			rows_unfold(arena, child, 0);
			rows_fill(arena, child, rows->rows);
		} else if (rows->preset && !rows->given && !child) {
			rows_fill_row(arena, block, rows);
		}
	}
}

void
rows_fill_line(struct arena *arena, struct node *line, uint32_t first_arg,
	       const struct sy_row *rows)
{
	struct sy_span *args;
	uint32_t n = 0;

	for (const struct sy_row *row = rows; row->name; row++)
		n += row->preset && !row->given && !rows_given(line, first_arg, row);
	if (n == 0)
		return;
	args = arena_array(arena, struct sy_span, line->n_args + n);
	if (line->n_args)
		memcpy(args, line->args, line->n_args * sizeof(*args));
	n = line->n_args;
	for (const struct sy_row *row = rows; row->name; row++)
		if (row->preset && !row->given && !rows_given(line, first_arg, row))
			args[n++] =
			    sy_span_text(arena_printf(arena, "%s=%s", row->name, row->preset));
	line->args = args;
	line->n_args = n;
}

void
rows_visit(struct node *block, const struct sy_row *rows,
	   void (*visit)(void *context, struct node *statement, const struct sy_row *row),
	   void *context)
{
	for (struct node *child = block->children; child; child = child->next) {
		const struct sy_row *row = rows_find(rows, child->name, strlen(child->name));

		if (row && row->type == SY_ROW_BLOCK)
			rows_visit(child, row->rows, visit, context);
		else if (row)
			visit(context, child, row);
	}
}
