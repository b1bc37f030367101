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
/* The same in parts. `parameters` begins with the first semicolon; `rest` is what follows the value, from
 * the comma on. */
struct sip_via {
	struct sy_span transport, sent_by, parameters, rest;
};
bool sip_via_parts(struct sy_span value, struct sip_via *via);
/* One of its parameters; len 0 when it is not there or empty. */
struct sy_span sip_via_parameter(struct sy_span value, const char *name);
/* The next of the parameters `;name=value` in front of *rest, and moves behind it. False: there is none,
 * the value ends or goes on with a comma; *bad when something else stands there. */
bool sip_next_parameter(struct sy_span *rest, struct sy_span *name, struct sy_span *value, bool *bad);
/* The next of the values of a list, without blanks around it, and moves *rest behind it. A comma in quotes
 * or brackets does not end a value. */
bool sip_next_value(struct sy_span *rest, struct sy_span *value);
/* A parameter of the field (behind the URI's >), of the first of its values; len 0 when it is not
 * there or empty. */
struct sy_span sip_parameter(struct sy_span value, const char *name);

/* The URI in a From, To or Contact. */
struct sy_span sip_uri(struct sy_span value);
/* scheme:something, without blanks and brackets. */
bool sip_uri_is_plausible(struct sy_span uri);
/* The host of a sip: or sips: URI, without port; len 0 for others. */
struct sy_span sip_uri_host(struct sy_span uri);
/* What stands in front of the @ of a sip: or sips: URI; len 0: nothing, or another scheme. */
struct sy_span sip_uri_user(struct sy_span uri);
/* The port of a sip: or sips: URI; 0: it names none. */
uint16_t sip_uri_port(struct sy_span uri);
/* It has this parameter, with a value or without. */
bool sip_uri_has(struct sy_span uri, const char *parameter);
/* user@host of a sip: or sips: URI: what a user is known by (the address of record); the number of a
 * tel: URI. Written to out, the host in lower case, cut at `size`; returns its length. */
size_t sip_uri_aor(struct sy_span uri, char *out, size_t size);

#endif
