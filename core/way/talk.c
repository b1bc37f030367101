#include "way/talk.h"

#include <errno.h>
#include <stdatomic.h>

#include "share/persist.h"
#include "way/figures.h"
#include "way/forecast.h"
#include "way/report.h"
#include "way/side.h"
#include "way/strand.h"

enum { TALK_ROUNDS = 16 };        /* from client to exchanges and back, in one turn */

static const struct sy_protocol *
talk_protocol(const struct conn *conn)
{
	return service_run(conn)->protocol;
}

static void talk_expect(struct talk *talk, unsigned which, uint64_t ms);

static bool
talk_blocked(const struct conn *conn)
{
	return side_pending(&conn->client) || side_pending(&conn->server);
}

/* A side that we did not read, because the other one takes slowly, gets its time again. */
static void
talk_late(struct talk *talk, enum sy_side side)
{
	struct conn *conn = talk->conn;

	if (talk->looks[side]) {
		talk->again[side] = true;
		way_drive(conn);
		return;
	}
	if (talk->held[side]) {
		talk_expect(talk, side, talk->patience_ms[side]);
		talk->held[side] = talk_blocked(conn);
		return;
	}
	conn->from_server = side == SY_SERVER;
	way_end(conn, REASON_PROTOCOL_LATE);
}

static void
talk_client_late(struct timer_entry *entry, uint64_t now_ms)
{
	(void)now_ms;
	talk_late(container_of(entry, struct talk, deadline[SY_CLIENT]), SY_CLIENT);
}

static void
talk_server_late(struct timer_entry *entry, uint64_t now_ms)
{
	(void)now_ms;
	talk_late(container_of(entry, struct talk, deadline[SY_SERVER]), SY_SERVER);
}

static void
talk_expect(struct talk *talk, unsigned which, uint64_t ms)
{
	struct child *child = talk->conn->way->child;

	talk->patience_ms[which] = ms;
	talk->looks[which] = talk->held[which] = false;
	timeq_arm(timeq_get(child->timeouts, ms, which ? talk_server_late : talk_client_late),
	          &talk->deadline[which], child->now_ms);
}

void
talk_look(struct talk *talk, enum sy_side side, uint64_t ms)
{
	if (!talk->looks[side] && timer_armed(&talk->deadline[side]))
		return;
	talk_expect(talk, side, ms);
	talk->looks[side] = true;
}

size_t
talk_window(const struct conn *conn)
{
	uint32_t window = talk_protocol(conn)->window;

	return window ? window : WAY_WINDOW;
}

bool
talk_has_room(const struct conn *conn, const struct side *side)
{
	const struct talk *talk = conn->talk;

	/* One datagram after the other. */
	if (side->datagram && side_input(conn->way, side).len > 0)
		return false;
	return talk && (talk->pass[side == &conn->server] ||
	                side_input(conn->way, side).len < talk_window(conn));
}

enum step
talk_broken(struct conn *conn, const char *words)
{
	conn->words = words;
	conn->reset = true;
	return way_close(conn, REASON_PROTOCOL_BROKEN);
}

/* More of a message is wanted that will never come. */
static enum step
talk_cut(struct conn *conn, struct side *side, struct sy_span in)
{
	struct talk *talk = conn->talk;

	conn->from_server = side == &conn->server;
	if (side == &conn->server) {
		bool until_end = !talk->pass[SY_SERVER] || talk->pass[SY_SERVER] > INT64_MAX;

		/* Of a message of unknown length the end is the end. */
		talk->cut = talk->answered && !talk->pass[SY_SERVER];
		if (in.len == 0 && until_end)
			return way_close(conn, REASON_SERVER_DONE);
		conn->reset = true;
		return way_close(conn, REASON_PROTOCOL_CUT);
	}
	if (!talk->routed)
		return way_close(conn, conn->server_addr.family || talk->opened || talk->n_exchanges
		                 ? REASON_CLIENT_DONE : REASON_CLIENT_EARLY);
	/* The client may still want to hear the rest. A server that others will use is not told. */
	if (!service_run(conn)->shares && side_open(&conn->server) && !side_pending(&conn->server) && !conn->server.shut)
		side_end(&conn->server);
	return WAIT;
}

