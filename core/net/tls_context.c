#include "net/tls.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/hash.h"
#include "base/must.h"
#include "base/text.h"
#include "conf/tls_policy.h"
#include "net/tls_own.h"
#include "net/tls_park.h"

/* ---- shared ---- */

struct tls_shared *
tls_shared_new(struct board *board)
{
	struct tls_shared *shared = must_alloc(sizeof(*shared));

	*shared = (struct tls_shared){ .board = board, .tickets.seq = 1 };
	shared->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	must(shared->cipher);
	shared->sessions = tls_sessions_new();
	return shared;
}

void
tls_shared_free(struct tls_shared *shared)
{
	if (!shared)
		return;
	tls_sessions_free(shared->sessions);
	X509_STORE_free(shared->system);
	EVP_CIPHER_free(shared->cipher);
	OPENSSL_cleanse(&shared->tickets, sizeof(shared->tickets));
	free(shared);
}

struct tls_context *
tls_of(const SSL *ssl)
{
	return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* ---- authorities ---- */

static int
context_fail(const struct tls *tls, const char *what, const char *path, struct sy_err *err)
{
	return sy_fail(err, "%s: tls: %s%s%s: %s", tls->where, what, path ? " " : "",
	               path ? path : "", tls_policy_words());
}

static BIO *
context_bio(struct sy_span pem)
{
	BIO *bio = BIO_new_mem_buf(pem.at, (int)pem.len);

	must(bio);
	return bio;
}

/* Lists of revoked certificates are for leaves: those of the authorities above are seldom there. */
static int
context_crls(const struct tls *tls, X509_STORE *store, struct sy_err *err)
{
	BIO *bio = context_bio(tls->crl.content);
	X509_CRL *crl;
	unsigned n = 0;

	for (; (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)); n++) {
		X509_STORE_add_crl(store, crl);
		X509_CRL_free(crl);
	}
	BIO_free(bio);
	if (n == 0)
		return context_fail(tls, "crl", tls->crl.path, err);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return 0;
}

static int
context_authorities(const struct tls_context *context, SSL_CTX *ctx, struct sy_err *err)
{
	const struct tls *tls = context->tls;
	X509_STORE *store = X509_STORE_new();
	BIO *bio = context_bio(tls->ca.content);
	X509 *x509;
	unsigned n = 0;

	must(store);
	for (; (x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL)); n++) {
		X509_STORE_add_cert(store, x509);
		if (tls->server)
			SSL_CTX_add_client_CA(ctx, x509);
		X509_free(x509);
	}
	BIO_free(bio);
	SSL_CTX_set_cert_store(ctx, store);
	if (n == 0)
		return context_fail(tls, "ca", tls->ca.path, err);
	return tls->crl.content.len ? context_crls(tls, store, err) : 0;
}

static int
context_system(const struct tls_context *context, SSL_CTX *ctx, struct sy_err *err)
{
	struct tls_shared *shared = context->shared;

	if (!shared->system) {
		X509_STORE *store = X509_STORE_new();

		must(store);
		if (X509_STORE_set_default_paths(store) != 1) {
			X509_STORE_free(store);
			return context_fail(context->tls, "the system's authorities", NULL, err);
		}
		shared->system = store;
	}
	SSL_CTX_set1_cert_store(ctx, shared->system);
	return 0;
}

/* ---- certificates ---- */

static void
context_drop_pair(struct tls_pair *pair)
{
	X509_free(pair->x509);
	EVP_PKEY_free(pair->key);
	if (pair->chain)
		sk_X509_pop_free(pair->chain, X509_free);
}

static int
context_read_pair(const struct tls *tls, const struct tls_certificate *from, struct tls_pair *pair,
                  struct sy_err *err)
{
	BIO *bio = context_bio(from->chain.content);
	X509 *more;

	*pair = (struct tls_pair){ .from = from, .chain = sk_X509_new_null() };
	must(pair->chain);
	pair->x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	while (pair->x509 && (more = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		must(sk_X509_push(pair->chain, more) > 0);
	BIO_free(bio);
	ERR_clear_error();
	bio = context_bio(from->key.content);
	pair->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t)"");
	BIO_free(bio);
	if (!pair->x509 || !pair->key)
		return context_fail(tls, "certificate", from->name, err);
	pair->kind = EVP_PKEY_is_a(pair->key, "RSA") || EVP_PKEY_is_a(pair->key, "RSA-PSS")
	           ? TLS_KIND_RSA : TLS_KIND_EC;
	return 0;
}

