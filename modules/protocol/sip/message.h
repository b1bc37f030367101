/* SIP messages (RFC 3261 7, 18.3; WIRE.md 1.1): where one ends, whether it is one, and the few fields
 * that a balancer wants to know. Nothing is copied: spans point into what was given.
 *
 *	S_BLANK    CRLFs between messages: keep-alives
 *	S_HEAD     until the empty line
 *	S_BODY     Content-Length bytes, not looked at
 *
 * Strict where two readers could disagree on where a message ends: lines end with CRLF and nothing
 * else, Content-Length is there (on streams), is a number and says the same each time, what may stand
 * once stands once. Lenient where the field is: compact names, folded lines, blanks before a colon,
 * any method, any URI scheme, any reason phrase.
 *
 * What is refused on a stream ends the stream: where the next message begins is not known. */
#ifndef PROTOCOL_SIP_MESSAGE_H
#define PROTOCOL_SIP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/span.h"

enum {
	SIP_HEAD_MOST = 65535,    /* start line, fields and the empty line: RFC 3261 18.1.1 */
	SIP_START_MOST = 8192,
	SIP_LINE_MOST = 16384,
	SIP_FIELDS_MOST = 256,
	SIP_METHOD_MOST = 64,
	SIP_NUMBER_MOST = 0x7fffffff, /* of CSeq: RFC 3261 8.1.1.5 */
};

enum sip_read {
	SIP_MORE,     /* it is not complete */
	SIP_BLANK,    /* one or more CRLF: message.len bytes */
	SIP_MESSAGE,  /* the head is complete: all fields of struct sip_message are set */
	SIP_WRONG,    /* problem says why, status what an answer would say */
};

/* How far an incomplete head was looked at already, so that bytes which come one by one are not read
 * again and again. The caller keeps it, zeroed at first; sip_read() begins anew after each message. */
struct sip_scan {
	uint32_t at;      /* bytes looked at */
	uint32_t line;    /* where the line begins that is looked at */
	uint16_t lines;
	bool started;     /* the start line was found good */
};

struct sip_message {
	const char *problem;      /* SIP_WRONG: words, a constant string */
	uint16_t answer;          /* SIP_WRONG: the status that would tell a client; 0: none makes sense */
	bool request;
	uint16_t status;          /* of a response */
	struct sy_span method;    /* of a request; of a response the one of CSeq */
	struct sy_span uri;
	struct sy_span head;      /* from the start line to the empty line, both included */
	size_t len;               /* of the head; SIP_BLANK: of the CRLFs */
	uint64_t body;            /* bytes behind the head that belong to the message */
	bool length;              /* it says how many; a datagram need not */

	/* Values as they stand, folds and all; the first one where there may be several. */
	struct sy_span via, from, to, call_id, contact, expires, retry_after, compression;
	struct sy_span branch;    /* of the top Via; may be empty (RFC 2543) */
	struct sy_span from_tag, to_tag; /* may be empty */
	uint32_t cseq;
	uint32_t max_forwards;    /* UINT32_MAX: none */
};

/* A stream: bytes from the first that is not consumed. body_most: a longer body is refused. */
enum sip_read sip_read(struct sip_scan *scan, struct sy_span in, uint64_t body_most,
                       struct sip_message *out);
/* The start line alone, for who wants to know whether this is SIP. */
enum sip_read sip_read_start(struct sy_span in, struct sip_message *out);
/* One datagram, which must hold the whole message; what follows the body is ignored (18.3). */
enum sip_read sip_read_datagram(struct sy_span in, struct sip_message *out);

/* A datagram that keeps a flow open: empty lines, a NUL or two, STUN (RFC 5626 3.5.2). */
bool sip_is_keepalive(struct sy_span in);
/* The same method: it minds the case. */
bool sip_method_is(const struct sip_message *message, const char *method);

/* The next line of a head with its folds, without its end, and moves *rest behind it; len 0 at the
 * empty line. The head was found good before. */
struct sy_span sip_line(struct sy_span *rest);
/* Splits a field at its colon. True: its name is `name`, or the letter `compact` (0: it has none). */
bool sip_field_is(struct sy_span line, const char *name, char compact, struct sy_span *value);

#endif
