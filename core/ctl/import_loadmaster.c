/* LoadMaster: what its API answers to listvs, or to showvs for one service: XML of the first version of
 * the API, JSON of the second. Fields have the same names in both; switches are Y and N, or true and
 * false. A port, a timeout or an index of 0 means that none is set. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/import.h"

/* Its own default for a connection on which nothing is said, in force where none is set. */
enum { LOADMASTER_IDLE_S = 660 };

/* ---- fields ---- */

/* As text, whatever it is in JSON; "" when it is not there. */
static const char *
lm_text(const json_t *object, const char *name, char out[static IMPORT_WORD])
{
	const json_t *value = json_object_get(object, name);

	out[0] = '\0';
	if (json_is_string(value))
		import_word(out, IMPORT_WORD, json_string_value(value));
	else if (json_is_integer(value))
		snprintf(out, IMPORT_WORD, "%lld", (long long)json_integer_value(value));
	else if (json_is_boolean(value))
		import_word(out, IMPORT_WORD, json_is_true(value) ? "Y" : "N");
	return out;
}

static long
lm_number(const json_t *object, const char *name)
{
	char text[IMPORT_WORD];
	uint64_t n;

	return uint_parse(lm_text(object, name, text), &n) && n < 1u << 31 ? (long)n : 0;
}

static bool
lm_yes(const json_t *object, const char *name)
{
	char text[IMPORT_WORD];

	lm_text(object, name, text);
	return strcasecmp(text, "Y") == 0 || strcmp(text, "1") == 0 || strcasecmp(text, "true") == 0;
}

/* The first where several may stand; *n: how many there are. */
static const json_t *
lm_each(const json_t *value, size_t i, size_t *n)
{
	*n = json_is_array(value) ? json_array_size(value) : json_is_object(value) ? 1 : 0;
	return json_is_array(value) ? json_array_get(value, i) : value;
}

/* ---- one service ---- */

static bool
lm_port(const char *text)
{
	uint64_t n;

	return uint_parse(text, &n) && n > 0 && n <= 65535;
}

static void
lm_listen(struct import *import, struct import_service *service, const char *address, const char *ports)
{
	bool six = strchr(address, ':') && address[0] != '[';

	if (!import_is_address(address) || !import_is_address(ports)) {
		import_lost(import, service->where, "%s is no address, or %s no port", address, ports);
		return;
	}
	text_printf(&service->listens, "%s%s%s%s:%s%s", service->listens.len ? " " : "", six ? "[" : "",
		    address, six ? "]" : "", ports, service->udp ? "/udp" : "");
}

/* "80,5060-5080": also with semicolons or blanks between. */
static void
lm_extra_ports(struct import *import, struct import_service *service, const json_t *vs,
	       const char *address)
{
	char text[IMPORT_WORD], *save = NULL;

	lm_text(vs, "ExtraPorts", text);
	for (char *word = strtok_r(text, ",; ", &save); word; word = strtok_r(NULL, ",; ", &save)) {
		char first[IMPORT_WORD], *dash;

		import_word(first, sizeof(first), word);
		dash = strchr(first, '-');
		if (dash)
			*dash = '\0';
		if (lm_port(first) && (!dash || lm_port(dash + 1)))
			lm_listen(import, service, address, word);
		else
			import_lost(import, service->where, "extra port %s is no port", word);
	}
}

/* The address, and a second one that clients may use as well. */
static void
lm_listens(struct import *import, struct import_service *service, const json_t *vs, const char *address,
	   const char *port)
{
	char other[IMPORT_WORD];

	lm_text(vs, "AltAddress", other);
	for (unsigned i = 0; i < 2; i++) {
		const char *at = i ? other : address;

		if (!*at || (i && strcmp(at, "0") == 0))
			continue;
		if (lm_port(port))
			lm_listen(import, service, at, port);
		else
			import_lost(import, service->where, "port %s: a service names its ports", port);
		lm_extra_ports(import, service, vs, at);
	}
}

