/* What involves several statements. Errors are what could never work; what works but is hardly
 * meant is a warning. */
#include <string.h>

#include "conf/lint.h"
#include "conf/routes.h"

/* Where a setting was made, or the service when it was not. */
static const struct node *
check_place(const struct service *service, const char *name)
{
	const struct node *node = node_child(service->node, name);

	return node ? node : service->node;
}

static void
check_transports(struct binder *binder, const struct service *service)
{
	const struct sy_module *module = service->protocol.module;
	const struct node *told = NULL;

	for (uint32_t i = 0; i < service->n_listeners && service->uses; i++) {
		const struct listener *listener = &service->listeners[i];
		bool udp = listener->transport == TRANSPORT_UDP;

		if (listener->node == told ||
		    (service->uses & (udp ? SY_DATAGRAMS | SY_MESSAGES : SY_STREAMS)))
			continue;
		told = listener->node;
		complain(binder->complaints, told,
			 udp ? "listen: protocol %s (%s:%u) does not understand datagrams, so /udp "
			       "is not possible"
			     : "listen: protocol %s (%s:%u) understands datagrams only: write /udp "
			       "behind the "
			       "port",
			 module->name, service->protocol.node->file, service->protocol.node->line);
	}
}

static bool
check_has_udp(const struct service *service)
{
	for (uint32_t i = 0; i < service->n_listeners; i++)
		if (service->listeners[i].transport == TRANSPORT_UDP)
			return true;
	return false;
}

static void
check_proxy_header(struct binder *binder, const struct service *service)
{
	const struct service_settings *settings = &service->settings;

	if (check_has_udp(service)) {
		if (settings->send_proxy.index != SEND_PROXY_OFF)
			complain(
			    binder->complaints, check_place(service, "send-proxy"),
			    "send-proxy works with TCP only, and virtual-service %s listens on UDP",
			    service->name);
		if (settings->accept_proxy_from.n)
			complain(binder->complaints, check_place(service, "accept-proxy-from"),
				 "accept-proxy-from works with TCP only, and virtual-service %s "
				 "listens on UDP",
				 service->name);
	}
	if (settings->send_proxy.index != SEND_PROXY_OFF && service->snat == SNAT_OFF)
		complain_mildly(
		    binder->complaints, check_place(service, "send-proxy"),
		    "with snat off (%s:%u) the servers see the client's address anyway: "
		    "send-proxy is not needed",
		    check_place(service, "snat")->file, check_place(service, "snat")->line);
}

/* Who carries messages may speak to servers as he likes; who passes bytes or datagrams on may not. */
static void
check_transport_of_pool(struct binder *binder, const struct service *service, const struct target *target)
{
	const struct pool *pool = target->pool;
	bool udp = pool->transport.index == POOL_UDP;

	if (udp && target->tls)
		complain(binder->complaints, target->tls->node, "tls to servers works with TCP only, and "
			 "pool %s has transport udp", pool->name);
	if (service->uses & SY_MESSAGES)
		return;
	for (uint32_t i = 0; i < service->n_listeners; i++) {
		const struct listener *listener = &service->listeners[i];

		if (target_transport(target, listener->transport) == listener->transport)
			continue;
		if (pool->transport.index == POOL_AS_CLIENT)
			complain(binder->complaints, target->tls->node, "tls to servers works with TCP "
				 "only, and virtual-service %s listens on UDP", service->name);
		else
			complain(binder->complaints, listener->node, "pool %s has transport %s, and "
				 "protocol %s does not carry messages from %s to %s", pool->name,
				 udp ? "udp" : "tcp", service->protocol.module->name,
				 udp ? "TCP" : "UDP", udp ? "UDP" : "TCP");
		return;
	}
}

static void
check_tls(struct binder *binder, const struct service *service)
{
	const struct sy_module *module = service->protocol.module;
	const struct node *told = NULL;
	const struct target *target;

	for (uint32_t i = 0; i < service->n_listeners && service->uses; i++) {
		const struct listener *listener = &service->listeners[i];

		if (!(service->uses & SY_SECURE) || listener->tls || listener->node == told)
			continue;
		told = listener->node;
		complain(binder->complaints, told,
			 "listen: protocol %s (%s:%u) ends TLS, and there is no tls block here: listen "
			 "ADDRESS:PORT { tls { certificate FILE; } }", module->name,
			 service->protocol.node->file, service->protocol.node->line);
	}
	for (uint32_t i = 0; service->uses && (target = service_target(service, i)); i++)
		if (target->pool)
			check_transport_of_pool(binder, service, target);
}

static unsigned
check_families_of_pool(const struct target *target)
{
	unsigned families = 0;

	for (uint32_t i = 0; target->pool && i < target->pool->n_servers; i++)
		families |= 1u << target->pool->servers[i].addr.family;
	return families;
}

/* A packet has one family: with snat off it carries the client's address and the server's, with
 * snat ADDRESS ours and the server's. */
