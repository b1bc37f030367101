/* Live connections (asked of the workers) and persistence (read from the board). */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "role/api.h"
#include "share/persist.h"

/* The filter as the workers read it; false after a 400. */
static bool
tables_filter(struct request *request, char *out, size_t len)
{
	static const char *const names[] = { "service", "server", "client", "limit" };
	struct sy_net net;
	size_t used = 0;

	if (!api_client_net(request, &net))
		return false;
	out[0] = '\0';
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *value = request_query(request, names[i]);
		int n;

		if (!value)
			continue;
		if (strpbrk(value, " \t\r\n")) {
			request_error(request, 400, "%s= may not hold blanks", names[i]);
			return false;
		}
		n = snprintf(out + used, len - used, "%s%s=%s", used ? " " : "", names[i], value);
		if (n < 0 || (size_t)n >= len - used) {
			request_error(request, 400, "the filter is too long");
			return false;
		}
		used += (size_t)n;
	}
	return true;
}

/* A service or server that a new configuration has not may have connections still; where none was found,
 * its name is a mistake. False: answered. */
static bool
tables_known(struct request *request, bool found)
{
	const char *service = request_query(request, "service"), *server = request_query(request, "server");

	return found || ((!service || api_find_service(request, service)) &&
	                 (!server || api_knows_server(request, server)));
}

static void
connections_done(struct request *request, bool ok, const char *text)
{
	(void)ok;
	(void)text;
	if (!tables_known(request, json_array_size(request->gathered) > 0))
		return;
	request_json(request, json_pack("{s:o}", "connections",
	                                request->gathered ? json_incref(request->gathered)
	                                                  : json_array()));
}

void
api_connections(struct request *request)
{
	char filter[1024];

	if (tables_filter(request, filter, sizeof(filter)))
		request_ask(request, CONTROL_ASK, ASK_CONNECTIONS, filter, connections_done);
}

static void
close_done(struct request *request, bool ok, const char *text)
{
	json_int_t n = 0;
	size_t i;
	json_t *part;

	(void)ok;
	(void)text;
	json_array_foreach(request->gathered, i, part)
		n += json_integer_value(json_object_get(part, "closed"));
	if (!tables_known(request, n > 0))
		return;
	request_json(request, json_pack("{s:I}", "closed", n));
}

void
api_connections_close(struct request *request)
{
	char filter[1024];

	if (!request_query(request, "service") && !request_query(request, "server") &&
	    !request_query(request, "client")) {
		request_error(request, 400, "say which: ?service=, ?server= or ?client=");
		return;
	}
	if (tables_filter(request, filter, sizeof(filter)))
		request_ask(request, CONTROL_ASK, ASK_CLEAR_CONNECTIONS, filter, close_done);
}

struct persistence_walk {
	struct request *request;
	const struct config *config;
	const struct service *service;
	const char *server;
	const struct sy_addr *client; /* NULL: any */
	json_t *list;
	uint64_t limit, left_out, now_ms;
};

/* The key that a client's address makes in a service; len 0 when it takes more than that. */
static struct sy_key
persistence_key(const struct service *service, const struct sy_addr *client)
{
	const struct sy_persistence *ops = service->persistence.module->ops;
	struct sy_facts facts = { .client = *client };
	struct sy_key key = { .len = 0 };

	ops->key(service->persistence.conf, &facts, &key);
	return key;
}

static bool
persistence_is_of(const struct service *service, const struct sy_addr *client,
                  const struct sy_key *key)
{
	struct sy_key own = persistence_key(service, client);

	return own.len > 0 && own.len == key->len && memcmp(own.bytes, key->bytes, own.len) == 0;
}

/* False: the request was answered, because that is no address. */
static bool
persistence_client(struct request *request, struct sy_addr *client, bool *given)
{
	const char *text = request_query(request, "client");

	*given = text != NULL;
	if (!text || addr_parse(text, client))
		return true;
	request_error(request, 400, "client= is an address such as 192.0.2.7 or 2001:db8::1, not %s",
	              text);
	return false;
}

static const char *
persistence_server(const struct config *config, uint64_t id)
{
	for (uint32_t p = 0; p < config->n_pools; p++)
		for (uint32_t i = 0; i < config->pools[p].n_servers; i++)
			if (config->pools[p].servers[i].id == id)
				return config->pools[p].servers[i].name;
	return NULL;
}

/* Whose entries are these? Each pool of a service has its own. */
static bool
persistence_has(const struct service *service, uint64_t group)
{
	if (service->target.group == group)
		return true;
	for (uint32_t i = 0; i < service->n_more; i++)
		if (service->more[i].group == group)
			return true;
	return false;
}

