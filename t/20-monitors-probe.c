/* The probe engine against real peers on loopback: every way in which a server can be there, not be
 * there, or misbehave; that at most so many probes are open; that a probe can be abandoned at any
 * moment; how connections end; programs; ICMP. The monitors here are made for the test, so that they
 * can do what they must not. */
#define _GNU_SOURCE 1
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "role/probe.h"

static struct ev_loop *loop;
static struct timeq_set *timeouts;
static struct probes *probes;

/* What the peers tell: shared with their processes. */
static struct seen {
	_Atomic int connects, open, most, ends, resets;
	_Atomic long bytes;
} *seen;

/* ---- peers: a process each ---- */

struct peer {
	pid_t pid;
	uint16_t port;
};

static int
listen_on(int type, int backlog, uint16_t *port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(name);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&name, len) < 0 ||
	    (type == SOCK_STREAM && listen(fd, backlog) < 0) ||
	    getsockname(fd, (struct sockaddr *)&name, &len) < 0)
		bail_out("listen: %s", strerror(errno));
	*port = ntohs(name.sin_port);
	return fd;
}

/* Reads until the other side has ended; notes how. */
static void
watch_end(int fd)
{
	char bytes[4096];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		seen->bytes += n;
	if (n == 0)
		seen->ends++;
	else
		seen->resets++;
}

static void
write_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n <= 0)
			return;
		bytes += n;
		len -= (size_t)n;
	}
}

static void
serve_banner(int fd)
{
	write_all(fd, "hello\n", 6);
	watch_end(fd);
}

static void
serve_mute(int fd)
{
	int open_now = ++seen->open;

	if (open_now > seen->most)
		seen->most = open_now;
	watch_end(fd);
	seen->open--;
}

static void
serve_close(int fd)
{
	(void)fd;
}

