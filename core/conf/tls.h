/* A tls block, of a listener or of a pool, as the rows fill it. */
#ifndef CONF_TLS_H
#define CONF_TLS_H

#include "api/rows.h"

struct node;

enum { TLS_MODERN, TLS_INTERMEDIATE, TLS_OLD };                 /* policy */
enum { UNKNOWN_NAME_FIRST, UNKNOWN_NAME_REFUSE };              /* unknown_name */
enum { CLIENT_CERTIFICATE_NONE, CLIENT_CERTIFICATE_OPTIONAL, CLIENT_CERTIFICATE_REQUIRED };

/* What a server, or a client, proves its name with. */
struct tls_certificate {
	const char *name;         /* as the file calls it */
	struct sy_file chain;     /* PEM: its own certificate, then those that lead to the root */
	struct sy_secret key;     /* PEM; contents only in workers and loader */
	const struct node *node;
};

struct tls {
	bool server;              /* of a listener: we are the server */
	struct sy_choice policy;
	struct sy_list versions;  /* n 0: the policy's */
	const char *ciphers, *ciphersuites, *groups; /* NULL: the policy's */
	struct sy_file ca, crl;
	struct sy_list alpn;
	/* of a listener */
	struct sy_choice client_certificate, unknown_name;
	bool tickets;
	struct sy_msec handshake_timeout;
	/* of a pool */
	bool verify;
	const char *name;         /* that the servers' certificate must hold; NULL: their host name */
	const char *sni;          /* to ask for; NULL: name; "off": none */

	struct tls_certificate *certificates;
	uint32_t n_certificates;
	const struct node *node;
	const char *where;        /* "virtual-service web" or "pool web", for messages */
	uint64_t id;              /* equal for blocks that say the same, contents included */
	struct tls *next;         /* in config.tls */
	void *run;                /* private to the process: worker (net/tls.h) */
};

#endif
