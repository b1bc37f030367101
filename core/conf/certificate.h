/* What the loader and the console want to know of certificates. */
#ifndef CONF_CERTIFICATE_H
#define CONF_CERTIFICATE_H

#include <stdint.h>

#include "base/text.h"
#include "conf/tls.h"
#include "conf/tree.h"

enum { CERTIFICATE_TEXT = 256 };

struct certificate_facts {
	char subject[CERTIFICATE_TEXT], issuer[CERTIFICATE_TEXT];
	char names[4 * CERTIFICATE_TEXT]; /* with a blank between them */
	char key[32];             /* "RSA 2048", "EC 256" */
	char not_before[32], not_after[32]; /* ISO 8601, UTC */
	int days_left;            /* negative: out of date */
	unsigned length;          /* of the chain */
};

/* Of the first certificate in PEM text; false when there is none that can be read. */
bool certificate_facts(struct sy_span chain, struct certificate_facts *out);
/* Complains about what is wrong with the contents of a tls block: contents must be there. */
void certificate_examine(const struct tls *tls, struct complaints *complaints);

#endif
