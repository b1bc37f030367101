/* HAProxy: frontend, backend and listen sections with the defaults that hold for them. A frontend and its
 * default_backend become one service. Rules that look into requests have no equal, and are reported. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "ctl/import_haproxy.h"

/* ---- words ---- */

/* Cuts in place: blanks separate, quotes and backslashes join, # ends. */
void
ha_cut(struct ha_line *line, char *at)
{
	line->n = 0;
	while (*at && line->n < HAPROXY_WORDS) {
		char quote = 0, *to;

		while (*at == ' ' || *at == '\t' || *at == '\r')
			at++;
		if (!*at || *at == '#')
			break;
		line->word[line->n++] = to = at;
		for (; *at && (quote || (*at != ' ' && *at != '\t' && *at != '\r' && *at != '#')); at++) {
			if (quote ? *at == quote : *at == '"' || *at == '\'')
				quote = quote ? 0 : *at;
			else if (*at == '\\' && at[1] && quote != '\'')
				*to++ = *++at;
			else
				*to++ = *at;
		}
		if (*at && *at != '#')
			at++;
		else
			*at = '\0';
		*to = '\0';
	}
	line->word[line->n] = NULL;
}

bool
ha_is(const struct ha_line *line, unsigned i, const char *word)
{
	return i < line->n && strcmp(line->word[i], word) == 0;
}

