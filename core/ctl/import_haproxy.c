/* HAProxy: frontend, backend and listen sections with the defaults that hold for them. A frontend and its
 * default_backend become one service. Rules that look into requests have no equal, and are reported. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "ctl/import.h"

enum {
	HAPROXY_WORDS = 64,
	HAPROXY_SERVERS = 1024,
};

/* A line, cut into words. */
struct ha_line {
	unsigned number, n;
	char *word[HAPROXY_WORDS + 1]; /* NULL at the end */
};

/* What defaults can set, and a section inherits. */
struct ha_settings {
	char mode[16], balance[32];
	unsigned long client_ms, server_ms, tunnel_ms, connect_ms, check_ms;
	struct import_check check;
	bool http_check, tls_check;
	unsigned long inter_ms;
	unsigned rise, fall;
	bool transparent, persist;
	char cookie[IMPORT_NAME];
	unsigned long persist_ms;
	unsigned long limit;
};

struct ha_section {
	char kind[16];            /* frontend, backend, listen */
	char name[IMPORT_WORD];
	unsigned number;
	struct ha_settings settings;
	char default_backend[IMPORT_WORD];
	bool off;
	char **binds;             /* lines "bind ..." as they are, and "server ..." */
	unsigned *bind_lines;
	unsigned n_binds;
	char **servers;
	unsigned *server_lines;
	unsigned n_servers;
	char default_server[512];
};

struct ha {
	struct import *import;
	struct ha_settings defaults;
	struct ha_section *sections;
	unsigned n_sections;
	struct ha_section *now;   /* NULL: defaults, or a section that is passed over */
	bool in_defaults, passing;
};

/* ---- words ---- */

/* Cuts in place: blanks separate, quotes and backslashes join, # ends. */
static void
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

static bool
ha_is(const struct ha_line *line, unsigned i, const char *word)
{
	return i < line->n && strcmp(line->word[i], word) == 0;
}

/* 5000, 5s, 10m: a bare number is milliseconds. */
static unsigned long
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

__attribute__((format(printf, 3, 4))) static void
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

static void
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
	else if (strcmp(name, "source") == 0)
		return settings->transparent = ha_is(line, 2, "usesrc");
	else if (strcmp(name, "maxconn") == 0 && line->n > 1 && uint_parse(line->word[1], &n))
		settings->limit = (unsigned long)n;
	else
		return false;
	return true;
}

static void
ha_statement(struct ha *ha, const struct ha_line *line, const char *raw)
{
	struct ha_section *section = ha->now;

	if (ha->in_defaults) {
		if (strcmp(line->word[0], "default-server") != 0 && ha_setting(&ha->defaults, line))
			return;
		ha_lost_line(ha, line);
		return;
	}
	if (strcmp(line->word[0], "bind") == 0)
		ha_keep(&section->binds, &section->bind_lines, &section->n_binds, raw, line->number);
	else if (strcmp(line->word[0], "server") == 0 && section->n_servers < HAPROXY_SERVERS)
		ha_keep(&section->servers, &section->server_lines, &section->n_servers, raw, line->number);
	else if (strcmp(line->word[0], "default-server") == 0)
		import_word(section->default_server, sizeof(section->default_server), raw);
	else if (strcmp(line->word[0], "default_backend") == 0 && line->n > 1)
		import_word(section->default_backend, IMPORT_WORD, line->word[1]);
	else if (strcmp(line->word[0], "disabled") == 0)
		section->off = true;
	else if (strcmp(line->word[0], "enabled") == 0)
		section->off = false;
	else if (!ha_setting(&section->settings, line))
		ha_lost_line(ha, line);
}

