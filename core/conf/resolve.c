#include "conf/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "conf/rows.h"

struct resolved {
	struct sy_addr addr;
	unsigned n;               /* different addresses that the name has */
	const char *problem;      /* NULL: none */
};

static struct sy_addr
resolve_addr(const struct sockaddr *from)
{
	struct sy_addr addr = { 0 };

	if (from->sa_family == AF_INET) {
		memcpy(addr.ip, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
		addr.family = SY_IPV4;
	} else if (from->sa_family == AF_INET6) {
		memcpy(addr.ip, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
		addr.family = SY_IPV6;
	}
	return addr;
}

/* The first address in the system's order of preference (RFC 6724). */
static void
resolve_ask(const char *name, struct resolved *out)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int result = getaddrinfo(name, NULL, &hints, &list);

	if (result != 0) {
		out->problem = gai_strerror(result);
		return;
	}
	for (struct addrinfo *at = list; at; at = at->ai_next) {
		struct sy_addr addr = resolve_addr(at->ai_addr);

		if (addr.family == SY_NO_ADDR)
			continue;
		if (out->n++ == 0)
			out->addr = addr;
	}
	if (out->n == 0)
		out->problem = "the name has no address";
	freeaddrinfo(list);
}

static const struct resolved *
resolve_name(struct resolver *resolver, const char *name)
{
	struct resolved *resolved = names_find(resolver->known, name);

	if (resolved)
		return resolved;
	resolved = arena_new_of(resolver->arena, struct resolved);
	resolve_ask(name, resolved);
	names_add(resolver->known, arena_text(resolver->arena, name), resolved);
	return resolved;
}

/* Digits, dots and slashes: a mistyped address, which DNS need not be asked for. */
static bool
resolve_looks_numeric(const char *host)
{
	return strspn(host, "0123456789.") == strlen(host) || strchr(host, ':');
}

static struct sy_span
resolve_text(struct resolver *resolver, const struct node *node, const char *text)
{
	const char *slash = strchr(text, '/');
	const struct sy_span nothing = { NULL, 0 };
	const struct resolved *resolved;
	char addr[ADDR_TEXT_SIZE];
	struct host_port split;
	struct sy_addr ignored;

	if (slash)
		text = arena_text_n(resolver->arena, text, (size_t)(slash - text));
	if (!host_port_split(text, &split) || strcmp(split.host, "*") == 0 ||
	    addr_parse(split.host, &ignored) || resolve_looks_numeric(split.host) ||
	    strchr(split.host, '='))
		return nothing; /* an address, or something that binding will complain about */
	resolved = resolve_name(resolver, split.host);
	if (resolved->problem) {
		complain(resolver->complaints, node, "%s: cannot find the address of %s: %s",
			 node->name, split.host, resolved->problem);
		return sy_span_text("0.0.0.0"); /* one complaint is enough */
	}
	addr_ip_text(&resolved->addr, addr);
	if (resolved->n > 1)
		complain_mildly(resolver->complaints, node, "%s has %u addresses; %s is used",
				split.host, resolved->n, addr);
	return sy_span_text(arena_text(resolver->arena, addr));
}

void
resolve_args(struct resolver *resolver, struct node *node, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < node->n_args && i - first < n; i++) {
		struct sy_span found = resolve_text(resolver, node, node_arg(node, i));

		if (found.len == 0)
			continue;
		if (node->found_what == FOUND_NOTHING)
			node->found = arena_array(resolver->arena, struct sy_span, node->n_args);
		node->found_what = FOUND_ADDRESSES;
		node->found[i] = found;
	}
}
