/* The load generator: options, time, and the report. See load.h. */
#include "load.h"
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LOAD_EVENTS 256
#define LOAD_LONGEST 600 /* seconds; whatever is asked for, it ends */

struct load_tally load_tally;

struct load_run {
	struct load_plan plan;
	double seconds, warmup;
	bool until_told; /* a line on standard input may end the counted time earlier */
	bool probe;	 /* nothing but: try until one exchange succeeds */
	uint32_t expect; /* probe: by this server; 0: any */
	int epoll, timer;
	bool told;
};

uint64_t
load_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * LOAD_SECOND + (uint64_t)now.tv_nsec;
}

void
load_die(const char *what, const char *why)
{
	fprintf(stderr, "load: %s: %s\n", what, why);
	exit(2);
}

/* Values below 64 have their own bucket; above, each doubling has 64. */
static unsigned
load_bucket(uint64_t value)
{
	unsigned shift, bucket;

	if (value < 64)
		return (unsigned)value;
	shift = 57 - (unsigned)__builtin_clzll(value);
	bucket = (shift + 1) * 64 + (unsigned)(value >> shift) - 64;
	return bucket < LOAD_BUCKETS ? bucket : LOAD_BUCKETS - 1;
}

/* The middle of a bucket. */
static uint64_t
load_bucket_value(unsigned bucket)
{
	unsigned shift;

	if (bucket < 128)
		return bucket;
	shift = bucket / 64 - 1;
	return ((uint64_t)(64 + bucket % 64) << shift) + (1ull << shift) / 2;
}

static double
load_quantile_us(double quantile)
{
	uint64_t seen = 0, wanted = (uint64_t)(quantile * (double)load_tally.done);

	for (unsigned i = 0; i < LOAD_BUCKETS; i++) {
		seen += load_tally.buckets[i];
		if (seen > wanted)
			return (double)load_bucket_value(i) / 1000;
	}
	return (double)load_tally.longest / 1000;
}

void
load_done(uint64_t began, uint64_t bytes)
{
	uint64_t took = load_now() - began;

	load_tally.done++;
	load_tally.bytes += bytes;
	load_tally.buckets[load_bucket(took)]++;
	if (took > load_tally.longest)
		load_tally.longest = took;
}

void
load_failed(const char *doing, const char *why)
{
	struct load_failure *failure;
	char words[sizeof(failure->words)];

	load_tally.failed++;
	snprintf(words, sizeof(words), "%s: %s", doing, why);
	for (unsigned i = 0; i < LOAD_FAILURES; i++) {
		failure = &load_tally.failures[i];
		if (failure->count == 0)
			memcpy(failure->words, words, sizeof(words));
		if (strcmp(failure->words, words) == 0) {
			failure->count++;
			return;
		}
	}
}

static void
load_start(struct load_run *run)
{
	if (run->plan.udp)
		flows_start(&run->plan, run->epoll);
	else
		crowd_start(&run->plan, run->epoll);
}

static void
load_stop(struct load_run *run)
{
	if (run->plan.udp)
		flows_stop();
	else
		crowd_stop();
}

static void
load_event(struct load_run *run, void *who)
{
	uint64_t ticks;

	if (who == &run->timer) {
		if (read(run->timer, &ticks, sizeof(ticks)) != sizeof(ticks))
			return;
		if (run->plan.udp)
			flows_tick();
		else
			crowd_tick();
	} else if (who == &run->told) {
		run->told = true;
	} else if (run->plan.udp) {
		flows_event(who);
	} else {
		crowd_event(who);
	}
}

/* Traffic for so many seconds, or until done() says so. */
static void
load_carry(struct load_run *run, double seconds, bool (*done)(void))
{
	uint64_t end = load_now() + (uint64_t)(seconds * (double)LOAD_SECOND);
	struct epoll_event events[LOAD_EVENTS];
	int n;

	while (!run->told && load_now() < end && !(done && done())) {
		n = epoll_wait(run->epoll, events, LOAD_EVENTS, -1);
		for (int i = 0; i < n; i++)
			load_event(run, events[i].data.ptr);
	}
}

/* Everything stands still until whoever measures has read the clocks. */
static void
load_say(const char *word)
{
	char answer[16];

	printf("%s\n", word);
	fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin))
		load_die(word, "nobody answered on standard input");
}

static void
load_begin(void)
{
	load_say("begin");
	load_tally.done = 0;
	load_tally.bytes = 0;
	load_tally.longest = 0;
	memset(load_tally.buckets, 0, sizeof(load_tally.buckets));
}

