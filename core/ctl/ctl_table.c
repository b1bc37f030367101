/* Tables that fit 80 columns: columns take what they need; when that is too much, the widest give up
 * some, and long words lose their middle. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/text.h"
#include "ctl/ctl.h"

enum { TABLE_COLUMNS = 16, TABLE_WIDTH = 80, TABLE_NARROW = 8 };

struct table {
	unsigned columns, cells, size;
	bool right[TABLE_COLUMNS];
	char **cell;
	char **note;              /* by row; NULL: none */
};

struct table *
table_new(const char *const *titles)
{
	struct table *table = must_alloc(sizeof(*table));

	memset(table, 0, sizeof(*table));
	for (; titles[table->columns]; table->columns++)
		table->right[table->columns] = titles[table->columns][0] == '>';
	for (unsigned i = 0; i < table->columns; i++)
		table_cell(table, titles[i] + table->right[i]);
	return table;
}

void
table_cell(struct table *table, const char *text)
{
	if (table->cells == table->size) {
		unsigned old = table->size;

		table->size = old ? old * 2 : 64;
		table->cell = must_realloc(table->cell, table->size * sizeof(char *));
		table->note = must_realloc(table->note, table->size * sizeof(char *));
		memset(table->note + old, 0, (table->size - old) * sizeof(char *));
	}
	table->cell[table->cells] = strdup(text ? text : "");
	must(table->cell[table->cells] != NULL);
	table->cells++;
}

void
table_cellf(struct table *table, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	table_cell(table, text);
}

void
table_note(struct table *table, const char *text)
{
	must(table->cells >= table->columns);
	table->note[table->cells / table->columns - 1] = strdup(text);
}

static const char *
table_colour(const char *word)
{
	static const char *const good[] = { "up", "unchecked", NULL };
	static const char *const bad[] = { "down", NULL };
	static const char *const odd[] = { "degraded", "sorry", "drain", "draining", "disabled",
	                                   "unused", "unknown", "partly", NULL };

	for (unsigned i = 0; good[i]; i++)
		if (strcmp(word, good[i]) == 0)
			return "\033[32m";
	for (unsigned i = 0; bad[i]; i++)
		if (strcmp(word, bad[i]) == 0)
			return "\033[1;31m";
	for (unsigned i = 0; odd[i]; i++)
		if (strcmp(word, odd[i]) == 0)
			return "\033[33m";
	return NULL;
}

static void
table_word(const char *text, size_t width, bool right, bool last, bool colour)
{
	size_t len = strlen(text);
	const char *on = colour ? table_colour(text) : NULL;
	char cut[256];

	if (len > width && !last) {
		size_t tail = (width - 1) / 2, head = width - 1 - tail;

		snprintf(cut, sizeof(cut), "%.*s~%s", (int)head, text, text + len - tail);
		text = cut;
		len = width;
	}
	printf("%*s%s%s%s%*s", right ? (int)(width - len) : 0, "", on ? on : "", text,
	       on ? "\033[0m" : "", right || last ? 0 : (int)(width - len), "");
}

/* Words that do not fit the last column go on in the next line, under it. */
static void
table_last(const char *text, size_t width, size_t indent, bool colour)
{
	while (strlen(text) > width) {
		size_t n = width;

		while (n > width / 2 && text[n] != ' ')
			n--;
		if (text[n] != ' ')
			n = text_cut(text, strlen(text), width);
		printf("%.*s\n%*s", (int)n, text, (int)indent, "");
		text += n;
		while (*text == ' ')
			text++;
	}
	table_word(text, width, false, true, colour);
}

void
table_print(struct table *table, bool colour)
{
	size_t width[TABLE_COLUMNS] = { 0 }, sum, widest;
	unsigned columns = table->columns;

	for (unsigned i = 0; i < table->cells; i++)
		if (strlen(table->cell[i]) > width[i % columns])
			width[i % columns] = strlen(table->cell[i]);
	for (;;) {
		sum = 2 * (columns - 1);
		widest = 0;
		for (unsigned i = 0; i < columns; i++) {
			sum += width[i];
			if (!table->right[i] && width[i] >= width[widest])
				widest = i;
		}
		if (sum <= TABLE_WIDTH || width[widest] <= TABLE_NARROW)
			break;
		width[widest]--;
	}
	for (unsigned i = 0; i < table->cells; i += columns) {
		size_t indent = 0;

		for (unsigned k = 0; k + 1 < columns; k++) {
			table_word(table->cell[i + k], width[k], table->right[k], false,
			           colour && i > 0);
			printf("  ");
			indent += width[k] + 2;
		}
		if (table->right[columns - 1])
			table_word(table->cell[i + columns - 1], width[columns - 1], true, false, false);
		else
			table_last(table->cell[i + columns - 1], width[columns - 1], indent,
			           colour && i > 0);
		printf("\n");
		if (table->note[i / columns]) {
			printf("      ");
			table_last(table->note[i / columns], TABLE_WIDTH - 6, 6, false);
			printf("\n");
		}
	}
	for (unsigned i = 0; i < table->cells; i++) {
		free(table->cell[i]);
		free(table->note[i]);
	}
	free(table->cell);
	free(table->note);
	free(table);
}

const char *
age_since(json_int_t wall_ms, json_int_t now_ms, char *out, size_t len)
{
	char age[DURATION_TEXT_SIZE];

	if (wall_ms <= 0 || now_ms < wall_ms)
		snprintf(out, len, "-");
	else
		snprintf(out, len, "%s", age_text((uint64_t)(now_ms - wall_ms), age));
	return out;
}

const char *
amount_text(json_int_t n, char *out, size_t len)
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P", NULL };
	double value = (double)n;
	unsigned unit = 0;

	for (; value >= 10000 && units[unit + 1]; unit++)
		value /= 1000;
	snprintf(out, len, unit ? "%.1f%s" : "%.0f%s", value, units[unit]);
	return out;
}
