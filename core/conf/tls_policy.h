/* Which versions and ciphers a tls block allows, set in an OpenSSL context. The same for the loader,
 * which tries it, and for the workers, which use it. */
#ifndef CONF_TLS_POLICY_H
#define CONF_TLS_POLICY_H

#include <openssl/ssl.h>

#include "api/err.h"
#include "conf/tls.h"

/* -1 with err, which names the directive. */
int tls_policy_apply(SSL_CTX *ctx, const struct tls *tls, struct sy_err *err);
/* The words of OpenSSL's first error, and forgets all of them. */
const char *tls_policy_words(void);
/* "TLSv1.2" and the like as OpenSSL's number; 0: no such version. */
int tls_policy_version(const char *text);

#endif
