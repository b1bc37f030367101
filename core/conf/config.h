/* One accepted configuration as every process sees it: bound from a generation's tree by the rows,
 * without I/O, so that it cannot fail differently than in the loader. Constant, but for the members
 * named run. */
#ifndef CONF_CONFIG_H
#define CONF_CONFIG_H

#include <string.h>

#include "api/addr.h"
#include "api/monitor.h"
#include "api/persistence.h"
#include "api/protocol.h"
#include "api/scheduler.h"
#include "base/arena.h"
#include "conf/exchange_log.h"
#include "conf/tls.h"
#include "conf/tree.h"
#include "share/board.h"

/* A module as used in one place, with its settings. */
struct use {
	const struct sy_module *module; /* NULL: not used */
	const void *conf;
	const struct node *node;
};

struct server {
	const char *name;
	struct sy_addr addr;      /* port 0: see target_port */
	const char *host;         /* as written, when it was a name; else NULL */
	uint32_t weight;          /* 0..65535; 0: no new clients */
	uint32_t max_connections; /* 0: no limit */
	uint64_t id;              /* hash_id(pool, server) */
	uint32_t cell;            /* on the board */
	const struct node *node;
};

struct pool {
	const char *name;
	struct server *servers;
	uint32_t n_servers;
	uint32_t port;            /* 0: not set */
	struct sy_msec slow_start;
	struct sy_choice transport; /* enum pool_transport */
	struct tls *tls;          /* NULL: servers are spoken to in clear */
	const struct node *node;
};

/* A server as one service uses it. */
struct seat {
	const struct server *server;
	uint64_t id;              /* hash_id(service, pool, server) */
	uint32_t cell;
	void *run;                /* private to the process: worker (open connections), checker */
};

/* A pool as one service uses it. */
struct target {
	const struct pool *pool;
	uint32_t port;            /* pool ... port=N; 0: not set */
	struct tls *tls;          /* of this use, else the pool's; or NULL */
	struct seat *seats;       /* n = pool->n_servers, same order */
	uint64_t group;           /* of its persistence entries: a client may have one in each pool */
	void *run;                /* private to the process: scheduler tables */
};

enum { SNAT_ON, SNAT_OFF };                       /* settings.snat */
enum { ON_DOWN_RESET, ON_DOWN_KEEP };             /* settings.on_down */
enum { MONITORS_ALL, MONITORS_ANY };              /* settings.monitor_policy */
enum { SEND_PROXY_OFF, SEND_PROXY_V1, SEND_PROXY_V2, SEND_PROXY_CONSOLE };
enum { CONSOLE_ANONYMOUS_LOOK, CONSOLE_ANONYMOUS_OFF }; /* console_settings.anonymous */
enum { TRANSPORT_TCP, TRANSPORT_UDP };
enum pool_transport { POOL_AS_CLIENT, POOL_TCP, POOL_UDP };

/* What the rows of a virtual-service fill. */
struct service_settings {
	struct sy_choice on_down;
	struct sy_choice monitor_policy;
	struct sy_choice send_proxy;
	struct sy_choice role;            /* enum role, conf/lint.h: for the findings only */
	struct sy_list names;             /* that clients know the service by: certificates are looked at */
	struct sy_nets accept_proxy_from; /* n 0: PROXY headers are not accepted */
	struct sy_nets allow, deny;       /* deny first; allow n 0: everybody */
	struct sy_msec idle_timeout;
	struct sy_msec connect_timeout;
	struct sy_msec greet_timeout;     /* for the PROXY header, the protocol's first bytes */
	struct sy_msec drain_timeout;     /* of a removed service, then reset; 0: no end */
	uint32_t server_idle_connections; /* to each server, of each worker; 0: none is shared */
	struct sy_msec server_idle_timeout;
	struct sy_msec drain_close;       /* quiet connections of a drained server; 0: they stay */
	struct sy_rate drain_close_rate;
	uint32_t tries;                   /* servers tried for one exchange, at most */
	uint32_t max_connections;         /* 0: no limit */
	uint32_t max_connections_per_source;
	struct sy_rate max_rate;          /* new connections; 0: no limit */
	struct sy_rate max_rate_per_source;
	struct sy_rate max_packet_rate_per_source; /* UDP */
	uint32_t minimum_up;              /* servers; with fewer: sorry pool, or refuse */
	bool idle_given;                  /* idle_timeout was written: UDP's own is shorter */
	bool outbound_snat;               /* servers' own connections leave from the service's address */
	bool splice;                      /* bulk over plain TCP is not copied */
	bool optional;                    /* no server up: shown as unused, not as broken */
	bool enabled;
};