void
talk_lose(struct conn *conn)
{
	struct service_run *run = service_run(conn);

	tally_add(run->reasons[REASON_PACKET_DROPPED], 1);
	tally_add(run->tally->refused, 1);
}

/* There is no more of a datagram than there is. A client's may be early; then it is looked at later. */
static bool
talk_drops(struct conn *conn, struct side *side, struct sy_span in)
{
	if (!side->datagram || in.len == 0 || (side == &conn->client && conn->talk->routed))
		return false;
	side_use(conn->way, side, in.len);
	conn->talk->seen[side == &conn->server] = 0;
	talk_lose(conn);
	return true;
}

/* An exchange of OPEN whose client has said all waits for its server, and the module says how long. */
static void
talk_expect_answer(struct conn *conn, const struct side *side, const struct sy_verdict *verdict,
                   struct sy_span in)
{
	struct talk *talk = conn->talk;

	if (side == &conn->client && talk->session.stream && talk->routed && in.len == 0 &&
	    verdict->deadline_ms && !timer_armed(&talk->deadline[SY_SERVER]))
		talk_expect(talk, SY_SERVER, verdict->deadline_ms);
}

static enum step
talk_need(struct conn *conn, struct side *side, const struct sy_verdict *verdict,
          struct sy_span in)
{
	struct talk *talk = conn->talk;
	unsigned which = side == &conn->server;

	talk->needs[which] = true;
	talk->seen[which] = in.len;
	if (talk->looks[which])
		timer_stop(&talk->deadline[which]);
	talk->looks[which] = false;
	if (verdict->look_ms)
		talk_look(talk, which ? SY_SERVER : SY_CLIENT, verdict->look_ms);
	if (talk_drops(conn, side, in))
		in.len = 0;
	if (side->eof) {
		talk_expect_answer(conn, side, verdict, in);
		return talk_cut(conn, side, in);
	}
	/* What a client says ahead of its turn may fill the window; it is looked at again later. */
	if (in.len >= talk_window(conn) && !side->datagram && (side == &conn->server || !talk->routed)) {
		conn->from_server = side == &conn->server;
		conn->reset = true;
		return way_close(conn, REASON_PROTOCOL_WINDOW);
	}
	if (verdict->deadline_ms && !timer_armed(&talk->deadline[which]))
		talk_expect(talk, which, verdict->deadline_ms);
	return WAIT;
}

static enum step
talk_route(struct conn *conn, const struct side *side, uint32_t exchange)
{
	struct talk *talk = conn->talk;

	if (side == &conn->server)
		return talk_broken(conn, "ROUTE for what the server said");
	if (exchange >= SY_FROM_OUTSIDE)
		return talk_broken(conn, "ROUTE of an exchange with a number of those from outside");
	if (talk->routed) {
		if (!(conn->service->uses & SY_FIRST_ONLY))
			return talk_broken(conn, "ROUTE before the END of the exchange");
		/* It has said all that it knows: the rest is a tunnel. */
		conn->tunnel = true;
		return STEP_RELAY;
	}
	talk->routed = true;
	talk->answered = talk->spent = false;
	talk->exchange = exchange;
	conn->n_tried = 0;
	return STEP_PICK;
}

static enum step
talk_tunnel(struct conn *conn)
{
	bool routed = conn->talk->routed;

	if (conn->client.datagram || conn->server.datagram)
		return talk_broken(conn, "TUNNEL of datagrams");
	conn->tunnel = conn->talk->routed = true;
	talk_calm(conn->talk);
	return routed ? STEP_RELAY : STEP_PICK;
}

static int
talk_send(struct conn *conn, struct side *to, struct sy_span bytes)
{
	if (to == &conn->server)
		talk_keep_sent(conn, bytes);
	else
		conn->talk->answered = conn->talk->routed;
	return side_send(conn->way, to, bytes);
}