static void
check_families(struct binder *binder, const struct service *service)
{
	unsigned clients = 0, ours = 0, servers = 0;
	const struct target *target;

	for (uint32_t i = 0; (target = service_target(service, i)); i++)
		servers |= check_families_of_pool(target);
	for (uint32_t i = 0; i < service->n_listeners; i++)
		clients |= 1u << service->listeners[i].addr.family;
	for (uint32_t i = 0; i < service->snat_from.n; i++)
		ours |= 1u << service->snat_from.at[i].family;
	servers &= 1u << SY_IPV4 | 1u << SY_IPV6;
	clients &= 1u << SY_IPV4 | 1u << SY_IPV6;
	if (service->snat == SNAT_OFF && servers && clients &&
	    (clients | servers) != (clients & servers))
		complain(
		    binder->complaints, check_place(service, "snat"),
		    "snat off needs clients and servers of one kind, and virtual-service %s mixes "
		    "IPv4 and IPv6",
		    service->name);
	if (ours && (servers & ~ours))
		complain(binder->complaints, check_place(service, "snat"),
			 "snat has no %s address, and servers of virtual-service %s have one",
			 servers & ~ours & 1u << SY_IPV4 ? "IPv4" : "IPv6", service->name);
}

static void
check_weights(struct binder *binder, const struct service *service, const struct pool *pool)
{
	bool weighted = false;

	for (uint32_t i = 0; i < pool->n_servers; i++)
		weighted |= pool->servers[i].weight > 0;
	if (pool->n_servers && !weighted)
		complain_mildly(
		    binder->complaints, pool->node,
		    "all servers of pool %s have weight 0: virtual-service %s (%s:%u) will "
		    "refuse everybody%s",
		    pool->name, service->name, service->node->file, service->node->line,
		    pool == service->target.pool ? "" : " who is meant for it");
}

static void
check_numbers(struct binder *binder, const struct service *service)
{
	const struct service_settings *settings = &service->settings;
	const struct pool *pool = service->target.pool;

	if (pool)
		check_weights(binder, service, pool);
	for (uint32_t i = 0; i < service->n_more; i++)
		check_weights(binder, service, service->more[i].pool);
	if (pool && pool->n_servers && settings->minimum_up > pool->n_servers)
		complain(binder->complaints, check_place(service, "minimum-up"),
			 "minimum-up %u: pool %s has only %u server%s, so virtual-service %s could "
			 "never "
			 "be up",
			 settings->minimum_up, pool->name, pool->n_servers,
			 pool->n_servers == 1 ? "" : "s", service->name);
	if (settings->max_connections &&
	    settings->max_connections_per_source > settings->max_connections)
		complain_mildly(
		    binder->complaints, check_place(service, "max-connections-per-source"),
		    "max-connections-per-source %u is never reached: max-connections is %u "
		    "(%s:%u)",
		    settings->max_connections_per_source, settings->max_connections,
		    check_place(service, "max-connections")->file,
		    check_place(service, "max-connections")->line);
	if (settings->max_rate.per_second &&
	    settings->max_rate_per_source.per_second > settings->max_rate.per_second)
		complain_mildly(
		    binder->complaints, check_place(service, "max-rate-per-source"),
		    "max-rate-per-source %u/s is never reached: max-rate is %u/s (%s:%u)",
		    settings->max_rate_per_source.per_second, settings->max_rate.per_second,
		    check_place(service, "max-rate")->file, check_place(service, "max-rate")->line);
}

/* A pool that a monitor names must be one that the service uses. */
static void
check_monitor_pools(struct binder *binder, const struct service *service)
{
	for (uint32_t i = 0; i < service->n_monitors; i++) {
		const struct sy_list *pools = &service->monitors[i].settings.pools;

		for (uint32_t k = 0; k < pools->n; k++) {
			const struct target *target;
			bool used = false;

			for (uint32_t t = 0; !used && (target = service_target(service, t)); t++)
				used = target->pool && strcmp(target->pool->name, pools->at[k]) == 0;
			if (!used)
				complain(binder->complaints, service->monitors[i].use.node,
					 "pools: virtual-service %s does not use a pool %s", service->name,
					 pools->at[k]);
		}
	}
}

static void
check_monitors(struct binder *binder, const struct service *service)
{
	const struct node *policy = node_child(service->node, "monitor-policy");
	const struct pool *pool = service->target.pool;
	const struct node *slow = pool ? node_child(pool->node, "slow-start") : NULL;

	if (!node_child(service->node, "monitor"))
		complain_mildly(
		    binder->complaints, service->node,
		    "virtual-service %s has no monitor: its servers count as up whatever "
		    "happens to them (monitor off; says that this is meant)",
		    service->name);
	if (slow && pool->slow_start.ms && service->n_monitors == 0)
		complain_mildly(binder->complaints, slow,
				"slow-start needs a monitor: virtual-service %s "
				"(%s:%u) has none, so no server of pool %s ever comes back there",
				service->name, service->node->file, service->node->line,
				pool->name);
	if (policy && !policy->filled && service->n_monitors < 2)
		complain_mildly(binder->complaints, policy,
				"monitor-policy needs more than one monitor to mean anything");
}