static void
lm_schedule(struct import *import, struct import_service *service, const json_t *vs)
{
	static const struct { const char *there, *here, *but; } known[] = {
		{ "rr", "round-robin", NULL }, { "wrr", "round-robin", NULL },
		{ "lc", "least-connections", NULL }, { "wlc", "least-connections", NULL },
		{ "fixed", "priority", NULL }, { "sh", "source-hash", NULL },
		{ "adaptive", "response-time", "an agent's load; the servers' own answers are measured instead" },
	};
	char text[IMPORT_WORD];

	lm_text(vs, "Schedule", text);
	for (unsigned i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (strcmp(text, known[i].there) != 0)
			continue;
		import_word(service->scheduler, sizeof(service->scheduler), known[i].here);
		if (known[i].but)
			import_lost(import, service->where, "scheduling %s by %s", text, known[i].but);
		return;
	}
	if (*text)
		import_lost(import, service->where, "scheduling %s has no equal: least-connections is used", text);
}

static void
lm_persist(struct import *import, struct import_service *service, const json_t *vs)
{
	char text[IMPORT_WORD];
	size_t len = strlen(lm_text(vs, "Persist", text));
	bool source = strcmp(text, "src") == 0 || (len > 4 && strcmp(text + len - 4, "-src") == 0);
	long mask;

	if (!len || strcmp(text, "none") == 0)
		return;
	if (service->http && strncmp(text, "active-coo", 10) == 0) {
		char name[IMPORT_WORD];

		import_word(service->cookie, sizeof(service->cookie),
			    *lm_text(vs, "Cookie", name) ? name : "LBID");
	} else if (strcmp(text, "src") != 0)
		import_lost(import, service->where, "persistence %s%s", text,
			    source ? ": only its second part, the client's address, is carried over" : "");
	service->persist = source;
	service->persist_ms = 1000ul * (unsigned long)lm_number(vs, "PersistTimeout");
	mask = lm_number(vs, "PersistMask");
	if (mask > 0 && mask < 32)
		snprintf(service->persist_mask, sizeof(service->persist_mask), "%ld", mask);
}

static void
lm_check_http(struct import_service *service, const json_t *vs, bool https)
{
	struct import_check *check = &service->check;
	char text[IMPORT_WORD];

	import_word(check->kind, sizeof(check->kind), https ? "https" : "http");
	import_word(check->path, sizeof(check->path), lm_text(vs, "CheckUrl", text));
	import_word(check->host, sizeof(check->host), lm_text(vs, "CheckHost", text));
	check->head = strcmp(lm_text(vs, "CheckUseGet", text), "0") == 0;
	if (*lm_text(vs, "CheckPattern", text) && !check->head)
		import_word(check->contains, sizeof(check->contains), text);
}

static void
lm_check(struct import *import, struct import_service *service, const json_t *vs)
{
	static const struct { const char *there, *expect; } banners[] = {
		{ "smtp", "220" }, { "ftp", "220" }, { "pop3", "+OK" }, { "imap", "* OK" }, { "nntp", "20" },
		{ "telnet", "" }, { "tcp", "" },
	};
	struct import_check *check = &service->check;
	char text[IMPORT_WORD], port[IMPORT_WORD];

	if (lm_port(lm_text(vs, "CheckPort", port)))
		snprintf(check->port, sizeof(check->port), "%.5s", port);
	check->interval_ms = 1000ul * (unsigned long)lm_number(vs, "ChkInterval");
	check->timeout_ms = 1000ul * (unsigned long)lm_number(vs, "ChkTimeout");
	check->fall = (unsigned)lm_number(vs, "ChkRetryCount");
	lm_text(vs, "CheckType", text);
	if (!*text || strcmp(text, "none") == 0)
		return;
	if (strcmp(text, "http") == 0 || strcmp(text, "https") == 0) {
		lm_check_http(service, vs, text[4] == 's');
		return;
	}
	if (strcmp(text, "icmp") == 0) {
		import_word(check->kind, sizeof(check->kind), "icmp");
		check->port[0] = '\0';
		return;
	}
	import_word(check->kind, sizeof(check->kind), "tcp");
	for (unsigned i = 0; i < sizeof(banners) / sizeof(*banners); i++) {
		if (strcmp(text, banners[i].there) != 0)
			continue;
		import_word(check->expect, sizeof(check->expect), banners[i].expect);
		return;
	}
	import_lost(import, service->where, "check %s: only the connection is checked", text);
}

