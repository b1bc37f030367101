/* What the lines of report.c are made of. */
#ifndef WAY_REPORT_FIELDS_H
#define WAY_REPORT_FIELDS_H

#include "base/text.h"
#include "conf/exchange_log.h"
#include "way/report.h"

enum report_what { REPORT_CONNECTION, REPORT_FLOW, REPORT_EXCHANGE };

extern const char *const report_names[];

/* Something that has ended. */
struct report {
	const struct conn *conn;
	const struct sy_session *session; /* what the protocol knows of it; or NULL */
	enum report_what what;
	bool done;                /* an exchange that is complete */
	bool ours;                /* no server was asked; conn may still know that of the one before */
	const char *own_words;    /* and why, when the connection goes on */
	uint64_t ms, up, down;
	uint32_t one_in;          /* so many like it stand for this line */
};

/* Text is borrowed, or stands in `room`. */
struct report_value {
	const char *text;
	uint64_t number;
	bool is_number;
	char room[REPORT_WORDS];
};

/* report.c: why it ended. */
const char *report_end_name(const struct report *report);
const char *report_end_words(const struct report *report, char out[static REPORT_WORDS]);

/* False: it has no such value. */
bool report_field(const struct report *report, enum log_field_id id, struct report_value *out);
/* Fills `line` by the format. */
void report_format(const struct report *report, const struct exchange_log *log, struct text *line);

#endif
