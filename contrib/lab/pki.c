#include "pki.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PKI_PATH = 512,
	PKI_DAY = 24 * 3600,
	PKI_CA_DAYS = 365,
};

struct lab_pki {
	char *dir; /* NULL: only in memory */
	X509 *cert;
	EVP_PKEY *key;
};

static int
pki_err(struct lab_err *err, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	err_set(err, "cannot %s: %s", what, reason ? reason : "OpenSSL gives no reason");
	ERR_clear_error();
	return -1;
}

static int
pki_path(char path[PKI_PATH], const char *dir, const char *file, const char *ending,
	 struct lab_err *err)
{
	if (snprintf(path, PKI_PATH, "%s/%s%s", dir, file, ending) >= PKI_PATH)
		return err_set(err, "the path of the state directory is too long: %s", dir);
	return 0;
}

/* Writes one PEM file, with who signed the certificate unless issuer is NULL, in such a way that a reader
 * sees the old file or the new one, never a part. */
static int
pki_write(const char *dir, const char *file, X509 *cert, X509 *issuer, EVP_PKEY *key,
	  struct lab_err *err)
{
	char path[PKI_PATH], fresh[PKI_PATH];
	FILE *out;
	int fd, good;

	if (pki_path(path, dir, file, cert ? ".pem" : ".key", err) ||
	    pki_path(fresh, dir, file, cert ? ".pem.new" : ".key.new", err))
		return -1;
	unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, cert ? 0644 : 0600);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out) {
		err_set(err, "cannot write %s: %s", fresh, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	good = cert ? PEM_write_X509(out, cert) && (!issuer || PEM_write_X509(out, issuer))
		    : PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	if (fclose(out) || !good || rename(fresh, path))
		return err_set(err, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

static int
pki_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int added;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (!ext)
		return 0;
	added = X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return added;
}

/* A certificate without extensions, for a fresh key: serial number, names, days. */
static X509 *
pki_draft(EVP_PKEY **key, const char *name, int days)
{
	X509 *cert = X509_new();
	unsigned char serial[8];
	X509_NAME *subject;

	*key = EVP_EC_gen("P-256");
	if (!cert || !*key || RAND_bytes(serial, sizeof(serial)) != 1)
		goto failed;
	serial[0] = (serial[0] & 0x3f) | 0x40;
	subject = X509_get_subject_name(cert);
	if (!X509_set_version(cert, 2) || !X509_set_pubkey(cert, *key) ||
	    !ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert),
				     (uint64_t)serial[0] << 56 | (uint64_t)serial[1] << 48 |
					 (uint64_t)serial[2] << 40 | (uint64_t)serial[3] << 32 |
					 (uint64_t)serial[4] << 24 | (uint64_t)serial[5] << 16 |
					 (uint64_t)serial[6] << 8 | serial[7]) ||
	    !X509_gmtime_adj(X509_getm_notBefore(cert),
			     days < 0 ? days * 2L * PKI_DAY : -PKI_DAY) ||
	    !X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * PKI_DAY) ||
	    !X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8,
					(const unsigned char *)"Steelyard lab", -1, -1, 0) ||
	    !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name,
					-1, -1, 0))
		goto failed;
	return cert;
failed:
	X509_free(cert);
	EVP_PKEY_free(*key);
	*key = NULL;
	return NULL;
}

static int
pki_make_ca(struct lab_pki *pki, struct lab_err *err)
{
	X509 *cert = pki_draft(&pki->key, "Steelyard lab CA", PKI_CA_DAYS);

	pki->cert = cert;
	if (!cert || !X509_set_issuer_name(cert, X509_get_subject_name(cert)) ||
	    !pki_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE") ||
	    !pki_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !pki_extension(cert, cert, NID_subject_key_identifier, "hash") ||
	    !X509_sign(cert, pki->key, EVP_sha256()))
		return pki_err(err, "make the lab's certificate authority");
	return 0;
}

