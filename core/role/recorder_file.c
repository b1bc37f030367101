/* Writes down what the flight recorder holds when a process has died or a server has changed state
 * (recorder { directory ...; }): one file for what happens within a while, JSON, a line for each
 * record, the newest last, and a first line that says why. Old files go when there are too many. */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "role/recorder.h"

enum {
	RECORDER_SOON_MS = 1000,  /* what follows from it shall be in the file, too */
	RECORDER_NAME = 64,
};

static const struct recorder_settings *
recorder_settings(const struct console *console)
{
	return &console->child->current->config->global.recorder;
}

static void
recorder_due(struct console *console, const char *words)
{
	struct recorder_due *due = &console->recorder;
	uint64_t now_ms = console->child->now_ms, fold_ms;

	if (!console->child->current || !recorder_settings(console)->directory ||
	    !recorder_on(console->child->board))
		return;
	if (due->at_ms)
		return;
	snprintf(due->why, sizeof(due->why), "%s", words);
	fold_ms = due->wrote_ms ? due->wrote_ms + recorder_settings(console)->fold.ms : 0;
	due->at_ms = now_ms + RECORDER_SOON_MS > fold_ms ? now_ms + RECORDER_SOON_MS : fold_ms;
}

void
recorder_changed(struct console *console, const char *words)
{
	recorder_due(console, words);
}

/* ---- files ---- */

static int
recorder_is_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len < RECORDER_NAME && strncmp(entry->d_name, "recorder-", 9) == 0 && len > 14 &&
	       strcmp(entry->d_name + len - 5, ".json") == 0;
}

/* Their names are in the order of time. */
static void
recorder_prune(int dir, uint32_t most)
{
	struct dirent **names;
	int n = scandirat(dir, ".", &names, recorder_is_file, alphasort);

	for (int i = 0; i < n; i++) {
		if ((uint32_t)(n - i) > most)
			unlinkat(dir, names[i]->d_name, 0);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

/* The newest that fit, the newest last. */
static void
recorder_text(struct console *console, const char *why, struct text *out)
{
	uint64_t most = recorder_settings(console)->size.n;
	uint64_t offset = recorder_offset();
	size_t n, first, used = 0;
	struct recorder_found *found = recorder_all(console->child->board, most / 64, &n);
	char **lines = calloc(n + 1, sizeof(*lines));
	json_t *head = json_pack("{s:I, s:s, s:s}", "time", (json_int_t)clock_wall_ms(), "what", "recorder",
	                         "words", why);
	char *line = json_dumps(head, JSON_COMPACT);

	text_printf(out, "%s\n", line ? line : "{}");
	free(line);
	json_decref(head);
	for (first = 0; lines && first < n; first++) {
		json_t *json = record_json(found[first].row, &found[first].record, offset);

		lines[first] = json_dumps(json, JSON_COMPACT);
		json_decref(json);
		used += lines[first] ? strlen(lines[first]) + 1 : 0;
		if (!lines[first] || used + out->len > most)
			break;
	}
	if (lines)
		free(lines[first]); /* the one that does not fit, or none */
	while (lines && first-- > 0) {
		text_printf(out, "%s\n", lines[first]);
		free(lines[first]);
	}
	free(lines);
	free(found);
}

/* It has its name when it is complete. */
static bool
recorder_write(int dir, const char *name, const struct text *text)
{
	char fresh[RECORDER_NAME + 8];
	int fd;
	bool good;

	snprintf(fresh, sizeof(fresh), ".%s.new", name);
	unlinkat(dir, fresh, 0);
	fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return false;
	good = write(fd, text->at, text->len) == (ssize_t)text->len;
	if (!good && errno == 0)
		errno = ENOSPC;
	if (close(fd) == 0 && good && renameat(dir, fresh, dir, name) == 0)
		return true;
	unlinkat(dir, fresh, 0);
	return false;
}

static void
recorder_file(struct console *console)
{
	const struct recorder_settings *settings = recorder_settings(console);
	uint64_t now = clock_wall_ms();
	time_t seconds = (time_t)(now / 1000);
	char stamp[32], name[RECORDER_NAME];
	struct text text = { 0 };
	struct tm utc;
	int dir;

	gmtime_r(&seconds, &utc);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", &utc);
	snprintf(name, sizeof(name), "recorder-%s.%03uZ.json", stamp, (unsigned)(now % 1000));
	errno = 0;
	dir = open(settings->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		recorder_text(console, console->recorder.why, &text);
	if (dir < 0 || !recorder_write(dir, name, &text)) {
		log_warn("recorder: cannot write to %s: %s; it must belong to the user that the console runs as",
		         settings->directory, strerror(errno));
	} else {
		log_info("recorder: %s/%s was written: %s", settings->directory, name, console->recorder.why);
		recorder_prune(dir, settings->files);
	}
	if (dir >= 0)
		close(dir);
	text_free(&text);
}

void
recorder_beat(struct console *console)
{
	struct recorder_due *due = &console->recorder;
	struct board *board = console->child->board;
	uint64_t deaths = recorder_deaths(board);
	char words[80];

	if (!console->child->current || !recorder_on(board))
		return;
	if (deaths != recorder_written(board)) {
		snprintf(words, sizeof(words), "a process has died; %llu have so far", (unsigned long long)deaths);
		recorder_due(console, words);
		/* When there is no file to be written it is told all the same. */
		if (!due->at_ms)
			recorder_wrote(board, deaths);
	}
	if (!due->at_ms || console->child->now_ms < due->at_ms)
		return;
	due->at_ms = 0;
	recorder_wrote(board, deaths);
	due->wrote_ms = console->child->now_ms;
	if (recorder_settings(console)->directory)
		recorder_file(console);
}
