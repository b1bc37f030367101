/* Timeouts: order, arming and stopping from inside a callback, and that the timer sleeps. */
#include <ev.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/timeq.h"
#include "tap.h"

struct waiter {
	struct timer_entry entry;
	char name;
	uint64_t fired_ms;
	unsigned times;
};

static char order[64];
static struct timeq_set *set;
static struct ev_loop *loop;
static struct timeq *queue_again;
static struct waiter *victim, *helper;
static unsigned wakes;

static struct waiter *
waiter_of(struct timer_entry *entry)
{
	return container_of(entry, struct waiter, entry);
}

static void
note(struct timer_entry *entry, uint64_t now_ms)
{
	struct waiter *waiter = waiter_of(entry);
	size_t len = strlen(order);

	if (len < sizeof(order) - 1)
		order[len] = waiter->name, order[len + 1] = '\0';
	waiter->fired_ms = now_ms;
	waiter->times++;
}

static void
note_and_free(struct timer_entry *entry, uint64_t now_ms)
{
	note(entry, now_ms);
	free(waiter_of(entry));
}

static void
note_and_arm(struct timer_entry *entry, uint64_t now_ms)
{
	note(entry, now_ms);
	if (waiter_of(entry)->times < 3)
		timeq_arm(queue_again, entry, now_ms);
}

/* Stops one that is due in the same moment, frees it, and arms another. */
static void
note_and_meddle(struct timer_entry *entry, uint64_t now_ms)
{
	note(entry, now_ms);
	if (victim) {
		timer_stop(&victim->entry);
		free(victim);
		victim = NULL;
		timeq_arm(timeq_get(set, 5, note), &helper->entry, now_ms);
	}
}

static struct waiter *
waiter_new(char name)
{
	struct waiter *waiter = must_alloc(sizeof(*waiter));

	timer_init(&waiter->entry);
	waiter->name = name;
	return waiter;
}

static void
give_up(struct ev_loop *in, struct ev_timer *timer, int events)
{
	(void)timer, (void)events;
	diag("gave up waiting");
	ev_break(in, EVBREAK_ALL);
}

static void
count_wake(struct ev_loop *in, struct ev_check *check, int events)
{
	(void)in, (void)check, (void)events;
	wakes++;
}

/* Until no timer is left, ten seconds at most. */
static void
run(void)
{
	struct ev_timer most;

	ev_timer_init(&most, give_up, 10., 0.);
	ev_timer_start(loop, &most);
	ev_unref(loop);
	order[0] = '\0';
	wakes = 0;
	ev_run(loop, 0);
	ev_ref(loop);
	ev_timer_stop(loop, &most);
}

static void
test_order(void)
{
	struct timeq *fast = timeq_get(set, 20, note), *slow = timeq_get(set, 60, note);
	struct waiter *waiters[5];
	uint64_t start;

	ok(slow != fast && timeq_get(set, 60, note) == slow,
	   "one queue for a duration and a callback");
	ok(timeq_get(set, 60, note_and_free) != slow, "another callback is another queue");
	for (int i = 0; i < 5; i++)
		waiters[i] = waiter_new((char)('a' + i));
	ok(!timer_armed(&waiters[0]->entry), "a new entry is not armed");
	timer_stop(&waiters[0]->entry);
	ok(!timer_armed(&waiters[0]->entry), "stopping it is harmless");

	ev_now_update(loop);
	start = clock_ms();
	for (int i = 0; i < 5; i++)
		timeq_arm(i % 2 ? fast : slow, &waiters[i]->entry, start);
	ok(timer_armed(&waiters[0]->entry), "an armed entry is armed");
	is_uint(waiters[0]->entry.due_ms - start, 60, "due after the queue's duration");
	run();
	is_str(order, "bdace", "the short ones first, equal ones in the order of arming");
	ok(!timer_armed(&waiters[0]->entry), "an entry that came up is not armed");
	ok(waiters[1]->fired_ms - start >= 20 && waiters[1]->fired_ms - start < 5000,
	   "the short ones not early (%d ms)", (int)(waiters[1]->fired_ms - start));
	ok(waiters[0]->fired_ms - start >= 60, "nor the long ones (%d ms)",
	   (int)(waiters[0]->fired_ms - start));
	ok(wakes < 20, "the loop slept in between (%u wakeups)", wakes);
	for (int i = 0; i < 5; i++)
		free(waiters[i]);
}

