/* steelyardctl: asks the console over its UNIX socket and shows the answer to people, or as JSON. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>

enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

struct ctl {
	const char *socket;
	bool json;                /* print the API's answer as it is */
	bool colour;
	const char *service, *server, *client, *pool, *limit, *confirm;   /* --service and so on */
	const char *daemon, *modules; /* for plan, explain --config */
	const char *config, *time; /* --config, --for */
	bool decrypted, ended;
	const char *templates;    /* folder of ready-made templates */
	int argc;                 /* what stands behind the command */
	char **argv;
};

struct command {
	const char *name;
	const char *arguments;    /* for the usage text */
	const char *words;
	int (*run)(struct ctl *ctl);
	int min, max;             /* arguments */
};

extern const struct command ctl_commands[];

/* ctl_http.c: one request. The body of the answer (freed by the caller) with its status, or NULL after
 * a message on stderr. */
char *ctl_http(struct ctl *ctl, const char *method, const char *path, const char *body, int *status);
/* The same; *len is how long it is, which may be no text. */
char *ctl_http_bytes(struct ctl *ctl, const char *method, const char *path, const char *body,
                     int *status, size_t *len);
/* Prints the error that an answer holds. */
void ctl_complain(const char *answer);
/* The same, decoded; prints error answers on stderr and returns NULL. With --json prints the answer
 * and returns NULL with *code 0. */
json_t *ctl_get(struct ctl *ctl, const char *method, const char *path, const char *body, int *code);
/* name=value for a query, percent-encoded; appended to path. */
void ctl_query(char *path, size_t len, const char *name, const char *value);

/* ctl_table.c: columns that fit 80 characters. Cells are copied. */
struct table;
struct table *table_new(const char *const *titles); /* NULL at the end; ">" before a title: to the right */
void table_cell(struct table *table, const char *text);
__attribute__((format(printf, 2, 3))) void table_cellf(struct table *table, const char *format, ...);
/* Words under the row that was just filled. */
void table_note(struct table *table, const char *text);
void table_print(struct table *table, bool colour); /* and frees it */
const char *age_since(json_int_t wall_ms, json_int_t now_ms, char *out, size_t len);
const char *amount_text(json_int_t n, char *out, size_t len); /* 1234 56.7k 1.2M */

/* ctl_spawn.c: runs steelyardd with these arguments, as the user who asks; what it prints is appended to
 * `out`, what it complains of goes to our own standard error. in: what it finds as descriptor 3, or -1.
 * True when it succeeded. */
struct text;
bool ctl_spawn(struct ctl *ctl, const char *const *args, int in, struct text *out);

/* ctl_template.c: needs no daemon. */
int ctl_template(struct ctl *ctl);

#endif
