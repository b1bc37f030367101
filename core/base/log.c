#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/sink.h"
#include "base/text.h"

/* A line with its newline. PIPE_BUF is as much, so what writers say into one pipe never mixes. */
#define LOG_LINE_SIZE 4096
#define LOG_BODY_MOST (LOG_LINE_SIZE - 256) /* the rest is time, host, level, who */
#define LOG_BUFFER_SIZE 32768               /* a body before it is cut, each byte escaped */
#define LOG_GATHER_SIZE 32768               /* written at once; into a pipe, LOG_LINE_SIZE */
#define LOG_FACILITY (3 << 3)               /* daemon */

enum log_frame {
	LOG_FRAME_TIME,    /* 2026-11-23T11:40:50.123Z info who: body */
	LOG_FRAME_PLAIN,   /* a terminal: who: body */
	LOG_FRAME_JOURNAL, /* <6>who: body */
	LOG_FRAME_SYSLOG,  /* RFC 3164: <30>Nov 23 11:40:50 [host] steelyard[pid]: who: body */
};

static struct {
	char who[48];
	struct sink sink;
	enum log_target target;
	enum log_format format;
	enum log_level most;
	enum log_frame frame;
	bool open;
	bool busy;                   /* a line is being made */
	bool torn;                   /* the last one was written in part */
	char host[65];               /* with a syslog on another machine */
	uint64_t lost, lost_untold;
	int lost_errno;
	struct text line, body;      /* kept, so that the last words need no memory */
	char last[LOG_LINE_SIZE];    /* the body of the line before */
	size_t last_len;
	enum log_level last_level;
	uint64_t repeats;            /* of `last`, not told yet */
	uint64_t told_ms;
	bool gathers;                /* lines of events wait for log_flush() */
	bool gather_this;            /* the line that is being made does */
	bool bare;                   /* it is written as it is */
	void (*hear)(void *context, enum log_level level, const char *words, size_t len);
	void *hear_context;
	struct text gathered;        /* such lines, whole */
	uint64_t second;             /* that `clock` stands for */
	char clock[24];
} log_out = { .sink = { .fd = 2, .own = -1 }, .most = LOG_LEVEL_INFO };

static const char *const log_words[] = { "err", "warn", "info", "debug" };
static const int log_severity[] = { 3, 4, 6, 7 };

static void
log_prepare(int fd)
{
	struct sink *sink = &log_out.sink;

	sink_open(sink, fd);
	log_out.torn = false;
	log_out.host[0] = '\0';
	if (sink->remote && gethostname(log_out.host, sizeof(log_out.host) - 1) == 0)
		log_out.host[strcspn(log_out.host, ".")] = '\0';
	log_out.frame = LOG_FRAME_TIME;
	if (log_out.target == LOG_TO_SYSLOG)
		log_out.frame = LOG_FRAME_SYSLOG;
	else if (log_out.target == LOG_TO_STDERR && sink->terminal)
		log_out.frame = LOG_FRAME_PLAIN;
	else if (log_out.target == LOG_TO_STDERR && sink->journal)
		log_out.frame = LOG_FRAME_JOURNAL;
	if (!log_out.body.at) {
		log_out.body = (struct text){ must_alloc(LOG_BUFFER_SIZE), 0, LOG_BUFFER_SIZE };
		log_out.line = (struct text){ must_alloc(LOG_LINE_SIZE), 0, LOG_LINE_SIZE };
	}
	log_out.open = true;
}

static void
log_failed(ssize_t n)
{
	if (n > 0)
		log_out.torn = true;
	if (n < 0)
		log_out.lost_errno = errno;
	else
		log_out.lost_errno =
		    log_out.sink.own < 0 && log_out.sink.way == SINK_WRITE ? ENOSPC : EAGAIN;
}

/* Half a line on a full disk is a lost line; the next one starts with a newline then. */
static bool
log_write(const char *line, size_t len)
{
	ssize_t n = sink_write(&log_out.sink, line, len);

	if (n == (ssize_t)len) {
		log_out.torn = false;
		return true;
	}
	log_failed(n);
	return false;
}

/* How lines look. */