static void
test_arm_at(void)
{
	struct timeq *queue = timeq_get(set, 80, note);
	struct waiter *waiters[6];
	static const uint64_t due[] = { 50, 10, 30, 30, 0, 80 };
	uint64_t start = clock_ms();
	char *at;

	for (int i = 0; i < 6; i++) {
		waiters[i] = waiter_new((char)('a' + i));
		timeq_arm_at(queue, &waiters[i]->entry, start + due[i]);
	}
	timeq_arm(timeq_get(set, 20, note), &waiters[5]->entry, start);
	run();
	at = strchr(order, 'f');
	if (at)
		memmove(at, at + 1,
			strlen(at)); /* in a queue of its own, so anywhere on a busy machine */
	is_str(order, "ebcda", "an entry stands where its time is, in any order of arming");
	is_uint(waiters[5]->times, 1, "arming in another queue leaves the first");
	for (int i = 0; i < 6; i++)
		free(waiters[i]);
}

static void
test_stop(void)
{
	struct timeq *queue = timeq_get(set, 30, note);
	struct waiter *one = waiter_new('a'), *two = waiter_new('b');
	uint64_t start = clock_ms();

	timeq_arm(queue, &one->entry, start);
	timeq_arm(queue, &two->entry, start);
	timer_stop(&one->entry);
	run();
	is_str(order, "b", "a stopped entry does not come up");
	timeq_arm(queue, &one->entry, clock_ms());
	timer_stop(&one->entry);
	run();
	is_str(order, "", "when all are stopped the timer ends by itself");
	timeq_arm(queue, &two->entry, clock_ms());
	timeq_arm_at(queue, &two->entry, clock_ms() + 1);
	run();
	is_str(order, "b", "an armed entry that is armed again comes up once");

	/* The timer was set for an entry that is gone: the next one must still come up. */
	start = clock_ms();
	timeq_arm_at(queue, &one->entry, start + 5);
	timeq_arm_at(queue, &two->entry, start + 25);
	timer_stop(&one->entry);
	run();
	is_str(order, "b", "the timer goes on to the next");
	ok(two->fired_ms >= start + 25, "at its time (%d ms)", (int)(two->fired_ms - start));
	free(one);
	free(two);
}

static void
test_meddling(void)
{
	struct waiter *one = waiter_new('a'), *three = waiter_new('c');
	struct timeq *freed = timeq_get(set, 10, note_and_free);
	struct timeq *meddle = timeq_get(set, 10, note_and_meddle);
	uint64_t start = clock_ms();

	for (int i = 0; i < 5; i++)
		timeq_arm(freed, &waiter_new((char)('1' + i))->entry, start);
	run();
	is_str(order, "12345", "a callback may free its entry");

	queue_again = timeq_get(set, 10, note_and_arm);
	start = clock_ms();
	timeq_arm(queue_again, &one->entry, start);
	run();
	is_str(order, "aaa", "a callback may arm its entry again");
	ok(one->fired_ms >= start + 30, "for later (%d ms)", (int)(one->fired_ms - start));

	/* For now: no endless turn inside one wakeup. */
	one->times = 0;
	queue_again = timeq_get(set, 0, note_and_arm);
	timeq_arm(queue_again, &one->entry, clock_ms());
	run();
	is_str(order, "aaa", "or for now");
	ok(wakes >= 3, "each in a wakeup of its own (%u)", wakes);

	victim = waiter_new('b');
	helper = waiter_new('h');
	start = clock_ms();
	timeq_arm(meddle, &one->entry, start);
	timeq_arm(meddle, &victim->entry, start);
	timeq_arm(meddle, &three->entry, start);
	run();
	is_str(order, "ach", "a callback may stop and free another that is due, and arm a third");

	/* The victim stands in another queue, that comes after or before this one. */
	victim = waiter_new('b');
	start = clock_ms();
	timeq_arm(timeq_get(set, 11, note), &victim->entry, start - 1);
	timeq_arm(meddle, &one->entry, start);
	run();
	ok(strcmp(order, "ah") == 0, "in another queue, too (%s)", order);
	free(helper);
	free(one);
	free(three);
}

