#include "conf/exchange_log.h"

#include <string.h>

#include "base/text.h"
#include "share/reasons.h"

static const struct sy_row rule_rows[] = {
	SY_ROW(struct exchange_rule, keep, "keep", .flags = SY_ARGUMENT | SY_REQUIRED,
	       .doc = "all, none, or 1/N: one in so many."),
	SY_ROW(struct exchange_rule, services, "services", .doc = "Of these virtual services."),
	SY_ROW(struct exchange_rule, servers, "servers", .doc = "That these servers had."),
	SY_ROW(struct exchange_rule, clients, "clients", .doc = "Of clients in these networks."),
	SY_ROW(struct exchange_rule, status, "status", .max = 999,
	       .doc = "That were answered so (200-399,404)."),
	SY_ROW(struct exchange_rule, ends, "ends",
	       .doc = "That ended for these reasons, by the names that the field end has "
		      "(client-done)."),
	SY_ROW(struct exchange_rule, slow, "slow", .max = 30 * SY_DAY,
	       .doc = "That lasted so long or longer."),
	SY_ROW_END
};

const struct sy_row exchange_log_rows[] = {
	SY_ROW(struct exchange_log, exchanges, "exchanges", .preset = "off",
	       .doc = "on: each exchange of a connection that carries several, one after the other, "
		      "has a line of its own when it ends, beside the connection's; those that go "
		      "side by side, as in HTTP/2, always have."),
	SY_ROW(struct exchange_log, format, "format",
	       .doc = "What a line looks like: text in which %name, or %{name}, stands for a field, "
		      "and %% for a percent sign. Nothing else is put on the line. A field without a "
		      "value is -; quotes, backslashes and what is not printable are escaped. The "
		      "fields are listed under EXCHANGE LOG. Without a format a line looks as "
		      "others do, with all fields that have a value."),
	SY_ROW(struct exchange_log, keep, "keep", .preset = "all",
	       .doc = "How many of those that no rule is about have a line: all, none, or 1/N, one in "
		      "so many. Errors have one in any case: those that ended for a reason that is "
		      "one (see steelyardctl api GET /v1/reasons), and answers from 500 on."),
	SY_ROWS_IN(struct exchange_log, rules, "rule", rule_rows, struct exchange_rule,
	       .doc = "How many of certain ones have a line; the first rule of which all conditions "
		      "are met decides."),
	SY_ROW_END
};

const char *const log_field_names[LOG_FIELDS_END + 1] = {
#define LOG_FIELD_NAME(name, doc) #name,
	LOG_FIELDS(LOG_FIELD_NAME)
#undef LOG_FIELD_NAME
};

/* ---- the format ---- */

/* The longest field that the letters begin with: "%clients" is %client and "s". -1: none. */
static int
format_find(const char *name, size_t len, bool whole)
{
	size_t best = 0;
	int found = -1;

	for (int i = 0; i < LOG_FIELDS_END; i++) {
		size_t n = strlen(log_field_names[i]);

		if (n > best && n <= len && memcmp(name, log_field_names[i], n) == 0 &&
		    (!whole || n == len)) {
			best = n;
			found = i;
		}
	}
	return found;
}

static int
format_unknown(const char *name, size_t len, struct sy_err *err)
{
	char word[64];
	const char *near;

	if (len >= sizeof(word))
		len = sizeof(word) - 1;
	memcpy(word, name, len);
	word[len] = '\0';
	near = text_nearest(word, log_field_names);
	return sy_fail(err, "format: there is no field %%%s%s%s%s; a percent sign is written %%%%", word,
	               near ? "; did you mean %" : "", near ? near : "", near ? "?" : "");
}

/* The field at *at, which is behind a percent sign and moved on. -1 with err. */
static int
format_field(const char **at, struct sy_err *err)
{
	bool braces = **at == '{';
	const char *name = *at + braces;
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz_");
	int field = format_find(name, len, braces);

	if (braces && name[len] != '}')
		return sy_fail(err, "format: %%{ without a field and }");
	if (len == 0)
		return sy_fail(err, "format: a percent sign that is meant as such is written %%%%");
	if (field < 0)
		return format_unknown(name, len, err);
	*at = braces ? name + len + 1 : name + strlen(log_field_names[field]);
	return field;
}

