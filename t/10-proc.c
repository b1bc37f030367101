/* proc/: what a spawned process finds, control records, the outbox, privileges, sd_notify. The test
 * starts itself again under a title, as the daemon does. */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memfd.h"
#include "proc/control.h"
#include "proc/notify.h"
#include "proc/outbox.h"
#include "proc/privileges.h"
#include "proc/spawn.h"
#include "t/tap.h"

/* The other side: says what it sees over the control socket. */

static void
probe_fds(char *out, size_t size)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	bool open_fds[64] = { false };
	size_t len = 0;

	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd != dirfd(dir) && fd < 64)
			open_fds[fd] = true;
	}
	if (dir)
		closedir(dir);
	out[0] = '\0';
	for (int fd = 0; fd < 64; fd++)
		if (open_fds[fd])
			len += (size_t)snprintf(out + len, size - len, "%s%d", len ? " " : "", fd);
}

static int
probe_signals(void)
{
	struct sigaction action;
	sigset_t mask;
	int odd = 0;

	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int number = 1; number < 32; number++) {
		if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			odd++;
		if (sigismember(&mask, number))
			odd++;
	}
	return odd;
}

static unsigned long long
probe_inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (unsigned long long)st.st_ino : 0;
}

static int
probe_look(int argc, char **argv)
{
	struct control_record record = { .type = CONTROL_READY };
	char fds[256], text[512];
	int len;

	(void)argv;
	probe_fds(fds, sizeof(fds));
	len = snprintf(text, sizeof(text), "argc=%d fds=%s odd=%d group=%d in4=%llu in5=%llu", argc, fds,
	               probe_signals(), getpgid(0) == getpid(), probe_inode(4), probe_inode(5));
	return control_send(SPAWN_FD_CONTROL, &record, text, (size_t)len, NULL, 0);
}

static unsigned long long
probe_status(const char *field, int base)
{
	FILE *in = fopen("/proc/self/status", "r");
	char line[256];
	unsigned long long value = ~0ull;

	while (in && fgets(line, sizeof(line), in))
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtoull(line + strlen(field) + 1, NULL, base);
	if (in)
		fclose(in);
	return value;
}

static int
probe_drop(unsigned keep)
{
	struct control_record record = { .type = CONTROL_READY };
	struct sy_err err = { "" };
	char text[512];
	int failed = privileges_drop(65534, 65533, keep, &err);
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	int back = setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0;
	int len = snprintf(text, sizeof(text),
	                   "failed=%d uid=%d gid=%d groups=%d eff=%llx prm=%llx inh=%llx bnd=%llx "
	                   "amb=%llx nnp=%llu raw=%d back=%d %s",
	                   failed, (int)getuid(), (int)getegid(), getgroups(0, NULL),
	                   probe_status("CapEff:", 16), probe_status("CapPrm:", 16),
	                   probe_status("CapInh:", 16), probe_status("CapBnd:", 16),
	                   probe_status("CapAmb:", 16), probe_status("NoNewPrivs:", 10), raw >= 0, back,
	                   err.text);

	return control_send(SPAWN_FD_CONTROL, &record, text, (size_t)len, NULL, 0);
}

static int
probe_main(int argc, char **argv)
{
	if (strcmp(argv[0], "probe: look") == 0)
		return probe_look(argc, argv);
	return probe_drop((unsigned)atoi(argv[1]));
}

/* This side. */

static int
wait_for(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return status;
}

/* Starts the probe with these beside the control socket, gives its words. */
static const char *
ask_probe(const char *title, const char *const *args, int fd4, int fd5, int ours, int theirs)
{
	static struct control_message message;
	int fds[3] = { theirs, fd4, fd5 };
	struct pollfd ready = { .fd = ours, .events = POLLIN };
	struct sy_err err;
	pid_t pid = spawn_role(title, args, fds, 3, &err);

	if (pid < 0) {
		diag("%s", err.text);
		return "not started";
	}
	poll(&ready, 1, 30000);
	message.text[0] = '\0';
	control_receive(ours, &message);
	wait_for(pid);
	return message.text;
}

