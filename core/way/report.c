#include "way/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "share/recorder.h"
#include "way/report_fields.h"
#include "way/talk.h"
#include "way/trace.h"

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
	case REASON_FLOW_GONE:
	case REASON_FLOW_FULL:
	case REASONS_END:
		break;
	}
	return out;
}

const char *const report_names[] = {
	[REPORT_CONNECTION] = "connection", [REPORT_FLOW] = "flow", [REPORT_EXCHANGE] = "exchange",
};

/* An exchange that ended in order has no reason: its connection goes on. */
const char *
report_end_name(const struct report *report)
{
	return report->done ? EXCHANGE_DONE : reason_rows[report->conn->reason].name;
}

const char *
report_end_words(const struct report *report, char out[static REPORT_WORDS])
{
	if (!report->done)
		return report_words(report->conn, out);
	return report->own_words ? report->own_words : "it is complete";
}

/* ---- the line in the log ---- */

static void
report_line(const struct report *report)
{
	struct report_value values[LOG_FIELDS_IN_LINE];
	struct log_field fields[LOG_FIELDS_IN_LINE];
	char words[REPORT_WORDS];
	unsigned n = 0;

	for (unsigned i = 0; i < LOG_FIELDS_IN_LINE; i++)
		if (report_field(report, (enum log_field_id)i, &values[i]))
			fields[n++] = (struct log_field){ log_field_names[i], values[i].text, values[i].number };
	log_event(LOG_LEVEL_INFO, report_names[report->what], report_end_words(report, words), fields, n);
}

static void
report_log(struct report *report)
{
	/* Kept, so that lines need no memory. */
	static struct text line;
	const struct conn *conn = report->conn;
	const struct global_settings *settings = &conn->generation->config->global;
	const struct exchange_log *log = &settings->exchange_log;
	const struct exchange_end end = {
		.service = conn->service->name,
		.server = conn->seat && !report->ours ? conn->seat->server->name : NULL,
		.end = report_end_name(report), .client = &conn->client_addr,
		.status = report->session ? report->session->asked.status : 0, .ms = report->ms,
		.error = !report->done && reason_rows[conn->reason].error,
	};

	if (!settings->log_connections || !log_wants(LOG_LEVEL_INFO))
		return;
	report->one_in = exchange_log_keep(log, &end);
	if (!report->one_in ||
	    (report->one_in > 1 && hash_random(&conn->way->random) % report->one_in != 0))
		return;
	if (!log->pieces) {
		report_line(report);
		return;
	}
	report_format(report, log, &line);
	log_bare(LOG_LEVEL_INFO, line.at, line.len);
}

/* ---- the flight recorder ---- */

static void
report_copy(char *to, size_t room, const char *name)
{
	size_t len = strlen(name);

	memcpy(to, name, len < room ? len : room - 1);
}

static void
report_asked(const struct sy_asked *asked, char *to, size_t room)
{
	const struct sy_span parts[] = { asked->method, sy_span(" ", asked->method.len ? 1 : 0),
	                                 asked->host };

	for (unsigned i = 0; i < 3; i++) {
		size_t len = parts[i].len < room - 1 ? parts[i].len : room - 1;

		if (len == 0)
			continue;
		memcpy(to, parts[i].at, len);
		to += len;
		room -= len;
	}
}

static void
report_record(const struct report *report)
{
	static const uint16_t kinds[] = { RECORD_CONNECTION, RECORD_FLOW, RECORD_EXCHANGE };
	const struct conn *conn = report->conn;
	struct record record = { .kind = kinds[report->what] };
	struct record_end *end = &record.end;

	if (!recorder_on(conn->way->board))
		return;
	*end = (struct record_end){
		.id = conn->id, .ms = report->ms, .up = report->up, .down = report->down,
		.client = conn->client_addr, .vip = conn->service_addr, .server = conn->server_addr,
		.status = report->session ? (uint16_t)report->session->asked.status : 0,
		.error = conn->error, .reason = conn->reason,
		.why = conn->server_addr.family ? conn->why : RECORD_NO_SERVER,
	};
	report_copy(end->service, sizeof(end->service), conn->service->name);
	if (conn->seat)
		report_copy(end->server_name, sizeof(end->server_name), conn->seat->server->name);
	if (report->session)
		report_asked(&report->session->asked, end->asked, sizeof(end->asked));
	recorder_end(conn->way->board, conn->way->row, conn->way->child->now_ms, &record,
	             reason_rows[conn->reason].error || end->status >= 500);
}

/* ---- what has ended ---- */

