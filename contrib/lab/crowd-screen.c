/* What the crowd sees, live: services in rows, the servers that answer in columns. */
#include "crowd.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	SCREEN_FIXED = 49, /* columns that are always there */
	SCREEN_CELL = 7,
	SCREEN_FRAME = 6, /* lines besides the targets' */
	SCREEN_FAULTS = 3,
};

static const double screen_quiet = 3; /* seconds without an answer, then a count is in brackets */
static const double screen_line_every = 5;

struct screen {
	struct crowd *crowd;
	struct lab_buf *out;
	int columns, rows;
	int servers, order[CROWD_SERVERS]; /* that are shown */
	double now, since;                 /* since: seconds from the last tick */
	bool colour;
};

/* A terminal that was stopped must not stop the crowd: what cannot be shown is left out. */
static bool
screen_takes(void)
{
	struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

	return poll(&out, 1, 0) == 1 && (out.revents & POLLOUT);
}

static void
screen_flush(struct lab_buf *out)
{
	while (out->len) {
		ssize_t sent = write(STDOUT_FILENO, buf_front(out), out->len);

		if (sent <= 0)
			break;
		buf_drop(out, (size_t)sent);
	}
	out->len = out->start = 0;
}

static void
screen_style(const struct screen *screen, const char *style)
{
	if (screen->colour)
		buf_print(screen->out, "\033[%sm", style);
}

/* Ends the line and clears what an earlier screen left of it. */
static void
screen_line_end(const struct screen *screen)
{
	buf_print(screen->out, "\033[K\n");
}

static void
screen_cell(const struct screen *screen, const struct crowd_target *target,
	    const struct crowd_count *count)
{
	bool quiet = screen->now - count->last > screen_quiet;
	char text[32];

	snprintf(text, sizeof(text),
		 count->exchanges < 100000 ? "%s%" PRIu64 "%s" : "%s%" PRIu64 "k%s",
		 quiet ? "(" : "",
		 count->exchanges < 100000 ? count->exchanges : count->exchanges / 1000,
		 quiet ? ")" : "");
	if (!count->exchanges)
		strcpy(text, target->exchanges ? "." : "");
	buf_print(screen->out, "%*s", SCREEN_CELL, text);
}

static const char *
screen_state(const struct crowd_target *target)
{
	if (target->failed)
		return "FAILED";
	if (!target->exchanges)
		return target->optional ? "unused" : "silent";
	return target->moved || target->again ? "moved" : "well";
}

static void
screen_target(struct screen *screen, struct crowd_target *target)
{
	bool wrong = target->failed || (!target->exchanges && !target->optional);

	if (wrong)
		screen_style(screen, "31;1");
	buf_print(screen->out, "%-17.17s%5d%6.0f", target->name, target->open,
		  (double)(target->exchanges - target->before) / screen->since);
	for (int i = 0; i < screen->servers; i++)
		screen_cell(screen, target, &target->by_server[screen->order[i]]);
	buf_print(screen->out, "%6" PRIu64 "%7" PRIu64 "  %s", target->moved + target->again,
		  target->failed, screen_state(target));
	if (wrong)
		screen_style(screen, "0");
	screen_line_end(screen);
}

/* Who is there, and what they did until now. */
static void
screen_people(const struct screen *screen)
{
	const struct crowd *crowd = screen->crowd;

	buf_print(screen->out,
		  " %d users signed in, %d in meetings, %d allocations, %" PRIu64 " calls, %" PRIu64
		  " shares",
		  count_all_present(crowd, &protocol_sip), count_all_present(crowd, &protocol_psom),
		  count_all_present(crowd, &protocol_turn), crowd->deeds[DEED_CALL],
		  crowd->deeds[DEED_SHARE]);
}

static void
screen_head(struct screen *screen)
{
	struct crowd *crowd = screen->crowd;

	screen_style(screen, "1");
	buf_print(screen->out,
		  "%5.0f s  %" PRIu32 " clients  %" PRIu64 " exchanges  %.0f/s  "
		  "moved %" PRIu64 "  again %" PRIu64 "  failed %" PRIu64,
		  screen->now - crowd->started, crowd->client_count, crowd->exchanges,
		  (double)(crowd->exchanges - crowd->before) / screen->since, crowd->moved,
		  crowd->again, crowd->failed);
	screen_style(screen, "0");
	screen_line_end(screen);
	screen_people(screen);
	screen_line_end(screen);
	screen_style(screen, "4");
	buf_print(screen->out, "%-17s%5s%6s", "service", "open", "/s");
	for (int i = 0; i < screen->servers; i++)
		buf_print(screen->out, " %*.*s", SCREEN_CELL - 1, SCREEN_CELL - 1,
			  crowd->servers[screen->order[i]]);
	buf_print(screen->out, "%6s%7s  %s", "moved", "failed", "state");
	screen_style(screen, "0");
	screen_line_end(screen);
}

