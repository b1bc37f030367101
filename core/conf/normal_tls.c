/* Makes tls blocks complete: each pair becomes `certificate NAME { chain FILE; key FILE; }` with the
 * contents of both. One file may hold both, so what is public and what is secret is told apart here:
 * keys go to workers only. */
#define _GNU_SOURCE 1
#include <string.h>

#include "conf/core_rows.h"
#include "conf/gathered.h"
#include "conf/normal.h"
#include "conf/rows.h"

struct pairs {
	struct gathered *gathered;
	struct arena *arena;
	struct complaints *complaints;
};

static struct node *
pair_add(struct pairs *pairs, struct node *certificate, const char *name, const char *path)
{
	struct node *node = node_new(pairs->arena, certificate, name, 1);

	node->args[0] = sy_span_text(path);
	node_append(certificate, node);
	certificate->block = true;
	return node;
}

/* ---- what files hold ---- */

/* The next "-----BEGIN X-----" to "-----END X-----" where X ends with `what`; len 0: none. */
static struct sy_span
pem_next(struct sy_span *text, const char *what)
{
	static const char begin[] = "-----BEGIN ", end[] = "-----END ";
	size_t what_len = strlen(what);

	for (;;) {
		const uint8_t *from = memmem(text->at, text->len, begin, sizeof(begin) - 1);
		const uint8_t *limit = text->at + text->len, *label, *close, *to;
		bool match;

		if (!from)
			return sy_span("", 0);
		label = from + sizeof(begin) - 1;
		close = memmem(label, (size_t)(limit - label), "-----", 5);
		to = memmem(label, (size_t)(limit - label), end, sizeof(end) - 1);
		if (!close || !to || to < close)
			return sy_span("", 0);
		match = (size_t)(close - label) >= what_len &&
			memcmp(close - what_len, what, what_len) == 0;
		to = memmem(to + sizeof(end) - 1, (size_t)(limit - to) - (sizeof(end) - 1), "-----", 5);
		if (!to)
			return sy_span("", 0);
		to += 5;
		*text = sy_span(to, (size_t)(limit - to));
		if (match)
			return sy_span(from, (size_t)(to - from));
	}
}

static struct sy_span
pem_certificates(struct arena *arena, struct sy_span text)
{
	struct text out = { 0 };
	struct sy_span one, all;

	while ((one = pem_next(&text, "CERTIFICATE")).len) {
		text_add(&out, (const char *)one.at, one.len);
		text_puts(&out, "\n");
	}
	all = arena_span(arena, sy_span(out.at ? out.at : "", out.len));
	text_free(&out);
	return all;
}

static const char *
pem_problem(struct sy_span content)
{
	return content.len && content.at[0] == 0x30
		? "; it looks like DER, and openssl x509 -inform der -in FILE -out FILE.pem converts that"
		: "";
}

/* As whoever wrote it calls it. */
static const char *
pair_name(const struct node *node)
{
	return strcmp(node->name, "chain") == 0 ? "certificate" : node->name;
}

/* The content of the file that a statement names; complains when it cannot be read. */
static struct sy_span
pair_content(struct pairs *pairs, struct node *node, const char **path)
{
	const struct gathered_file *file;

	*path = gathered_path(pairs->gathered, node_arg(node, 0));
	file = names_find(pairs->gathered->files, *path);
	if (node->n_args != 1)
		return sy_span("", 0);
	if (!file || file->problem) {
		complain(pairs->complaints, node, "%s: cannot read %s: %s", pair_name(node), *path,
			 file ? file->problem : "that is no path");
		return sy_span("", 0);
	}
	if (file->content.len == 0)
		complain(pairs->complaints, node, "%s: %s is empty", pair_name(node), *path);
	return file->content;
}

static void
pair_chain(struct pairs *pairs, struct node *node)
{
	const char *path;
	struct sy_span content = pair_content(pairs, node, &path);

	node->found = arena_array(pairs->arena, struct sy_span, node->n_args);
	node->found_what = FOUND_FILES;
	for (uint32_t i = 0; i < node->n_args; i++)
		node->found[i] = sy_span("", 0);
	if (content.len == 0)
		return;
	node->found[0] = pem_certificates(pairs->arena, content);
	if (node->found[0].len == 0)
		complain(pairs->complaints, node, "%s: there is no certificate in PEM form in %s%s",
			 pair_name(node), path, pem_problem(content));
}

static void
pair_key(struct pairs *pairs, struct node *node, bool given)
{
	const char *path;
	struct sy_span content = pair_content(pairs, node, &path), key;

	node->found = arena_array(pairs->arena, struct sy_span, node->n_args);
	node->found_what = FOUND_SECRETS;
	for (uint32_t i = 0; i < node->n_args; i++)
		node->found[i] = sy_span("", 0);
	if (content.len == 0)
		return;
	key = pem_next(&(struct sy_span){ content.at, content.len }, "PRIVATE KEY");
	node->found[0] = arena_span(pairs->arena, key);
	if (key.len)
		return;
	if (given)
		complain(pairs->complaints, node, "key: there is no private key in PEM form in %s%s", path,
			 pem_problem(content));
	else
		complain(pairs->complaints, node, "certificate %s: %s holds no private key, and none is "
			 "named: key FILE;", node_arg(node, 0), path);
}

/* ---- pairs ---- */

/* `key FILE;` behind `certificate FILE;` belongs to it. */
static void
pairs_take_keys(struct pairs *pairs, struct node *tls)
{
	struct node **at = &tls->children, *node, *last = NULL;

	while ((node = *at)) {
		if (strcmp(node->name, "certificate") == 0)
			last = node;
		if (strcmp(node->name, "key") != 0) {
			at = &node->next;
			continue;
		}
		*at = node->next;
		if (node->n_args != 1)
			complain(pairs->complaints, node, "key takes one file");
		else if (!last)
			complain(pairs->complaints, node, "key %s: the certificate that it belongs to must "
				 "stand before it", node_arg(node, 0));
		else if (node_child(last, "key"))
			complain(pairs->complaints, node, "key %s: certificate %s has a key already",
				 node_arg(node, 0), node_arg(last, 0));
		else {
			node->next = NULL;
			node_append(last, node);
			last->block = true;
		}
	}
}

static void
pairs_complete(struct pairs *pairs, struct node *certificate)
{
	struct node *chain = (struct node *)node_child(certificate, "chain");
	struct node *key = (struct node *)node_child(certificate, "key");
	unsigned errors = pairs->complaints->errors;
	bool given = key != NULL;

	if (certificate->n_args != 1)
		return; /* binding says why */
	if (!chain)
		chain = pair_add(pairs, certificate, "chain", node_arg(certificate, 0));
	pair_chain(pairs, chain);
	if (!key)
		key = pair_add(pairs, certificate, "key", node_arg(chain, 0));
	if (given || pairs->complaints->errors == errors)
		pair_key(pairs, key, given);
}

void
normal_tls(struct gathered *gathered, struct complaints *complaints, struct node *tls,
	   const struct sy_row *rows)
{
	struct pairs pairs = { gathered, gathered->arena, complaints };

	rows_unfold(pairs.arena, tls, 0, rows, NULL);
	for (struct node *node = tls->children; node; node = node->next)
		if (strcmp(node->name, "certificate") == 0 && node->n_args)
			rows_unfold(pairs.arena, node, 1, certificate_rows, NULL);
	pairs_take_keys(&pairs, tls);
	for (struct node *node = tls->children; node; node = node->next)
		if (strcmp(node->name, "certificate") == 0)
			pairs_complete(&pairs, node);
}
