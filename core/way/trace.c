#include "way/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "net/socket.h"
#include "way/side.h"
#include "way/side_tls.h"

enum { TRACE_SEGMENT = 32768, TRACE_WORDS = 512 };

/* ---- begin and end ---- */

static bool
trace_word(struct trace *trace, const char *name, const char *value, uint64_t *ms)
{
	uint64_t n;

	if (strcmp(name, "service") == 0)
		return snprintf(trace->of.service, sizeof(trace->of.service), "%s", value) <
		       (int)sizeof(trace->of.service);
	if (strcmp(name, "client") == 0)
		return net_parse(value, &trace->of.client);
	if (!uint_parse(value, &n))
		return false;
	if (strcmp(name, "decrypted") == 0)
		trace->of.decrypted = n;
	else if (strcmp(name, "bytes") == 0)
		trace->of.most_bytes = n < TRACE_MOST_BYTES ? n : TRACE_MOST_BYTES;
	else if (strcmp(name, "ms") == 0)
		*ms = n < TRACE_MOST_MS ? n : TRACE_MOST_MS;
	else
		return false;
	return true;
}

static bool
trace_read_words(struct trace *trace, const char *text, uint64_t *ms)
{
	char *copy = strdup(text), *rest = copy, *word;
	bool good = copy != NULL;

	while (good && (word = strsep(&rest, " "))) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = '\0';
		good = !*word || (value && trace_word(trace, word, value, ms));
	}
	free(copy);
	return good;
}

void
trace_free(struct way *way)
{
	struct trace *trace = way->trace ? way->trace : way->traced;

	if (!trace)
		return;
	text_free(&trace->out);
	free(trace);
	way->trace = way->traced = NULL;
}

static void
trace_drop(struct way *way)
{
	struct trace *trace = way->trace ? way->trace : way->traced;

	if (trace)
		ev_timer_stop(way->loop, &trace->timer);
	trace_free(way);
}

/* First its own time is over, then that of who should have fetched it. */
static void
trace_timed(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct trace *trace = container_of(timer, struct trace, timer);
	struct way *way = trace->way;

	(void)events;
	if (!way->trace) {
		trace_drop(way);
		return;
	}
	way->traced = trace;
	way->trace = NULL;
	ev_timer_set(timer, TRACE_KEPT_MS / 1000., 0.);
	ev_timer_start(loop, timer);
}

const char *
trace_begin(struct way *way, const char *text)
{
	struct trace *trace;
	uint64_t ms = 0;

	if (way->trace)
		return "a trace is running";
	trace_drop(way);
	trace = calloc(1, sizeof(*trace));
	if (!trace)
		return "no memory";
	trace->way = way;
	trace->since_ms = way->child->now_ms;
	if (!trace_read_words(trace, text, &ms) || !ms || !trace->of.most_bytes) {
		free(trace);
		return "not understood";
	}
	ev_timer_init(&trace->timer, trace_timed, (double)ms / 1000, 0.);
	ev_timer_start(way->loop, &trace->timer);
	way->trace = trace;
	return NULL;
}

void
trace_end(struct way *way, struct text *out)
{
	const struct trace *trace = way->trace ? way->trace : way->traced;
	struct trace_summary summary;

	if (!trace)
		return;
	summary = (struct trace_summary){
		.packets = trace->n_packets, .conns = trace->n_conns, .left_out = trace->left_out,
		.full = trace->full,
	};
	text_add(out, (const char *)&summary, sizeof(summary));
	text_add(out, trace->out.at, trace->out.len);
	trace_drop(way);
}

/* ---- whom it is about ---- */

static bool
trace_wants(const struct trace *trace, const char *service, const struct sy_addr *client)
{
	if (trace->of.service[0] && strcmp(trace->of.service, service) != 0)
		return false;
	return trace->of.client.addr.family == SY_NO_ADDR || sy_net_has(&trace->of.client, client);
}

