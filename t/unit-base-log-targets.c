/* The log: no target, full, slow, closed or gone, ever stops the caller, and each gets its form. */
#include "unit-base-log.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"

static void
test_full_disk(void)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), fd = new_file();
	uint64_t before = log_lost();

	log_open("unit", full, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	for (int i = 0; i < 7; i++)
		log_info("line %d", i);
	for (int i = 0; i < 3; i++)
		log_info("equal");
	is_uint(log_lost() - before, 10, "full disk: each line is counted, equal ones, too");
	log_reopen(fd);
	ok(fcntl(full, F_GETFD) < 0, "full disk: reopen closes the old descriptor");
	log_info("equal");
	has_str(content(fd), "warn unit: 10 log lines were lost (No space left on device)\n",
	        "full disk: the count is told when writing works again, and why");
	has_str(got, "info unit: equal\n", "full disk: then the line");
	log_info("more");
	is_uint(count(content(fd), "lost"), 1, "full disk: told once");
	is_uint(log_lost() - before, 10, "full disk: and still known");
}

/* A disk that fills in the middle of a line. */
static void
test_torn(void)
{
	char name[] = "/tmp/unit-base-log-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC | O_APPEND);
	struct rlimit limit, small;
	uint64_t before = log_lost();

	unlink(name);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	log_open("unit", fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	log_info("first");
	small = limit;
	small.rlim_cur = (rlim_t)lseek(fd, 0, SEEK_END) + 30;
	setrlimit(RLIMIT_FSIZE, &small);
	log_info("second, of which a part is written");
	log_info("third");
	setrlimit(RLIMIT_FSIZE, &limit);
	log_info("fourth");
	is_uint(log_lost() - before, 2, "torn: half a line is a lost line");
	is_uint(count(content(fd), "\n"), 4, "torn: the half line ends where the next begins");
	has_str(got, "warn unit: 2 log lines were lost (", "torn: told");
	has_str(got, "info unit: fourth\n", "torn: and it goes on");
	for (const char *line = got; *line && (line = strchr(line, '\n')) && line[1]; line++)
		ok(after_time(line + 1), "torn: the next line begins with its time");
	signal(SIGXFSZ, SIG_DFL);
}

static void
test_pipe(void)
{
	struct sigaction action;
	sigset_t pending;
	int pipes[2], fd = new_file();
	uint64_t before = log_lost(), start;

	if (pipe(pipes) != 0)
		bail_out("pipe: %s", strerror(errno));
	log_open("unit", pipes[1], LOG_TO_STDERR, LOG_TEXT, LOG_LEVEL_INFO);
	ok(!(fcntl(pipes[1], F_GETFL) & O_NONBLOCK),
	   "pipe: the mode of what others share is not changed");
	start = clock_ms();
	for (int i = 0; i < 5000; i++)
		log_info("line %d for a reader that does not read", i);
	ok(clock_ms() - start < 5000, "pipe: a full one does not block");
	ok(log_lost() > before, "pipe: lines are counted");
	ok(after_time(waiting(pipes[0], false)), "pipe: stderr that is a pipe gets timestamps");
	is_uint(count(got, "\n"), 5000 - (log_lost() - before), "pipe: what was not lost arrived");
	log_info("reader is back");
	has_str(waiting(pipes[0], false),
		" log lines were lost (Resource temporarily unavailable)\n",
		"pipe: the loss is told");
	has_str(got, "info unit: reader is back\n", "pipe: and it goes on");

	before = log_lost();
	close(pipes[0]);
	log_info("nobody");
	log_info("nobody, again");
	is_uint(log_lost() - before, 2, "pipe: without a reader lines are counted");
	sigpending(&pending);
	ok(!sigismember(&pending, SIGPIPE), "pipe: no SIGPIPE is left");
	sigaction(SIGPIPE, NULL, &action);
	ok(action.sa_handler == SIG_DFL, "pipe: its disposition is as it was");
	log_reopen(fd);
	log_info("file");
	has_str(content(fd), "2 log lines were lost (Broken pipe)\n",
		"pipe: told in the next file");
}

/* Where it cannot be opened again (another user's pipe), it is asked first. */
static void
test_pipe_of_others(void)
{
	int pipes[2], status = 1;
	uint64_t before;
	pid_t child;

	if (geteuid() != 0) {
		skip("only root can become another user");
		return;
	}
	if (pipe(pipes) != 0)
		bail_out("pipe: %s", strerror(errno));
	fchmod(pipes[1], 0600) ? bail_out("chmod") : (void)0;
	fflush(stdout);
	before = log_lost();
	child = fork();
	if (child == 0) {
		alarm(20);
		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(3);
		log_open("unit", pipes[1], LOG_TO_STDERR, LOG_TEXT, LOG_LEVEL_INFO);
		for (int i = 0; i < 3000; i++)
			log_info("line %d for a reader that does not read", i);
		before = log_lost() - before;
		_exit(before > 0 && before < 3000 && !(fcntl(pipes[1], F_GETFL) & O_NONBLOCK) ? 0
											      : 2);
	}
	close(pipes[1]);
	waitpid(child, &status, 0);
	is_int(status, 0, "pipe: one that cannot be opened again does not block either");
	ok(count(waiting(pipes[0], false), "\n") > 100, "pipe: and gets lines");
	close(pipes[0]);
}

static void
test_terminal(void)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), end;

	if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) {
		skip("no terminal can be made: %s", strerror(errno));
		return;
	}
	end = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	log_open("unit", end, LOG_TO_STDERR, LOG_TEXT, LOG_LEVEL_INFO);
	log_info("hello");
	is_str(waiting(terminal, false), "unit: hello\r\n", "terminal: no timestamp");
	for (int i = 0; i < 5000; i++)
		log_info("line %d for a terminal that stands still", i);
	ok(!(fcntl(end, F_GETFL) & O_NONBLOCK), "terminal: its mode is not changed");
	ok(log_lost() > 0, "terminal: one that stands still does not block");
	log_change(new_file(), LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	close(terminal);
}

