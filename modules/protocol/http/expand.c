/* Texts with variables, and what is changed by them: fields and paths. */
#include <stdlib.h>

#include "rules.h"

/* ---- variables ---- */

#define VARIABLES(X) \
	X(HOST, "host") X(PATH, "path") X(QUERY, "query") X(TARGET, "target") X(METHOD, "method") \
	X(SCHEME, "scheme") X(CLIENT, "client") X(PORT, "port") X(SERVICE, "service") \
	X(SERVER, "server") X(SNI, "sni") X(CERTIFICATE, "certificate")

enum variable {
#define VARIABLE_ENUM(id, name) VARIABLE_##id,
	VARIABLES(VARIABLE_ENUM)
#undef VARIABLE_ENUM
	VARIABLES_END
};

static const char *const variable_names[VARIABLES_END] = {
#define VARIABLE_NAME(id, name) name,
	VARIABLES(VARIABLE_NAME)
#undef VARIABLE_NAME
};

static size_t
variable_len(const char *text)
{
	return strspn(text, "abcdefghijklmnopqrstuvwxyz");
}

/* The longest name that the letters begin with: "%hostname" is %host and "name". VARIABLES_END: none. */
static enum variable
variable_find(const char *text, size_t *len)
{
	enum variable found = VARIABLES_END;

	*len = 0;
	for (unsigned i = 0; i < VARIABLES_END; i++) {
		size_t n = strlen(variable_names[i]);

		if (n > *len && strncmp(text, variable_names[i], n) == 0) {
			found = (enum variable)i;
			*len = n;
		}
	}
	return found;
}

static struct sy_span
expand_path(struct sy_span target, bool query)
{
	const uint8_t *mark = target.len ? memchr(target.at, '?', target.len) : NULL;
	size_t len = mark ? (size_t)(mark - target.at) : target.len;

	if (!query)
		return sy_span(target.at, len);
	return mark ? sy_span(mark + 1, target.len - len - 1) : sy_span(target.at, 0);
}

static void
expand_variable(struct out *out, enum variable variable, const struct sy_session *session)
{
	const struct sy_facts *facts = &session->facts;
	char addr[OUT_ADDR];

	switch (variable) {
	case VARIABLE_HOST: out_span(out, facts->host); break;
	case VARIABLE_PATH: out_span(out, expand_path(facts->path, false)); break;
	case VARIABLE_QUERY: out_span(out, expand_path(facts->path, true)); break;
	case VARIABLE_TARGET: out_span(out, facts->path); break;
	case VARIABLE_METHOD: out_span(out, facts->method); break;
	case VARIABLE_SCHEME: out_text(out, facts->secure ? "https" : "http"); break;
	case VARIABLE_CLIENT: out_text(out, addr_words(&facts->client, addr)); break;
	case VARIABLE_PORT: out_number(out, facts->service.port); break;
	case VARIABLE_SERVICE: out_text(out, session->service_name ? session->service_name : ""); break;
	case VARIABLE_SERVER: out_text(out, session->server_name ? session->server_name : ""); break;
	case VARIABLE_SNI: out_span(out, facts->sni); break;
	case VARIABLE_CERTIFICATE: out_span(out, facts->certificate); break;
	case VARIABLES_END: break;
	}
}

int
rules_check_text(const char *what, const char *text, bool captures, struct sy_err *err)
{
	size_t len;

	if (!span_is_value(sy_span_text(text)))
		return sy_fail(err, "%s: \"%s\" holds a control character", what, text);
	for (const char *at = text; *at; at++) {
		if (*at == '\\' && at[1] >= '0' && at[1] <= '9' && !captures)
			return sy_fail(err, "%s: \\%c is what a rule's pattern has found, and there is none here",
			               what, at[1]);
		if (*at != '%' || !variable_len(at + 1)) {
			at += *at == '%' && at[1] == '%';
			continue;
		}
		if (variable_find(at + 1, &len) == VARIABLES_END)
			return sy_fail(err, "%s: there is no variable %.*s; a percent sign is written %%%%", what,
			               (int)variable_len(at + 1) + 1, at);
		at += len;
	}
	return 0;
}

static void
expand(struct out *out, const char *text, const struct sy_session *session,
       const struct captures *captures)
{
	size_t len;

	for (const char *at = text; *at;) {
		if (*at == '\\' && at[1] >= '0' && at[1] <= '9') {
			if ((uint32_t)(at[1] - '0') < captures->n)
				out_span(out, captures->found[at[1] - '0']);
			at += 2;
		} else if (*at == '%' && at[1] == '%') {
			out_bytes(out, "%", 1);
			at += 2;
		} else if (*at == '%' && variable_len(at + 1)) {
			expand_variable(out, variable_find(at + 1, &len), session);
			at += 1 + len;
		} else {
			len = 1 + strcspn(at + 1, "\\%");
			out_bytes(out, at, len);
			at += len;
		}
	}
}

void
rules_expand(struct out *out, const char *text, const struct scene *scene)
{
	expand(out, text, scene->session, &scene->captures);
}

/* ---- fields ---- */

