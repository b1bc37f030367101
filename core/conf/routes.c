#include "conf/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "conf/generation.h"

/* The address of the service that its servers leave from: the first of their kind. */
static const struct sy_addr *
route_source(const struct service *service, unsigned family)
{
	static const uint8_t any[16];

	for (uint32_t i = 0; i < service->n_listeners; i++) {
		const struct sy_addr *addr = &service->listeners[i].addr;

		if (addr->family == family && memcmp(addr->ip, any, sizeof(any)) != 0)
			return addr;
	}
	return NULL;
}

static const char *
route_name(const struct sy_addr *addr, char out[static ADDR_TEXT_SIZE])
{
	return addr ? addr_ip_text(addr, out) : "";
}

/* ---- what the file may say ---- */

static void
check_outbound_server(struct binder *binder, struct names *seen, const struct service *service,
		      const struct server *server)
{
	const struct node *at = node_child(service->node, "outbound-snat");
	const struct sy_addr *source = route_source(service, server->addr.family), *other;
	char text[ADDR_TEXT_SIZE], ours[ADDR_TEXT_SIZE], theirs[ADDR_TEXT_SIZE];
	const struct service *first;

	if (!source) {
		complain(binder->complaints, at,
			 "outbound-snat: virtual-service %s listens on no IPv%u address of its own that "
			 "server %s could leave from", service->name, server->addr.family, server->name);
		return;
	}
	first = names_add(seen, arena_text(binder->scratch, addr_ip_text(&server->addr, text)),
			  (void *)(uintptr_t)service);
	other = first ? route_source(first, server->addr.family) : NULL;
	if (other && memcmp(other->ip, source->ip, sizeof(source->ip)) != 0)
		complain(binder->complaints, at,
			 "outbound-snat: server %s (%s) is to leave from %s here and from %s in "
			 "virtual-service %s (%s:%u); it can have one of them", server->name, text,
			 route_name(source, ours), route_name(other, theirs), first->name,
			 first->node->file, first->node->line);
}

void
check_routes(struct binder *binder)
{
	const struct config *config = binder->config;
	struct names *seen = names_new(binder->scratch);

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		const struct target *target = &service->target;

		if (!service->settings.outbound_snat || !service->settings.enabled)
			continue;
		if (!config->global.manage_routing) {
			complain(binder->complaints, node_child(service->node, "outbound-snat"),
				 "outbound-snat needs manage-routing on, outside of all blocks");
			return;
		}
		for (uint32_t j = 0; target->pool && j < target->pool->n_servers; j++)
			check_outbound_server(binder, seen, service, &target->pool->servers[j]);
	}
}

/* ---- what the role is told ---- */

/* A TCP port is the better one to ask: its silence says something. */
static uint16_t
routes_port(const struct service *service, const struct target *target, const struct server *server)
{
	uint16_t port = 0;

	for (uint32_t i = service->n_listeners; i-- > 0;)
		if (port == 0 || service->listeners[i].transport == TRANSPORT_TCP)
			port = target_port(target, server, service->listeners[i].addr.port);
	return port;
}

static void
routes_of_target(const struct service *service, const struct target *target, struct text *out)
{
	for (uint32_t i = 0; i < target->pool->n_servers; i++) {
		const struct server *server = &target->pool->servers[i];
		struct gen_route route = { .server = server->addr,
					   .transparent = service->snat == SNAT_OFF };

		route.server.port = routes_port(service, target, server);
		if (service->settings.outbound_snat && target == &service->target) {
			route.source = *route_source(service, server->addr.family);
			route.source.port = 0;
		}
		text_add(out, (const char *)&route, sizeof(route));
	}
}

static int
routes_by_server(const void *a, const void *b)
{
	const struct gen_route *x = a, *y = b;
	int order = memcmp(x->server.ip, y->server.ip, sizeof(x->server.ip));

	if (order == 0)
		order = (int)x->server.family - (int)y->server.family;
	/* One that a transparent service asks on comes first: its port is kept. */
	if (order == 0)
		order = (int)y->transparent - (int)x->transparent;
	return order ? order : (int)x->server.port - (int)y->server.port;
}

/* Several services, one server: all that is wanted of it in one place. */
static uint32_t
routes_merge(struct gen_route *routes, size_t n)
{
	uint32_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct gen_route *last = kept ? &routes[kept - 1] : NULL;

		if (!last || last->server.family != routes[i].server.family ||
		    memcmp(last->server.ip, routes[i].server.ip, sizeof(last->server.ip)) != 0) {
			routes[kept++] = routes[i];
			continue;
		}
		last->transparent |= routes[i].transparent;
		if (last->source.family == SY_NO_ADDR)
			last->source = routes[i].source;
	}
	return kept;
}

uint32_t
routes_compile(const struct config *config, struct text *out)
{
	struct text all = { 0 };
	uint32_t n;

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		const struct target *target;

		if (!service->settings.enabled ||
		    (service->snat != SNAT_OFF && !service->settings.outbound_snat))
			continue;
		for (uint32_t t = 0; (target = service_target(service, t)); t++)
			routes_of_target(service, target, &all);
	}
	if (all.len == 0)
		return 0;
	n = (uint32_t)(all.len / sizeof(struct gen_route));
	qsort(all.at, n, sizeof(struct gen_route), routes_by_server);
	n = routes_merge((struct gen_route *)(void *)all.at, n);
	text_add(out, all.at, n * sizeof(struct gen_route));
	text_free(&all);
	return n;
}
