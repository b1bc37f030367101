/* The API: what there is, and who answers. Everything that steelyardctl does goes through here. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "role/access.h"
#include "role/api.h"
#include "role/live.h"

static void
api_index(struct request *request)
{
	static const char *const words[] = { "nothing", "look", "operate" };
	json_t *list = json_array();

	for (const struct route *route = console_routes; route->path; route++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:s}", "method", route->method,
		                                      "path", route->path, "changes",
		                                      route->access == ACCESS_OPERATE, "needs",
		                                      words[route->access], "what", route->doc));
	request_json(request, json_pack("{s:s, s:o}", "version", PACKAGE_VERSION, "routes", list));
}

static void
api_events(struct request *request)
{
	request_json(request, events_json(request->console,
	                                  (unsigned)request_number(request, "limit", 100)));
}

const struct route console_routes[] = {
	{ "GET", "/v1", ACCESS_LOOK, api_index, "this list" },
	{ "GET", "/v1/session", ACCESS_OPEN, api_session, "who one is, and what one may" },
	{ "POST", "/v1/login", ACCESS_OPEN, api_login, "{user, password}: a session" },
	{ "POST", "/v1/logout", ACCESS_OPEN, api_logout, "ends it" },
	{ "GET", "/v1/effect", ACCESS_LOOK, api_effect,
	  "what a wish would do: server= wish= weight= service= pool=" },
	{ "GET", "/v1/status", ACCESS_LOOK, api_status, "one look" },
	{ "GET", "/v1/services", ACCESS_LOOK, api_services, "all services with their servers" },
	{ "GET", "/v1/services/*", ACCESS_LOOK, api_service, "one service" },
	{ "GET", "/v1/servers", ACCESS_LOOK, api_servers, "all servers over all services" },
	{ "POST", "/v1/servers/*", ACCESS_OPERATE, api_wish,
	  "{wish: drain|disable|enable, weight: N|\"configured\", service, pool}" },
	{ "GET", "/v1/connections", ACCESS_LOOK, api_connections,
	  "live connections; service= server= client= limit=" },
	{ "DELETE", "/v1/connections", ACCESS_OPERATE, api_connections_close, "closes those that match" },
	{ "GET", "/v1/connections/ended", ACCESS_LOOK, api_ended,
	  "what has ended lately, and why; service= server= client= end= limit=" },
	{ "POST", "/v1/trace", ACCESS_OPERATE, api_trace,
	  "{service, client, seconds, bytes, decrypted}: begins to record what is said" },
	{ "POST", "/v1/trace/end", ACCESS_OPERATE, api_trace_end, "ends it: a capture file (pcapng)" },
	{ "GET", "/v1/recorder", ACCESS_LOOK, api_recorder, "the flight recorder; limit=" },
	{ "GET", "/v1/persistence", ACCESS_LOOK, api_persistence, "entries; service= server= limit=" },
	{ "DELETE", "/v1/persistence", ACCESS_OPERATE, api_persistence_clear,
	  "forgets what matches; service= server=" },
	{ "GET", "/v1/processes", ACCESS_LOOK, api_processes, "the processes of this instance" },
	{ "GET", "/v1/generations", ACCESS_LOOK, api_generations, "configurations that are alive" },
	{ "GET", "/v1/certificates", ACCESS_LOOK, api_certificates,
	  "certificates of tls blocks, with days left" },
	{ "GET", "/v1/checks", ACCESS_LOOK, api_checks, "servers as the checker sees them" },
	{ "POST", "/v1/checks", ACCESS_OPERATE, api_check_now, "checks everything now" },
	{ "GET", "/v1/events", ACCESS_LOOK, api_events, "what changed; limit=" },
	{ "GET", "/v1/config", ACCESS_LOOK, api_config, "the configuration in use, normalised" },
	{ "GET", "/v1/explain", ACCESS_LOOK, api_explain, "service= client=: the real pick, with reasons" },
	{ "GET", "/v1/preflight", ACCESS_LOOK, api_preflight,
	  "what of this machine's routing is not as snat off needs it; client=" },
	{ "GET", "/v1/memory", ACCESS_LOOK, api_memory, "what the workers hold" },
	{ "POST", "/v1/reload", ACCESS_OPERATE, api_reload, "{confirm: 5m}: reads the configuration anew; on trial, if so said" },
	{ "POST", "/v1/confirm", ACCESS_OPERATE, api_confirm, "what is on trial stays" },
	{ "POST", "/v1/logs/rotate", ACCESS_OPERATE, api_rotate, "reopens the log file" },
	{ "POST", "/v1/log-level", ACCESS_OPERATE, api_log_level, "{level: err|warn|info|debug}" },
	{ "GET", "/v1/live", ACCESS_LOOK, api_live, "the whole as the page loads it, see live.h" },
	{ "GET", "/v1/stream", ACCESS_LOOK, stream_open, "server-sent events: what moved, once a second" },
	{ "GET", "/v1/history", ACCESS_LOOK, api_history, "rates and sizes; service= span=hour|day" },
	{ "GET", "/v1/history/services", ACCESS_LOOK, api_history_services, "the hour's rate of every service" },
	{ "GET", "/v1/reasons", ACCESS_LOOK, api_reasons, "how connections ended; service=" },
	{ "GET", "/v1/openapi.json", ACCESS_OPEN, api_openapi, "this API in OpenAPI's words" },
	{ "GET", "/metrics", ACCESS_LOOK, api_metrics, "Prometheus or OpenMetrics text" },
	{ "GET", "/", ACCESS_OPEN, api_page, "the web page" },
	{ "GET", "/page/*", ACCESS_OPEN, api_page_file, "its files" },
	{ "POST", "/v1/stop", ACCESS_OPERATE, api_stop, "{how: now|graceful}" },
	{ NULL, NULL, ACCESS_OPEN, NULL, NULL }
};