/* Issues a certificate for "DNS:...,IP:..." names; the caller frees both. */
static X509 *
pki_issue(struct lab_pki *pki, EVP_PKEY **key, const char *name, const char *alternatives, int days,
	  struct lab_err *err)
{
	X509 *cert = pki_draft(key, name, days);

	if (cert && X509_set_issuer_name(cert, X509_get_subject_name(pki->cert)) &&
	    pki_extension(cert, pki->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	    pki_extension(cert, pki->cert, NID_key_usage, "critical,digitalSignature") &&
	    pki_extension(cert, pki->cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
	    pki_extension(cert, pki->cert, NID_subject_key_identifier, "hash") &&
	    pki_extension(cert, pki->cert, NID_authority_key_identifier, "keyid") &&
	    pki_extension(cert, pki->cert, NID_subject_alt_name, alternatives) &&
	    X509_sign(cert, pki->key, EVP_sha256()))
		return cert;
	pki_err(err, "issue a certificate");
	X509_free(cert);
	if (cert)
		EVP_PKEY_free(*key);
	return NULL;
}

/* Reads the authority if it is there, whole, and good for another day. */
static bool
pki_load_ca(struct lab_pki *pki)
{
	char path[PKI_PATH];
	struct lab_err err;
	time_t soon = time(NULL) + PKI_DAY;
	FILE *in;

	if (pki_path(path, pki->dir, "ca", ".pem", &err))
		return false;
	in = fopen(path, "re");
	if (in) {
		pki->cert = PEM_read_X509(in, NULL, NULL, NULL);
		fclose(in);
	}
	pki_path(path, pki->dir, "ca", ".key", &err);
	in = fopen(path, "re");
	if (in) {
		pki->key = PEM_read_PrivateKey(in, NULL, NULL, NULL);
		fclose(in);
	}
	if (pki->cert && pki->key && X509_check_private_key(pki->cert, pki->key) == 1 &&
	    X509_cmp_time(X509_get0_notAfter(pki->cert), &soon) > 0)
		return true;
	X509_free(pki->cert);
	EVP_PKEY_free(pki->key);
	pki->cert = NULL;
	pki->key = NULL;
	ERR_clear_error();
	return false;
}

/* Makes what the directory lacks; the caller holds its lock. */
static int
pki_fill_dir(struct lab_pki *pki, struct lab_err *err)
{
	char path[PKI_PATH];
	EVP_PKEY *key = NULL;
	X509 *client;
	int result;

	if (pki_path(path, pki->dir, "client", ".key", err))
		return -1;
	if (pki_load_ca(pki) && !access(path, R_OK))
		return 0;
	if (!pki->cert &&
	    (pki_make_ca(pki, err) || pki_write(pki->dir, "ca", NULL, NULL, pki->key, err) ||
	     pki_write(pki->dir, "ca", pki->cert, NULL, NULL, err)))
		return -1;
	client = pki_issue(pki, &key, "client.lab.test", "DNS:client.lab.test", PKI_CA_DAYS, err);
	if (!client)
		return -1;
	/* The key goes last: it is what says that the directory is complete. */
	result = pki_write(pki->dir, "client", client, NULL, NULL, err) ||
			 pki_write(pki->dir, "client", NULL, NULL, key, err)
		     ? -1
		     : 0;
	X509_free(client);
	EVP_PKEY_free(key);
	return result;
}

static int
pki_open_dir(struct lab_pki *pki, struct lab_err *err)
{
	char path[PKI_PATH];
	int lock, result;

	if (mkdir(pki->dir, 0755) && errno != EEXIST)
		return err_set(err, "cannot make the state directory %s: %s", pki->dir,
			       strerror(errno));
	if (pki_path(path, pki->dir, "lock", "", err))
		return -1;
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX)) {
		err_set(err, "cannot lock %s: %s", path, strerror(errno));
		if (lock >= 0)
			close(lock);
		return -1;
	}
	result = pki_fill_dir(pki, err);
	close(lock);
	return result;
}

