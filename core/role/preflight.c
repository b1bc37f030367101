#include "role/preflight.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/names.h"
#include "net/rtnetlink.h"
#include "net/socket.h"

struct look {
	const struct preflight *preflight;
	struct arena *arena;
	struct names *said;       /* words: several services have one fact in common */
	struct ifaddrs *interfaces;
	uint32_t mark;            /* of packets for us; 0: manage-routing is off */
};

__attribute__((format(printf, 5, 6))) static void
look_say(struct look *look, const struct service *service, const char *setting, const char *name,
         const char *format, ...)
{
	const struct node *at = node_child(service->node, setting);
	struct finding finding = { .name = name, .service = service, .at = at ? at : service->node };
	char words[600];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	finding.words = arena_text(look->arena, words);
	if (!names_add(look->said, finding.words, look))
		look->preflight->say(look->preflight->context, &finding);
}

/* ---- facts ---- */

/* -1: there is no such thing. `interface` stands for the %s in the path. */
static int
look_sysctl(const char *path, const char *interface)
{
	char name[160];
	int value = -1;
	FILE *in;

	snprintf(name, sizeof(name), path, interface);
	in = fopen(name, "re");
	if (!in)
		return -1;
	if (fscanf(in, "%d", &value) != 1)
		value = -1;
	fclose(in);
	return value;
}

/* Of those where the stricter of two counts. */
static int
look_sysctl_most(const char *path, const char *interface)
{
	int all = look_sysctl(path, "all"), own = look_sysctl(path, interface);

	return all > own ? all : own;
}

/* For examples (RFC 5737, RFC 3849), so nobody's. */
static void
look_anybody(unsigned family, struct sy_addr *out)
{
	addr_parse(family == SY_IPV4 ? "192.0.2.1" : "2001:db8::1", out);
}

static struct sy_addr
look_client(const struct look *look, unsigned family)
{
	struct sy_addr anybody;

	if (look->preflight->client.family == family)
		return look->preflight->client;
	look_anybody(family, &anybody);
	return anybody;
}

static const char *
look_interface(unsigned index, char out[static IF_NAMESIZE])
{
	return if_indextoname(index, out) ? out : "?";
}

/* The interface that has the address, and its network. NULL: none has. */
static const struct ifaddrs *
look_holder(const struct look *look, const struct sy_addr *addr, struct sy_net *net)
{
	for (const struct ifaddrs *at = look->interfaces; at; at = at->ifa_next) {
		struct sockaddr_storage name = { 0 };
		struct sy_addr own;
		size_t size;

		if (!at->ifa_addr || !at->ifa_netmask ||
		    (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6))
			continue;
		size = at->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
		                                          : sizeof(struct sockaddr_in6);
		memcpy(&name, at->ifa_addr, size);
		if (!socket_addr(&name, &own) || own.family != addr->family ||
		    memcmp(own.ip, addr->ip, sizeof(own.ip)) != 0)
			continue;
		memcpy(&name, at->ifa_netmask, size);
		name.ss_family = at->ifa_addr->sa_family;
		socket_addr(&name, &own);
		net->bits = 0;
		for (unsigned i = 0; i < (addr->family == SY_IPV4 ? 4u : 16u); i++)
			net->bits = (uint8_t)(net->bits + __builtin_popcount(own.ip[i]));
		net->addr = sy_addr_mask(*addr, net->bits);
		return at;
	}
	return NULL;
}

/* ---- the way there and back ---- */

/* In the kernel's words, why a packet that comes in is dropped. */
static void
look_refused(struct look *look, const struct service *service, const struct sy_addr *from,
             const struct sy_addr *to, unsigned interface, int error)
{
	char source[ADDR_TEXT_SIZE], target[ADDR_TEXT_SIZE], name[IF_NAMESIZE];
	int filter;

	addr_ip_text(from, source);
	addr_ip_text(to, target);
	look_interface(interface, name);
	filter = look_sysctl_most("/proc/sys/net/ipv4/conf/%s/rp_filter", name);
	if (from->family == SY_IPV4 && filter == 1)
		look_say(look, service, "snat", "rp-filter",
		         "rp_filter is 1 on %s, and drops packets from %s to %s that come in there, because "
		         "the way to %s is another one%s: sysctl -w net.ipv4.conf.%s.rp_filter=2", name, source,
		         target, source,
		         look_sysctl_most("/proc/sys/net/ipv4/conf/%s/src_valid_mark", name) == 1
		         ? " (or src_valid_mark is 1: it should be 0)" : "", name);
	else
		look_say(look, service, "snat", "route",
		         "packets from %s to %s that come in on %s are dropped: %s", source, target, name,
		         strerror(error));
}

