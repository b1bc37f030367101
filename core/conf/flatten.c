/* A tree as bytes, for the memfd of a generation. All numbers are uint32_t in the machine's order
 * (writer and reader are the same image), unaligned:
 *
 *	tree:   magic, node
 *	node:   line, last_line, flags, file, via, n_args, n_children, name, arg..., node...
 *	arg:    length, bytes, NUL; with things found: the same once more
 *	place:  position + 1 of a string that was written before; 0 for none; UINT32_MAX, and the
 *	        string follows
 *	name:   a string: length, bytes, NUL
 *	secret: length 8, and two numbers: position and length in the other memory
 *
 * Reading trusts nothing: the bytes come from another process. */
#include "conf/tree.h"

#include <string.h>

enum {
	FLAT_MAGIC = 0x54534c31,
	FLAT_DEPTH = 64,
	FLAT_NODE_SIZE = 8 * 4 + 1,  /* the least that a node takes */
	FLAT_ARG_SIZE = 4 + 1,
	FLAT_PLACE = 8192,           /* longest file or via */
};

static const uint32_t flat_new = UINT32_MAX;

enum {
	FLAT_BLOCK = 1,
	FLAT_FILLED = 2,
	FLAT_FOUND = 2,              /* found_what, shifted by so many bits */
	FLAT_UNFOLDED = 16,
	FLAT_ALL = 31,
};

/* ---- writing ---- */

struct flat_writer {
	struct text *out, *secrets;
	const char *file, *via;      /* written last */
	uint32_t file_at, via_at;
};

static void
flat_put(struct text *out, uint32_t n)
{
	text_add(out, (const char *)&n, sizeof(n));
}

static void
flat_put_bytes(struct text *out, struct sy_span bytes)
{
	flat_put(out, (uint32_t)bytes.len);
	text_add(out, (const char *)bytes.at, bytes.len);
	text_add(out, "", 1);
}

/* Neighbours mostly share the place, so one remembered string is enough. */
static void
flat_put_place(struct text *out, const char *place, const char **last, uint32_t *last_at)
{
	if (!place) {
		flat_put(out, 0);
	} else if (*last && strcmp(place, *last) == 0) {
		flat_put(out, *last_at + 1);
	} else {
		flat_put(out, flat_new);
		*last = place;
		*last_at = (uint32_t)out->len;
		flat_put_bytes(out, sy_span_text(place));
	}
}

static void
flat_put_found(struct flat_writer *writer, const struct node *node, uint32_t i)
{
	uint32_t secret[2];

	if (node->found_what != FOUND_SECRETS) {
		flat_put_bytes(writer->out, node->found[i]);
		return;
	}
	secret[0] = (uint32_t)writer->secrets->len;
	secret[1] = (uint32_t)node->found[i].len;
	text_add(writer->secrets, (const char *)node->found[i].at, node->found[i].len);
	text_add(writer->secrets, "", 1);
	flat_put_bytes(writer->out, sy_span(secret, sizeof(secret)));
}

static void
flat_put_node(struct flat_writer *writer, const struct node *node)
{
	struct text *out = writer->out;
	uint32_t n_children = 0;

	for (const struct node *child = node->children; child; child = child->next)
		n_children++;
	flat_put(out, node->line);
	flat_put(out, node->last_line);
	flat_put(out, (node->block ? FLAT_BLOCK : 0) | (node->filled ? FLAT_FILLED : 0) |
		      (node->unfolded ? FLAT_UNFOLDED : 0) | (uint32_t)node->found_what << FLAT_FOUND);
	flat_put_place(out, node->file, &writer->file, &writer->file_at);
	flat_put_place(out, node->via, &writer->via, &writer->via_at);
	flat_put(out, node->n_args);
	flat_put(out, n_children);
	flat_put_bytes(out, sy_span_text(node->name));
	for (uint32_t i = 0; i < node->n_args; i++)
		flat_put_bytes(out, node->args[i]);
	for (uint32_t i = 0; node->found_what != FOUND_NOTHING && i < node->n_args; i++)
		flat_put_found(writer, node, i);
	for (const struct node *child = node->children; child; child = child->next)
		flat_put_node(writer, child);
}

void
tree_flatten(const struct node *root, struct text *out, struct text *secrets)
{
	struct flat_writer writer = { .out = out, .secrets = secrets };

	flat_put(out, FLAT_MAGIC);
	flat_put_node(&writer, root);
}

/* ---- reading ---- */

struct flat_reader {
	struct arena *arena;
	struct sy_span bytes, secrets;
	size_t at;
	bool bad;
};

static size_t
flat_left(const struct flat_reader *reader)
{
	return reader->bytes.len - reader->at;
}

static uint32_t
flat_get(struct flat_reader *reader)
{
	uint32_t n = 0;

	if (flat_left(reader) < sizeof(n)) {
		reader->bad = true;
		return 0;
	}
	memcpy(&n, reader->bytes.at + reader->at, sizeof(n));
	reader->at += sizeof(n);
	return n;
}

