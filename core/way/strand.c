#include "way/strand.h"

#include <errno.h>

#include "base/slab.h"
#include "way/renew.h"
#include "way/side.h"

static size_t
strand_room(const struct strand *strand)
{
	uint32_t window = service_run(strand->parent)->protocol->window;

	return window > WAY_WINDOW ? window : WAY_WINDOW;
}

void
strand_news(struct strand *strand)
{
	struct conn *parent = strand->parent;

	if (!parent || !list_empty(&strand->of_news))
		return;
	list_append(&parent->talk->news, &strand->of_news);
	way_rouse(parent);
}

static void
strand_free(struct strand *strand, struct way *way)
{
	queue_free(way->chunks, &strand->up);
	queue_free(way->chunks, &strand->down);
	slab_give(way->strand_slab, strand);
}

/* NULL: conn has left. */
static struct side *
strand_side(const struct strand *strand)
{
	if (!strand->conn)
		return NULL;
	return strand->outside ? &strand->conn->server : &strand->conn->client;
}

/* ---- conn's side of it ---- */

ssize_t
strand_recv(struct side *side, uint8_t *at, size_t len)
{
	struct strand *strand = side->strand;
	bool over = strand->finished || !strand->parent;
	size_t n;

	n = queue_take(strand->conn->way->chunks, &strand->up, at, len);
	strand->up_len -= n;
	if (n > 0 && strand->up_len == 0) {
		strand->taken = true;
		strand_news(strand);
	}
	/* The end is still to be read. */
	if (strand->up_len == 0 && !(over && n > 0))
		side->ready &= (uint8_t)~EV_READ;
	if (n > 0 || strand->finished)
		return (ssize_t)n;
	errno = over ? ECONNRESET : EAGAIN;
	return -1;
}

ssize_t
strand_send(struct side *side, struct sy_span bytes)
{
	struct strand *strand = side->strand;
	size_t room, n;

	if (!strand->parent) {
		errno = EPIPE;
		return -1;
	}
	room = strand_room(strand);
	n = strand->down_len < room ? room - strand->down_len : 0;
	n = n < bytes.len ? n : bytes.len;
	if (n == 0 && bytes.len > 0) {
		side->ready &= (uint8_t)~EV_WRITE;
		errno = EAGAIN;
		return -1;
	}
	if (!queue_put(strand->conn->way->chunks, &strand->down, sy_span(bytes.at, n))) {
		errno = ENOMEM;
		return -1;
	}
	strand->down_len += n;
	strand_news(strand);
	return (ssize_t)n;
}

void
strand_shut(struct side *side)
{
	side->strand->ended = true;
	strand_news(side->strand);
}

void
strand_leave(struct side *side)
{
	struct strand *strand = side->strand;
	struct conn *conn;

	if (!strand)
		return;
	conn = strand->conn;
	side->strand = NULL;
	strand->conn = NULL;
	if (!strand->parent) {
		strand_free(strand, conn->way);
		return;
	}
	strand->down_len += queue_len(side->out);
	queue_join(&strand->down, &side->out);
	queue_free(conn->way->chunks, &strand->up);
	strand->up_len = 0;
	strand->broken = !strand->ended && !strand->outside && (conn->reset || conn->talk->cut);
	strand->ended = true;
	strand_news(strand);
}

bool
strand_is_orphan(const struct conn *conn)
{
	return conn->client.strand && !conn->client.strand->parent;
}

/* ---- the parent's side ---- */

/* Of one parent numbers differ, and ids do for all of a worker. */
static uint64_t
strand_hash(const struct conn *parent, uint32_t exchange)
{
	uint64_t mixed = (parent->id ^ (uint64_t)exchange << 32) * UINT64_C(0x9e3779b97f4a7c15);

	return mixed ^ mixed >> 32;
}

struct strand *
strand_find(const struct conn *parent, uint32_t exchange)
{
	table_each(entry, &parent->way->strands, strand_hash(parent, exchange)) {
		struct strand *strand = container_of(entry, struct strand, found);

		if (strand->parent == parent && strand->exchange == exchange)
			return strand;
	}
	return NULL;
}

/* What begins is of the current configuration, however old the client's connection is. */
static struct conn *
strand_block(const struct conn *parent)
{
	struct way *way = parent->way;
	const struct listener *now = renew_listener(parent);

	if (way->conns >= way->most)
		return NULL;
	return now ? accept_block(way, now, way->child->current)
	           : accept_block(way, parent->listener, parent->generation);
}

/* The session of the exchange. Without one the exchange has ended before it began. */
static void
strand_begin(struct strand *strand)
{
	struct conn *parent = strand->parent, *conn = strand_block(parent);

	if (!conn) {
		strand->ended = strand->broken = true;
		strand_news(strand);
		return;
	}
	conn->client.strand = strand;
	strand->conn = conn;
	conn->peer = parent->peer;
	conn->client_addr = parent->client_addr;
	conn->service_addr = parent->service_addr;
	conn->port = parent->port;
	conn->greeted = conn->admitted = true;
	conn->step = STEP_CLASSIFY;
	list_append(&service_run(conn)->conns, &conn->of_service);
	talk_descend(conn, parent);
	way_rouse(conn);
}

