/* What is written: a service with its pools as a file for conf.d. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "ctl/import.h"

void
import_put(struct text *out, const char *word)
{
	bool plain = *word && !strpbrk(word, " \t;{}\"'$#\\");

	if (plain) {
		text_puts(out, word);
		return;
	}
	text_puts(out, "\"");
	for (; *word; word++)
		text_printf(out, strchr("\"\\$", *word) ? "\\%c" : "%c",
			    (unsigned char)*word < ' ' ? ' ' : *word);
	text_puts(out, "\"");
}

static void
import_put_row(struct text *out, const char *indent, const char *name, const char *value)
{
	if (!*value)
		return;
	text_printf(out, "%s%s ", indent, name);
	import_put(out, value);
	text_puts(out, ";\n");
}

static void
import_put_time(struct text *out, const char *name, unsigned long ms)
{
	char words[DURATION_TEXT_SIZE];

	if (ms)
		text_printf(out, "    %s %s;\n", name, duration_text(ms, words));
}

static bool
import_is_file(const char *path)
{
	struct stat stat_;

	return access(path, R_OK) == 0 && stat(path, &stat_) == 0 && S_ISREG(stat_.st_mode);
}

/* A file of authorities that is not here would make the configuration fail; the system's are no less
 * strict. */
static bool
import_has_ca(struct import *import, const struct import_service *service)
{
	if (!service->tls_verify || !*service->tls_ca)
		return false;
	if (import_is_file(service->tls_ca))
		return true;
	import_lost(import, service->where, "authorities %s are not on this machine: servers must be known to "
		    "the system's own", service->tls_ca);
	return false;
}

static void
import_put_pool(struct import *import, struct text *out, const struct import_service *service, bool sorry)
{
	text_printf(out, "pool %s-%s {\n", service->name, sorry ? "sorry" : "servers");
	for (unsigned i = 0; i < service->n_servers; i++) {
		const struct import_server *server = &service->servers[i];

		if (server->sorry != sorry)
			continue;
		text_printf(out, "    server %s ", server->name);
		import_put(out, server->address);
		if (*server->port)
			text_printf(out, " port=%s", server->port);
		if (server->off)
			text_puts(out, " weight=0");
		else if (server->weight >= 0)
			text_printf(out, " weight=%ld", server->weight);
		if (server->limit > 0)
			text_printf(out, " max-connections=%ld", server->limit);
		text_puts(out, ";\n");
	}
	if (service->tls_servers) {
		text_printf(out, "    tls { verify %s; ", service->tls_verify ? "on" : "off");
		if (import_has_ca(import, service)) {
			text_puts(out, "ca ");
			import_put(out, service->tls_ca);
			text_puts(out, "; ");
		}
		text_puts(out, "}\n");
	}
	text_puts(out, "}\n\n");
}

static void
import_put_monitor(struct text *out, const struct import_check *check, const char *pool)
{
	char words[DURATION_TEXT_SIZE];

	text_printf(out, "    monitor %s {\n", check->kind);
	if (pool)
		text_printf(out, "        pools %s-servers;\n", pool);
	import_put_row(out, "        ", "port", check->port);
	if (strncmp(check->kind, "http", 4) == 0) {
		import_put_row(out, "        ", "path", check->path);
		import_put_row(out, "        ", "host", check->host);
		import_put_row(out, "        ", "status", check->status);
		import_put_row(out, "        ", "contains", check->contains);
		if (check->head)
			text_puts(out, "        method HEAD;\n");
	}
	if (strcmp(check->kind, "tcp") == 0)
		import_put_row(out, "        ", "expect", check->expect);
	if (check->interval_ms)
		text_printf(out, "        interval %s;\n", duration_text(check->interval_ms, words));
	if (check->timeout_ms)
		text_printf(out, "        timeout %s;\n",
			    duration_text(check->interval_ms && check->timeout_ms > check->interval_ms
					  ? check->interval_ms : check->timeout_ms, words));
	if (check->rise)
		text_printf(out, "        rise %u;\n", check->rise);
	if (check->fall)
		text_printf(out, "        fall %u;\n", check->fall);
	text_puts(out, "    }\n");
}

static void
import_put_monitors(struct text *out, const struct import_service *service)
{
	unsigned n = *service->check.kind != 0;

	if (n)
		import_put_monitor(out, &service->check, service->n_more ? service->name : NULL);
	for (unsigned i = 0; i < service->n_more; i++) {
		if (!*service->more[i].check.kind)
			continue;
		import_put_monitor(out, &service->more[i].check, service->more[i].name);
		n++;
	}
	if (!n)
		text_puts(out, "    monitor off;\n");
}

