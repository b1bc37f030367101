/* Timeouts as queues: all that wait for the same duration stand in one list, ordered by the time
 * they were armed, so arming and stopping cost a few pointers and no heap. An idle timeout is not
 * re-armed at each byte: the owner notes the time of the last byte, and when the entry comes up and
 * was busy meanwhile, it is armed again for the rest (timeq_arm_at). One libev timer for all
 * queues of a process; it comes after all that is ready in the same turn of the loop: a process that was kept
 * from running hears what came meanwhile before it decides that nothing did. */
#ifndef BASE_TIMEQ_H
#define BASE_TIMEQ_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct timeq;
struct timeq_set;

struct timer_entry {
	struct link link;
	uint64_t due_ms; /* monotonic */
};

typedef void timeq_fired(struct timer_entry *entry, uint64_t now_ms);

/* All queues of a process share one libev timer, armed for the earliest head. */
struct timeq_set *timeq_set_new(struct ev_loop *loop);
void timeq_set_free(struct timeq_set *set);
/* What the owner put off until the end of the turn is done by `first` before any entry comes up. */
void timeq_set_first(struct timeq_set *set, void (*first)(void *), void *context);
/* The queue for a duration and a callback: made on first use, shared afterwards (never freed before
 * the set: durations are few). Resolution 10 ms and better. */
struct timeq *timeq_get(struct timeq_set *set, uint64_t duration_ms, timeq_fired *fired);
void timer_init(struct timer_entry *entry);
bool timer_armed(const struct timer_entry *entry);
/* Due in the queue's duration from now. Re-arms if armed (in this queue or another). */
void timeq_arm(struct timeq *queue, struct timer_entry *entry, uint64_t now_ms);
/* Due at a time that is not later than now + duration; walks back from the tail as far as needed. */
void timeq_arm_at(struct timeq *queue, struct timer_entry *entry, uint64_t due_ms);
/* Safe when not armed. */
void timer_stop(struct timer_entry *entry);

#endif