static void
test_far(void)
{
	struct timeq *ever = timeq_get(set, UINT64_MAX, note);
	struct waiter *one = waiter_new('a'), *two = waiter_new('b');

	timeq_arm(ever, &one->entry, clock_ms());
	is_uint(one->entry.due_ms, UINT64_MAX, "for ever is for ever");
	timeq_arm_at(ever, &two->entry, UINT64_C(1) << 62);
	ok(timer_armed(&one->entry) && timer_armed(&two->entry), "far times are armed");
	ev_run(loop, EVRUN_NOWAIT);
	is_uint(one->times + two->times, 0, "and do not come up");
	timer_stop(&two->entry);

	/* A near one behind the far one's timer. */
	timeq_arm(timeq_get(set, 10, note_and_free), &two->entry, clock_ms());
	order[0] = '\0';
	for (int i = 0; i < 1000 && !order[0]; i++)
		ev_run(loop, EVRUN_ONCE);
	is_str(order, "b", "a near one does");
	timeq_set_free(set);
	ok(!timer_armed(&one->entry),
	   "entries that are armed when the set goes are not armed after");
	timer_stop(&one->entry);
	free(one);
	timeq_set_free(NULL);
}

/* Timers are asked for after the loop was busy for a while: libev's own time is old then. */
static void
test_stale(void)
{
	struct timeq *queue = timeq_get(set, 40, note);
	struct waiter *one = waiter_new('a');
	unsigned early = 0, all_wakes = 0;

	for (int i = 0; i < 6; i++) {
		uint64_t start;

		ev_now_update(loop);
		usleep(30000);
		start = clock_ms();
		timeq_arm(queue, &one->entry, start);
		run();
		early += one->fired_ms < start + 40;
		all_wakes += wakes;
	}
	is_uint(one->times, 6, "timers come up when the loop's time is old");
	is_uint(early, 0, "not early");
	ok(all_wakes < 10, "nor with a wakeup too many each time (%u)", all_wakes);
	free(one);
}

static void
test_many(void)
{
	enum { MANY = 20000 };
	struct timeq *queue = timeq_get(set, 50, note);
	struct waiter *many = must_alloc(MANY * sizeof(*many));
	uint64_t start = clock_ms(), us;
	unsigned fired = 0;

	us = clock_us();
	for (int turn = 0; turn < 20; turn++)
		for (int i = 0; i < MANY; i++) {
			if (turn == 0)
				timer_init(&many[i].entry);
			many[i].name = 'm';
			timeq_arm(queue, &many[i].entry, start);
		}
	us = clock_us() - us;
	diag("arming costs %.1f ns", (double)us * 1000 / (20. * MANY));
	for (int i = 0; i < MANY; i += 2)
		timer_stop(&many[i].entry);
	run();
	for (int i = 0; i < MANY; i++)
		fired += many[i].times;
	is_uint(fired, MANY / 2, "of many, each comes up once");
	free(many);
}

static void
heard(struct ev_loop *l, struct ev_io *io, int events)
{
	(void)events;
	strcat(order, "r");
	ev_io_stop(l, io);
}

static void
put_off(void *word)
{
	strcat(order, word);
}

/* The process was kept from running: what was said meanwhile is ready, and a timeout is due. */
static void
test_late(void)
{
	struct waiter late = { .name = 't' };
	char word[] = "p";
	struct ev_io io;
	int fds[2];

	must(pipe(fds) == 0 && write(fds[1], "x", 1) == 1);
	timer_init(&late.entry);
	ev_io_init(&io, heard, fds[0], EV_READ);
	ev_io_start(loop, &io);
	timeq_set_first(set, put_off, word);
	timeq_arm(timeq_get(set, 5, note), &late.entry, clock_ms());
	usleep(20000);
	order[0] = '\0';
	run();
	is_str(order, "rpt", "what is ready is heard, what was put off is done, and then it is late");
	timeq_set_first(set, NULL, NULL);
	close(fds[0]);
	close(fds[1]);
}

int
main(void)
{
	struct ev_check check;

	loop = ev_loop_new(EVFLAG_AUTO);
	ev_check_init(&check, count_wake);
	ev_check_start(loop, &check);
	ev_unref(loop);
	set = timeq_set_new(loop);
	test_order();
	test_arm_at();
	test_stop();
	test_meddling();
	test_stale();
	test_many();
	test_late();
	test_far();
	ev_ref(loop);
	ev_check_stop(loop, &check);
	ev_loop_destroy(loop);
	return done_testing();
}
