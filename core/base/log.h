/* The log: one line per fact, `who: what (numbers)`. Levels: err an operator must act; warn may have
 * to; info state changed, or a connection ended; debug for us.
 *
 * A line is one write to the descriptor that the master handed out (stderr, a file opened for
 * append, or a connected syslog socket). Writing never blocks and never fails the caller: lines that
 * could not be written are counted and the count is told when writing works again. Equal lines in a
 * row are counted, not repeated (at most one "last line repeated n times" a second). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_target { LOG_TO_STDERR, LOG_TO_FILE, LOG_TO_SYSLOG };
enum log_format { LOG_TEXT, LOG_JSON };

/* `who` is this process ("master", "worker 0"); borrowed. fd is borrowed, too. */
void log_open(const char *who, int fd, enum log_target target, enum log_format format,
	      enum log_level most);
/* A new descriptor for the same target (reopened file); the old one is closed unless it is 2. */
void log_reopen(int fd);
/* Changes target, format and level at a reload; fd as in log_reopen. */
void log_change(int fd, enum log_target target, enum log_format format, enum log_level most);
bool log_wants(enum log_level level);
/* The same, or somebody overhears such lines. */
bool log_heeds(enum log_level level);
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);
uint64_t log_lost(void);

/* A line made of fields, for the end of a connection and other events that programs read. In text
 * form: `who: event words key=value ...`; in JSON: an object. Values: NULL text leaves a field out. */
struct log_field {
	const char *name;
	const char *text;  /* if not NULL */
	uint64_t number;   /* otherwise */
};
void log_event(enum log_level level, const char *event, const char *words,
	       const struct log_field *fields, unsigned n);

/* A line that is complete as it is: nothing is put before it but what the journal and syslog need, and
 * one that is equal to the last one is written, too. Gathered as those of log_event(). */
void log_bare(enum log_level level, const char *line, size_t len);

/* From now on `hear` gets the words of each line of log_line() up to level info, whatever the level of
 * the log is, and of those events that are not gathered. NULL: nobody does. */
void log_overhear(void (*hear)(void *context, enum log_level level, const char *words, size_t len),
                  void *context);

/* From now on the lines of log_event() of levels info and debug are gathered, and written together by
 * log_flush(), which the caller promises to call before it waits for anything: so a turn of a loop
 * that ends many connections pays for one write. Any other line writes first what was gathered, so
 * the order stays. */
void log_gather(void);
void log_flush(void);

#define log_err(...) log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) (log_heeds(LOG_LEVEL_INFO) ? log_line(LOG_LEVEL_INFO, __VA_ARGS__) : (void)0)
#define log_debug(...) (log_wants(LOG_LEVEL_DEBUG) ? log_line(LOG_LEVEL_DEBUG, __VA_ARGS__) : (void)0)

#endif