/* The entry of that id, or a new one (id 0: to be filled in by the caller). NULL: no place. */
static struct trace_conn *
trace_find(struct trace *trace, uint64_t id)
{
	uint64_t at = (id * 0x9e3779b97f4a7c15) >> 32;

	for (unsigned i = 0; i < TRACE_CONNS; i++) {
		struct trace_conn *conn = &trace->conns[(at + i) & (TRACE_CONNS - 1)];

		if (conn->id == id || !conn->id)
			return conn;
	}
	return NULL;
}

static struct trace_conn *
trace_new(struct trace *trace, struct trace_conn *place, uint64_t id, bool datagrams)
{
	if (!place || trace->n_conns >= TRACE_CONNS * 3 / 4) {
		trace->left_out++;
		return NULL;
	}
	trace->n_conns++;
	place->id = id;
	place->datagrams = datagrams;
	return place;
}

/* ---- TCP ---- */

static void
trace_tcp(struct trace *trace, struct trace_conn *conn, enum trace_side side, bool by_peer,
          unsigned flags, const char *comment)
{
	struct trace_half *half = &conn->half[side];
	struct trace_packet packet = {
		.conn = conn, .side = side, .by_peer = by_peer, .flags = flags, .comment = comment,
	};

	/* UDP has no such packets; what there is to say stands on an empty one. */
	if (!conn->datagrams || comment)
		trace_packet(trace, &packet);
	if (flags & (TRACE_SYN | TRACE_FIN))
		half->said[!by_peer]++;
	half->fin[!by_peer] |= (flags & (TRACE_FIN | TRACE_RST)) != 0;
}

/* The three packets that open one. Clients open theirs, we open those to servers. */
static void
trace_open(struct trace *trace, struct trace_conn *conn, enum trace_side side, const char *comment)
{
	bool by_peer = side == TRACE_CLIENTS;

	conn->half[side].open = true;
	trace_tcp(trace, conn, side, by_peer, TRACE_SYN, comment);
	trace_tcp(trace, conn, side, !by_peer, TRACE_SYN | TRACE_ACK, NULL);
	trace_tcp(trace, conn, side, by_peer, TRACE_ACK, NULL);
}

static void
trace_server_addresses(struct trace_conn *traced, const struct conn *conn)
{
	struct trace_half *half = &traced->half[TRACE_SERVERS];

	*half = (struct trace_half){ .peer = conn->server_addr };
	if (conn->server.io.fd < 0 || !socket_local(conn->server.io.fd, &half->own))
		half->own = (struct sy_addr){ .family = conn->server_addr.family };
}

/* One that is seen for the first time. */
static void
trace_introduce(struct trace *trace, struct trace_conn *traced, const struct conn *conn)
{
	struct trace_half *half = &traced->half[TRACE_CLIENTS];
	char words[TRACE_WORDS], client[ADDR_TEXT_SIZE];
	bool before = conn->accepted_ms < trace->since_ms;

	half->peer = conn->peer;
	half->own = conn->service_addr;
	snprintf(words, sizeof(words), "connection %llx of virtual-service %s, worker %u%s%s%s%s",
	         (unsigned long long)conn->id, conn->service->name, conn->way->child->index,
	         memcmp(&conn->peer, &conn->client_addr, sizeof(conn->peer)) != 0 ? "; the client is " : "",
	         memcmp(&conn->peer, &conn->client_addr, sizeof(conn->peer)) != 0
	         ? addr_text(&conn->client_addr, client) : "",
	         before ? "; it was open before the trace began" : "",
	         conn->client.strand ? "; an exchange of another connection" : "");
	if (!conn->client.strand)
		trace_open(trace, traced, TRACE_CLIENTS, words);
	if (before && conn->seat && conn->server.io.fd >= 0) {
		trace_server_addresses(traced, conn);
		snprintf(words, sizeof(words), "server %s: %s; it was open before the trace began",
		         conn->seat->server->name, choose_why_words[conn->why]);
		trace_open(trace, traced, TRACE_SERVERS, words);
	}
}

