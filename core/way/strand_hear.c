/* What the exchanges of a session say, shown to its module. */
#include "way/side.h"
#include "way/strand.h"

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

/* The module sees the bytes in one piece: the first chunk, and all when that is not enough. */
static struct sy_span
strand_input(struct strand *strand)
{
	struct way *way = strand->parent->way;

	if (strand->needs && strand->down && strand->down->next)
		(void)queue_gather(way->chunks, &strand->down);
	return strand->down ? chunk_span(strand->down) : sy_span(way->scratch, 0);
}

/* sy_session.at. */
static uint32_t
strand_seat(const struct strand *strand)
{
	const struct conn *conn = strand->conn;

	if (strand->outside)
		return strand->from;
	return conn && conn->seat ? conn->seat->cell + 1 : 0;
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
		if (verdict->look_ms)
			talk_look(parent->talk, SY_CLIENT, verdict->look_ms);
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
		session->at = strand_seat(strand);
		verdict = talk_ask(parent, SY_SERVER, exchange, in, eof);
		session->at = 0;
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