/* 5000, 5s, 10m: a bare number is milliseconds. */
unsigned long
ha_time(const char *text)
{
	static const struct { const char *unit; double ms; } units[] = {
		{ "us", 0.001 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};
	char *end;
	double n = text ? strtod(text, &end) : 0;

	if (!text || n < 0 || n > 1e9)
		return 0;
	for (unsigned i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (strcmp(end, units[i].unit) == 0)
			n *= units[i].ms;
	return n < 1 && n > 0 ? 1 : n > 28.0 * 86400000 ? 28ul * 86400000 : (unsigned long)n;
}

void
ha_lost(struct ha *ha, unsigned number, const char *format, ...)
{
	char where[IMPORT_WORD], words[400];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	if (ha->now)
		snprintf(where, sizeof(where), "line %u, %.10s %.100s", number, ha->now->kind, ha->now->name);
	else
		snprintf(where, sizeof(where), "line %u", number);
	import_lost(ha->import, where, "%s", words);
}

void
ha_lost_line(struct ha *ha, const struct ha_line *line)
{
	char text[300] = "";
	size_t used = 0;

	for (unsigned i = 0; i < line->n && used < sizeof(text) - 1; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "", line->word[i]);
	ha_lost(ha, line->number, "%s", text);
}

/* ---- lines of a section, or of defaults ---- */

static void
ha_keep(char ***list, unsigned **numbers, unsigned *n, const char *text, unsigned number)
{
	*list = must_realloc(*list, (*n + 1) * sizeof(**list));
	*numbers = must_realloc(*numbers, (*n + 1) * sizeof(**numbers));
	(*list)[*n] = strdup(text);
	must((*list)[*n]);
	(*numbers)[(*n)++] = number;
}

static bool
ha_timeout(struct ha_settings *settings, const struct ha_line *line)
{
	unsigned long ms = line->n > 2 ? ha_time(line->word[2]) : 0;

	if (ha_is(line, 1, "client"))
		settings->client_ms = ms;
	else if (ha_is(line, 1, "server"))
		settings->server_ms = ms;
	else if (ha_is(line, 1, "tunnel"))
		settings->tunnel_ms = ms;
	else if (ha_is(line, 1, "connect"))
		settings->connect_ms = ms;
	else if (ha_is(line, 1, "check"))
		settings->check_ms = ms;
	else if (ha_is(line, 1, "http-request"))
		settings->header_ms = ms;
	else if (ha_is(line, 1, "http-keep-alive"))
		settings->keepalive_ms = ms;
	else
		return ha_is(line, 1, "queue") || ha_is(line, 1, "client-fin") || ha_is(line, 1, "server-fin");
	return true;
}

static bool
ha_option(struct ha_settings *settings, const struct ha_line *line)
{
	/* What is so here anyway, or concerns logs. */
	static const char *const same[] = { "tcplog", "httplog", "dontlognull", "dontlog-normal", "redispatch",
		"tcpka", "clitcpka", "srvtcpka", "log-health-checks", "logasap", "log-separate-errors",
		"tcp-smart-accept", "tcp-smart-connect", "splice-auto", "splice-request", "splice-response",
		"contstats", "socket-stats", "forwardfor", "http-keep-alive", "http-server-close", "nolinger", "abortonclose", NULL };

	for (unsigned i = 0; same[i]; i++)
		if (ha_is(line, 1, same[i]))
			return true;
	if (ha_is(line, 1, "httpchk")) {
		const char *first = line->n > 2 ? line->word[2] : "", *path = line->n > 3 ? line->word[3] : first;

		settings->http_check = true;
		settings->check.head = line->n <= 3 || strcmp(first, "GET") != 0;
		if (line->n > 3 && strcmp(first, "GET") != 0 && strcmp(first, "HEAD") != 0)
			settings->check.head = false;
		import_word(settings->check.path, IMPORT_WORD, *path == '/' ? path : "/");
		return true;
	}
	if (ha_is(line, 1, "ssl-hello-chk"))
		return settings->tls_check = true;
	if (ha_is(line, 1, "smtpchk"))
		import_word(settings->check.expect, IMPORT_WORD, "220");
	return ha_is(line, 1, "smtpchk") || ha_is(line, 1, "tcp-check");
}

static bool
ha_http_check(struct ha_settings *settings, const struct ha_line *line)
{
	if (ha_is(line, 1, "expect") && ha_is(line, 2, "status") && line->n == 4)
		import_word(settings->check.status, IMPORT_WORD, line->word[3]);
	else if (ha_is(line, 1, "expect") && ha_is(line, 2, "string") && line->n == 4) {
		import_word(settings->check.contains, IMPORT_WORD, line->word[3]);
		settings->check.head = false;
	} else if (ha_is(line, 1, "send")) {
		for (unsigned i = 2; i + 1 < line->n; i++) {
			if (ha_is(line, i, "uri"))
				import_word(settings->check.path, IMPORT_WORD, line->word[++i]);
			else if (ha_is(line, i, "meth"))
				settings->check.head = strcmp(line->word[++i], "HEAD") == 0;
			else if (ha_is(line, i, "hdr") && i + 2 < line->n &&
				 (ha_is(line, i + 1, "Host") || ha_is(line, i + 1, "host"))) {
				import_word(settings->check.host, IMPORT_WORD, line->word[i + 2]);
				i += 2;
			}
		}
	} else {
		return false;
	}
	return true;
}

static bool
ha_stick(struct ha_settings *settings, const struct ha_line *line)
{
	if (ha_is(line, 0, "stick-table")) {
		for (unsigned i = 1; i + 1 < line->n; i++)
			if (ha_is(line, i, "expire"))
				settings->persist_ms = ha_time(line->word[i + 1]);
		return true;
	}
	settings->persist = ha_is(line, 1, "on") && ha_is(line, 2, "src") && line->n == 3;
	return settings->persist;
}

/* A cookie that the balancer sets; one of the servers' own is another matter. */
static bool
ha_cookie(struct ha_settings *settings, const struct ha_line *line)
{
	for (unsigned i = 2; i < line->n; i++)
		if (ha_is(line, i, "insert"))
			import_word(settings->cookie, sizeof(settings->cookie), line->word[1]);
	return *settings->cookie != 0;
}

/* Transparent, or an address of this machine; its port is always free to choose here. */
static bool
ha_source(struct ha_settings *settings, const struct ha_line *line)
{
	settings->transparent = ha_is(line, 2, "usesrc");
	if (settings->transparent || line->n != 2 || !import_is_address(line->word[1]) ||
	    strchr(line->word[1], ':'))
		return settings->transparent;
	import_word(settings->source, sizeof(settings->source), line->word[1]);
	return true;
}

/* Settings that defaults may have, too. False: not known here. */
static bool
ha_setting(struct ha_settings *settings, const struct ha_line *line)
{
	/* Without a meaning here, or so in any case. */
	static const char *const passed[] = { "log", "retries", "description", "id", "unique-id-format",
		"log-format", "log-tag", "fullconn", "bind-process", "backlog", "hash-type", "grace",
		"load-server-state-from-file", "email-alert", NULL };
	const char *name = line->word[0];
	uint64_t n;

	for (unsigned i = 0; passed[i]; i++)
		if (strcmp(name, passed[i]) == 0)
			return true;
	if (strcmp(name, "mode") == 0 && line->n > 1)
		import_word(settings->mode, sizeof(settings->mode), line->word[1]);
	else if (strcmp(name, "balance") == 0 && line->n > 1)
		import_word(settings->balance, sizeof(settings->balance), line->word[1]);
	else if (strcmp(name, "timeout") == 0)
		return ha_timeout(settings, line);
	else if (strcmp(name, "option") == 0)
		return ha_option(settings, line);
	else if (strcmp(name, "http-check") == 0)
		return ha_http_check(settings, line);
	else if (strncmp(name, "stick", 5) == 0)
		return ha_stick(settings, line);
	else if (strcmp(name, "cookie") == 0)
		return ha_cookie(settings, line);
	else if (strcmp(name, "default-server") == 0)
		import_word(settings->default_server, sizeof(settings->default_server), line->raw);
	else if (strcmp(name, "source") == 0)
		return ha_source(settings, line);
	else if (strcmp(name, "maxconn") == 0 && line->n > 1 && uint_parse(line->word[1], &n))
		settings->limit = (unsigned long)n;
	else
		return false;
	return true;
}

static void
ha_statement(struct ha *ha, const struct ha_line *line)
{
	struct ha_section *section = ha->now;

	if (ha->in_defaults) {
		if (!ha_setting(&ha->defaults[ha->n_defaults - 1].settings, line))
			ha_lost_line(ha, line);
		return;
	}
	if (strcmp(line->word[0], "bind") == 0)
		ha_keep(&section->binds, &section->bind_lines, &section->n_binds, line->raw, line->number);
	else if (strcmp(line->word[0], "server") == 0 && section->n_servers < HAPROXY_SERVERS)
		ha_keep(&section->servers, &section->server_lines, &section->n_servers, line->raw, line->number);
	else if ((strcmp(line->word[0], "acl") == 0 || strcmp(line->word[0], "use_backend") == 0) &&
		 strcmp(section->kind, "backend") != 0)
		ha_keep(&section->rules, &section->rule_lines, &section->n_rules, line->raw, line->number);
	else if (strcmp(line->word[0], "default_backend") == 0 && line->n > 1)
		import_word(section->default_backend, IMPORT_WORD, line->word[1]);
	else if (strcmp(line->word[0], "disabled") == 0)
		section->off = true;
	else if (strcmp(line->word[0], "enabled") == 0)
		section->off = false;
	else if (!ha_setting(&section->settings, line))
		ha_lost_line(ha, line);
}

/* The settings that a section begins with: those of the last defaults, or of the one that it names. */
static struct ha_settings
ha_inherited(struct ha *ha, const struct ha_line *line)
{
	for (unsigned i = 1; i + 1 < line->n; i++) {
		if (!ha_is(line, i, "from"))
			continue;
		for (unsigned j = ha->n_defaults; j-- > 0;)
			if (strcmp(ha->defaults[j].name, line->word[i + 1]) == 0)
				return ha->defaults[j].settings;
		ha_lost(ha, line->number, "from %s: there are no such defaults before it", line->word[i + 1]);
	}
	return ha->n_defaults ? ha->defaults[ha->n_defaults - 1].settings : (struct ha_settings){ .mode = "tcp" };
}

/* frontend, backend, listen; in old files with an address behind the name. */
static void
ha_begin_section(struct ha *ha, const struct ha_line *line)
{
	struct ha_settings settings = ha_inherited(ha, line);
	struct ha_section *section;

	ha->sections = must_realloc(ha->sections, (ha->n_sections + 1) * sizeof(*section));
	section = ha->now = &ha->sections[ha->n_sections++];
	*section = (struct ha_section){ .number = line->number, .settings = settings };
	import_word(section->kind, sizeof(section->kind), line->word[0]);
	import_word(section->name, IMPORT_WORD, line->n > 1 ? line->word[1] : "");
	ha->in_defaults = ha->passing = false;
	if (line->n == 3 && strchr(line->word[2], ':')) {
		char bind[IMPORT_WORD];

		snprintf(bind, sizeof(bind), "bind %.240s", line->word[2]);
		ha_keep(&section->binds, &section->bind_lines, &section->n_binds, bind, line->number);
	}
}

static void
ha_begin_defaults(struct ha *ha, const struct ha_line *line)
{
	struct ha_settings settings = { .mode = "tcp" };

	for (unsigned i = 1; i < line->n; i++)
		if (ha_is(line, i, "from"))
			settings = ha_inherited(ha, line);
	ha->defaults = must_realloc(ha->defaults, (ha->n_defaults + 1) * sizeof(*ha->defaults));
	ha->defaults[ha->n_defaults] = (struct ha_defaults){ .settings = settings };
	import_word(ha->defaults[ha->n_defaults++].name, IMPORT_WORD, line->n > 1 ? line->word[1] : "");
	ha->now = NULL;
	ha->in_defaults = true;
	ha->passing = false;
}

/* A line that begins a section. */
static bool
ha_begin(struct ha *ha, const struct ha_line *line)
{
	static const char *const others[] = { "global", "peers", "resolvers", "userlist", "mailers", "program",
		"cache", "http-errors", "ring", "log-forward", "fcgi-app", "crt-list", "crt-store", "traces", NULL };
	const char *name = line->word[0];

	if (strcmp(name, "frontend") == 0 || strcmp(name, "backend") == 0 || strcmp(name, "listen") == 0) {
		ha_begin_section(ha, line);
		return true;
	}
	if (strcmp(name, "defaults") == 0) {
		ha_begin_defaults(ha, line);
		return true;
	}
	for (unsigned i = 0; others[i]; i++) {
		if (strcmp(name, others[i]) != 0)
			continue;
		ha->now = NULL;
		ha->in_defaults = false;
		ha->passing = true;
		if (i > 0)
			ha_lost(ha, line->number, "section %s", name);
		return true;
	}
	return false;
}

static void
ha_free(struct ha *ha)
{
	for (unsigned i = 0; i < ha->n_sections; i++) {
		struct ha_section *section = &ha->sections[i];

		for (unsigned j = 0; j < section->n_binds; j++)
			free(section->binds[j]);
		for (unsigned j = 0; j < section->n_servers; j++)
			free(section->servers[j]);
		for (unsigned j = 0; j < section->n_rules; j++)
			free(section->rules[j]);
		free(section->rules);
		free(section->rule_lines);
		free(section->binds);
		free(section->bind_lines);
		free(section->servers);
		free(section->server_lines);
	}
	free(ha->sections);
	free(ha->defaults);
}

int
import_haproxy(struct import *import, const char *text)
{
	struct ha ha = { .import = import, .passing = true };
	unsigned number = 0;

	for (const char *at = text; *at;) {
		size_t len = strcspn(at, "\n");
		char *raw = strndup(at, len), *copy = strndup(at, len);
		struct ha_line line = { .number = ++number, .raw = raw };

		must(raw && copy);
		ha_cut(&line, copy);
		if (line.n && !ha_begin(&ha, &line) && !ha.passing)
			ha_statement(&ha, &line);
		free(raw);
		free(copy);
		at += len + (at[len] == '\n');
	}
	for (unsigned i = 0; i < ha.n_sections; i++)
		if (strcmp(ha.sections[i].kind, "backend") != 0)
			ha_service(&ha, &ha.sections[i]);
	if (!ha.n_sections)
		text_printf(&import->problem, "%s: no frontend, backend or listen in it", import->file);
	ha_free(&ha);
	return ha.n_sections ? 0 : -1;
}
