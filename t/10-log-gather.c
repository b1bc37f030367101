/* Gathered lines: written together, in order with all others, and those that could not be written are
 * counted as each of them. */
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "t/tap.h"

static char path[] = "/tmp/steelyard-gather-XXXXXX";
static char got[1 << 20];

static const char *
content(void)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, got, sizeof(got) - 1);

	got[n > 0 ? n : 0] = '\0';
	close(fd);
	return got;
}

static unsigned
lines(void)
{
	unsigned n = 0;

	for (const char *at = content(); *at; at++)
		n += *at == '\n';
	return n;
}

static void
event(unsigned n)
{
	log_event(LOG_LEVEL_INFO, "event", "happened",
	          (const struct log_field[]){ { .name = "n", .number = n } }, 1);
}

static void
try_file(void)
{
	int fd = mkstemp(path);
	const char *first, *second;

	fcntl(fd, F_SETFL, O_APPEND);
	log_open("test", fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	event(1);
	is_uint(lines(), 1, "a line is written at once");
	log_gather();
	event(2);
	event(3);
	is_uint(lines(), 1, "unless it is gathered");
	log_info("another kind of line");
	is_uint(lines(), 4, "a line of another kind takes along what was gathered");
	first = strstr(content(), "n=3");
	second = strstr(got, "another kind");
	ok(first && second && first < second, "and comes behind it");
	event(5);
	log_flush();
	is_uint(lines(), 5, "log_flush() writes");
	log_flush();
	is_uint(lines(), 5, "once");
	for (unsigned i = 0; i < 2000; i++)
		event(100 + i);
	ok(lines() > 1000, "a great many do not wait: %u of 2000", lines() - 5);
	log_flush();
	is_uint(lines(), 2005, "and none is lost");
	for (unsigned i = 0; i < 3; i++)
		event(7);
	event(8);
	log_flush();
	has_str(content(), "last line repeated 2 times", "repeats are counted");
	close(fd);
	unlink(path);
}

static void
try_full(void)
{
	int fd = open("/dev/full", O_WRONLY);
	uint64_t before = log_lost();

	if (fd < 0) {
		skip("no /dev/full here");
		return;
	}
	log_reopen(fd);
	for (unsigned i = 0; i < 10; i++)
		event(i);
	log_flush();
	is_uint(log_lost() - before, 10, "on a full disk each line is counted as lost");
}

int
main(void)
{
	try_file();
	try_full();
	return done_testing();
}