static void
serve_reset(int fd)
{
	struct linger linger = { 1, 0 };
	char byte;

	if (read(fd, &byte, 1) < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void
serve_flood(int fd)
{
	char bytes[8192];

	memset(bytes, 'x', sizeof(bytes));
	for (int i = 0; i < 64; i++)
		write_all(fd, bytes, sizeof(bytes));
	watch_end(fd);
}

/* Answers, then goes on talking: unread bytes must not make a reset of our end. */
static void
serve_chatter(int fd)
{
	write_all(fd, "hello\n", 6);
	for (int i = 0; i < 20; i++) {
		usleep(2000);
		if (send(fd, "more\n", 5, MSG_NOSIGNAL) < 0)
			break;
	}
	shutdown(fd, SHUT_WR);
	watch_end(fd);
}

/* Takes its time: one byte each 20 ms. */
static void
serve_slow(int fd)
{
	for (const char *at = "hello\n"; *at; at++) {
		usleep(20000);
		write_all(fd, at, 1);
	}
	watch_end(fd);
}

static struct peer
peer_start(void (*serve)(int fd))
{
	struct peer peer;
	int fd = listen_on(SOCK_STREAM, 1024, &peer.port);

	fflush(stdout);
	peer.pid = fork();
	if (peer.pid == 0) {
		signal(SIGCHLD, SIG_IGN);
		for (;;) {
			int conn = accept(fd, NULL, NULL);

			seen->connects++;
			if (fork() == 0) {
				serve(conn);
				_exit(0);
			}
			close(conn);
		}
	}
	close(fd);
	return peer;
}

static void
peer_stop(struct peer peer)
{
	kill(peer.pid, SIGKILL);
	waitpid(peer.pid, NULL, 0);
}

/* ---- monitors ---- */

struct conf {
	enum sy_probe_what first;
	const char *send, *expect, *const *argv;
	bool deaf;
	uint32_t repeat_ms, local_port;
};

struct state {
	char said[64];
	unsigned calls;
};

static struct sy_probe_step
test_start(const void *conf_, void *state, const struct sy_probe *probe)
{
	const struct conf *conf = conf_;
	struct sy_probe_step step = { .what = conf->first, .bytes = sy_span_text(conf->send),
	                              .argv = conf->argv };

	(void)state;
	snprintf(step.reason, sizeof(step.reason), "started%s", probe->local.port ? " with our own end" : "");
	return step;
}

static struct sy_probe_step
test_data(const void *conf_, void *state_, const struct sy_probe *probe, struct sy_span in, bool closed)
{
	const struct conf *conf = conf_;
	struct state *state = state_;

	(void)probe, (void)closed;
	state->calls++;
	snprintf(state->said, sizeof(state->said), "%.*s", (int)in.len, in.at ? (const char *)in.at : "");
	if (in.len && memmem(in.at, in.len, conf->expect, strlen(conf->expect)))
		return sy_judge(SY_PROBE_UP, "%s", conf->expect);
	return (struct sy_probe_step){ .what = conf->first == SY_PROBE_SEND && closed ? SY_PROBE_SEND
	                                                                              : SY_PROBE_WAIT };
}

static struct sy_probe_step
test_exited(const void *conf, void *state_, const struct sy_probe *probe, int status, int signal)
{
	const struct state *state = state_;

	(void)conf, (void)probe;
	return sy_judge(status == 0 ? SY_PROBE_UP : SY_PROBE_DOWN, "%d %d %s", status, signal, state->said);
}

static const struct sy_monitor talker = {
	.size = sizeof(talker), .state_size = sizeof(struct state), .start = test_start,
	.data = test_data, .exited = test_exited,
};
static const struct sy_monitor deaf = { .size = sizeof(deaf), .start = test_start };

/* ---- probes ---- */

struct outcome {
	struct probe_question question;
	struct sy_probe_plan plan;
	struct probe_answer answer;
	int answered, gone;
	double took;
	double started;
};

static unsigned gone_in_all;

static void
on_answer(void *owner, const struct probe_answer *answer)
{
	struct outcome *outcome = owner;

	outcome->answer = *answer;
	outcome->answered++;
	outcome->took = (double)clock_us() / 1e6 - outcome->started;
}

static void
on_gone(void *owner)
{
	((struct outcome *)owner)->gone++;
	gone_in_all++;
}

static const struct probe_ops ops = { .answered = on_answer, .gone = on_gone };

static struct sy_addr
at(uint16_t port)
{
	return (struct sy_addr){ .ip = { 127, 0, 0, 1 }, .port = port, .family = SY_IPV4 };
}

static struct probe *
ask(struct outcome *outcome, enum sy_transport transport, struct sy_addr to, const struct conf *conf,
    uint64_t timeout_ms)
{
	*outcome = (struct outcome){
		.plan = { .transport = transport, .repeat_ms = conf->repeat_ms,
		          .local_port = conf->local_port },
		.question = { .ops = conf->deaf ? &deaf : &talker, .conf = conf, .to = to,
		              .service = "web", .server = "s1", .timeout_ms = timeout_ms },
		.started = (double)clock_us() / 1e6,
	};
	outcome->question.plan = &outcome->plan;
	return probe_ask(probes, &outcome->question, outcome);
}

/* Until so many are gone, or ten seconds are over. */
static bool
run_until(unsigned gone)
{
	uint64_t end = clock_ms() + 10000;

	while (gone_in_all < gone && clock_ms() < end) {
		ev_run(loop, EVRUN_NOWAIT);
		poll(NULL, 0, 1);
	}
	return gone_in_all == gone;
}

static void
begin(unsigned most)
{
	memset(seen, 0, sizeof(*seen));
	gone_in_all = 0;
	loop = ev_loop_new(EVFLAG_AUTO);
	timeouts = timeq_set_new(loop);
	probes = probes_new(loop, timeouts, &ops, most);
}

static void
end(void)
{
	if (probes)
		probes_free(probes);
	timeq_set_free(timeouts);
	ev_loop_destroy(loop);
}

/* One probe from beginning to end. */
static struct outcome *
once(enum sy_transport transport, struct sy_addr to, const struct conf *conf, uint64_t timeout_ms)
{
	static struct outcome outcome;
	struct probes_count count;

	begin(8);
	ask(&outcome, transport, to, conf, timeout_ms);
	if (!run_until(1) || outcome.answered != 1 || outcome.gone != 1)
		ok(false, "answered once and gone once, not %d and %d", outcome.answered, outcome.gone);
	count = probes_count(probes);
	if (count.open || count.waiting || count.closing)
		ok(false, "nothing is left: %u %u %u", count.open, count.waiting, count.closing);
	end();
	return &outcome;
}

static void
judged(const struct outcome *got, enum sy_probe_what verdict, const char *words, const char *name)
{
	ok(got->answer.asked && got->answer.what == verdict, "%s", name);
	has_str(got->answer.reason, words, "  in words");
}

/* ---- tests ---- */

static const struct conf connects = { .first = SY_PROBE_UP, .deaf = true };
static const struct conf hears = { .first = SY_PROBE_WAIT, .expect = "hello" };
static const struct conf never = { .first = SY_PROBE_WAIT, .expect = "never" };
static const struct conf speaks = { .first = SY_PROBE_SEND, .send = "x", .expect = "never" };

static uint16_t
closed_port(int type)
{
	uint16_t port;

	close(listen_on(type, 1, &port));
	return port;
}

static void
test_tcp(void)
{
	struct peer banner = peer_start(serve_banner), mute = peer_start(serve_mute);
	struct peer shut = peer_start(serve_close), reset = peer_start(serve_reset);
	struct peer flood = peer_start(serve_flood), slow = peer_start(serve_slow);
	struct outcome *outcome;
	uint16_t full;
	int fd, fill[4];

	judged(once(SY_OVER_TCP, at(banner.port), &connects, 2000), SY_PROBE_UP, "started", "tcp: a connection");
	judged(once(SY_OVER_TCP, at(banner.port), &hears, 2000), SY_PROBE_UP, "hello", "tcp: what is expected");
	judged(once(SY_OVER_TCP, at(slow.port), &hears, 2000), SY_PROBE_UP, "hello", "tcp: byte by byte");
	outcome = once(SY_OVER_TCP, at(closed_port(SOCK_STREAM)), &connects, 2000);
	judged(outcome, SY_PROBE_DOWN, "connection refused", "tcp: nobody listens");
	ok(outcome->took < 1, "  and that is known at once");
	outcome = once(SY_OVER_TCP, at(mute.port), &hears, 300);
	judged(outcome, SY_PROBE_DOWN, "no answer within 300ms", "tcp: a mute server");
	ok(outcome->took > 0.29 && outcome->took < 5, "  after the time that was given (%.3f s)", outcome->took);
	judged(once(SY_OVER_TCP, at(banner.port), &never, 300), SY_PROBE_DOWN,
	       "answer not complete within 300ms (6 bytes)", "tcp: something else");
	judged(once(SY_OVER_TCP, at(shut.port), &hears, 2000), SY_PROBE_DOWN, "without a word",
	       "tcp: closes at once");
	judged(once(SY_OVER_TCP, at(reset.port), &speaks, 2000), SY_PROBE_DOWN, "reset by the server",
	       "tcp: resets");
	judged(once(SY_OVER_TCP, at(flood.port), &never, 5000), SY_PROBE_DOWN,
	       "no end of the answer after 128 KiB", "tcp: an answer without end");
	/* A full backlog drops the handshake: nobody answers the connect. */
	fd = listen_on(SOCK_STREAM, 0, &full);
	for (int i = 0; i < 4; i++) {
		struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(full),
		                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(fill[i], (struct sockaddr *)&name, sizeof(name)) < 0 && errno != EINPROGRESS)
			bail_out("connect: %s", strerror(errno));
	}
	judged(once(SY_OVER_TCP, at(full), &connects, 300), SY_PROBE_DOWN,
	       "no answer to the connect within 300ms", "tcp: a full backlog");
	for (int i = 0; i < 4; i++)
		close(fill[i]);
	close(fd);
	peer_stop(banner), peer_stop(mute), peer_stop(shut), peer_stop(reset), peer_stop(flood);
	peer_stop(slow);
}

/* What servers see of the end of a probe: never a reset when we are content. */
static void
test_ends(void)
{
	struct peer banner, chatter, mute = peer_start(serve_mute);

	once(SY_OVER_TCP, at(mute.port), &connects, 2000);
	usleep(100000);
	ok(seen->ends == 1 && !seen->resets, "a bare connection ends with FIN");
	peer_stop(mute);
	banner = peer_start(serve_banner);
	once(SY_OVER_TCP, at(banner.port), &hears, 2000);
	usleep(100000);
	ok(seen->ends == 1 && !seen->resets, "so does one with an answer");
	peer_stop(banner);
	chatter = peer_start(serve_chatter);
	once(SY_OVER_TCP, at(chatter.port), &hears, 2000);
	usleep(200000);
	ok(seen->ends == 1 && !seen->resets, "so does one on which the server goes on talking");
	peer_stop(chatter);
}

static void
test_misbehaviour(void)
{
	static const struct conf waits = { .first = SY_PROBE_WAIT, .deaf = true };
	static const struct conf runs = { .first = SY_PROBE_RUN };
	static const struct conf odd = { .first = (enum sy_probe_what)77 };
	struct peer banner = peer_start(serve_banner), shut = peer_start(serve_close);

	judged(once(SY_OVER_TCP, at(banner.port), &waits, 1000), SY_PROBE_DOWN, "takes none",
	       "a monitor that waits and is deaf");
	judged(once(SY_OVER_TCP, at(banner.port), &runs, 1000), SY_PROBE_DOWN, "run a program",
	       "a monitor that wants to run something over TCP");
	judged(once(SY_OVER_TCP, at(banner.port), &odd, 1000), SY_PROBE_DOWN, "does not exist (77)",
	       "a monitor with a step of its own");
	judged(once(SY_OVER_TCP, at(shut.port), &speaks, 1000), SY_PROBE_DOWN, "the server",
	       "a monitor that sends to a server that has closed");
	peer_stop(banner), peer_stop(shut);
}

static void
test_udp(void)
{
	struct conf asks = { .first = SY_PROBE_SEND, .send = "ping", .expect = "pong" };
	struct outcome *outcome;
	uint16_t port;
	pid_t pid;
	int fd = listen_on(SOCK_DGRAM, 0, &port);

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		for (;;) {
			struct sockaddr_in from;
			socklen_t len = sizeof(from);
			char bytes[64];

			if (recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len) < 0)
				_exit(1);
			sendto(fd, "noise", 5, 0, (struct sockaddr *)&from, len);
			sendto(fd, "pong", 4, 0, (struct sockaddr *)&from, len);
		}
	judged(once(SY_OVER_UDP, at(port), &asks, 2000), SY_PROBE_UP, "pong", "udp: the second datagram is it");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	outcome = once(SY_OVER_UDP, at(port), &asks, 200);
	judged(outcome, SY_PROBE_DOWN, "no answer within 200ms", "udp: nobody reads");
	close(fd);
	outcome = once(SY_OVER_UDP, at(port), &asks, 2000);
	judged(outcome, SY_PROBE_DOWN, "port unreachable", "udp: an ICMP error");
	ok(outcome->took < 1, "  and that is known at once");
}