/* A packet of a client to the service, by the interface that has the address. */
static void
look_at_clients(struct look *look, const struct service *service, const struct sy_addr *vip)
{
	struct sy_addr client = look_client(look, vip->family);
	const struct ifaddrs *holder;
	struct rtnetlink_way way;
	struct sy_err err;
	struct sy_net net;
	unsigned interface;

	holder = look_holder(look, vip, &net);
	if (!holder || holder->ifa_flags & IFF_LOOPBACK)
		return;
	interface = if_nametoindex(holder->ifa_name);
	if (rtnetlink_ask(vip, &client, interface, 0, &way, &err) == 0 && way.error)
		look_refused(look, service, &client, vip, interface, way.error);
}

static void
look_at_network(struct look *look, const struct service *service, const struct server *server)
{
	char text[ADDR_TEXT_SIZE], network[ADDR_TEXT_SIZE];

	for (uint32_t i = 0; i < service->n_listeners; i++) {
		const struct sy_addr *vip = &service->listeners[i].addr;
		struct sy_net net;

		if (!look_holder(look, vip, &net) || !sy_net_has(&net, &server->addr))
			continue;
		look_say(look, service, "snat", "same-network",
		         "clients in %s get the answers of server %s (%s) without this machine, from an address "
		         "that they did not ask, and drop them: with snat off clients must be in another network "
		         "than the servers", net_text(&net, network), server->name,
		         addr_ip_text(&server->addr, text));
		return;
	}
}

/* An answer of the server to a client: does it come to us, or pass by? */
static void
look_at_answers(struct look *look, const struct service *service, const struct server *server,
                unsigned interface)
{
	struct sy_addr client = look_client(look, server->addr.family);
	char text[ADDR_TEXT_SIZE], name[IF_NAMESIZE];
	struct rtnetlink_way way;
	struct sy_err err;

	if (!look->preflight->in_use ||
	    rtnetlink_ask(&client, &server->addr, interface, look->mark, &way, &err) != 0 || way.local)
		return;
	if (way.error == EXDEV || way.error == EINVAL) {
		look_refused(look, service, &server->addr, &client, interface, way.error);
		return;
	}
	addr_ip_text(&server->addr, text);
	look_interface(interface, name);
	if (look->mark)
		look_say(look, service, "snat", "answers",
		         "answers of server %s (%s) that come in on %s are not taken for this machine's, "
		         "although manage-routing is on: another policy rule stands before the one with mark "
		         "%u, or the process routing could not make it (see the log)", server->name, text, name,
		         look->mark);
	else
		look_say(look, service, "snat", "answers",
		         "answers of server %s (%s) that come in on %s have clients' addresses, and nothing "
		         "here takes them for this machine's: manage-routing on", server->name, text, name);
}

static void
look_at_server(struct look *look, const struct service *service, const struct server *server)
{
	char text[ADDR_TEXT_SIZE], gateway[ADDR_TEXT_SIZE];
	struct rtnetlink_way way;
	struct sy_err err;

	addr_ip_text(&server->addr, text);
	if (rtnetlink_ask(&server->addr, NULL, 0, 0, &way, &err) != 0)
		return;
	if (way.error) {
		look_say(look, service, "pool", "route", "there is no way to server %s (%s): %s", server->name,
		         text, strerror(way.error));
		return;
	}
	if (way.local)
		return;
	if (way.gateway.family != SY_NO_ADDR)
		look_say(look, service, "snat", "gateway",
		         "server %s (%s) is reached by %s, which must send its answers to clients here, and "
		         "not to the clients: check its routes", server->name, text,
		         addr_ip_text(&way.gateway, gateway));
	else
		look_at_network(look, service, server);
	look_at_answers(look, service, server, way.interface);
}

static void
look_at_transparency(struct look *look, const struct service *service)
{
	const struct target *target;

	for (uint32_t i = 0; i < service->n_listeners; i++)
		look_at_clients(look, service, &service->listeners[i].addr);
	for (uint32_t t = 0; (target = service_target(service, t)); t++)
		for (uint32_t i = 0; i < target->pool->n_servers; i++)
			look_at_server(look, service, &target->pool->servers[i]);
}

/* ---- what servers do by themselves ---- */

static void
look_at_forwarding(struct look *look, const struct service *service, const struct pool *pool)
{
	bool outbound = service->settings.outbound_snat;
	const char *what = outbound ? "connections of the servers end here"
	                            : "servers whose default gateway is this machine reach nobody but its "
	                              "services";
	const char *setting = outbound ? "outbound-snat" : "snat";

	for (uint32_t i = 0; i < pool->n_servers; i++) {
		bool six = pool->servers[i].addr.family == SY_IPV6;

		if (six && look_sysctl("/proc/sys/net/ipv6/conf/all/forwarding%s", "") == 0)
			look_say(look, service, setting, "forwarding",
			         "net.ipv6.conf.all.forwarding is 0: %s: sysctl -w net.ipv6.conf.all.forwarding=1",
			         what);
		if (!six && look_sysctl("/proc/sys/net/ipv4/ip_forward%s", "") == 0)
			look_say(look, service, setting, "forwarding",
			         "net.ipv4.ip_forward is 0: %s: sysctl -w net.ipv4.ip_forward=1", what);
	}
}

