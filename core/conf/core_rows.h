/* The core's own directives: rows for those that fill a field, words for the rest. What a file may
 * hold outside of modules is listed here and nowhere else. */
#ifndef CONF_CORE_ROWS_H
#define CONF_CORE_ROWS_H

#include "conf/config.h"
#include "conf/rows.h"

/* What the statements outside of all blocks fill. */
struct main_conf {
	struct global_settings global;
	const char *workers;      /* "auto" or a number */
	uint32_t listen_slots;    /* 0: chosen by the number of workers */
	const char *pid_file;
	bool user_given, connections_given;
};

/* `log TARGET [PATH] level= format=` and `control PATH mode= group=`. */
struct log_conf {
	struct sy_choice level, format;
};

struct control_conf {
	const char *mode, *group;
};

struct server_conf {
	uint32_t weight, max_connections, port;
};

struct monitor_conf {
	struct monitor_settings settings;
	bool timeout_given, fast_given;
};

extern const struct sy_row main_rows[], log_rows[], control_rows[], tables_rows[], console_rows[], notify_rows[],
	recorder_rows[],
	pool_rows[], server_rows[], service_rows[], target_rows[], monitor_rows[],
	tls_server_rows[], tls_client_rows[], certificate_rows[];
extern const struct rows_other main_others[], console_others[], pool_others[], service_others[],
	target_others[], listen_others[], tls_others[];

/* The blocks in the order in which the manual tells them. */
struct core_block {
	const char *name;         /* "virtual-service", or "" for what stands outside of blocks */
	const char *syntax;
	const char *doc;
	const struct sy_row *rows;
	const struct rows_other *others;
};
extern const struct core_block core_blocks[]; /* doc NULL at the end */
/* Where a directive would be known: "virtual-service", "" for outside of blocks; NULL: nowhere. */
const char *core_rows_home(const char *directive);

#endif
