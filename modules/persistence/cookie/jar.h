/* Cookies in heads of HTTP: those that a client shows (RFC 6265 5.4), and those that a server sets
 * (5.2). Clients send anything, so nothing is taken for granted. */
#ifndef PERSISTENCE_COOKIE_JAR_H
#define PERSISTENCE_COOKIE_JAR_H

#include <stdbool.h>

#include "api/head.h"

struct jar {
	const char *name;
	struct sy_head head;
	struct sy_span pairs;     /* what is left of the field in hand */
};

struct jar jar_open(struct sy_span head, const char *name);
/* The next cookie of that name, without quotes around its value. Names are told apart by case. */
bool jar_next(struct jar *jar, struct sy_span *value);
/* The value that an answer gives the cookie, the last one when it does so more than once. False: none,
 * or it takes the cookie back. */
bool jar_set(struct sy_span head, const char *name, struct sy_span *value);

#endif
