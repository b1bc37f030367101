/* The handlers of the API, see console_routes.c. */
#ifndef ROLE_API_H
#define ROLE_API_H

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "role/console.h"

/* api_look.c */
void api_status(struct request *request);
void api_services(struct request *request);
void api_service(struct request *request);
void api_servers(struct request *request);
void api_checks(struct request *request);
void api_reasons(struct request *request);
/* api_certificates.c */
void api_certificates(struct request *request);
/* api_process.c */
void api_processes(struct request *request);
void api_generations(struct request *request);
void api_config(struct request *request);
void api_memory(struct request *request);
/* api_tables.c */
void api_connections(struct request *request);
void api_connections_close(struct request *request);
void api_persistence(struct request *request);
void api_persistence_clear(struct request *request);
/* api_act.c */
void api_wish(struct request *request);
void api_reload(struct request *request);
void api_confirm(struct request *request);
void api_rotate(struct request *request);
void api_log_level(struct request *request);
void api_stop(struct request *request);
void api_check_now(struct request *request);
/* console_page.c */
void api_page(struct request *request);
void api_page_file(struct request *request);
void api_openapi(struct request *request);
void api_live(struct request *request);
/* console_history.c */
void api_history(struct request *request);
void api_history_services(struct request *request);
/* api_preflight.c */
void api_preflight(struct request *request);
/* api_metrics.c */
void api_metrics(struct request *request);
/* api_effect.c */
void api_effect(struct request *request);
/* api_explain.c */
void api_explain(struct request *request);
/* api_recorder.c */
void api_recorder(struct request *request);
void api_ended(struct request *request);
/* api_trace.c */
void api_trace(struct request *request);
void api_trace_end(struct request *request);

/* client= as an address or a network; *net is left alone without it. False after a 400. */
bool api_client_net(struct request *request, struct sy_net *net);
/* The service of that name, or NULL after a 404 that names what is near. */
const struct service *api_find_service(struct request *request, const char *name);
/* Whether any pool has a server of that name; false after a 404 that names what is near. */
bool api_knows_server(struct request *request, const char *name);
/* The one server of that name; pool and service (of whose pools it is) narrow it down, or are NULL.
 * False: answered. */
bool api_find_server(struct request *request, const char *name, const char *pool_name,
                     const struct service *service, const struct pool **in,
                     const struct server **out);

#endif