static bool
talk_means_strand(const struct talk *talk, uint32_t exchange)
{
	return talk->opened && !(talk->routed && talk->exchange == exchange);
}

/* To an exchange that has ended nothing can be said: the module will hear of it. */
static enum step
talk_emit_many(struct conn *conn, const struct sy_verdict *verdict)
{
	struct strand *strand = strand_find(conn, verdict->exchange);

	return strand ? strand_say(strand, verdict->bytes) : WAIT;
}

enum step
talk_emit(struct conn *conn, const struct sy_verdict *verdict)
{
	struct side *to = verdict->to == SY_SERVER ? &conn->server : &conn->client;

	if (verdict->to == SY_SERVER && talk_means_strand(conn->talk, verdict->exchange))
		return talk_emit_many(conn, verdict);
	if (!side_open(to) || to->shut)
		return talk_broken(conn, "EMIT to a side without connection");
	if (verdict->bytes.len && talk_send(conn, to, verdict->bytes) < 0)
		return talk_lost(conn, to, errno);
	if (verdict->reason && to == &conn->client && !conn->talk->routed)
		report_own(conn, verdict->reason);
	return WAIT;
}

enum step
talk_many(struct conn *conn, const struct sy_verdict *verdict)
{
	struct strand *strand;

	if (verdict->what == SY_OPEN)
		return strand_open(conn, verdict->exchange);
	strand = strand_find(conn, verdict->exchange);
	if (strand && verdict->what == SY_FINISH)
		strand_finish(strand);
	else if (strand)
		strand_end(strand);
	return WAIT;
}

static enum step
talk_pass_on(struct conn *conn, struct side *side, const struct sy_verdict *verdict)
{
	struct talk *talk = conn->talk;
	unsigned which = side == &conn->server;

	if (!side_open(way_other(conn, side)) || !talk->routed)
		return talk_broken(conn, "PASS without an exchange");
	talk->pass[which] = verdict->n;
	if (verdict->deadline_ms && verdict->n)
		talk_expect(talk, which, verdict->deadline_ms);
	return WAIT;
}

/* What the server said of itself is a key to come back by. */
static enum step
talk_learn(struct conn *conn, const struct sy_verdict *verdict)
{
	const struct service *service = conn->service;
	const struct sy_persistence *persistence;
	struct sy_key key = { .len = 0 };
	struct way *way = conn->way;

	if (!conn->talk->routed || !side_open(&conn->server))
		return talk_broken(conn, "LEARN without an exchange");
	if (!service->persistence.module || !service->life.timeout_ms ||
	    !conn->seat || conn->target == service->sorry)
		return WAIT;
	persistence = service->persistence.module->ops;
	if (persistence->learn)
		persistence->learn(service->persistence.conf, verdict->bytes, &key);
	if (key.len)
		persist_store(way->board, way->row, conn->target->group, &key,
		              conn->seat->server->id, &service->life, way->child->now_ms);
	return WAIT;
}

static enum step
talk_end(struct conn *conn, const struct sy_verdict *verdict)
{
	struct talk *talk = conn->talk;

	/* What was promised to the server and has not come would begin the next exchange. */
	talk->spent = verdict->spent || talk->pass[SY_CLIENT] || side_pending(&conn->server);
	talk->answered = false;
	talk->needs[0] = talk->needs[1] = false;
	/* It may want to close, or to say how long it waits for the next. */
	talk->again[SY_CLIENT] = true;
	talk->again[SY_SERVER] = false;
	talk->told_eof[0] = talk->told_eof[1] = false;
	talk->pass[0] = talk->pass[1] = 0;
	if (!talk->routed)
		return WAIT;
	talk->routed = false;
	return STEP_CLASSIFY;
}

void
talk_note_own(struct talk *talk, const struct sy_verdict *verdict)
{
	talk->ours = !talk->routed && verdict->bytes.len && talk->session.asked.status;
}

