/* `top`: the one look, live, on the whole terminal. Plain ANSI; once a second it asks for everything
 * and draws it, as wide and as high as the terminal is. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "ctl/ctl_do.h"

enum { TOP_MS = 1000, TOP_COLUMNS = 20, TOP_LINES = 5 };

/* How the list is sorted; the keys are the first letters. */
static const char *const top_orders[] = { "worst", "name", "active", "rate", NULL };

struct top {
	struct ctl *ctl;
	struct termios was;
	unsigned columns, lines, order, first;
	bool wrong;               /* only what is wrong */
	struct text screen;
	unsigned at;              /* lines drawn */
};

static volatile sig_atomic_t top_ended, top_resized;

static void
top_signal(int number)
{
	if (number == SIGWINCH)
		top_resized = 1;
	else
		top_ended = 1;
}

static void
top_size(struct top *top)
{
	struct winsize size = { 0 };

	top_resized = 0;
	ioctl(1, TIOCGWINSZ, &size);
	top->columns = size.ws_col >= TOP_COLUMNS ? size.ws_col : 80;
	top->lines = size.ws_row >= TOP_LINES ? size.ws_row : 24;
}

/* One line, cut to the terminal's width; what stands on the line before is wiped. */
__attribute__((format(printf, 3, 4))) static void
top_line(struct top *top, const char *style, const char *format, ...)
{
	struct text line = { 0 }, plain = { 0 };
	char *words = NULL;
	va_list args;
	int len;

	if (top->at >= top->lines)
		return;
	va_start(args, format);
	len = vasprintf(&words, format, args);
	va_end(args);
	if (len < 0)
		return;
	text_plain(&plain, words, (size_t)len);
	text_add(&line, plain.at ? plain.at : "", text_cut(plain.at ? plain.at : "", plain.len, top->columns));
	text_printf(&top->screen, "%s%s%s%s\033[K", top->at ? "\r\n" : "", style, line.at, *style ? "\033[0m" : "");
	top->at++;
	text_free(&line);
	text_free(&plain);
	free(words);
}

static const char *
top_style(const struct top *top, const char *state)
{
	if (!top->ctl->colour)
		return strcmp(state, "up") == 0 || strcmp(state, "unused") == 0 ? "" : "\033[1m";
	return strcmp(state, "up") == 0 ? "" : strcmp(state, "down") == 0 || strcmp(state, "sorry") == 0
	       ? "\033[1;31m" : strcmp(state, "unused") == 0 ? "\033[2m" : "\033[33m";
}

static unsigned
top_rank(const json_t *row)
{
	static const char *const order[] = { "down", "sorry", "degraded", "disabled", "unused", "up" };
	const char *state = json_string_value(json_object_get(row, "state"));
	unsigned i = 0;

	while (i < 5 && strcmp(order[i], state ? state : "") != 0)
		i++;
	return i;
}

static double
top_number(const json_t *row, const char *name)
{
	return json_number_value(json_object_get(row, name));
}

static unsigned top_by;

static int
top_compare(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	double less = 0;

	if (top_by == 0)
		less = (double)top_rank(x) - (double)top_rank(y);
	else if (top_by == 2)
		less = top_number(y, "active") - top_number(x, "active");
	else if (top_by == 3)
		less = top_number(y, "rate") - top_number(x, "rate");
	if (less != 0)
		return less < 0 ? -1 : 1;
	return strcmp(json_string_value(json_object_get(x, "name")), json_string_value(json_object_get(y, "name")));
}

static void
top_head(struct top *top, const json_t *status)
{
	char age[32];
	json_int_t now = json_integer_value(json_object_get(status, "now"));
	json_int_t down = json_integer_value(json_object_get(status, "services_down"));
	bool well = json_is_true(json_object_get(status, "well"));

	top_line(top, well ? "\033[1m" : top_style(top, down ? "down" : "degraded"),
	         "steelyard %s  up %s  generation %lld  %lld services%s  %lld connections  %.1f/s%s",
	         json_string_value(json_object_get(status, "version")),
	         age_since(json_integer_value(json_object_get(status, "started")), now, age, sizeof(age)),
	         (long long)json_integer_value(json_object_get(status, "generation")),
	         (long long)json_integer_value(json_object_get(status, "services_total")),
	         down ? ", some DOWN" : well ? ", all well" : ", not all well",
	         (long long)json_integer_value(json_object_get(status, "active")), top_number(status, "rate"),
	         json_integer_value(json_object_get(status, "trial_until")) ? "  ON TRIAL" : "");
	top_line(top, "\033[2m", "q quit   s sort: %s   w %s   j k scroll", top_orders[top->order],
	         top->wrong ? "only what is wrong" : "everything");
	top_line(top, "", " ");
}

