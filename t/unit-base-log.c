/* The log: how lines look, what is counted instead of being written, descriptors. */
#include "unit-base-log.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"

static void
test_text(void)
{
	struct log_field fields[] = {
		{ "client", "192.0.2.7:4711", 0 }, { "bytes", NULL, 0 }, { "ms", NULL, 1803 },
		{ "reason", "idle \"timeout\"\n", 0 }, { NULL, "left out", 0 }, { "host", "", 0 },
		{ "path", "/a\x1b[m", 0 },
	};
	int fd = new_file();
	const char *text;

	log_open("worker 0", fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	errno = ENOENT;
	log_info("edge1 up (%d of %d)", 2, 3);
	is_int(errno, ENOENT, "text: errno is left alone");
	text = after_time(content(fd));
	ok(text != NULL, "text: a file's line begins with a timestamp");
	is_str(text, " info worker 0: edge1 up (2 of 3)\n", "text: then level, who, what");
	log_err("one");
	log_warn("two");
	log_debug("three");
	log_line(LOG_LEVEL_DEBUG, "four");
	has_str(content(fd), " err worker 0: one\n", "text: err");
	has_str(got, " warn worker 0: two\n", "text: warn");
	ok(!strstr(got, "three") && !strstr(got, "four"), "text: not more than is wanted");
	ok(log_wants(LOG_LEVEL_INFO) && !log_wants(LOG_LEVEL_DEBUG), "text: which can be asked");

	ftruncate(fd, 0) ? bail_out("truncate") : (void)0;
	log_info("a\nb\r\x1b[31m %s \xff", "caf\xc3\xa9");
	has_str(content(fd), ": a\\nb\\r\\x1b[31m caf\xc3\xa9 \\xff\n",
		"text: one line, nothing that a terminal obeys");
	is_uint(count(got, "\n"), 1, "text: really one");

	log_event(LOG_LEVEL_INFO, "close", "client closed", fields, 7);
	has_str(content(fd),
		" info worker 0: close client closed client=192.0.2.7:4711 bytes=0 ms=1803 "
		"reason=\"idle \\\"timeout\\\"\\n\" host=\"\" path=/a\\x1b[m\n",
		"text: an event");
	log_event(LOG_LEVEL_INFO, "end", NULL, NULL, 0);
	has_str(content(fd), " info worker 0: end\n", "text: an event of one word");
	log_event(LOG_LEVEL_DEBUG, "secret", NULL, NULL, 0);
	ok(!strstr(content(fd), "secret"), "text: no event that is not wanted");
	is_uint(log_lost(), 0, "text: nothing was lost");

	log_change(fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_DEBUG);
	log_debug("five");
	has_str(content(fd), " debug worker 0: five\n", "text: more after a change of the level");
	log_change(fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_ERR);
	log_warn("six");
	ok(!strstr(content(fd), "six"), "text: and less");
	log_change(fd, LOG_TO_FILE, LOG_JSON, LOG_LEVEL_INFO);
	log_info("seven");
	has_str(content(fd), "\"message\":\"seven\"}\n", "text: and another format");
}

static void
test_json(void)
{
	struct log_field fields[] = {
		{ "client", "192.0.2.7:4711", 0 },
		{ "bytes", NULL, UINT64_MAX },
		{ "a\"b", "c\"d\xff", 0 },
	};
	int fd = new_file();
	const char *text;

	log_open("worker \"0\"", fd, LOG_TO_FILE, LOG_JSON, LOG_LEVEL_INFO);
	log_info("say \"x\"\n\\ \xff");
	text = content(fd);
	ok(strncmp(text, "{\"time\":\"", 9) == 0 && (text = after_time(text + 9)),
	   "json: begins with the time");
	is_str(
	    text,
	    "\",\"level\":\"info\",\"who\":\"worker \\\"0\\\"\",\"message\":\"say \\\"x\\\"\\n\\\\ "
	    "\xef\xbf\xbd\"}\n",
	    "json: level, who, message, escaped");
	log_event(LOG_LEVEL_WARN, "close", "client closed", fields, 3);
	has_str(
	    content(fd),
	    "\",\"level\":\"warn\",\"who\":\"worker \\\"0\\\"\",\"event\":\"close\",\"message\":"
	    "\"client closed\",\"client\":\"192.0.2.7:4711\",\"bytes\":18446744073709551615,"
	    "\"a\\\"b\":\"c\\\"d\xef\xbf\xbd\"}\n",
	    "json: an event");
	log_event(LOG_LEVEL_WARN, "close", NULL, fields, 1);
	has_str(content(fd), "\"event\":\"close\",\"client\":", "json: an event without words");
	log_info("again");
	log_info("again");
	log_info("other");
	has_str(content(fd), "\"message\":\"last line repeated 1 time\",\"repeated\":1}\n",
		"json: a repeat");
}

static void
test_long(void)
{
	static char long_text[20000];
	struct log_field fields[3] = { { "a", "1", 0 }, { "big", long_text, 0 }, { "z", "2", 0 } };
	int fd = new_file(), pipes[2];

	memset(long_text, 'x', sizeof(long_text) - 1);
	log_open("unit", fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	log_info("%s", long_text);
	ok(strlen(content(fd)) <= 4096 && strlen(got) > 3000, "long: cut at 4096 bytes (%zu)",
	   strlen(got));
	has_str(got, "xxx...\n", "long: shown as cut, with its newline");
	log_event(LOG_LEVEL_INFO, "close", "words", fields, 3);
	has_str(content(fd), "close words a=1 z=2\n", "long: a field that is too long is left out");

	if (ftruncate(fd, 0) != 0)
		bail_out("truncate: %s", strerror(errno));
	memset(long_text, '\x01', sizeof(long_text) - 1);
	log_change(fd, LOG_TO_FILE, LOG_JSON, LOG_LEVEL_INFO);
	log_info("%s", long_text);
	ok(strlen(content(fd)) <= 4096 && strlen(got) > 3000,
	   "long: JSON, escaped, is cut, too (%zu)", strlen(got));
	has_str(got, "\\u0001\\u0001...\"}\n", "long: between two characters, and stays JSON");
	log_event(LOG_LEVEL_INFO, "close", long_text, fields, 3);
	ok(strlen(content(fd)) < 8192 && got[strlen(got) - 2] == '}', "long: an event stays JSON");

	/* Lines of several writers never mix in a pipe. */
	if (pipe(pipes) != 0)
		bail_out("pipe: %s", strerror(errno));
	memset(long_text, 'y', sizeof(long_text) - 1);
	log_change(pipes[1], LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	for (int i = 0; i < 100; i++)
		log_info("%d %s", i, long_text);
	is_uint(log_lost(), 100 - count(waiting(pipes[0], false), "...\n"),
		"long: whole lines or none in a pipe");
	ok(log_lost() > 0 && log_lost() < 100, "long: %" PRIu64 " were lost", log_lost());
	close(pipes[0]);
}

static void
test_repeats(void)
{
	int fd = new_file();
	uint64_t start;
	unsigned lines, repeats = 0, total = 0, n;

	log_open("unit", fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	for (int i = 0; i < 5; i++)
		log_info("same %d", 1);
	is_uint(count(content(fd), "same 1"), 1, "repeats: equal lines are written once");
	ok(!strstr(got, "repeated"), "repeats: not told yet");
	log_info("other");
	has_str(content(fd), " info unit: last line repeated 4 times\n",
		"repeats: told before the next line");
	ok(strstr(got, "repeated") < strstr(got, "other"), "repeats: in this order");
	log_info("other");
	log_warn("other");
	has_str(content(fd), "info unit: last line repeated 1 time\n", "repeats: one");
	has_str(got, "warn unit: other\n", "repeats: another level is another line");
	log_info("a");
	log_info("b");
	log_info("a");
	is_uint(count(content(fd), "unit: a\n"), 2, "repeats: only those in a row");

	if (ftruncate(fd, 0) != 0)
		bail_out("truncate: %s", strerror(errno));
	start = clock_ms();
	for (n = 0; clock_ms() - start < 2500; n++) {
		log_info("flood");
		usleep(1000);
	}
	log_info("end");
	lines = count(content(fd), "\n");
	ok(lines >= 4 && lines <= 6,
	   "repeats: a flood of %u lines is told once a second (%u lines)", n, lines);
	for (const char *at = got; (at = strstr(at, "repeated ")); at++, repeats++)
		total += (unsigned)strtoul(at + 9, NULL, 10);
	is_uint(total, n - 1, "repeats: none is forgotten");
	ok(repeats >= 3, "repeats: told %u times", repeats);

	log_info("x");
	log_info("x");
	log_change(fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	has_str(content(fd), "last line repeated 1 time\n", "repeats: told before a change");
}

static void
test_descriptors(void)
{
	int one = new_file(), two = new_file(), three = new_file(), saved = dup(2);

	log_open("unit", one, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	log_reopen(one);
	ok(fcntl(one, F_GETFD) >= 0, "descriptors: reopened with the same one, it stays open");
	log_reopen(two);
	ok(fcntl(one, F_GETFD) < 0, "descriptors: the old one is closed");
	log_info("in two");
	has_str(content(two), "in two\n", "descriptors: the new one is used");
	log_change(three, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	log_info("in two");
	has_str(content(three), "in two\n", "descriptors: the next one has not seen the last line");
	ok(fcntl(two, F_GETFD) < 0, "descriptors: a change closes the old one, too");
	dup2(three, 2);
	log_change(2, LOG_TO_STDERR, LOG_TEXT, LOG_LEVEL_INFO);
	log_info("to stderr");
	log_change(new_file(), LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	ok(fcntl(2, F_GETFD) >= 0, "descriptors: but never stderr");
	has_str(content(2), "info unit: to stderr\n", "descriptors: which got its line");
	dup2(saved, 2);
	close(saved);
	log_change(-1, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	log_info("nowhere");
	ok(log_lost() > 0, "descriptors: none at all is survived");
}

/* Without log_open(), and the last words at exit: in processes of their own. */
static void
test_process(void)
{
	int fd = new_file();
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		log_open("unit", fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
		log_info("bye");
		log_info("bye");
		log_info("bye");
		exit(0);
	}
	waitpid(child, NULL, 0);
	has_str(content(fd), "last line repeated 2 times\n",
		"process: what was counted is told at exit");
}

static void
test_unopened(void)
{
	int fd = new_file(), saved = dup(2);

	dup2(fd, 2);
	log_warn("early");
	log_debug("not this");
	dup2(saved, 2);
	close(saved);
	ok(after_time(content(fd)), "unopened: goes to stderr");
	has_str(got, "Z warn early\n", "unopened: from nobody");
	ok(!strstr(got, "not this"), "unopened: up to info");
}

int
main(void)
{
	unsetenv("JOURNAL_STREAM");
	signal(SIGPIPE, SIG_DFL);
	test_unopened();
	test_text();
	test_json();
	test_long();
	test_repeats();
	test_process();
	test_descriptors();
	return done_testing();
}
