#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* A Front End pool whose balancer carries everything. Where nobody knows what is spoken, handler-say.c. */
static const struct lab_service service_front_end[] = {
    {"sip", 5061, LAB_TLS, SERVICE_ASKS, &handler_sip},
    {"focus", 444, LAB_TLS, SERVICE_ASKS, &handler_web},
    {"dcom", 135, LAB_TCP, 0, &handler_say},
    {"web-int", 443, LAB_TLS, 0, &handler_web},
    {"web-int-clear", 80, LAB_TCP, 0, &handler_web},
    {"web-ext", 4443, LAB_TLS, 0, &handler_web},
    {"web-ext-clear", 8080, LAB_TCP, 0, &handler_web},
    {"cac", 448, LAB_TCP, SERVICE_OPTIONAL, &handler_say},
    {"sip-clear", 5060, LAB_TCP, SERVICE_SENDS_HOME, &handler_sip},
    {"app-sharing", 5065, LAB_TCP, 0, &handler_sip},
    {"mediation-tls", 5067, LAB_TLS, 0, &handler_sip},
    {"mediation", 5068, LAB_TCP, 0, &handler_sip},
    {"qoe", 5069, LAB_TCP, 0, &handler_sip},
    {"mediation-fe", 5070, LAB_TCP, 0, &handler_sip},
    {"response-group", 5071, LAB_TCP, 0, &handler_sip},
    {"attendant", 5072, LAB_TCP, 0, &handler_sip},
    {"announcement", 5073, LAB_TCP, 0, &handler_sip},
    {"call-park", 5075, LAB_TCP, 0, &handler_sip},
    {"audio-test", 5076, LAB_TCP, 0, &handler_sip},
    {"turn-bandwidth", 5080, LAB_TCP, 0, &handler_say},
    {"psom", 8057, LAB_TLS, 0, &handler_psom}, /* not behind the balancer: clients are sent to this server */
};

static const struct lab_service service_edge_internal[] = {
    {"sip", 5061, LAB_TLS, SERVICE_MUTUAL, &handler_sip},
    {"av-auth", 5062, LAB_TLS, SERVICE_MUTUAL, &handler_sip},
    {"turn-tcp", 443, LAB_TCP, 0, &handler_turn},
    {"turn-udp", 3478, LAB_UDP, 0, &handler_turn},
};

static const struct lab_service service_edge_access[] = {
    {"sip-users", 443, LAB_TLS, 0, &handler_sip},
    {"federation", 5061, LAB_TLS, SERVICE_MUTUAL, &handler_sip},
};

static const struct lab_service service_edge_webconf[] = {
    {"psom", 443, LAB_TLS, 0, &handler_psom},
};

static const struct lab_service service_edge_av[] = {
    {"turn-tcp", 443, LAB_TCP, 0, &handler_turn},
    {"turn-udp", 3478, LAB_UDP, 0, &handler_turn},
};

static const char *const service_fe_names[] = {
    "fepool.lab.test", "sip.lab.test",          "webint.lab.test",
    "webext.lab.test", "lyncdiscover.lab.test", "lyncdiscoverinternal.lab.test",
    "meet.lab.test",   "dialin.lab.test",       NULL,
};
static const char *const service_edge_names[] = {"edgepool.lab.test", NULL};
static const char *const service_access_names[] = {"access.lab.test", "sip.lab.test", NULL};
static const char *const service_webconf_names[] = {"webconf.lab.test", NULL};
static const char *const service_av_names[] = {"av.lab.test", NULL};
static const char *const service_own_names[] = {"pool.lab.test", NULL};

static const struct lab_role service_roles[] = {
    {"front-end", service_fe_names, service_front_end, COUNT(service_front_end), false},
    {"edge-internal", service_edge_names, service_edge_internal, COUNT(service_edge_internal),
     false},
    {"edge-access", service_access_names, service_edge_access, COUNT(service_edge_access), false},
    {"edge-webconf", service_webconf_names, service_edge_webconf, COUNT(service_edge_webconf),
     false},
    {"edge-av", service_av_names, service_edge_av, COUNT(service_edge_av), false},
};

static const struct lab_handler *const service_handlers[] = {
    &handler_say, &handler_sip, &handler_web, &handler_turn, &handler_psom,
};

const struct lab_role *
service_role(const char *name)
{
	for (int i = 0; i < COUNT(service_roles); i++)
		if (!strcmp(service_roles[i].name, name))
			return &service_roles[i];
	return NULL;
}

const char *
service_role_names(void)
{
	static char names[128];
	size_t len = 0;

	for (int i = 0; !names[0] || i < COUNT(service_roles); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
					service_roles[i].name);
	return names;
}

static int
service_set_handler(struct lab_service *service, const char *name, struct lab_err *err)
{
	for (int i = 0; i < COUNT(service_handlers); i++) {
		if (strcmp(name, service_handlers[i]->name))
			continue;
		service->handler = service_handlers[i];
		if (service->transport == LAB_UDP && !service->handler->datagram)
			return err_set(err, "the handler %s does not speak UDP", name);
		return 0;
	}
	return err_set(err, "\"%s\" is not a handler: say, sip, web, turn or psom", name);
}

/* Reads "port/transport" with an optional ":handler" and "+mutual" or "+asks". */
static int
service_parse(struct lab_service *service, char *text, struct lab_err *err)
{
	char *slash = strchr(text, '/'), *plus = strchr(text, '+'), *colon = strchr(text, ':');
	uint64_t port;

	if (!slash)
		return err_set(err, "\"%s\" is not port/transport", text);
	if (plus)
		*plus++ = 0;
	if (colon)
		*colon++ = 0;
	*slash++ = 0;
	if (text_number(text, 0, UINT16_MAX, &port, err))
		return -1;
	*service =
	    (struct lab_service){.name = "own", .port = (uint16_t)port, .handler = &handler_say};
	if (transport_parse(&service->transport, slash, err))
		return -1;
	if (plus && strcmp(plus, "mutual") && strcmp(plus, "asks"))
		return err_set(err, "\"+%s\" is neither +mutual nor +asks", plus);
	if (plus)
		service->flags = plus[0] == 'm' ? SERVICE_MUTUAL : SERVICE_ASKS;
	return colon ? service_set_handler(service, colon, err) : 0;
}

const struct lab_role *
service_make_role(const char *list, struct lab_err *err)
{
	/* Role and services are one block; a list has at most half as many services as characters.
	 */
	struct lab_role *role =
	    calloc(1, sizeof(*role) + (strlen(list) / 2 + 1) * sizeof(struct lab_service));
	struct lab_service *services = (struct lab_service *)(role + 1);
	char *text = strdup(list), *save = NULL;

	if (!role || !text) {
		err_set(err, "out of memory");
		goto failed;
	}
	*role = (struct lab_role){
	    .name = "own",
	    .names = service_own_names,
	    .services = services,
	    .made = true,
	};
	for (char *word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		struct lab_err why;

		if (service_parse(&services[role->count++], word, &why)) {
			err_set(err,
				"\"%s\" is neither a role (%s) nor a list of services such as "
				"5061/tls,80/tcp:web,0/udp: %s",
				list, service_role_names(), why.text);
			goto failed;
		}
	}
	free(text);
	return role;
failed:
	free(role);
	free(text);
	return NULL;
}

void
service_free_role(const struct lab_role *role)
{
	if (role->made)
		free((void *)role);
}