static int
format_bind(struct arena *arena, struct exchange_log *log, struct sy_err *err)
{
	struct log_piece *pieces;
	uint32_t n = 1;

	if (!*log->format || strpbrk(log->format, "\r\n"))
		return sy_fail(err, "format: one line is expected, and not an empty one");
	for (const char *at = log->format; *at; at++)
		n += *at == '%';
	log->pieces = pieces = arena_array(arena, struct log_piece, n);
	log->n_pieces = 0;
	for (const char *at = log->format; *at;) {
		struct log_piece *piece = &pieces[log->n_pieces++];
		size_t len = strcspn(at, "%");

		*piece = (struct log_piece){ .text = sy_span(at, len), .field = -1 };
		at += len;
		if (!*at)
			break;
		if (*++at == '%') {
			piece->text.len++; /* the percent sign before */
			at++;
			continue;
		}
		piece->field = format_field(&at, err);
		if (piece->field < 0)
			return -1;
	}
	return 0;
}

/* ---- rules ---- */

static int
keep_bind(const char *keep, uint32_t *one_in, struct sy_err *err)
{
	uint64_t n;

	if (strcmp(keep, "all") == 0 || strcmp(keep, "none") == 0) {
		*one_in = keep[0] == 'a';
		return 0;
	}
	if (strncmp(keep, "1/", 2) != 0 || !uint_parse(keep + 2, &n) || n < 1 || n > 1000000000)
		return sy_fail(err, "keep %s: all, none, or 1/N is expected (1/100: one in a hundred)", keep);
	*one_in = (uint32_t)n;
	return 0;
}

static int
ends_check(const struct sy_list *ends, struct sy_err *err)
{
	const char *names[REASONS_END + 1] = { EXCHANGE_DONE };

	for (unsigned i = 1; i < REASONS_END; i++)
		names[i] = reason_rows[i].name;
	names[REASONS_END] = NULL;
	for (uint32_t i = 0; i < ends->n; i++) {
		const char *near;
		unsigned k = 0;

		while (names[k] && strcmp(names[k], ends->at[i]) != 0)
			k++;
		if (names[k])
			continue;
		near = text_nearest(ends->at[i], names);
		return sy_fail(err, "ends %s: nothing ends for that reason%s%s%s", ends->at[i],
		               near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	}
	return 0;
}

int
exchange_log_bind(struct arena *arena, struct exchange_log *log, struct sy_err *err)
{
	/* Of this arena, and nobody has seen it yet. */
	struct exchange_rule *rules = (struct exchange_rule *)log->rules.at;

	if (keep_bind(log->keep, &log->one_in, err) != 0)
		return -1;
	for (uint32_t i = 0; i < log->rules.n; i++)
		if (keep_bind(rules[i].keep, &rules[i].one_in, err) != 0 ||
		    ends_check(&rules[i].ends, err) != 0)
			return -1;
	return log->format ? format_bind(arena, log, err) : 0;
}

static bool
rule_names(const struct sy_list *list, const char *name)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (name && strcmp(list->at[i], name) == 0)
			return true;
	return list->n == 0;
}

static bool
rule_status(const struct sy_ranges *ranges, uint32_t status)
{
	for (uint32_t i = 0; i < ranges->n; i++)
		if (status >= ranges->at[i].from && status <= ranges->at[i].to)
			return true;
	return ranges->n == 0;
}

static bool
rule_fits(const struct exchange_rule *rule, const struct exchange_end *end)
{
	return rule_names(&rule->services, end->service) && rule_names(&rule->servers, end->server) &&
	       rule_names(&rule->ends, end->end) && rule_status(&rule->status, end->status) &&
	       end->ms >= rule->slow.ms &&
	       (rule->clients.n == 0 || sy_nets_have(&rule->clients, end->client));
}

uint32_t
exchange_log_keep(const struct exchange_log *log, const struct exchange_end *end)
{
	const struct exchange_rule *rules = log->rules.at;

	if (end->error || end->status >= 500)
		return 1;
	for (uint32_t i = 0; i < log->rules.n; i++)
		if (rule_fits(&rules[i], end))
			return rules[i].one_in;
	return log->one_in;
}