struct monitor_settings {                 /* core's rows in every monitor block */
	struct sy_msec interval, timeout;
	struct sy_msec fast_interval;     /* after a failure, until settled; 0: interval */
	uint32_t rise, fall;
	uint32_t port;                    /* 0: the server's port in the service */
	struct sy_addr address;           /* another machine; family SY_NO_ADDR: the server */
	struct sy_list pools;             /* whose servers it asks; n 0: all of the service's */
};

struct monitor {
	struct use use;
	struct monitor_settings settings;
};

struct listener {
	uint64_t id;              /* hash of transport and address; port 0: and of place */
	struct sy_addr addr;
	uint32_t transport;       /* TRANSPORT_* */
	struct service *service;
	struct tls *tls;          /* or NULL; shared by all addresses of one statement */
	const struct node *node;
};

struct service {
	const char *name;
	uint64_t id;              /* hash_id(name) */
	uint32_t cell;
	struct service_settings settings;
	uint32_t snat;            /* SNAT_* */
	struct sy_addrs snat_from; /* snat ADDRESSES: take these in turn; n 0: the system chooses */
	struct listener *listeners;
	uint32_t n_listeners;
	struct use protocol, scheduler, persistence;
	const char *load_unit;    /* of the protocol, with its settings */
	uint32_t uses;            /* enum sy_protocol_flag: of the protocol, with its settings; 0: they are wrong */
	struct sy_persist_life life; /* of the persistence, if used */
	struct target target;     /* the service's pool */
	struct target *more;      /* pools that rows of the protocol name; sy_pool.index 2, 3, ... */
	uint32_t n_more;
	struct target *sorry;     /* or NULL */
	struct monitor *monitors;
	uint32_t n_monitors;
	struct config *config;
	const struct node *node;
	void *run;                /* private to the process */
};

/* Who may do what at the console over TCP. */
struct console_settings {
	struct sy_nets allow;
	struct sy_file users;
	struct sy_choice anonymous; /* CONSOLE_ANONYMOUS_* */
	bool trace_decrypted;     /* a trace may show what was said within TLS */
	struct sy_msec session_timeout;
};

/* Who is told when something changes state. */
struct notify_settings {
	const char *program;      /* NULL: none */
	const char *mail;         /* who gets mail; NULL: nobody */
	const char *sendmail;
	struct sy_msec fold;      /* repeats within it are told together */
	struct sy_msec timeout;   /* of the program */
};

/* Where the flight recorder is written to (share/recorder.h). */
struct recorder_settings {
	const char *directory;    /* NULL: nowhere */
	uint32_t files;
	struct sy_bytes size;
	struct sy_msec fold;
};

struct console_users;

/* All targets of a service in turn, NULL at the end: its own pool, those that the protocol's rows
 * name, the sorry pool. */
static inline struct target *
service_target(const struct service *service, uint32_t i)
{
	if (i == 0)
		return (struct target *)&service->target;
	if (i <= service->n_more)
		return &service->more[i - 1];
	return i == service->n_more + 1 ? service->sorry : NULL;
}

/* The target for what sy_facts.pool says. */
static inline const struct target *
service_pool(const struct service *service, uint32_t index)
{
	return index > 1 && index - 2 < service->n_more ? &service->more[index - 2]
							: &service->target;
}