static void
test_journal(void)
{
	int pair[2], other[2];
	struct stat st;
	char stream[64];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other) != 0)
		bail_out("socketpair: %s", strerror(errno));
	fstat(pair[1], &st);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open("unit", pair[1], LOG_TO_STDERR, LOG_TEXT, LOG_LEVEL_DEBUG);
	log_err("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	is_str(waiting(pair[0], false), "<3>unit: a\n<4>unit: b\n<6>unit: c\n<7>unit: d\n",
	       "journal: levels as systemd wants them, no time");
	log_change(pair[1], LOG_TO_STDERR, LOG_JSON, LOG_LEVEL_DEBUG);
	log_warn("e");
	ok(strncmp(waiting(pair[0], false), "<4>{\"time\":\"", 12) == 0,
	   "journal: JSON has its level, too");
	log_change(other[1], LOG_TO_STDERR, LOG_TEXT, LOG_LEVEL_DEBUG);
	log_warn("f");
	ok(after_time(waiting(other[0], false)),
	   "journal: another stream than it names is not the journal");
	unsetenv("JOURNAL_STREAM");
	close(other[0]);
	log_warn("g");
	ok(log_lost() > 0, "journal: a stream without reader kills nobody");
	log_change(new_file(), LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	close(pair[0]);
}

/* <30>Nov 23 11:40:50 steelyard[123]: */
static const char *
after_syslog_head(const char *line, int priority, const char *host)
{
	static char head[160];
	char month[4], *end;
	int got_priority, day, hour, minute, second, used = 0;

	if (sscanf(line, "<%d>%3[A-Za-z] %2d %2d:%2d:%2d %n", &got_priority, month, &day, &hour,
		   &minute, &second, &used) != 6 ||
	    got_priority != priority || used == 0)
		return NULL;
	if (!strstr("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", month) ||
	    strchr(line, '>')[6] == ' ' || strcspn(line, ">") + 17 != (size_t)used)
		return NULL;
	snprintf(head, sizeof(head), "%s%ssteelyard[%ld]: ", host, *host ? " " : "",
		 (long)getpid());
	end = strstr(line + used, head);
	return end == line + used ? end + strlen(head) : NULL;
}

