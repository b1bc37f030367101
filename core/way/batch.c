#include "way/batch.h"

#include <stdlib.h>

#include "base/must.h"
#include "way/side.h"

enum {
	BATCH_MESSAGES = 128,     /* held at a time; side.held is one byte */
	BATCH_MESSAGE = 4096,     /* bytes; what is bigger is no message */
	BATCH_BYTES = 65536,      /* of all of them */
};

struct batch {
	bool open;                /* what is read now is held */
	unsigned n;
	size_t used;
	struct {
		struct side *side;    /* NULL: written, or not wanted any more */
		struct sy_span bytes;
	} held[BATCH_MESSAGES];
	uint8_t room[BATCH_BYTES + WAY_SCRATCH];
};

struct batch *
batch_new(void)
{
	return must_alloc(sizeof(struct batch));
}

void
batch_free(struct batch *batch)
{
	free(batch);
}

/* There is no room for so many messages more. */
static bool
batch_is_full(const struct batch *batch, unsigned n)
{
	return batch->n + n > BATCH_MESSAGES || batch->used + n * BATCH_MESSAGE > BATCH_BYTES;
}

uint8_t *
batch_room(struct way *way, const struct side *to)
{
	struct batch *batch = way->batch;

	if (!batch->open || batch_is_full(batch, 1) || to->tls || to->strand || to->datagram)
		return way->scratch;
	return batch->room + batch->used;
}

bool
batch_hold(struct way *way, struct side *to, const uint8_t *at, size_t n)
{
	struct batch *batch = way->batch;

	if (at == way->scratch || n > BATCH_MESSAGE)
		return false;
	must(!side_pending(to));
	batch->held[batch->n].side = to;
	batch->held[batch->n].bytes = sy_span(at, n);
	batch->used += n;
	to->held = (uint8_t)++batch->n;
	return true;
}

void
batch_drop(struct way *way, struct side *side)
{
	if (!side->held)
		return;
	way->batch->held[side->held - 1].side = NULL;
	side->held = 0;
}

int
batch_write(struct way *way, struct side *side)
{
	struct sy_span bytes = way->batch->held[side->held - 1].bytes;

	batch_drop(way, side);
	return side_send(way, side, bytes);
}

void
batch_say(struct way *way)
{
	struct batch *batch = way->batch;

	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < batch->n; i++) {
			struct side *side = batch->held[i].side;

			if (!side || side->of_server != (pass == 0))
				continue;
			way_drive(side_conn(side));
			must(!batch->held[i].side);
		}
	batch->n = 0;
	batch->used = 0;
}

void
batch_hear(struct way *way, struct link *due)
{
	struct batch *batch = way->batch;

	while (!list_empty(due)) {
		struct conn *conn = container_of(due->next, struct conn, due);

		list_remove(&conn->due);
		batch->open = true;
		way_drive(conn);
		batch->open = false;
		/* A connection may read two, one in each direction. */
		if (batch_is_full(batch, 2))
			batch_say(way);
	}
}
