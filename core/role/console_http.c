/* HTTP by libmicrohttpd, driven by our loop: each entrance has a daemon whose epoll descriptor is watched
 * like any other. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "role/access.h"
#include "role/live.h"

static bool
http_route_fits(const struct route *route, const char *path, char **tail)
{
	size_t len = strlen(route->path);

	if (len && route->path[len - 1] == '*') {
		if (strncmp(path, route->path, len - 1) != 0 || !path[len - 1])
			return false;
		free(*tail);
		*tail = strdup(path + len - 1);
		return *tail != NULL;
	}
	return strcmp(path, route->path) == 0;
}

/* Finds the route, or answers why there is none. */
static void
http_route(struct request *request, const char *method, const char *path)
{
	bool known = false;

	for (const struct route *route = console_routes; route->path; route++) {
		if (!http_route_fits(route, path, &request->tail))
			continue;
		known = true;
		if (strcmp(route->method, method) != 0)
			continue;
		request->route = route;
		access_check(request);
		return;
	}
	if (known)
		request_error(request, 405, "%s is not for %s", method, path);
	else
		request_error(request, 404, "there is no %s; GET /v1 lists what there is", path);
}

/* Everything that the page needs comes from here, and nobody else's page may take or frame it. */
void
http_headers(struct MHD_Response *response, const char *type)
{
	mhd.add_response_header(response, "Content-Type", type);
	mhd.add_response_header(response, "Cache-Control", "no-store");
	mhd.add_response_header(response, "X-Content-Type-Options", "nosniff");
	mhd.add_response_header(response, "Content-Security-Policy",
	                        "default-src 'none'; script-src 'self'; style-src 'self'; "
	                        "img-src 'self'; connect-src 'self'; base-uri 'none'; "
	                        "form-action 'none'; frame-ancestors 'none'");
	mhd.add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
	mhd.add_response_header(response, "Referrer-Policy", "no-referrer");
}

static enum MHD_Result
http_send(struct request *request)
{
	struct MHD_Response *response;
	enum MHD_Result result;
	const char *type = request->type ? request->type : "text/plain; charset=utf-8";
	char *bytes = request->text;
	size_t len = request->text_len;

	if (request->route && request->route->access == ACCESS_OPERATE)
		audit_request(request);
	if (request->streams)
		return stream_send(request);
	if (request->answer) {
		bytes = json_dumps(request->answer, JSON_COMPACT | JSON_REAL_PRECISION(6));
		len = bytes ? strlen(bytes) : 0;
		type = "application/json";
	}
	request->text = NULL;
	if (request->constant)
		response = mhd.create_response_from_buffer(len, (void *)(uintptr_t)request->constant,
		                                           MHD_RESPMEM_PERSISTENT);
	else
		response = mhd.create_response_from_buffer(bytes ? len : 0, bytes ? bytes : strdup(""),
		                                           MHD_RESPMEM_MUST_FREE);
	if (!response)
		return MHD_NO;
	http_headers(response, type);
	if (request->cookie[0])
		mhd.add_response_header(response, "Set-Cookie", request->cookie);
	if (request->retry_s) {
		char seconds[16];

		snprintf(seconds, sizeof(seconds), "%u", request->retry_s);
		mhd.add_response_header(response, "Retry-After", seconds);
	}
	result = mhd.queue_response(request->connection, request->status, response);
	mhd.destroy_response(response);
	return result;
}

/* A browser of another site must not reach us by a name of its own (DNS rebinding). Behind TLS the
 * certificate sees to that. */
static bool
http_host_ok(struct request *request)
{
	const char *host = mhd.lookup_connection_value(request->connection, MHD_HEADER_KIND, "Host");
	char name[64];
	struct sy_addr addr;
	size_t len;

	if (request->peer->way != PEER_LOOPBACK || !host)
		return true;
	/* An address cannot be bound anew; a name can be anybody's, even one that begins with 127. */
	if (addr_parse(host, &addr))
		return true;
	len = strcspn(host, ":");
	if (len >= sizeof(name))
		return false;
	memcpy(name, host, len);
	name[len] = '\0';
	return strcasecmp(name, "localhost") == 0 || strcasecmp(name, "steelyard") == 0;
}

static void
http_handle(struct request *request)
{
	json_error_t problem;

	if (request->too_big) {
		request_error(request, 413, "the body is over %d bytes", CONSOLE_BODY);
		return;
	}
	if (request->body_len) {
		request->args = json_loadb(request->body, request->body_len, 0, &problem);
		if (!json_is_object(request->args)) {
			request_error(request, 400, "the body is not a JSON object: %s",
			              request->args ? "it is of another type" : problem.text);
			return;
		}
	}
	if (args_check(request))
		request->route->handle(request);
}

