/* Connections that are parked between any two calls of OpenSSL say and hear the same as others, in
 * both roles and versions, resumed or not; and what is kept of them is small. */
#include "t/tap.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "net/tls_park.h"

static unsigned parked_times;
static size_t parked_most;

/* To rest and back. */
static SSL *
nap(SSL *ssl)
{
	struct tls_parked *parked = tls_park(ssl);

	if (parked) {
		parked_times++;
		if (tls_parked_size(parked) > parked_most)
			parked_most = tls_parked_size(parked);
		tls_unpark(ssl, parked);
	}
	return ssl;
}

static void
certify(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();

	X509_set_pubkey(x509, key);
	X509_gmtime_adj(X509_getm_notBefore(x509), 0);
	X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
	X509_sign(x509, key, EVP_sha256());
	SSL_CTX_use_cert_and_key(ctx, x509, key, NULL, 1);
	X509_free(x509);
	EVP_PKEY_free(key);
}

static bool
handshake(SSL *client, SSL *server)
{
	int done = 0;

	for (unsigned turn = 0; turn < 40 && done != 2; turn++)
		done = (SSL_do_handshake(nap(client)) == 1) + (SSL_do_handshake(nap(server)) == 1);
	return done == 2;
}

/* `bytes` from one to the other, in pieces. */
static bool
say(SSL *from, SSL *to, size_t bytes)
{
	static unsigned char sent[50000], got[50000];
	size_t out = 0, in = 0;

	for (size_t i = 0; i < bytes; i++)
		sent[i] = (unsigned char)(i * 31 + bytes);
	for (unsigned turn = 0; turn < 1000 && in < bytes; turn++) {
		size_t n = 0;

		if (out < bytes && SSL_write_ex(nap(from), sent + out, bytes - out, &n) == 1)
			out += n;
		while (SSL_read_ex(nap(to), got + in, bytes - in ? bytes - in : 1, &n) == 1)
			in += n;
	}
	return in == bytes && memcmp(sent, got, bytes) == 0;
}

static void
converse(SSL_CTX *serve, SSL_CTX *ask, int version, SSL_SESSION **session)
{
	const char *name = version == TLS1_3_VERSION ? "TLS 1.3" : "TLS 1.2";
	SSL *server = tls_park_new(serve), *client = tls_park_new(ask);
	bool again = *session;
	BIO *a, *b;

	BIO_new_bio_pair(&a, 0, &b, 0);
	SSL_set_bio(server, a, a);
	SSL_set_bio(client, b, b);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	SSL_set_max_proto_version(client, version);
	SSL_set_tlsext_host_name(client, "www.example.net");
	if (again)
		SSL_set_session(client, *session);
	ok(handshake(client, server), "%s%s: a handshake", name, again ? " resumed" : "");
	is_int(SSL_session_reused(client), again, "%s: new or resumed", name);
	ok(say(client, server, 10) && say(server, client, 50000) && say(client, server, 50000),
	   "%s: both ways", name);
	if (version == TLS1_3_VERSION)
		ok(SSL_key_update(nap(client), SSL_KEY_UPDATE_REQUESTED) == 1 &&
		   say(client, server, 100) && say(server, client, 100), "%s: and with new keys", name);
	SSL_SESSION_free(*session);
	*session = SSL_get1_session(client);
	ok(SSL_shutdown(nap(client)) >= 0 && SSL_read(nap(server), &(char){ 0 }, 1) == 0 &&
	   SSL_get_error(server, 0) == SSL_ERROR_ZERO_RETURN, "%s: an end", name);
	SSL_free(nap(server));
	SSL_free(nap(client));
}

/* Many at once, some of which go while others rest. */
static void
crowd(SSL_CTX *ctx)
{
	enum { MANY = 700 };
	static SSL *all[MANY];
	static struct tls_parked *parked[MANY];
	unsigned good = 0;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			if (!all[i]) {
				all[i] = tls_park_new(ctx);
				SSL_set_app_data(all[i], (void *)(uintptr_t)(i + 1));
				SSL_set_accept_state(all[i]);
				parked[i] = tls_park(all[i]);
			}
		}
		for (unsigned i = round; i < MANY; i += round + 1) {
			if (parked[i])
				tls_unpark(all[i], parked[i]);
			good += SSL_get_app_data(all[i]) == (void *)(uintptr_t)(i + 1) &&
			        SSL_is_server(all[i]) && SSL_in_before(all[i]);
			SSL_free(all[i]);
			all[i] = NULL;
		}
	}
	is_int(good, 700 + 350 + 233, "connections that come and go keep what is theirs");
	for (unsigned i = 0; i < MANY; i++) {
		if (all[i] && parked[i])
			tls_unpark(all[i], parked[i]);
		SSL_free(all[i]);
	}
}

int
main(void)
{
	SSL_CTX *serve, *ask;
	SSL_SESSION *session = NULL;

	tls_park_prepare();
	serve = SSL_CTX_new(TLS_server_method());
	ask = SSL_CTX_new(TLS_client_method());
	certify(serve);
	SSL_CTX_set_mode(serve, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_mode(ask, SSL_CTX_get_mode(serve));
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		for (unsigned round = 0; round < 2; round++)
			converse(serve, ask, version, &session);
		SSL_SESSION_free(session);
		session = NULL;
	}
	crowd(serve);
	if (parked_times) {
		diag("%u times; at most %zu bytes were kept of one", parked_times, parked_most);
		ok(parked_most < 3000, "what is kept is small");
	} else {
		ok(true, "nothing can be parked in this build");
	}
	SSL_CTX_free(serve);
	SSL_CTX_free(ask);
	return done_testing();
}
