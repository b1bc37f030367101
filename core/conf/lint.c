#include "conf/lint.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum {
	LINT_PORT_SIP = 5061,
	LINT_PORT_PSEUDO_TLS = 443,
};

#define LINT_UC_IDLE (30 * SY_MINUTE)     /* of Lync's TCP services, the vendor's number */
#define LINT_POLL_IDLE (16 * SY_MINUTE)   /* mobile clients let a request wait for 15 minutes */
#define LINT_SIP_IDLE (2 * SY_MINUTE)     /* keep-alives come every 95 s to 120 s (RFC 5626 4.4.1) */
#define LINT_PERSIST (1 * SY_MINUTE)      /* until a client notices and comes back */

const char *const lint_roles[] = {
	"none", "front-end", "web-internal", "web-external", "reverse-proxy", "edge-access",
	"edge-webconf", "edge-av", "edge-internal", "mediation", "office-web", "exchange", "xmpp", "sip",
	"turn", "web", NULL
};

static const char *const lint_names[] = {
	"idle", "snat", "edge-ports", "mixed-edge", "web-mapping", "web-check", "pseudo-tls",
	"certificate", "edge-address", "persistence", NULL
};

#define BIT(role) (1u << (role))
#define LINT_FRONT_ENDS (BIT(ROLE_FRONT_END) | BIT(ROLE_WEB_INTERNAL) | BIT(ROLE_WEB_EXTERNAL) | \
			 BIT(ROLE_REVERSE_PROXY))
#define LINT_EDGE_OUTSIDE (BIT(ROLE_EDGE_ACCESS) | BIT(ROLE_EDGE_WEBCONF) | BIT(ROLE_EDGE_AV))
#define LINT_EDGES (LINT_EDGE_OUTSIDE | BIT(ROLE_EDGE_INTERNAL))

static bool
lint_is(const struct service *service, unsigned roles)
{
	return BIT(service->settings.role.index) & roles;
}

/* ---- what was switched off ---- */

static bool
lint_off(const struct service *service, const char *rule)
{
	for (const struct node *node = service->node->children; node; node = node->next) {
		if (strcmp(node->name, "lint") != 0)
			continue;
		if (node->n_args == 1 || strcmp(node_arg(node, 0), rule) == 0)
			return true;
	}
	return false;
}

