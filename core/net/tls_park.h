/* Connections at rest, small. OpenSSL's own struct for a connection is the largest thing that a TLS
 * connection owns (7.6 KiB in 3.0), and most of it is zeros: room for 32 records at once, of which
 * one is ever used. While nobody speaks, the bytes that are not zero are kept elsewhere, and the
 * pages are given back to the system; the address stays the connection's. Whoever wants to use the
 * connection again copies them back first. What the struct points to stays where it is.
 *
 * This needs nothing of OpenSSL but that memory may be given to it by the program
 * (CRYPTO_set_mem_functions), and that nobody else looks into a struct of ours. Where that cannot
 * be had, connections just stay as large as they are. */
#ifndef NET_TLS_PARK_H
#define NET_TLS_PARK_H

#include <openssl/ssl.h>

/* Once, before OpenSSL is used in this process. */
void tls_park_prepare(void);
/* As SSL_new(). */
SSL *tls_park_new(SSL_CTX *ctx);

struct tls_parked;
/* NULL: it cannot be parked. Else not a single function of OpenSSL may be called on it until it is
 * taken back. */
struct tls_parked *tls_park(SSL *ssl);
void tls_unpark(SSL *ssl, struct tls_parked *parked);
/* Bytes that are kept of it. */
size_t tls_parked_size(const struct tls_parked *parked);

#endif
