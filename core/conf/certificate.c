#define _GNU_SOURCE 1
#include "conf/certificate.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/must.h"
#include "conf/tls_policy.h"

enum { CERTIFICATE_WARN_DAYS = 14 };

/* ---- reading ---- */

static BIO *
certificate_bio(struct sy_span pem)
{
	BIO *bio = BIO_new_mem_buf(pem.at, (int)pem.len);

	must(bio);
	return bio;
}

/* All certificates of a text; NULL when one cannot be read, or there is none. */
static STACK_OF(X509) *
certificate_chain(struct sy_span pem)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	BIO *bio = certificate_bio(pem);
	X509 *one;

	must(chain);
	ERR_clear_error();
	while ((one = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		must(sk_X509_push(chain, one) > 0);
	BIO_free(bio);
	if (sk_X509_num(chain) > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
		ERR_clear_error();
		return chain;
	}
	sk_X509_pop_free(chain, X509_free);
	return NULL;
}

static int
certificate_no_password(char *to, int size, int writing, void *context)
{
	(void)to, (void)size, (void)writing, (void)context;
	return -1;
}

static int
certificate_days_left(const X509 *x509)
{
	int days, seconds;

	if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x509)) != 1)
		return 0;
	return seconds < 0 && days == 0 ? -1 : days;
}

static bool
certificate_self_signed(X509 *x509)
{
	return X509_check_issued(x509, x509) == X509_V_OK;
}

static const char *
certificate_name(const X509_NAME *name, char out[static CERTIFICATE_TEXT])
{
	BIO *bio = BIO_new(BIO_s_mem());
	int n;

	must(bio);
	X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
	n = BIO_read(bio, out, CERTIFICATE_TEXT - 1);
	out[n > 0 ? n : 0] = '\0';
	BIO_free(bio);
	return out;
}

/* ---- facts ---- */

static void
certificate_time(const ASN1_TIME *time, char *out, size_t size)
{
	struct tm tm = { 0 };

	out[0] = '\0';
	if (ASN1_TIME_to_tm(time, &tm) == 1)
		strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void
certificate_names(X509 *x509, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
	size_t used = 0;

	out[0] = '\0';
	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *text = name->type == GEN_DNS ? name->d.dNSName : NULL;
		int len = text ? ASN1_STRING_length(text) : 0;

		if (len == 0 || used + (size_t)len + 2 > size ||
		    memchr(ASN1_STRING_get0_data(text), 0, (size_t)len))
			continue;
		used += (size_t)snprintf(out + used, size - used, "%s%.*s", used ? " " : "", len,
					 (const char *)ASN1_STRING_get0_data(text));
	}
	GENERAL_NAMES_free(names);
}

bool
certificate_facts(struct sy_span pem, struct certificate_facts *out)
{
	STACK_OF(X509) *chain = certificate_chain(pem);
	EVP_PKEY *key;
	X509 *x509;

	*out = (struct certificate_facts){ .length = 0 };
	if (!chain) {
		ERR_clear_error();
		return false;
	}
	x509 = sk_X509_value(chain, 0);
	out->length = (unsigned)sk_X509_num(chain);
	certificate_name(X509_get_subject_name(x509), out->subject);
	certificate_name(X509_get_issuer_name(x509), out->issuer);
	certificate_names(x509, out->names, sizeof(out->names));
	certificate_time(X509_get0_notBefore(x509), out->not_before, sizeof(out->not_before));
	certificate_time(X509_get0_notAfter(x509), out->not_after, sizeof(out->not_after));
	out->days_left = certificate_days_left(x509);
	key = X509_get0_pubkey(x509);
	if (key)
		snprintf(out->key, sizeof(out->key), "%.16s %d", EVP_PKEY_get0_type_name(key)
			 ? EVP_PKEY_get0_type_name(key) : "", EVP_PKEY_get_bits(key));
	sk_X509_pop_free(chain, X509_free);
	ERR_clear_error();
	return true;
}

/* ---- the loader's questions ---- */

static void
examine_dates(const struct tls_certificate *from, X509 *x509, const char *which,
	      struct complaints *complaints)
{
	int days = certificate_days_left(x509);
	char subject[CERTIFICATE_TEXT];

	certificate_name(X509_get_subject_name(x509), subject);
	if (X509_cmp_current_time(X509_get0_notBefore(x509)) > 0)
		complain_mildly(complaints, from->node, "certificate %s: %s (%s) is not valid yet",
				from->name, which, subject);
	else if (days < 0)
		complain_mildly(complaints, from->node, "certificate %s: %s (%s) is out of date since %d "
				"day%s", from->name, which, subject, -days, days == -1 ? "" : "s");
	else if (days < CERTIFICATE_WARN_DAYS)
		complain_mildly(complaints, from->node, "certificate %s: %s (%s) ends in %d day%s",
				from->name, which, subject, days, days == 1 ? "" : "s");
}

/* Is there a root on this machine that signed it? */
static bool
examine_known_root(X509 *last)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *look = X509_STORE_CTX_new();
	X509 *issuer = NULL;
	bool known;

	must(store && look);
	known = X509_STORE_set_default_paths(store) == 1 &&
		X509_STORE_CTX_init(look, store, last, NULL) == 1 &&
		X509_STORE_CTX_get1_issuer(&issuer, look, last) == 1;
	X509_free(issuer);
	X509_STORE_CTX_free(look);
	X509_STORE_free(store);
	ERR_clear_error();
	return known;
}

static void
examine_order(const struct tls_certificate *from, STACK_OF(X509) *chain,
	      struct complaints *complaints)
{
	char subject[CERTIFICATE_TEXT], issuer[CERTIFICATE_TEXT];
	int n = sk_X509_num(chain);

