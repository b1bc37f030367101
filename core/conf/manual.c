#include "conf/manual.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/core_rows.h"
#include "conf/modules.h"
#include "conf/rows.h"

enum { MANUAL_WIDTH = 72 };

/* A word for troff: a backslash, a quote, and a dot at the beginning of a line are not commands. */
static void
manual_word(const char *word, size_t len, struct text *out)
{
	for (; len; word++, len--) {
		bool begins = out->len == 0 || out->at[out->len - 1] == '\n';

		if (*word == '\\')
			text_puts(out, "\\e");
		else if (*word == '\'')
			text_puts(out, "\\(aq");
		else if (*word == '`')
			text_puts(out, "\\(ga");
		else if (*word == '.' && begins)
			text_puts(out, "\\&.");
		else
			text_add(out, word, 1);
	}
}

/* Lines of bearable length, a new one for each sentence: that is what mandoc -T lint wants. */
static void
manual_words(const char *words, struct text *out)
{
	size_t column = 0;
	bool ended = false;

	for (words += strspn(words, " "); *words; words += strspn(words, " ")) {
		size_t len = strcspn(words, " ");

		if (column && (ended || column + 1 + len > MANUAL_WIDTH)) {
			text_puts(out, "\n");
			column = 0;
		} else if (column) {
			text_puts(out, " ");
			column++;
		}
		manual_word(words, len, out);
		column += len;
		ended = strchr(".?!", words[len - 1]) != NULL;
		words += len;
	}
	text_puts(out, "\n");
}

/* mdoc takes words as macros when they look like some (Pf, In, ...): each is shielded. */
static void
manual_item(const char *name, const char *syntax, struct text *out)
{
	text_printf(out, ".It Ic %s", name);
	if (syntax && *syntax) {
		text_puts(out, " No ");
		for (const char *at = syntax; *at; at += strspn(at, " ")) {
			size_t len = strcspn(at, " ");

			text_puts(out, at == syntax ? "\\&" : " \\&");
			manual_word(at, len, out);
			at += len;
		}
	}
	text_puts(out, "\n");
}

static const char *
manual_placeholder(const struct sy_row *row)
{
	switch (row->type) {
	case SY_ROW_NONE: return "";
	case SY_ROW_BOOL: return "on | off";
	case SY_ROW_UINT: return "N";
	case SY_ROW_MSEC: return "TIME";
	case SY_ROW_BYTES: return "SIZE";
	case SY_ROW_RATE: return "N/s";
	case SY_ROW_CHOICE: return "";
	case SY_ROW_TEXT: return "TEXT";
	case SY_ROW_ADDR: return row->flags & SY_PORT ? "ADDRESS:PORT" : "ADDRESS";
	case SY_ROW_ADDRS: return row->flags & SY_PORT ? "ADDRESS:PORT ..." : "ADDRESS ...";
	case SY_ROW_NETS: return "NETWORK ...";
	case SY_ROW_LIST: return "WORD ...";
	case SY_ROW_RANGES: return "RANGE ...";
	case SY_ROW_FILE:
	case SY_ROW_SECRET: return "FILE";
	case SY_ROW_BLOCK: return "{ ... }";
	case SY_ROW_BLOCKS: return "";
	case SY_ROW_POOL: return "POOL";
	}
	return "";
}

static void
manual_syntax(const struct sy_row *row, struct text *out)
{
	if (row->type == SY_ROW_BLOCKS) {
		rows_arguments_text(row->rows, out);
		text_puts(out, out->len ? " [{ ... }]" : "{ ... }");
		return;
	}
	if (row->type != SY_ROW_CHOICE) {
		text_puts(out, manual_placeholder(row));
		return;
	}
	for (unsigned i = 0; row->words[i]; i++)
		text_printf(out, "%s%s", i ? " | " : "", row->words[i]);
}

static void manual_row(const struct sy_row *row, struct text *out);

static void
manual_list(const struct sy_row *rows, struct text *out)
{
	text_puts(out, ".Bl -tag -width Ds\n");
	for (; rows->name; rows++)
		manual_row(rows, out);
	text_puts(out, ".El\n");
}

