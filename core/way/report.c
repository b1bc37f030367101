#include "way/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "net/socket.h"
#include "way/side_tls.h"
#include "way/talk.h"

static uint64_t
report_age_ms(const struct conn *conn, uint64_t since_ms)
{
	uint64_t now_ms = conn->way->child->now_ms;

	return now_ms > since_ms ? now_ms - since_ms : 0;
}

/* "1803 s", "0.4 s" */
static const char *
report_seconds(uint64_t ms, char out[static DURATION_TEXT_SIZE])
{
	if (ms < 10000)
		snprintf(out, DURATION_TEXT_SIZE, "%" PRIu64 ".%" PRIu64 " s", ms / 1000,
		         ms % 1000 / 100);
	else
		snprintf(out, DURATION_TEXT_SIZE, "%" PRIu64 " s", ms / 1000);
	return out;
}

/* A side that breaks off or falls silent: how long after the last byte tells who had a timeout. */
static void
report_broken(const struct conn *conn, const char *words, char *out)
{
	char silent[DURATION_TEXT_SIZE], idle[DURATION_TEXT_SIZE];
	bool obvious = conn->error == ECONNRESET || conn->error == EPIPE || conn->error == 0;

	snprintf(out, REPORT_WORDS, "%s%s%s%s %s after the last byte; idle timeout is %s", words,
	         obvious ? "" : " (", obvious ? "" : strerror(conn->error), obvious ? "" : ")",
	         report_seconds(report_age_ms(conn, conn->last_ms), silent),
	         report_seconds(conn->service->settings.idle_timeout.ms, idle));
}

static void
report_connect(const struct conn *conn, const char *words, char *out)
{
	const char *who = conn->seat ? conn->seat->server->name : "server";
	char limit[DURATION_TEXT_SIZE];
	unsigned n = conn->n_tried;

	switch ((enum reason)conn->reason) {
	case REASON_CONNECT_TIMEOUT:
		snprintf(out, REPORT_WORDS, "%s did not answer within connect-timeout (%s)", who,
		         duration_text(conn->service->settings.connect_timeout.ms, limit));
		break;
	case REASON_CONNECT_REFUSED:
		snprintf(out, REPORT_WORDS, "%s refused the connection", who);
		break;
	case REASON_CONNECT_FAILED:
		snprintf(out, REPORT_WORDS, "%s could not be reached (%s)", who,
		         strerror(conn->error));
		break;
	default:
		snprintf(out, REPORT_WORDS, "%s (%s)", words,
		         conn->error == EAFNOSUPPORT
		         ? "the server's address is of another family than snat's or the client's"
		         : strerror(conn->error));
		break;
	}
	if (n > 1)
		snprintf(out + strlen(out), REPORT_WORDS - strlen(out), "; %u servers were tried", n);
}

static void
report_limit(const struct conn *conn, const char *words, char *out)
{
	const struct service_settings *settings = &conn->service->settings;
	uint32_t limit = 0;

	if (conn->reason == REASON_SERVICE_FULL)
		limit = settings->max_connections;
	else if (conn->reason == REASON_SERVICE_RATE)
		limit = settings->max_rate.per_second;
	else if (conn->reason == REASON_SOURCE_FULL)
		limit = settings->max_connections_per_source;
	else if (conn->reason == REASON_SOURCE_RATE)
		limit = settings->max_rate_per_source.per_second;
	else if (conn->reason == REASON_TOO_FEW_UP)
		limit = settings->minimum_up;
	snprintf(out, REPORT_WORDS, "%s (%u)", words, limit);
}

static void
report_tls(const struct conn *conn, const char *words, char *out)
{
	const char *problem = conn->problem ? conn->problem : "no reason given";
	char limit[DURATION_TEXT_SIZE];

	if (conn->reason == REASON_TLS_SLOW)
		snprintf(out, REPORT_WORDS, "%s (worker-handshakes %u)", words, conn->way->most_handshakes);
	else if (conn->reason == REASON_TLS_LATE)
		snprintf(out, REPORT_WORDS, "client did not complete the TLS handshake within "
		         "handshake-timeout (%s)",
		         duration_text(conn->listener->tls->handshake_timeout.ms, limit));
	else if (conn->reason == REASON_TLS_SERVER && conn->n_tried > 1)
		snprintf(out, REPORT_WORDS, "%s: %s; %u servers were tried", words, problem,
		         conn->n_tried);
	else if (conn->reason == REASON_TLS_BROKEN)
		snprintf(out, REPORT_WORDS, "TLS with the %s failed: %s",
		         conn->from_server ? "server" : "client", problem);
	else
		snprintf(out, REPORT_WORDS, "%s: %s", words, problem);
}

static void
report_down(const struct conn *conn, const char *words, char *out)
{
	struct cell_health health = { .reason = "" };

	if (conn->seat)
		board_health_read(board_cell_at(conn->way->board, conn->seat->cell), &health);
	snprintf(out, REPORT_WORDS, "%s%s%s", words, *health.reason ? ": " : "", health.reason);
}

