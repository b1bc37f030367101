#include "way/strand.h"

#include <errno.h>

#include "base/slab.h"
#include "way/side.h"

static size_t
strand_room(const struct strand *strand)
{
	uint32_t window = service_run(strand->parent)->protocol->window;

	return window > WAY_WINDOW ? window : WAY_WINDOW;
}

static void
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

/* ---- conn's side of it ---- */

ssize_t
strand_recv(struct side *side, uint8_t *at, size_t len)
{
	struct strand *strand = side->strand;
	size_t n;

	if (!strand->parent) {
		errno = ECONNRESET;
		return -1;
	}
	n = queue_take(strand->conn->way->chunks, &strand->up, at, len);
	strand->up_len -= n;
	if (n > 0 && strand->up_len == 0) {
		strand->taken = true;
		strand_news(strand);
	}
	/* The end is still to be read. */
	if (strand->up_len == 0 && !(strand->finished && n > 0))
		side->ready &= (uint8_t)~EV_READ;
	if (n > 0 || strand->finished)
		return (ssize_t)n;
	errno = EAGAIN;
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
strand_leave(struct conn *conn)
{
	struct side *client = &conn->client;
	struct strand *strand = client->strand;

	if (!strand)
		return;
	client->strand = NULL;
	strand->conn = NULL;
	if (!strand->parent) {
		strand_free(strand, conn->way);
		return;
	}
	strand->down_len += queue_len(client->out);
	queue_join(&strand->down, &client->out);
	queue_free(conn->way->chunks, &strand->up);
	strand->up_len = 0;
	strand->broken = !strand->ended && (conn->reset || conn->talk->cut);
	strand->ended = true;
	strand_news(strand);
}

bool
strand_is_orphan(const struct conn *conn)
{
	return conn->client.strand && !conn->client.strand->parent;
}

/* ---- the parent's side ---- */

struct strand *
strand_find(const struct conn *parent, uint32_t exchange)
{
	list_each(link, &parent->talk->strands) {
		struct strand *strand = container_of(link, struct strand, of_parent);

		if (strand->exchange == exchange)
			return strand;
	}
	return NULL;
}

/* The session of the exchange. Without one the exchange has ended before it began. */
static void
strand_begin(struct strand *strand)
{
	struct conn *parent = strand->parent, *conn = NULL;

	if (parent->way->conns < parent->way->most)
		conn = accept_block(parent->way, parent->listener, parent->generation);
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

enum step
strand_open(struct conn *parent, uint32_t exchange)
{
	struct talk *talk = parent->talk;
	struct way *way = parent->way;
	struct strand *strand;

	if (strand_find(parent, exchange))
		return talk_broken(parent, "OPEN of an exchange that is open");
	if (talk->n_strands >= STRAND_MOST)
		return talk_broken(parent, "too many exchanges are open");
	if (!way->strand_slab)
		way->strand_slab = slab_new(sizeof(*strand));
	strand = slab_take(way->strand_slab);
	if (!strand) {
		parent->reset = true;
		return way_close(parent, REASON_NO_MEMORY);
	}
	*strand = (struct strand){ .parent = parent, .exchange = exchange };
	link_init(&strand->of_parent);
	link_init(&strand->of_news);
	list_append(&talk->strands, &strand->of_parent);
	talk->n_strands++;
	talk->opened = true;
	strand_begin(strand);
	return WAIT;
}

enum step
strand_say(struct strand *strand, struct sy_span bytes)
{
	struct conn *parent = strand->parent, *conn = strand->conn;

	/* The module will hear that it has ended. */
	if (!conn || bytes.len == 0)
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
	conn->client.ready |= EV_READ;
	way_rouse(conn);
	return WAIT;
}

void
strand_finish(struct strand *strand)
{
	strand->finished = true;
	if (!strand->conn)
		return;
	strand->conn->client.ready |= EV_READ;
	way_rouse(strand->conn);
}

void
strand_forget(struct strand *strand)
{
	struct conn *parent = strand->parent;

	list_remove(&strand->of_parent);
	list_remove(&strand->of_news);
	parent->talk->n_strands--;
	strand->parent = NULL;
	if (strand->conn)
		way_rouse(strand->conn);
	else
		strand_free(strand, parent->way);
}

void
strand_forget_all(struct conn *parent)
{
	list_each_safe(link, &parent->talk->strands)
		strand_forget(container_of(link, struct strand, of_parent));
}

void
strand_look_again(struct conn *parent)
{
	list_each(link, &parent->talk->strands) {
		struct strand *strand = container_of(link, struct strand, of_parent);

		if (!strand->needs || strand->down_len == 0)
			continue;
		strand->needs = false;
		strand_news(strand);
	}
}

/* ---- what the exchanges say ---- */

static void
strand_use(struct strand *strand, size_t n)
{
	struct conn *conn = strand->conn;

	queue_drop(strand->parent->way->chunks, &strand->down, n);
	strand->down_len -= n;
	strand->parent->last_ms = strand->parent->way->child->now_ms;
	if (n == 0 || !conn)
		return;
	conn->client.ready |= EV_WRITE;
	if (side_pending(&conn->client))
		way_rouse(conn);
}

/* The module sees the bytes in one piece: the first chunk, and all when that is not enough. */
static struct sy_span
strand_input(struct strand *strand)
{
	struct way *way = strand->parent->way;

	if (strand->needs && strand->down && strand->down->next)
		(void)queue_gather(way->chunks, &strand->down);
	return strand->down ? chunk_span(strand->down) : sy_span(way->scratch, 0);
}

/* WAIT: ask again, unless it was NEED. */
static enum step
strand_obey(struct strand *strand, const struct sy_verdict *verdict, struct sy_span in)
{
	struct conn *parent = strand->parent;
	enum step next = WAIT;

	switch (verdict->what) {
	case SY_NEED:
		strand->needs = true;
		strand->seen = in.len;
		return WAIT;
	case SY_DROP:
	case SY_EMIT:
		if (verdict->n > in.len)
			return talk_broken(parent, "more bytes consumed than there are");
		if (verdict->what == SY_EMIT)
			next = talk_emit(parent, verdict);
		strand_use(strand, verdict->n);
		return next;
	case SY_OPEN:
	case SY_FINISH:
	case SY_END:
		return talk_many(parent, verdict);
	case SY_CLOSE:
		return talk_close(parent, verdict);
	case SY_ROUTE:
	case SY_PASS:
	case SY_PIN:
	case SY_TUNNEL:
	case SY_LEARN:
		break;
	}
	return talk_broken(parent, "verdict that is not for an exchange of OPEN");
}

static bool
strand_has_news(const struct strand *strand, size_t len, bool eof)
{
	if (strand->again || strand->taken || (eof && !strand->told_eof))
		return true;
	return len > 0 && !(strand->needs && strand->seen == len);
}

static enum step
strand_show(struct strand *strand)
{
	struct conn *parent = strand->parent;
	struct sy_session *session = &parent->talk->session;
	uint32_t exchange = strand->exchange;

	for (unsigned still = 0; !side_pending(&parent->client); still++) {
		struct sy_span in = strand_input(strand);
		bool eof = strand->ended && strand->down_len == in.len;
		struct sy_verdict verdict;
		enum step next;

		if (!strand_has_news(strand, in.len, eof)) {
			list_remove(&strand->of_news);
			break;
		}
		strand->needs = strand->again = strand->taken = false;
		strand->told_eof = eof;
		session->waiting = strand->up_len;
		session->broken = eof && strand->broken;
		verdict = talk_ask(parent, SY_SERVER, exchange, in, eof);
		strand->again = verdict.what != SY_NEED;
		next = strand_obey(strand, &verdict, in);
		if (next != WAIT || (verdict.what == SY_END && verdict.exchange == exchange))
			return next;
		if (verdict.n > 0)
			still = 0;
		else if (still > TALK_STANDSTILL)
			return talk_broken(parent, "no progress");
	}
	return WAIT;
}

enum step
strand_hear(struct conn *parent)
{
	struct talk *talk = parent->talk;

	/* Each in its turn, as many as there are now. */
	for (uint32_t n = talk->n_strands; n > 0 && !list_empty(&talk->news); n--) {
		struct strand *strand = container_of(talk->news.next, struct strand, of_news);
		enum step next;

		if (side_pending(&parent->client))
			return WAIT;
		list_remove(&strand->of_news);
		list_append(&talk->news, &strand->of_news);
		next = strand_show(strand);
		if (next != WAIT)
			return next;
	}
	return WAIT;
}
