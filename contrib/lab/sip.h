/*
 * sip.h: as much of SIP as the lab's registrars and their users need: whole messages whose length is said by
 * Content-Length, fields without folds. Written apart from the balancer's own reader, so that the one can be
 * tested by the other: a message that is not as RFC 3261 has it ends the connection.
 */
#ifndef LAB_SIP_H
#define LAB_SIP_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"
#include "ntlm.h"

enum { SIP_HEAD_MAX = 65536, SIP_BODY_MAX = 1 << 20, SIP_WORD = 128 };

/* A message in somebody's buffer; it points there. */
struct sip_head {
	const char *bytes;
	size_t len;  /* to the empty line, included */
	size_t body; /* bytes behind it */
};

enum sip_got {
	SIP_MORE,    /* it is not complete */
	SIP_PING,    /* CRLF CRLF: four bytes */
	SIP_PONG,    /* CRLF: two */
	SIP_WHOLE,   /* head.len + head.body bytes are the message */
	SIP_BAD,
};

enum sip_got sip_parse(struct sip_head *head, const char *bytes, size_t len);

/* The value of the nth field of that name, from 0 on; NULL: there is none. */
const char *sip_field(const struct sip_head *head, const char *name, int nth, size_t *len);

/* Whether the field's first value has that part. */
bool sip_has(const struct sip_head *head, const char *name, const char *part);

/* Whether it is a request with that method. */
bool sip_is(const struct sip_head *head, const char *method);

/* The status of an answer; 0: it is none. */
int sip_status(const struct sip_head *head);

/* What stands behind NAME= in the value, up to the next mark, with or without quotes; the text is cut to what
 * fits. False: it is not there. */
bool sip_parameter(const char *value, size_t len, const char *name, char *text, size_t size);

/* The user of the address in that field: jo of <sip:jo@lab.test>. Empty: there is none. */
void sip_user(const struct sip_head *head, const char *name, char user[static NTLM_NAME]);

#endif
