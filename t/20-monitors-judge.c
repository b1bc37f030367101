/* What the checker makes of answers: rise and fall, draining, all and any, weights, words, and whom it
 * tells. The answers are made up, the board is a real one. */
#define _GNU_SOURCE 1
#include "tap.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "role/checker.h"

/* ---- what judges need around them ---- */

enum { SERVICES = 3, MONITORS = 2 };

static struct {
	struct control_record records[64];
	unsigned n;
} sent;

void
child_send(struct child *child, const struct control_record *record, const char *text, size_t len,
           const int *fds, unsigned n_fds)
{
	(void)child, (void)text, (void)len, (void)fds, (void)n_fds;
	if (sent.n < 64)
		sent.records[sent.n++] = *record;
}

static struct sy_module module = { .name = "tcp" };
static struct checker checker;
static struct child child;
static struct generation generation = { .number = 7 };
static struct checker_plan plan_of_test;
static struct pool pool = { .name = "edge", .n_servers = 1 };
static struct server server = { .name = "edge1", .id = 99 };
static struct service services[SERVICES];
static struct seat seats[SERVICES];
static struct monitor monitors[MONITORS];
static struct check checks[MONITORS];
static struct watch watches[SERVICES];
static struct check *both[SERVICES][MONITORS];
static struct watch *all_watches[SERVICES];
static char log_path[] = "/tmp/steelyard-judge-XXXXXX";
static int log_fd;

/* So many services share the server and the first n checks; the counts as given. */
static void
begin(uint32_t n_services, uint32_t n_monitors, uint32_t policy, uint32_t rise, uint32_t fall)
{
	static uint64_t generation_of_ids;
	static const char *const names[SERVICES] = { "access", "webconf", "av" };

	generation_of_ids += 1000;
	memset(checks, 0, sizeof(checks));
	memset(watches, 0, sizeof(watches));
	memset(services, 0, sizeof(services));
	for (uint32_t k = 0; k < n_monitors; k++) {
		monitors[k] = (struct monitor){ .use.module = &module,
		                                .settings = { .rise = rise, .fall = fall } };
		checks[k] = (struct check){
			.id = generation_of_ids + k, .monitor = &monitors[k], .checker = &checker,
			.question = { .to = { .ip = { 192, 0, 2, 1 }, .port = (uint16_t)(5061 + k),
			                      .family = SY_IPV4 }, .server = "edge1" },
			.state = board_check(child.board, generation_of_ids + k, true),
			.watches = all_watches, .n_watches = n_services,
		};
	}
	for (uint32_t i = 0; i < n_services; i++) {
		services[i] = (struct service){
			.name = names[i], .n_monitors = n_monitors, .monitors = monitors,
			.settings = { .monitor_policy = { policy } },
			.target = { .pool = &pool, .seats = &seats[i] },
		};
		seats[i] = (struct seat){ .server = &server,
			.cell = board_cell(child.board, CELL_OTHER, generation_of_ids + 100 + i) };
		watches[i] = (struct watch){ .service = &services[i], .seat = &seats[i],
		                             .checks = both[i], .n_checks = n_monitors };
		for (uint32_t k = 0; k < n_monitors; k++)
			both[i][k] = &checks[k];
		all_watches[i] = &watches[i];
	}
	plan_of_test = (struct checker_plan){ .checks = checks, .n_checks = n_monitors,
	                                      .watches = watches, .n_watches = n_services };
	checker.unknown = n_monitors;
	sent.n = 0;
	if (ftruncate(log_fd, 0) != 0)
		bail_out("the log");
	judge_all(&checker, true);
}

static struct cell_health
health(uint32_t service)
{
	struct cell_health out;

	board_health_read(board_cell_at(child.board, seats[service].cell), &out);
	return out;
}