/* The server answers the third datagram only, and with the port that all three came from. */
static void
test_udp_again(void)
{
	struct conf asks = { .first = SY_PROBE_SEND, .send = "ping", .expect = "pong", .repeat_ms = 50 };
	struct outcome *outcome;
	uint16_t port, from;
	pid_t pid;
	int fd = listen_on(SOCK_DGRAM, 0, &port);
	int other = listen_on(SOCK_DGRAM, 0, &from);

	/* Free from here on, more or less. */
	close(other);
	asks.local_port = from;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		for (unsigned n = 1, right = 0;; n++) {
			struct sockaddr_in name;
			socklen_t len = sizeof(name);
			char bytes[64];

			if (recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&name, &len) < 0)
				_exit(1);
			right += ntohs(name.sin_port) == from;
			if (n == 3)
				sendto(fd, right == 3 ? "pong" : "late", 4, 0, (struct sockaddr *)&name, len);
		}
	outcome = once(SY_OVER_UDP, at(port), &asks, 20000);
	judged(outcome, SY_PROBE_UP, "pong", "udp: asked three times, from the port that was wanted");
	ok(outcome->took >= 0.14, "  after 50 and 100 ms");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
}

static void
test_most(void)
{
	static struct outcome outcomes[40];
	struct peer mute = peer_start(serve_mute);
	unsigned answered = 0;

	begin(5);
	for (int i = 0; i < 40; i++)
		ask(&outcomes[i], SY_OVER_TCP, at(mute.port), &hears, 100);
	ok(probes_count(probes).waiting == 40 && !probes_count(probes).open, "nothing starts while asking");
	ok(run_until(40), "all end");
	for (int i = 0; i < 40; i++)
		answered += outcomes[i].answered == 1 && outcomes[i].gone == 1;
	is_int(answered, 40, "each was answered once");
	/* The server may see the next one come before it looks at the end of the last. */
	ok(seen->most < 20 && seen->most > 1, "5 at once, and the server saw no more than %d", seen->most);
	end();
	peer_stop(mute);
}