/* NULL: it is not traced. */
static struct trace_conn *
trace_of(struct conn *conn)
{
	struct trace *trace = conn->way->trace;
	struct trace_conn *traced;

	/* What comes from another worker is seen there. */
	if (conn->hop || !trace_wants(trace, conn->service->name, &conn->client_addr))
		return NULL;
	traced = trace_find(trace, conn->id);
	if (traced && traced->id)
		return traced->ended ? NULL : traced;
	traced = trace_new(trace, traced, conn->id, conn->datagrams || conn->server.datagram);
	if (traced)
		trace_introduce(trace, traced, conn);
	return traced;
}

static void
trace_bytes(struct conn *conn, const struct side *side, bool by_peer, struct sy_span bytes)
{
	struct trace_conn *traced = side->strand ? NULL : trace_of(conn);
	enum trace_side which = side == &conn->server ? TRACE_SERVERS : TRACE_CLIENTS;
	struct trace *trace = conn->way->trace;

	if (!traced || !traced->half[which].open)
		return;
	while (bytes.len > 0) {
		bool whole = traced->datagrams || bytes.len < TRACE_SEGMENT;
		size_t n = whole ? bytes.len : TRACE_SEGMENT;
		struct trace_packet packet = {
			.conn = traced, .side = which, .by_peer = by_peer, .flags = TRACE_PUSH | TRACE_ACK,
			.bytes = sy_span(bytes.at, n), .secret = side->tls && !trace->of.decrypted,
		};

		trace_packet(trace, &packet);
		traced->half[which].said[!by_peer] += (uint32_t)n;
		bytes.at += n;
		bytes.len -= n;
	}
}

void
trace_read(struct conn *conn, const struct side *side, struct sy_span bytes)
{
	trace_bytes(conn, side, true, bytes);
}

void
trace_written(struct conn *conn, const struct side *side, struct sy_span bytes)
{
	trace_bytes(conn, side, false, bytes);
}

static void
trace_fin(struct conn *conn, const struct side *side, bool by_peer)
{
	struct trace_conn *traced = side->strand ? NULL : trace_of(conn);
	enum trace_side which = side == &conn->server ? TRACE_SERVERS : TRACE_CLIENTS;

	if (traced && traced->half[which].open && !traced->half[which].fin[!by_peer])
		trace_tcp(conn->way->trace, traced, which, by_peer, TRACE_FIN | TRACE_ACK, NULL);
}

void
trace_eof(struct conn *conn, const struct side *side)
{
	trace_fin(conn, side, true);
}

void
trace_shut(struct conn *conn, const struct side *side)
{
	trace_fin(conn, side, false);
}

/* ---- decisions ---- */

void
trace_served(struct conn *conn)
{
	struct trace_conn *traced = trace_of(conn);
	char words[TRACE_WORDS], tls[96], server_tls[96];

	if (!traced)
		return;
	if (!side_tls_summary(&conn->client, tls))
		strcpy(tls, "in clear");
	if (!side_tls_summary(&conn->server, server_tls))
		strcpy(server_tls, "in clear");
	snprintf(words, sizeof(words), "server %s of pool %s: %s; client %s, server %s",
	         conn->seat->server->name, conn->target->pool->name, choose_why_words[conn->why], tls,
	         server_tls);
	if (traced->half[TRACE_SERVERS].open) {
		trace_tcp(conn->way->trace, traced, TRACE_SERVERS, false, TRACE_ACK, words);
		return;
	}
	trace_server_addresses(traced, conn);
	trace_open(conn->way->trace, traced, TRACE_SERVERS, words);
}

void
trace_connect_failed(struct conn *conn)
{
	struct trace_conn *traced = trace_of(conn);
	char words[TRACE_WORDS];

	if (!traced)
		return;
	trace_server_addresses(traced, conn);
	snprintf(words, sizeof(words), "server %s of pool %s: %s", conn->seat->server->name,
	         conn->target->pool->name, choose_why_words[conn->why]);
	trace_tcp(conn->way->trace, traced, TRACE_SERVERS, false, TRACE_SYN, words);
	snprintf(words, sizeof(words), "server %s: %s%s%s", conn->seat->server->name,
	         reason_rows[conn->reason].words, conn->error ? ": " : "",
	         conn->error ? strerror(conn->error) : "");
	trace_tcp(conn->way->trace, traced, TRACE_SERVERS, true, TRACE_RST | TRACE_ACK, words);
}