enum step
talk_close(struct conn *conn, const struct sy_verdict *verdict)
{
	conn->words = verdict->reason;
	conn->parting = true;
	talk_note_own(conn->talk, verdict);
	if (verdict->bytes.len && side_send(conn->way, &conn->client, verdict->bytes) < 0)
		return way_close_error(conn, &conn->client, errno);
	return way_close(conn, REASON_PROTOCOL);
}

/* Carries out one verdict. WAIT: ask again, unless it is NEED. */
static enum step
talk_obey(struct conn *conn, struct side *side, const struct sy_verdict *verdict,
          struct sy_span in)
{
	struct talk *talk = conn->talk;
	enum step next;

	if ((verdict->what == SY_DROP || verdict->what == SY_EMIT) && verdict->n > in.len)
		return talk_broken(conn, "more bytes consumed than there are");
	switch (verdict->what) {
	case SY_NEED:
		return talk_need(conn, side, verdict, in);
	case SY_ROUTE:
		return talk_route(conn, side, verdict->exchange);
	case SY_PASS:
		return talk_pass_on(conn, side, verdict);
	case SY_DROP:
		side_use(conn->way, side, verdict->n);
		return WAIT;
	case SY_EMIT:
		next = talk_emit(conn, verdict);
		side_use(conn->way, side, verdict->n);
		return next;
	case SY_END:
		if (talk_means_strand(talk, verdict->exchange))
			return talk_many(conn, verdict);
		return talk_end(conn, verdict);
	case SY_PIN:
		talk->pinned = true;
		return WAIT;
	case SY_TUNNEL:
		return talk_tunnel(conn);
	case SY_CLOSE:
		return talk_close(conn, verdict);
	case SY_LEARN:
		return talk_learn(conn, verdict);
	case SY_OPEN:
	case SY_FINISH:
		return talk_many(conn, verdict);
	}
	return talk_broken(conn, "unknown verdict");
}

/* Bytes that the module has let pass already. 0, or errno. */
static int
talk_pass(struct conn *conn, struct side *side, struct sy_span in)
{
	uint64_t *pass = &conn->talk->pass[side == &conn->server];
	size_t n = in.len < *pass ? in.len : (size_t)*pass;
	int error = 0;

	if (talk_send(conn, way_other(conn, side), sy_span(in.at, n)) < 0)
		error = errno;
	*pass -= n;
	side_use(conn->way, side, n);
	return error;
}

/* Bytes were promised that will never come: what the module takes for complete is not. */
static bool
talk_breaks_promise(const struct talk *talk, const struct side *side, unsigned which, size_t len)
{
	return side->eof && !len && talk->pass[which] && talk->pass[which] <= INT64_MAX;
}

static enum step
talk_cut_short(struct conn *conn, const struct side *side)
{
	conn->from_server = side == &conn->server;
	if (!conn->from_server)
		return way_close(conn, REASON_CLIENT_DONE);
	conn->reset = true;
	return way_close(conn, REASON_PROTOCOL_CUT);
}

/* Would the module see something that it has not seen? */
static bool
talk_has_news(const struct talk *talk, const struct side *side, unsigned which, size_t len)
{
	if (side->eof && !talk->told_eof[which])
		return true;
	if (talk->pass[which])
		return false;
	if (talk->again[which])
		return true;
	return len > 0 && !(talk->needs[which] && talk->seen[which] == len);
}

struct sy_verdict
talk_ask(struct conn *conn, enum sy_side side, uint32_t exchange, struct sy_span in, bool eof)
{
	struct talk *talk = conn->talk;
	struct sy_verdict verdict;

	talk_brief(conn);
	verdict = talk_protocol(conn)->data(&talk->session, side, exchange, in, eof);
	figures_tell(service_run(conn), conn->entered ? seat_run(conn) : NULL, &talk->session,
	             talk->told);
	figures_hold(service_run(conn), &talk->session, &talk->told_held);
	forecast_tell(conn->entered ? seat_run(conn) : NULL, &talk->session, &talk->until_told);
	if (verdict.relieve_ms && conn->entered)
		lineup_relieve(seat_run(conn)->lineup, conn->seat,
		               conn->way->child->now_ms + verdict.relieve_ms);
	talk->asked += verdict.what != SY_NEED;
	return verdict;
}

