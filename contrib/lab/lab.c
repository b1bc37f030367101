/* The servers of one process as a whole: added, opened, stopped. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct lab_service lab_control_service = {
    .name = "control",
    .transport = LAB_TCP,
    .handler = &handler_control,
};

static const struct lab_role lab_control_role = {
    .name = "control",
    .services = &lab_control_service,
    .count = 1,
};

int
lab_add(struct lab *lab, const char *name, const char *address, const char *role,
	struct lab_err *err)
{
	struct lab_server *servers =
	    realloc(lab->servers, ((size_t)lab->count + 1) * sizeof(*servers));
	struct lab_server *server;

	if (!servers)
		return err_set(err, "out of memory");
	lab->servers = servers;
	server = &servers[lab->count];
	memset(server, 0, sizeof(*server));
	if (addr_parse_host(&server->addr, address, err))
		return -1;
	if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
		strlen(name) ||
	    !*name || strlen(name) > 40)
		return err_set(err,
			       "\"%s\" cannot be a server's name: 1 to 40 letters, digits, "
			       "'-', '_' and '.'",
			       name);
	server->role = strchr(role, '/') ? service_make_role(role, err) : service_role(role);
	if (!server->role && strchr(role, '/'))
		return -1;
	if (!server->role)
		return err_set(err,
			       "\"%s\" is not a role (%s) and not a list of services such as "
			       "5061/tls,80/tcp:web,0/udp",
			       role, service_role_names());
	server->lab = lab;
	server->name = strdup(name);
	lab->count++;
	if (!server->name)
		return err_set(err, "out of memory");
	return 0;
}

static int
lab_certify(struct lab_server *server, struct lab_pki *pki, int days, struct lab_err *err)
{
	const char *names[16];
	char file[128], own[64];
	struct pki_subject subject = {
	    .file = file,
	    .names = names,
	    .addr = server->addr,
	    .days = days,
	};
	int count = 0;

	while (server->role->names[count] && count < 14) {
		names[count] = server->role->names[count];
		count++;
	}
	snprintf(own, sizeof(own), "%s.lab.test", server->name);
	snprintf(file, sizeof(file), "%s-%s", server->name, server->role->name);
	names[count] = own;
	names[count + 1] = NULL;
	server->tls = pki_server(pki, &subject, err);
	return server->tls ? 0 : -1;
}

static int
lab_open_server(struct lab *lab, struct lab_server *server, struct lab_err *err)
{
	server->lab = lab;
	server->listeners = calloc((size_t)server->role->count, sizeof(*server->listeners));
	if (!server->listeners)
		return err_set(err, "out of memory");
	for (int i = 0; i < server->role->count; i++) {
		const struct lab_service *service = &server->role->services[i];
		struct lab_listener *listener = &server->listeners[server->count];

		if ((service->flags & SERVICE_OPTIONAL) && !lab->optional)
			continue;
		listener->server = server;
		listener->service = service;
		listener->addr = server->addr;
		addr_set_port(&listener->addr, service->port);
		if (listener_open(listener, err))
			return -1;
		server->count++;
	}
	return 0;
}

int
lab_open(struct lab *lab, const char *state, int days, const char *control, struct lab_err *err)
{
	struct lab_pki *pki = pki_open(state, err);
	int result = pki ? 0 : -1;

	for (int i = 0; !result && i < lab->count; i++)
		result = lab_certify(&lab->servers[i], pki, days, err);
	pki_close(pki);
	for (int i = 0; !result && i < lab->count; i++)
		result = lab_open_server(lab, &lab->servers[i], err);
	if (result || !control)
		return result;
	lab->control = (struct lab_server){.name = strdup("control"), .role = &lab_control_role};
	if (!lab->control.name)
		return err_set(err, "out of memory");
	return addr_parse_path(&lab->control.addr, control, err) ||
		       lab_open_server(lab, &lab->control, err)
		   ? -1
		   : 0;
}

struct lab_buf
lab_ports(const struct lab *lab)
{
	struct lab_buf text = {0};
	char addr[ADDR_TEXT];

	for (int i = 0; i < lab->count; i++) {
		const struct lab_server *server = &lab->servers[i];

		for (int j = 0; j < server->count; j++) {
			const struct lab_listener *listener = &server->listeners[j];

			buf_print(&text, "%s%s:%s=%s/%s", text.len ? " " : "", server->name,
				  listener->service->name, addr_text(&listener->addr, addr),
				  transport_name(listener->service->transport));
		}
	}
	buf_add(&text, "", 1);
	return text;
}

void
lab_conn_ended(struct lab *lab)
{
	lab->open--;
	if (lab->stopping && !lab->open)
		ev_break(lab->loop, EVBREAK_ALL);
}

static void
lab_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)timer;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

static void
lab_stop_listener(struct lab_listener *listener)
{
	listener_accept_pending(listener);
	listener_close(listener);
	for (struct lab_conn *conn = listener->conns, *next; conn; conn = next) {
		next = conn->next;
		conn_run(conn);
	}
}

void
lab_stop(struct lab *lab)
{
	if (lab->stopping) {
		ev_break(lab->loop, EVBREAK_ALL);
		return;
	}
	lab->stopping = true;
	if (lab->control.count)
		listener_close(&lab->control.listeners[0]);
	for (int i = 0; i < lab->count; i++)
		for (int j = 0; j < lab->servers[i].count; j++)
			lab_stop_listener(&lab->servers[i].listeners[j]);
	ev_timer_init(&lab->deadline, lab_deadline, lab->grace, 0);
	ev_timer_start(lab->loop, &lab->deadline);
	if (!lab->open)
		ev_break(lab->loop, EVBREAK_ALL);
}

static void
lab_close_server(struct lab_server *server)
{
	for (int i = 0; i < server->count; i++) {
		listener_close(&server->listeners[i]);
		while (server->listeners[i].conns)
			conn_close(server->listeners[i].conns, false);
	}
	free(server->listeners);
	web_sessions_free(&server->web);
	free(server->name);
	if (server->role)
		service_free_role(server->role);
	SSL_CTX_free(server->tls);
}

void
lab_close(struct lab *lab)
{
	ev_timer_stop(lab->loop, &lab->deadline);
	for (int i = 0; i < lab->count; i++)
		lab_close_server(&lab->servers[i]);
	lab_close_server(&lab->control);
	free(lab->servers);
}
