#include "conf/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/head.h"
#include "base/hash.h"

const char *
node_arg(const struct node *node, uint32_t i)
{
	return i < node->n_args ? (const char *)node->args[i].at : "";
}

const struct node *
node_child(const struct node *node, const char *name)
{
	for (const struct node *child = node->children; child; child = child->next)
		if (strcmp(child->name, name) == 0)
			return child;
	return NULL;
}

struct node *
node_new(struct arena *arena, const struct node *at, const char *name, uint32_t n_args)
{
	struct node *node = arena_new_of(arena, struct node);

	node->name = name;
	node->args = arena_array(arena, struct sy_span, n_args);
	node->n_args = n_args;
	node->file = at->file;
	node->line = node->last_line = at->line;
	node->via = at->via;
	return node;
}

/* Not for long lists: it walks. The parser keeps the tail itself. */
void
node_append(struct node *parent, struct node *child)
{
	struct node **tail = &parent->children;

	while (*tail)
		tail = &(*tail)->next;
	*tail = child;
}

/* Where it was written, of a place that came through several templates: the last of "(from ...". */
static struct sy_span
complain_origin(struct sy_span via)
{
	static const char from[] = "(from ";
	size_t begin = 0, len = 0;

	for (size_t i = 0; i + sizeof(from) - 1 < via.len; i++)
		if (memcmp(via.at + i, from, sizeof(from) - 1) == 0)
			begin = i + sizeof(from) - 1;
	while (begin + len < via.len && via.at[begin + len] != ')')
		len++;
	return sy_span(via.at + begin, len);
}

static bool
complain_same(struct sy_span a, struct sy_span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* A parameter of a template that is used twenty times is wrong once. */
static bool
complain_told(const struct complaints *to, const struct text *head, const char *via)
{
	struct sy_span origin = complain_origin(sy_span_text(via ? via : "")), left, line;

	left = sy_span(to->text.at, to->text.len);
	while (sy_span_part(&left, '\n', &line)) {
		if (line.len < head->len || memcmp(line.at, head->at, head->len) != 0)
			continue;
		line = sy_span(line.at + head->len, line.len - head->len);
		if (via ? complain_same(complain_origin(line), origin) : line.len == 0)
			return true;
	}
	return false;
}

/* False: that has been said already. */
__attribute__((format(printf, 4, 0))) static bool
complain_line(struct complaints *to, const struct node *at, const char *kind, const char *format,
	      va_list args)
{
	struct text head = { 0 };
	char words[1024];
	bool fresh;

	if (to->told > COMPLAINTS_TOLD)
		return true;
	vsnprintf(words, sizeof(words), format, args);
	if (at && at->line)
		text_printf(&head, "%s:%u: ", at->file, at->line);
	else if (at && at->file)
		text_printf(&head, "%s: ", at->file);
	text_puts(&head, kind);
	text_plain(&head, words, strlen(words));
	fresh = !complain_told(to, &head, at ? at->via : NULL);
	if (fresh && to->told == COMPLAINTS_TOLD) {
		text_puts(&to->text, "and more: these are the first ones\n");
	} else if (fresh) {
		text_add(&to->text, head.at, head.len);
		if (at && at->via)
			text_printf(&to->text, " (from %s)", at->via);
		text_puts(&to->text, "\n");
	}
	to->told += fresh;
	text_free(&head);
	return fresh;
}

void
complain(struct complaints *to, const struct node *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	to->repeated += !complain_line(to, at, "", format, args);
	to->errors++;
	va_end(args);
}

void
complain_mildly(struct complaints *to, const struct node *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain_line(to, at, "warning: ", format, args);
	va_end(args);
}

/* ---- printing ---- */

static bool
tree_plain(struct sy_span word)
{
	if (word.len == 0)
		return false;
	for (size_t i = 0; i < word.len; i++) {
		uint8_t c = word.at[i];

		if (c <= ' ' || c == 0x7f || strchr(";{}\"'$\\", c))
			return false;
	}
	/* A comment, or what might be taken for the mark at the beginning of a file. */
	return word.at[0] != '#' && word.at[0] != 0xef;
}

static void
tree_print_word(struct sy_span word, struct text *out)
{
	if (tree_plain(word)) {
		text_add(out, (const char *)word.at, word.len);
		return;
	}
	text_puts(out, "\"");
	for (size_t i = 0; i < word.len; i++) {
		char c = (char)word.at[i];

		if (c == '\n')
			text_puts(out, "\\n");
		else if (c == '\t')
			text_puts(out, "\\t");
		else if (c == '"' || c == '\\' || c == '$')
			text_printf(out, "\\%c", c);
		else
			text_add(out, &c, 1);
	}
	text_puts(out, "\"");
}

static void
tree_print_place(const struct node *node, struct text *out)
{
	if (node->filled) {
		text_puts(out, "  # default");
		return;
	}
	text_printf(out, "  # %s:%u", node->file ? node->file : "?", node->line);
	if (node->via)
		text_printf(out, " (from %s)", node->via);
	for (uint32_t i = 0; node->found_what == FOUND_ADDRESSES && i < node->n_args; i++)
		if (node->found[i].len)
			text_printf(out, ", %s is %.*s", node_arg(node, i), (int)node->found[i].len,
				    (const char *)node->found[i].at);
}

static void
tree_print_node(const struct node *node, unsigned depth, bool places, struct text *out)
{
	for (unsigned i = 0; i < depth; i++)
		text_puts(out, "\t");
	tree_print_word(sy_span_text(node->name), out);
	for (uint32_t i = 0; i < node->n_args; i++) {
		text_puts(out, " ");
		tree_print_word(node->args[i], out);
	}
	text_puts(out, node->block || node->children ? " {" : ";");
	if (places)
		tree_print_place(node, out);
	text_puts(out, "\n");
	if (!node->block && !node->children)
		return;
	for (const struct node *child = node->children; child; child = child->next)
		tree_print_node(child, depth + 1, places, out);
	for (unsigned i = 0; i < depth; i++)
		text_puts(out, "\t");
	text_puts(out, "}\n");
}

void
tree_print(const struct node *root, bool places, struct text *out)
{
	for (const struct node *child = root->children; child; child = child->next)
		tree_print_node(child, 0, places, out);
}

static void
tree_add_found(const struct node *node, struct text *out)
{
	for (uint32_t i = 0; node->found_what != FOUND_NOTHING && i < node->n_args; i++) {
		text_printf(out, "%zu ", node->found[i].len);
		text_add(out, (const char *)node->found[i].at, node->found[i].len);
	}
	for (const struct node *child = node->children; child; child = child->next)
		tree_add_found(child, out);
}

uint64_t
tree_hash(const struct node *root)
{
	struct text text = { 0 };
	uint64_t hash;

	tree_print(root, false, &text);
	tree_add_found(root, &text);
	hash = hash_64(&(struct hash_key){ 0, 0 }, text.at ? text.at : "", text.len);
	text_free(&text);
	return hash;
}
