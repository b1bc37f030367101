/* A generation: one accepted configuration, compiled by the loader into a sealed memfd.
 *
 *	gen_head | gen_listener[] | gen_module[] | cell ids (sorted) | gen_route[] | flattened tree
 *
 * The head holds all that the master needs, in plain fields, so that the master parses nothing; and so
 * the routes for the role that sets them up. The
 * secrets memfd holds the contents of secret files; the tree names them by offset and length. */
#ifndef CONF_GENERATION_H
#define CONF_GENERATION_H

#include "base/list.h"
#include "conf/config.h"

#define GEN_MAGIC UINT64_C(0x5354454c59415244) /* "STELYARD" */
enum {
	GEN_PATH = 256,
	GEN_MODULES = 64,         /* in use at once; fewer than CONTROL_FDS */
};

struct gen_head {
	uint64_t magic;
	uint32_t size;            /* sizeof(struct gen_head) */
	uint32_t workers;         /* wanted, after `auto` */
	uint32_t slots;           /* power of two, at least workers; a reload may grow it */
	uint32_t uid, gid;        /* for the unprivileged roles; the loader's own if not root */
	uint32_t log_target, log_format, log_level; /* base/log.h */
	char log_path[GEN_PATH];
	char control_path[GEN_PATH]; /* the console's UNIX socket */
	uint32_t control_mode;    /* permissions of the socket */
	uint32_t control_gid;
	char pid_path[GEN_PATH];  /* empty: none */
	struct board_size board;
	uint64_t nofile;          /* descriptors that a worker may need */
	uint64_t connections;     /* of one worker, after what the system allows */
	uint64_t shutdown_timeout_ms;
	uint32_t n_listeners, n_modules, n_cells;
	uint32_t transparent;     /* some service has snat off: workers keep CAP_NET_RAW */
	uint32_t icmp;            /* some monitor is icmp: the checker keeps CAP_NET_RAW */
	uint32_t manage_routing;  /* the role `routing` is wanted */
	uint32_t routing_table;   /* and the number that it uses */
	uint32_t n_routes, zero;
	uint32_t services, servers; /* for the log line */
	uint64_t tree_offset, tree_len;
	uint64_t hash;            /* of the tree: equal means nothing changed */
};

struct gen_listener {
	uint64_t id;
	struct sy_addr addr;
	uint32_t transport;       /* TRANSPORT_* */
	uint32_t backlog;
	uint32_t console;         /* 1: for the console, not for workers */
	char where[GEN_PATH];     /* file:line, for the message when it cannot be bound */
};

struct gen_module {
	uint32_t kind;
	char name[60];
	uint64_t hash;            /* of the file's content */
};

/* A server, by its address, whose packets this machine treats in another way than its routes say. */
struct gen_route {
	struct sy_addr server;    /* port: one to ask it on */
	struct sy_addr source;    /* its own connections leave from here; SY_NO_ADDR: from its own address */
	uint32_t transparent;     /* its answers have the addresses of clients, and are for us */
	uint32_t zero;
};

/* What a child holds. Reference-counted by exchanges; freed when retired and the last one ended. */
struct generation {
	uint64_t number;
	struct config *config;
	struct arena *arena;
	void *map;
	size_t map_len;
	void *secrets;
	size_t secrets_len;
	uint32_t refs;
	bool current;
	bool retired;             /* no one needs it any more: freed at the end of this turn of the loop */
	struct link link;         /* in the process's list */
	void *run;                /* private to the role */
};

/* Loader, first half, with root's rights: reads all files, those that settings name included,
 * looks up users and groups, copies modules. Nothing of what was read is trusted yet, and no
 * module's code runs. Never NULL; what is missing or broken is complained about, and the second
 * half finds the rest. */
struct gathered;
struct gathered *generation_gather(const char *path, const char *module_dir,
				   struct complaints *complaints);
/* Who to become before the second half. */
void gathered_user(const struct gathered *gathered, uint32_t *uid, uint32_t *gid);

/* Loader, second half, without them: opens modules, resolves names, fills in defaults, binds,
 * checks, and writes what the other processes get. -1 when there was any complaint of the error
 * kind, by whichever half. */
struct loaded {
	int generation_fd, secrets_fd; /* secrets: -1 when there are none */
	int module_fds[GEN_MODULES];   /* private copies, sealed, in the order of gen_module */
	uint32_t n_modules;
	uint32_t services, servers;
};
/* `look`, or NULL, sees a configuration without errors, and may complain mildly. */
int generation_compile(struct gathered *gathered,
		       void (*look)(const struct config *config, struct complaints *complaints),
		       struct loaded *out, struct complaints *complaints);
/* After compile, well or not: the tree with defaults, for -T. */
const struct node *gathered_tree(const struct gathered *gathered);
/* Also closes the modules' descriptors. */
void gathered_free(struct gathered *gathered);

/* Child: binds what the loader made. The descriptors stay the caller's. NULL with err. */
struct generation *generation_bind(uint64_t number, int generation_fd, int secrets_fd,
				   const int *module_fds, unsigned n_modules, struct board *board,
				   struct sy_err *err);
/* The same without binding: for a role that reads the head and plain parts only. config stays NULL. */
struct generation *generation_map(uint64_t number, int generation_fd, struct sy_err *err);
void generation_free(struct generation *generation);
/* Master, anyone: the head of a mapped generation, checked. NULL with err. */
const struct gen_head *generation_head(const void *map, size_t len, struct sy_err *err);
const struct gen_listener *generation_listeners(const struct gen_head *head);
const struct gen_module *generation_modules(const struct gen_head *head);
const uint64_t *generation_cells(const struct gen_head *head);
const struct gen_route *generation_routes(const struct gen_head *head);

#endif
