/* HAProxy: use_backend by host and path, with acl lines, become rules of protocol http. What looks at
 * anything else is reported. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "ctl/import_haproxy.h"

enum acl_kind { ACL_NONE, ACL_HOST, ACL_PATH };

struct ha_acl {
	char *copy;               /* what the words are in */
	struct ha_line line;
	enum acl_kind kind;       /* NONE: it has no equal here */
	struct text words;        /* for host or path in a rule */
	bool used;
};

struct ha_acls {
	struct ha_acl *list;
	unsigned n;
};

/* ---- what an acl looks at ---- */

/* How a value is compared: of a fetch's name (hdr_beg, path_end), or of -m. */
static const struct { const char *name, *before, *behind, *pattern; } acl_ways[] = {
	{ "str", "", "", "^\\Q%s\\E$" }, { "beg", "", "*", "^\\Q%s\\E" }, { "end", "*", "", "\\Q%s\\E$" },
	{ "sub", "*", "*", "\\Q%s\\E" }, { "reg", "~", "", "%s" }, { "dom", "", "", NULL },
};

static int
acl_way(const char *name)
{
	for (int i = 0; i < (int)(sizeof(acl_ways) / sizeof(*acl_ways)); i++)
		if (strcmp(acl_ways[i].name, name) == 0)
			return i;
	return -1;
}

/* "hdr_beg(host)", "req.hdr(Host)", "path_beg": the kind, and *way. */
static enum acl_kind
acl_fetch(const char *fetch, int *way)
{
	char name[32], *at = name, *cut;
	bool host;

	import_word(name, sizeof(name), fetch);
	if (strncmp(at, "req.", 4) == 0)
		at += 4;
	cut = strchr(at, '(');
	host = cut && (strcmp(cut, "(host)") == 0 || strcmp(cut, "(Host)") == 0 || strcmp(cut, "(HOST)") == 0);
	if (cut && !host)
		return ACL_NONE;
	if (cut)
		*cut = '\0';
	cut = strchr(at, '_');
	if (cut)
		*cut++ = '\0';
	*way = acl_way(cut ? cut : "str");
	if (*way < 0 || strcmp(at, host ? "hdr" : "path") != 0)
		return ACL_NONE;
	return host ? ACL_HOST : ACL_PATH;
}

static void
acl_add(struct text *out, const char *word)
{
	if (out->len)
		text_puts(out, " ");
	import_put(out, word);
}

static bool
acl_value(struct text *out, enum acl_kind kind, int way, bool any_case, const char *value)
{
	char word[2 * IMPORT_WORD];
	const char *slot;

	/* A whole part of a name: that name, and all below it. */
	if (acl_ways[way].pattern == NULL) {
		if (kind != ACL_HOST || strpbrk(value, "*!~"))
			return false;
		acl_add(out, value);
		snprintf(word, sizeof(word), "*.%.250s", value);
	} else if (kind == ACL_PATH && any_case) {
		if (strstr(value, "\\E"))
			return false;
		slot = strstr(acl_ways[way].pattern, "%s");
		snprintf(word, sizeof(word), "~(?i)%.*s%.250s%s", (int)(slot - acl_ways[way].pattern),
			 acl_ways[way].pattern, value, slot + 2);
	} else {
		if (*acl_ways[way].before != '~' && strpbrk(value, "*!~"))
			return false;
		snprintf(word, sizeof(word), "%s%.250s%s", acl_ways[way].before, value, acl_ways[way].behind);
	}
	acl_add(out, word);
	return true;
}

/* FETCH [-i] [-m WAY] VALUE ..., as words `from` up to `to` of a line. */
static enum acl_kind
acl_read(const struct ha_line *line, unsigned from, unsigned to, struct text *words)
{
	bool any_case = false;
	enum acl_kind kind;
	int way = 0;

	if (from >= to)
		return ACL_NONE;
	kind = acl_fetch(line->word[from], &way);
	for (from++; from < to && line->word[from][0] == '-'; from++) {
		if (ha_is(line, from, "-m") && from + 1 < to)
			way = acl_way(line->word[++from]);
		else if (ha_is(line, from, "-i"))
			any_case = true;
		else if (!ha_is(line, from, "--"))
			return ACL_NONE;
	}
	if (kind == ACL_NONE || way < 0 || from >= to)
		return ACL_NONE;
	for (; from < to; from++)
		if (!acl_value(words, kind, way, any_case, line->word[from]))
			return ACL_NONE;
	return kind;
}

/* All lines of the same name together: any of them. */
static bool
acl_of_name(struct ha_acls *acls, const char *name, enum acl_kind *kind, struct text *words)
{
	bool found = false;

	*kind = ACL_NONE;
	for (unsigned i = 0; i < acls->n; i++) {
		struct ha_acl *acl = &acls->list[i];

		if (acl->line.n < 2 || strcmp(acl->line.word[1], name) != 0)
			continue;
		if (acl->kind == ACL_NONE || (found && acl->kind != *kind))
			return false;
		text_printf(words, "%s%s", words->len ? " " : "", acl->words.at);
		*kind = acl->kind;
		found = true;
	}
	return found;
}

static void
acl_used(struct ha_acls *acls, const char *name)
{
	for (unsigned i = 0; i < acls->n; i++)
		if (acls->list[i].line.n > 1 && strcmp(acls->list[i].line.word[1], name) == 0)
			acls->list[i].used = true;
}

/* ---- use_backend ---- */