static struct sy_span
flat_get_bytes(struct flat_reader *reader)
{
	uint32_t len = flat_get(reader);
	struct sy_span bytes = sy_span("", 0);

	if (reader->bad || flat_left(reader) < (size_t)len + 1 ||
	    reader->bytes.at[reader->at + len] != 0) {
		reader->bad = true;
		return bytes;
	}
	bytes = sy_span(reader->bytes.at + reader->at, len);
	reader->at += (size_t)len + 1;
	return bytes;
}

static const char *
flat_get_string(struct flat_reader *reader)
{
	struct sy_span bytes = flat_get_bytes(reader);

	if (memchr(bytes.at, 0, bytes.len))
		reader->bad = true;
	return (const char *)bytes.at;
}

static const char *
flat_get_place(struct flat_reader *reader)
{
	uint32_t what = flat_get(reader);
	size_t here = reader->at;
	const char *place;

	if (reader->bad || what == 0)
		return NULL;
	if (what == flat_new)
		return flat_get_string(reader);
	if (what - 1 >= here) {
		reader->bad = true;
		return NULL;
	}
	reader->at = what - 1;
	place = flat_get_string(reader);
	reader->at = here;
	if (strnlen(place, FLAT_PLACE) == FLAT_PLACE)
		reader->bad = true;
	return place;
}

static struct sy_span
flat_get_secret(struct flat_reader *reader)
{
	struct sy_span bytes = flat_get_bytes(reader);
	uint32_t secret[2];

	if (reader->bad || bytes.len != sizeof(secret)) {
		reader->bad = true;
		return sy_span("", 0);
	}
	/* Not for this process: not the same as an empty one. */
	if (reader->secrets.len == 0)
		return sy_span(NULL, 0);
	memcpy(secret, bytes.at, sizeof(secret));
	if (secret[0] >= reader->secrets.len || secret[1] >= reader->secrets.len - secret[0] ||
	    reader->secrets.at[secret[0] + secret[1]] != 0) {
		reader->bad = true;
		return sy_span("", 0);
	}
	return sy_span(reader->secrets.at + secret[0], secret[1]);
}

static void
flat_get_args(struct flat_reader *reader, struct node *node)
{
	node->args = arena_array(reader->arena, struct sy_span, node->n_args);
	for (uint32_t i = 0; i < node->n_args && !reader->bad; i++)
		node->args[i] = flat_get_bytes(reader);
	if (node->found_what == FOUND_NOTHING)
		return;
	node->found = arena_array(reader->arena, struct sy_span, node->n_args);
	for (uint32_t i = 0; i < node->n_args && !reader->bad; i++)
		node->found[i] = node->found_what == FOUND_SECRETS ? flat_get_secret(reader)
								    : flat_get_bytes(reader);
}

/* The node's own words; sets how many children follow. */
static void
flat_get_head(struct flat_reader *reader, struct node *node, uint32_t *n_children)
{
	uint32_t flags;

	node->line = flat_get(reader);
	node->last_line = flat_get(reader);
	flags = flat_get(reader);
	node->block = flags & FLAT_BLOCK;
	node->filled = flags & FLAT_FILLED;
	node->unfolded = flags & FLAT_UNFOLDED;
	node->found_what = (uint8_t)(flags >> FLAT_FOUND & 3);
	node->file = flat_get_place(reader);
	node->via = flat_get_place(reader);
	node->n_args = flat_get(reader);
	*n_children = flat_get(reader);
	node->name = flat_get_string(reader);
	if (flags > FLAT_ALL || node->n_args > flat_left(reader) / FLAT_ARG_SIZE)
		reader->bad = true;
	if (!reader->bad)
		flat_get_args(reader, node);
	if (*n_children > flat_left(reader) / FLAT_NODE_SIZE)
		reader->bad = true;
}

static struct node *
flat_get_node(struct flat_reader *reader, unsigned depth)
{
	struct node *node = arena_new_of(reader->arena, struct node), **tail = &node->children;
	uint32_t n_children;

	flat_get_head(reader, node, &n_children);
	if (depth == FLAT_DEPTH)
		reader->bad = true;
	for (; n_children && !reader->bad; n_children--, tail = &(*tail)->next)
		*tail = flat_get_node(reader, depth + 1);
	return node;
}

struct node *
tree_unflatten(struct arena *arena, struct sy_span bytes, struct sy_span secrets)
{
	struct flat_reader reader = { .arena = arena, .bytes = bytes, .secrets = secrets };
	struct node *root;

	if (flat_get(&reader) != FLAT_MAGIC || reader.bad)
		return NULL;
	root = flat_get_node(&reader, 0);
	return reader.bad || flat_left(&reader) ? NULL : root;
}
