/*
 * pki.h: the lab's own certificate authority. It is made at the first start, kept in a directory if
 * one is given, and issues a certificate to each server, with the names of its pool, and one to the
 * clients, for the ports that ask for one.
 *
 * In the directory: ca.pem and ca.key, client.pem and client.key, and NAME-ROLE.pem and .key for
 * each server. Several lab servers may share the directory; whoever comes first makes the
 * authority.
 */
#ifndef LAB_PKI_H
#define LAB_PKI_H

#include <openssl/ssl.h>

#include "addr.h"
#include "text.h"

struct lab_pki;

/* Opens the authority kept in dir, or makes it; dir NULL: only in memory. NULL and err if not. */
struct lab_pki *pki_open(const char *dir, struct lab_err *err);

void pki_close(struct lab_pki *pki);

/* What a server's certificate says. */
struct pki_subject {
	const char *file; /* base name of its files in the directory */
	const char *const
	    *names;           /* host names, ending with NULL; the first is the common name too */
	struct lab_addr addr; /* also a name; len 0: none */
	int days;             /* valid from yesterday for so many days from now; may be negative */
};

/* A server's TLS settings with a fresh certificate. A client certificate, if one is sent, must be
 * of this authority. NULL and err if not. */
SSL_CTX *pki_server(struct lab_pki *pki, const struct pki_subject *subject, struct lab_err *err);

/* A client's TLS settings: with dir, servers are verified against ca.pem and client.pem is shown to
 * those that ask; without, anything is accepted. NULL and err if not. */
SSL_CTX *pki_client(const char *dir, struct lab_err *err);

#endif