static void
top_services(struct top *top, const json_t *status)
{
	const json_t *list = json_object_get(status, "services");
	size_t n = json_array_size(list), shown = 0;
	json_t **rows = calloc(n + 1, sizeof(*rows));
	char active[32];

	if (!rows)
		return;
	for (size_t i = 0; i < n; i++)
		if (!top->wrong || (top_rank(json_array_get(list, i)) != 5 && top_rank(json_array_get(list, i)) != 4))
			rows[shown++] = json_array_get(list, i);
	top_by = top->order;
	qsort(rows, shown, sizeof(*rows), top_compare);
	if (top->first >= shown)
		top->first = shown ? (unsigned)shown - 1 : 0;
	top_line(top, "\033[7m", "%-24s %-9s %7s %8s %9s  %s%*s", "SERVICE", "STATE", "UP", "ACTIVE", "RATE/S", "WHY",
	         (int)top->columns, "");
	for (size_t i = top->first; i < shown; i++) {
		const char *state = json_string_value(json_object_get(rows[i], "state"));

		top_line(top, top_style(top, state), "%-24.24s %-9s %3lld/%-3lld %8s %9.1f  %s",
		         json_string_value(json_object_get(rows[i], "name")), state,
		         (long long)json_integer_value(json_object_get(rows[i], "up")),
		         (long long)json_integer_value(json_object_get(rows[i], "servers")),
		         amount_text(json_integer_value(json_object_get(rows[i], "active")), active, sizeof(active)),
		         top_number(rows[i], "rate"), json_string_value(json_object_get(rows[i], "why")));
	}
	free(rows);
}

static void
top_wrong(struct top *top, const json_t *status)
{
	json_int_t now = json_integer_value(json_object_get(status, "now"));
	const json_t *item;
	size_t i;

	if (!json_array_size(json_object_get(status, "wrong")) || top->at + 3 >= top->lines)
		return;
	top_line(top, "", " ");
	top_line(top, "\033[7m", "%-24s %-20s %-9s %8s  %s%*s", "SERVER", "SERVICE", "STATE", "FOR", "WHY",
	         (int)top->columns, "");
	json_array_foreach(json_object_get(status, "wrong"), i, item) {
		const char *state = json_string_value(json_object_get(item, "state"));
		char age[32];

		top_line(top, top_style(top, state), "%-24.24s %-20.20s %-9s %8s  %s",
		         json_string_value(json_object_get(item, "server")),
		         json_string_value(json_object_get(item, "service")), state,
		         age_since(json_integer_value(json_object_get(item, "since")), now, age, sizeof(age)),
		         json_string_value(json_object_get(item, "why")));
	}
}

static void
top_write(const char *at, size_t len)
{
	while (len) {
		ssize_t n = write(1, at, len);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
}

static void
top_draw(struct top *top)
{
	int status = 0;
	char *answer = ctl_http(top->ctl, "GET", "/v1/status", NULL, &status);
	json_t *json = answer ? json_loads(answer, 0, NULL) : NULL;

	text_puts(&top->screen, "\033[H");
	top->at = 0;
	if (json && status == 200) {
		top_head(top, json);
		top_services(top, json);
		top_wrong(top, json);
	} else {
		top_line(top, "\033[1m", "no answer from %s at the moment; q quits", top->ctl->socket);
	}
	text_puts(&top->screen, "\033[J");
	top_write(top->screen.at, top->screen.len);
	text_free(&top->screen);
	top->screen = (struct text){ 0 };
	json_decref(json);
	free(answer);
}

static bool
top_key(struct top *top, char key)
{
	switch (key) {
	case 'q': case 3: case 4:
		return false;
	case 's':
		top->order = top_orders[top->order + 1] ? top->order + 1 : 0;
		break;
	case 'w':
		top->wrong = !top->wrong;
		top->first = 0;
		break;
	case 'j':
		top->first++;
		break;
	case 'k':
		top->first -= top->first > 0;
		break;
	}
	return true;
}

static void
top_run(struct top *top)
{
	uint64_t due_ms = 0;

	while (!top_ended) {
		struct pollfd in = { .fd = 0, .events = POLLIN };
		uint64_t now_ms = clock_ms();
		char keys[16];
		ssize_t n;

		if (top_resized)
			top_size(top);
		if (now_ms >= due_ms) {
			top_draw(top);
			now_ms = clock_ms();
			due_ms = now_ms + TOP_MS;
		}
		if (poll(&in, 1, (int)(due_ms - now_ms)) <= 0)
			continue;
		n = read(0, keys, sizeof(keys));
		if (n <= 0)
			return;
		for (ssize_t i = 0; i < n; i++)
			if (!top_key(top, keys[i]))
				return;
		due_ms = 0;
	}
}

int
ctl_top(struct ctl *ctl)
{
	struct sigaction action = { .sa_handler = top_signal };
	struct top top = { .ctl = ctl };
	struct termios raw;

	if (!isatty(1) || tcgetattr(0, &top.was) != 0) {
		fprintf(stderr, "steelyardctl: top needs a terminal; steelyardctl status tells the same once\n");
		return CTL_FAILED;
	}
	sigaction(SIGWINCH, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	top_size(&top);
	raw = top.was;
	raw.c_lflag &= (tcflag_t)~(ICANON | ECHO | ISIG);
	tcsetattr(0, TCSAFLUSH, &raw);
	top_write("\033[?1049h\033[?25l\033[?7l", strlen("\033[?1049h\033[?25l\033[?7l"));
	top_run(&top);
	top_write("\033[?7h\033[?25h\033[?1049l", strlen("\033[?7h\033[?25h\033[?1049l"));
	tcsetattr(0, TCSAFLUSH, &top.was);
	return CTL_OK;
}