const char *
report_words(const struct conn *conn, char out[static REPORT_WORDS])
{
	const char *words = reason_rows[conn->reason].words;
	const struct service_settings *settings = &conn->service->settings;
	const char *side = conn->from_server ? "server" : "client";
	char time[DURATION_TEXT_SIZE];

	strcpy(out, words);
	switch ((enum reason)conn->reason) {
	case REASON_CLIENT_RESET:
	case REASON_SERVER_RESET:
	case REASON_CLIENT_LOST:
	case REASON_SERVER_LOST:
		report_broken(conn, words, out);
		break;
	case REASON_IDLE:
		snprintf(out, REPORT_WORDS, "nothing was said for %s, that is idle-timeout",
		         report_seconds(conn->datagrams ? service_run(conn)->flow_idle_ms
		                                        : settings->idle_timeout.ms, time));
		break;
	case REASON_SERVER_REFUSED:
		snprintf(out, REPORT_WORDS, "%s (%s)", words, strerror(conn->error));
		break;
	case REASON_GREET_TIMEOUT:
		snprintf(out, REPORT_WORDS, "client said %" PRIu64 " bytes, not enough, within "
		         "greet-timeout (%s)", conn->client.bytes,
		         duration_text(settings->greet_timeout.ms, time));
		break;
	case REASON_SERVICE_FULL:
	case REASON_SERVICE_RATE:
	case REASON_SOURCE_FULL:
	case REASON_SOURCE_RATE:
	case REASON_TOO_FEW_UP:
		report_limit(conn, words, out);
		break;
	case REASON_CONNECT_REFUSED:
	case REASON_CONNECT_TIMEOUT:
	case REASON_CONNECT_FAILED:
	case REASON_CONNECT_LOCAL:
		report_connect(conn, words, out);
		break;
	case REASON_PROXY_HEADER:
	case REASON_PROTOCOL:
	case REASON_PROTOCOL_BROKEN:
		snprintf(out, REPORT_WORDS, "%s: %s", words, conn->words ? conn->words : "no reason given");
		break;
	case REASON_PROTOCOL_WINDOW:
	case REASON_PROTOCOL_LATE:
	case REASON_PROTOCOL_CUT:
		snprintf(out, REPORT_WORDS, "%s %s%s%s", side, words, conn->words ? ": " : "",
		         conn->words ? conn->words : "");
		break;
	case REASON_TLS_HANDSHAKE:
	case REASON_TLS_LATE:
	case REASON_TLS_SLOW:
	case REASON_TLS_SERVER:
	case REASON_TLS_BROKEN:
		report_tls(conn, words, out);
		break;
	case REASON_DRAINED:
		snprintf(out, REPORT_WORDS, "%s (%s)", words,
		         duration_text(settings->drain_close.ms, time));
		break;
	case REASON_SERVER_DOWN:
		report_down(conn, words, out);
		break;
	case REASON_REMOVED:
		snprintf(out, REPORT_WORDS, "%s (%s)", words,
		         duration_text(settings->drain_timeout.ms, time));
		break;
	case REASON_NONE:
	case REASON_CLIENT_DONE:
	case REASON_SERVER_DONE:
	case REASON_CLIENT_EARLY:
	case REASON_DENIED:
	case REASON_NOT_ALLOWED:
	case REASON_DISABLED:
	case REASON_NO_SERVER:
	case REASON_SERVERS_FULL:
	case REASON_SHUTDOWN:
	case REASON_OPERATOR:
	case REASON_NO_MEMORY:
	case REASON_WORKER_FULL:
	case REASON_PACKET_RATE:
	case REASON_PACKET_DROPPED:
	case REASON_MOVED:
	case REASONS_END:
		break;
	}
	return out;
}

static const char *
report_why(const struct conn *conn)
{
	return conn->server_addr.family ? choose_why_words[conn->why] : NULL;
}

static const char *
report_addr(const struct sy_addr *addr, char out[static ADDR_TEXT_SIZE])
{
	return addr->family ? addr_text(addr, out) : NULL;
}

