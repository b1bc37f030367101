/* What the files of config_bind() share: config.c (everything outside of services), config_pool.c,
 * config_service.c, config_check.c (what involves several statements). Not for others but the
 * loader. */
#ifndef CONF_BIND_H
#define CONF_BIND_H

#include "conf/core_rows.h"
#include "conf/names.h"

/* The settings that end up in gen_head. */
struct main_bound {
	struct main_conf conf;
	uint32_t workers;         /* 0: auto */
	uint32_t log_target;      /* enum log_target */
	const char *log_path;     /* NULL: none */
	struct log_conf log;
	const char *control_path; /* NULL: the default */
	uint32_t control_mode;
	const char *control_group; /* NULL: the user's */
	const struct node *control;
	struct board_size tables; /* 0: choose */
};

struct binder {
	struct arena *arena;
	struct arena *scratch;    /* gone when all is bound */
	struct board *board;
	const struct sy_module *(*module)(void *context, enum sy_kind kind, const char *name,
					  struct sy_err *err);
	void *context;
	struct complaints *complaints;
	struct config *config;
	struct names *pools, *services, *listeners;
};

/* The name of a pool, a service or a server, and how many words may follow. NULL: complained. */
const char *bind_name(struct binder *binder, const struct node *node);
/* Claims a cell; UINT32_MAX without a board. */
uint32_t bind_cell(struct binder *binder, enum cell_kind kind, uint64_t id, const struct node *at);
/* Calls rows_bind with one set of rows. */
void bind_rows(struct binder *binder, const struct node *node, uint32_t first_arg,
	       const struct sy_row *rows, void *conf, const struct rows_other *others);
/* One statement with that name, or NULL; a second one is complained about. */
const struct node *bind_one(struct binder *binder, const struct node *block, const char *name);
/* How many children have that name. */
uint32_t bind_count(const struct node *block, const char *name);

void bind_pool(struct binder *binder, const struct node *node, struct pool *pool);
void bind_service(struct binder *binder, const struct node *node, struct service *service);
/* All listen statements of the block. `tcp_only` refuses /udp. */
void bind_listens(struct binder *binder, const struct node *block, struct service *service,
		  bool tcp_only, struct listener **out, uint32_t *n);
/* The tls block in `block`, or NULL. `where` says whose it is. */
struct tls *bind_tls(struct binder *binder, const struct node *block, bool server,
		     const char *where);
/* What a pool's servers are called, and what their certificates are asked for. */
/* Listeners with TLS offer what the service's protocol speaks, unless they say what. */
void bind_tls_alpn(struct binder *binder, const struct service *service);
void bind_tls_servers(struct binder *binder, const struct tls *tls, const struct pool *pool);
void bind_check_service(struct binder *binder, const struct service *service);
void bind_check(struct binder *binder);

#endif
