#include <string.h>

#include "base/hash.h"
#include "conf/bind.h"

/* Of one service: each of them is as many sockets as there are slots. */
enum { LISTENERS_MAX = 1024 };

struct listen_text {
	struct sy_addr addr;
	uint16_t last;            /* port; addr.port is the first */
	uint32_t transport;
};

static bool
listen_wrong(struct binder *binder, const struct node *node, const char *text, const char *why)
{
	complain(binder->complaints, node, "listen %s: %s", *text ? text : "\"\"", why);
	return false;
}

static bool
listen_ports(const char *text, struct listen_text *out)
{
	char copy[16], *dash;
	uint64_t from, to;

	snprintf(copy, sizeof(copy), "%s", text);
	dash = strchr(copy, '-');
	if (dash)
		*dash = '\0';
	if (!uint_parse(copy, &from) || !uint_parse(dash ? dash + 1 : copy, &to) ||
	    to > UINT16_MAX || from > to || (dash && from == 0))
		return false;
	out->addr.port = (uint16_t)from;
	out->last = (uint16_t)to;
	return true;
}

/* "203.0.113.10:443", "[::]:5070-5076", "*:3478/udp". */
static bool
listen_parse(struct binder *binder, const struct node *node, uint32_t arg, struct listen_text *out)
{
	const char *text = node_arg(node, arg), *slash = strchr(text, '/');
	char copy[300];
	struct host_port split;
	struct sy_addr addr;

	*out = (struct listen_text){ .transport = TRANSPORT_TCP };
	if (slash && strcmp(slash, "/udp") == 0)
		out->transport = TRANSPORT_UDP;
	else if (slash && strcmp(slash, "/tcp") != 0)
		return listen_wrong(binder, node, text, "what follows the port is /udp or /tcp");
	if (snprintf(copy, sizeof(copy), "%.*s", slash ? (int)(slash - text) : (int)strlen(text),
		     text) >= (int)sizeof(copy) ||
	    !host_port_split(copy, &split))
		return listen_wrong(binder, node, text,
				    "an address and a port are expected, such as "
				    "192.0.2.1:443, [2001:db8::1]:443 or *:443");
	if (!split.has_port)
		return listen_wrong(binder, node, text, strchr(text, ':')
			? "a port is missing; an IPv6 address stands in brackets: [2001:db8::1]:443"
			: strspn(text, "0123456789") == strlen(text)
			? "an address is missing; * stands for all of them: *:443"
			: "a port is missing: 192.0.2.1:443");
	if (!listen_ports(split.port, out))
		return listen_wrong(binder, node, text,
				    "a port is a number from 1 to 65535, or a range of "
				    "them such as 5070-5076 (0: any port that is free)");
	if (node->found_what == FOUND_ADDRESSES && node->found[arg].len)
		snprintf(split.host, sizeof(split.host), "%s", (const char *)node->found[arg].at);
	if (!addr_parse(strcmp(split.host, "*") == 0 ? "0.0.0.0" : split.host, &addr))
		return listen_wrong(binder, node, text, "an address is expected before the port");
	addr.port = out->addr.port;
	out->addr = addr;
	return true;
}

/* Two listeners with port 0 are two sockets, so the id must tell them apart. */
static const char *
listen_name(struct binder *binder, const struct listener *listener, uint32_t ordinal)
{
	const char *transport = listener->transport == TRANSPORT_UDP ? "udp" : "tcp";
	char addr[ADDR_TEXT_SIZE];

	addr_text(&listener->addr, addr);
	if (listener->addr.port)
		return arena_printf(binder->scratch, "%s %s", transport, addr);
	return arena_printf(binder->scratch, "%s %s %s %u", transport, addr,
			    listener->service && listener->service->name ? listener->service->name
									 : " console",
			    ordinal);
}

static void
listen_add(struct binder *binder, struct listener *listener, uint32_t ordinal)
{
	const char *name = listen_name(binder, listener, ordinal);
	const struct listener *first = names_add(binder->listeners, name, listener);
	char addr[ADDR_TEXT_SIZE];

	listener->id = hash_id(name, NULL);
	if (!first)
		return;
	addr_text(&listener->addr, addr);
	if (first->service == listener->service)
		complain(binder->complaints, listener->node,
			 "listen %s is there twice; the first time at "
			 "%s:%u",
			 addr, first->node->file, first->node->line);
	else
		complain(binder->complaints, listener->node,
			 "listen %s belongs to %s%s already (%s:%u)", addr,
			 first->service ? "virtual-service " : "the console",
			 first->service && first->service->name ? first->service->name : "",
			 first->node->file, first->node->line);
}

static struct tls *
listen_tls(struct binder *binder, const struct node *node, const struct service *service)
{
	if (!node->block || !service)
		return NULL;
	bind_rows(binder, node, node->n_args, NULL, NULL, listen_others);
	return bind_tls(binder, node, true,
			arena_printf(binder->arena, "virtual-service %s",
				     service->name ? service->name : ""));
}

/* Goes over all addresses, with `out` NULL only to count them. */
static uint32_t
listen_walk(struct binder *binder, const struct node *block, struct service *service,
	    struct complaints *complaints, bool tcp_only, struct listener *out)
{
	struct complaints *told = binder->complaints;
	uint32_t n = 0;

	binder->complaints = complaints;
	for (const struct node *node = block->children; node; node = node->next) {
		struct tls *tls = out && strcmp(node->name, "listen") == 0
				? listen_tls(binder, node, service) : NULL;

		for (uint32_t i = 0; strcmp(node->name, "listen") == 0 && i < node->n_args; i++) {
			struct listen_text text;

			if (!listen_parse(binder, node, i, &text))
				continue;
			if (tcp_only && text.transport == TRANSPORT_UDP)
				listen_wrong(binder, node, node_arg(node, i),
					     "/udp is not possible here");
			if (tls && text.transport == TRANSPORT_UDP)
				listen_wrong(binder, node, node_arg(node, i),
					     "tls is not possible with /udp");
			for (uint32_t port = text.addr.port; port <= text.last; port++, n++) {
				if (!out || n >= LISTENERS_MAX)
					continue;
				out[n] = (struct listener){ .addr = text.addr,
							   .transport = text.transport,
							   .service = service,
							   .tls = tls,
							   .node = node };
				out[n].addr.port = (uint16_t)port;
				listen_add(binder, &out[n], n);
			}
		}
	}
	binder->complaints = told;
	return n;
}

void
bind_listens(struct binder *binder, const struct node *block, struct service *service,
	     bool tcp_only, struct listener **out, uint32_t *n)
{
	struct complaints quiet = { .told = COMPLAINTS_TOLD + 1 };

	*n = listen_walk(binder, block, service, &quiet, tcp_only, NULL);
	if (*n > LISTENERS_MAX)
		complain(binder->complaints, node_child(block, "listen"),
			 "%u addresses and ports to listen on; one service has at most %d", *n,
			 LISTENERS_MAX);
	*n = *n > LISTENERS_MAX ? LISTENERS_MAX : *n;
	*out = arena_array(binder->arena, struct listener, *n);
	listen_walk(binder, block, service, binder->complaints, tcp_only, *out);
	for (const struct node *node = block->children; node; node = node->next) {
		if (strcmp(node->name, "listen") != 0)
			continue;
		if (node->n_args == 0)
			complain(binder->complaints, node,
				 "listen needs an address and a port: listen *:443;");
		if (node->block && !service)
			complain(binder->complaints, node, "listen of the console takes no block");
	}
}
