/* TLS for probes. A probe wants to know whether the server is alive and what certificate it shows,
 * so it takes the oldest protocol and the weakest cipher that the library still has, never stops a
 * handshake because of a certificate, and tells the monitor what it saw. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/must.h"
#include "base/text.h"
#include "conf/tls_policy.h"
#include "role/probe_run.h"

struct probe_tls {
	SSL_CTX *ctx;
	unsigned char alpn[256];  /* as on the wire */
	unsigned alpn_len;
};

const char *
probe_tls_words(void)
{
	static char words[128];
	unsigned long code = ERR_peek_error();
	const char *reason = ERR_reason_error_string(code);

	switch (ERR_GET_REASON(code)) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_UNKNOWN_PROTOCOL:
		if (ERR_GET_LIB(code) == ERR_LIB_SSL)
			reason = "the server does not speak TLS";
		break;
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		if (ERR_GET_LIB(code) == ERR_LIB_SSL)
			reason = "the server closed the connection";
		break;
	}
	/* An alert's words begin with a version that says nothing of the one in use. */
	if (reason && strncmp(reason, "sslv3 alert ", 12) == 0)
		snprintf(words, sizeof(words), "the server says: %s", reason + 12);
	else if (reason && strncmp(reason, "tlsv1 alert ", 12) == 0)
		snprintf(words, sizeof(words), "the server says: %s", reason + 12);
	else if (reason && strncmp(reason, "tlsv13 alert ", 13) == 0)
		snprintf(words, sizeof(words), "the server says: %s", reason + 13);
	else
		snprintf(words, sizeof(words), "%s", reason ? reason : "unknown error");
	return words;
}

/* What probes share. */

static int
tls_fail(struct sy_err *err, const char *what)
{
	sy_fail(err, "%s: %s", what, probe_tls_words());
	ERR_clear_error();
	return -1;
}

static int
tls_trust(SSL_CTX *ctx, struct sy_span pem, struct sy_err *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio;
	X509 *ca;
	int n = 0;

	if (!pem.len)
		return SSL_CTX_set_default_verify_paths(ctx) == 1 ? 0
		       : tls_fail(err, "the system's store of certificates cannot be used");
	bio = BIO_new_mem_buf(pem.at, (int)pem.len);
	must(bio);
	for (; (ca = PEM_read_bio_X509(bio, NULL, NULL, NULL)); n++) {
		must(X509_STORE_add_cert(store, ca) == 1);
		X509_free(ca);
	}
	BIO_free(bio);
	if (n == 0)
		return tls_fail(err, "the ca file holds no certificate in PEM form");
	ERR_clear_error();
	return 0;
}

static int
tls_identity(SSL_CTX *ctx, struct sy_span certificate, struct sy_span key, struct sy_err *err)
{
	BIO *bio = BIO_new_mem_buf(certificate.at, (int)certificate.len);
	X509 *x509, *more;
	EVP_PKEY *pkey;
	int failed = 0;

	must(bio);
	x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!x509 || SSL_CTX_use_certificate(ctx, x509) != 1)
		failed = tls_fail(err, "the certificate cannot be used");
	X509_free(x509);
	while (!failed && (more = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		must(SSL_CTX_add0_chain_cert(ctx, more) == 1);
	BIO_free(bio);
	ERR_clear_error();
	if (failed)
		return -1;
	bio = BIO_new_mem_buf(key.len ? key.at : certificate.at,
	                      (int)(key.len ? key.len : certificate.len));
	must(bio);
	pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t)"");
	BIO_free(bio);
	if (!pkey)
		return tls_fail(err, "the key cannot be read");
	if (SSL_CTX_use_PrivateKey(ctx, pkey) != 1)
		failed = tls_fail(err, "the key does not belong to the certificate");
	EVP_PKEY_free(pkey);
	return failed;
}

/* "h2,http/1.1" as on the wire. */
static int
tls_alpn(struct probe_tls *tls, const char *names, struct sy_err *err)
{
	while (names && *names) {
		size_t len = strcspn(names, ",");

		if (len == 0 || len > 255 || tls->alpn_len + 1 + len > sizeof(tls->alpn))
			return sy_fail(err, "\"%s\" is no list of ALPN names", names);
		tls->alpn[tls->alpn_len] = (unsigned char)len;
		memcpy(tls->alpn + tls->alpn_len + 1, names, len);
		tls->alpn_len += 1 + (unsigned)len;
		names += len + (names[len] == ',');
	}
	return 0;
}

static int
tls_range(SSL_CTX *ctx, const struct sy_list *versions, struct sy_err *err)
{
	int least = 0, most = 0;

	for (uint32_t i = 0; i < versions->n; i++) {
		int version = tls_policy_version(versions->at[i]);

		if (!version)
			return sy_fail(err, "\"%s\" is no version of TLS", versions->at[i]);
		least = !least || version < least ? version : least;
		most = version > most ? version : most;
	}
	SSL_CTX_set_min_proto_version(ctx, least ? least : TLS1_VERSION);
	SSL_CTX_set_max_proto_version(ctx, most);
	return 0;
}

/* Called only when the server asks for a certificate. */
static int
tls_wanted(SSL *ssl, void *context)
{
	struct probe *probe = SSL_get_app_data(ssl);

	(void)context;
	probe->tls.wants_client_certificate = true;
	return 1;
}

