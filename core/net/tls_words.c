#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "net/tls_own.h"

/* ---- the client's first message ---- */

static unsigned
hello_number(const unsigned char *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

/* Versions that we have words for; not those of drafts, nor the ones that are there to be ignored
 * (RFC 8701). */
static bool
hello_is_version(unsigned version)
{
	return version >= SSL3_VERSION && version <= TLS1_3_VERSION;
}

/* The least and the most that the client offers, kept with the connection for its words. */
static void
hello_versions(SSL *ssl)
{
	const unsigned char *at;
	size_t len;
	unsigned most = SSL_client_hello_get0_legacy_version(ssl), least = most;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &at, &len) == 1 &&
	    len >= 3) {
		most = 0;
		least = UINT16_MAX;
		for (size_t i = 1; i + 1 < len; i += 2) {
			unsigned version = hello_number(at + i);

			if (!hello_is_version(version))
				continue;
			most = version > most ? version : most;
			least = version < least ? version : least;
		}
		if (!most)
			least = 0;
	} else {
		/* Without the list it understands all that is older, for all that we know. */
		least = 0;
	}
	SSL_set_app_data(ssl, (void *)(uintptr_t)(least << 16 | most));
}

static bool
hello_name(SSL *ssl, char out[static TLS_NAME])
{
	const unsigned char *at;
	size_t len, name;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &at, &len) != 1 || len < 6 ||
	    at[2] != TLSEXT_NAMETYPE_host_name)
		return false;
	name = hello_number(at + 3);
	if (name == 0 || name > len - 5 || name >= TLS_NAME || memchr(at + 5, 0, name))
		return false;
	for (size_t i = 0; i < name; i++)
		out[i] = (char)tolower(at[5 + i]);
	out[name] = '\0';
	return true;
}

static int
hello_refuse(SSL *ssl, const char *name, int *alert)
{
	struct tls_shared *shared = tls_of(ssl)->shared;

	shared->unnamed = ssl;
	strcpy(shared->unknown_name, name);
	*alert = SSL_AD_UNRECOGNIZED_NAME;
	return SSL_CLIENT_HELLO_ERROR;
}

int
tls_client_hello(SSL *ssl, int *alert)
{
	const struct tls_context *context = tls_of(ssl);
	char name[TLS_NAME];
	SSL_CTX *ctx;

	hello_versions(ssl);
	if (!hello_name(ssl, name))
		return SSL_CLIENT_HELLO_SUCCESS;
	ctx = tls_names_find(context, name);
	if (!ctx && context->tls->unknown_name.index == UNKNOWN_NAME_REFUSE)
		return hello_refuse(ssl, name, alert);
	if (!ctx)
		ctx = context->ctx;
	if (ctx != SSL_get_SSL_CTX(ssl))
		SSL_set_SSL_CTX(ssl, ctx);
	return SSL_CLIENT_HELLO_SUCCESS;
}

size_t
tls_sni(const SSL *ssl, char *out, size_t size)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	size_t n = 0;

	for (; name && name[n] && n < size; n++)
		out[n] = (char)tolower((unsigned char)name[n]);
	return n;
}

size_t
tls_subject(const SSL *ssl, char *out, size_t size)
{
	X509 *x509 = SSL_get0_peer_certificate(ssl);
	size_t len = 0;
	char *words;
	long n;
	BIO *bio;

	if (!x509 || SSL_get_verify_result(ssl) != X509_V_OK)
		return 0;
	bio = BIO_new(BIO_s_mem());
	if (!bio)
		return 0;
	if (X509_NAME_print_ex(bio, X509_get_subject_name(x509), 0, XN_FLAG_RFC2253) >= 0) {
		n = BIO_get_mem_data(bio, &words);
		if (n > 0 && (size_t)n <= size) {
			len = (size_t)n;
			memcpy(out, words, len);
		}
	}
	BIO_free(bio);
	return len;
}

size_t
tls_common_name(const SSL *ssl, char *out, size_t size)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	X509_NAME *name = certificate ? X509_get_subject_name(certificate) : NULL;
	int at = name ? X509_NAME_get_index_by_NID(name, NID_commonName, -1) : -1;
	unsigned char *text = NULL;
	int len;

	if (at < 0 || SSL_get_verify_result(ssl) != X509_V_OK)
		return 0;
	len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	if (len > 0 && (size_t)len < size && !memchr(text, 0, (size_t)len)) {
		memcpy(out, text, (size_t)len);
		out[len] = '\0';
	} else {
		len = 0;
	}
	OPENSSL_free(text);
	return (size_t)len;
}

/* ---- failures ---- */

static const char *
words_version(unsigned version)
{
	static const char *const names[] = { "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3" };

	return hello_is_version(version) ? names[version - SSL3_VERSION] : "an unknown version";
}