static void
lm_servers(struct import *import, struct import_service *service, const json_t *vs)
{
	char text[IMPORT_WORD], where[2 * IMPORT_WORD];
	size_t n = 1;

	for (size_t i = 0; i < n; i++) {
		const json_t *rs = lm_each(json_object_get(vs, "Rs"), i, &n);
		struct import_server *server;

		if (i >= n || !*lm_text(rs, "Addr", text))
			continue;
		if (!import_is_address(text)) {
			import_lost(import, service->where, "server %s: that is no address", text);
			continue;
		}
		server = import_server(service, text);
		/* A name of its own, or else its address. */
		import_word(server->address, sizeof(server->address), text);
		if (*lm_text(rs, "DnsName", text))
			import_name(server->name, text);
		if (lm_port(lm_text(rs, "Port", text)) && strncmp(text, "0", 2) != 0)
			snprintf(server->port, sizeof(server->port), "%.5s", text);
		server->weight = *lm_text(rs, "Weight", text) ? lm_number(rs, "Weight") : -1;
		server->limit = lm_number(rs, "Limit");
		server->off = *lm_text(rs, "Enable", text) && !lm_yes(rs, "Enable");
		snprintf(where, sizeof(where), "%s, server %.60s", service->where, server->address);
		if (strcmp(lm_text(rs, "Forward", text), "route") == 0)
			import_lost(import, where, "direct return: answers must come back through here");
		if (lm_yes(rs, "Critical"))
			import_lost(import, where, "critical: a service is up while any server is");
	}
	if (import_is_address(lm_text(vs, "StandbyAddr", text))) {
		struct import_server *server = import_server(service, "standby");

		server->sorry = true;
		import_word(server->address, sizeof(server->address), text);
		if (lm_port(lm_text(vs, "StandbyPort", text)) && strncmp(text, "0", 2) != 0)
			snprintf(server->port, sizeof(server->port), "%.5s", text);
	}
}

static void
lm_tls(struct import *import, struct import_service *service, const json_t *vs)
{
	char text[IMPORT_WORD];

	service->tls_ends = lm_yes(vs, "SSLAcceleration");
	if (!service->tls_ends)
		return;
	lm_text(vs, "CertFile", text);
	if (*text)
		import_lost(import, service->where, "certificate %s is inside of the appliance: export it", text);
	service->tls_servers = lm_yes(vs, "SSLReencrypt");
	if (service->tls_servers)
		import_lost(import, service->where, "servers are spoken to over TLS without a look at their "
			    "certificate, as the appliance does: tls { verify on; ca FILE; } in pool %s-servers is "
			    "better", service->name);
}

/* What has no equal, where it is in use. */
static void
lm_rest(struct import *import, const struct import_service *service, const json_t *vs)
{
	static const struct { const char *field, *words; } switches[] = {
		{ "UseforSnat", "connections that servers open themselves do not leave from this address: "
		  "outbound-snat on in the service, with manage-routing on in steelyard.conf, does that" },
		{ "EspEnabled", "authentication at the edge (ESP)" }, { "Cache", "caching" },
		{ "Compress", "compression" }, { "AllowHTTP2", "HTTP/2" },
	};
	static const struct { const char *field, *words; } numbers[] = {
		{ "NRules", "content rules" }, { "NRequestRules", "rules for requests" },
		{ "NResponseRules", "rules for responses" }, { "NPreProcessRules", "rules before the choice" },
		{ "FollowVSID", "persistence shared with another service" }, { "ErrorCode", "an answer with an "
		"error code" }, { "Verify", "detection of intrusions" }, { "StartTLSMode", "STARTTLS" },
		{ "Bandwidth", "limit of bandwidth" }, { "ConnsPerSecLimit", "limit of new connections a second" },
		{ "RequestsPerSecLimit", "limit of requests a second" }, { "QoS", "type of service" },
		{ "RsMinimum", "servers that must be up" },
	};
	static const struct { const char *field, *words; } texts[] = {
		{ "DefaultGW", "a gateway of its own" }, { "LocalBindAddrs", "addresses that servers see: snat "
		"ADDRESS ..." }, { "AllowedHosts", "the only clients that are let in: allow NETWORK ..." },
		{ "CopyHdrFrom", "a header that is copied" }, { "AddAuthHeader", "a header for authentication" },
	};
	char text[IMPORT_WORD];

	for (unsigned i = 0; i < sizeof(switches) / sizeof(*switches); i++)
		if (lm_yes(vs, switches[i].field))
			import_lost(import, service->where, "%s (%s)", switches[i].words, switches[i].field);
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (lm_number(vs, numbers[i].field) > 0)
			import_lost(import, service->where, "%s (%s %s)", numbers[i].words, numbers[i].field,
				    lm_text(vs, numbers[i].field, text));
	for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (*lm_text(vs, texts[i].field, text) && strcmp(text, "0") != 0)
			import_lost(import, service->where, "%s (%s %s)", texts[i].words, texts[i].field, text);
	if (lm_number(vs, "ClientCert") > 0)
		import_lost(import, service->where, "certificates of clients (ClientCert)");
}