void
lint_check_statements(struct binder *binder, const struct service *service)
{
	for (const struct node *node = service->node->children; node; node = node->next) {
		const char *name = node_arg(node, 0), *near;
		unsigned known = 0;

		if (strcmp(node->name, "lint") != 0)
			continue;
		if (node->block || node->n_args == 0 || node->n_args > 2 ||
		    strcmp(node_arg(node, node->n_args - 1), "off") != 0) {
			complain(binder->complaints, node,
				 "lint off; switches all findings about a service off, lint NAME off; one");
			continue;
		}
		while (lint_names[known] && strcmp(lint_names[known], name) != 0)
			known++;
		near = text_nearest(name, lint_names);
		if (node->n_args == 2 && !lint_names[known])
			complain(binder->complaints, node, "lint %s: there is no such finding%s%s%s", name,
				 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	}
}

/* Says a finding at the statement that it is about, or at the service. */
__attribute__((format(printf, 5, 6))) static void
lint_say(struct binder *binder, const struct service *service, const char *rule,
	 const struct node *at, const char *format, ...)
{
	char words[600];
	va_list args;

	if (lint_off(service, rule))
		return;
	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	complain_mildly(binder->complaints, at && !at->filled ? at : service->node,
			"virtual-service %s: %s (lint %s off; if it is meant so)", service->name, words,
			rule);
}

static const struct node *
lint_place(const struct service *service, const char *statement)
{
	return node_child(service->node, statement);
}

static bool
lint_listens(const struct service *service, uint32_t transport)
{
	for (uint32_t i = 0; i < service->n_listeners; i++)
		if (service->listeners[i].transport == transport)
			return true;
	return false;
}

/* ---- the rules of one service ---- */

static void
lint_idle(struct binder *binder, const struct service *service)
{
	uint64_t idle = service->settings.idle_timeout.ms;
	const struct node *at = lint_place(service, "idle-timeout");
	char text[DURATION_TEXT_SIZE];

	duration_text(idle, text);
	if (!lint_listens(service, TRANSPORT_TCP))
		return;
	if (lint_is(service, LINT_EDGES | BIT(ROLE_FRONT_END) | BIT(ROLE_WEB_INTERNAL) |
				 BIT(ROLE_WEB_EXTERNAL) | BIT(ROLE_MEDIATION) | BIT(ROLE_XMPP)) &&
	    idle < LINT_UC_IDLE)
		lint_say(binder, service, "idle", at,
			 "idle-timeout %s is under 30m: clients and servers of this farm keep connections "
			 "quiet for up to 30 minutes, and are signed out or lose a meeting when one is cut",
			 text);
	else if (lint_is(service, BIT(ROLE_REVERSE_PROXY) | BIT(ROLE_EXCHANGE)) &&
		 idle < LINT_POLL_IDLE)
		lint_say(binder, service, "idle", at,
			 "idle-timeout %s is under 16m: phones leave a request unanswered for about 15 "
			 "minutes to be told of news, and drain their battery when that is cut", text);
	else if (lint_is(service, BIT(ROLE_SIP)) && idle < LINT_SIP_IDLE)
		lint_say(binder, service, "idle", at,
			 "idle-timeout %s is under 2m: SIP clients show that they live every two minutes, "
			 "and cannot be called when their connection is gone", text);
}

static void
lint_snat(struct binder *binder, const struct service *service)
{
	const struct node *at = lint_place(service, "snat");

	if (lint_is(service, BIT(ROLE_EDGE_AV)) && service->snat != SNAT_OFF)
		lint_say(binder, service, "snat", at,
			 "an A/V Edge must see the client's own address, or media takes wrong paths: snat "
			 "off, with this machine as the way back (the Edge's default gateway)");
	else if (lint_is(service, BIT(ROLE_TURN)) && service->snat != SNAT_OFF &&
		 lint_listens(service, TRANSPORT_UDP))
		lint_say(binder, service, "snat", at,
			 "a TURN server tells the client the address that it sees, and with snat over UDP "
			 "that is this machine's: snat off, with this machine as the way back");
	else if (lint_is(service, LINT_FRONT_ENDS) && service->snat == SNAT_OFF)
		lint_say(binder, service, "snat", at,
			 "a Front End that connects to its own pool would get the answer past this "
			 "machine, and drop it: snat on");
}

static void
lint_edge_ports(struct binder *binder, const struct service *service)
{
	static const struct {
		uint32_t from, to;
		const char *what;
	} direct[] = {
		{ 8057, 8057, "web conferencing from each Front End to each Edge" },
		{ 4443, 4443, "replication of the configuration to each Edge" },
		{ 23456, 23456, "the XMPP gateway" },
		{ 50001, 50003, "central logging" },
	};

	for (uint32_t i = 0; lint_is(service, BIT(ROLE_EDGE_INTERNAL)) && i < service->n_listeners; i++) {
		const struct listener *listener = &service->listeners[i];

		for (unsigned j = 0; j < sizeof(direct) / sizeof(*direct); j++)
			if (listener->addr.port >= direct[j].from && listener->addr.port <= direct[j].to)
				lint_say(binder, service, "edge-ports", listener->node,
					 "port %u is for %s, which is meant for one Edge and no other: take it "
					 "off this service, servers go there directly", listener->addr.port,
					 direct[j].what);
	}
}

/* The port of the server that a client of this listener comes to, when it is that of the internal site. */
static uint32_t
lint_internal_port(const struct service *service, const struct listener *listener)
{
	const struct target *target = &service->target;

	for (uint32_t i = 0; i < target->pool->n_servers; i++) {
		uint16_t port = target_port(target, &target->pool->servers[i], listener->addr.port);

		if (port == 443 || port == 80)
			return port;
	}
	return 0;
}

static void
lint_web_mapping(struct binder *binder, const struct service *service)
{
	for (uint32_t i = 0; i < service->n_listeners; i++) {
		const struct listener *listener = &service->listeners[i];
		uint32_t port;

		if (!lint_is(service, BIT(ROLE_WEB_EXTERNAL) | BIT(ROLE_REVERSE_PROXY)))
			return;
		port = lint_internal_port(service, listener);
		if (!port)
			continue;
		lint_say(binder, service, "web-mapping", listener->node,
			 "port %u leads to the servers' port %u, their web site for those inside, which "
			 "refuses or misleads those outside: pool %s port=%u;", listener->addr.port, port,
			 service->target.pool->name, port == 443 ? 4443 : 8080);
		return;
	}
}

static uint32_t
lint_probe_port(const struct service *service, const struct monitor *monitor,
		const struct listener *listener)
{
	const struct sy_monitor *ops = monitor->use.module->ops;
	uint32_t port = monitor->settings.port ? monitor->settings.port
						: ops->plan(monitor->use.conf).port;
	const struct pool *pool = service->target.pool;

	return port ? port : pool->n_servers
		? target_port(&service->target, &pool->servers[0], listener->addr.port) : 0;
}

static void
lint_web_check(struct binder *binder, const struct service *service)
{
	if (!lint_is(service, BIT(ROLE_WEB_INTERNAL) | BIT(ROLE_WEB_EXTERNAL) | BIT(ROLE_REVERSE_PROXY)) ||
	    !service->n_monitors || !service->n_listeners)
		return;
	for (uint32_t i = 0; i < service->n_monitors; i++)
		if (lint_probe_port(service, &service->monitors[i], &service->listeners[0]) ==
		    LINT_PORT_SIP)
			return;
	lint_say(binder, service, "web-check", lint_place(service, "monitor"),
		 "the web server of a Front End answers although its SIP service is stopped, so clients "
		 "would be sent to a server that cannot serve them: monitor tcp { port 5061; } besides");
}

static void
lint_pseudo_tls(struct binder *binder, const struct service *service)
{
	if (!lint_is(service, BIT(ROLE_EDGE_AV) | BIT(ROLE_EDGE_INTERNAL)))
		return;
	for (uint32_t i = 0; i < service->n_monitors; i++) {
		const struct monitor *monitor = &service->monitors[i];
		const struct sy_monitor *ops = monitor->use.module->ops;

		if (ops->plan(monitor->use.conf).transport != SY_OVER_TLS)
			continue;
		for (uint32_t j = 0; j < service->n_listeners; j++) {
			if (lint_probe_port(service, monitor, &service->listeners[j]) !=
			    LINT_PORT_PSEUDO_TLS)
				continue;
			lint_say(binder, service, "pseudo-tls", monitor->use.node,
				 "port 443 of an Edge's A/V service looks like TLS for one message and is "
				 "none, so a TLS check always fails: monitor tcp { port 443; }");
			return;
		}
	}
}

static void
lint_certificate(struct binder *binder, const struct service *service)
{
	const char *missing = lint_missing_name(service);

	if (missing)
		lint_say(binder, service, "certificate", service->listeners[0].node,
			 "no certificate holds %s%s, so clients that come by that name are warned, or do not "
			 "come in at all", missing, missing[strlen(missing) - 1] == '.' ? "DOMAIN" : "");
}

static void
lint_persistence(struct binder *binder, const struct service *service)
{
	char text[DURATION_TEXT_SIZE];

	if (!service->persistence.module || !service->life.timeout_ms ||
	    service->settings.role.index == ROLE_NONE)
		return;
	if (service->life.timeout_ms < LINT_PERSIST)
		lint_say(binder, service, "persistence", service->persistence.node,
			 "a client is remembered for %s, which is over before one that lost its connection "
			 "is back: 20m is usual, or persistence off",
			 duration_text(service->life.timeout_ms, text));
}

/* ---- rules that look at several services ---- */

/* Errors, because nothing good can come of it: the port exists on both kinds of server. */
static void
lint_edge_address(struct binder *binder)
{
	struct names *edges = names_new(binder->scratch);
	const struct config *config = binder->config;
	char text[ADDR_TEXT_SIZE];

	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < config->n_services; i++) {
			const struct service *service = &config->services[i], *edge;
			const struct pool *pool = service->target.pool;

			if (!lint_is(service, pass ? LINT_FRONT_ENDS : LINT_EDGES) ||
			    lint_off(service, "edge-address"))
				continue;
			for (uint32_t j = 0; j < pool->n_servers; j++) {
				struct sy_addr addr = pool->servers[j].addr;

				addr.port = 0;
				addr_text(&addr, text);
				if (pass == 0) {
					names_add(edges, arena_text(binder->scratch, text), (void *)service);
					continue;
				}
				edge = names_find(edges, text);
				if (edge)
					complain(binder->complaints, pool->servers[j].node,
						 "virtual-service %s is for Front Ends, and %s is the address of an "
						 "Edge in %s (%s:%u): a Front End's address belongs here (lint "
						 "edge-address off; if it is meant so)", service->name, text,
						 edge->name, edge->node->file, edge->node->line);
			}
		}
	}
}

static void
lint_mixed_edge(struct binder *binder)
{
	const struct service *outside = NULL, *inside = NULL;
	const struct config *config = binder->config;

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];

		if (lint_is(service, LINT_EDGES) && lint_off(service, "mixed-edge"))
			return;
		if (!outside && lint_is(service, LINT_EDGE_OUTSIDE))
			outside = service;
		if (!inside && lint_is(service, BIT(ROLE_EDGE_INTERNAL)))
			inside = service;
	}
	if (!outside == !inside)
		return;
	lint_say(binder, outside ? outside : inside, "mixed-edge", NULL,
		 "the Edges' %s side is balanced here and their %s side is not: both sides must use the same "
		 "method, a balancer (another one will do) or DNS", outside ? "external" : "internal",
		 outside ? "internal" : "external");
}

void
lint(struct binder *binder)
{
	const struct config *config = binder->config;

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];

		lint_idle(binder, service);
		lint_snat(binder, service);
		lint_edge_ports(binder, service);
		lint_web_mapping(binder, service);
		lint_web_check(binder, service);
		lint_pseudo_tls(binder, service);
		lint_certificate(binder, service);
		lint_persistence(binder, service);
	}
	lint_edge_address(binder);
	lint_mixed_edge(binder);
}