static bool
persistence_each(void *context, const struct persist_entry_view *entry)
{
	struct persistence_walk *walk = context;
	const struct service *service = walk->service;
	const struct sy_persistence *ops;
	const char *server = persistence_server(walk->config, entry->server);
	char key[128] = "";

	for (uint32_t i = 0; !service && i < walk->config->n_services; i++)
		if (persistence_has(&walk->config->services[i], entry->group))
			service = &walk->config->services[i];
	if (!service || !persistence_has(service, entry->group) || !service->persistence.module)
		return true;
	if (walk->server && (!server || strcmp(server, walk->server) != 0))
		return true;
	if (walk->client && !persistence_is_of(service, walk->client, &entry->key))
		return true;
	if (json_array_size(walk->list) >= walk->limit) {
		walk->left_out++;
		return true;
	}
	ops = service->persistence.module->ops;
	if (ops->print)
		ops->print(service->persistence.conf, &entry->key, key, sizeof(key));
	json_array_append_new(walk->list, json_pack(
		"{s:s, s:s, s:s, s:I, s:I, s:I}", "service", service->name, "key", key,
		"server", server ? server : "(gone)",
		"age_ms", (json_int_t)(walk->now_ms - entry->created_ms),
		"idle_ms", (json_int_t)(walk->now_ms - entry->used_ms),
		"left_ms", (json_int_t)(entry->expires_ms - walk->now_ms)));
	return true;
}

void
api_persistence(struct request *request)
{
	struct child *child = request->console->child;
	const char *name = request_query(request, "service");
	struct persistence_walk walk = {
		.request = request, .config = child->current->config,
		.server = request_query(request, "server"),
		.limit = request_number(request, "limit", 1000), .now_ms = clock_ms(),
	};
	size_t used, capacity;
	struct sy_addr client;
	bool given;

	if (!persistence_client(request, &client, &given))
		return;
	walk.client = given ? &client : NULL;
	if (name) {
		walk.service = api_find_service(request, name);
		if (!walk.service)
			return;
	}
	walk.list = json_array();
	persist_each(child->board, walk.now_ms, persistence_each, &walk);
	persist_usage(child->board, walk.now_ms, &used, &capacity);
	request_json(request, json_pack("{s:o, s:I, s:I, s:I}", "entries", walk.list, "left_out",
	                                (json_int_t)walk.left_out, "used", (json_int_t)used,
	                                "capacity", (json_int_t)capacity));
}

static size_t
persistence_clear_groups(struct child *child, const struct service *service, uint64_t server,
                         const struct sy_key *key)
{
	size_t n = persist_clear(child->board, child->row, service->target.group, server, key);

	for (uint32_t i = 0; i < service->n_more; i++)
		n += persist_clear(child->board, child->row, service->more[i].group, server, key);
	return n;
}

/* server 0: any; client NULL: any. */
static size_t
persistence_clear(struct child *child, const struct service *service, uint64_t server,
                  const struct sy_addr *client)
{
	const struct config *config = child->current->config;
	struct sy_key key;
	size_t n = 0;

	if (!client && !service)
		return persist_clear(child->board, child->row, 0, server, NULL);
	if (!client)
		return persistence_clear_groups(child, service, server, NULL);
	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *each = &config->services[i];

		if ((service && each != service) || !each->persistence.module)
			continue;
		key = persistence_key(each, client);
		if (key.len)
			n += persistence_clear_groups(child, each, server, &key);
	}
	return n;
}

void
api_persistence_clear(struct request *request)
{
	struct child *child = request->console->child;
	const struct config *config = child->current->config;
	const char *service_name = request_query(request, "service");
	const char *server_name = request_query(request, "server");
	const struct service *service = NULL;
	struct sy_addr client;
	size_t n = 0;
	bool given;

	if (!persistence_client(request, &client, &given))
		return;
	if (service_name) {
		service = api_find_service(request, service_name);
		if (!service)
			return;
	}
	if (server_name && !api_knows_server(request, server_name))
		return;
	if (!server_name)
		n = persistence_clear(child, service, 0, given ? &client : NULL);
	for (uint32_t p = 0; server_name && p < config->n_pools; p++)
		for (uint32_t i = 0; i < config->pools[p].n_servers; i++)
			if (strcmp(config->pools[p].servers[i].name, server_name) == 0)
				n += persistence_clear(child, service, config->pools[p].servers[i].id,
				                       given ? &client : NULL);
	request_json(request, json_pack("{s:I}", "cleared", (json_int_t)n));
}