/* What we answer ourselves may be many times what was asked: it is taken before more is asked for. */
static bool
talk_owes(const struct conn *conn, const struct side *side)
{
	return side == &conn->client && !conn->talk->routed && side_pending(side);
}

/* Shows the module what is there. */
static enum step
talk_show(struct conn *conn, struct side *side)
{
	struct talk *talk = conn->talk;
	unsigned which = side == &conn->server, still = 0;

	for (;;) {
		struct sy_span in = side_input(conn->way, side);
		struct sy_verdict verdict;
		enum step next;

		if (talk->pass[which] && in.len > 0) {
			int error = talk_pass(conn, side, in);

			if (error)
				return talk_lost(conn, way_other(conn, side), error);
			still = 0;
			continue;
		}
		if (talk_breaks_promise(talk, side, which, in.len))
			return talk_cut_short(conn, side);
		if (talk_owes(conn, side) || !talk_has_news(talk, side, which, in.len))
			return WAIT;
		talk->needs[which] = talk->again[which] = false;
		talk->told_eof[which] = side->eof;
		verdict = talk_ask(conn, which ? SY_SERVER : SY_CLIENT, talk->exchange, in, side->eof);
		if (verdict.what != SY_NEED) {
			timer_stop(&talk->deadline[which]);
			talk->again[which] = true;
		}
		next = talk_obey(conn, side, &verdict, in);
		if (next != WAIT || verdict.what == SY_NEED)
			return next;
		if (verdict.n > 0)
			still = 0;
		else if (++still > TALK_STANDSTILL)
			return talk_broken(conn, "no progress");
	}
}

static size_t
talk_wants(const struct conn *conn, const struct side *side)
{
	uint64_t pass = conn->talk->pass[side == &conn->server];
	size_t window = talk_window(conn);

	if (side_input(conn->way, side).len == 0 && pass > 0)
		return pass < WAY_SCRATCH ? (size_t)pass + window : WAY_SCRATCH + window;
	return window;
}

enum step
talk_hear(struct conn *conn, struct side *side)
{
	talk_open(conn);
	for (;;) {
		enum step next = talk_show(conn, side);
		ssize_t n;

		if (next != WAIT)
			return next;
		if (talk_blocked(conn)) {
			conn->talk->held[side == &conn->server] = true;
			return WAIT;
		}
		if (side->eof || !(side->ready & EV_READ) || !talk_has_room(conn, side))
			return WAIT;
		n = side_read(conn, side, talk_wants(conn, side));
		if (n < 0 && errno != EAGAIN)
			return talk_lost(conn, side, errno);
		if (side == &conn->client || !conn->talk->keeping)
			continue;
		if (n == 0)
			return talk_lost(conn, side, ECONNRESET);
		if (n > 0) {
			talk_forget_sent(conn);
			conn->n_tried = 0;
		}
	}
}

/* What the client says may let the module hear exchanges that it did not want to hear, and the other way
 * round. */
enum step
talk_listen(struct conn *conn)
{
	struct talk *talk = conn->talk;
	struct side *client = &conn->client;

	for (unsigned round = 0; round < TALK_ROUNDS; round++) {
		uint64_t asked = talk->asked;
		enum step next = talk_hear(conn, client);

		if (next != WAIT || !talk->opened)
			return next;
		if (talk->asked != asked)
			strand_look_again(conn);
		asked = talk->asked;
		next = strand_hear(conn);
		if (next != WAIT)
			return next;
		if (talk->asked == asked || side_pending(client))
			return WAIT;
		talk->needs[SY_CLIENT] = false;
	}
	way_rouse(conn);
	return WAIT;
}