static void
test_spawn(void)
{
	struct sy_err err;
	const char *const args[] = { "a", "b c", NULL };
	int ours, theirs, a, b, leak;
	char want[256];
	sigset_t mask;

	a = memfd_sealed("a", "a", 1, &err);
	b = memfd_sealed("b", "b", 1, &err);
	leak = fcntl(a, F_DUPFD, 40); /* not close-on-exec on purpose */
	ok(leak >= 40, "a descriptor that must not get through");
	signal(SIGUSR1, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);

	control_pair(&ours, &theirs, &err);
	snprintf(want, sizeof(want), "argc=3 fds=0 1 2 3 4 5 odd=0 group=1 in4=%llu in5=%llu",
	         probe_inode(a), probe_inode(b));
	is_str(ask_probe("probe: look", args, a, b, ours, theirs), want,
	       "a role has 0..5, no ignored or blocked signal, and a group of its own");
	snprintf(want, sizeof(want), "argc=1 fds=0 1 2 3 5 odd=0 group=1 in4=0 in5=%llu", probe_inode(b));
	is_str(ask_probe("probe: look", NULL, -1, b, ours, theirs), want, "-1 leaves a number closed");
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	close(ours);
	close(theirs);

	/* Each of 3, 4, 5 holds what belongs to another number. */
	control_pair(&ours, &theirs, &err);
	ours = fcntl(ours, F_DUPFD_CLOEXEC, 20);
	theirs = fcntl(theirs, F_DUPFD_CLOEXEC, 20);
	a = fcntl(a, F_DUPFD_CLOEXEC, 20);
	b = fcntl(b, F_DUPFD_CLOEXEC, 20);
	dup3(b, 4, O_CLOEXEC);
	dup3(a, 3, O_CLOEXEC);
	dup3(theirs, 5, O_CLOEXEC);
	snprintf(want, sizeof(want), "argc=1 fds=0 1 2 3 4 5 odd=0 group=1 in4=%llu in5=%llu",
	         probe_inode(a), probe_inode(b));
	is_str(ask_probe("probe: look", NULL, 3, 4, ours, 5), want, "colliding numbers: a ring of three");
	snprintf(want, sizeof(want), "argc=1 fds=0 1 2 3 4 5 odd=0 group=1 in4=%llu in5=%llu",
	         probe_inode(b), probe_inode(b));
	is_str(ask_probe("probe: look", NULL, 4, 4, ours, 5), want, "one in its place, and used twice");
	is_uint(probe_inode(4), probe_inode(b), "our own descriptors are as they were");
	for (int fd = 3; fd <= 5; fd++)
		close(fd);
	close(ours);
	close(theirs);
	close(a);
	close(b);
	close(leak);
	signal(SIGUSR1, SIG_DFL);
}

static void
test_program(void)
{
	const char *const relative[] = { "true", NULL };
	const char *const nowhere[] = { "/nonexistent/program", NULL };
	const char *const shell[] = {
		"/bin/sh", "-c", "echo \"$WHO $HOME\"; echo err >&2; ls /proc/self/fd | wc -l; cat", NULL,
	};
	const char *const env[] = { "WHO=me", "PATH=/usr/bin:/bin", NULL };
	struct sy_err err = { "" };
	char out[128];
	ssize_t n, len = 0;
	int pipes[2];
	pid_t pid;

	is_int(spawn_program(relative, env, -1, &err), -1, "a relative path is refused");
	has_str(err.text, "absolute", "and the message says so");
	is_int(spawn_program(nowhere, env, -1, &err), -1, "a program that is not there");
	has_str(err.text, "/nonexistent/program", "is named");
	has_str(err.text, "No such file", "with the reason");
	if (pipe2(pipes, O_CLOEXEC) != 0)
		bail_out("no pipe");
	pid = spawn_program(shell, env, pipes[1], &err);
	ok(pid > 0, "a program starts");
	close(pipes[1]);
	while ((n = read(pipes[0], out + len, sizeof(out) - 1 - (size_t)len)) > 0)
		len += n;
	out[len] = '\0';
	close(pipes[0]);
	/* ls has one more for the folder it reads. */
	is_str(out, "me \nerr\n4\n", "its environment, both outputs, three descriptors, empty input");
	is_int(wait_for(pid), 0, "it ends well");
}

static void
test_standard_fds(void)
{
	int saved[3];

	for (int fd = 0; fd < 3; fd++)
		saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 30);
	fflush(stdout);
	close(0);
	close(2);
	spawn_guard_standard_fds();
	ok(fcntl(0, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0, "closed ones of 0, 1, 2 are open again");
	fflush(stdout);
	for (int fd = 0; fd < 3; fd++) {
		dup2(saved[fd], fd);
		close(saved[fd]);
	}
}