static void
log_time(struct text *line, const char *after)
{
	uint64_t now = clock_wall_ms();
	unsigned ms = (unsigned)(now % 1000);
	char fraction[] = { '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
		            (char)('0' + ms % 10), 'Z', '\0' };

	if (now / 1000 != log_out.second) {
		time_t seconds = (time_t)(now / 1000);
		struct tm utc;

		gmtime_r(&seconds, &utc);
		strftime(log_out.clock, sizeof(log_out.clock), "%Y-%m-%dT%H:%M:%S", &utc);
		log_out.second = now / 1000;
	}
	text_puts(line, log_out.clock);
	text_puts(line, fraction);
	text_puts(line, after);
}

/* Month names must be English, so no strftime. */
static void
log_syslog_head(struct text *line, enum log_level level)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t seconds = (time_t)(clock_wall_ms() / 1000);
	struct tm local;

	localtime_r(&seconds, &local);
	text_printf(line, "<%d>%.3s %2d %02d:%02d:%02d ", LOG_FACILITY | log_severity[level],
	            months + 3 * (local.tm_mon % 12), local.tm_mday, local.tm_hour, local.tm_min,
	            local.tm_sec);
	if (log_out.host[0])
		text_printf(line, "%s ", log_out.host);
	text_printf(line, "steelyard[%ld]: ", (long)getpid());
}

static void
log_frame_line(enum log_level level, const char *body, size_t len)
{
	struct text *line = &log_out.line;
	bool json = log_out.format == LOG_JSON && !log_out.bare;

	line->len = 0;
	if (log_out.torn)
		text_puts(line, "\n");
	if (log_out.frame == LOG_FRAME_SYSLOG)
		log_syslog_head(line, level);
	else if (log_out.frame == LOG_FRAME_JOURNAL)
		text_printf(line, "<%d>", log_severity[level]);
	if (json) {
		text_puts(line, "{\"time\":\"");
		log_time(line, "\",\"level\":\"");
		text_printf(line, "%s\",\"who\":", log_words[level]);
		text_json(line, log_out.who, strlen(log_out.who));
		text_puts(line, ",");
	} else if (!log_out.bare) {
		if (log_out.frame == LOG_FRAME_TIME) {
			log_time(line, " ");
			text_puts(line, log_words[level]);
			text_puts(line, " ");
		}
		if (log_out.who[0]) {
			text_puts(line, log_out.who);
			text_puts(line, ": ");
		}
	}
	text_add(line, body, len);
	if (json)
		text_puts(line, "}");
	if (!log_out.sink.datagrams)
		text_puts(line, "\n");
}

/* A line that was not written to its end is lost. */
static void
log_write_gathered(void)
{
	struct text *text = &log_out.gathered;
	bool mends = text->len > 0 && text->at[0] == '\n';
	ssize_t n;

	if (text->len == 0)
		return;
	n = sink_write(&log_out.sink, text->at, text->len);
	if (n < (ssize_t)text->len) {
		uint64_t lost = 0;

		for (size_t i = n > 0 ? (size_t)n : mends; i < text->len; i++)
			lost += text->at[i] == '\n';
		log_failed(n);
		log_out.torn = n > 0 ? text->at[n - 1] != '\n' : mends;
		log_out.lost += lost;
		log_out.lost_untold += lost;
	}
	text->len = 0;
}

static void
log_put_gathered(void)
{
	size_t most = log_out.sink.way == SINK_WRITE && log_out.sink.own < 0 ? LOG_GATHER_SIZE
									       : LOG_LINE_SIZE;

	if (log_out.gathered.len + log_out.line.len > most)
		log_write_gathered();
	text_add(&log_out.gathered, log_out.line.at, log_out.line.len);
	log_out.torn = false; /* this line begins with what mends it */
}

static bool
log_put(enum log_level level, const char *body, size_t len)
{
	if (!log_out.gather_this)
		log_write_gathered();
	log_frame_line(level, body, len);
	if (log_out.gather_this) {
		log_put_gathered();
		return true;
	}
	if (log_write(log_out.line.at, log_out.line.len))
		return true;
	log_out.lost++;
	log_out.lost_untold++;
	return false;
}

/* A line of the log about the log. Written at once: that it is told must be known. */
static bool
log_put_own(enum log_level level, const char *name, uint64_t n, const char *words)
{
	char body[256];
	bool gather_this = log_out.gather_this, put;

	if (log_out.format == LOG_JSON)
		snprintf(body, sizeof(body), "\"message\":\"%s\",\"%s\":%" PRIu64, words, name, n);
	else
		snprintf(body, sizeof(body), "%s", words);
	log_out.gather_this = false;
	put = log_put(level, body, strlen(body));
	log_out.gather_this = gather_this;
	return put;
}

