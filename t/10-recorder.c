/* The flight recorder's rings: the newest first, bounded, errors beside the rest, lines cut where a
 * character ends; and what a killed process left half written is not read. */
#include "share/recorder.c"

#include <stdio.h>

#include "tap.h"

static const struct board_size size = { .services = 8, .cells = 32, .checks = 16, .persist_entries = 64,
	                                .records = 16 };

struct seen {
	unsigned n, most;
	uint64_t id[64];
	char line[64][40];
};

static bool
see(void *context, unsigned row, const struct record *record)
{
	struct seen *seen = context;

	(void)row;
	if (record->kind == RECORD_LINE)
		snprintf(seen->line[seen->n], sizeof(seen->line[0]), "%.39s", record->line);
	else
		seen->id[seen->n] = record->end.id;
	seen->n++;
	return !seen->most || seen->n < seen->most;
}

static struct seen
look(struct board *board, enum recorder_ring ring, unsigned most)
{
	struct seen seen = { .most = most };

	recorder_each(board, ROW_WORKER, ring, see, &seen);
	return seen;
}

static void
end(struct board *board, uint64_t id, bool failed)
{
	struct record record = { .kind = RECORD_CONNECTION, .end = { .id = id } };

	recorder_end(board, ROW_WORKER, 1000 + id, &record, failed);
}

int
main(void)
{
	char words[400];
	struct seen seen;
	struct sy_err err;
	int fd;
	struct board *board = board_new(&size, &fd, &err), *other = board_map(fd, &err);

	ok(board && other && recorder_on(board), "a board with a recorder");
	is_int(look(board, RECORDER_ENDED, 0).n, 0, "nothing yet");
	end(board, 1, true);
	for (uint64_t id = 2; id <= 40; id++)
		end(board, id, false);
	seen = look(other, RECORDER_ENDED, 0);
	is_int(seen.n, 16, "as many as there is room for, seen by another process");
	is_int(seen.id[0], 40, "the newest first");
	is_int(seen.id[15], 25, "down to the oldest");
	seen = look(board, RECORDER_FAILED, 0);
	is_int(seen.n == 1 && seen.id[0] == 1, 1, "an error is not pushed out by them");
	is_int(look(board, RECORDER_ENDED, 3).n, 3, "until it was enough");
	is_int(look(board, RECORDER_LINES, 0).n, 0, "no line");

	recorder_line(board, ROW_WORKER, 5, 1, "first", 5);
	memset(words, 'x', sizeof(words));
	memcpy(words + 230, "\xc3\xa4", 2);
	recorder_line(board, ROW_WORKER, 6, 1, words, sizeof(words));
	seen = look(board, RECORDER_LINES, 0);
	is_int(seen.n, 2, "two lines");
	ok(strcmp(seen.line[1], "first") == 0, "the first one");
	is_int(strlen(recorder_ring(board, ROW_WORKER, RECORDER_LINES)[1].line), 230, "a long one is cut before a character, not in it");

	/* Killed after it has begun to write. */
	recorder_ring(board, ROW_WORKER, RECORDER_ENDED)[39 % 16].number = 0;
	seen = look(board, RECORDER_ENDED, 0);
	is_int(seen.n, 15, "what is half written is not read");
	is_int(seen.id[0], 40, "the others are");
	end(board, 41, false);
	seen = look(board, RECORDER_ENDED, 0);
	is_int(seen.n == 16 && seen.id[0] == 41, 1, "a successor goes on there");

	is_int(recorder_deaths(board), 0, "nobody has died");
	recorder_died(board);
	is_int(recorder_deaths(other) == 1 && recorder_written(other) == 0, 1, "one death, not written down");
	recorder_wrote(other, 1);
	is_int(recorder_written(board), 1, "and then it is");
	is_int(look(board, RECORDER_FAILED, 0).n, 1, "that is no record");
	board_unmap(other);
	board_unmap(board);
	return done_testing();
}
