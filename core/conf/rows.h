/* Fills settings structs from statements by rows, and the other way round. */
#ifndef CONF_ROWS_H
#define CONF_ROWS_H

#include "api/rows.h"
#include "conf/tree.h"

/* A struct and the rows that fill it. */
struct rows_into {
	const struct sy_row *rows; /* NULL: none */
	void *conf;
};

/* A statement of a block that no row describes: its owner reads it. For the manual, too. */
struct rows_other {
	const char *name;         /* NULL at the end */
	const char *syntax;       /* what follows the name */
	const char *doc;
};

/* Reads the children of `block` into the structs by their rows; key=value arguments of the
 * block's own statement, from argument `first_arg` on, count as children. What was not given gets
 * its preset. Unknown names, duplicates, wrong values, missing ones: complaints that quote the
 * row. Statements named in `others` (or NULL) are left to the caller. A name in two sets of rows
 * belongs to the first. */
void rows_bind(struct arena *arena, const struct node *block, uint32_t first_arg,
	       const struct rows_into *into, unsigned n, const struct rows_other *others,
	       struct complaints *complaints);

/* Finds a pool for a row that names one. */
struct rows_pools {
	/* The index for struct sy_pool; 0: complained. */
	uint32_t (*find)(void *context, const struct node *at, const char *name);
	void *context;
};
/* The same where pools may be named; with NULL that is complained about. */
void rows_bind_pools(struct arena *arena, const struct node *block, uint32_t first_arg,
		     const struct rows_into *into, unsigned n, const struct rows_other *others,
		     const struct rows_pools *pools, struct complaints *complaints);

/* Makes arguments children of their own: name=value, and what goes to the rows with SY_ARGUMENT in
 * turn. An argument with a = in it that names no row is one of the latter. What is left over stays.
 * `more`: other rows that the block is read by, or NULL. */
void rows_unfold(struct arena *arena, struct node *block, uint32_t first_arg,
		 const struct sy_row *rows, const struct sy_row *more);
/* Loader: adds a child for each row that the file did not give and that has a preset, so that -T
 * shows all that is in force. Rows that want to know whether they were given are left out. */
void rows_fill(struct arena *arena, struct node *block, const struct sy_row *rows);
/* The same as key=value arguments, for statements that fit on a line. */
void rows_fill_line(struct arena *arena, struct node *line, uint32_t first_arg,
		    const struct sy_row *rows);
/* Loader: calls for each statement in the block that a row describes, nested blocks included. */
void rows_visit(struct node *block, const struct sy_row *rows,
		void (*visit)(void *context, struct node *statement, const struct sy_row *row),
		void *context);

/* The preset of a row as the words of a statement. */
uint32_t rows_preset(struct arena *arena, const struct sy_row *row, struct sy_span **words);
const struct sy_row *rows_find(const struct sy_row *rows, const char *name, size_t len);
/* Length of the name in "name=value", or 0. */
size_t rows_key_len(const char *arg);

/* What is written on the line of a block: "set|remove NAME [VALUE]". */
void rows_arguments_text(const struct sy_row *rows, struct text *out);
/* "a duration from 5s to 1h (default 30s)" and the like, for messages and the manual. */
void rows_range_text(const struct sy_row *row, struct text *out);
/* One value of a statement, and what the loader found for it. */
struct row_value {
	const char *text;
	struct sy_span found;
	const struct node *at;    /* for complaints */
};
/* Parses the values into the field. For lists any number, else exactly one. False: complained. */
bool row_parse(struct arena *arena, const struct sy_row *row, const struct row_value *values,
	       uint32_t n, void *field, struct complaints *complaints);
/* May the statement be repeated, and have several values? */
bool row_is_list(const struct sy_row *row);
/* Has it a block of its own? */
static inline bool
row_is_block(const struct sy_row *row)
{
	return row->type == SY_ROW_BLOCK || row->type == SY_ROW_BLOCKS;
}

/* host:port, [host]:port, host; the port is not parsed. False when malformed. */
struct host_port {
	char host[256];
	char port[16];            /* empty: none */
	bool has_port;
};
bool host_port_split(const char *text, struct host_port *out);

#endif
