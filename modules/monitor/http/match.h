/* A regular expression that cannot hang who uses it: its work is counted, in bytes it passes over and
 * steps it takes, and it is given up when that is too much. */
#ifndef MONITOR_HTTP_MATCH_H
#define MONITOR_HTTP_MATCH_H

#include "api/err.h"
#include "api/span.h"

struct match;

enum match_found {
	MATCH_YES,
	MATCH_NO,
	MATCH_TOO_HARD,
};

/* NULL with err. */
struct match *match_new(const char *pattern, struct sy_err *err);
void match_free(struct match *match);
enum match_found match_find(const struct match *match, struct sy_span text);

#endif
