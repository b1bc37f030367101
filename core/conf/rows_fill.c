/* Rows the other way round, for the loader: a block is written out in full, one statement for each
 * setting, defaults included. */
#include <string.h>

#include "conf/rows.h"

const struct sy_row *
rows_find(const struct sy_row *rows, const char *name, size_t len)
{
	for (; rows && rows->name; rows++)
		if (strncmp(rows->name, name, len) == 0 && rows->name[len] == '\0')
			return rows;
	return NULL;
}

size_t
rows_key_len(const char *arg)
{
	const char *equals = strchr(arg, '=');

	return equals ? (size_t)(equals - arg) : 0;
}

/* "a,b" of a list given as name=a,b; ranges read their commas themselves. */
static void
rows_unfold_value(struct arena *arena, struct node *child, const struct sy_row *row, const char *text)
{
	uint32_t n = 1;

	if (!row || !row_is_list(row) || row->type == SY_ROW_RANGES) {
		child->args[0] = sy_span_text(text);
		return;
	}
	for (const char *at = text; *at; at++)
		n += *at == ',';
	child->args = arena_array(arena, struct sy_span, n);
	child->n_args = n;
	for (uint32_t i = 0; i < n; i++) {
		size_t len = strcspn(text, ",");

		child->args[i] = sy_span_text(arena_text_n(arena, text, len));
		text += len + 1;
	}
}

static const struct sy_row *
rows_next_argument(const struct sy_row *row)
{
	while (row && row->name && !(row->flags & SY_ARGUMENT))
		row++;
	return row && row->name ? row : NULL;
}

void
rows_unfold(struct arena *arena, struct node *block, uint32_t first_arg, const struct sy_row *rows,
	    const struct sy_row *more)
{
	uint32_t kept = first_arg < block->n_args ? first_arg : block->n_args;
	const struct sy_row *next = rows_next_argument(rows);
	struct node **tail = &block->children;

	/* Arguments stand before what the block says. */
	for (uint32_t i = kept; i < block->n_args; i++) {
		const char *arg = node_arg(block, i);
		size_t len = rows_key_len(arg);
		const struct sy_row *row = len ? rows_find(rows, arg, len) : NULL;
		struct node *child;

		if (!row && len)
			row = rows_find(more, arg, len);
		if ((len == 0 && !next) || (row && row_is_block(row))) {
			block->args[kept++] = block->args[i];
			continue;
		}
		if (!row && next) {
			child = node_new(arena, block, next->name, 1);
			child->args[0] = block->args[i];
			next = rows_next_argument(next + 1);
		} else {
			child = node_new(arena, block, arena_text_n(arena, arg, len), 1);
			rows_unfold_value(arena, child, row, arg + len + 1);
		}
		child->next = *tail;
		*tail = child;
		tail = &child->next;
		block->block = true;
	}
	block->n_args = kept;
	block->unfolded = true;
}

/* Words with spaces between them, or one text. */
uint32_t
rows_preset(struct arena *arena, const struct sy_row *row, struct sy_span **words)
{
	const char *at = row->preset;
	uint32_t n = 0;

	*words = arena_array(arena, struct sy_span, strlen(at) / 2 + 1);
	if (row->type == SY_ROW_TEXT || !*at) {
		(*words)[0] = sy_span_text(at);
		return 1;
	}
	while (*at) {
		size_t len = strcspn(at, " ");

		(*words)[n++] = sy_span_text(arena_text_n(arena, at, len));
		at += len;
		at += strspn(at, " ");
	}
	return n;
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
	struct node *child = node_new(arena, block, row->name, 0);

	child->n_args = rows_preset(arena, row, &child->args);
	child->filled = true;
	node_append(block, child);
	block->block = true;
}

void
rows_fill(struct arena *arena, struct node *block, const struct sy_row *rows)
{
	for (; rows && rows->name; rows++) {
		struct node *child = (struct node *)node_child(block, rows->name);

		if (!row_is_block(rows)) {
			if (rows->preset && !rows->given && !child)
				rows_fill_row(arena, block, rows);
			continue;
		}
		for (; child; child = child->next) {
			if (strcmp(child->name, rows->name) != 0)
				continue;
			rows_unfold(arena, child, 0, rows->rows, NULL);
			rows_fill(arena, child, rows->rows);
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

		if (row && row_is_block(row))
			rows_visit(child, row->rows, visit, context);
		else if (row)
			visit(context, child, row);
	}
}
