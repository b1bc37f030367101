/* Which certificates for which name: for every name that some certificate holds, the first RSA and
 * the first EC pair that hold it make a context. Pairs that hold the same names share one. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "base/must.h"
#include "net/tls_own.h"

struct names_made {
	const struct tls_pair *pairs[TLS_KINDS];
	SSL_CTX *ctx;
};

struct names_work {
	struct tls_context *context;
	const struct tls_pair *pairs;
	unsigned n;
	SSL_CTX *(*make)(struct tls_context *, const struct tls_pair *const *, struct sy_err *);
	struct names_made *made;
	unsigned n_made;
	struct sy_err *err;
};

static bool
names_text(const ASN1_STRING *string, char out[static TLS_NAME])
{
	int len = ASN1_STRING_length(string);
	const unsigned char *at = ASN1_STRING_get0_data(string);

	if (len <= 0 || len >= TLS_NAME || memchr(at, 0, (size_t)len))
		return false;
	for (int i = 0; i < len; i++)
		out[i] = (char)tolower(at[i]);
	out[len] = '\0';
	return true;
}

/* Calls for each name until it says true. */
static bool
names_each(X509 *x509, bool (*each)(void *context, const char *name), void *context)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
	char text[TLS_NAME];
	bool any = false, found = false;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names) && !found; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_DNS || !names_text(name->d.dNSName, text))
			continue;
		any = true;
		found = each(context, text);
	}
	GENERAL_NAMES_free(names);
	if (!any) {
		X509_NAME *subject = X509_get_subject_name(x509);
		int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

		if (at >= 0 && names_text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)),
		                          text))
			found = each(context, text);
	}
	return found;
}

static bool
names_cover(void *context, const char *name)
{
	const char *wanted = context, *dot;

	if (strcmp(name, wanted) == 0)
		return true;
	dot = *wanted == '*' ? NULL : strchr(wanted, '.');
	return dot && name[0] == '*' && strcmp(name + 1, dot) == 0;
}

static SSL_CTX *
names_ctx(struct names_work *work, const char *name)
{
	const struct tls_pair *chosen[TLS_KINDS] = { NULL };
	struct names_made *made;

	for (unsigned i = 0; i < work->n; i++) {
		const struct tls_pair *pair = &work->pairs[i];

		if (!chosen[pair->kind] &&
		    names_each(pair->x509, names_cover, (void *)(uintptr_t)name))
			chosen[pair->kind] = pair;
	}
	for (unsigned i = 0; i < work->n_made; i++)
		if (memcmp(work->made[i].pairs, chosen, sizeof(chosen)) == 0)
			return work->made[i].ctx;
	work->made = must_realloc(work->made, (work->n_made + 1) * sizeof(*made));
	made = &work->made[work->n_made];
	memcpy(made->pairs, chosen, sizeof(chosen));
	made->ctx = work->make(work->context, chosen, work->err);
	if (made->ctx)
		work->n_made++;
	return made->ctx;
}

static bool
names_add(void *context, const char *name)
{
	struct names_work *work = context;
	struct tls_context *to = work->context;
	SSL_CTX *ctx;

	for (unsigned i = 0; i < to->n_names; i++)
		if (strcmp(to->names[i].name, name) == 0)
			return false;
	ctx = names_ctx(work, name);
	if (!ctx)
		return true;
	to->names = must_realloc(to->names, (to->n_names + 1) * sizeof(*to->names));
	to->names[to->n_names].name = strdup(name);
	must(to->names[to->n_names].name);
	to->names[to->n_names++].ctx = ctx;
	return false;
}

static int
names_order(const void *a, const void *b)
{
	return strcmp(((const struct tls_name *)a)->name, ((const struct tls_name *)b)->name);
}

static bool
names_first(void *context, const char *name)
{
	memcpy(context, name, strlen(name) + 1);
	return true;
}

int
tls_names_make(struct tls_context *context, const struct tls_pair *pairs, unsigned n,
               SSL_CTX *(*make)(struct tls_context *, const struct tls_pair *const *,
                                struct sy_err *),
               struct sy_err *err)
{
	struct names_work work = { context, pairs, n, make, NULL, 0, err };
	char first[TLS_NAME] = "";
	bool failed = false;

	for (unsigned i = 0; i < n && !failed; i++)
		failed = names_each(pairs[i].x509, names_add, &work);
	if (!failed && names_each(pairs[0].x509, names_first, first)) {
		context->ctx = names_ctx(&work, first);
	} else if (!failed) {
		/* A certificate without any name: for those who do not look. */
		const struct tls_pair *only[TLS_KINDS] = { NULL };

		only[pairs[0].kind] = &pairs[0];
		context->ctx = make(context, only, err);
	}
	context->others = must_alloc((work.n_made + 1) * sizeof(*context->others));
	for (unsigned i = 0; i < work.n_made; i++)
		context->others[i] = work.made[i].ctx;
	context->n_others = work.n_made;
	if (context->ctx && *first)
		SSL_CTX_up_ref(context->ctx);
	free(work.made);
	if (context->n_names)
		qsort(context->names, context->n_names, sizeof(*context->names), names_order);
	return context->ctx && !failed ? 0 : -1;
}

void
tls_names_free(struct tls_context *context)
{
	for (unsigned i = 0; i < context->n_names; i++)
		free(context->names[i].name);
	free(context->names);
	for (unsigned i = 0; i < context->n_others; i++)
		SSL_CTX_free(context->others[i]);
	free(context->others);
}

static SSL_CTX *
names_exact(const struct tls_context *context, const char *name)
{
	struct tls_name wanted = { (char *)(uintptr_t)name, NULL }, *found;

	found = bsearch(&wanted, context->names, context->n_names, sizeof(wanted), names_order);
	return found ? found->ctx : NULL;
}

SSL_CTX *
tls_names_find(const struct tls_context *context, const char *name)
{
	char wild[TLS_NAME + 1];
	const char *dot = strchr(name, '.');
	SSL_CTX *ctx = context->n_names ? names_exact(context, name) : NULL;

	if (!ctx && dot && context->n_names && strlen(dot) < TLS_NAME) {
		wild[0] = '*';
		strcpy(wild + 1, dot);
		ctx = names_exact(context, wild);
	}
	return ctx;
}
