/* HAProxy's sections as import_haproxy.c reads them, and import_haproxy_service.c makes services of. */
#ifndef CTL_IMPORT_HAPROXY_H
#define CTL_IMPORT_HAPROXY_H

#include "ctl/import.h"

enum {
	HAPROXY_WORDS = 64,
	HAPROXY_SERVERS = 1024,
};

/* A line, cut into words. */
struct ha_line {
	unsigned number, n;
	char *word[HAPROXY_WORDS + 1]; /* NULL at the end */
	const char *raw;          /* uncut */
};

/* What defaults can set, and a section inherits. */
struct ha_settings {
	char mode[16], balance[32];
	unsigned long client_ms, server_ms, tunnel_ms, connect_ms, check_ms, header_ms, keepalive_ms;
	struct import_check check;
	bool http_check, tls_check;
	unsigned long inter_ms;
	unsigned rise, fall;
	bool transparent, persist;
	char cookie[IMPORT_NAME];
	unsigned long persist_ms;
	unsigned long limit;
	char source[IMPORT_WORD]; /* what servers see as the client */
	char default_server[512]; /* the line as it is */
};

/* A defaults section that others can name. */
struct ha_defaults {
	char name[IMPORT_WORD];
	struct ha_settings settings;
};

struct ha_section {
	char kind[16];            /* frontend, backend, listen */
	char name[IMPORT_WORD];
	unsigned number;
	struct ha_settings settings;
	char default_backend[IMPORT_WORD];
	bool off;
	char **binds;             /* lines "bind ..." as they are, and "server ..." */
	unsigned *bind_lines;
	unsigned n_binds;
	char **servers;
	unsigned *server_lines;
	unsigned n_servers;
	char **rules;             /* "acl ..." and "use_backend ..." of a frontend */
	unsigned *rule_lines;
	unsigned n_rules;
};

struct ha {
	struct import *import;
	struct ha_defaults *defaults; /* the last one is the one that is read, and holds for what follows */
	unsigned n_defaults;
	struct ha_section *sections;
	unsigned n_sections;
	struct ha_section *now;   /* NULL: defaults, or a section that is passed over */
	bool in_defaults, passing;
};

/* Cuts in place: blanks separate, quotes and backslashes join, # ends. */
void ha_cut(struct ha_line *line, char *at);
bool ha_is(const struct ha_line *line, unsigned i, const char *word);
/* In milliseconds, as HAProxy writes times. */
unsigned long ha_time(const char *text);
/* What could not be carried over, with where it stands. */
__attribute__((format(printf, 3, 4))) void ha_lost(struct ha *ha, unsigned number, const char *format, ...);
/* The same for a line that has no equal here. */
void ha_lost_line(struct ha *ha, const struct ha_line *line);
/* The backend, or listen, of that name; NULL: there is none. */
const struct ha_section *ha_backend(const struct ha *ha, const char *name);
/* Servers of a backend, with their TLS and their check, as those of the service or pool. Gives the settings
 * of the backend, with what its server lines say. */
struct ha_settings ha_servers(struct ha *ha, const struct ha_section *back, struct import_service *service);
/* Reads the rules of a frontend, of whose service back is the own pool; without a service all are lost. */
void ha_rules(struct ha *ha, const struct ha_section *front, const struct ha_section *back,
	      struct import_service *service);
/* A frontend or listen section, with the backend that it names. */
void ha_service(struct ha *ha, struct ha_section *front);

#endif
