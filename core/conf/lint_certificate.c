/* Names in certificates. Only where TLS ends here: what passes through is the servers' own business. */
#include "conf/lint.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/must.h"

/* Beginnings of names that clients make up from the SIP domain. */
static const char *const lint_outside[] = { "lyncdiscover.", "meet.", "dialin.", NULL };
static const char *const lint_inside[] = { "lyncdiscoverinternal.", "meet.", "dialin.", NULL };
static const char *const lint_sip[] = { "sip.", NULL };

static const char *const *
lint_beginnings(const struct service *service)
{
	switch ((enum role)service->settings.role.index) {
	case ROLE_WEB_EXTERNAL:
	case ROLE_REVERSE_PROXY:
		return lint_outside;
	case ROLE_WEB_INTERNAL:
		return lint_inside;
	case ROLE_FRONT_END:
	case ROLE_EDGE_ACCESS:
		return lint_sip;
	case ROLE_NONE:
	case ROLE_EDGE_WEBCONF:
	case ROLE_EDGE_AV:
	case ROLE_EDGE_INTERNAL:
	case ROLE_MEDIATION:
	case ROLE_OFFICE_WEB:
	case ROLE_EXCHANGE:
	case ROLE_XMPP:
	case ROLE_SIP:
	case ROLE_TURN:
	case ROLE_WEB:
		break;
	}
	return NULL;
}

static X509 *
lint_x509(struct sy_span pem)
{
	BIO *bio = BIO_new_mem_buf(pem.at, (int)pem.len);
	X509 *x509;

	must(bio);
	x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO_free(bio);
	ERR_clear_error();
	return x509;
}

/* A name that begins so, or a wildcard, which may stand for it. */
static bool
lint_begins(X509 *x509, const char *beginning)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
	size_t len = strlen(beginning);
	bool found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *text = name->type == GEN_DNS ? name->d.dNSName : NULL;
		const char *at = text ? (const char *)ASN1_STRING_get0_data(text) : "";
		size_t n = text ? (size_t)ASN1_STRING_length(text) : 0;

		found = (n > 2 && memcmp(at, "*.", 2) == 0) ||
			(n > len && strncasecmp(at, beginning, len) == 0);
	}
	GENERAL_NAMES_free(names);
	return found;
}

/* *.example.net is meant for any name below it. */
static bool
lint_holds_host(X509 *x509, const char *name)
{
	char host[256];

	if (name[0] != '*')
		return X509_check_host(x509, name, 0, 0, NULL) == 1;
	snprintf(host, sizeof(host), "any%.250s", name + 1);
	return X509_check_host(x509, host, 0, 0, NULL) == 1;
}

/* Whether any certificate of any listener holds the name; `beginning`: one that begins so. */
static bool
lint_holds(const struct service *service, const char *name, bool beginning)
{
	bool found = false;

	for (uint32_t i = 0; !found && i < service->n_listeners; i++) {
		const struct tls *tls = service->listeners[i].tls;

		for (uint32_t j = 0; tls && !found && j < tls->n_certificates; j++) {
			X509 *x509 = lint_x509(tls->certificates[j].chain.content);

			found = x509 && (beginning ? lint_begins(x509, name)
						   : lint_holds_host(x509, name));
			X509_free(x509);
		}
	}
	return found;
}

const char *
lint_missing_name(const struct service *service)
{
	const char *const *beginnings = lint_beginnings(service);
	const struct sy_list *names = &service->settings.names;
	bool ends_here = false;

	for (uint32_t i = 0; i < service->n_listeners; i++)
		ends_here |= service->listeners[i].tls && service->listeners[i].tls->n_certificates;
	if (!ends_here)
		return NULL;
	for (uint32_t i = 0; i < names->n; i++)
		if (!lint_holds(service, names->at[i], false))
			return names->at[i];
	/* Names that were told are all that is wanted. */
	for (; beginnings && *beginnings && !names->n; beginnings++)
		if (!lint_holds(service, *beginnings, true))
			return *beginnings;
	return NULL;
}