/* All targets if they fit; if not, first those that are not well. */
static void
screen_targets(struct screen *screen, int room)
{
	struct crowd *crowd = screen->crowd;
	int shown = 0;

	if (room >= crowd->target_count) {
		for (int i = 0; i < crowd->target_count; i++)
			screen_target(screen, &crowd->targets[i]);
		return;
	}
	for (int well = 0; well < 2; well++) {
		for (int i = 0; i < crowd->target_count && shown < room - 1; i++) {
			struct crowd_target *target = &crowd->targets[i];

			if (!strcmp(screen_state(target), "well") != (well == 1))
				continue;
			screen_target(screen, target);
			shown++;
		}
	}
	buf_print(screen->out, "... and %d more", crowd->target_count - shown);
	screen_line_end(screen);
}

static void
screen_foot(struct screen *screen)
{
	struct crowd *crowd = screen->crowd;

	screen_line_end(screen);
	for (int i = 0; i < SCREEN_FAULTS && crowd->faults[i].target; i++) {
		const struct crowd_fault *fault = &crowd->faults[i];

		buf_print(screen->out, "%.*s", screen->columns - 1, "");
		screen_style(screen, "31");
		buf_print(screen->out, "%s: %" PRIu64 " x %.*s", fault->target->name, fault->count,
			  screen->columns > 40 ? screen->columns - 40 : 20, fault->words);
		screen_style(screen, "0");
		screen_line_end(screen);
	}
	for (int i = 0; i < crowd->note_count; i++) {
		buf_print(screen->out, "%.*s", screen->columns - 1, crowd->notes[i]);
		screen_line_end(screen);
	}
}

static void
screen_draw(struct screen *screen)
{
	struct crowd *crowd = screen->crowd;
	struct winsize size = {0};
	int foot = crowd->note_count;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		size = (struct winsize){.ws_col = 80, .ws_row = 24};
	screen->columns = size.ws_col;
	screen->rows = size.ws_row;
	if (screen->servers > (screen->columns - SCREEN_FIXED) / SCREEN_CELL)
		screen->servers = (screen->columns - SCREEN_FIXED) / SCREEN_CELL;
	screen->colour = !getenv("NO_COLOR");
	for (int i = 0; i < SCREEN_FAULTS && crowd->faults[i].target; i++)
		foot++;
	buf_print(screen->out, "\033[H");
	screen_head(screen);
	screen_targets(screen, screen->rows - SCREEN_FRAME - foot + 1);
	screen_foot(screen);
	buf_print(screen->out, "\033[J");
}

/* For a log: one line every few seconds. */
static void
screen_log(struct screen *screen)
{
	struct crowd *crowd = screen->crowd;
	int carrying = 0, unused = 0;

	for (int i = 0; i < crowd->target_count; i++) {
		carrying += crowd->targets[i].exchanges > 0;
		unused += crowd->targets[i].optional && !crowd->targets[i].exchanges;
	}
	buf_print(screen->out,
		  "%4.0f s: %d of %d services carry traffic; %" PRIu64 " exchanges, %.0f/s:",
		  screen->now - crowd->started, carrying, crowd->target_count - unused,
		  crowd->exchanges, (double)(crowd->exchanges - crowd->before) / screen->since);
	for (int i = 0; i < screen->servers; i++) {
		uint64_t sum = 0, before = 0;

		for (int j = 0; j < crowd->target_count; j++) {
			sum += crowd->targets[j].by_server[screen->order[i]].exchanges;
			before += crowd->targets[j].by_server[screen->order[i]].before;
		}
		buf_print(screen->out, " %s %.0f/s", crowd->servers[screen->order[i]],
			  (double)(sum - before) / screen->since);
	}
	buf_print(screen->out, ";");
	screen_people(screen);
	buf_print(screen->out, "; moved %" PRIu64 ", again %" PRIu64 ", failed %" PRIu64 "\n",
		  crowd->moved, crowd->again, crowd->failed);
}

static void
screen_mark(struct crowd *crowd, double now)
{
	crowd->ticked = now;
	crowd->before = crowd->exchanges;
	for (int i = 0; i < crowd->target_count; i++) {
		struct crowd_target *target = &crowd->targets[i];

		target->before = target->exchanges;
		for (int j = 0; j < crowd->server_count; j++)
			target->by_server[j].before = target->by_server[j].exchanges;
	}
}

void
screen_show(struct crowd *crowd)
{
	struct screen screen = {.crowd = crowd, .out = &crowd->screen, .now = crowd_now()};

	screen.servers = count_order(crowd, screen.order);
	screen.since = screen.now - crowd->ticked;
	if (crowd->stage == CROWD_WAITS || screen.since <= 0 ||
	    (!crowd->terminal && screen.since < screen_line_every - 0.1) || !screen_takes())
		return;
	if (crowd->terminal)
		screen_draw(&screen);
	else
		screen_log(&screen);
	screen_flush(screen.out);
	screen_mark(crowd, screen.now);
}