/* Hexadecimal, as short as it can be. */
static void
report_id(uint64_t id, char out[static 17])
{
	int shift = 60;

	while (shift > 0 && !(id >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*out++ = "0123456789abcdef"[id >> shift & 15];
	*out = '\0';
}

/* What the client asked for: of us, or of the server when TLS goes through us unopened. */
static const char *
report_sni(const struct conn *conn, char out[static 256])
{
	struct sy_span name = { .len = 0 };

	if (conn->client.tls)
		name = sy_span_text(conn->client.tls->sni);
	else if (conn->talk && !conn->listener->tls)
		name = conn->talk->session.facts.sni;
	if (name.len == 0 || name.len > 255)
		return NULL;
	memcpy(out, name.at, name.len);
	out[name.len] = '\0';
	return out;
}

/* Text that is not there leaves its field out. */
static void
report_field(struct log_field *fields, unsigned *n, const char *name, const char *text)
{
	if (text)
		fields[(*n)++] = (struct log_field){ .name = name, .text = text };
}

static void
report_number(struct log_field *fields, unsigned *n, const char *name, uint64_t number)
{
	fields[(*n)++] = (struct log_field){ .name = name, .number = number };
}

void
report_end(const struct conn *conn)
{
	char words[REPORT_WORDS], id[17], parent[17], client[ADDR_TEXT_SIZE], via[ADDR_TEXT_SIZE];
	char vip[ADDR_TEXT_SIZE], source[ADDR_TEXT_SIZE], server[ADDR_TEXT_SIZE];
	struct sy_addr local = { .family = SY_NO_ADDR };
	char tls[96], server_tls[96], sni[256];
	struct log_field fields[20];
	unsigned n = 0;

	if (!conn->generation->config->global.log_connections || !log_wants(LOG_LEVEL_INFO))
		return;
	if (side_open(&conn->server))
		socket_local(conn->server.io.fd, &local);
	report_id(conn->id, id);
	report_field(fields, &n, "id", id);
	if (conn->talk && conn->talk->parent_id) {
		report_id(conn->talk->parent_id, parent);
		report_field(fields, &n, "parent", parent);
	}
	report_field(fields, &n, "service", conn->service->name);
	report_field(fields, &n, "client", report_addr(&conn->client_addr, client));
	if (memcmp(&conn->peer, &conn->client_addr, sizeof(conn->peer)) != 0)
		report_field(fields, &n, "via", report_addr(&conn->peer, via));
	report_field(fields, &n, "vip", report_addr(&conn->service_addr, vip));
	report_field(fields, &n, "source", report_addr(&local, source));
	report_field(fields, &n, "server", conn->seat ? conn->seat->server->name : NULL);
	report_field(fields, &n, "address", report_addr(&conn->server_addr, server));
	report_field(fields, &n, "why", report_why(conn));
	report_field(fields, &n, "tls", side_tls_summary(&conn->client, tls));
	report_field(fields, &n, "sni", report_sni(conn, sni));
	report_field(fields, &n, "server_tls", side_tls_summary(&conn->server, server_tls));
	report_number(fields, &n, "ms", report_age_ms(conn, conn->accepted_ms));
	report_number(fields, &n, "connect_us", conn->connect_us);
	report_number(fields, &n, "up", conn->client.bytes);
	report_number(fields, &n, "down", conn->server.bytes);
	report_field(fields, &n, "end", reason_rows[conn->reason].name);
	log_event(LOG_LEVEL_INFO, conn->datagrams ? "flow" : "connection", report_words(conn, words), fields, n);
}

static void
report_member(struct text *out, const char *name, const char *value)
{
	if (!value)
		return;
	text_printf(out, ",\"%s\":", name);
	text_json(out, value, strlen(value));
}

void
report_json(const struct conn *conn, struct text *out)
{
	char client[ADDR_TEXT_SIZE], vip[ADDR_TEXT_SIZE], source[ADDR_TEXT_SIZE];
	char server[ADDR_TEXT_SIZE], peer[ADDR_TEXT_SIZE], tls[96], server_tls[96], sni[256];
	struct sy_addr local = { .family = SY_NO_ADDR };

	if (side_open(&conn->server))
		socket_local(conn->server.io.fd, &local);
	text_printf(out, "{\"id\":\"%" PRIx64 "\",\"worker\":%u,\"generation\":%" PRIu64, conn->id,
	            conn->way->child->index, conn->generation->number);
	if (conn->talk && conn->talk->parent_id)
		text_printf(out, ",\"parent\":\"%" PRIx64 "\"", conn->talk->parent_id);
	report_member(out, "transport", conn->datagrams ? "udp" : "tcp");
	report_member(out, "service", conn->service->name);
	report_member(out, "client", report_addr(&conn->client_addr, client));
	report_member(out, "peer", report_addr(&conn->peer, peer));
	report_member(out, "vip", report_addr(&conn->service_addr, vip));
	report_member(out, "server", conn->seat ? conn->seat->server->name : NULL);
	report_member(out, "source", report_addr(&local, source));
	report_member(out, "server_address", report_addr(&conn->server_addr, server));
	report_member(out, "why", report_why(conn));
	report_member(out, "tls", side_tls_summary(&conn->client, tls));
	report_member(out, "sni", report_sni(conn, sni));
	report_member(out, "server_tls", side_tls_summary(&conn->server, server_tls));
	report_member(out, "step", way_step_names[conn->step]);
	text_printf(out, ",\"age_ms\":%" PRIu64 ",\"idle_ms\":%" PRIu64
	            ",\"bytes_up\":%" PRIu64 ",\"bytes_down\":%" PRIu64 "}",
	            report_age_ms(conn, conn->accepted_ms), report_age_ms(conn, conn->last_ms),
	            conn->client.bytes, conn->server.bytes);
}
