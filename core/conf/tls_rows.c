/* The directives of tls blocks. */
#include "conf/core_rows.h"

static const char *const tls_policies[] = { "modern", "intermediate", "old", NULL };
static const char *const tls_unknown_names[] = { "first", "refuse", NULL };
static const char *const tls_client_certificates[] = { "none", "optional", "required", NULL };

#define TLS_COMMON \
	SY_ROW(struct tls, policy, "policy", .words = tls_policies, .preset = "intermediate", \
	       .doc = "Versions and ciphers by name. modern: TLS 1.3 only. intermediate: TLS 1.2 and " \
		      "1.3 with ciphers that keep old traffic secret. old: from TLS 1.0 on, with all " \
		      "that Lync Phone Edition and Lync 2010 clients need."), \
	SY_ROW(struct tls, versions, "versions", \
	       .doc = "Versions instead of the policy's: TLSv1.0, TLSv1.1, TLSv1.2, TLSv1.3."), \
	SY_ROW(struct tls, ciphers, "ciphers", \
	       .doc = "Ciphers up to TLS 1.2 instead of the policy's, as OpenSSL's ciphers(1) writes " \
		      "them."), \
	SY_ROW(struct tls, ciphersuites, "ciphersuites", \
	       .doc = "The same for TLS 1.3, such as TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384."), \
	SY_ROW(struct tls, groups, "groups", \
	       .doc = "Groups for the key exchange, such as X25519:P-256."), \
	SY_ROW(struct tls, alpn, "alpn", \
	       .doc = "Protocols to agree on (ALPN), the preferred one first, such as h2 http/1.1. Protocol http " \
		      "and https offer what they speak when it is not given.")

const struct sy_row tls_server_rows[] = {
	TLS_COMMON,
	SY_ROW(struct tls, client_certificate, "client-certificate", .words = tls_client_certificates,
	       .preset = "none",
	       .doc = "Whether clients are asked for a certificate, and refused without one. One that is "
		      "shown must be signed by an authority in ca."),
	SY_ROW(struct tls, ca, "ca",
	       .doc = "File with the authorities (PEM) that sign clients' certificates."),
	SY_ROW(struct tls, crl, "crl",
	       .doc = "File with lists of revoked certificates (PEM), one of each authority."),
	SY_ROW(struct tls, unknown_name, "unknown-name", .words = tls_unknown_names, .preset = "first",
	       .doc = "What becomes of a client that asks for a name (SNI) that no certificate holds: it gets "
		      "the first certificate, as those do who ask for none, or it is refused with the alert "
		      "unrecognized_name."),
	SY_ROW(struct tls, tickets, "tickets", .preset = "on",
	       .doc = "Clients that come again are spared the full handshake. The keys of the tickets are "
		      "made anew every 12 hours, and all workers share them."),
	SY_ROW(struct tls, handshake_timeout, "handshake-timeout", .min = 50, .max = SY_HOUR,
	       .preset = "10s", .doc = "How long a client may take for the handshake."),
	SY_ROW_END
};

const struct sy_row tls_client_rows[] = {
	SY_ROW(struct tls, verify, "verify", .preset = "on",
	       .doc = "Servers must show a certificate that is signed by an authority in ca, is not out of "
		      "date and holds the name. off: any certificate will do, and traffic can be read by "
		      "who stands between."),
	SY_ROW(struct tls, ca, "ca",
	       .doc = "File with the authorities (PEM) that sign the servers' certificates; the system's "
		      "when not given."),
	SY_ROW(struct tls, crl, "crl",
	       .doc = "File with lists of revoked certificates (PEM), one of each authority."),
	SY_ROW(struct tls, name, "name",
	       .doc = "Name that the servers' certificate must hold; without it each server's host name as "
		      "written in the pool, or its address."),
	SY_ROW(struct tls, sni, "sni",
	       .doc = "Name to ask the servers for (SNI); without it the name. off: none."),
	TLS_COMMON,
	SY_ROW_END
};

const struct rows_other tls_others[] = {
	{ "certificate", "FILE | NAME { chain FILE; key FILE; }",
	  "A certificate with those that lead to its root (PEM). May be repeated: which one a client gets "
	  "is decided by the name that it asks for, and by what it can verify (RSA and ECDSA side by "
	  "side); the first is for those who ask for none, or for one that is not there. In a pool: what "
	  "is shown to servers that ask." },
	{ "key", "FILE",
	  "The key of the certificate before it (PEM, not encrypted); without it the certificate's own "
	  "file is read." },
	{ NULL, NULL, NULL }
};

const struct sy_row certificate_rows[] = {
	SY_ROW(struct tls_certificate, chain, "chain",
	       .doc = "File with the certificate, and with those that lead to its root (PEM); the name "
		      "is the file's when not given."),
	SY_ROW(struct tls_certificate, key, "key",
	       .doc = "File with its key (PEM, not encrypted); the chain's when not given."),
	SY_ROW_END
};