/* When this line is lost, too, it is not one of those that it told of: only they are counted. */
static void
log_tell_lost(void)
{
	uint64_t n = log_out.lost_untold;
	char words[160];

	if (n == 0)
		return;
	snprintf(words, sizeof(words), "%" PRIu64 " log line%s lost (%s)", n,
	         n == 1 ? " was" : "s were", strerror(log_out.lost_errno));
	log_out.lost_untold = 0;
	if (!log_put_own(LOG_LEVEL_WARN, "lost", n, words)) {
		log_out.lost_untold += n - 1;
		log_out.lost--;
	}
}

static void
log_tell_repeats(void)
{
	uint64_t n = log_out.repeats;
	char words[80];

	if (n == 0)
		return;
	log_out.repeats = 0;
	log_out.told_ms = clock_ms();
	snprintf(words, sizeof(words), "last line repeated %" PRIu64 " time%s", n,
		 n == 1 ? "" : "s");
	log_tell_lost();
	log_put_own(log_out.last_level, "repeated", n, words);
}

static void
log_emit(enum log_level level, const struct text *body)
{
	if (log_out.last_len == body->len && log_out.last_level == level && log_out.last_len > 0 &&
	    memcmp(log_out.last, body->at, body->len) == 0) {
		log_out.repeats++;
		if (clock_ms() - log_out.told_ms >= 1000)
			log_tell_repeats();
		return;
	}
	log_tell_repeats();
	log_tell_lost();
	log_out.last_len = 0;
	if (!log_put(level, body->at, body->len))
		return; /* what was never seen cannot be repeated */
	memcpy(log_out.last, body->at, body->len);
	log_out.last_len = body->len;
	log_out.last_level = level;
	log_out.told_ms = clock_ms();
}

/* Adds what fits; marks what does not. */
static void
log_add(struct text *body, const char *at, size_t len,
	void (*add)(struct text *text, const char *bytes, size_t len))
{
	size_t start = body->len, whole = len;

	for (;;) {
		add(body, at, len);
		if (body->len <= LOG_BODY_MOST || len == 0)
			break;
		body->len = start;
		len -= len / 8 + 1;
	}
	if (len < whole) {
		/* Into the JSON string, not behind it. */
		if (add == text_json)
			body->len--;
		text_puts(body, add == text_json ? "...\"" : "...");
	}
}

/* What the log calls while it works on a line (must(), for one) must not come back into it. */
static bool
log_begin(enum log_level level)
{
	if (!log_wants(level) || log_out.busy)
		return false;
	if (!log_out.open)
		log_prepare(log_out.sink.fd);
	log_out.busy = true;
	log_out.body.len = 0;
	return true;
}

static void
log_tell_hearer(enum log_level level, const char *words, size_t len)
{
	if (log_out.hear && level <= LOG_LEVEL_INFO)
		log_out.hear(log_out.hear_context, level, words, len);
}

void
log_line(enum log_level level, const char *format, ...)
{
	struct text *body = &log_out.body;
	char words[LOG_LINE_SIZE];
	int saved = errno, len;
	va_list args;

	if (!log_heeds(level) || log_out.busy)
		return;
	errno = saved;
	va_start(args, format);
	len = vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	if (len < 0)
		len = 0;
	if (len >= (int)sizeof(words))
		len = (int)sizeof(words) - 1;
	log_tell_hearer(level, words, (size_t)len);
	if (!log_begin(level))
		return;
	if (log_out.format == LOG_JSON) {
		text_puts(body, "\"message\":");
		log_add(body, words, (size_t)len, text_json);
	} else {
		log_add(body, words, (size_t)len, text_plain);
	}
	log_emit(level, body);
	log_out.busy = false;
	errno = saved;
}

static bool
log_needs_quotes(const char *text)
{
	const char *at = text;

	while (*at > ' ' && *at != '=' && *at != '"' && *at != '\\')
		at++;
	/* Controls and what is not ASCII were never a reason, and are shown by text_plain(). */
	return !*text || (*at && strpbrk(at, " =\"\\\t\r\n"));
}