static void
load_report(double seconds)
{
	char server[INET_ADDRSTRLEN] = "";
	const char *comma = "";

	inet_ntop(AF_INET, &load_tally.server, server, sizeof(server));
	printf("{\"seconds\":%.6f,\"done\":%" PRIu64 ",\"bytes\":%" PRIu64
	       ",\"p50_us\":%.3f,\"p99_us\":%.3f,\"max_us\":%.3f,\"server\":\"%s\",\"tls\":\"%s\","
	       "\"failed\":%" PRIu64 ",\"failures\":{",
	       seconds, load_tally.done, load_tally.bytes, load_quantile_us(0.50),
	       load_quantile_us(0.99), (double)load_tally.longest / 1000, server, load_tally.tls,
	       load_tally.failed);
	for (unsigned i = 0; i < LOAD_FAILURES && load_tally.failures[i].count; i++) {
		printf("%s\"%s\":%" PRIu64, comma, load_tally.failures[i].words,
		       load_tally.failures[i].count);
		comma = ",";
	}
	printf("}}\n");
}

static void
load_run_timed(struct load_run *run)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &run->told};
	uint64_t start;
	double took;

	load_start(run);
	load_carry(run, run->warmup, NULL);
	load_begin();
	if (run->until_told && epoll_ctl(run->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
		load_die("standard input", "is not a pipe");
	start = load_now();
	load_carry(run, run->seconds, NULL);
	took = (double)(load_now() - start) / (double)LOAD_SECOND;
	load_say("end");
	load_stop(run);
	load_report(took);
}

/* Opens all connections, keeps still while the memory is read, and sees that all of them live. */
static void
load_run_hold(struct load_run *run)
{
	uint64_t start;
	double took;

	load_begin();
	start = load_now();
	load_start(run);
	load_carry(run, run->seconds, crowd_quiet);
	if (!crowd_quiet())
		load_failed("connect", "not all connections could be opened in time");
	took = (double)(load_now() - start) / (double)LOAD_SECOND;
	load_carry(run, run->warmup, NULL);
	load_say("end");
	crowd_again();
	load_carry(run, run->seconds, crowd_quiet);
	if (load_tally.done != 2 * (uint64_t)run->plan.connections)
		load_failed("idle", "not all connections were alive after the rest");
	load_stop(run);
	load_report(took);
}

static int
load_run_probe(struct load_run *run)
{
	uint64_t start = load_now(), end = start + (uint64_t)(run->seconds * (double)LOAD_SECOND);
	bool good = false;

	load_start(run);
	while (!good && load_now() < end) {
		load_carry(run, 0.0005, NULL);
		good = load_tally.done && (!run->expect || load_tally.server == run->expect);
	}
	load_stop(run);
	load_report((double)(load_now() - start) / (double)LOAD_SECOND);
	return good ? 0 : 1;
}

static void
load_use_tls(struct load_plan *plan)
{
	plan->ctx = SSL_CTX_new(TLS_client_method());
	/* One suite and one group, so that all proxies do the same arithmetic. */
	if (!plan->ctx || SSL_CTX_set_min_proto_version(plan->ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(plan->ctx, "TLS_AES_256_GCM_SHA384") != 1 ||
	    SSL_CTX_set1_groups_list(plan->ctx, "X25519") != 1)
		load_die("TLS", "cannot be set up");
	SSL_CTX_set_verify(plan->ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_mode(plan->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					    SSL_MODE_RELEASE_BUFFERS);
}

static double
load_number(const char *name, const char *text, double min, double max)
{
	char *end;
	double value = strtod(text, &end);

	if (*end || end == text || !(value >= min && value <= max)) {
		fprintf(stderr, "load: --%s %s: must be a number from %g to %g\n", name, text, min,
			max);
		exit(2);
	}
	return value;
}

/* Seconds, given as ns. */
static uint64_t
load_time(const char *name, const char *text, double min)
{
	return (uint64_t)(load_number(name, text, min, 60) * (double)LOAD_SECOND);
}

static void
load_address(const char *text, struct sockaddr_in *to)
{
	char host[64];
	unsigned port;
	char rest;

	to->sin_family = AF_INET;
	if (sscanf(text, "%63[0-9.]:%u%c", host, &port, &rest) != 2 || port > 65535 ||
	    inet_pton(AF_INET, host, &to->sin_addr) != 1)
		load_die(text, "not ADDRESS:PORT");
	if (ntohl(to->sin_addr.s_addr) >> 24 != 127)
		load_die(text, "load is for loopback only (127.0.0.0/8)");
	to->sin_port = htons((uint16_t)port);
}

static const char load_usage[] =
	"usage: load --connect ADDRESS:PORT [options]\n"
	"  --connections N   connections or flows at a time (1)\n"
	"  --exchanges N     on each connection, then a new one; 0: without end (0)\n"
	"  --reply BYTES     size of a reply, or of a datagram (64)\n"
	"  --sources N       client addresses to spread over, 127.0.1.1 and up\n"
	"  --pace SECONDS    from one exchange of a connection to the next one\n"
	"  --patience SECONDS   an exchange that takes longer has failed (10)\n"
	"  --seconds N, --warmup N   counted time (4), and time before it\n"
	"  --tls, --resume, --http, --cookie NAME, --udp   what is spoken\n"
	"  --hold            one exchange on each connection, then silence, then another\n"
	"  --until-told      a line on standard input ends the counted time\n"
	"  --probe [--expect ADDRESS]   tries until one exchange succeeds (by that server)\n"
	"It says \"begin\" and \"end\" around the counted time and waits for a line after each.\n";

static const struct option load_options[] = {
	{"connect", required_argument, NULL, 'c'},   {"sources", required_argument, NULL, 'S'},
	{"connections", required_argument, NULL, 'n'}, {"exchanges", required_argument, NULL, 'e'},
	{"reply", required_argument, NULL, 'r'},     {"pace", required_argument, NULL, 'p'},
	{"patience", required_argument, NULL, 'P'},  {"seconds", required_argument, NULL, 's'},
	{"warmup", required_argument, NULL, 'w'},    {"http", no_argument, NULL, 'h'},
	{"tls", no_argument, NULL, 't'},	     {"resume", no_argument, NULL, 'R'},
	{"udp", no_argument, NULL, 'u'},	     {"hold", no_argument, NULL, 'H'},
	{"cookie", required_argument, NULL, 'C'},    {"until-told", no_argument, NULL, 'U'},
	{"probe", no_argument, NULL, 'b'},	     {"expect", required_argument, NULL, 'x'},
	{NULL, 0, NULL, 0}};

static void
load_option(struct load_run *run, int c, const char *value)
{
	struct load_plan *plan = &run->plan;

	switch (c) {
	case 'c':
		load_address(value, &plan->to);
		break;
	case 'S':
		plan->sources = (unsigned)load_number("sources", value, 0, 250);
		break;
	case 'n':
		plan->connections = (unsigned)load_number("connections", value, 1, 100000);
		break;
	case 'e':
		plan->exchanges = (unsigned)load_number("exchanges", value, 0, 1e9);
		break;
	case 'r':
		plan->reply_size =
			(uint32_t)load_number("reply", value, WIRE_HEAD_SIZE, WIRE_REPLY_MAX);
		break;
	case 'p':
		plan->pace = load_time("pace", value, 0);
		break;
	case 'P':
		plan->patience = load_time("patience", value, 0.001);
		break;
	case 's':
		run->seconds = load_number("seconds", value, 0.1, LOAD_LONGEST);
		break;
	case 'w':
		run->warmup = load_number("warmup", value, 0, 60);
		break;
	case 'C':
		plan->cookie = value;
		break;
	case 'x':
		run->expect = inet_addr(value);
		break;
	case 'h':
		plan->http = true;
		break;
	case 'R':
		plan->resume = true;
		plan->tls = true;
		break;
	case 't':
		plan->tls = true;
		break;
	case 'u':
		plan->udp = true;
		break;
	case 'H':
		plan->hold = true;
		break;
	case 'U':
		run->until_told = true;
		break;
	case 'b':
		run->probe = true;
		break;
	default:
		fputs(load_usage, stderr);
		exit(2);
	}
}

static void
load_prepare(struct load_run *run)
{
	struct itimerspec period = {0};
	struct epoll_event event = {.events = EPOLLIN};

	wire_init();
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdin, NULL, _IONBF, 0);
	alarm((unsigned)(run->warmup + run->seconds) + 60);
	if (run->probe) {
		run->plan.exchanges = 1;
		run->plan.pace = LOAD_SECOND / 1000;
		run->plan.patience = LOAD_SECOND / 5;
	}
	if (run->plan.tls)
		load_use_tls(&run->plan);
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	run->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	period.it_value.tv_nsec = run->plan.pace || run->probe ? 1000000 : 20000000;
	period.it_interval = period.it_value;
	event.data.ptr = &run->timer;
	if (run->epoll < 0 || run->timer < 0 || timerfd_settime(run->timer, 0, &period, NULL) < 0 ||
	    epoll_ctl(run->epoll, EPOLL_CTL_ADD, run->timer, &event) < 0)
		load_die("start", strerror(errno));
}

int
main(int argc, char **argv)
{
	static struct load_run run = {
		.plan = {.connections = 1,
			 .reply_size = 64,
			 .patience = 10 * LOAD_SECOND,
			 .name = "bench.test"},
		.seconds = 4};
	int c;

	while ((c = getopt_long(argc, argv, "", load_options, NULL)) != -1)
		load_option(&run, c, optarg);
	if (optind != argc || !run.plan.to.sin_port)
		load_option(&run, '?', NULL);
	load_prepare(&run);
	if (run.probe)
		return load_run_probe(&run);
	if (run.plan.hold)
		load_run_hold(&run);
	else
		load_run_timed(&run);
	return 0;
}