struct probe_tls *
probe_tls_new(const struct sy_probe_plan *plan, struct sy_err *err)
{
	struct probe_tls *tls = must_alloc(sizeof(*tls));

	memset(tls, 0, sizeof(*tls));
	tls->ctx = SSL_CTX_new(TLS_client_method());
	must(tls->ctx);
	must(SSL_CTX_set_cipher_list(tls->ctx, "ALL:!aNULL:!eNULL:@SECLEVEL=0") == 1);
	SSL_CTX_set_options(tls->ctx, SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(tls->ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_cert_cb(tls->ctx, tls_wanted, NULL);
	if (tls_range(tls->ctx, &plan->tls_versions, err) != 0 ||
	    (plan->tls_verify && tls_trust(tls->ctx, plan->tls_ca, err) != 0) ||
	    (plan->tls_certificate.len &&
	     tls_identity(tls->ctx, plan->tls_certificate, plan->tls_key, err) != 0) ||
	    tls_alpn(tls, plan->tls_alpn, err) != 0) {
		probe_tls_drop(tls);
		return NULL;
	}
	return tls;
}

void
probe_tls_drop(struct probe_tls *tls)
{
	if (!tls)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls);
}

/* One probe. */

bool
probe_tls_open(struct probe *probe)
{
	const struct probe_tls *tls = probe->question->tls;
	const char *name = probe->question->plan->tls_name;
	struct sy_addr literal;

	ERR_clear_error();
	probe->ssl = SSL_new(tls->ctx);
	if (!probe->ssl || SSL_set_fd(probe->ssl, probe->fd) != 1)
		return false;
	SSL_set_app_data(probe->ssl, probe);
	/* An address is no server name (RFC 6066, 3). */
	if (name && !addr_parse(name, &literal))
		SSL_set_tlsext_host_name(probe->ssl, name);
	if (tls->alpn_len)
		SSL_set_alpn_protos(probe->ssl, tls->alpn, tls->alpn_len);
	SSL_set_connect_state(probe->ssl);
	return true;
}

static bool
tls_name_matches(X509 *certificate, const char *name)
{
	struct sy_addr literal;

	if (!name)
		return true;
	if (addr_parse(name, &literal))
		return X509_check_ip_asc(certificate, name, 0) == 1;
	return X509_check_host(certificate, name, 0, 0, NULL) == 1;
}

static void
tls_look(struct probe *probe)
{
	struct sy_probe_tls *facts = &probe->tls;
	X509 *certificate = SSL_get0_peer_certificate(probe->ssl);
	int days, seconds;

	facts->version = SSL_get_version(probe->ssl);
	if (!certificate)
		return;
	facts->server_hello = true;
	facts->name_matches = tls_name_matches(certificate, probe->question->plan->tls_name);
	if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) == 1)
		facts->days_left = seconds < 0 && days == 0 ? -1 : days;
	if (probe->question->plan->tls_verify) {
		long result = SSL_get_verify_result(probe->ssl);

		facts->verified = result == X509_V_OK;
		if (!facts->verified && !facts->problem)
			facts->problem = X509_verify_cert_error_string(result);
	}
}

enum probe_io
probe_tls_handshake(struct probe *probe, int *want)
{
	int done, error;

	ERR_clear_error();
	errno = 0;
	done = SSL_do_handshake(probe->ssl);
	error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(probe->ssl, done);
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		*want = error == SSL_ERROR_WANT_READ ? EV_READ : EV_WRITE;
		probe->tls.server_hello = SSL_get0_peer_certificate(probe->ssl) != NULL;
		return PROBE_IO_AGAIN;
	}
	probe->tls.established = done == 1;
	if (done != 1)
		probe->tls.problem = error != SSL_ERROR_SYSCALL ? probe_tls_words()
		                   : errno == 0 ? "the server closed the connection"
		                   : errno == ECONNRESET || errno == EPIPE
		                   ? "the server reset the connection" : strerror(errno);
	tls_look(probe);
	probe->facts.tls = &probe->tls;
	ERR_clear_error();
	return PROBE_IO_DONE;
}

static enum probe_io
tls_outcome(struct probe *probe, int result, int *want)
{
	switch (SSL_get_error(probe->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		*want = EV_READ;
		return PROBE_IO_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		*want = EV_WRITE;
		return PROBE_IO_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return PROBE_IO_END;
	case SSL_ERROR_SYSCALL:
		return errno ? PROBE_IO_ERROR : PROBE_IO_END;
	default:
		/* A server that closes without close_notify has said all that it will. */
		if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return PROBE_IO_END;
		errno = 0;
		return PROBE_IO_ERROR;
	}
}

enum probe_io
probe_tls_read(struct probe *probe, void *to, size_t size, size_t *got, int *want)
{
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_read_ex(probe->ssl, to, size, got);
	return result == 1 ? PROBE_IO_DONE : tls_outcome(probe, result, want);
}

enum probe_io
probe_tls_write(struct probe *probe, struct sy_span bytes, size_t *sent, int *want)
{
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_write_ex(probe->ssl, bytes.at, bytes.len, sent);
	return result == 1 ? PROBE_IO_DONE : tls_outcome(probe, result, want);
}

void
probe_tls_end(struct probe *probe)
{
	ERR_clear_error();
	if (SSL_is_init_finished(probe->ssl) && probe->tls.established)
		SSL_shutdown(probe->ssl);
	ERR_clear_error();
	SSL_free(probe->ssl); /* the descriptor stays ours */
	probe->ssl = NULL;
}
