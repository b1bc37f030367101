#include "proxy.h"

#include <stdlib.h>

static struct call **
calls_bucket(const struct calls *calls, uint64_t key)
{
	return (struct call **)&calls->bucket[key % CALLS_BUCKETS];
}

/* The bucket can be told from the number. */
struct call *
calls_add(struct calls *calls, uint64_t key)
{
	struct call **bucket = calls_bucket(calls, key), *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->key = key;
	call->next = *bucket;
	*bucket = call;
	calls->n++;
	do {
		calls->turn = (calls->turn + 1) % (SY_FROM_OUTSIDE / CALLS_BUCKETS);
		call->exchange = calls->turn * CALLS_BUCKETS + (uint32_t)(key % CALLS_BUCKETS);
	} while (calls_find_exchange(calls, call->exchange) != call);
	return call;
}

void
calls_remove(struct calls *calls, struct call *call)
{
	struct call **at = calls_bucket(calls, call->key);

	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	calls->n--;
	calls->open -= call->open;
	free(call->reply);
	free(call->answer);
	free(call);
}

void
calls_free(struct calls *calls)
{
	for (unsigned i = 0; i < CALLS_BUCKETS; i++)
		while (calls->bucket[i])
			calls_remove(calls, calls->bucket[i]);
}

struct call *
calls_find(const struct calls *calls, uint64_t key, bool outside)
{
	struct call *call = *calls_bucket(calls, key);

	while (call && (call->key != key || call->outside != outside))
		call = call->next;
	return call;
}

static struct call *
calls_find_all(const struct calls *calls, bool (*is)(const struct call *call, uint64_t what), uint64_t what)
{
	for (unsigned i = 0; i < CALLS_BUCKETS; i++)
		for (struct call *call = calls->bucket[i]; call; call = call->next)
			if (is(call, what))
				return call;
	return NULL;
}

static bool
calls_has_exchange(const struct call *call, uint64_t exchange)
{
	return call->exchange == exchange;
}

static bool
calls_has_dialog(const struct call *call, uint64_t dialog)
{
	return call->invite && !call->outside && call->dialog == dialog;
}

struct call *
calls_find_exchange(const struct calls *calls, uint32_t exchange)
{
	struct call *call = calls->bucket[exchange % CALLS_BUCKETS];

	if (exchange >= SY_FROM_OUTSIDE)
		return calls_find_all(calls, calls_has_exchange, exchange);
	while (call && call->exchange != exchange)
		call = call->next;
	return call;
}

struct call *
calls_find_dialog(const struct calls *calls, uint64_t dialog)
{
	return calls_find_all(calls, calls_has_dialog, dialog);
}

static void
calls_look(struct calls *calls, const struct call *call)
{
	uint64_t when = call->open ? 0 : call->due_ms;

	if (call->again_ms && (!when || call->again_ms < when))
		when = call->again_ms;
	if (when && (!calls->look_ms || when < calls->look_ms))
		calls->look_ms = when;
}

void
calls_rest(struct calls *calls, struct call *call)
{
	calls->open -= call->open;
	call->open = false;
	calls_look(calls, call);
}

void
calls_repeat(struct calls *calls, struct call *call, uint64_t now_ms)
{
	call->pause_ms = call->pause_ms ? 2 * call->pause_ms : TIMER_T1_MS;
	if (call->pause_ms > TIMER_T2_MS)
		call->pause_ms = TIMER_T2_MS;
	call->again_ms = now_ms + call->pause_ms;
	if (call->again_ms > call->due_ms)
		call->again_ms = 0;
	calls_look(calls, call);
}

bool
calls_spare(struct calls *calls)
{
	struct call *oldest = NULL;

	for (unsigned i = 0; i < CALLS_BUCKETS; i++)
		for (struct call *call = calls->bucket[i]; call; call = call->next)
			if (!call->open && (!oldest || call->due_ms < oldest->due_ms))
				oldest = call;
	if (oldest)
		calls_remove(calls, oldest);
	return oldest;
}

struct call *
calls_due(struct calls *calls, uint64_t now_ms)
{
	struct call *due = NULL;

	if (!calls->look_ms || now_ms < calls->look_ms)
		return NULL;
	calls->look_ms = 0;
	for (unsigned i = 0; i < CALLS_BUCKETS; i++)
		for (struct call *call = calls->bucket[i], *next; call; call = next) {
			next = call->next;
			if (!call->open && call->due_ms <= now_ms) {
				calls_remove(calls, call);
				continue;
			}
			calls_look(calls, call);
			if (call->again_ms && call->again_ms <= now_ms)
				due = call;
		}
	return due;
}
