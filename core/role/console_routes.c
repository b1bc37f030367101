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
	{ "GET", "/v1", ACCESS_LOOK, api_index, "this list", NULL, NULL },
	{ "GET", "/v1/session", ACCESS_OPEN, api_session, "who one is, and what one may", NULL, NULL },
	{ "POST", "/v1/login", ACCESS_OPEN, api_login, "{user, password}: a session",
	  "user password", NULL },
	{ "POST", "/v1/logout", ACCESS_OPEN, api_logout, "ends it", NULL, NULL },
	{ "GET", "/v1/effect", ACCESS_LOOK, api_effect,
	  "what a wish would do: server= wish= weight= service= pool=",
	  "server wish weight service pool", NULL },
	{ "GET", "/v1/status", ACCESS_LOOK, api_status, "one look", NULL, NULL },
	{ "GET", "/v1/services", ACCESS_LOOK, api_services, "all services with their servers", NULL, NULL },
	{ "GET", "/v1/services/*", ACCESS_LOOK, api_service, "one service", NULL, NULL },
	{ "GET", "/v1/servers", ACCESS_LOOK, api_servers, "all servers over all services",
	  "server", NULL },
	{ "POST", "/v1/servers/*", ACCESS_OPERATE, api_wish,
	  "{wish: drain|disable|enable, weight: N|\"configured\", service, pool}",
	  "wish service pool", "weight" },
	{ "GET", "/v1/connections", ACCESS_LOOK, api_connections,
	  "live connections; service= server= client= limit=", "service server client limit", NULL },
	{ "DELETE", "/v1/connections", ACCESS_OPERATE, api_connections_close, "closes those that match",
	  "service server client limit", NULL },
	{ "GET", "/v1/connections/ended", ACCESS_LOOK, api_ended,
	  "what has ended lately, and why; service= server= client= end= limit=",
	  "service server client end limit", NULL },
	{ "POST", "/v1/trace", ACCESS_OPERATE, api_trace,
	  "{service, client, seconds, bytes, decrypted}: begins to record what is said",
	  "service client", "seconds bytes decrypted" },
	{ "POST", "/v1/trace/end", ACCESS_OPERATE, api_trace_end, "ends it: a capture file (pcapng)", NULL, NULL },
	{ "GET", "/v1/recorder", ACCESS_LOOK, api_recorder, "the flight recorder; limit=", "limit", NULL },
	{ "GET", "/v1/persistence", ACCESS_LOOK, api_persistence, "entries; service= server= client= limit=",
	  "service server client limit", NULL },
	{ "DELETE", "/v1/persistence", ACCESS_OPERATE, api_persistence_clear,
	  "forgets what matches; service= server= client=", "service server client", NULL },
	{ "GET", "/v1/processes", ACCESS_LOOK, api_processes, "the processes of this instance", NULL, NULL },
	{ "GET", "/v1/generations", ACCESS_LOOK, api_generations, "configurations that are alive", NULL, NULL },
	{ "GET", "/v1/certificates", ACCESS_LOOK, api_certificates,
	  "certificates of tls blocks, with days left", NULL, NULL },
	{ "GET", "/v1/checks", ACCESS_LOOK, api_checks, "servers as the checker sees them", NULL, NULL },
	{ "POST", "/v1/checks", ACCESS_OPERATE, api_check_now, "checks everything now", NULL, NULL },
	{ "GET", "/v1/events", ACCESS_LOOK, api_events, "what changed; limit=", "limit", NULL },
	{ "GET", "/v1/config", ACCESS_LOOK, api_config, "the configuration in use, normalised", NULL, NULL },
	{ "GET", "/v1/explain", ACCESS_LOOK, api_explain, "service= client= pool=: the real pick, with reasons",
	  "service client pool", NULL },
	{ "GET", "/v1/preflight", ACCESS_LOOK, api_preflight,
	  "what of this machine's routing is not as snat off needs it; client=", "client", NULL },
	{ "GET", "/v1/memory", ACCESS_LOOK, api_memory, "what the workers hold", NULL, NULL },
	{ "POST", "/v1/reload", ACCESS_OPERATE, api_reload, "{confirm: 5m}: reads the configuration anew; on trial, if so said",
	  "confirm", NULL },
	{ "POST", "/v1/confirm", ACCESS_OPERATE, api_confirm, "what is on trial stays", NULL, NULL },
	{ "POST", "/v1/logs/rotate", ACCESS_OPERATE, api_rotate, "reopens the log file", NULL, NULL },
	{ "POST", "/v1/log-level", ACCESS_OPERATE, api_log_level, "{level: err|warn|info|debug}", "level", NULL },
	{ "GET", "/v1/live", ACCESS_LOOK, api_live, "the whole as the page loads it, see live.h", NULL, NULL },
	{ "GET", "/v1/stream", ACCESS_LOOK, stream_open, "server-sent events: what moved, once a second", NULL, NULL },
	{ "GET", "/v1/history", ACCESS_LOOK, api_history, "rates and sizes; service= span=hour|day",
	  "service span", NULL },
	{ "GET", "/v1/history/services", ACCESS_LOOK, api_history_services, "the hour's rate of every service", NULL, NULL },
	{ "GET", "/v1/reasons", ACCESS_LOOK, api_reasons, "how connections ended; service=", "service", NULL },
	{ "GET", "/v1/openapi.json", ACCESS_OPEN, api_openapi, "this API in OpenAPI's words", NULL, NULL },
	{ "GET", "/metrics", ACCESS_LOOK, api_metrics, "Prometheus or OpenMetrics text", NULL, NULL },
	{ "GET", "/", ACCESS_OPEN, api_page, "the web page", NULL, NULL },
	{ "GET", "/page/*", ACCESS_OPEN, api_page_file, "its files", NULL, NULL },
	{ "POST", "/v1/stop", ACCESS_OPERATE, api_stop, "{how: now|graceful}", "how", NULL },
	{ NULL, NULL, ACCESS_OPEN, NULL, NULL, NULL, NULL }
};