static const char *
log_text(void)
{
	static char text[8192];
	ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* u up, d down, g draining, w up with weight 50, o up with a warning */
static void
answer(uint32_t check, char letter)
{
	struct probe_answer say = { .asked = true, .latency_us = 1234 };

	say.what = letter == 'd' ? SY_PROBE_DOWN : letter == 'g' ? SY_PROBE_DRAINING : SY_PROBE_UP;
	say.weight_percent = letter == 'w' ? 50 : 0;
	say.warn = letter == 'o';
	snprintf(say.reason, sizeof(say.reason), "%s", letter == 'd' ? "connection refused" :
	         letter == 'g' ? "going home" : letter == 'o' ? "ends soon" : "connected");
	judge_answer(&checks[check], &say);
}

/* ---- one check ---- */

static const struct {
	uint32_t rise, fall;
	const char *answers, *states; /* one for each */
} runs[] = {
	/* the first decides */
	{ 2, 3, "u", "u" },
	{ 2, 3, "d", "d" },
	{ 2, 3, "g", "g" },
	/* fall */
	{ 2, 3, "uddd", "uuud" },
	{ 2, 3, "udduddd", "uuuuuud" },
	{ 2, 1, "ud", "ud" },
	/* rise */
	{ 2, 3, "duu", "ddu" },
	{ 2, 3, "duduu", "ddddu" },
	{ 1, 3, "du", "du" },
	{ 3, 3, "duuduuu", "ddddddu" },
	/* draining is the server's own word: believed at once, but no way around rise and fall */
	{ 2, 3, "ugu", "ugu" },
	{ 2, 3, "gddd", "gggd" },
	{ 2, 3, "dgg", "ddg" },
	{ 2, 3, "dgu", "ddu" },
	{ 2, 2, "udgdd", "uuggd" },
};

static char
letter_of(uint32_t state)
{
	return state <= HEALTH_UNCHECKED ? "-udg?"[state] : '!';
}

static void
test_runs(void)
{
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		char states[32] = "";

		begin(1, 1, MONITORS_ALL, runs[i].rise, runs[i].fall);
		for (size_t k = 0; runs[i].answers[k]; k++) {
			answer(0, runs[i].answers[k]);
			states[k] = letter_of(health(0).health);
			states[k + 1] = '\0';
		}
		is_str(states, runs[i].states, "rise %u, fall %u: %s", runs[i].rise, runs[i].fall,
		       runs[i].answers);
	}
}

/* ---- several ---- */

static const struct {
	char first, second;
	char all, any;
} pairs[] = {
	{ '-', '-', '-', '-' }, { 'u', '-', '-', 'u' }, { 'd', '-', 'd', '-' }, { 'g', '-', 'g', 'g' },
	{ 'u', 'u', 'u', 'u' }, { 'u', 'd', 'd', 'u' }, { 'u', 'g', 'g', 'u' }, { 'd', 'd', 'd', 'd' },
	{ 'd', 'g', 'd', 'g' }, { 'g', 'g', 'g', 'g' },
};

static void
test_pairs(void)
{
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		for (uint32_t policy = MONITORS_ALL; policy <= MONITORS_ANY; policy++)
			for (uint32_t swap = 0; swap < 2; swap++) {
				char want = policy == MONITORS_ALL ? pairs[i].all : pairs[i].any;

				begin(1, 2, policy, 2, 3);
				if (pairs[i].first != '-')
					answer(swap, pairs[i].first);
				if (pairs[i].second != '-')
					answer(!swap, pairs[i].second);
				is_int(letter_of(health(0).health), want, "%s of %c and %c is %c",
				       policy == MONITORS_ALL ? "all" : "any", pairs[i].first,
				       pairs[i].second, want);
			}
}

/* ---- words ---- */

static void
test_words(void)
{
	char out[TIMES_SIZE];

	is_str(words_times(1, out), "", "once");
	is_str(words_times(2, out), ", second time", "twice");
	is_str(words_times(10, out), ", tenth time", "ten");
	is_str(words_times(11, out), ", 11th time", "eleven");
	is_str(words_times(12, out), ", 12th time", "twelve");
	is_str(words_times(21, out), ", 21st time", "21");
	is_str(words_times(102, out), ", 102nd time", "102");
	is_str(words_times(113, out), ", 113th time", "113");
	is_str(words_times(1003, out), ", 1003rd time", "1003");

	begin(1, 1, MONITORS_ALL, 2, 3);
	is_str(health(0).reason, "not checked yet", "before the first answer");
	answer(0, 'u');
	is_str(health(0).reason, "tcp 192.0.2.1:5061: connected", "up");
	answer(0, 'd');
	is_str(health(0).reason, "tcp 192.0.2.1:5061: connection refused (1 of 3)", "the first failure");
	answer(0, 'd');
	is_str(health(0).reason, "tcp 192.0.2.1:5061: connection refused (2 of 3)", "the second");
	answer(0, 'd');
	is_str(health(0).reason, "tcp 192.0.2.1:5061: connection refused, third time", "down");
	answer(0, 'd');
	is_str(health(0).reason, "tcp 192.0.2.1:5061: connection refused, third time",
	       "the words stay while nothing changes");
	is_uint(checks[0].state->bad, 4, "but it is counted");
	answer(0, 'u');
	is_str(health(0).reason, "tcp 192.0.2.1:5061: connected (1 of 2)", "the first success");
	answer(0, 'd');
	is_str(health(0).reason, "tcp 192.0.2.1:5061: connection refused", "down again");
	answer(0, 'u');
	answer(0, 'u');
	is_str(health(0).reason, "tcp 192.0.2.1:5061: connected", "up again");
	has_str(log_text(), "warn test: server edge1 (pool edge, service access) is down: tcp "
	                    "192.0.2.1:5061: connection refused, third time\n", "the line for down");
	has_str(log_text(), "info test: server edge1 (pool edge, service access) is up again after ",
	        "the line for up");
	begin(1, 2, MONITORS_ALL, 2, 3);
	answer(0, 'u');
	answer(1, 'u');
	answer(1, 'd');
	is_str(health(0).reason, "tcp 192.0.2.1:5062: connection refused (1 of 3)",
	       "of two, the one that changes its mind gives the words");
}