struct lab_pki *
pki_open(const char *dir, struct lab_err *err)
{
	struct lab_pki *pki = calloc(1, sizeof(*pki));

	if (!pki || (dir && !(pki->dir = strdup(dir)))) {
		err_set(err, "out of memory");
		free(pki);
		return NULL;
	}
	if (dir ? pki_open_dir(pki, err) : pki_make_ca(pki, err)) {
		pki_close(pki);
		return NULL;
	}
	return pki;
}

void
pki_close(struct lab_pki *pki)
{
	if (!pki)
		return;
	X509_free(pki->cert);
	EVP_PKEY_free(pki->key);
	free(pki->dir);
	free(pki);
}

static SSL_CTX *
pki_settings(const SSL_METHOD *method)
{
	SSL_CTX *tls = SSL_CTX_new(method);

	if (!tls)
		return NULL;
	/* A connection that ends without close_notify ends all the same; the line protocol knows
	 * by itself whether something is missing. */
	SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	return tls;
}

static int
pki_names(const struct pki_subject *subject, char *text, size_t room, struct lab_err *err)
{
	char addr[ADDR_TEXT];
	size_t len = 0;

	text[0] = 0;
	for (const char *const *name = subject->names; *name && len < room; name++)
		len += (size_t)snprintf(text + len, room - len, "%sDNS:%s", len ? "," : "", *name);
	if (subject->addr.len && len < room)
		len += (size_t)snprintf(text + len, room - len, "%sIP:%s", len ? "," : "",
					addr_host_text(&subject->addr, addr));
	return len < room ? 0 : err_set(err, "too many names for a certificate");
}

SSL_CTX *
pki_server(struct lab_pki *pki, const struct pki_subject *subject, struct lab_err *err)
{
	char names[1024];
	EVP_PKEY *key = NULL;
	SSL_CTX *tls = NULL;
	X509 *cert;

	if (pki_names(subject, names, sizeof(names), err))
		return NULL;
	cert = pki_issue(pki, &key, subject->names[0], names, subject->days, err);
	if (!cert)
		return NULL;
	if (pki->dir && (pki_write(pki->dir, subject->file, NULL, NULL, key, err) ||
			 pki_write(pki->dir, subject->file, cert, pki->cert, NULL, err)))
		goto out;
	tls = pki_settings(TLS_server_method());
	if (!tls || !SSL_CTX_use_certificate(tls, cert) || !SSL_CTX_use_PrivateKey(tls, key) ||
	    !X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), pki->cert) ||
	    !SSL_CTX_add_client_CA(tls, pki->cert) ||
	    !SSL_CTX_set_session_id_context(tls, (const unsigned char *)"lab", 3)) {
		pki_err(err, "set up TLS");
		SSL_CTX_free(tls);
		tls = NULL;
	}
out:
	X509_free(cert);
	EVP_PKEY_free(key);
	return tls;
}

SSL_CTX *
pki_client(const char *dir, struct lab_err *err)
{
	SSL_CTX *tls = pki_settings(TLS_client_method());
	char ca[PKI_PATH], cert[PKI_PATH], key[PKI_PATH];

	if (!tls) {
		pki_err(err, "set up TLS");
		return NULL;
	}
	if (!dir)
		return tls;
	if (pki_path(ca, dir, "ca", ".pem", err) || pki_path(cert, dir, "client", ".pem", err) ||
	    pki_path(key, dir, "client", ".key", err)) {
		SSL_CTX_free(tls);
		return NULL;
	}
	if (access(ca, R_OK) || access(cert, R_OK) || access(key, R_OK)) {
		err_set(err,
			"cannot read ca.pem, client.pem and client.key in %s (a lab server "
			"writes them with --state): %s",
			dir, strerror(errno));
		SSL_CTX_free(tls);
		return NULL;
	}
	if (!SSL_CTX_load_verify_locations(tls, ca, NULL) ||
	    !SSL_CTX_use_certificate_file(tls, cert, SSL_FILETYPE_PEM) ||
	    !SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM)) {
		pki_err(err, "use ca.pem, client.pem and client.key of the state directory");
		SSL_CTX_free(tls);
		return NULL;
	}
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	return tls;
}
