/* What the files of tls.h share. */
#ifndef NET_TLS_OWN_H
#define NET_TLS_OWN_H

#include "net/tls.h"
#include "share/tickets.h"

enum { TLS_NAME = 256 };       /* a host name and its NUL */

enum tls_kind { TLS_KIND_RSA, TLS_KIND_EC, TLS_KINDS };

/* One pair of the block, read. */
struct tls_pair {
	const struct tls_certificate *from;
	X509 *x509;
	STACK_OF(X509) *chain;    /* behind it */
	EVP_PKEY *key;
	enum tls_kind kind;
};

/* A name, exact or "*.rest", and the context with the certificates for it. */
struct tls_name {
	char *name;
	SSL_CTX *ctx;
};

struct tls_context {
	const struct tls *tls;
	struct tls_shared *shared;
	SSL_CTX *ctx;             /* for those who ask for nothing that is known */
	SSL_CTX **others;         /* one for each combination of certificates */
	unsigned n_others;
	struct tls_name *names;   /* sorted */
	unsigned n_names;
	unsigned char *alpn;      /* as on the wire */
	unsigned alpn_len;
};

struct tls_shared {
	struct board *board;
	struct tickets tickets;
	EVP_CIPHER *cipher;
	X509_STORE *system;       /* made when first wanted */
	struct tls_sessions *sessions;
	const SSL *unnamed;       /* who asked last for a name that is not there, and was refused */
	char unknown_name[TLS_NAME];
	const SSL *refused;       /* whose certificate was refused last */
	char refused_subject[128];
};

/* tls_names.c. `make` makes a context with an RSA and an EC pair, of which one may be NULL. */
int tls_names_make(struct tls_context *context, const struct tls_pair *pairs, unsigned n,
                   SSL_CTX *(*make)(struct tls_context *, const struct tls_pair *const *,
                                    struct sy_err *),
                   struct sy_err *err);
void tls_names_free(struct tls_context *context);
/* The context for a name in lower case; NULL: no certificate holds it. */
SSL_CTX *tls_names_find(const struct tls_context *context, const char *name);

/* tls_tickets.c */
void tls_tickets_use(SSL_CTX *ctx);

/* tls_sessions.c */
struct tls_sessions *tls_sessions_new(void);
void tls_sessions_free(struct tls_sessions *sessions);
void tls_sessions_use(SSL_CTX *ctx);
void tls_sessions_offer(struct tls_sessions *sessions, SSL *ssl, uint64_t key);

/* tls_words.c: remembers whose certificate it was that OpenSSL refuses. */
int tls_refused(int good, X509_STORE_CTX *look);
/* What a client offered is kept with its connection. SSL_CLIENT_HELLO_ERROR with the alert: refused. */
int tls_client_hello(SSL *ssl, int *alert);

/* The context that a connection was made with. */
struct tls_context *tls_of(const SSL *ssl);

#endif