/* What is allowed, where the syntax does not say it, and the default. */
static void
manual_range(const struct sy_row *row, struct text *out)
{
	struct sy_row plain = *row;
	struct text range = { 0 };

	plain.preset = NULL;
	plain.flags &= ~(uint32_t)SY_REQUIRED;
	if (row->type != SY_ROW_BOOL && row->type != SY_ROW_CHOICE && row->type != SY_ROW_TEXT &&
	    row->type != SY_ROW_LIST)
		rows_range_text(&plain, &range);
	if (range.len && range.at[0] >= 'a' && range.at[0] <= 'z')
		range.at[0] = (char)(range.at[0] - 32);
	if (row->preset)
		text_printf(&range, "%s default is %s", range.len ? "; the" : "The",
			    *row->preset ? row->preset : "empty");
	else if (row->flags & SY_REQUIRED)
		text_puts(&range, range.len ? "; required" : "Required");
	if (range.len) {
		text_puts(&range, ".");
		manual_words(range.at, out);
	}
	text_free(&range);
}

static void
manual_row(const struct sy_row *row, struct text *out)
{
	struct text syntax = { 0 };

	manual_syntax(row, &syntax);
	manual_item(row->name, syntax.at ? syntax.at : "", out);
	text_free(&syntax);
	if (row->doc)
		manual_words(row->doc, out);
	if (row->type == SY_ROW_BLOCKS)
		text_puts(out, "May be given any number of times.\n");
	if (row_is_block(row))
		manual_list(row->rows, out);
	else
		manual_range(row, out);
}

static void
manual_block(const struct core_block *block, struct text *out)
{
	const struct rows_other *other = block->others;

	if (*block->name)
		text_printf(out, ".Ss %s%s%s\n", block->name, *block->syntax ? " " : "",
			    block->syntax);
	else
		text_puts(out, ".Ss Outside of blocks\n");
	manual_words(block->doc, out);
	text_puts(out, ".Bl -tag -width Ds\n");
	for (; other && other->name; other++) {
		manual_item(other->name, other->syntax, out);
		manual_words(other->doc, out);
	}
	for (const struct sy_row *row = block->rows; row && row->name; row++)
		manual_row(row, out);
	text_puts(out, ".El\n");
}

static int
manual_module(const char *dir, enum sy_kind kind, const char *name, struct text *out,
	      struct sy_err *err)
{
	const struct sy_module *module;
	uint64_t hash;
	int fd = modules_copy(dir, kind, name, &hash, err);

	if (fd < 0)
		return -1;
	module = modules_open(fd, hash, kind, name, err);
	close(fd);
	if (!module)
		return -1;
	text_printf(out, ".Ss %s %s\n", kind_names[kind], name);
	if (module->summary)
		manual_words(module->summary, out);
	if (module->rows && module->rows->name)
		manual_list(module->rows, out);
	return 0;
}

static void
manual_log_fields(struct text *out)
{
	static const char *const docs[] = {
#define LOG_FIELD_DOC(name, doc) doc,
		LOG_FIELDS(LOG_FIELD_DOC)
#undef LOG_FIELD_DOC
	};

	text_puts(out, ".Sh EXCHANGE LOG\n"
		       "The fields of a\n.Ic format ,\nand those of a line without one up to\n.Cm end :\n"
		       ".Bl -tag -width response_us\n");
	for (unsigned i = 0; i < LOG_FIELDS_END; i++) {
		text_printf(out, ".It Cm %s\n", log_field_names[i]);
		manual_words(docs[i], out);
	}
	text_puts(out, ".El\n.Pp\nLines as web servers write them:\n.Bd -literal -offset indent\n"
		       "exchange-log {\n"
		       "\texchanges on;\n"
		       "\tformat '%client [%time] \"%method %host%path\" %status %down %ms %server';\n"
		       "}\n.Ed\n");
}

int
manual_print(const char *module_dir, struct text *out, struct sy_err *err)
{
	text_puts(out, ".Sh DIRECTIVES\n");
	for (const struct core_block *block = core_blocks; block->doc; block++)
		manual_block(block, out);
	manual_log_fields(out);
	text_puts(out, ".Sh MODULES\n"
		       "A directive that names a module loads it.\n"
		       "Its settings stand in a block, or as\n.Ar name Ns = Ns Ar value\n"
		       "behind the name of the module.\n");
	for (unsigned kind = 0; kind < SY_KINDS; kind++) {
		const char **names = modules_names(module_dir, (enum sy_kind)kind);
		int result = 0;

		for (unsigned i = 0; names[i] && result == 0; i++) {
			result = manual_module(module_dir, (enum sy_kind)kind, names[i], out, err);
			if (result < 0) {
				struct sy_err why = *err;

				sy_fail(err, "%s %s: %.400s", kind_names[kind], names[i], why.text);
			}
		}
		free(names);
		if (result < 0)
			return -1;
	}
	return 0;
}
