#include "role/probe.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/must.h"
#include "base/text.h"
#include "role/probe_run.h"

static const struct probe_transport *
probe_transport(const struct probe *probe)
{
	switch (probe->question->plan->transport) {
	case SY_OVER_TCP:
	case SY_OVER_TLS:
		return &probe_stream;
	case SY_OVER_UDP:
		return &probe_datagram;
	case SY_OVER_ICMP:
		return &probe_icmp;
	case SY_OVER_PROGRAM:
		break;
	}
	return &probe_program;
}

/* Verdicts. */

static void
probe_judge(struct probe *probe, struct probe_answer *answer)
{
	struct probes *engine = probe->engine;
	bool wanted = probe->wanted;

	must(probe->phase != PROBE_WAITING && probe->phase != PROBE_CLOSING);
	/* Silence that was waited for is not the server's slowness. */
	answer->latency_us = (uint32_t)((probe->holding ? probe->held_us : clock_us()) -
	                                probe->started_us);
	/* The words may hold what the server said: one line, and nothing that moves a cursor. */
	for (char *at = answer->reason; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
	timer_stop(&probe->timer);
	list_remove(&probe->link);
	list_append(&engine->closing, &probe->link);
	engine->count.open--;
	engine->count.closing++;
	probe->phase = PROBE_CLOSING;
	probe->wanted = false;
	if (wanted)
		engine->ops->answered(probe->owner, answer);
	probe_transport(probe)->end(probe);
}

void
probe_down(struct probe *probe, const char *format, ...)
{
	struct probe_answer answer = { .asked = true, .what = SY_PROBE_DOWN };
	va_list args;

	va_start(args, format);
	vsnprintf(answer.reason, sizeof(answer.reason), format, args);
	va_end(args);
	probe_judge(probe, &answer);
}

void
probe_failed(struct probe *probe, const char *format, ...)
{
	struct probe_answer answer = { .asked = false, .what = SY_PROBE_DOWN };
	va_list args;

	va_start(args, format);
	vsnprintf(answer.reason, sizeof(answer.reason), format, args);
	va_end(args);
	probe_judge(probe, &answer);
}

void
probe_error(struct probe *probe, const char *doing, int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
	case EAGAIN:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
	case EINVAL:
		probe_failed(probe, "%s: %s", doing, strerror(error));
		return;
	case ECONNREFUSED:
		probe_down(probe, probe->question->plan->transport == SY_OVER_UDP ?
		           "port unreachable" : "connection refused");
		return;
	case ECONNRESET:
	case EPIPE:
		probe_down(probe, "connection reset by the server");
		return;
	case ETIMEDOUT:
		probe_down(probe, "no answer");
		return;
	case EHOSTUNREACH:
		probe_down(probe, "no route to the server, or it is switched off");
		return;
	case ENETUNREACH:
		probe_down(probe, "network unreachable");
		return;
	case EACCES:
	case EPERM:
		probe_down(probe, "%s: forbidden by a packet filter on this machine or on the way", doing);
		return;
	default:
		probe_down(probe, "%s: %s", doing, strerror(error));
	}
}

/* What the module says. */

static void probe_timed_out(struct timer_entry *entry, uint64_t now_ms);
static void probe_held(struct timer_entry *entry, uint64_t now_ms);

/* Waits for bytes; with hold_ms their absence is an answer, too. */
static void
probe_wait(struct probe *probe, const struct sy_probe_step *step)
{
	struct timeq_set *timeouts = probe->engine->timeouts;
	uint64_t timeout_ms = probe->question->timeout_ms;
	uint64_t now_ms = clock_ms(), end_ms = probe->started_us / 1000 + timeout_ms;
	uint64_t quiet_ms = now_ms + step->hold_ms;

	if (step->hold_ms) {
		probe->held = *step;
		probe->held.what = SY_PROBE_UP;
		probe->held_us = clock_us();
		timeq_arm_at(timeq_get(timeouts, step->hold_ms, probe_held), &probe->timer,
		             quiet_ms < end_ms ? quiet_ms : end_ms);
	} else if (probe->holding) {
		timeq_arm_at(timeq_get(timeouts, timeout_ms, probe_timed_out), &probe->timer, end_ms);
	}
	probe->holding = step->hold_ms > 0;
	probe_watch(probe, EV_READ);
}