static void
import_put_persistence(struct text *out, const struct import_service *service)
{
	char words[DURATION_TEXT_SIZE];

	if (!service->persist && !*service->cookie)
		return;
	text_printf(out, "    persistence %s {", *service->cookie ? "cookie" : "source");
	import_put_row(out, " ", "name", service->cookie);
	if (*service->cookie && out->at[out->len - 1] == '\n')
		out->len--;
	if (*service->cookie && service->persist)
		text_puts(out, " fallback source;");
	if (service->persist_ms && service->persist)
		text_printf(out, " timeout %s;", duration_text(service->persist_ms, words));
	if (*service->persist_mask)
		text_printf(out, " mask4 %s;", service->persist_mask);
	text_puts(out, " }\n");
}

static void
import_put_listens(struct text *out, const struct import_service *service, bool tls)
{
	char *copy = strdup(service->listens.at ? service->listens.at : ""), *save = NULL;

	must(copy);

	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		text_printf(out, "    listen %s", word);
		if (service->tls_ends && tls) {
			text_puts(out, " { tls { certificate ");
			import_put(out, service->tls_certificate);
			text_puts(out, "; } }\n");
		} else {
			text_puts(out, ";\n");
		}
	}
	free(copy);
}

/* A certificate that is not here would make the whole configuration fail; a service without its TLS would
 * show what must not be seen. So it waits, switched off. */
static bool
import_put_tls(struct import *import, struct text *out, const struct import_service *service)
{
	bool here = *service->tls_certificate && import_is_file(service->tls_certificate);

	if (!service->tls_ends || here)
		return here;
	import_lost(import, service->where, "TLS ends here, and its certificate%s%s is no file on this machine: "
		    "service %s is switched off until its listen statements have tls { certificate FILE; }",
		    *service->tls_certificate ? " " : "", service->tls_certificate, service->name);
	text_puts(out, "    enabled off;    # until the listen statements have { tls { certificate FILE; } }\n");
	return false;
}

static void
import_put_comment(struct text *out, const char *file, const char *where)
{
	size_t from = out->len;

	text_printf(out, "# From %s, %s.", file, where);
	for (char *at = out->at + from; *at; at++)
		*at = (unsigned char)*at < ' ' ? ' ' : *at;
	text_puts(out, "\n\n");
}

static void
import_put_protocol(struct text *out, const struct import_service *service)
{
	char words[DURATION_TEXT_SIZE];

	text_printf(out, "    protocol %s", service->udp ? "udp" : service->http ? "http" : "tcp");
	if (!service->http || service->udp || !(service->header_ms || service->keepalive_ms || service->n_rules)) {
		text_puts(out, ";\n");
		return;
	}
	text_puts(out, " {\n");
	if (service->header_ms)
		text_printf(out, "        header-timeout %s;\n", duration_text(service->header_ms, words));
	if (service->keepalive_ms)
		text_printf(out, "        keepalive-timeout %s;\n", duration_text(service->keepalive_ms, words));
	for (unsigned i = 0; i < service->n_rules; i++) {
		const struct import_rule *rule = &service->rules[i];

		text_puts(out, "        rule { ");
		if (rule->host.len)
			text_printf(out, "host %s; ", rule->host.at);
		if (rule->path.len)
			text_printf(out, "path %s; ", rule->path.at);
		text_printf(out, "pool %s-servers; }\n",
			    rule->pool < 0 ? service->name : service->more[rule->pool].name);
	}
	if (service->rules_only)
		text_puts(out, "        rule { deny on; }\n");
	text_puts(out, "    }\n");
}

void
import_put_service(struct import *import, struct text *out, const struct import_service *service)
{
	bool sorry = false, tls;

	for (unsigned i = 0; i < service->n_servers; i++)
		sorry |= service->servers[i].sorry;
	import_put_comment(out, import->file, service->where);
	import_put_pool(import, out, service, false);
	if (sorry)
		import_put_pool(import, out, service, true);
	for (unsigned i = 0; i < service->n_more; i++)
		import_put_pool(import, out, &service->more[i], false);
	text_printf(out, "virtual-service %s {\n", service->name);
	tls = import_put_tls(import, out, service);
	import_put_listens(out, service, tls);
	if (service->off && (tls || !service->tls_ends))
		text_puts(out, "    enabled off;\n");
	import_put_protocol(out, service);
	text_printf(out, "    pool %s-servers;\n", service->name);
	if (sorry)
		text_printf(out, "    sorry-pool %s-sorry;\n", service->name);
	text_printf(out, "    scheduler %s;\n",
		    *service->scheduler ? service->scheduler : "least-connections");
	import_put_persistence(out, service);
	import_put_monitors(out, service);
	if (service->transparent >= 0)
		text_printf(out, "    snat %s;\n", service->transparent ? "off" : *service->snat ? service->snat : "on");
	import_put_time(out, "idle-timeout", service->idle_ms);
	import_put_time(out, "connect-timeout", service->connect_ms);
	if (service->limit)
		text_printf(out, "    max-connections %lu;\n", service->limit);
	if (service->keep)
		text_puts(out, "    on-down keep;\n");
	if (*service->send_proxy)
		text_printf(out, "    send-proxy %s;\n", service->send_proxy);
	text_puts(out, "}\n");
}
