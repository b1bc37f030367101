/* HAProxy: sections become services, with servers, checks and what they inherit. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "ctl/import_haproxy.h"

static bool
ha_is_one(const struct ha_line *line, unsigned i, const char *const *words)
{
	while (*words && !ha_is(line, i, *words))
		words++;
	return *words;
}

/* One option of a bind line. Returns how many words it took. */
static unsigned
ha_bind_option(struct ha *ha, struct import_service *service, const struct ha_line *line, unsigned i)
{
	/* So here anyway, or without a meaning; the same with a value; and values that are lost. */
	static const char *const same[] = { "transparent", "v4v6", "v6only", "tfo", "no-sslv3", "no-tlsv10",
		"no-tlsv11", NULL };
	static const char *const passed[] = { "name", "alpn", "maxconn", "process", "thread", "tcp-ut", NULL };
	static const char *const valued[] = { "ciphers", "ciphersuites", "curves", "ecdhe", "ca-file", "crl-file",
		"verify", "ssl-max-ver", "crt-list", "user", "group", "mode", "uid", "gid", "level", "interface",
		"mss", "namespace", "backlog", NULL };
	bool value = i + 1 < line->n;

	if (ha_is(line, i, "ssl"))
		service->tls_ends = true;
	else if (ha_is(line, i, "accept-proxy"))
		ha_lost(ha, line->number, "accept-proxy: say from whom with accept-proxy-from");
	else if (value && ha_is(line, i, "crt") && !*service->tls_certificate)
		import_word(service->tls_certificate, IMPORT_WORD, line->word[i + 1]);
	else if (value && ha_is(line, i, "crt"))
		ha_lost(ha, line->number, "bind: one more certificate, %s: it belongs into the listen statement's "
			"tls, too", line->word[i + 1]);
	else if (value && ha_is(line, i, "ssl-min-ver") && strcmp(line->word[i + 1], "TLSv1.3") != 0)
		return 2; /* older ones than 1.2 are not spoken unless that is said */
	else if (value && (ha_is_one(line, i, valued) || ha_is(line, i, "ssl-min-ver")))
		ha_lost(ha, line->number, "bind: %s %s", line->word[i], line->word[i + 1]);
	else if (!(value && ha_is_one(line, i, passed))) {
		if (!ha_is_one(line, i, same))
			ha_lost(ha, line->number, "bind: %s", line->word[i]);
		return 1;
	}
	return ha_is(line, i, "ssl") || ha_is(line, i, "accept-proxy") ? 1 : 2;
}

static void
ha_bind(struct ha *ha, struct import_service *service, char *text, unsigned number)
{
	struct ha_line line = { .number = number };
	char *save = NULL;

	ha_cut(&line, text);
	for (unsigned i = 2; i < line.n;)
		i += ha_bind_option(ha, service, &line, i);
	for (char *word = line.n > 1 ? strtok_r(line.word[1], ",", &save) : NULL; word;
	     word = strtok_r(NULL, ",", &save)) {
		const char *at = strncmp(word, "ipv4@", 5) == 0 || strncmp(word, "ipv6@", 5) == 0 ? word + 5 : word;
		const char *colon = strrchr(at, ':');

		if (!colon || !isdigit((unsigned char)colon[1]) || !import_is_address(at))
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
	char *defaults = strdup(section->settings.default_server);

	must(defaults);
	ha_cut(&line, text);
	ha_cut(&preset, defaults);
	if (line.n < 3 || !import_is_address(line.word[2])) {
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

const struct ha_section *
ha_backend(const struct ha *ha, const char *name)
{
	for (unsigned i = 0; i < ha->n_sections; i++)
		if (strcmp(ha->sections[i].kind, "frontend") != 0 && strcmp(ha->sections[i].name, name) == 0)
			return &ha->sections[i];
	return NULL;
}

struct ha_settings
ha_servers(struct ha *ha, const struct ha_section *back, struct import_service *service)
{
	struct ha_settings settings = back->settings;
	bool checked = false;

	for (unsigned i = 0; i < back->n_servers; i++) {
		char *copy = strdup(back->servers[i]);

		must(copy);
		ha_server(ha, back, service, copy, back->server_lines[i], &settings, &checked);
		free(copy);
	}
	if (checked)
		ha_check(service, &settings);
	return settings;
}

/* What our own setting takes; 0 stays: not given. */
static unsigned long
ha_between(unsigned long ms, unsigned long least, unsigned long most)
{
	return ms == 0 ? 0 : ms < least ? least : ms > most ? most : ms;
}

/* The backend for what no rule is for. Without one, that of the first rule, and whatever no rule is for is
 * refused. */
static const struct ha_section *
ha_default(const struct ha *ha, const struct ha_section *front, bool *rules_only)
{
	*rules_only = false;
	if (*front->default_backend)
		return ha_backend(ha, front->default_backend);
	if (strcmp(front->kind, "frontend") != 0)
		return front;
	for (unsigned i = 0; strcmp(front->settings.mode, "http") == 0 && i < front->n_rules; i++) {
		char *copy = strdup(front->rules[i]);
		struct ha_line line = { .number = 0 };
		const struct ha_section *back;

		must(copy);
		ha_cut(&line, copy);
		back = ha_is(&line, 0, "use_backend") && line.n > 1 ? ha_backend(ha, line.word[1]) : NULL;
		free(copy);
		if (!back || !back->n_servers)
			continue;
		*rules_only = true;
		return back;
	}
	return NULL;
}

void
ha_service(struct ha *ha, struct ha_section *front)
{
	bool rules_only;
	const struct ha_section *back = ha_default(ha, front, &rules_only);
	struct import_service *service;
	struct ha_settings settings;

	ha->now = front;
	if (!back) {
		ha_rules(ha, front, NULL, NULL);
		ha_lost(ha, front->number, *front->default_backend ? "its default_backend %s is not in the file"
			: "it has no default_backend%s, and no rules that can be carried over",
			front->default_backend);
		return;
	}
	service = import_service(ha->import, front->name);
	snprintf(service->where, sizeof(service->where), "line %u, %.10s %.100s", front->number, front->kind,
		 front->name);
	service->http = strcmp(front->settings.mode, "http") == 0;
	service->rules_only = rules_only;
	for (unsigned i = 0; i < front->n_binds; i++)
		ha_bind(ha, service, front->binds[i], front->bind_lines[i]);
	settings = ha_servers(ha, back, service);
	ha_rules(ha, front, back, service);
	if (rules_only && !service->n_rules) {
		/* Nothing that a rule kept out may come in now. */
		ha_lost(ha, front->number, "it has no default_backend, and no rules that can be carried over");
		service->n_servers = 0;
	}
	ha_balance(ha, service, &settings);
	if (service->http)
		import_word(service->cookie, sizeof(service->cookie), settings.cookie);
	service->off = front->off || back->off;
	service->transparent = settings.transparent;
	import_word(service->snat, sizeof(service->snat), settings.source);
	service->header_ms = ha_between(front->settings.header_ms, 100, 3600000);
	service->keepalive_ms = ha_between(front->settings.keepalive_ms, 1, 86400000);
	service->persist = settings.persist;
	service->persist_ms = settings.persist_ms;
	service->limit = front->settings.limit;
	service->connect_ms = settings.connect_ms;
	service->idle_ms = front->settings.client_ms > settings.server_ms ? front->settings.client_ms
									  : settings.server_ms;
	if (settings.tunnel_ms > service->idle_ms)
		service->idle_ms = settings.tunnel_ms;
}
