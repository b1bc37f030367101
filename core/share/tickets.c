#include "share/tickets.h"

#include <string.h>
#include <sys/random.h>

#include "base/must.h"
#include "share/areas.h"
#include "share/seq.h"

_Static_assert(sizeof(struct ticket_key) % 4 == 0, "copied word by word");

static struct ticket_area *
tickets_area(struct board *board)
{
	return &board->head->tickets;
}

void
tickets_first(struct ticket_area *area, uint64_t now_wall_ms)
{
	must(getrandom(area->keys, sizeof(area->keys), 0) == (ssize_t)sizeof(area->keys));
	atomic_store_explicit(&area->rotated_wall_ms, now_wall_ms, memory_order_relaxed);
}

void
tickets_rotate(struct board *board, uint64_t now_wall_ms)
{
	struct ticket_area *area = tickets_area(board);
	uint64_t last = atomic_load_explicit(&area->rotated_wall_ms, memory_order_relaxed);
	struct ticket_key keys[TICKET_KEYS];

	/* A clock that was set back must not keep a key in use for ever. */
	if (now_wall_ms >= last && now_wall_ms - last < TICKET_ROTATE_S * UINT64_C(1000))
		return;
	memcpy(&keys[TICKET_PREVIOUS], &area->keys[TICKET_CURRENT], sizeof(*keys));
	memcpy(&keys[TICKET_CURRENT], &area->keys[TICKET_NEXT], sizeof(*keys));
	if (getrandom(&keys[TICKET_NEXT], sizeof(*keys), 0) != (ssize_t)sizeof(*keys))
		return;
	seq_begin(&area->seq);
	seq_put(area->keys, keys, sizeof(keys));
	seq_end(&area->seq);
	atomic_store_explicit(&area->rotated_wall_ms, now_wall_ms, memory_order_relaxed);
	explicit_bzero(keys, sizeof(keys));
}

bool
tickets_look(struct board *board, struct tickets *copy)
{
	struct ticket_area *area = tickets_area(board);
	struct ticket_key keys[TICKET_KEYS];
	unsigned tries = 0;

	do {
		uint32_t seq = seq_look(&area->seq);

		if (seq == copy->seq)
			return true;
		seq_copy(keys, area->keys, sizeof(keys));
		if (!seq_same(&area->seq, seq))
			continue;
		memcpy(copy->keys, keys, sizeof(keys));
		copy->seq = seq;
		explicit_bzero(keys, sizeof(keys));
		return true;
	} while (seq_again(&tries));
	return false;
}