static enum MHD_Result
http_access(void *context, struct MHD_Connection *connection, const char *path, const char *method,
            const char *version, const char *data, size_t *len, void **state)
{
	struct request *request = *state;

	(void)version;
	if (!request) {
		request = calloc(1, sizeof(*request));
		if (!request)
			return MHD_NO;
		*state = request;
		link_init(&request->link);
		request->entrance = context;
		request->console = request->entrance->console;
		request->connection = connection;
		request->peer = door_peer(connection);
		if (!request->peer)
			return MHD_NO;
		snprintf(request->path, sizeof(request->path), "%s", path);
		if (!http_host_ok(request))
			request_error(request, 403, "this Host is not one of ours");
		else if (!request->console->child->current)
			request_error(request, 503, "no configuration is in use yet");
		else
			http_route(request, method, path);
		return MHD_YES;
	}
	if (*len) {
		size_t n = *len;

		if (n > CONSOLE_BODY - request->body_len) {
			request->too_big = true;
			n = 0;
		}
		memcpy(request->body + request->body_len, data, n);
		request->body_len += n;
		*len = 0;
		return MHD_YES;
	}
	request->peer->since_ms = 0;
	if (!request->status && !request->waits)
		http_handle(request);
	if (request->status)
		return http_send(request);
	if (!request->suspended) {
		request->suspended = true;
		mhd.suspend_connection(connection);
	}
	return MHD_YES;
}

static void
http_completed(void *context, struct MHD_Connection *connection, void **state,
               enum MHD_RequestTerminationCode how)
{
	struct peer *peer = door_peer(connection);
	struct entrance *entrance = context;

	(void)how;
	if (peer)
		peer->since_ms = entrance->console->child->now_ms;
	if (*state)
		request_end(*state);
	*state = NULL;
}

static void
entrance_run(struct entrance *entrance)
{
	MHD_UNSIGNED_LONG_LONG ms;

	mhd.run(entrance->daemon);
	ev_timer_stop(entrance->console->child->loop, &entrance->timer);
	if (mhd.get_timeout(entrance->daemon, &ms) == MHD_YES) {
		ev_timer_set(&entrance->timer, (double)ms / 1000, 0);
		ev_timer_start(entrance->console->child->loop, &entrance->timer);
	}
}

static void
entrance_readable(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	entrance_run(container_of(io, struct entrance, io));
}

static void
entrance_due(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	entrance_run(container_of(timer, struct entrance, timer));
}

void
entrances_run(struct console *console)
{
	for (unsigned i = 0; i < CONSOLE_LISTENERS; i++)
		if (console->entrances[i].daemon)
			entrance_run(&console->entrances[i]);
}

static bool
entrances_owe(const struct console *console)
{
	for (unsigned i = 0; i < CONSOLE_LISTENERS; i++)
		if (console->entrances[i].daemon && door_has_fresh(&console->entrances[i]))
			return true;
	return false;
}

/* A connection that was accepted a moment ago is not closed before it is heard: its request is on the way, and the
 * successor, which has the same listening socket, cannot answer it. */
void
entrances_hear_out(struct console *console)
{
	enum { LOOKS = 100, PAUSE_NS = 5000000 };

	for (unsigned i = 0; i < LOOKS && entrances_owe(console); i++) {
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
		entrances_run(console);
	}
}

void
entrance_open(struct console *console, uint64_t listener, int fd)
{
	const union MHD_DaemonInfo *info;
	struct entrance *entrance = NULL;
	struct sy_err err;

	if (mhd_load(&err) != 0) {
		log_err("%s", err.text);
		close(fd);
		return;
	}
	entrance_close(console, listener);
	for (unsigned i = 0; i < CONSOLE_LISTENERS && !entrance; i++)
		if (!console->entrances[i].daemon)
			entrance = &console->entrances[i];
	if (!entrance) {
		log_err("console: more than %d addresses to listen on", CONSOLE_LISTENERS);
		close(fd);
		return;
	}
	*entrance = (struct entrance){ .console = console, .listener = listener, .fd = fd };
	link_init(&entrance->peers);
	link_init(&entrance->arrivals);
	entrance->daemon = mhd.start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
		http_access, entrance, MHD_OPTION_CONNECTION_LIMIT, CONSOLE_PEERS + 1u,
		MHD_OPTION_CONNECTION_TIMEOUT, 30u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384,
		MHD_OPTION_NOTIFY_COMPLETED, http_completed, entrance,
		MHD_OPTION_NOTIFY_CONNECTION, door_connection, entrance, MHD_OPTION_END);
	if (!entrance->daemon) {
		log_err("console: the HTTP server does not start on its socket");
		close(fd);
		return;
	}
	info = mhd.get_daemon_info(entrance->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	must(info != NULL);
	ev_io_init(&entrance->io, entrance_readable, info->epoll_fd, EV_READ);
	ev_timer_init(&entrance->timer, entrance_due, 0, 0);
	ev_io_start(console->child->loop, &entrance->io);
	ev_io_init(&entrance->accept, door_readable, fd, EV_READ);
	ev_io_start(console->child->loop, &entrance->accept);
}

void
entrance_close(struct console *console, uint64_t listener)
{
	for (unsigned i = 0; i < CONSOLE_LISTENERS; i++) {
		struct entrance *entrance = &console->entrances[i];

		if (!entrance->daemon || entrance->listener != listener)
			continue;
		ev_io_stop(console->child->loop, &entrance->io);
		ev_io_stop(console->child->loop, &entrance->accept);
		ev_timer_stop(console->child->loop, &entrance->timer);
		/* The library does not stop while a connection is suspended. */
		requests_leave(console, entrance);
		streams_end(console, entrance);
		mhd.run(entrance->daemon);
		door_close_arrivals(entrance);
		mhd.stop_daemon(entrance->daemon);
		close(entrance->fd);
		entrance->daemon = NULL;
	}
}