void
trace_left(struct conn *conn, bool reset)
{
	struct trace_conn *traced = trace_of(conn);

	if (!traced || !traced->half[TRACE_SERVERS].open)
		return;
	trace_tcp(conn->way->trace, traced, TRACE_SERVERS, false,
	          reset ? TRACE_RST | TRACE_ACK : TRACE_FIN | TRACE_ACK,
	          "the exchange is over; the connection to the server is left");
	traced->half[TRACE_SERVERS].open = false;
}

static void
trace_close(struct trace *trace, struct trace_conn *traced, enum trace_side side, bool reset,
            const char *comment)
{
	const struct trace_half *half = &traced->half[side];
	unsigned flags = reset ? TRACE_RST : half->fin[1] ? 0 : TRACE_FIN;

	if (half->open)
		trace_tcp(trace, traced, side, false, flags | TRACE_ACK, comment);
}

void
trace_closed(struct conn *conn, const char *words)
{
	struct trace_conn *traced = trace_of(conn);
	char comment[TRACE_WORDS];

	if (!traced)
		return;
	snprintf(comment, sizeof(comment), "%s: %s", reason_rows[conn->reason].name, words);
	trace_close(conn->way->trace, traced, TRACE_SERVERS, conn->reset, comment);
	trace_close(conn->way->trace, traced, TRACE_CLIENTS, conn->reset, comment);
	traced->ended = true;
}

/* ---- UDP ---- */

static struct trace_conn *
trace_of_flow(const struct flow *flow)
{
	struct trace *trace = flow->door->way->trace;
	struct trace_conn *traced;

	if (!trace_wants(trace, flow->service->name, &flow->key.client))
		return NULL;
	traced = trace_find(trace, flow->id);
	if (!traced || !traced->id)
		traced = trace_new(trace, traced, flow->id, true);
	return traced;
}

/* The first time, and when the flow has another server. True: there is something to say about it. */
static bool
trace_flow_server(struct trace_conn *traced, const struct flow *flow)
{
	struct trace_half *client = &traced->half[TRACE_CLIENTS], *server = &traced->half[TRACE_SERVERS];

	if (memcmp(&server->peer, &flow->server_addr, sizeof(server->peer)) == 0)
		return false;
	client->peer = flow->key.client;
	client->own = flow->key.local;
	server->peer = flow->server_addr;
	if (flow->io.fd < 0 || !socket_local(flow->io.fd, &server->own))
		server->own = (struct sy_addr){ .family = flow->server_addr.family };
	return true;
}

void
trace_datagram(const struct flow *flow, bool from_client, struct sy_span bytes)
{
	struct trace_conn *traced = trace_of_flow(flow);
	struct trace *trace = flow->door->way->trace;
	struct trace_packet packet = { .conn = traced, .bytes = bytes };
	char words[TRACE_WORDS];

	if (!traced || !flow->seat)
		return;
	if (trace_flow_server(traced, flow)) {
		snprintf(words, sizeof(words), "flow %llx of virtual-service %s, worker %u; server %s of pool "
		         "%s: %s", (unsigned long long)flow->id, flow->service->name,
		         flow->door->way->child->index, flow->seat->server->name,
		         flow->target->pool->name, choose_why_words[flow->why]);
		packet.comment = words;
	}
	packet.side = from_client ? TRACE_CLIENTS : TRACE_SERVERS;
	packet.by_peer = true;
	trace_packet(trace, &packet);
	packet.side = from_client ? TRACE_SERVERS : TRACE_CLIENTS;
	packet.by_peer = false;
	trace_packet(trace, &packet);
}
