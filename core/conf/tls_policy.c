#include "conf/tls_policy.h"

#include <string.h>

#include <openssl/err.h>

/* Mozilla's three policies (Server Side TLS 5.7), with what real farms need added to `old'. */
static const struct {
	int least;
	int security;             /* OpenSSL's level; 0: SHA-1, which TLS 1.0 and 1.1 cannot do without */
	const char *ciphers;
} policies[] = {
	[TLS_MODERN] = { TLS1_3_VERSION, 2, "ECDHE+AESGCM:ECDHE+CHACHA20" },
	[TLS_INTERMEDIATE] = { TLS1_2_VERSION, 2,
		"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
		"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
		"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305" },
	[TLS_OLD] = { TLS1_VERSION, 0,
		"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:RSA+AESGCM:RSA+AES:DES-CBC3-SHA" },
};

static const struct {
	const char *name;
	int version;
	uint64_t off;
} tls_versions[] = {
	{ "TLSv1.0", TLS1_VERSION, SSL_OP_NO_TLSv1 },
	{ "TLSv1.1", TLS1_1_VERSION, SSL_OP_NO_TLSv1_1 },
	{ "TLSv1.2", TLS1_2_VERSION, SSL_OP_NO_TLSv1_2 },
	{ "TLSv1.3", TLS1_3_VERSION, SSL_OP_NO_TLSv1_3 },
};

enum { TLS_VERSIONS = sizeof(tls_versions) / sizeof(*tls_versions) };

const char *
tls_policy_words(void)
{
	const char *words = ERR_reason_error_string(ERR_peek_error());

	ERR_clear_error();
	return words ? words : "unknown error";
}

int
tls_policy_version(const char *text)
{
	for (unsigned i = 0; i < TLS_VERSIONS; i++)
		if (strcmp(tls_versions[i].name, text) == 0)
			return tls_versions[i].version;
	return 0;
}

static int
policy_versions(SSL_CTX *ctx, const struct tls *tls, bool *weak, struct sy_err *err)
{
	uint64_t off = 0;
	unsigned most = 0;

	if (tls->versions.n == 0) {
		SSL_CTX_set_min_proto_version(ctx, policies[tls->policy.index].least);
		return 0;
	}
	for (unsigned i = 0; i < TLS_VERSIONS; i++)
		off |= tls_versions[i].off;
	for (uint32_t i = 0; i < tls->versions.n; i++) {
		unsigned at = 0;

		while (at < TLS_VERSIONS && strcmp(tls_versions[at].name, tls->versions.at[i]) != 0)
			at++;
		if (at == TLS_VERSIONS)
			return sy_fail(err, "versions %s: TLSv1.0, TLSv1.1, TLSv1.2 and TLSv1.3 are known",
				       tls->versions.at[i]);
		off &= ~tls_versions[at].off;
		*weak |= tls_versions[at].version < TLS1_2_VERSION;
		most = most > at ? most : at;
	}
	/* A client offers a range; one that leaves a version out of its middle cannot be understood. */
	for (unsigned i = 0, inside = 0; !tls->server && i <= most; i++) {
		inside |= !(off & tls_versions[i].off);
		if (inside && off & tls_versions[i].off)
			return sy_fail(err, "versions: %s lies between those given, and must be given, too",
				       tls_versions[i].name);
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_options(ctx, off);
	return 0;
}

int
tls_policy_apply(SSL_CTX *ctx, const struct tls *tls, struct sy_err *err)
{
	bool weak = false;
	const char *ciphers = tls->ciphers ? tls->ciphers : policies[tls->policy.index].ciphers;

	if (policy_versions(ctx, tls, &weak, err) < 0)
		return -1;
	SSL_CTX_set_security_level(ctx, weak ? 0 : policies[tls->policy.index].security);
	if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
		return sy_fail(err, "ciphers %s: %s (openssl ciphers -v '...' shows what a text means)",
			       ciphers, tls_policy_words());
	if (tls->ciphersuites && SSL_CTX_set_ciphersuites(ctx, tls->ciphersuites) != 1)
		return sy_fail(err, "ciphersuites %s: %s", tls->ciphersuites, tls_policy_words());
	if (tls->groups && SSL_CTX_set1_groups_list(ctx, tls->groups) != 1)
		return sy_fail(err, "groups %s: one of them is not known to OpenSSL", tls->groups);
	ERR_clear_error();
	return 0;
}