static void
log_add_field(struct text *body, const struct log_field *field)
{
	size_t start = body->len;

	if (!field->name)
		return;
	if (log_out.format == LOG_JSON) {
		text_puts(body, ",");
		text_json(body, field->name, strlen(field->name));
		text_puts(body, ":");
	} else {
		text_puts(body, " ");
		text_puts(body, field->name);
		text_puts(body, "=");
	}
	if (!field->text)
		text_uint(body, field->number);
	else if (log_out.format == LOG_JSON || log_needs_quotes(field->text))
		text_json(body, field->text, strnlen(field->text, LOG_LINE_SIZE));
	else
		text_plain(body, field->text, strnlen(field->text, LOG_LINE_SIZE));
	if (body->len > LOG_BODY_MOST)
		body->len = start;
}

void
log_event(enum log_level level, const char *event, const char *words,
	  const struct log_field *fields, unsigned n)
{
	struct text *body = &log_out.body;
	size_t words_len = words ? strnlen(words, LOG_LINE_SIZE) : 0;
	bool gathers = log_out.gathers && level >= LOG_LEVEL_INFO;
	int saved = errno;

	if (words_len > 0 && !gathers && !log_out.busy)
		log_tell_hearer(level, words, words_len);
	if (!log_begin(level))
		return;
	if (log_out.format == LOG_JSON) {
		text_puts(body, "\"event\":");
		text_json(body, event, strnlen(event, 64));
		if (words_len > 0) {
			text_puts(body, ",\"message\":");
			log_add(body, words, words_len, text_json);
		}
	} else {
		text_plain(body, event, strnlen(event, 64));
		if (words_len > 0) {
			text_puts(body, " ");
			log_add(body, words, words_len, text_plain);
		}
	}
	for (unsigned i = 0; i < n; i++)
		log_add_field(body, &fields[i]);
	log_out.gather_this = gathers && !log_out.sink.datagrams;
	log_emit(level, body);
	log_out.gather_this = false;
	log_out.busy = false;
	errno = saved;
}

void
log_bare(enum log_level level, const char *line, size_t len)
{
	int saved = errno;

	if (!log_begin(level))
		return;
	log_add(&log_out.body, line, len, text_add);
	log_tell_repeats();
	log_tell_lost();
	log_out.last_len = 0;
	log_out.gather_this = log_out.gathers && level >= LOG_LEVEL_INFO && !log_out.sink.datagrams;
	log_out.bare = true;
	log_put(level, log_out.body.at, log_out.body.len);
	log_out.bare = log_out.gather_this = log_out.busy = false;
	errno = saved;
}

void
log_overhear(void (*hear)(void *context, enum log_level level, const char *words, size_t len),
             void *context)
{
	log_out.hear = hear;
	log_out.hear_context = context;
}

/* Opening and changing. */

/* At the end of the process: what was only counted is told. */
static void
log_finish(void)
{
	if (log_out.open && !log_out.busy) {
		log_flush();
		log_tell_repeats();
		log_tell_lost();
	}
}

void
log_gather(void)
{
	log_out.gathers = true;
}

void
log_flush(void)
{
	if (log_out.gathered.len > 0 && !log_out.busy)
		log_write_gathered();
}

void
log_open(const char *who, int fd, enum log_target target, enum log_format format,
	 enum log_level most)
{
	static bool registered;

	log_finish();
	sink_close(&log_out.sink);
	snprintf(log_out.who, sizeof(log_out.who), "%s", who ? who : "");
	log_out.target = target;
	log_out.format = format;
	log_out.most = most;
	log_out.last_len = 0;
	log_prepare(fd);
	if (!registered) {
		registered = true;
		atexit(log_finish);
		tzset();
	}
}

static void
log_switch(int fd)
{
	int old = log_out.sink.fd;

	log_out.last_len = 0; /* what is there has not seen the last line */
	sink_close(&log_out.sink);
	if (old != fd && old != 2 && old >= 0)
		close(old);
	log_prepare(fd);
}

void
log_reopen(int fd)
{
	log_finish();
	log_switch(fd);
}

void
log_change(int fd, enum log_target target, enum log_format format, enum log_level most)
{
	log_finish();
	log_out.target = target;
	log_out.format = format;
	log_out.most = most;
	log_switch(fd);
}

bool
log_wants(enum log_level level)
{
	return level <= log_out.most;
}

bool
log_heeds(enum log_level level)
{
	return log_wants(level) || (log_out.hear && level <= LOG_LEVEL_INFO);
}

uint64_t
log_lost(void)
{
	return log_out.lost;
}