static unsigned
count_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
test_control(void)
{
	static struct control_message message;
	static char big[CONTROL_TEXT];
	struct control_record record = { .type = CONTROL_DONE, .flags = CONTROL_OK, .row = 7,
	                                 .generation = 1, .id = UINT64_MAX, .value = 42 };
	unsigned before = count_fds();
	struct sy_err err;
	int ours, theirs, fds[CONTROL_FDS];

	is_int(control_pair(&ours, &theirs, &err), 0, "a pair");
	ok(fcntl(ours, F_GETFD) & FD_CLOEXEC && fcntl(theirs, F_GETFD) & FD_CLOEXEC, "close-on-exec");
	is_int(control_receive(ours, &message), -1, "nothing there");
	is_int(errno, EAGAIN, "is EAGAIN");
	memset(big, 'x', sizeof(big));
	for (unsigned i = 0; i < CONTROL_FDS; i++)
		fds[i] = ours;
	is_int(control_send(theirs, &record, big, sizeof(big), fds, CONTROL_FDS), 0, "the biggest record");
	is_int(control_receive(ours, &message), 1, "arrives");
	ok(memcmp(&message.record, &record, sizeof(record)) == 0, "fields as sent");
	is_uint(message.len, CONTROL_TEXT, "text length");
	ok(message.text[CONTROL_TEXT] == '\0' && memcmp(message.text, big, sizeof(big)) == 0, "text");
	is_uint(message.n_fds, CONTROL_FDS, "all descriptors");
	ok(fcntl(message.fds[3], F_GETFD) & FD_CLOEXEC, "close-on-exec when received");
	close(message.fds[5]);
	message.fds[5] = -1;
	control_close_fds(&message);
	is_uint(count_fds(), before + 2, "none is left behind");

	is_int(send(theirs, "short", 5, 0), 5, "a record that is too short");
	is_int(control_receive(ours, &message), -1, "is malformed");
	is_int(errno, EBADMSG, "EBADMSG");
	{
		struct iovec part = { .iov_base = &record, .iov_len = sizeof(record) };
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(sizeof(int) * 100)];
		} space = { 0 };
		struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &space,
		                         .msg_controllen = sizeof(space.bytes) };
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * 100);
		for (unsigned i = 0; i < 100; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &ours, sizeof(int));
		ok(sendmsg(theirs, &header, 0) > 0, "more descriptors than there may be");
	}
	is_int(control_receive(ours, &message), -1, "are malformed");
	is_int(errno, EBADMSG, "EBADMSG, too");
	is_uint(count_fds(), before + 2, "and none of them is left behind");

	is_int(control_send(ours, &record, NULL, 0, NULL, 0), 0, "something that the peer will not read");
	is_int(control_send(theirs, &record, "last", 4, NULL, 0), 0, "its last words");
	close(theirs);
	is_int(control_receive(ours, &message), 1, "are read although it died with something unread");
	is_str(message.text, "last", "in full");
	is_int(control_receive(ours, &message), 0, "then comes the end of file");
	is_int(control_send(ours, &record, NULL, 0, NULL, 0), -1, "sending to the dead");
	is_int(errno, EPIPE, "is EPIPE");
	close(ours);
}

