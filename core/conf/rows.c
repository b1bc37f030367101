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
	const struct rows_pools *pools;
	struct complaints *complaints;
	struct gathered gathered;
};

static bool
rows_other_has(const struct rows_other *others, const char *name)
{
	for (; others && others->name; others++)
		if (strcmp(others->name, name) == 0)
			return true;
	return false;
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
rows_unexpected(const struct binding *binding, const char *arg)
{
	const struct node *block = binding->block;
	struct text wanted = { 0 };

	if (binding->n)
		rows_arguments_text(binding->into[0].rows, &wanted);
	if (wanted.len)
		complain(binding->complaints, block, "%s: unexpected %s; what is written there is %s %s",
			 block->name, *arg ? arg : "\"\"", block->name, wanted.at);
	else
		complain(binding->complaints, block,
			 "%s: unexpected %s; settings are written as "
			 "name=value here, or in a block: %s ... { name value; }",
			 block->name, *arg ? arg : "\"\"", block->name);
	text_free(&wanted);
}

static void
rows_check_names(const struct binding *binding)
{
	const struct node *block = binding->block;

	for (uint32_t i = binding->first_arg; i < block->n_args; i++) {
		const char *arg = node_arg(block, i);
		size_t len = rows_key_len(arg);
		const struct sy_row *row = rows_find_any(binding, arg, len);

		if (len == 0 || (row && row_is_block(row)))
			rows_unexpected(binding, arg);
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

	for (uint32_t i = binding->first_arg; i < block->n_args && !row_is_block(row); i++) {
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
		if (to->first && !row_is_list(row) && row->type != SY_ROW_BLOCKS) {
			complain(binding->complaints, child,
				 "%s is given twice; the first time at %s:%u", row->name,
				 to->first->file, to->first->line);
			continue;
		}
		if (child->block && !row_is_block(row))
			complain(binding->complaints, child, "%s takes no block", row->name);
		else if (child->n_args == 0 && !row_is_block(row))
			rows_no_value(binding, child, row);
		if (!to->first)
			to->first = child;
		for (uint32_t i = 0; i < child->n_args && !row_is_block(row); i++)
			rows_gather(to, node_arg(child, i),
				    child->found_what ? child->found[i] : sy_span("", 0), child);
	}
}

static void
rows_gather_preset(struct arena *arena, const struct node *block, const struct sy_row *row,
		   struct gathered *to)
{
	struct sy_span *words;
	uint32_t n = rows_preset(arena, row, &words);

	for (uint32_t i = 0; i < n; i++)
		rows_gather(to, (const char *)words[i].at, sy_span("", 0), block);
}

/* One block into one struct. What stands on its line may go to rows in turn, so that is spread out
 * first; the loader has done it already. */
static void
rows_bind_element(struct binding *binding, const struct node *block, const struct sy_row *rows,
		  void *conf)
{
	const struct rows_into into = { rows, conf };
	struct node spread = *block;

	if (block->n_args && !block->unfolded) {
		spread.args = arena_array(binding->arena, struct sy_span, block->n_args);
		memcpy(spread.args, block->args, block->n_args * sizeof(*block->args));
		rows_unfold(binding->arena, &spread, 0, rows, NULL);
	}
	rows_bind_pools(binding->arena, &spread, 0, &into, 1, NULL, binding->pools,
			binding->complaints);
}

static void
rows_bind_block(struct binding *binding, const struct sy_row *row, void *conf)
{
	static const struct node nothing = { .name = "" };
	const struct rows_into into = { row->rows, conf };

	if (binding->gathered.first) {
		rows_bind_element(binding, binding->gathered.first, row->rows, conf);
	} else {
		struct complaints none = { .told = COMPLAINTS_TOLD + 1 };

		rows_bind(binding->arena, &nothing, 0, &into, 1, NULL, &none);
	}
}

static void
rows_bind_blocks(struct binding *binding, const struct sy_row *row, struct sy_blocks *out)
{
	uint32_t n = 0;
	char *at;

	for (const struct node *child = binding->block->children; child; child = child->next)
		n += strcmp(child->name, row->name) == 0;
	*out = (struct sy_blocks){ NULL, n };
	if (!n)
		return;
	must(row->size);
	out->at = at = arena_alloc(binding->arena, (size_t)n * row->size);
	for (const struct node *child = binding->block->children; child; child = child->next) {
		if (strcmp(child->name, row->name) != 0)
			continue;
		rows_bind_element(binding, child, row->rows, at);
		at += row->size;
	}
}

static void
rows_missing(const struct binding *binding, const struct sy_row *row)
{
	const struct node *block = binding->block;
	const char *arg = node_arg(block, 0);
	struct text range = { 0 }, wanted = { 0 };

	if (row_is_block(row)) {
		complain(binding->complaints, block, "%s needs a block %s { ... }", block->name,
			 row->name);
		return;
	}
	rows_range_text(row, &range);
	if (row->flags & SY_ARGUMENT)
		rows_arguments_text(binding->into[0].rows, &wanted);
	complain(binding->complaints, block, "%s%s%s needs %s: %s%s%s%s%s", block->name,
		 *arg ? " " : "", arg, row->name, range.at,
		 wanted.len ? "; what is written there is " : "", wanted.len ? block->name : "",
		 wanted.len ? " " : "", wanted.len ? wanted.at : "");
	text_free(&range);
	text_free(&wanted);
}

/* A pool is known by its name, and its place among those of the service is what counts. */
static void
rows_bind_pool(const struct binding *binding, const struct sy_row *row, struct sy_pool *out)
{
	const struct row_value *value = binding->gathered.values;

	if (binding->pools)
		out->index = binding->pools->find(binding->pools->context, value->at, value->text);
	else
		complain(binding->complaints, value->at, "%s %s: no pool can be named here", row->name,
			 value->text);
}

static void
rows_bind_values(struct binding *binding, const struct sy_row *row, void *field)
{
	const struct gathered *from = &binding->gathered;

	if (row_parse(binding->arena, row, from->values, from->n, field, binding->complaints) &&
	    row->type == SY_ROW_POOL)
		rows_bind_pool(binding, row, field);
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
	if (!from->first && (row->flags & SY_REQUIRED))
		rows_missing(binding, row);
	if (row->type == SY_ROW_BLOCKS) {
		rows_bind_blocks(binding, row, (struct sy_blocks *)(void *)field);
	} else if (row->type == SY_ROW_BLOCK) {
		rows_bind_block(binding, row, field);
	} else if (from->n && (!from->repeated || row_is_list(row))) {
		rows_bind_values(binding, row, field);
	} else if (!from->first && row->preset && !(row->flags & SY_REQUIRED)) {
		rows_gather_preset(binding->arena, binding->block, row, from);
		rows_bind_values(binding, row, field);
	}
}

void
rows_bind_pools(struct arena *arena, const struct node *block, uint32_t first_arg,
		const struct rows_into *into, unsigned n, const struct rows_other *others,
		const struct rows_pools *pools, struct complaints *complaints)
{
	struct binding binding = { arena, block, first_arg, into, n, others, pools, complaints, { 0 } };

	rows_check_names(&binding);
	for (unsigned i = 0; i < n; i++)
		for (const struct sy_row *row = into[i].rows; row && row->name; row++)
			rows_bind_row(&binding, row, into[i].conf);
	free(binding.gathered.values);
}

void
rows_bind(struct arena *arena, const struct node *block, uint32_t first_arg,
	  const struct rows_into *into, unsigned n, const struct rows_other *others,
	  struct complaints *complaints)
{
	rows_bind_pools(arena, block, first_arg, into, n, others, NULL, complaints);
}