static void
words_offer(const SSL *ssl, char *out, size_t size)
{
	uintptr_t offer = (uintptr_t)SSL_get_app_data(ssl);
	unsigned most = offer & 0xffff, least = (unsigned)(offer >> 16 & 0xffff);

	if (!SSL_is_server(ssl) || !most)
		return;
	if (least == most)
		snprintf(out, size, "; the client offers %s only", words_version(most));
	else if (least == 0)
		snprintf(out, size, "; the client offers %s at most", words_version(most));
	else
		snprintf(out, size, "; the client offers %s to %s", words_version(least),
		         words_version(most));
}

int
tls_refused(int good, X509_STORE_CTX *look)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(look, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *x509 = X509_STORE_CTX_get0_cert(look);
	struct tls_shared *shared = tls_of(ssl)->shared;

	if (good || !x509)
		return good;
	shared->refused = ssl;
	X509_NAME_oneline(X509_get_subject_name(x509), shared->refused_subject,
	                  sizeof(shared->refused_subject));
	return good;
}

static void
words_certificate(const SSL *ssl, const char *who, char *out, size_t size)
{
	long result = SSL_get_verify_result(ssl);
	const struct tls_shared *shared = tls_of(ssl)->shared;
	const char *subject = shared->refused == ssl ? shared->refused_subject : "";

	snprintf(out, size, "the %s's certificate is refused: %s%s%s%s", who,
	         X509_verify_cert_error_string(result), *subject ? " (" : "", subject,
	         *subject ? ")" : "");
	if (result == X509_V_ERR_HOSTNAME_MISMATCH) {
		const struct tls *tls = tls_of(ssl)->tls;

		if (tls->name)
			snprintf(out, size, "the %s's certificate does not hold the name %s%s%s%s", who,
			         tls->name, *subject ? " (" : "", subject, *subject ? ")" : "");
	}
}

/* An alert's words begin with a version that says nothing of the one in use. */
static const char *
words_alert(const char *reason)
{
	static const char *const heads[] = { "sslv3 alert ", "tlsv1 alert ", "tlsv13 alert " };

	for (unsigned i = 0; i < sizeof(heads) / sizeof(*heads); i++)
		if (strncmp(reason, heads[i], strlen(heads[i])) == 0)
			return reason + strlen(heads[i]);
	return NULL;
}

/* Names come from the client: what is not printable is not told. */
static void
words_unnamed(const SSL *ssl, char *out, size_t size)
{
	const struct tls_shared *shared = tls_of(ssl)->shared;
	char name[TLS_NAME];
	size_t n = 0;

	if (shared->unnamed != ssl) {
		snprintf(out, size, "the client asks for a name that no certificate holds");
		return;
	}
	for (; shared->unknown_name[n]; n++)
		name[n] = isgraph((unsigned char)shared->unknown_name[n]) ? shared->unknown_name[n] : '?';
	name[n] = '\0';
	snprintf(out, size, "the client asks for %.150s, which no certificate holds (unknown-name refuse)", name);
}

static void
words_reason(const SSL *ssl, unsigned long code, char *out, size_t size)
{
	const char *who = SSL_is_server(ssl) ? "client" : "server", *reason, *alert;

	switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		words_certificate(ssl, who, out, size);
		return;
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
		snprintf(out, size, "the %s speaks HTTP without TLS", who);
		return;
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_UNKNOWN_PROTOCOL:
		if (!SSL_get_app_data(ssl) || !SSL_is_server(ssl)) {
			snprintf(out, size, "the %s does not speak TLS", who);
			return;
		}
		break;
	case SSL_R_CALLBACK_FAILED:
		if (!SSL_is_server(ssl))
			break;
		words_unnamed(ssl, out, size);
		return;
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		snprintf(out, size, "the client shows no certificate, and client-certificate is "
		         "required");
		return;
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
	case SSL_R_NO_SHARED_GROUPS:
	case SSL_R_NO_SUITABLE_KEY_SHARE:
		snprintf(out, size, "%s", ERR_reason_error_string(code));
		words_offer(ssl, out + strlen(out), size - strlen(out));
		return;
	default:
		break;
	}
	reason = ERR_reason_error_string(code);
	alert = reason ? words_alert(reason) : NULL;
	if (alert)
		snprintf(out, size, "the %s says: %s", who, alert);
	else
		snprintf(out, size, "%s", reason ? reason : "unknown error");
}

const char *
tls_words(const SSL *ssl, int error, char out[static TLS_WORDS])
{
	const char *who = SSL_is_server(ssl) ? "client" : "server";
	unsigned long code = ERR_peek_error();

	if (code)
		words_reason(ssl, code, out, TLS_WORDS);
	else if (error)
		snprintf(out, TLS_WORDS, "%s", strerror(error));
	else
		snprintf(out, TLS_WORDS, "the %s closed the connection", who);
	ERR_clear_error();
	return out;
}