void
probe_step(struct probe *probe, const struct sy_probe_step *step)
{
	struct probe_answer answer = {
		.asked = true,
		.what = step->what,
		.weight_percent = step->weight_percent,
		.warn = step->warn,
	};

	switch (step->what) {
	case SY_PROBE_WAIT:
		if (!probe->question->ops->data)
			probe_down(probe, "the monitor waits for bytes, but takes none");
		else
			probe_wait(probe, step);
		return;
	case SY_PROBE_SEND:
		probe->out = step->bytes;
		probe_transport(probe)->send(probe);
		return;
	case SY_PROBE_RUN:
		if (probe->question->plan->transport != SY_OVER_PROGRAM)
			probe_down(probe, "the monitor wants to run a program, but asks over the network");
		else
			probe_program_run(probe, step->argv);
		return;
	case SY_PROBE_UP:
	case SY_PROBE_DOWN:
	case SY_PROBE_DRAINING:
		memcpy(answer.reason, step->reason, sizeof(answer.reason));
		answer.reason[sizeof(answer.reason) - 1] = '\0';
		probe_judge(probe, &answer);
		return;
	}
	probe_down(probe, "the monitor answered with a step that does not exist (%u)", (unsigned)step->what);
}

void
probe_begin(struct probe *probe)
{
	const struct probe_question *question = probe->question;
	struct sy_probe_step step;

	probe->phase = probe->phase == PROBE_RUNNING ? PROBE_RUNNING : PROBE_TALKING;
	step = question->ops->start(question->conf, probe->state, &probe->facts);
	probe_step(probe, &step);
}

void
probe_take(struct probe *probe, struct sy_span in, bool closed)
{
	const struct probe_question *question = probe->question;
	struct sy_probe_step step;

	step = question->ops->data(question->conf, probe->state, &probe->facts, in, closed);
	if (closed && (step.what == SY_PROBE_WAIT || step.what == SY_PROBE_SEND))
		probe_down(probe, in.len ? "the server closed the connection before its answer was complete"
		                         : "the server closed the connection without a word");
	else
		probe_step(probe, &step);
}

void
probe_watch(struct probe *probe, int events)
{
	if (probe->fd < 0 || (ev_is_active(&probe->io) && probe->io.events == events))
		return;
	ev_io_stop(probe->engine->loop, &probe->io);
	ev_io_set(&probe->io, probe->fd, events);
	ev_io_start(probe->engine->loop, &probe->io);
}

/* Time. */

/* The time is up by the clock, but the answer may be there all the same: when this process or the
 * whole machine stood still, timers come first. Then all servers would seem to be dead at once. */
static bool
probe_was_late(struct probe *probe, uint64_t now_ms)
{
	struct pollfd ready = { .fd = probe->fd, .events = POLLIN };

	if (probe->graced)
		return false;
	probe->graced = true;
	if (probe->io.events & EV_WRITE)
		ready.events |= POLLOUT;
	return now_ms > probe->timer.due_ms + PROBE_LATE_MS ||
	       (probe->fd >= 0 && probe->phase != PROBE_RUNNING && poll(&ready, 1, 0) > 0);
}

static void
probe_timed_out(struct timer_entry *entry, uint64_t now_ms)
{
	struct probe *probe = container_of(entry, struct probe, timer);
	char words[DURATION_TEXT_SIZE];

	if (probe_was_late(probe, now_ms)) {
		timeq_arm(timeq_get(probe->engine->timeouts, PROBE_GRACE_MS, probe_timed_out),
		          &probe->timer, now_ms);
		return;
	}
	duration_text(probe->question->timeout_ms, words);
	switch (probe->phase) {
	case PROBE_CONNECTING:
		probe_down(probe, "no answer to the connect within %s", words);
		return;
	case PROBE_HANDSHAKE:
		probe_down(probe, probe->tls.server_hello ? "TLS handshake not finished within %s"
		                                          : "no answer to the TLS handshake within %s", words);
		return;
	case PROBE_RUNNING:
		probe_down(probe, "the program did not end within %s", words);
		return;
	case PROBE_TALKING:
		if (probe->in_len)
			probe_down(probe, "answer not complete within %s (%zu bytes)", words, probe->in_len);
		else
			probe_down(probe, "no answer within %s", words);
		return;
	case PROBE_WAITING:
	case PROBE_CLOSING:
		break;
	}
	must(!"a probe that has no time limit timed out");
}

static void
probe_held(struct timer_entry *entry, uint64_t now_ms)
{
	struct probe *probe = container_of(entry, struct probe, timer);

	if (probe_was_late(probe, now_ms))
		timeq_arm(timeq_get(probe->engine->timeouts, PROBE_GRACE_MS, probe_held), &probe->timer,
		          now_ms);
	else
		probe_step(probe, &probe->held);
}