	for (int i = 0; i + 1 < n; i++) {
		X509 *x509 = sk_X509_value(chain, i), *next = sk_X509_value(chain, i + 1);

		if (X509_NAME_cmp(X509_get_issuer_name(x509), X509_get_subject_name(next)) == 0)
			continue;
		complain_mildly(complaints, from->node, "certificate %s: number %d in %s (%s) did not sign "
				"the one before it, which wants %s: clients may not be able to follow",
				from->name, i + 2, from->chain.path,
				certificate_name(X509_get_subject_name(next), subject),
				certificate_name(X509_get_issuer_name(x509), issuer));
		return;
	}
	if (n > 1 || certificate_self_signed(sk_X509_value(chain, 0)) ||
	    examine_known_root(sk_X509_value(chain, 0)))
		return;
	complain_mildly(complaints, from->node, "certificate %s: %s holds only one certificate, and who "
			"signed it (%s) is no root that this machine knows: is an intermediate certificate "
			"missing? It belongs behind the certificate in the same file", from->name,
			from->chain.path,
			certificate_name(X509_get_issuer_name(sk_X509_value(chain, 0)), issuer));
}

static EVP_PKEY *
examine_key(const struct tls_certificate *from, struct complaints *complaints)
{
	struct sy_span pem = from->key.content;
	EVP_PKEY *key;
	BIO *bio;

	if (pem.len == 0)
		return NULL; /* the loader has said why */
	if (memmem(pem.at, pem.len, "ENCRYPTED", 9)) {
		complain(complaints, from->node, "certificate %s: the key in %s is encrypted, and nobody is "
			 "there to type its password (openssl pkey -in %s -out PLAIN.key takes it off)",
			 from->name, from->key.path, from->key.path);
		return NULL;
	}
	bio = certificate_bio(pem);
	key = PEM_read_bio_PrivateKey(bio, NULL, certificate_no_password, NULL);
	BIO_free(bio);
	if (!key)
		complain(complaints, from->node, "certificate %s: the key in %s cannot be read: %s",
			 from->name, from->key.path, tls_policy_words());
	ERR_clear_error();
	return key;
}

static void
examine_pair(SSL_CTX *ctx, const struct tls *tls, const struct tls_certificate *from,
	     struct complaints *complaints)
{
	STACK_OF(X509) *chain;
	EVP_PKEY *key = examine_key(from, complaints);
	X509 *x509;

	chain = from->chain.content.len ? certificate_chain(from->chain.content) : NULL;
	if (!chain && from->chain.content.len)
		complain(complaints, from->node, "certificate %s: a certificate in %s cannot be read: %s",
			 from->name, from->chain.path, tls_policy_words());
	x509 = chain ? sk_X509_value(chain, 0) : NULL;
	if (x509 && key && X509_check_private_key(x509, key) != 1)
		complain(complaints, from->node, "certificate %s: the key in %s does not belong to the "
			 "certificate in %s%s", from->name, from->key.path, from->chain.path,
			 sk_X509_num(chain) > 1 ? " (its first one)" : "");
	else if (x509 && ctx && SSL_CTX_use_certificate(ctx, x509) != 1)
		complain(complaints, from->node, "certificate %s: policy %s refuses it: %s", from->name,
			 tls->policy.index == TLS_MODERN ? "modern"
			 : tls->policy.index == TLS_OLD ? "old" : "intermediate", tls_policy_words());
	if (x509) {
		examine_dates(from, x509, "it", complaints);
		for (int i = 1; i < sk_X509_num(chain); i++)
			examine_dates(from, sk_X509_value(chain, i), "one of its chain", complaints);
		examine_order(from, chain, complaints);
	}
	ERR_clear_error();
	EVP_PKEY_free(key);
	if (chain)
		sk_X509_pop_free(chain, X509_free);
}

static void
examine_authorities(const struct tls *tls, struct complaints *complaints)
{
	const struct node *node = node_child(tls->node, "ca");
	STACK_OF(X509) *chain;
	X509_CRL *crl;
	BIO *bio;

	if (tls->ca.content.len) {
		chain = certificate_chain(tls->ca.content);
		if (!chain)
			complain(complaints, node ? node : tls->node, "ca: %s is no list of certificates in "
				 "PEM form", tls->ca.path);
		else
			sk_X509_pop_free(chain, X509_free);
		ERR_clear_error();
	}
	if (!tls->crl.content.len)
		return;
	bio = certificate_bio(tls->crl.content);
	crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
	BIO_free(bio);
	node = node_child(tls->node, "crl");
	if (!crl)
		complain(complaints, node ? node : tls->node, "crl: %s holds no list of revoked certificates "
			 "in PEM form", tls->crl.path);
	else if (X509_CRL_get0_nextUpdate(crl) &&
		 X509_cmp_current_time(X509_CRL_get0_nextUpdate(crl)) < 0)
		complain_mildly(complaints, node ? node : tls->node, "crl: %s is out of date: every "
				"certificate will be refused", tls->crl.path);
	X509_CRL_free(crl);
	ERR_clear_error();
}

void
certificate_examine(const struct tls *tls, struct complaints *complaints)
{
	SSL_CTX *ctx = SSL_CTX_new(tls->server ? TLS_server_method() : TLS_client_method());
	struct sy_err err;

	must(ctx);
	if (tls_policy_apply(ctx, tls, &err) < 0)
		complain(complaints, tls->node, "tls: %s", err.text);
	for (uint32_t i = 0; i < tls->n_certificates; i++)
		examine_pair(ctx, tls, &tls->certificates[i], complaints);
	examine_authorities(tls, complaints);
	SSL_CTX_free(ctx);
}
