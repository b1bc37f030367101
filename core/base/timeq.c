#include "base/timeq.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/must.h"

/* The timer never sleeps longer; "for ever" needs no care then. */
#define TIMEQ_FAR UINT64_C(86400000)
/* Later than that: the process was kept from running, or stopped, and did not hear what came meanwhile. */
#define TIMEQ_LATE UINT64_C(50)

struct timeq {
	struct link entries;    /* by due_ms */
	struct timeq_set *set;
	struct timeq *next;
	uint64_t duration_ms;
	timeq_fired *fired;
};

struct timeq_set {
	struct ev_timer timer;
	struct ev_loop *loop;
	struct timeq *queues;
	struct timeq **end;
	uint64_t wake_ms;       /* when the timer will fire; UINT64_MAX: it is stopped */
	bool firing;
	bool listened;          /* was late, and has let the loop look for what is ready since */
	void (*first)(void *);
	void *context;
};

/* timer_stop() does not know the set, so the timer may fire for an entry that is gone; then it is
 * armed for the next one. That is rare: once for each time that it was armed. */
static void
timeq_wake(struct timeq_set *set, uint64_t due_ms)
{
	uint64_t now_us;
	double after;

	if (set->firing || due_ms >= set->wake_ms)
		return;
	now_us = clock_us();
	if (due_ms > now_us / 1000 + TIMEQ_FAR)
		due_ms = now_us / 1000 + TIMEQ_FAR;
	after = due_ms * 1000 > now_us ? (double)(due_ms * 1000 - now_us) / 1e6 : 0;
	/* libev counts from the start of its iteration, which may be a while ago. */
	after += ev_time() - ev_now(set->loop);
	ev_timer_stop(set->loop, &set->timer);
	ev_timer_set(&set->timer, after > 0 ? after : 0, 0.);
	ev_timer_start(set->loop, &set->timer);
	set->wake_ms = due_ms;
}

/* What is due is moved aside first: a callback may free its entry, arm it again (for now, even) and
 * stop or arm any other, and each entry still comes up once at most. */
static void
timeq_fire(struct timeq *queue, uint64_t now_ms)
{
	struct link due;

	link_init(&due);
	while (!list_empty(&queue->entries)) {
		struct timer_entry *entry =
			container_of(queue->entries.next, struct timer_entry, link);

		if (entry->due_ms > now_ms)
			break;
		list_remove(&entry->link);
		list_append(&due, &entry->link);
	}
	while (!list_empty(&due)) {
		struct timer_entry *entry = container_of(due.next, struct timer_entry, link);

		list_remove(&entry->link);
		queue->fired(entry, now_ms);
	}
}

static void
timeq_on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct timeq_set *set = container_of(timer, struct timeq_set, timer);
	uint64_t now_ms = clock_ms(), next = UINT64_MAX;

	(void)events;
	if (now_ms > set->wake_ms + TIMEQ_LATE && !set->listened) {
		set->listened = true;
		ev_timer_set(timer, 0., 0.);
		ev_timer_start(loop, timer);
		return;
	}
	set->listened = false;
	if (set->first)
		set->first(set->context);
	now_ms = clock_ms();
	set->wake_ms = UINT64_MAX;
	set->firing = true;
	for (struct timeq *queue = set->queues; queue; queue = queue->next)
		timeq_fire(queue, now_ms);
	set->firing = false;
	for (struct timeq *queue = set->queues; queue; queue = queue->next)
		if (!list_empty(&queue->entries)) {
			struct timer_entry *entry =
				container_of(queue->entries.next, struct timer_entry, link);

			if (entry->due_ms < next)
				next = entry->due_ms;
		}
	timeq_wake(set, next);
}

struct timeq_set *
timeq_set_new(struct ev_loop *loop)
{
	struct timeq_set *set = must_alloc(sizeof(*set));

	set->loop = loop;
	set->end = &set->queues;
	set->wake_ms = UINT64_MAX;
	ev_timer_init(&set->timer, timeq_on_timer, 0., 0.);
	ev_set_priority(&set->timer, EV_MINPRI);
	return set;
}

void
timeq_set_first(struct timeq_set *set, void (*first)(void *), void *context)
{
	set->first = first;
	set->context = context;
}

void
timeq_set_free(struct timeq_set *set)
{
	struct timeq *queue, *next;

	if (!set)
		return;
	must(!set->firing);
	ev_timer_stop(set->loop, &set->timer);
	for (queue = set->queues; queue; queue = next) {
		next = queue->next;
		while (!list_empty(&queue->entries))
			list_remove(queue->entries.next);
		free(queue);
	}
	free(set);
}

struct timeq *
timeq_get(struct timeq_set *set, uint64_t duration_ms, timeq_fired *fired)
{
	struct timeq *queue;

	for (queue = set->queues; queue; queue = queue->next)
		if (queue->duration_ms == duration_ms && queue->fired == fired)
			return queue;
	queue = must_alloc(sizeof(*queue));
	link_init(&queue->entries);
	queue->set = set;
	queue->duration_ms = duration_ms;
	queue->fired = fired;
	*set->end = queue;
	set->end = &queue->next;
	return queue;
}

void
timer_init(struct timer_entry *entry)
{
	link_init(&entry->link);
	entry->due_ms = 0;
}

bool
timer_armed(const struct timer_entry *entry)
{
	return entry->link.next != &entry->link;
}

void
timeq_arm(struct timeq *queue, struct timer_entry *entry, uint64_t now_ms)
{
	uint64_t due_ms = now_ms + queue->duration_ms;

	timeq_arm_at(queue, entry, due_ms < now_ms ? UINT64_MAX : due_ms);
}

void
timeq_arm_at(struct timeq *queue, struct timer_entry *entry, uint64_t due_ms)
{
	struct link *after;

	list_remove(&entry->link);
	entry->due_ms = due_ms;
	after = queue->entries.prev;
	while (after != &queue->entries &&
	       container_of(after, struct timer_entry, link)->due_ms > due_ms)
		after = after->prev;
	list_append(after->next, &entry->link);
	timeq_wake(queue->set, due_ms);
}

void
timer_stop(struct timer_entry *entry)
{
	list_remove(&entry->link);
}