static int
context_use_pair(const struct tls *tls, SSL_CTX *ctx, const struct tls_pair *pair,
                 struct sy_err *err)
{
	if (SSL_CTX_use_cert_and_key(ctx, pair->x509, pair->key, pair->chain, 0) != 1)
		return context_fail(tls, "certificate", pair->from->name, err);
	return 0;
}

/* ---- contexts ---- */

static int
context_alpn(struct tls_context *context)
{
	const struct sy_list *names = &context->tls->alpn;

	if (names->n == 0)
		return 0;
	context->alpn = must_alloc(names->n * 256);
	for (uint32_t i = 0; i < names->n; i++) {
		size_t len = strlen(names->at[i]);

		context->alpn[context->alpn_len++] = (unsigned char)len;
		memcpy(context->alpn + context->alpn_len, names->at[i], len);
		context->alpn_len += (unsigned)len;
	}
	return 0;
}

static int
context_choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                    const unsigned char *in, unsigned in_len, void *arg)
{
	const struct tls_context *context = arg;

	(void)ssl;
	if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, context->alpn,
	                          context->alpn_len, in, in_len) == OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_OK;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *
context_common(struct tls_context *context, struct sy_err *err)
{
	const struct tls *tls = context->tls;
	SSL_CTX *ctx = SSL_CTX_new(tls->server ? TLS_server_method() : TLS_client_method());
	struct sy_err why;

	must(ctx);
	SSL_CTX_set_app_data(ctx, context);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	                         SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
	                         SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (tls_policy_apply(ctx, tls, &why) == 0)
		return ctx;
	sy_fail(err, "%s: tls: %.400s", tls->where, why.text);
	SSL_CTX_free(ctx);
	return NULL;
}

/* Sessions are honoured only where the same was asked of the client when they were made. */
static void
context_realm(const struct tls *tls, SSL_CTX *ctx)
{
	const struct hash_key zero = { 0, 0 };
	uint64_t parts[4] = {
		hash_64(&zero, tls->where, strlen(tls->where)),
		tls->client_certificate.index,
		hash_64(&zero, tls->ca.content.at, tls->ca.content.len),
		hash_64(&zero, tls->crl.content.at, tls->crl.content.len),
	};
	uint64_t realm = hash_64(&zero, parts, sizeof(parts));

	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)&realm, sizeof(realm));
}

static int
context_server_use(struct tls_context *context, SSL_CTX *ctx, const struct tls_pair *const *pairs,
                   struct sy_err *err)
{
	const struct tls *tls = context->tls;

	for (unsigned kind = 0; kind < TLS_KINDS; kind++)
		if (pairs[kind] && context_use_pair(tls, ctx, pairs[kind], err) < 0)
			return -1;
	if (tls->client_certificate.index == CLIENT_CERTIFICATE_NONE)
		return 0;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER |
	                   (tls->client_certificate.index == CLIENT_CERTIFICATE_REQUIRED
	                    ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), tls_refused);
	return context_authorities(context, ctx, err);
}

static int
context_hello(SSL *ssl, int *alert, void *arg)
{
	(void)arg;
	return tls_client_hello(ssl, alert);
}

