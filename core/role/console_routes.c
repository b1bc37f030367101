/* The API: what there is, and who answers. Everything that steelyardctl does goes through here. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "role/api.h"
#include "role/live.h"

static void
api_index(struct request *request)
{
	json_t *list = json_array();

	for (const struct route *route = console_routes; route->path; route++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s}", "method", route->method,
		                                      "path", route->path, "changes", route->changes,
		                                      "what", route->doc));
	request_json(request, json_pack("{s:s, s:o}", "version", PACKAGE_VERSION, "routes", list));
}

static void
api_events(struct request *request)
{
	request_json(request, events_json(request->console,
	                                  (unsigned)request_number(request, "limit", 100)));
}

const struct route console_routes[] = {
	{ "GET", "/v1", false, api_index, "this list" },
	{ "GET", "/v1/status", false, api_status, "one look" },
	{ "GET", "/v1/services", false, api_services, "all services with their servers" },
	{ "GET", "/v1/services/*", false, api_service, "one service" },
	{ "GET", "/v1/servers", false, api_servers, "all servers over all services" },
	{ "POST", "/v1/servers/*", true, api_wish,
	  "{wish: drain|disable|enable, weight: N|\"configured\", service, pool}" },
	{ "GET", "/v1/connections", false, api_connections,
	  "live connections; service= server= client= limit=" },
	{ "DELETE", "/v1/connections", true, api_connections_close, "closes those that match" },
	{ "GET", "/v1/persistence", false, api_persistence, "entries; service= server= limit=" },
	{ "DELETE", "/v1/persistence", true, api_persistence_clear,
	  "forgets what matches; service= server=" },
	{ "GET", "/v1/processes", false, api_processes, "the processes of this instance" },
	{ "GET", "/v1/generations", false, api_generations, "configurations that are alive" },
	{ "GET", "/v1/certificates", false, api_certificates,
	  "certificates of tls blocks, with days left" },
	{ "GET", "/v1/checks", false, api_checks, "servers as the checker sees them" },
	{ "POST", "/v1/checks", true, api_check_now, "checks everything now" },
	{ "GET", "/v1/events", false, api_events, "what changed; limit=" },
	{ "GET", "/v1/config", false, api_config, "the configuration in use, normalised" },
	{ "GET", "/v1/explain", false, api_explain, "service= client=: the real pick, with reasons" },
	{ "GET", "/v1/memory", false, api_memory, "what the workers hold" },
	{ "POST", "/v1/reload", true, api_reload, "reads the configuration anew" },
	{ "POST", "/v1/logs/rotate", true, api_rotate, "reopens the log file" },
	{ "POST", "/v1/log-level", true, api_log_level, "{level: err|warn|info|debug}" },
	{ "GET", "/v1/live", false, api_live, "the whole as the page loads it, see live.h" },
	{ "GET", "/v1/stream", false, stream_open, "server-sent events: what moved, once a second" },
	{ "GET", "/v1/history", false, api_history, "rates and sizes; service= span=hour|day" },
	{ "GET", "/v1/history/services", false, api_history_services, "the hour's rate of every service" },
	{ "GET", "/v1/reasons", false, api_reasons, "how connections ended; service=" },
	{ "GET", "/v1/openapi.json", false, api_openapi, "this API in OpenAPI's words" },
	{ "GET", "/metrics", false, api_metrics, "Prometheus or OpenMetrics text" },
	{ "GET", "/", false, api_page, "the web page" },
	{ "GET", "/page/*", false, api_page_file, "its files" },
	{ "POST", "/v1/stop", true, api_stop, "{how: now|graceful}" },
	{ NULL, NULL, false, NULL, NULL }
};