/* ---- who is told ---- */

static void
test_told(void)
{
	unsigned n;
	const char *line;

	begin(3, 1, MONITORS_ALL, 1, 2);
	is_uint(sent.n, 0, "nobody is told of seats that are not checked yet");
	answer(0, 'u');
	is_uint(sent.n, 0, "nor that they are up: they were used already");
	answer(0, 'd');
	is_uint(sent.n, 0, "nor of the first failure");
	answer(0, 'd');
	is_uint(sent.n, 3, "down: one record for each seat");
	ok(sent.records[0].type == CONTROL_CHANGED && sent.records[0].id == seats[0].cell &&
	   sent.records[0].value == 1 && sent.records[0].generation == 7, "  which says it");
	line = strstr(log_text(), "is down");
	ok(line && !strstr(line + 1, "is down"), "  and one line in the log");
	has_str(log_text(), "server edge1 (pool edge, 3 services) is down", "  for all");
	answer(0, 'd');
	is_uint(sent.n, 3, "nothing new: nobody is told");
	sent.n = 0;
	answer(0, 'u');
	ok(sent.n == 3 && sent.records[2].value == 0, "up: told, too");
	sent.n = 0;
	answer(0, 'g');
	ok(sent.n == 3 && sent.records[0].value == 0, "draining: told, but no connection must go");
	sent.n = 0;
	answer(0, 'u');
	is_uint(sent.n, 3, "and back");
	sent.n = 0;
	answer(0, 'w');
	ok(sent.n == 3 && health(1).weight == 50, "a weight: told");
	sent.n = 0;
	answer(0, 'w');
	is_uint(sent.n, 0, "the same weight: not");
	answer(0, 'u');
	ok(sent.n == 3 && health(1).weight == 0, "no weight any more: told");
	answer(0, 'o');
	answer(0, 'o');
	has_str(log_text(), "warn test: server edge1: tcp 192.0.2.1:5061: ends soon", "a warning");
	line = strstr(log_text(), "ends soon");
	ok(line && !strstr(line + 1, "ends soon"), "  is told once");
	n = sent.n;
	judge_all(&checker, true);
	is_uint(sent.n, n, "to write all anew changes nothing");
}

static void
test_since(void)
{
	struct cell_health first, now;

	begin(1, 1, MONITORS_ALL, 1, 1);
	answer(0, 'u');
	first = health(0);
	is_uint(first.up_since_ms, 0, "up from the start: no slow start");
	is_uint(first.latency_us, 1234, "latency");
	usleep(5000);
	answer(0, 'u');
	is_uint(health(0).since_wall_ms, first.since_wall_ms, "since the same moment");
	answer(0, 'd');
	now = health(0);
	ok(now.since_wall_ms > first.since_wall_ms && now.changes == first.changes + 1, "down since later");
	answer(0, 'u');
	ok(health(0).up_since_ms > 0, "came back: slow start counts from here");
	begin(1, 1, MONITORS_ALL, 1, 1);
	answer(0, 'd');
	answer(0, 'u');
	ok(health(0).up_since_ms > 0, "was down from the start, and came: slow start, too");
}

int
main(void)
{
	struct board_size size = { .services = 16, .cells = 512, .checks = 256, .persist_entries = 64 };
	struct sy_err err = { "" };
	int fd;

	log_fd = mkstemp(log_path);
	unlink(log_path);
	fcntl(log_fd, F_SETFL, O_APPEND);
	log_open("test", log_fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	child.board = board_new(&size, &fd, &err);
	if (!child.board)
		bail_out("%s", err.text);
	child.current = &generation;
	generation.run = &plan_of_test;
	checker.child = &child;
	test_runs();
	test_pairs();
	test_words();
	test_told();
	test_since();
	free(checker.changes);
	board_unmap(child.board);
	close(fd);
	return done_testing();
}
