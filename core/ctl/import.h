/* `import KIND FILE`: the configuration of another balancer as files for conf.d, and a report of what
 * could not be carried over. The readers (import_haproxy.c, import_loadmaster.c) fill this model with
 * what both sides have in common; import.c writes it. Nothing is guessed: what has no equal here is
 * reported, and left out. */
#ifndef CTL_IMPORT_H
#define CTL_IMPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"
#include "ctl/ctl.h"

enum {
	IMPORT_NAME = 64,
	IMPORT_WORD = 256,
};

struct import_server {
	char name[IMPORT_NAME + 1];
	char address[IMPORT_WORD]; /* with the port when the file gave one */
	char port[16];            /* empty: the client's */
	long weight;              /* -1: not given */
	long limit;               /* connections; 0: none */
	bool off;                 /* switched off there: weight 0 here */
	bool sorry;               /* only when the others are down */
};

/* How its servers are checked. */
struct import_check {
	char kind[16];            /* tcp, tls, http, https, icmp; empty: none */
	char port[16];
	char path[IMPORT_WORD], host[IMPORT_WORD], status[IMPORT_WORD], contains[IMPORT_WORD];
	bool head;                /* asks for the head only */
	char expect[IMPORT_WORD]; /* what a server says first */
	unsigned long interval_ms, timeout_ms; /* 0: not given */
	unsigned rise, fall;
};

/* One service with its servers; both readers resolve their indirections before. */
struct import_service {
	char name[IMPORT_NAME + 1], wanted[IMPORT_NAME + 1]; /* wanted: what others may want, too */
	char where[IMPORT_WORD];  /* in the file, for comments and the report */
	struct text listens;      /* "203.0.113.10:443" with a blank between them */
	bool udp;
	char tls_certificate[IMPORT_WORD]; /* empty: TLS does not end here */
	bool tls_ends;
	bool tls_servers, tls_verify;
	char tls_ca[IMPORT_WORD];
	char scheduler[32];
	bool http;                /* requests are understood */
	char cookie[IMPORT_NAME]; /* persistence by this cookie; source: what it falls back to */
	bool persist;             /* by source address */
	char persist_mask[8];
	unsigned long persist_ms; /* 0: default */
	unsigned long idle_ms, connect_ms;
	int transparent;          /* 1: yes, 0: no, -1: not said */
	char snat[IMPORT_WORD];   /* addresses that servers see instead of the client's; empty: any of ours */
	unsigned long header_ms, keepalive_ms; /* of requests; 0: not given */
	unsigned long limit;
	char send_proxy[8];       /* v1, v2 or empty */
	bool accept_proxy;
	bool off;
	bool keep;                /* connections to a failed server live on */
	unsigned minimum_up;
	struct import_check check;
	struct import_server *servers;
	unsigned n_servers;
	/* More pools, each with its servers, their TLS and their check, and the rules that lead to them. */
	struct import_service *more;
	unsigned n_more;
	struct import_rule *rules;
	unsigned n_rules;
	bool rules_only;          /* what no rule is for is refused */
	const void *backend;      /* of a pool in `more`: where it comes from */
};

/* Requests that match go to one of the pools in `more`, or to the service's own. */
struct import_rule {
	struct text host, path;   /* words as they are written; empty: any */
	int pool;                 /* -1: its own */
};

struct import {
	const char *file;
	struct import_service *services;
	unsigned n_services;
	struct text report;       /* what was not carried over, a line each */
	unsigned lost;
	struct text problem;      /* of a reader: why the file cannot be read */
};

void import_free(struct import *import);
/* Appends a service, or a server to one; the pointer is good until the next is added. */
struct import_service *import_service(struct import *import, const char *name);
struct import_server *import_server(struct import_service *service, const char *name);
/* Something that has no equal here: `where` as the operator finds it. */
__attribute__((format(printf, 3, 4))) void import_lost(struct import *import, const char *where,
						       const char *format, ...);
/* A name that the configuration takes: other characters become -, doubles get a number. */
void import_name(char out[static IMPORT_NAME + 1], const char *name);
void import_word(char *out, size_t size, const char *word);
/* Whether that can stand for an address, a host or a port: no variables, nothing that would end a word. */
bool import_is_address(const char *text);

/* import_write.c: a word, in quotes when it needs them; and a service as a file for conf.d. */
void import_put(struct text *out, const char *word);
void import_put_service(struct import *import, struct text *out, const struct import_service *service);

/* The readers. -1: this is not such a file, or it is broken; `problem` says why. */
int import_haproxy(struct import *import, const char *text);
int import_loadmaster(struct import *import, const char *text, size_t len);

/* import_xml.c: XML as JSON: an element becomes an object of its children, those that come twice an
 * array, one without children its text. Attributes, comments and declarations are passed over. NULL with
 * *line and *why; names and contents are kept within limits. */
json_t *import_xml(const char *text, size_t len, unsigned *line, const char **why);

int ctl_import(struct ctl *ctl);

#endif
