#include <string.h>

#include "base/hash.h"
#include "conf/bind.h"

/* The address, as written or as the loader has found it. */
static void
bind_server_addr(struct binder *binder, const struct node *node, struct server *server)
{
	static const struct sy_row row = { .name = "the address", .type = SY_ROW_ADDR };
	struct row_value value = { node_arg(node, 1), sy_span("", 0), node };
	struct host_port split;

	if (node->found_what == FOUND_ADDRESSES)
		value.found = node->found[1];
	if (!row_parse(binder->arena, &row, &value, 1, &server->addr, binder->complaints))
		return;
	if (value.found.len && host_port_split(value.text, &split))
		server->host = arena_text(binder->arena, split.host);
}

static void
bind_server(struct binder *binder, const struct node *node, struct pool *pool, struct names *names)
{
	struct server *server = &pool->servers[pool->n_servers], *first;
	struct server_conf conf = { 0 };

	server->name = bind_name(binder, node);
	server->node = node;
	bind_rows(binder, node, 2, server_rows, &conf, NULL);
	server->weight = conf.weight;
	server->max_connections = conf.max_connections;
	if (!server->name)
		return;
	if (node->n_args < 2 || strchr(node_arg(node, 1), '=')) {
		complain(binder->complaints, node,
			 "server %s needs an address: server %s 192.0.2.1;", server->name,
			 server->name);
		return;
	}
	bind_server_addr(binder, node, server);
	if (conf.port && server->addr.port)
		complain(binder->complaints, node,
			 "server %s has two ports: %u with the address, and port=%u", server->name,
			 server->addr.port, conf.port);
	if (conf.port)
		server->addr.port = (uint16_t)conf.port;
	first = names_add(names, server->name, server);
	if (first) {
		complain(binder->complaints, node,
			 "server %s is there twice in pool %s; the first time "
			 "at %s:%u",
			 server->name, pool->name, first->node->file, first->node->line);
		return;
	}
	server->id = hash_id(pool->name, server->name, NULL);
	server->cell = bind_cell(binder, CELL_OTHER, server->id, node);
	pool->n_servers++;
}

static void
bind_same_address(struct binder *binder, struct pool *pool)
{
	struct names *addresses = names_new(binder->scratch);

	for (uint32_t i = 0; i < pool->n_servers; i++) {
		struct server *server = &pool->servers[i], *first;
		char addr[ADDR_TEXT_SIZE];

		first = names_add(
		    addresses, arena_text(binder->scratch, addr_text(&server->addr, addr)), server);
		if (first && server->addr.family != SY_NO_ADDR)
			complain_mildly(binder->complaints, server->node,
					"server %s of pool %s has the same address as %s (%s:%u)",
					server->name, pool->name, first->name, first->node->file,
					first->node->line);
	}
}

void
bind_pool(struct binder *binder, const struct node *node, struct pool *pool)
{
	struct names *names = names_new(binder->scratch);
	struct pool *first;

	pool->name = bind_name(binder, node);
	pool->node = node;
	pool->servers = arena_array(binder->arena, struct server, bind_count(node, "server"));
	bind_rows(binder, node, 1, pool_rows, pool, pool_others);
	if (!pool->name)
		return;
	first = names_add(binder->pools, pool->name, pool);
	if (first)
		complain(binder->complaints, node,
			 "pool %s is there twice; the first time at %s:%u", pool->name,
			 first->node->file, first->node->line);
	for (const struct node *child = node->children; child; child = child->next)
		if (strcmp(child->name, "server") == 0)
			bind_server(binder, child, pool, names);
	if (!node_child(node, "server"))
		complain(binder->complaints, node, "pool %s has no servers: server NAME ADDRESS;",
			 pool->name);
	pool->tls = bind_tls(binder, node, false, arena_printf(binder->arena, "pool %s", pool->name));
	bind_tls_servers(binder, pool->tls, pool);
	bind_same_address(binder, pool);
}