/* One that must hold besides the others of its rule: a second one about the same thing has no equal. */
static bool
rule_and(struct import_rule *rule, enum acl_kind kind, struct text *words)
{
	struct text *place = kind == ACL_HOST ? &rule->host : &rule->path;

	if (kind == ACL_NONE || place->len)
		return false;
	*place = *words;
	*words = (struct text){ 0 };
	return true;
}

/* One alternative, from word i on; *i moves behind it. False: it has no equal here. */
static bool
rule_read(struct ha_acls *acls, const struct ha_line *line, unsigned *i, struct import_rule *rule)
{
	bool good = true;

	for (; *i < line->n && !ha_is(line, *i, "or") && !ha_is(line, *i, "||"); ++*i) {
		struct text words = { 0 };
		enum acl_kind kind = ACL_NONE;

		if (ha_is(line, *i, "{")) {
			unsigned from = *i + 1;

			while (*i < line->n && !ha_is(line, *i, "}"))
				++*i;
			kind = *i < line->n ? acl_read(line, from, *i, &words) : ACL_NONE;
		} else if (!acl_of_name(acls, line->word[*i], &kind, &words)) {
			kind = ACL_NONE;
		}
		good = rule_and(rule, kind, &words) && good;
		text_free(&words);
		if (*i >= line->n)
			return false;
	}
	*i += *i < line->n;
	return good;
}

static void
rule_free(struct import_rule *rule)
{
	text_free(&rule->host);
	text_free(&rule->path);
}

/* Standbys are the service's. Those that are alone are no standbys. */
static void
rule_pool_standbys(struct ha *ha, struct import_service *pool)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < pool->n_servers; i++)
		kept += !pool->servers[i].sorry;
	for (unsigned i = 0; i < pool->n_servers; i++) {
		if (!kept)
			pool->servers[i].sorry = false;
		else if (pool->servers[i].sorry)
			import_lost(ha->import, pool->where, "backup server %s: a service has one sorry-pool, not each "
				    "of its pools", pool->servers[i].name);
	}
}

/* The pool for a backend: the service's own (-1), one that another rule leads to, or a new one. False:
 * there is no such backend. */
static bool
rule_pool(struct ha *ha, struct import_service *service, const struct ha_section *own, const char *name,
	  int *index)
{
	const struct ha_section *back = ha_backend(ha, name);
	struct import_service *pool;
	char full[2 * IMPORT_WORD];

	*index = -1;
	if (!back || !back->n_servers)
		return false;
	if (back == own)
		return true;
	snprintf(full, sizeof(full), "%s-%s", service->name, name);
	for (unsigned i = 0; i < service->n_more; i++)
		if (service->more[i].backend == back) {
			*index = (int)i;
			return true;
		}
	service->more = must_realloc(service->more, (service->n_more + 1) * sizeof(*service->more));
	pool = &service->more[service->n_more];
	*pool = (struct import_service){ .transparent = -1, .backend = back };
	import_name(pool->name, full);
	snprintf(pool->where, sizeof(pool->where), "line %u, %.10s %.100s", back->number, back->kind, back->name);
	ha_servers(ha, back, pool);
	rule_pool_standbys(ha, pool);
	*index = (int)service->n_more++;
	return true;
}

static bool
rules_line(struct ha *ha, struct ha_acls *acls, const struct ha_section *own, struct import_service *service,
	   const struct ha_line *line)
{
	unsigned i = 2, before = service->n_rules;
	int pool;
	bool good = service->http && line->n > 1 && (line->n == 2 || ha_is(line, 2, "if")) &&
		    rule_pool(ha, service, own, line->word[1], &pool);

	for (i += line->n > 2; good; ) {
		struct import_rule rule = { .pool = pool };

		good = rule_read(acls, line, &i, &rule);
		if (!good) {
			rule_free(&rule);
			break;
		}
		service->rules = must_realloc(service->rules, (service->n_rules + 1) * sizeof(rule));
		service->rules[service->n_rules++] = rule;
		if (i >= line->n)
			break;
	}
	while (!good && service->n_rules > before)
		rule_free(&service->rules[--service->n_rules]);
	for (unsigned k = 3; good && k < line->n; k++)
		acl_used(acls, line->word[k]);
	return good;
}

void
ha_rules(struct ha *ha, const struct ha_section *front, const struct ha_section *back,
	 struct import_service *service)
{
	struct ha_acls acls = { .list = must_realloc(NULL, (front->n_rules + 1) * sizeof(*acls.list)) };

	for (unsigned i = 0; i < front->n_rules; i++) {
		struct ha_acl *acl = &acls.list[acls.n];

		*acl = (struct ha_acl){ .copy = strdup(front->rules[i]), .line = { .number = front->rule_lines[i] } };
		must(acl->copy);
		ha_cut(&acl->line, acl->copy);
		if (ha_is(&acl->line, 0, "acl")) {
			acl->kind = acl_read(&acl->line, 2, acl->line.n, &acl->words);
			acls.n++;
		} else {
			/* Rules come behind the acls that they name, as HAProxy wants it. */
			if (!service || !rules_line(ha, &acls, back, service, &acl->line))
				ha_lost_line(ha, &acl->line);
			free(acl->copy);
		}
	}
	for (unsigned i = 0; i < acls.n; i++) {
		if (!acls.list[i].used)
			ha_lost_line(ha, &acls.list[i].line);
		text_free(&acls.list[i].words);
		free(acls.list[i].copy);
	}
	free(acls.list);
}
