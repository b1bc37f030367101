/* What is told of a connection: its line in the log, its entry in the list of live ones. */
#ifndef WAY_REPORT_H
#define WAY_REPORT_H

#include "base/text.h"
#include "way/way.h"

enum { REPORT_WORDS = 320 };

/* The reason with its numbers. Returns out. */
const char *report_words(const struct conn *conn, char out[static REPORT_WORDS]);
/* The line at the end, if the configuration wants it. */
void report_end(const struct conn *conn);
/* Appends a JSON object. */
void report_json(const struct conn *conn, struct text *out);

#endif