static void
probe_late(struct timer_entry *entry, uint64_t now_ms)
{
	struct probe *probe = container_of(entry, struct probe, timer);

	(void)now_ms;
	probe_transport(probe)->late(probe);
}

void
probe_last(struct probe *probe, uint64_t ms)
{
	timeq_arm(timeq_get(probe->engine->timeouts, ms, probe_late), &probe->timer, clock_ms());
}

/* Life. */

static void
probe_open(struct probe *probe)
{
	struct probes *engine = probe->engine;

	list_remove(&probe->link);
	list_append(&engine->open, &probe->link);
	engine->count.waiting--;
	engine->count.open++;
	probe->started_us = clock_us();
	timeq_arm(timeq_get(engine->timeouts, probe->question->timeout_ms, probe_timed_out),
	          &probe->timer, probe->started_us / 1000);
	probe->phase = PROBE_CONNECTING;
	probe_transport(probe)->open(probe);
}

/* Starts those that wait, before the loop sleeps: outside of the callbacks that asked. */
static void
probe_pump(struct ev_loop *loop, struct ev_prepare *pump, int events)
{
	struct probes *engine = container_of(pump, struct probes, pump);

	(void)loop, (void)events;
	while (!list_empty(&engine->waiting) &&
	       engine->count.open + engine->count.closing < engine->most)
		probe_open(container_of(engine->waiting.next, struct probe, link));
}

struct probe *
probe_ask(struct probes *engine, const struct probe_question *question, void *owner)
{
	size_t size = sizeof(struct probe) + question->ops->state_size;
	struct probe *probe = must_alloc(size);

	memset(probe, 0, size);
	probe->engine = engine;
	probe->question = question;
	probe->owner = owner;
	probe->wanted = true;
	probe->fd = -1;
	probe->phase = PROBE_WAITING;
	timer_init(&probe->timer);
	probe->facts = (struct sy_probe){
		.server = question->to,
		.service = question->service,
		.server_name = question->server,
		.random = hash_random(&engine->random),
	};
	list_append(&engine->waiting, &probe->link);
	engine->count.waiting++;
	return probe;
}

void
probe_gone(struct probe *probe)
{
	struct probes *engine = probe->engine;

	must(!ev_is_active(&probe->io) && !ev_is_active(&probe->exit) && !probe->echoing);
	timer_stop(&probe->timer);
	list_remove(&probe->link);
	if (probe->phase == PROBE_WAITING)
		engine->count.waiting--;
	else if (probe->phase == PROBE_CLOSING)
		engine->count.closing--;
	else
		engine->count.open--;
	engine->ops->gone(probe->owner);
	free(probe->in);
	free(probe);
}

void
probe_abandon(struct probe *probe)
{
	probe->wanted = false;
	if (probe->phase == PROBE_WAITING)
		probe_gone(probe);
	else
		probe_transport(probe)->cut(probe);
}

struct probes *
probes_new(struct ev_loop *loop, struct timeq_set *timeouts, const struct probe_ops *ops,
           unsigned most)
{
	struct probes *engine = must_alloc(sizeof(*engine));

	memset(engine, 0, sizeof(*engine));
	engine->loop = loop;
	engine->timeouts = timeouts;
	engine->ops = ops;
	engine->most = most;
	must(getrandom(&engine->random, sizeof(engine->random), 0) == sizeof(engine->random));
	link_init(&engine->waiting);
	link_init(&engine->open);
	link_init(&engine->closing);
	ev_prepare_init(&engine->pump, probe_pump);
	ev_prepare_start(loop, &engine->pump);
	return engine;
}

void
probes_free(struct probes *engine)
{
	struct link *const lists[] = { &engine->waiting, &engine->open, &engine->closing };

	ev_prepare_stop(engine->loop, &engine->pump);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_each_safe(link, lists[i])
			probe_abandon(container_of(link, struct probe, link));
	/* Programs that were told to end only now. */
	list_each_safe(link, &engine->closing) {
		struct probe *probe = container_of(link, struct probe, link);

		ev_io_stop(engine->loop, &probe->exit);
		if (probe->exit.fd >= 0)
			close(probe->exit.fd);
		probe_gone(probe);
	}
	probe_echo_free(engine);
	free(engine);
}

struct probes_count
probes_count(const struct probes *engine)
{
	return engine->count;
}