static SSL_CTX *
context_server(struct tls_context *context, const struct tls_pair *const *pairs, struct sy_err *err)
{
	SSL_CTX *ctx = context_common(context, err);

	if (!ctx)
		return NULL;
	context_realm(context->tls, ctx);
	SSL_CTX_set_client_hello_cb(ctx, context_hello, NULL);
	if (context->tls->tickets) {
		tls_tickets_use(ctx);
	} else {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(ctx, 0);
	}
	if (context->alpn)
		SSL_CTX_set_alpn_select_cb(ctx, context_choose_alpn, context);
	if (context_server_use(context, ctx, pairs, err) == 0)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static int
context_servers(struct tls_context *context, struct sy_err *err)
{
	const struct tls *tls = context->tls;
	struct tls_pair *pairs = must_alloc((tls->n_certificates + 1) * sizeof(*pairs));
	unsigned n = 0;
	int result = 0;

	for (; n < tls->n_certificates && result == 0; n++)
		result = context_read_pair(tls, &tls->certificates[n], &pairs[n], err);
	if (result == 0)
		result = tls_names_make(context, pairs, n, context_server, err);
	for (unsigned i = 0; i < n; i++)
		context_drop_pair(&pairs[i]);
	free(pairs);
	return result;
}

static int
context_client(struct tls_context *context, struct sy_err *err)
{
	const struct tls *tls = context->tls;
	struct tls_pair pair;
	int result = 0;

	context->ctx = context_common(context, err);
	if (!context->ctx)
		return -1;
	if (tls->policy.index == TLS_OLD)
		SSL_CTX_set_options(context->ctx, SSL_OP_LEGACY_SERVER_CONNECT);
	tls_sessions_use(context->ctx);
	if (context->alpn)
		SSL_CTX_set_alpn_protos(context->ctx, context->alpn, context->alpn_len);
	if (tls->n_certificates) {
		result = context_read_pair(tls, &tls->certificates[0], &pair, err);
		if (result == 0)
			result = context_use_pair(tls, context->ctx, &pair, err);
		context_drop_pair(&pair);
	}
	if (result < 0 || !tls->verify)
		return result;
	SSL_CTX_set_verify(context->ctx, SSL_VERIFY_PEER, tls_refused);
	return tls->ca.content.len ? context_authorities(context, context->ctx, err)
	                           : context_system(context, context->ctx, err);
}

struct tls_context *
tls_context_new(const struct tls *tls, struct tls_shared *shared, struct sy_err *err)
{
	struct tls_context *context = must_alloc(sizeof(*context));

	*context = (struct tls_context){ .tls = tls, .shared = shared };
	ERR_clear_error();
	context_alpn(context);
	if ((tls->server ? context_servers(context, err) : context_client(context, err)) == 0) {
		ERR_clear_error();
		return context;
	}
	ERR_clear_error();
	tls_context_free(context);
	return NULL;
}

void
tls_context_free(struct tls_context *context)
{
	if (!context)
		return;
	tls_names_free(context);
	SSL_CTX_free(context->ctx);
	free(context->alpn);
	free(context);
}

/* ---- connections ---- */

static SSL *
context_open(struct tls_context *context, BIO *bio)
{
	SSL *ssl = tls_park_new(context->ctx);

	if (ssl)
		SSL_set_bio(ssl, bio, bio);
	else
		BIO_free(bio);
	return ssl;
}

SSL *
tls_accept(struct tls_context *context, BIO *bio)
{
	SSL *ssl = context_open(context, bio);

	if (ssl)
		SSL_set_accept_state(ssl);
	return ssl;
}

/* What the certificate must hold. */
static bool
context_expect(SSL *ssl, const char *name)
{
	struct sy_addr literal;

	if (addr_parse(name, &literal))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) == 1;
}

SSL *
tls_connect(struct tls_context *context, BIO *bio, const char *host, const struct sy_addr *addr,
            uint64_t key)
{
	const struct tls *tls = context->tls;
	struct sy_addr bare = *addr, literal;
	char text[ADDR_TEXT_SIZE];
	const char *name, *sni;
	SSL *ssl = context_open(context, bio);

	if (!ssl)
		return NULL;
	bare.port = 0;
	name = tls->name ? tls->name : host ? host : addr_text(&bare, text);
	sni = tls->sni ? tls->sni : name;
	/* An address is no server name (RFC 6066, 3). */
	if (strcmp(sni, "off") != 0 && !addr_parse(sni, &literal))
		SSL_set_tlsext_host_name(ssl, sni);
	SSL_set_connect_state(ssl);
	if (tls->verify && !context_expect(ssl, name)) {
		SSL_free(ssl);
		return NULL;
	}
	tls_sessions_offer(context->shared->sessions, ssl, key ^ tls->id);
	return ssl;
}
