/* What a protocol module is told beside the bytes, and its last word when an exchange fails. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "way/figures.h"
#include "way/reach.h"
#include "way/side.h"
#include "way/side_tls.h"
#include "way/talk.h"

enum { TALK_MARK = 2048 };        /* bytes that persistence may say to the client */

/* SNI, ALPN and certificate, one behind the other: of a session, and of those that descend from it. */
struct talk_names {
	unsigned refs;
	char bytes[];
};

size_t
talk_size(const struct sy_protocol *protocol)
{
	return protocol->data ? sizeof(struct talk) + protocol->session_size : 0;
}

void
talk_init(struct conn *conn)
{
	const struct sy_protocol *protocol = service_run(conn)->protocol;

	conn->tunnel = !protocol->data;
	if (conn->tunnel)
		return;
	conn->talk = (void *)((char *)conn + (sizeof(*conn) + 15) / 16 * 16);
	memset(conn->talk, 0, talk_size(protocol));
	conn->talk->conn = conn;
	link_init(&conn->talk->strands);
	link_init(&conn->talk->news);
	link_init(&conn->talk->roused);
	timer_init(&conn->talk->deadline[SY_CLIENT]);
	timer_init(&conn->talk->deadline[SY_SERVER]);
}

void
talk_calm(struct talk *talk)
{
	timer_stop(&talk->deadline[SY_CLIENT]);
	timer_stop(&talk->deadline[SY_SERVER]);
}

static void
talk_unmark(struct conn *conn)
{
	struct talk *talk = conn->talk;

	if (talk->mark)
		chunk_give(conn->way->chunks, talk->mark);
	talk->mark = NULL;
	talk->session.mark.len = 0;
}

void
talk_free(struct conn *conn)
{
	struct talk *talk = conn->talk;
	const struct sy_protocol *protocol = service_run(conn)->protocol;

	if (!talk)
		return;
	talk_calm(talk);
	if (talk->open && protocol->close)
		protocol->close(&talk->session);
	figures_end(service_run(conn), talk->told);
	figures_hold_end(service_run(conn), &talk->told_held);
	talk_unmark(conn);
	talk_forget_sent(conn);
	list_remove(&talk->roused);
	must(list_empty(&talk->strands));
	if (talk->names && --talk->names->refs == 0)
		free(talk->names);
	conn->talk = NULL;
}

void
talk_renew(struct conn *conn)
{
	struct talk *talk = conn->talk;

	talk->needs[SY_CLIENT] = false;
	talk->again[SY_CLIENT] = talk->open;
	talk->session.service_name = conn->service->name;
	talk->session.conf = conn->service->protocol.conf;
}

static struct sy_span
talk_name(char **at, struct sy_span words)
{
	char *here = *at;

	if (words.len)
		memcpy(here, words.at, words.len);
	*at += words.len;
	return sy_span(here, words.len);
}

/* The worker's words are the next connection's soon, and exchanges may outlive the connection. Without
 * memory there are none. */
static void
talk_secured(struct conn *conn)
{
	struct sy_facts *facts = &conn->talk->session.facts;
	struct talk_names *names;
	size_t len;
	char *at;

	if (!conn->client.tls)
		return; /* an exchange of OPEN has its parent's */
	side_tls_facts(conn, facts);
	len = facts->sni.len + facts->alpn.len + facts->certificate.len;
	if (len == 0)
		return;
	names = malloc(sizeof(*names) + len);
	if (!names) {
		facts->sni.len = facts->alpn.len = facts->certificate.len = 0;
		return;
	}
	names->refs = 1;
	at = names->bytes;
	facts->sni = talk_name(&at, facts->sni);
	facts->alpn = talk_name(&at, facts->alpn);
	facts->certificate = talk_name(&at, facts->certificate);
	conn->talk->names = names;
}

void
talk_descend(struct conn *conn, const struct conn *parent)
{
	struct talk *talk = conn->talk;
	const struct sy_facts *facts = &parent->talk->session.facts;

	talk->parent_id = parent->id;
	talk->session.stream = true;
	talk->session.datagram = parent->talk->session.datagram;
	talk->name = parent->talk->name;
	talk->names = parent->talk->names;
	if (talk->names)
		talk->names->refs++;
	talk->session.facts.secure = facts->secure;
	talk->session.facts.sni = facts->sni;
	talk->session.facts.alpn = facts->alpn;
	talk->session.facts.certificate = facts->certificate;
}