/* One arm: a server is told that the router is nearer, and goes there with its own address. */
static void
look_at_redirects(struct look *look, const struct service *service, const struct server *server)
{
	struct rtnetlink_way out, in;
	struct sy_addr anybody;
	char name[IF_NAMESIZE];
	struct sy_err err;

	look_anybody(SY_IPV4, &anybody);
	if (server->addr.family != SY_IPV4 || rtnetlink_ask(&anybody, NULL, 0, 0, &out, &err) != 0 ||
	    rtnetlink_ask(&server->addr, NULL, 0, 0, &in, &err) != 0 || out.error || in.error ||
	    in.local || out.interface != in.interface)
		return;
	look_interface(in.interface, name);
	if (look_sysctl_most("/proc/sys/net/ipv4/conf/%s/send_redirects", name) == 1)
		look_say(look, service, "outbound-snat", "redirects",
		         "send_redirects is 1 on %s, where the servers and the way out are: servers are told to "
		         "go to the router themselves, with their own addresses: sysctl -w "
		         "net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.%s.send_redirects=0", name, name);
}

static void
look_at_outbound(struct look *look, const struct service *service)
{
	const struct pool *pool = service->target.pool;

	for (uint32_t i = 0; i < pool->n_servers; i++)
		look_at_redirects(look, service, &pool->servers[i]);
}

static void
look_at_addresses(struct look *look, const struct service *service)
{
	char text[ADDR_TEXT_SIZE];

	for (uint32_t i = 0; i < service->snat_from.n; i++) {
		const struct sy_addr *addr = &service->snat_from.at[i];
		bool six = addr->family == SY_IPV6;
		struct rtnetlink_way way;
		struct sy_err err;

		if (rtnetlink_ask(addr, NULL, 0, 0, &way, &err) != 0 || way.local ||
		    look_sysctl(six ? "/proc/sys/net/ipv6/ip_nonlocal_bind%s"
		                    : "/proc/sys/net/ipv4/ip_nonlocal_bind%s", "") == 1)
			continue;
		look_say(look, service, "snat", "nonlocal",
		         "this machine does not have the address %s: no connection to a server can leave from "
		         "there until it has (on a standby node: sysctl -w net.ipv%c.ip_nonlocal_bind=1)",
		         addr_ip_text(addr, text), six ? '6' : '4');
	}
}

/* ---- all of it ---- */

/* Of an instance that was killed, while manage-routing is off now. */
static void
look_at_leftovers(struct look *look, const struct service *service)
{
	uint32_t table = look->preflight->config->global.routing_table;
	struct rtnetlink_way way;
	struct sy_addr anybody;
	struct sy_err err;

	for (unsigned family = SY_IPV4; family <= SY_IPV6; family += SY_IPV6 - SY_IPV4) {
		look_anybody(family, &anybody);
		if (rtnetlink_ask(&anybody, NULL, 0, table, &way, &err) != 0 || way.error || !way.local)
			continue;
		look_say(look, service, "snat", "leftover",
		         "an instance that was killed left routes and rules (table and mark %u, nftables table "
		         "inet steelyard-%u): a reload with manage-routing on takes them over, and the next one "
		         "with off removes them", table, table);
	}
}

static void
look_at_service(struct look *look, const struct service *service)
{
	look_at_addresses(look, service);
	if (service->snat == SNAT_OFF)
		look_at_transparency(look, service);
	if (service->settings.outbound_snat)
		look_at_outbound(look, service);
	if (look->mark && (service->settings.outbound_snat || service->snat == SNAT_OFF))
		look_at_forwarding(look, service, service->target.pool);
}

void
preflight(const struct preflight *ask)
{
	const struct config *config = ask->config;
	struct look look = {
		.preflight = ask,
		.arena = arena_new(),
		.mark = config->global.manage_routing ? config->global.routing_table : 0,
	};

	look.said = names_new(look.arena);
	if (getifaddrs(&look.interfaces) != 0)
		look.interfaces = NULL;
	for (uint32_t i = 0; i < config->n_services && !ask->leftovers; i++)
		if (config->services[i].settings.enabled)
			look_at_service(&look, &config->services[i]);
	if (ask->in_use && !look.mark && config->n_services)
		look_at_leftovers(&look, &config->services[0]);
	if (look.interfaces)
		freeifaddrs(look.interfaces);
	arena_free(look.arena);
}