static void
report_one_exchange(struct report *report)
{
	const struct conn *conn = report->conn;
	struct talk *talk = conn->talk;

	report->session = &talk->session;
	report->what = REPORT_EXCHANGE;
	report->ms = report->ours ? 0 : report_age_ms(conn, talk->began_ms);
	report->up = conn->client.bytes - talk->up;
	report->down = conn->server.bytes - talk->down;
	if (conn->generation->config->global.exchange_log.exchanges)
		report_log(report);
	talk->up = conn->client.bytes;
	talk->down = conn->server.bytes;
}

void
report_exchange(const struct conn *conn)
{
	struct report report = { .conn = conn, .done = true };

	if (conn->talk->parent_id)
		return;
	conn->talk->n_exchanges++;
	report_one_exchange(&report);
}

void
report_own(const struct conn *conn, const char *words)
{
	struct report report = { .conn = conn, .done = true, .ours = true, .own_words = words };

	if (conn->talk->parent_id)
		return;
	conn->talk->n_exchanges++;
	report_one_exchange(&report);
}

void
report_conn(const struct conn *conn)
{
	struct report report = {
		.conn = conn, .session = conn->talk ? &conn->talk->session : NULL,
		.what = conn->datagrams ? REPORT_FLOW : REPORT_CONNECTION,
		.ms = report_age_ms(conn, conn->accepted_ms), .up = conn->client.bytes,
		.down = conn->server.bytes,
	};
	struct report last = { .conn = conn, .ours = conn->talk && !conn->talk->routed };
	char words[REPORT_WORDS];

	if (conn->talk && (conn->talk->routed || conn->talk->ours) && !conn->talk->parent_id)
		report_one_exchange(&last);
	report_log(&report);
	report_record(&report);
	if (conn->way->trace)
		trace_closed((struct conn *)conn, report_words(conn, words));
}

void
report_flow(const struct conn *portrait, const struct sy_session *session)
{
	struct report report = {
		.conn = portrait, .session = session, .what = REPORT_FLOW,
		.ms = report_age_ms(portrait, portrait->accepted_ms), .up = portrait->client.bytes,
		.down = portrait->server.bytes,
	};

	report_log(&report);
	report_record(&report);
}

/* ---- the entry in the list of live ones ---- */

static void
report_member_of(const struct report *report, enum log_field_id id, const char *name, struct text *out)
{
	struct report_value value;

	if (!report_field(report, id, &value))
		return;
	text_printf(out, ",\"%s\":", name);
	if (value.text)
		text_json(out, value.text, strlen(value.text));
	else
		text_uint(out, value.number);
}

void
report_json(const struct conn *conn, struct text *out)
{
	const struct report report = { .conn = conn,
	                               .session = conn->talk ? &conn->talk->session : NULL };
	char peer[ADDR_TEXT_SIZE];

	text_printf(out, "{\"id\":\"%" PRIx64 "\",\"worker\":%u,\"generation\":%" PRIu64, conn->id,
	            conn->way->child->index, conn->generation->number);
	report_member_of(&report, LOG_FIELD_parent, "parent", out);
	text_printf(out, ",\"transport\":\"%s\"", conn->datagrams ? "udp" : "tcp");
	report_member_of(&report, LOG_FIELD_service, "service", out);
	report_member_of(&report, LOG_FIELD_client, "client", out);
	if (conn->peer.family)
		text_printf(out, ",\"peer\":\"%s\"", addr_text(&conn->peer, peer));
	report_member_of(&report, LOG_FIELD_vip, "vip", out);
	report_member_of(&report, LOG_FIELD_server, "server", out);
	report_member_of(&report, LOG_FIELD_source, "source", out);
	report_member_of(&report, LOG_FIELD_address, "server_address", out);
	report_member_of(&report, LOG_FIELD_why, "why", out);
	report_member_of(&report, LOG_FIELD_tls, "tls", out);
	report_member_of(&report, LOG_FIELD_sni, "sni", out);
	report_member_of(&report, LOG_FIELD_server_tls, "server_tls", out);
	report_member_of(&report, LOG_FIELD_method, "method", out);
	report_member_of(&report, LOG_FIELD_host, "host", out);
	text_printf(out, ",\"step\":\"%s\",\"age_ms\":%" PRIu64 ",\"idle_ms\":%" PRIu64
	            ",\"bytes_up\":%" PRIu64 ",\"bytes_down\":%" PRIu64 "}", way_step_names[conn->step],
	            report_age_ms(conn, conn->accepted_ms), report_age_ms(conn, conn->last_ms),
	            conn->client.bytes, conn->server.bytes);
}