void
talk_open(struct conn *conn)
{
	struct talk *talk = conn->talk;
	const struct sy_protocol *protocol = service_run(conn)->protocol;

	if (talk->open)
		return;
	talk->open = true;
	talk->session.conf = conn->service->protocol.conf;
	talk->session.state = talk->state;
	talk->session.service_name = conn->service->name;
	talk->session.secret = board_secret(conn->way->board);
	talk->session.datagram |= conn->datagrams;
	if (conn->service->uses & SY_FLOWS)
		reach_name(conn);
	figures_open(service_run(conn), &talk->session);
	talk->session.facts.client = conn->client_addr;
	talk->session.facts.service = conn->service_addr;
	talk_secured(conn);
	talk_brief(conn);
	if (protocol->open)
		protocol->open(&talk->session);
}

/* By the operator's word or its own; or all that we do here comes to an end. */
static bool
talk_draining(const struct conn *conn)
{
	const struct way *way = conn->way;

	if (way->child->stopping || service_run(conn)->removed_ms)
		return true;
	return conn->talk->session.server_name && pick_drains(way->board, conn->seat);
}

void
talk_brief(struct conn *conn)
{
	struct sy_session *session = &conn->talk->session;

	session->now_ms = conn->way->child->now_ms;
	session->draining = talk_draining(conn);
}

void
talk_chosen(struct conn *conn, const struct sy_facts *facts, const struct choice *choice)
{
	const struct service *service = conn->service;
	const struct sy_persistence *persistence;
	struct talk *talk = conn->talk;
	char words[TALK_MARK];
	size_t len;

	talk_unmark(conn);
	if (!service->persistence.module || choice->why == BECAUSE_SORRY)
		return;
	persistence = service->persistence.module->ops;
	if (!persistence->mark)
		return;
	len = persistence->mark(service->persistence.conf, facts,
	                        lineup_server(choice->target->run, choice->seat), choice->named, words,
	                        sizeof(words));
	if (len == 0 || len > sizeof(words))
		return;
	/* Without memory the client is balanced anew the next time. */
	if (window_put(conn->way->chunks, &talk->mark, sy_span(words, len), len))
		talk->session.mark = chunk_span(talk->mark);
}

void
talk_served(struct conn *conn)
{
	struct sy_session *session = &conn->talk->session;

	session->server_name = conn->seat->server->name;
	session->server = conn->server_addr;
	session->server_secure = conn->target->tls != NULL;
	session->server_datagram = conn->server.datagram;
}

void
talk_dropped(struct conn *conn)
{
	struct sy_session *session = &conn->talk->session;

	session->server_name = NULL;
	session->server = (struct sy_addr){ .family = SY_NO_ADDR };
	session->flow_service = session->server;
	session->server_secure = session->server_datagram = false;
}

/* Not what was read, but what the module keeps in its own memory. */
static bool
talk_keeps(const struct talk *talk, struct sy_span span)
{
	const struct sy_protocol *protocol = service_run(talk->conn)->protocol;

	return span.at >= talk->state && span.at < talk->state + protocol->session_size;
}

static void
talk_move_span(struct sy_span *span, struct sy_span from, struct sy_span to)
{
	if (span->at >= from.at && span->at <= from.at + from.len)
		span->at = to.at + (span->at - from.at);
}

void
talk_forget_facts(struct talk *talk)
{
	struct sy_facts *facts = &talk->session.facts;
	struct sy_span *spans[] = {
		&facts->host, &facts->method, &facts->path, &facts->session, &facts->user, &facts->head,
	};

	for (unsigned i = 0; i < 6; i++)
		if (!talk_keeps(talk, *spans[i]))
			spans[i]->len = 0;
}

bool
talk_keep(struct conn *conn)
{
	struct way *way = conn->way;
	struct sy_facts *facts = &conn->talk->session.facts;
	struct sy_span *spans[] = {
		&facts->host, &facts->method, &facts->path, &facts->session, &facts->user, &facts->head,
	};
	struct sy_span before = side_input(way, &conn->client), after;

	if (!side_keep(way))
		return false;
	after = side_input(way, &conn->client);
	/* Another server may have to be picked by them. */
	for (unsigned i = 0; before.len && after.at != before.at && i < 6; i++)
		talk_move_span(spans[i], before, after);
	return true;
}

/* ---- the last word ---- */

/* Between two exchanges a server owes nothing. */
static int
talk_failed_by_server(const struct talk *talk, enum sy_failure what)
{
	return talk->routed ? (int)what : -1;
}

