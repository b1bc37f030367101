#include "rules.h"

#include <stdlib.h>
#include <strings.h>

/* ---- the path ---- */

static int
rules_hex(uint8_t byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	byte |= 0x20;
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* %41 is A, %2f a slash. What would become a control character or nothing at all stays as it is. */
static size_t
rules_decode(struct sy_span path, char *room, bool *slash)
{
	size_t len = 0;

	*slash = false;
	for (size_t i = 0; i < path.len; i++) {
		int high = path.at[i] == '%' && i + 2 < path.len ? rules_hex(path.at[i + 1]) : -1;
		int low = high >= 0 ? rules_hex(path.at[i + 2]) : -1;
		int byte = low >= 0 ? high << 4 | low : path.at[i];

		if (low >= 0 && byte >= ' ' && byte != 0x7f) {
			*slash = *slash || byte == '/' || byte == '\\';
			i += 2;
		} else {
			byte = path.at[i];
		}
		room[len++] = (char)(byte == '\\' ? '/' : byte);
	}
	return len;
}

/* a//b/./c/../d is a/b/d. In place: what is written never passes what is read. */
static size_t
rules_resolve(char *path, size_t len)
{
	size_t to = 0;

	for (size_t i = 0; i < len;) {
		const char *slash = memchr(path + i, '/', len - i);
		size_t part = slash ? (size_t)(slash - path) - i : len - i;
		bool up = part == 2 && path[i] == '.' && path[i + 1] == '.';

		if (up && to > 1)
			for (to--; to > 1 && path[to - 1] != '/'; to--)
				;
		if (part && !up && !(part == 1 && path[i] == '.')) {
			memmove(path + to, path + i, part);
			to += part;
			if (slash)
				path[to++] = '/';
		} else if (!to && slash) {
			path[to++] = '/';
		}
		i += part + (slash != NULL);
	}
	return to;
}

static bool
rules_goes_up(const char *path, size_t len)
{
	for (size_t i = 0; i + 2 < len; i++)
		if (memcmp(path + i, "/..", 3) == 0 && (i + 3 == len || path[i + 3] == '/'))
			return true;
	return false;
}

struct sy_span
rules_path(struct sy_span path, char *room, bool *unclear)
{
	const uint8_t *query = memchr(path.at, '?', path.len);
	bool slash;
	size_t len;

	if (query)
		path.len = (size_t)(query - path.at);
	len = rules_decode(path, room, &slash);
	*unclear = slash && rules_goes_up(room, len);
	return sy_span(room, rules_resolve(room, len));
}

/* ---- matches ---- */

/* One of several values with that name matches; none there is a text that is not there. */
struct rules_any {
	const struct match *match;
	struct scene *scene;
	enum wanted_result result;
	bool found;
};

static void
rules_value(struct rules_any *any, struct sy_span value)
{
	static const uint8_t empty[1];

	if (any->found && any->result != WANTED_OTHER)
		return;
	any->found = true;
	if (!value.at)
		value = sy_span(empty, 0);
	any->result = wanted_given(any->match->words)
	            ? wanted_match(any->match->words, value, &any->scene->captures) : WANTED_MATCH;
}

static enum wanted_result
rules_value_end(struct rules_any *any)
{
	if (any->found)
		return any->result;
	return wanted_given(any->match->words) ? wanted_match(any->match->words, sy_span(NULL, 0), NULL)
	                                      : WANTED_OTHER;
}

static enum wanted_result
rules_header(const struct match *match, struct scene *scene)
{
	struct rules_any any = { .match = match, .scene = scene };

	for (uint32_t i = 0; i < scene->request->n; i++)
		if (span_is(scene->request->field[i].name, match->name))
			rules_value(&any, scene->request->field[i].value);
	return rules_value_end(&any);
}

/* name=value pairs with something between them. */
static void
rules_pairs(struct rules_any *any, struct sy_span text, char between)
{
	while (text.len) {
		const uint8_t *end = memchr(text.at, between, text.len), *equal;
		size_t len = end ? (size_t)(end - text.at) : text.len;
		struct sy_span pair = span_trim(sy_span(text.at, len)), name = pair;

		equal = pair.len ? memchr(pair.at, '=', pair.len) : NULL;
		if (equal)
			name.len = (size_t)(equal - pair.at);
		if (span_is(name, any->match->name))
			rules_value(any, equal ? sy_span(equal + 1, pair.len - name.len - 1)
			                       : sy_span(NULL, 0));
		len += end != NULL;
		text = sy_span(text.at + len, text.len - len);
	}
}

static enum wanted_result
rules_cookie(const struct match *match, struct scene *scene)
{
	struct rules_any any = { .match = match, .scene = scene };

	for (uint32_t i = 0; i < scene->request->n; i++)
		if (scene->request->field[i].id == FIELD_COOKIE)
			rules_pairs(&any, scene->request->field[i].value, ';');
	return rules_value_end(&any);
}

static struct sy_span
rules_query_of(struct sy_span path)
{
	const uint8_t *query = path.len ? memchr(path.at, '?', path.len) : NULL;

	return query ? sy_span(query + 1, path.len - (size_t)(query - path.at) - 1) : sy_span(NULL, 0);
}

static enum wanted_result
rules_query(const struct match *match, struct scene *scene)
{
	struct rules_any any = { .match = match, .scene = scene };

	rules_pairs(&any, rules_query_of(scene->request->path), '&');
	return rules_value_end(&any);
}

/* All of them match. */
static enum wanted_result
rules_each(const struct sy_blocks *matches, struct scene *scene,
           enum wanted_result (*one)(const struct match *match, struct scene *scene))
{
	const struct match *match = matches->at;
	enum wanted_result result = WANTED_MATCH;

	for (uint32_t i = 0; i < matches->n && result == WANTED_MATCH; i++)
		result = one(&match[i], scene);
	return result;
}

static enum wanted_result
rules_words(const struct wanted *words, struct sy_span text, struct scene *scene)
{
	if (!wanted_given(words))
		return WANTED_MATCH;
	return wanted_match(words, text.len ? text : sy_span(NULL, 0), &scene->captures);
}

/* Who asks, and how. */
static bool
rules_client(const struct rule *rule, const struct sy_facts *facts)
{
	if (rule->source.n && !sy_nets_have(&rule->source, &facts->client))
		return false;
	if (rule->source_not.n && sy_nets_have(&rule->source_not, &facts->client))
		return false;
	return rule->tls.index == RULE_TLS_ANY || (rule->tls.index == RULE_TLS_ON) == facts->secure;
}

/* The cheap ones first; the path last, so that \1 is of its pattern when it has one. */
static enum wanted_result
rules_match(const struct rule *rule, struct scene *scene)
{
	const struct sy_facts *facts = &scene->session->facts;
	enum wanted_result result;

	scene->captures.n = 0;
	if (!rules_client(rule, facts))
		return WANTED_OTHER;
	result = rules_words(rule->words.method, scene->request->method, scene);
	if (result == WANTED_MATCH)
		result = rules_words(rule->words.sni, facts->sni, scene);
	if (result == WANTED_MATCH)
		result = rules_words(rule->words.certificate, facts->certificate, scene);
	if (result == WANTED_MATCH)
		result = rules_each(&rule->header, scene, rules_header);
	if (result == WANTED_MATCH)
		result = rules_each(&rule->cookie, scene, rules_cookie);
	if (result == WANTED_MATCH)
		result = rules_each(&rule->query, scene, rules_query);
	if (result == WANTED_MATCH)
		result = rules_words(rule->words.host, facts->host, scene);
	if (result == WANTED_MATCH)
		result = rules_words(rule->words.path, scene->path, scene);
	return result;
}

const struct rule *
rules_find(const struct sy_blocks *rules, struct scene *scene, bool *gave_up)
{
	const struct rule *rule = rules->at;

	for (uint32_t i = 0; i < rules->n; i++) {
		enum wanted_result result = rules_match(&rule[i], scene);

		*gave_up = result == WANTED_GAVE_UP;
		if (result != WANTED_OTHER)
			return result == WANTED_MATCH ? &rule[i] : NULL;
	}
	scene->captures.n = 0;
	return NULL;
}

/* ---- compiling ---- */

static int
rules_matches_make(const char *what, struct sy_blocks *matches, struct sy_err *err)
{
	struct match *match = (struct match *)matches->at;

	for (uint32_t i = 0; i < matches->n; i++) {
		match[i].words = wanted_make(what, match[i].value, err);
		if (!match[i].words)
			return -1;
	}
	return 0;
}

static void
rules_matches_free(struct sy_blocks *matches)
{
	struct match *match = (struct match *)matches->at;

	for (uint32_t i = 0; i < matches->n; i++) {
		wanted_free(match[i].words);
		match[i].words = NULL;
	}
}

static int
rules_rewrites_make(struct sy_blocks *rewrites, struct sy_err *err)
{
	struct rewrite *rewrite = (struct rewrite *)rewrites->at;

	for (uint32_t i = 0; i < rewrites->n; i++) {
		if (rules_check_text("rewrite", rewrite[i].to, true, err) != 0)
			return -1;
		rewrite[i].pattern = pattern_make("rewrite", rewrite[i].from, err);
		if (!rewrite[i].pattern)
			return -1;
	}
	return 0;
}

/* A word that no path can be is a name that was forgotten: `rule { path /x pool web; }`. */
static int
rules_check_paths(const struct sy_list *paths, struct sy_err *err)
{
	for (uint32_t i = 0; i < paths->n; i++) {
		const char *word = paths->at[i] + (*paths->at[i] == '!');

		if (!strchr("/*~", *word))
			return sy_fail(err, "path: no path is %s: it begins with a slash, or the word with * or ~ (of "
			                    "several settings on one line each is name=value)", word);
	}
	return 0;
}

/* What the rule leads to must be one thing, and its texts must make sense. */
static int
rules_check(const struct rule *rule, struct sy_err *err)
{
	int ends = rule->deny + (rule->redirect != NULL) + rule->answers;

	if (ends > 1)
		return sy_fail(err, "rule: only one of deny, redirect and answer can be the answer");
	if (ends && rule->pool.index)
		return sy_fail(err, "rule: with deny, redirect or answer there is nothing that the pool could "
		                    "serve");
	if (rule->body.path && !rule->answers)
		return sy_fail(err, "rule: body is for answer STATUS; without it the servers answer");
	if (rule->redirect_status > 303 && rule->redirect_status != 307 && rule->redirect_status != 308)
		return sy_fail(err, "redirect-status: %u is no redirect; 301, 302, 303, 307 and 308 are",
		               rule->redirect_status);
	if (rule->redirect && rules_check_text("redirect", rule->redirect, true, err) != 0)
		return -1;
	return rule->set_host ? rules_check_text("set-host", rule->set_host, true, err) : 0;
}

static int
rules_make_one(struct rule *rule, struct sy_err *err)
{
	const struct { const char *what; struct sy_list list; struct wanted **words; } lists[] = {
		{ "host", rule->host, &rule->words.host },
		{ "method", rule->method, &rule->words.method },
		{ "path", rule->path, &rule->words.path },
		{ "sni", rule->sni, &rule->words.sni },
		{ "certificate", rule->certificate, &rule->words.certificate },
	};

	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		*lists[i].words = wanted_make(lists[i].what, lists[i].list, err);
		if (!*lists[i].words)
			return -1;
	}
	if (rules_check_paths(&rule->path, err) != 0 || rules_check(rule, err) != 0 ||
	    rules_matches_make("header", &rule->header, err) != 0 ||
	    rules_matches_make("cookie", &rule->cookie, err) != 0 ||
	    rules_matches_make("query", &rule->query, err) != 0 ||
	    rules_rewrites_make(&rule->rewrite, err) != 0 ||
	    changes_make("request-header", &rule->request_header, true, err) != 0 ||
	    changes_make("response-header", &rule->response_header, false, err) != 0)
		return -1;
	return 0;
}

int
rules_make(struct sy_blocks *rules, struct sy_err *err)
{
	struct rule *rule = (struct rule *)rules->at;

	for (uint32_t i = 0; i < rules->n; i++)
		if (rules_make_one(&rule[i], err) != 0)
			return -1;
	return 0;
}

void
rules_free(struct sy_blocks *rules)
{
	struct rule *rule = (struct rule *)rules->at;

	for (uint32_t i = 0; i < rules->n; i++) {
		struct rewrite *rewrite = (struct rewrite *)rule[i].rewrite.at;

		wanted_free(rule[i].words.host);
		wanted_free(rule[i].words.method);
		wanted_free(rule[i].words.path);
		wanted_free(rule[i].words.sni);
		wanted_free(rule[i].words.certificate);
		memset(&rule[i].words, 0, sizeof(rule[i].words));
		rules_matches_free(&rule[i].header);
		rules_matches_free(&rule[i].cookie);
		rules_matches_free(&rule[i].query);
		for (uint32_t k = 0; k < rule[i].rewrite.n; k++) {
			pattern_free(rewrite[k].pattern);
			rewrite[k].pattern = NULL;
		}
		changes_free(&rule[i].request_header);
		changes_free(&rule[i].response_header);
	}
}