/* Fields that decide where a message ends, or that belong to one connection. */
static bool
change_forbidden(const char *name)
{
	static const char *const never[] = {
		"content-length", "transfer-encoding", "connection", "keep-alive", "te", "upgrade", "host",
	};

	for (unsigned i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (span_is(sy_span_text(name), never[i]))
			return true;
	return false;
}

static int
change_make(const char *what, struct change *change, bool captures, struct sy_err *err)
{
	enum change_what how = (enum change_what)change->what.index;

	if (!span_is_token(sy_span_text(change->name)))
		return sy_fail(err, "%s: \"%s\" can be no name of a field", what, change->name);
	if (change_forbidden(change->name))
		return sy_fail(err, "%s: %s cannot be changed%s", what, change->name,
		               span_is(sy_span_text(change->name), "host") ? "; set-host does that" : "");
	if (how != CHANGE_REMOVE && !change->value)
		return sy_fail(err, "%s: %s needs a value", what, change->name);
	if (how == CHANGE_REPLACE && !change->with)
		return sy_fail(err, "%s: replace %s needs a pattern and a text", what, change->name);
	if (how != CHANGE_REPLACE)
		return change->value ? rules_check_text(what, change->value, captures, err) : 0;
	if (rules_check_text(what, change->with, true, err) != 0)
		return -1;
	change->pattern = pattern_make(what, change->value, err);
	return change->pattern ? 0 : -1;
}

int
changes_make(const char *what, struct sy_blocks *changes, bool captures, struct sy_err *err)
{
	struct change *change = (struct change *)changes->at;

	for (uint32_t i = 0; i < changes->n; i++)
		if (change_make(what, &change[i], captures, err) != 0)
			return -1;
	return 0;
}

void
changes_free(struct sy_blocks *changes)
{
	struct change *change = (struct change *)changes->at;

	for (uint32_t i = 0; i < changes->n; i++) {
		pattern_free(change[i].pattern);
		change[i].pattern = NULL;
	}
}

/* The text with what the pattern finds replaced once. False: it finds nothing. */
static bool
change_replace(const struct pattern *pattern, const char *with, struct sy_span text, struct out *out,
               const struct scene *scene)
{
	struct captures captures = { .n = 0 };
	size_t before;

	if (pattern_match(pattern, text, &captures) != WANTED_MATCH)
		return false;
	before = (size_t)(captures.found[0].at - text.at);
	out_bytes(out, text.at, before);
	expand(out, with, scene->session, &captures);
	out_bytes(out, text.at + before + captures.found[0].len, text.len - before - captures.found[0].len);
	return true;
}

static void
change_values(const struct change *change, struct message *message, struct out *out,
              const struct scene *scene)
{
	for (uint32_t i = 0; i < message->n; i++) {
		struct field *field = &message->field[i];
		struct out value = { .at = NULL };

		if (field->gone || !span_is(field->name, change->name))
			continue;
		if (change_replace(change->pattern, change->with, field->value, &value, scene)) {
			field->gone = true;
			out_field(out, change->name, out_said(&value));
			out->failed = out->failed || value.failed;
		}
		out_free(&value);
	}
}

void
changes_apply(const struct sy_blocks *changes, struct message *message, struct out *out,
              const struct scene *scene)
{
	const struct change *change = changes->at;

	for (uint32_t i = 0; i < changes->n; i++, change++) {
		enum change_what how = (enum change_what)change->what.index;

		if (how == CHANGE_REPLACE) {
			change_values(change, message, out, scene);
			continue;
		}
		for (uint32_t k = 0; k < message->n && how != CHANGE_ADD; k++)
			if (span_is(message->field[k].name, change->name))
				message->field[k].gone = true;
		if (how == CHANGE_REMOVE)
			continue;
		out_text(out, change->name);
		out_bytes(out, ": ", 2);
		rules_expand(out, change->value, scene);
		out_bytes(out, "\r\n", 2);
	}
}

/* ---- paths ---- */

bool
rules_rewrite(const struct sy_blocks *rewrites, struct sy_span path, struct out *out,
              const struct scene *scene)
{
	const struct rewrite *rewrite = rewrites->at;
	struct sy_span plain = expand_path(path, false), query = expand_path(path, true);
	struct out one = { .at = NULL }, other = { .at = NULL };
	size_t begin = out->len;
	bool failed;

	out_span(&one, plain);
	for (uint32_t i = 0; i < rewrites->n; i++) {
		out_begin(&other, one.len + 1);
		if (change_replace(rewrite[i].pattern, rewrite[i].to, out_said(&one), &other, scene)) {
			struct out swap = one;

			one = other;
			other = swap;
		}
	}
	out_span(out, out_said(&one));
	if (query.len || plain.len < path.len) {
		out_bytes(out, memchr(one.at, '?', one.len) ? "&" : "?", 1);
		out_span(out, query);
	}
	failed = one.failed || other.failed;
	out_free(&one);
	out_free(&other);
	return !failed && !out->failed && out->at[begin] == '/' &&
	       span_is_target(sy_span(out->at + begin, out->len - begin));
}
