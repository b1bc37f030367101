/* What a row allows, in words. */
#include <inttypes.h>
#include <stdio.h>

#include "conf/rows.h"

typedef const char *row_number_text(uint64_t n, char out[static DURATION_TEXT_SIZE]);

static const char *
row_text_uint(uint64_t n, char out[static DURATION_TEXT_SIZE])
{
	snprintf(out, DURATION_TEXT_SIZE, "%" PRIu64, n);
	return out;
}

static void
row_text_limits(const struct sy_row *row, row_number_text *print, struct text *out)
{
	char text[DURATION_TEXT_SIZE];

	if (row->max && row->min == row->max)
		text_printf(out, " of %s", print(row->min, text));
	else if (row->max) {
		text_printf(out, " from %s", print(row->min, text));
		text_printf(out, " to %s", print(row->max, text));
	} else if (row->min) {
		text_printf(out, " of at least %s", print(row->min, text));
	}
}

static void
row_text_words(const struct sy_row *row, struct text *out)
{
	for (unsigned i = 0; row->words && row->words[i]; i++) {
		if (i)
			text_puts(out, row->words[i + 1] ? ", " : " or ");
		text_puts(out, row->words[i]);
	}
}

static const char *
row_text_port(const struct sy_row *row)
{
	return row->flags & SY_PORT      ? " with a port"
	       : row->flags & SY_NO_PORT ? " without a port"
					 : "";
}

static void
row_text_type(const struct sy_row *row, struct text *out)
{
	switch (row->type) {
	case SY_ROW_NONE:
		break;
	case SY_ROW_BOOL:
		text_puts(out, "on or off");
		break;
	case SY_ROW_UINT:
		text_puts(out, "a number");
		row_text_limits(row, row_text_uint, out);
		break;
	case SY_ROW_MSEC:
		text_puts(out, "a duration");
		row_text_limits(row, duration_text, out);
		break;
	case SY_ROW_BYTES:
		text_puts(out, "a size");
		row_text_limits(row, bytes_text, out);
		break;
	case SY_ROW_RATE:
		text_puts(out, "a rate per second, such as 50/s,");
		row_text_limits(row, row_text_uint, out);
		out->len -= out->at[out->len - 1] == ',';
		out->at[out->len] = '\0';
		break;
	case SY_ROW_CHOICE:
		row_text_words(row, out);
		break;
	case SY_ROW_TEXT:
		text_puts(out, "a word or a quoted text");
		break;
	case SY_ROW_ADDR:
		text_printf(out, "an address or a host name%s", row_text_port(row));
		break;
	case SY_ROW_ADDRS:
		text_printf(out, "addresses or host names%s", row_text_port(row));
		break;
	case SY_ROW_NETS:
		text_puts(out, "networks such as 10.0.0.0/8 or 2001:db8::/32, or addresses");
		break;
	case SY_ROW_LIST:
		text_puts(out, "one or more words");
		break;
	case SY_ROW_RANGES:
		text_puts(out, "numbers and ranges such as 200-399,401");
		row_text_limits(row, row_text_uint, out);
		break;
	case SY_ROW_FILE:
	case SY_ROW_SECRET:
		text_puts(out, "the path of a file");
		break;
	case SY_ROW_BLOCK:
	case SY_ROW_BLOCKS:
		text_puts(out, "a block");
		break;
	case SY_ROW_POOL:
		text_puts(out, "the name of a pool");
		break;
	}
}

void
rows_arguments_text(const struct sy_row *rows, struct text *out)
{
	for (; rows && rows->name; rows++) {
		bool needed = rows->flags & SY_REQUIRED;

		if (!(rows->flags & SY_ARGUMENT))
			continue;
		text_puts(out, out->len ? " " : "");
		text_puts(out, needed ? "" : "[");
		if (rows->type == SY_ROW_CHOICE)
			for (unsigned i = 0; rows->words[i]; i++)
				text_printf(out, "%s%s", i ? "|" : "", rows->words[i]);
		else
			for (const char *at = rows->name; *at; at++)
				text_printf(out, "%c", *at >= 'a' && *at <= 'z' ? *at - 32 : *at);
		text_puts(out, needed ? "" : "]");
	}
}

void
rows_range_text(const struct sy_row *row, struct text *out)
{
	row_text_type(row, out);
	if (row->preset)
		text_printf(out, *row->preset ? " (default %s)" : " (default \"\")", row->preset);
	else if (row->flags & SY_REQUIRED)
		text_puts(out, " (required)");
}
