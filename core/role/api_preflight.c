/* Whether this machine is as snat off and its like need it. */
#include "role/api.h"
#include "role/preflight.h"

static void
preflight_found(void *context, const struct finding *finding)
{
	json_array_append_new(context, json_pack("{s:s, s:s, s:s}", "name", finding->name, "service",
	                                         finding->service->name, "words", finding->words));
}

static void
preflight_done(struct request *request, bool ok, const char *text)
{
	const struct config *config = request->console->child->current->config;
	const char *client = request_query(request, "client");
	json_t *findings = json_array();
	struct preflight ask = {
		.config = config, .in_use = true, .say = preflight_found, .context = findings,
	};

	(void)ok, (void)text;
	if (client)
		addr_parse(client, &ask.client);
	preflight(&ask);
	request_json(request, json_pack("{s:b, s:o, s:o}", "manage_routing", config->global.manage_routing,
	                                "findings", findings, "asked",
	                                request->gathered ? json_incref(request->gathered)
	                                                  : json_array()));
}

void
api_preflight(struct request *request)
{
	const char *client = request_query(request, "client");
	struct sy_addr addr;

	if (client && (!addr_parse(client, &addr) || addr.port != 0))
		request_error(request, 400, "client= is an address without a port");
	else
		request_ask(request, CONTROL_ASK, ASK_ROUTES, client, preflight_done);
}