/* enum sy_failure, or -1: nothing that the client could be told. */
static int
talk_failure(const struct conn *conn)
{
	const struct talk *talk = conn->talk;

	switch ((enum reason)conn->reason) {
	case REASON_DENIED:
	case REASON_NOT_ALLOWED:
	case REASON_DISABLED:
	case REASON_SERVICE_FULL:
	case REASON_SERVICE_RATE:
	case REASON_SOURCE_FULL:
	case REASON_SOURCE_RATE:
		return SY_FAIL_REFUSED;
	case REASON_NO_SERVER:
	case REASON_TOO_FEW_UP:
	case REASON_SERVERS_FULL:
	case REASON_FLOW_FULL:
		return SY_FAIL_NO_SERVER;
	case REASON_CONNECT_REFUSED:
	case REASON_CONNECT_TIMEOUT:
	case REASON_CONNECT_FAILED:
	case REASON_CONNECT_LOCAL:
	case REASON_TLS_SERVER:
	case REASON_FLOW_GONE:
		return SY_FAIL_CONNECT;
	case REASON_SERVER_DONE:
	case REASON_SERVER_RESET:
	case REASON_SERVER_LOST:
	case REASON_SERVER_DOWN:
		return talk_failed_by_server(talk, SY_FAIL_BROKEN);
	case REASON_PROTOCOL_CUT:
	case REASON_TLS_BROKEN:
		return conn->from_server ? talk_failed_by_server(talk, SY_FAIL_BROKEN) : -1;
	case REASON_PROTOCOL_WINDOW:
		return conn->from_server ? talk_failed_by_server(talk, SY_FAIL_BROKEN)
		                         : (int)SY_FAIL_WINDOW;
	case REASON_PROTOCOL_LATE:
		return conn->from_server ? talk_failed_by_server(talk, SY_FAIL_LATE)
		                         : (int)SY_FAIL_CLIENT_LATE;
	case REASON_IDLE:
		/* Who owes something is late. */
		return talk->routed && !talk->pass[SY_CLIENT] ? SY_FAIL_LATE : SY_FAIL_CLIENT_LATE;
	case REASON_GREET_TIMEOUT:
		return conn->admitted ? (int)SY_FAIL_CLIENT_LATE : -1;
	case REASON_NONE:
	case REASON_CLIENT_DONE:
	case REASON_CLIENT_RESET:
	case REASON_CLIENT_LOST:
	case REASON_CLIENT_EARLY:
	case REASON_PROXY_HEADER:
	case REASON_PROTOCOL:
	case REASON_PROTOCOL_BROKEN:
	case REASON_REMOVED:
	case REASON_SHUTDOWN:
	case REASON_OPERATOR:
	case REASON_NO_MEMORY:
	case REASON_WORKER_FULL:
	case REASON_SERVER_REFUSED:
	case REASON_PACKET_RATE:
	case REASON_PACKET_DROPPED:
	case REASON_MOVED:
	case REASON_TLS_HANDSHAKE:
	case REASON_TLS_LATE:
	case REASON_TLS_SLOW:
	case REASON_DRAINED:
	case REASONS_END:
		break;
	}
	return -1;
}

static bool
talk_may_fail(const struct conn *conn)
{
	const struct side *client = &conn->client;

	return service_run(conn)->protocol->fail && !conn->tunnel && !conn->talk->answered &&
	       side_open(client) && !client->shut &&
	       (client->strand || !conn->listener->tls || side_is_secured(client));
}

void
talk_fail(struct conn *conn)
{
	struct talk *talk = conn->talk;
	struct sy_verdict verdict;
	int what = talk_failure(conn);

	if (what < 0 || !talk_may_fail(conn))
		return;
	talk_open(conn);
	talk_brief(conn);
	verdict = service_run(conn)->protocol->fail(&talk->session, (enum sy_failure)what);
	figures_tell(service_run(conn), conn->entered ? seat_run(conn) : NULL, &talk->session,
	             talk->told);
	if (verdict.what != SY_CLOSE ||
	    (verdict.bytes.len && side_send(conn->way, &conn->client, verdict.bytes) < 0))
		return;
	if (verdict.reason)
		conn->words = verdict.reason;
	talk_note_own(talk, &verdict);
	talk_calm(talk);
	timer_stop(&conn->timer);
	conn->timed = conn->reset = false;
	conn->parting = verdict.bytes.len > 0;
}