/* A key that is not kept is good for a scheduler that hashes, and for nothing else. */
static void
check_persistence(struct binder *binder, const struct service *service)
{
	const struct sy_persistence *ops =
		service->persistence.module ? service->persistence.module->ops : NULL;
	const struct sy_scheduler *scheduler =
		service->scheduler.module ? service->scheduler.module->ops : NULL;

	if (ops && scheduler && !ops->named && !service->life.timeout_ms &&
	    !(scheduler->wants & SY_WANT_KEY))
		complain_mildly(binder->complaints, service->persistence.node,
				"persistence %s keeps nothing (timeout 0), and scheduler %s does not go by "
				"keys: it has no effect. scheduler source-hash does, or set a timeout",
				service->persistence.module->name, service->scheduler.module->name);
}

void
bind_check_service(struct binder *binder, const struct service *service)
{
	if (!service->name)
		return;
	check_transports(binder, service);
	check_proxy_header(binder, service);
	check_tls(binder, service);
	check_families(binder, service);
	check_numbers(binder, service);
	check_monitors(binder, service);
	check_monitor_pools(binder, service);
	check_persistence(binder, service);
	lint_check_statements(binder, service);
}

static bool
check_is_loopback(const struct sy_addr *addr)
{
	static const uint8_t one[16] = { [15] = 1 };

	return addr->family == SY_IPV4 ? addr->ip[0] == 127 : memcmp(addr->ip, one, sizeof(one)) == 0;
}

/* The console speaks HTTP in clear and lets those look who come from this machine. So it listens
 * nowhere else, and what brings others to it must say who they are. */
static void
check_console_listens(struct binder *binder)
{
	const struct config *config = binder->config;

	for (uint32_t i = 0; i < config->n_console; i++)
		if (!check_is_loopback(&config->console[i].addr))
			complain(binder->complaints, config->console[i].node,
				 "the console listens on this machine's loopback only (127.0.0.1:8090); for "
				 "others put a virtual-service with tls and send-proxy console in front");
}

static bool
check_is_console(const struct config *config, const struct target *target, const struct server *server)
{
	struct sy_addr addr = server->addr;

	addr.port = target_port(target, server, 0);
	for (uint32_t i = 0; i < config->n_console; i++)
		if (addr.port && memcmp(&addr, &config->console[i].addr, sizeof(addr)) == 0)
			return true;
	return false;
}

static void
check_console_service(struct binder *binder, const struct service *service)
{
	const struct target *target = &service->target;
	bool sends = service->settings.send_proxy.index == SEND_PROXY_CONSOLE;

	for (uint32_t i = 0; sends && i < service->n_listeners; i++)
		if (!service->listeners[i].tls)
			complain(binder->complaints, service->listeners[i].node,
				 "send-proxy console needs tls here: passwords come this way");
	for (uint32_t i = 0; target->pool && i < target->pool->n_servers; i++) {
		const struct server *server = &target->pool->servers[i];

		if (sends && !check_is_loopback(&server->addr))
			complain(binder->complaints, server->node,
				 "send-proxy console is for the console of this machine: a loopback address");
		if (!sends && server->name && check_is_console(binder->config, target, server))
			complain(binder->complaints, server->node,
				 "this is the console: virtual-service %s needs send-proxy console; and tls, or "
				 "its clients would be taken for people on this machine", service->name);
	}
}

static void
check_console(struct binder *binder)
{
	const struct node *console = node_child(binder->config->root, "console");

	check_console_listens(binder);

	if (console && node_child(console, "allow") && !node_child(console, "listen"))
		complain_mildly(
		    binder->complaints, node_child(console, "allow"),
		    "allow needs a listen: the console answers on the control socket only, and who "
		    "may open that is said with control PATH mode= group=");
}

void
bind_check(struct binder *binder)
{
	const struct config *config = binder->config;
	struct names *used = names_new(binder->scratch);

	check_console(binder);
	if (config->n_services == 0 && binder->complaints->errors == 0)
		complain_mildly(binder->complaints, config->root,
				"there is no virtual-service: nothing will "
				"be balanced");
	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		const struct target *target;

		if (service->name)
			check_console_service(binder, service);
		for (uint32_t j = 0; (target = service_target(service, j)); j++)
			if (target->pool)
				names_add(used, target->pool->name, (void *)service);
	}
	for (uint32_t i = 0; i < config->n_pools; i++)
		if (config->pools[i].name && !names_find(used, config->pools[i].name))
			complain_mildly(binder->complaints, config->pools[i].node,
					"pool %s is not used by any virtual-service",
					config->pools[i].name);
	/* Only the loader has no board, and somebody who listens. */
	if (binder->board || binder->complaints->errors > 0)
		return;
	check_routes(binder);
	lint(binder);
}