/* A line that begins a section. */
static bool
ha_begin(struct ha *ha, const struct ha_line *line)
{
	static const char *const others[] = { "global", "peers", "resolvers", "userlist", "mailers", "program",
		"cache", "http-errors", "ring", "log-forward", "fcgi-app", "crt-list", "crt-store", "traces", NULL };
	const char *name = line->word[0];
	struct ha_section *section;

	if (strcmp(name, "frontend") == 0 || strcmp(name, "backend") == 0 || strcmp(name, "listen") == 0) {
		ha->sections = must_realloc(ha->sections, (ha->n_sections + 1) * sizeof(*section));
		section = ha->now = &ha->sections[ha->n_sections++];
		*section = (struct ha_section){ .number = line->number, .settings = ha->defaults };
		import_word(section->kind, sizeof(section->kind), name);
		import_word(section->name, IMPORT_WORD, line->n > 1 ? line->word[1] : "");
		ha->in_defaults = ha->passing = false;
		return true;
	}
	if (strcmp(name, "defaults") == 0) {
		ha->now = NULL;
		ha->in_defaults = true;
		ha->passing = false;
		ha->defaults = (struct ha_settings){ .mode = "tcp" };
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

/* ---- sections become services ---- */

static void
ha_bind(struct ha *ha, struct import_service *service, char *text, unsigned number)
{
	struct ha_line line = { .number = number };
	char *save = NULL;

	ha_cut(&line, text);
	for (unsigned i = 2; i < line.n; i++) {
		if (ha_is(&line, i, "ssl"))
			service->tls_ends = true;
		else if (ha_is(&line, i, "crt") && i + 1 < line.n)
			import_word(service->tls_certificate, IMPORT_WORD, line.word[++i]);
		else if (ha_is(&line, i, "accept-proxy"))
			ha_lost(ha, number, "accept-proxy: say from whom with accept-proxy-from");
		else if (ha_is(&line, i, "name") || ha_is(&line, i, "alpn") || ha_is(&line, i, "maxconn") ||
			 ha_is(&line, i, "process") || ha_is(&line, i, "thread") || ha_is(&line, i, "tcp-ut"))
			i++;
		else if (!ha_is(&line, i, "transparent") && !ha_is(&line, i, "v4v6") &&
			 !ha_is(&line, i, "v6only") && !ha_is(&line, i, "tfo"))
			ha_lost(ha, number, "bind: %s", line.word[i]);
	}
	for (char *word = line.n > 1 ? strtok_r(line.word[1], ",", &save) : NULL; word;
	     word = strtok_r(NULL, ",", &save)) {
		const char *at = strncmp(word, "ipv4@", 5) == 0 || strncmp(word, "ipv6@", 5) == 0 ? word + 5 : word;
		const char *colon = strrchr(at, ':');

		if (!colon || !colon[1] || strchr(at, '@') || strchr(at, '/') || !isdigit((unsigned char)colon[1]))
			ha_lost(ha, number, "bind %s", word);
		else if (strncmp(at, ":::", 3) == 0)
			text_printf(&service->listens, "%s[::]:%s", service->listens.len ? " " : "", colon + 1);
		else
			text_printf(&service->listens, "%s%s%s", service->listens.len ? " " : "",
				    colon == at ? "*" : "", at);
	}
}

/* One option of a server line, or of default-server. Returns how many words it took; 0: not known. */
static unsigned
ha_server_option(struct import_service *service, struct import_server *server, const struct ha_line *line,
		 unsigned i, struct ha_settings *settings, bool *checked)
{
	static const char *const passed[] = { "cookie", "id", "observe", "error-limit", "on-error", "slowstart",
		"init-addr", "resolvers", "namespace", "fastinter", "downinter", "maxqueue", "minconn",
		"pool-max-conn", "alpn", "ciphers", "track", NULL };
	const char *value = i + 1 < line->n ? line->word[i + 1] : "";
	uint64_t n = 0;

	(void)uint_parse(value, &n);
	if (ha_is(line, i, "check"))
		return *checked = true;
	if (ha_is(line, i, "backup"))
		return server->sorry = true;
	if (ha_is(line, i, "disabled"))
		return server->off = true;
	if (ha_is(line, i, "ssl"))
		return service->tls_servers = true;
	if (ha_is(line, i, "check-ssl"))
		return settings->tls_check = true;
	if (ha_is(line, i, "send-proxy") || ha_is(line, i, "send-proxy-v2")) {
		import_word(service->send_proxy, sizeof(service->send_proxy), line->word[i][10] ? "v2" : "v1");
		return 1;
	}
	if (ha_is(line, i, "no-check") || ha_is(line, i, "enabled") || ha_is(line, i, "non-stick"))
		return 1;
	if (i + 1 >= line->n)
		return 0;
	if (ha_is(line, i, "weight"))
		server->weight = (long)(n > 256 ? 256 : n);
	else if (ha_is(line, i, "maxconn"))
		server->limit = (long)n;
	else if (ha_is(line, i, "port"))
		snprintf(settings->check.port, sizeof(settings->check.port), "%.5s", value);
	else if (ha_is(line, i, "inter"))
		settings->inter_ms = ha_time(value);
	else if (ha_is(line, i, "rise"))
		settings->rise = (unsigned)n;
	else if (ha_is(line, i, "fall"))
		settings->fall = (unsigned)n;
	else if (ha_is(line, i, "verify"))
		service->tls_verify = strcmp(value, "required") == 0;
	else if (ha_is(line, i, "ca-file"))
		import_word(service->tls_ca, IMPORT_WORD, value);
	else if (ha_is(line, i, "on-marked-down"))
		service->keep = strcmp(value, "shutdown-sessions") != 0;
	else {
		for (unsigned j = 0; passed[j]; j++)
			if (ha_is(line, i, passed[j]))
				return 2;
		return 0;
	}
	return 2;
}

static void
ha_server_options(struct ha *ha, struct import_service *service, struct import_server *server,
		  const struct ha_line *line, unsigned from, struct ha_settings *settings, bool *checked)
{
	for (unsigned i = from; i < line->n;) {
		unsigned took = ha_server_option(service, server, line, i, settings, checked);

		if (!took)
			ha_lost(ha, line->number, "server option %s", line->word[i]);
		i += took ? took : 1;
	}
}

static void
ha_server(struct ha *ha, const struct ha_section *section, struct import_service *service, char *text,
	  unsigned number, struct ha_settings *settings, bool *checked)
{
	struct ha_line line = { .number = number }, preset = { .number = number };
	struct import_server *server;
	char *defaults = strdup(section->default_server);

	must(defaults);
	ha_cut(&line, text);
	ha_cut(&preset, defaults);
	if (line.n < 3 || strchr(line.word[2], '@') || strchr(line.word[2], '/')) {
		ha_lost_line(ha, &line);
		free(defaults);
		return;
	}
	server = import_server(service, line.word[1]);
	import_word(server->address, IMPORT_WORD, line.word[2]);
	ha_server_options(ha, service, server, &preset, 1, settings, checked);
	ha_server_options(ha, service, server, &line, 3, settings, checked);
	free(defaults);
}

static void
ha_balance(struct ha *ha, struct import_service *service, const struct ha_settings *settings)
{
	static const struct { const char *there, *here; } known[] = {
		{ "", "round-robin" }, { "roundrobin", "round-robin" }, { "static-rr", "round-robin" },
		{ "leastconn", "least-connections" }, { "source", "source-hash" }, { "first", "priority" },
		{ "random", "random-two" },
	};

	for (unsigned i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (strcmp(settings->balance, known[i].there) == 0) {
			import_word(service->scheduler, sizeof(service->scheduler), known[i].here);
			return;
		}
	}
	import_lost(ha->import, service->where, "balance %s has no equal: least-connections is used",
		    settings->balance);
}

static void
ha_check(struct import_service *service, const struct ha_settings *settings)
{
	struct import_check *check = &service->check;

	*check = settings->check;
	import_word(check->kind, sizeof(check->kind), settings->tls_check || service->tls_servers
		    ? settings->http_check ? "https" : "tls" : settings->http_check ? "http" : "tcp");
	/* Its defaults: every 2 s, three bad, two good. */
	check->interval_ms = settings->inter_ms ? settings->inter_ms : 2000;
	check->interval_ms = check->interval_ms < 100 ? 100 : check->interval_ms;
	check->timeout_ms = settings->check_ms < 10 ? 0 : settings->check_ms;
	check->rise = settings->rise ? settings->rise : 2;
	check->fall = settings->fall ? settings->fall : 3;
}

static const struct ha_section *
ha_backend(const struct ha *ha, const char *name)
{
	for (unsigned i = 0; i < ha->n_sections; i++)
		if (strcmp(ha->sections[i].kind, "frontend") != 0 && strcmp(ha->sections[i].name, name) == 0)
			return &ha->sections[i];
	return NULL;
}

static void
ha_service(struct ha *ha, struct ha_section *front)
{
	const struct ha_section *back = *front->default_backend ? ha_backend(ha, front->default_backend) : front;
	struct import_service *service;
	struct ha_settings settings;
	bool checked = false;

	ha->now = front;
	if (!back || (back == front && strcmp(front->kind, "frontend") == 0)) {
		ha_lost(ha, front->number, *front->default_backend ? "its default_backend %s is not in the file"
			: "it has no default_backend%s: services are not chosen by rules here",
			front->default_backend);
		return;
	}
	settings = back->settings;
	service = import_service(ha->import, front->name);
	snprintf(service->where, sizeof(service->where), "line %u, %.10s %.100s", front->number, front->kind,
		 front->name);
	for (unsigned i = 0; i < front->n_binds; i++)
		ha_bind(ha, service, front->binds[i], front->bind_lines[i]);
	for (unsigned i = 0; i < back->n_servers; i++) {
		char *copy = strdup(back->servers[i]);

		must(copy);
		ha_server(ha, back, service, copy, back->server_lines[i], &settings, &checked);
		free(copy);
	}
	ha_balance(ha, service, &settings);
	if (checked)
		ha_check(service, &settings);
	service->http = strcmp(front->settings.mode, "http") == 0;
	if (service->http)
		import_word(service->cookie, sizeof(service->cookie), settings.cookie);
	service->off = front->off || back->off;
	service->transparent = settings.transparent;
	service->persist = settings.persist;
	service->persist_ms = settings.persist_ms;
	service->limit = front->settings.limit;
	service->connect_ms = settings.connect_ms;
	service->idle_ms = front->settings.client_ms > settings.server_ms ? front->settings.client_ms
									  : settings.server_ms;
	if (settings.tunnel_ms > service->idle_ms)
		service->idle_ms = settings.tunnel_ms;
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
		free(section->binds);
		free(section->bind_lines);
		free(section->servers);
		free(section->server_lines);
	}
	free(ha->sections);
}

int
import_haproxy(struct import *import, const char *text)
{
	struct ha ha = { .import = import, .defaults = { .mode = "tcp" }, .passing = true };
	unsigned number = 0;

	for (const char *at = text; *at;) {
		size_t len = strcspn(at, "\n");
		char *raw = strndup(at, len), *copy = strndup(at, len);
		struct ha_line line = { .number = ++number };

		must(raw && copy);
		ha_cut(&line, copy);
		if (line.n && !ha_begin(&ha, &line) && !ha.passing)
			ha_statement(&ha, &line, raw);
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