static int
syslog_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		bail_out("bind %s: %s", path, strerror(errno));
	return fd;
}

static int
syslog_client(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		bail_out("connect %s: %s", path, strerror(errno));
	return fd;
}

static void
test_syslog(void)
{
	char dir[] = "/tmp/unit-base-log-XXXXXX", path[64];
	int server, client, fd = new_file();
	uint64_t before, start;

	if (!mkdtemp(dir))
		bail_out("mkdtemp: %s", strerror(errno));
	snprintf(path, sizeof(path), "%s/log", dir);
	server = syslog_at(path);
	client = syslog_client(path);
	log_open("worker 0", client, LOG_TO_SYSLOG, LOG_TEXT, LOG_LEVEL_DEBUG);
	log_info("hello");
	is_str(after_syslog_head(waiting(server, true), 30, ""), "worker 0: hello|",
	       "syslog: RFC 3164, daemon.info, no newline");
	log_err("bad");
	is_str(after_syslog_head(waiting(server, true), 27, ""), "worker 0: bad|",
	       "syslog: daemon.err");
	log_warn("w");
	is_str(after_syslog_head(waiting(server, true), 28, ""), "worker 0: w|",
	       "syslog: daemon.warning");
	log_debug("d");
	is_str(after_syslog_head(waiting(server, true), 31, ""), "worker 0: d|",
	       "syslog: daemon.debug");

	before = log_lost();
	start = clock_ms();
	for (int i = 0; i < 3000; i++)
		log_info("line %d", i);
	ok(clock_ms() - start < 5000 && log_lost() > before,
	   "syslog: one that does not read blocks nobody");
	is_uint(count(waiting(server, true), "|"), 3000 - (log_lost() - before),
		"syslog: whole lines arrive");
	log_info("again");
	has_str(waiting(server, true), " log lines were lost (", "syslog: the loss is told");

	/* The daemon is restarted. */
	close(server);
	before = log_lost();
	log_info("to nobody");
	is_uint(log_lost() - before, 1, "syslog: one that is gone kills nobody");
	server = syslog_at(path);
	log_info("to the next");
	has_str(waiting(server, true), "1 log line was lost (",
		"syslog: a new one on the same path is found");
	has_str(got, "worker 0: to the next|", "syslog: and gets the lines");
	log_change(fd, LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	close(server);
	unlink(path);
	rmdir(dir);
}

static void
test_remote_syslog(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pollfd ready = { .fd = server, .events = POLLIN };
	char host[256] = "";

	if (bind(server, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    getsockname(server, (struct sockaddr *)&addr, &len) != 0 ||
	    connect(client, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		bail_out("loopback: %s", strerror(errno));
	gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = '\0';
	log_open("master", client, LOG_TO_SYSLOG, LOG_TEXT, LOG_LEVEL_INFO);
	log_info("hello");
	poll(&ready, 1, 10000);
	is_str(after_syslog_head(waiting(server, true), 30, host), "master: hello|",
	       "syslog: over the network with the host's name");
	log_change(new_file(), LOG_TO_FILE, LOG_TEXT, LOG_LEVEL_INFO);
	close(server);
}

int
main(void)
{
	unsetenv("JOURNAL_STREAM");
	signal(SIGPIPE, SIG_DFL);
	test_full_disk();
	test_torn();
	test_pipe();
	test_pipe_of_others();
	test_terminal();
	test_journal();
	test_syslog();
	test_remote_syslog();
	return done_testing();
}
