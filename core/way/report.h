/* What is told of a connection: its line in the log, its entry in the list of live ones. */
#ifndef WAY_REPORT_H
#define WAY_REPORT_H

#include "base/text.h"
#include "way/way.h"

enum { REPORT_WORDS = 320 };

/* The reason with its numbers. Returns out. */
const char *report_words(const struct conn *conn, char out[static REPORT_WORDS]);
/* It ends: its line in the log, if the configuration wants one, and its record. */
void report_conn(const struct conn *conn);
void report_flow(const struct conn *portrait, const struct sy_session *session);
/* One exchange has ended in order, and others may follow on the connection. */
void report_exchange(const struct conn *conn);
/* The same of one that was answered without asking a server, and why. */
void report_own(const struct conn *conn, const char *words);
/* Appends a JSON object. */
void report_json(const struct conn *conn, struct text *out);

#endif