/* This process stands still for longer than the time limit, and answers have come meanwhile. */
static void
test_stall(void)
{
	static struct outcome outcomes[3];
	struct peer banner = peer_start(serve_banner), mute = peer_start(serve_mute);

	begin(8);
	ask(&outcomes[0], SY_OVER_TCP, at(banner.port), &hears, 200);
	ask(&outcomes[1], SY_OVER_TCP, at(banner.port), &connects, 200);
	ask(&outcomes[2], SY_OVER_TCP, at(mute.port), &hears, 200);
	ev_run(loop, EVRUN_NOWAIT);
	usleep(500000);
	ok(run_until(3), "all end after the pause");
	judged(&outcomes[0], SY_PROBE_UP, "hello", "an answer that came during a pause counts");
	judged(&outcomes[1], SY_PROBE_UP, "started", "so does a connection");
	judged(&outcomes[2], SY_PROBE_DOWN, "no answer within 200ms", "what did not answer did not");
	end();
	peer_stop(banner), peer_stop(mute);
}

static void
test_abandon(void)
{
	static struct outcome outcomes[4];
	static const char *const sleeps[] = { "/bin/sleep", "60", NULL };
	static const struct conf program = { .first = SY_PROBE_RUN, .argv = sleeps };
	struct peer mute = peer_start(serve_mute), banner = peer_start(serve_banner);
	struct probe *probe;

	begin(8);
	probe = ask(&outcomes[0], SY_OVER_TCP, at(mute.port), &hears, 1000);
	probe_abandon(probe);
	ok(outcomes[0].gone == 1 && !outcomes[0].answered, "abandoned while it waits");
	probe = ask(&outcomes[0], SY_OVER_TCP, at(mute.port), &hears, 1000);
	ev_run(loop, EVRUN_NOWAIT);
	probe_abandon(probe);
	ok(outcomes[0].gone == 1 && !outcomes[0].answered, "abandoned while it connects");
	probe = ask(&outcomes[0], SY_OVER_TCP, at(mute.port), &hears, 1000);
	for (int i = 0; i < 20; i++) {
		ev_run(loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	probe_abandon(probe);
	ok(outcomes[0].gone == 1 && !outcomes[0].answered, "abandoned while it talks");
	probe = ask(&outcomes[0], SY_OVER_PROGRAM, at(1), &program, 5000);
	for (int i = 0; i < 20; i++) {
		ev_run(loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	gone_in_all = 0;
	probe_abandon(probe);
	ok(run_until(1) && outcomes[0].gone == 1 && !outcomes[0].answered, "abandoned while it runs");
	/* All at once, in whatever phase they are. */
	ask(&outcomes[0], SY_OVER_TCP, at(mute.port), &hears, 1000);
	ask(&outcomes[1], SY_OVER_PROGRAM, at(1), &program, 5000);
	ask(&outcomes[2], SY_OVER_TCP, at(banner.port), &hears, 1000);
	ev_run(loop, EVRUN_NOWAIT);
	ask(&outcomes[3], SY_OVER_TCP, at(mute.port), &hears, 1000);
	probes_free(probes);
	probes = NULL;
	ok(outcomes[0].gone == 1 && outcomes[1].gone == 1 && outcomes[2].gone == 1 && outcomes[3].gone == 1,
	   "the engine goes, and all go with it");
	end();
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	peer_stop(mute), peer_stop(banner);
}

/* ---- programs ---- */

static struct outcome *
run_script(const char *script, uint64_t timeout_ms)
{
	static const char *argv[] = { "/bin/sh", "-c", NULL, NULL };
	static struct conf conf = { .first = SY_PROBE_RUN, .argv = argv, .expect = "never" };

	argv[2] = script;
	return once(SY_OVER_PROGRAM, at(8080), &conf, timeout_ms);
}

static bool
gone_process(const char *file)
{
	FILE *in = fopen(file, "r");
	int pid = 0;

	if (in && fscanf(in, "%d", &pid) != 1)
		pid = 0;
	if (in)
		fclose(in);
	unlink(file);
	for (int i = 0; pid > 0 && i < 300; i++) {
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return true;
		usleep(10000);
	}
	return false;
}

static void
test_programs(void)
{
	char file[] = "/tmp/steelyard-probe-XXXXXX", script[256];
	static const char *missing[] = { "/nonexistent/program", NULL };
	static const struct conf lacks = { .first = SY_PROBE_RUN, .argv = missing };
	struct outcome *outcome;
	double took;

	close(mkstemp(file));
	judged(run_script("exit 0", 5000), SY_PROBE_UP, "0 0", "program: status 0");
	judged(run_script("exit 7", 5000), SY_PROBE_DOWN, "7 0", "program: status 7");
	judged(run_script("kill -9 $$", 5000), SY_PROBE_DOWN, "-1 9", "program: killed");
	judged(run_script("echo words; exit 1", 5000), SY_PROBE_DOWN, "words", "program: what it writes");
	judged(run_script("echo words >&2", 5000), SY_PROBE_UP, "words", "program: on stderr, too");
	judged(run_script("printf 'a\\033[31mb'", 5000), SY_PROBE_UP, "a [31mb",
	       "program: nothing that moves a cursor");
	judged(run_script("echo $STEELYARD_SERVICE $STEELYARD_SERVER $STEELYARD_ADDRESS $STEELYARD_PORT",
	                  5000), SY_PROBE_UP, "web s1 127.0.0.1 8080", "program: its environment");
	judged(run_script("i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; "
	                  "i=$((i+1)); done; exit 3", 9000), SY_PROBE_DOWN, "3 0", "program: writes a lot");
	judged(run_script("cat", 5000), SY_PROBE_UP, "0 0", "program: has no input");
	judged(run_script("ls /proc/self/fd | wc -l", 5000), SY_PROBE_UP, "4", "program: inherits nothing");
	judged(once(SY_OVER_PROGRAM, at(1), &lacks, 1000), SY_PROBE_DOWN, "/nonexistent/program",
	       "program: is not there");
	took = run_script("sleep 60 & exit 0", 5000)->took;
	ok(took < 4, "program: one that leaves another behind has ended (%.1f s)", took);
	snprintf(script, sizeof(script), "sleep 60 & echo $! > %s; wait", file);
	outcome = run_script(script, 500);
	judged(outcome, SY_PROBE_DOWN, "did not end within 500ms", "program: takes too long");
	ok(gone_process(file), "  and what it started is gone, too");
	snprintf(script, sizeof(script), "trap '' TERM; echo $$ > %s; while :; do sleep 1; done", file);
	outcome = run_script(script, 500);
	judged(outcome, SY_PROBE_DOWN, "did not end within 500ms", "program: does not want to end");
	ok(gone_process(file), "  and is killed");
	unlink(file);
}

/* ---- our own lack ---- */

static void
test_lack(void)
{
	struct rlimit limit, few;
	struct outcome *outcome;
	static struct outcome own;
	int fd;

	getrlimit(RLIMIT_NOFILE, &limit);
	begin(8);
	ask(&own, SY_OVER_TCP, at(closed_port(SOCK_STREAM)), &connects, 1000);
	fd = dup(0);
	few = limit;
	few.rlim_cur = (rlim_t)fd;
	close(fd);
	setrlimit(RLIMIT_NOFILE, &few);
	run_until(1);
	setrlimit(RLIMIT_NOFILE, &limit);
	ok(own.answered == 1 && !own.answer.asked, "no descriptor: nothing is said about the server");
	has_str(own.answer.reason, "Too many open files", "  in words");
	end();
	outcome = once(SY_OVER_ICMP, at(0), &hears, 1000);
	ok(!outcome->answer.asked, "no socket for ICMP: the same");
}

/* ---- ICMP ---- */

static void
echo_once(const char *name, struct sy_addr to, const char *words, enum sy_probe_what verdict)
{
	static struct conf pings = { .first = SY_PROBE_SEND, .send = "echo of this", .expect = "echo of this" };
	static struct outcome outcomes[8];
	struct sy_err err = { "" };

	begin(8);
	if (!ok(probes_need_echo(probes, &err) == 0, "%s: sockets", name)) {
		diag("%s", err.text);
		end();
		return;
	}
	for (int i = 0; i < 8; i++)
		ask(&outcomes[i], SY_OVER_ICMP, to, &pings, 1000);
	ok(run_until(8), "%s: all end", name);
	for (int i = 0; i < 8; i += 7) {
		ok(outcomes[i].answer.asked && outcomes[i].answer.what == verdict, "%s: verdict %d", name, i);
		has_str(outcomes[i].answer.reason, words, "  in words");
	}
	end();
}

static bool
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

static void
loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		diag("lo: %s", strerror(errno));
	close(fd);
}

static void
test_icmp(void)
{
	struct sy_addr v4 = at(0), v6 = { .ip = { [15] = 1 }, .family = SY_IPV6 };
	struct sy_addr nowhere = { .ip = { 192, 0, 2, 1 }, .family = SY_IPV4 };

	if (unshare(CLONE_NEWNET) < 0) {
		skip("no network namespace can be made (%s): no ICMP here", strerror(errno));
		return;
	}
	loopback_up();
	write_file("/proc/sys/net/ipv4/ping_group_range", "1 0");
	echo_once("raw ICMP", v4, "echo of this", SY_PROBE_UP);
	echo_once("raw ICMPv6", v6, "echo of this", SY_PROBE_UP);
	echo_once("raw ICMP into nowhere", nowhere, "network unreachable", SY_PROBE_DOWN);
	if (!write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")) {
		skip("ping_group_range cannot be set");
		return;
	}
	echo_once("ping socket", v4, "echo of this", SY_PROBE_UP);
	echo_once("ping socket, IPv6", v6, "echo of this", SY_PROBE_UP);
	write_file("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1");
	echo_once("a server that does not answer pings", v4, "no answer within 1s", SY_PROBE_DOWN);
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_tcp();
	test_ends();
	test_misbehaviour();
	test_udp();
	test_udp_again();
	test_most();
	test_stall();
	test_abandon();
	test_programs();
	test_lack();
	test_icmp();
	return done_testing();
}