/* NULL: no memory. */
static struct strand *
strand_new(struct conn *parent, uint32_t exchange)
{
	struct talk *talk = parent->talk;
	struct way *way = parent->way;
	struct strand *strand;

	if (!way->strand_slab)
		way->strand_slab = slab_new(sizeof(*strand));
	strand = slab_take(way->strand_slab);
	if (!strand)
		return NULL;
	*strand = (struct strand){ .parent = parent, .exchange = exchange };
	link_init(&strand->of_parent);
	link_init(&strand->of_news);
	list_append(&talk->strands, &strand->of_parent);
	table_put(&way->strands, &strand->found, strand_hash(parent, exchange));
	talk->n_strands++;
	talk->opened = true;
	return strand;
}

enum step
strand_open(struct conn *parent, uint32_t exchange)
{
	struct talk *talk = parent->talk;
	struct strand *strand;

	if (exchange >= SY_FROM_OUTSIDE)
		return talk_broken(parent, "OPEN of an exchange with a number of those from outside");
	if (strand_find(parent, exchange))
		return talk_broken(parent, "OPEN of an exchange that is open");
	if (talk->n_strands - talk->n_outside >= STRAND_MOST)
		return talk_broken(parent, "too many exchanges are open");
	strand = strand_new(parent, exchange);
	if (!strand) {
		parent->reset = true;
		return way_close(parent, REASON_NO_MEMORY);
	}
	strand_begin(strand);
	return WAIT;
}

enum reason
strand_join(struct conn *parent, struct conn *conn)
{
	struct talk *talk = parent->talk;
	struct strand *strand;

	if (talk->n_outside >= STRAND_OUTSIDE)
		return REASON_FLOW_FULL;
	do
		talk->outside = (talk->outside + 1) | SY_FROM_OUTSIDE;
	while (strand_find(parent, talk->outside));
	strand = strand_new(parent, talk->outside);
	if (!strand)
		return REASON_NO_MEMORY;
	talk->n_outside++;
	strand->outside = true;
	strand->conn = conn;
	conn->server.strand = strand;
	conn->server.of_server = true;
	/* What TCP needs set, this does not. */
	conn->settled = conn->server.prompt = true;
	return REASON_NONE;
}

enum step
strand_say(struct strand *strand, struct sy_span bytes)
{
	struct conn *parent = strand->parent;
	struct side *side = strand_side(strand);

	/* The module will hear that it has ended. */
	if (!side || bytes.len == 0)
		return WAIT;
	if (strand->finished)
		return talk_broken(parent, "EMIT to an exchange after its FINISH");
	if (strand->up_len + bytes.len > STRAND_UP_MOST)
		return talk_broken(parent, "EMIT of more than an exchange can hold");
	if (!queue_put(parent->way->chunks, &strand->up, bytes)) {
		parent->reset = true;
		return way_close(parent, REASON_NO_MEMORY);
	}
	strand->up_len += bytes.len;
	side->ready |= EV_READ;
	way_rouse(strand->conn);
	return WAIT;
}

void
strand_finish(struct strand *strand)
{
	struct side *side = strand_side(strand);

	strand->finished = true;
	if (!side)
		return;
	side->ready |= EV_READ;
	way_rouse(strand->conn);
}

/* What was said to somebody outside is still good. */
void
strand_end(struct strand *strand)
{
	strand->finished |= strand->outside;
	strand_forget(strand);
}

void
strand_forget(struct strand *strand)
{
	struct conn *parent = strand->parent;
	struct side *side = strand_side(strand);

	list_remove(&strand->of_parent);
	table_remove(&parent->way->strands, &strand->found);
	list_remove(&strand->of_news);
	parent->talk->n_strands--;
	parent->talk->n_outside -= strand->outside;
	strand->parent = NULL;
	if (!side) {
		strand_free(strand, parent->way);
		return;
	}
	side->ready |= EV_READ | EV_WRITE;
	way_rouse(strand->conn);
}

void
strand_forget_all(struct conn *parent)
{
	list_each_safe(link, &parent->talk->strands)
		strand_forget(container_of(link, struct strand, of_parent));
}

void
strand_use(struct strand *strand, size_t n)
{
	struct side *side = strand_side(strand);

	queue_drop(strand->parent->way->chunks, &strand->down, n);
	strand->down_len -= n;
	strand->parent->last_ms = strand->parent->way->child->now_ms;
	if (n == 0 || !side)
		return;
	side->ready |= EV_WRITE;
	if (side_pending(side))
		way_rouse(strand->conn);
}