static void
lm_where(const json_t *vs, char *out, size_t size)
{
	char name[IMPORT_WORD], address[IMPORT_WORD], port[IMPORT_WORD], index[IMPORT_WORD];

	lm_text(vs, "NickName", name);
	lm_text(vs, "VSAddress", address);
	lm_text(vs, "VSPort", port);
	snprintf(out, size, "virtual service %.20s%s%.60s%s%s%.60s%s%.20s%s", lm_text(vs, "Index", index),
		 *name ? " \"" : "", name, *name ? "\"" : "", *address ? " (" : "", address,
		 *address ? ":" : "", *address ? port : "", *address ? ")" : "");
}

static void
lm_service(struct import *import, const json_t *vs)
{
	char address[IMPORT_WORD], port[IMPORT_WORD], text[IMPORT_WORD], where[IMPORT_WORD];
	struct import_service *service;
	long idle;

	lm_where(vs, where, sizeof(where));
	if (lm_number(vs, "MasterVSID") > 0 || !*lm_text(vs, "VSAddress", address)) {
		import_lost(import, where, "a sub-service, chosen by content rules");
		return;
	}
	lm_text(vs, "NickName", text);
	lm_text(vs, "VSPort", port);
	if (!*text)
		snprintf(text, sizeof(text), "vs-%.60s-%.20s", address, port);
	service = import_service(import, text);
	import_word(service->where, sizeof(service->where), where);
	service->udp = strcasecmp(lm_text(vs, "Protocol", text), "udp") == 0;
	lm_listens(import, service, vs, address, port);
	service->off = *lm_text(vs, "Enable", text) && !lm_yes(vs, "Enable");
	/* At layer 4 the appliance never changes the client's address. */
	service->transparent = lm_yes(vs, "Transparent") ||
			       (*lm_text(vs, "ForceL7", text) && !lm_yes(vs, "ForceL7"));
	idle = lm_number(vs, "Idletime");
	if (!service->udp)
		service->idle_ms = 1000ul * (unsigned long)(idle ? idle : LOADMASTER_IDLE_S);
	service->limit = (unsigned long)lm_number(vs, "MaxConnsLimit");
	service->http = strncmp(lm_text(vs, "VStype", text), "http", 4) == 0;
	lm_schedule(import, service, vs);
	lm_persist(import, service, vs);
	lm_tls(import, service, vs);
	lm_check(import, service, vs);
	lm_servers(import, service, vs);
	lm_rest(import, service, vs);
}

/* ---- the listing ---- */

/* The list, however it is wrapped: Response, Success, Data, VS; or one service alone. */
static const json_t *
lm_list(const json_t *root)
{
	static const char *const wraps[] = { "Response", "Success", "Data" };
	const json_t *at = root;

	for (unsigned i = 0; i < 3; i++)
		if (json_is_object(json_object_get(at, wraps[i])))
			at = json_object_get(at, wraps[i]);
	if (json_object_get(at, "VS"))
		return json_object_get(at, "VS");
	return json_object_get(at, "VSAddress") ? at : NULL;
}

int
import_loadmaster(struct import *import, const char *text, size_t len)
{
	const json_t *list;
	json_error_t error;
	const char *why = NULL;
	unsigned line = 0;
	json_t *root;
	size_t n = 1;

	while (len && isspace((unsigned char)*text))
		text++, len--;
	if (len && *text == '<') {
		root = import_xml(text, len, &line, &why);
	} else {
		root = json_loadb(text, len, 0, &error);
		line = (unsigned)error.line;
		why = error.text;
	}
	if (!root) {
		text_printf(&import->problem, "%s:%u: %s", import->file, line, why);
		return -1;
	}
	list = lm_list(root);
	if (!list)
		text_printf(&import->problem, "%s: no virtual services in it: the answer to listvs, as XML or "
			    "JSON, is expected", import->file);
	for (size_t i = 0; list && i < n; i++) {
		const json_t *vs = lm_each(list, i, &n);

		if (i < n)
			lm_service(import, vs);
	}
	json_decref(root);
	return list ? 0 : -1;
}
