/* What stands in the fields of a SIP message (RFC 3261 20, 25.1). Folds count as blanks. */
#ifndef PROTOCOL_SIP_VALUE_H
#define PROTOCOL_SIP_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/span.h"

bool sip_is_digit(uint8_t c);
bool sip_is_token(uint8_t c);
/* Without regard to case. */
bool sip_is(struct sy_span text, const char *word);
/* Without blanks and folds at both ends. */
struct sy_span sip_trim(struct sy_span text);
/* Up to the first blank, bracket or semicolon: the number in front of a comment. */
struct sy_span sip_first_word(struct sy_span text);
/* Digits and nothing else, up to `most`. */
bool sip_number(struct sy_span text, uint64_t most, uint64_t *out);

/* The tag of a From or To; len 0 when there is none. False: that is no address with parameters. */
bool sip_tag(struct sy_span value, struct sy_span *tag);
/* The first of the values of a Via: SIP/2.0/TLS sent-by;branch=... False: it is none. */
bool sip_via(struct sy_span value, struct sy_span *branch);
/* A parameter of the field (behind the URI's >), of the first of its values; len 0 when it is not
 * there or empty. */
struct sy_span sip_parameter(struct sy_span value, const char *name);

/* The URI in a From, To or Contact. */
struct sy_span sip_uri(struct sy_span value);
/* scheme:something, without blanks and brackets. */
bool sip_uri_is_plausible(struct sy_span uri);
/* The host of a sip: or sips: URI, without port; len 0 for others. */
struct sy_span sip_uri_host(struct sy_span uri);
/* user@host of a sip: or sips: URI: what a user is known by (the address of record); the number of a
 * tel: URI. Written to out, the host in lower case, cut at `size`; returns its length. */
size_t sip_uri_aor(struct sy_span uri, char *out, size_t size);

#endif