/* The target of the service that uses the pool, or NULL. */
static inline const struct target *
service_target_of(const struct service *service, const struct pool *pool)
{
	const struct target *target;

	for (uint32_t i = 0; (target = service_target(service, i)); i++)
		if (target->pool == pool)
			return target;
	return NULL;
}

/* Seats of all its targets. */
static inline uint32_t
service_seats(const struct service *service)
{
	const struct target *target;
	uint32_t n = 0;

	for (uint32_t i = 0; (target = service_target(service, i)); i++)
		n += target->pool->n_servers;
	return n;
}

/* A conf that a module's release() is due for. */
struct release {
	const struct sy_module *module;
	void *conf;
	struct release *next;
};

struct global_settings {
	const char *user;
	struct sy_choice log_level, log_format;
	bool log_connections;     /* one line at the end of each */
	uint32_t worker_connections; /* of one worker, at most */
	uint32_t worker_handshakes; /* TLS handshakes of clients under way, the same */
	bool manage_routing;
	uint32_t routing_table;   /* and mark */
	struct sy_msec shutdown_timeout; /* QUIT waits so long for connections; 0: no end */
	struct console_settings console;
	struct notify_settings notify;
	struct recorder_settings recorder;
	struct exchange_log exchange_log;
	/* the rest (workers, slots, log target, control, tables) is the master's: gen_head */
};

struct config {
	struct global_settings global;
	struct pool *pools;
	uint32_t n_pools;
	struct service *services; /* an array; n_services */
	uint32_t n_services;
	struct listener **listeners; /* of all services that are enabled, sorted by id */
	uint32_t n_listeners;
	struct listener *console; /* where the console listens; service NULL */
	uint32_t n_console;
	const struct console_users *users; /* conf/users.h; NULL: none are given */
	struct tls *tls;          /* all tls blocks, by next */
	const struct node *root;
	struct arena *arena;
	const struct main_bound *main; /* for the loader, which fills gen_head: conf/bind.h */
	struct names *by_name;    /* services */
	struct release *releases;
};

/* Binds a tree. With board NULL (loader, tests) cells are UINT32_MAX. Returns NULL when there were
 * complaints of the error kind. `module` finds an opened module by kind and name. */
struct config *config_bind(struct arena *arena, const struct node *root, struct board *board,
			   const struct sy_module *(*module)(void *context, enum sy_kind kind,
							     const char *name, struct sy_err *err),
			   void *context, struct complaints *complaints);

/* Before its arena is freed: modules give back what check() took of others. */
void config_release(struct config *config);

const struct listener *config_listener(const struct config *config, uint64_t id);
const struct service *config_service(const struct config *config, const char *name);
/* Whether the monitor asks the servers of that target. */
static inline bool
monitor_asks(const struct monitor *monitor, const struct target *target)
{
	const struct sy_list *pools = &monitor->settings.pools;

	for (uint32_t i = 0; i < pools->n; i++)
		if (strcmp(pools->at[i], target->pool->name) == 0)
			return true;
	return pools->n == 0;
}

/* TRANSPORT_*: what its servers are spoken to in, for a client at such a listener. */
static inline uint32_t
target_transport(const struct target *target, uint32_t listener)
{
	switch ((enum pool_transport)target->pool->transport.index) {
	case POOL_TCP:
		return TRANSPORT_TCP;
	case POOL_UDP:
		return TRANSPORT_UDP;
	case POOL_AS_CLIENT:
		break;
	}
	return target->tls ? TRANSPORT_TCP : listener;
}

/* The port to connect to: the server's, else the target's, else the pool's, else the port that the
 * client used. */
static inline uint16_t
target_port(const struct target *target, const struct server *server, uint16_t client_port)
{
	return server->addr.port ? server->addr.port
	     : target->port ? (uint16_t)target->port
	     : target->pool->port ? (uint16_t)target->pool->port : client_port;
}

#endif
