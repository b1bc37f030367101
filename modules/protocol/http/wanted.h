/* Words that something is compared with, and patterns: what matches of a rule are made of. All
 * comparisons disregard case.
 *
 *	a           the same
 *	a*  *a  *a* at the beginning, at the end, anywhere
 *	*           anything that is there
 *	~PATTERN    a regular expression (PCRE2)
 *	!WORD       not that
 *
 * Of a list one word has to match, and none of those with ! may; a list of ! alone matches all others. */
#ifndef PROTOCOL_HTTP_WANTED_H
#define PROTOCOL_HTTP_WANTED_H

#include <stdbool.h>

#include "api/err.h"
#include "api/rows.h"

enum {
	WANTED_CAPTURES = 10,      /* \0 to \9 */
};

struct pattern;

/* What a pattern has found, for \1 and so on. */
struct captures {
	struct sy_span found[WANTED_CAPTURES];
	uint32_t n;
};

struct wanted;

/* Compiles a list; NULL with err, which names `what`. An empty list gives one that is not asked. */
struct wanted *wanted_make(const char *what, struct sy_list list, struct sy_err *err);
void wanted_free(struct wanted *words);
bool wanted_given(const struct wanted *words);

enum wanted_result {
	WANTED_OTHER,
	WANTED_MATCH,
	WANTED_GAVE_UP,            /* a pattern took more than its limit */
};

/* A text that is not there (at NULL) matches ! words alone. captures may be NULL; it is changed only when
 * a pattern matches. */
enum wanted_result wanted_match(const struct wanted *words, struct sy_span text, struct captures *captures);

/* One pattern, for replacing. */
struct pattern *pattern_make(const char *what, const char *text, struct sy_err *err);
void pattern_free(struct pattern *pattern);
enum wanted_result pattern_match(const struct pattern *pattern, struct sy_span text,
                                struct captures *captures);

#endif