static void
test_outbox(void)
{
	static struct control_message message;
	struct control_record record = { .type = CONTROL_LISTEN };
	struct outbox outbox;
	unsigned before = count_fds(), in_order = 0, n = 0;
	struct ev_loop *loop = ev_loop_new(0);
	struct sy_err err;
	int ours, theirs, fd = memfd_sealed("m", "m", 1, &err);
	bool same = true;

	control_pair(&ours, &theirs, &err);
	outbox_open(&outbox, loop, ours);
	for (; n < 20000 && (outbox.n_waiting < 100); n++) {
		char text[1000];

		memset(text, 'a' + (int)(n % 26), sizeof(text));
		record.value = n;
		outbox_send(&outbox, &record, text, sizeof(text), &fd, n % 64 == 0);
	}
	ok(outbox.n_waiting == 100, "a peer that does not read: 100 of %u records wait", n);
	for (unsigned turn = 0; turn < 100000 && in_order < n; turn++) {
		while (control_receive(theirs, &message) == 1) {
			same = same && message.record.value == in_order && message.len == 1000 &&
			       message.text[999] == 'a' + (int)(in_order % 26) &&
			       message.n_fds == (in_order % 64 == 0);
			control_close_fds(&message);
			in_order++;
		}
		ev_run(loop, EVRUN_NOWAIT);
	}
	is_uint(in_order, n, "when it reads, all arrive");
	ok(same, "in order, whole, with their descriptors");
	is_uint(outbox.n_waiting, 0, "nothing waits any more");
	for (unsigned i = 0; outbox.n_waiting < 10 && i < 20000; i++)
		outbox_send(&outbox, &record, message.text, 1000, &fd, i % 64 == 0);
	is_uint(outbox.n_waiting, 10, "it is full again");
	close(theirs);
	for (unsigned i = 0; i < 10; i++)
		ev_run(loop, EVRUN_NOWAIT);
	is_uint(outbox.n_waiting, 0, "a dead peer's records are dropped");
	outbox_close(&outbox);
	outbox_close(&outbox);
	outbox_send(&outbox, &record, NULL, 0, NULL, 0);
	close(ours);
	close(fd);
	ev_loop_destroy(loop);
	is_uint(count_fds(), before, "no descriptor is left");
}

static void
test_privileges(void)
{
	const char *const none[] = { "0", NULL }, *const raw[] = { "1", NULL }, *const both[] = { "3", NULL };
	struct sy_err err;
	int ours, theirs;

	if (geteuid() != 0) {
		skip("dropping privileges needs root");
		return;
	}
	control_pair(&ours, &theirs, &err);
	is_str(ask_probe("probe: drop", none, -1, -1, ours, theirs),
	       "failed=0 uid=65534 gid=65533 groups=0 eff=0 prm=0 inh=0 bnd=0 amb=0 nnp=1 raw=0 back=0 ",
	       "nothing is kept, and there is no way back");
	is_str(ask_probe("probe: drop", raw, -1, -1, ours, theirs),
	       "failed=0 uid=65534 gid=65533 groups=0 eff=2000 prm=2000 inh=0 bnd=2000 amb=0 nnp=1 "
	       "raw=1 back=0 ", "only CAP_NET_RAW");
	is_str(ask_probe("probe: drop", both, -1, -1, ours, theirs),
	       "failed=0 uid=65534 gid=65533 groups=0 eff=2400 prm=2400 inh=0 bnd=2400 amb=0 nnp=1 "
	       "raw=1 back=0 ", "CAP_NET_RAW and CAP_NET_BIND_SERVICE");
	close(ours);
	close(theirs);
}

static void
test_notify(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len;
	char words[64], text[64];
	ssize_t n;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	notify("READY=1"); /* nobody there: nothing happens */
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
	                  (size_t)snprintf(name.sun_path, sizeof(name.sun_path), "%csteelyard-t-%d", 0,
	                                   (int)getpid()));
	if (bind(fd, (const struct sockaddr *)&name, len) != 0)
		bail_out("no abstract socket");
	snprintf(text, sizeof(text), "@steelyard-t-%d", (int)getpid());
	setenv("NOTIFY_SOCKET", "relative/path", 1);
	notify_open();
	ok(!getenv("NOTIFY_SOCKET"), "an unusable path is taken out of the environment");
	setenv("NOTIFY_SOCKET", text, 1);
	setenv("WATCHDOG_USEC", "1000000", 1);
	notify_open();
	ok(!getenv("NOTIFY_SOCKET") && !getenv("WATCHDOG_USEC"), "children inherit nothing of it");
	ok(notify_watchdog(), "the watchdog is wanted");
	notify("STATUS=%d services", 3);
	n = recv(fd, words, sizeof(words) - 1, 0);
	words[n > 0 ? n : 0] = '\0';
	is_str(words, "STATUS=3 services", "a datagram to an abstract socket");
	close(fd);
	notify("STATUS=gone"); /* must not kill us */
	ok(true, "nobody there any more: nothing happens");
}

int
main(int argc, char **argv)
{
	if (argc > 0 && strncmp(argv[0], "probe: ", 7) == 0)
		return probe_main(argc, argv);
	test_spawn();
	test_program();
	test_standard_fds();
	test_control();
	test_outbox();
	test_privileges();
	test_notify();
	return done_testing();
}
