/* The fields of a line about something that has ended, see conf/exchange_log.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "net/socket.h"
#include "way/report_fields.h"
#include "way/side_tls.h"
#include "way/talk.h"

/* ---- helpers ---- */

static void
field_addr(const struct sy_addr *addr, struct report_value *out)
{
	if (addr->family)
		out->text = addr_text(addr, out->room);
}

static void
field_number(uint64_t number, struct report_value *out)
{
	out->number = number;
	out->is_number = true;
}

/* What the protocol gave, as much as there is room for. */
static void
field_span(struct sy_span span, struct report_value *out)
{
	size_t len = span.len < sizeof(out->room) ? span.len : sizeof(out->room) - 1;

	if (len == 0)
		return;
	memcpy(out->room, span.at, len);
	out->room[len] = '\0';
	out->text = out->room;
}

/* Hexadecimal, as short as it can be. */
static void
field_id(uint64_t id, struct report_value *out)
{
	char *at = out->room;
	int shift = 60;

	while (shift > 0 && !(id >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*at++ = "0123456789abcdef"[id >> shift & 15];
	*at = '\0';
	out->text = out->room;
}

/* ---- one for each field ---- */

static void
value_id(const struct report *report, struct report_value *out)
{
	field_id(report->conn->id, out);
}

static void
value_parent(const struct report *report, struct report_value *out)
{
	if (report->conn->talk && report->conn->talk->parent_id)
		field_id(report->conn->talk->parent_id, out);
}

static void
value_service(const struct report *report, struct report_value *out)
{
	out->text = report->conn->service->name;
}

static void
value_client(const struct report *report, struct report_value *out)
{
	field_addr(&report->conn->client_addr, out);
}

static void
value_via(const struct report *report, struct report_value *out)
{
	const struct conn *conn = report->conn;

	if (memcmp(&conn->peer, &conn->client_addr, sizeof(conn->peer)) != 0)
		field_addr(&conn->peer, out);
}

static void
value_vip(const struct report *report, struct report_value *out)
{
	field_addr(&report->conn->service_addr, out);
}

static void
value_source(const struct report *report, struct report_value *out)
{
	const struct conn *conn = report->conn;
	struct sy_addr local;

	if (side_open(&conn->server) && socket_local(conn->server.io.fd, &local))
		field_addr(&local, out);
}

static void
value_server(const struct report *report, struct report_value *out)
{
	if (report->conn->seat)
		out->text = report->conn->seat->server->name;
}

static void
value_address(const struct report *report, struct report_value *out)
{
	field_addr(&report->conn->server_addr, out);
}

static void
value_why(const struct report *report, struct report_value *out)
{
	if (report->ours)
		out->text = "answered-here";
	else if (report->conn->server_addr.family)
		out->text = choose_why_words[report->conn->why];
}

static void
value_tls(const struct report *report, struct report_value *out)
{
	out->text = side_tls_summary(&report->conn->client, out->room);
}

/* What the client asked for: of us, or of the server when TLS goes through us unopened. */
static void
value_sni(const struct report *report, struct report_value *out)
{
	const struct conn *conn = report->conn;

	if (conn->client.tls)
		field_span(sy_span_text(conn->client.tls->sni), out);
	else if (conn->talk && !conn->listener->tls)
		field_span(conn->talk->session.facts.sni, out);
}

static void
value_server_tls(const struct report *report, struct report_value *out)
{
	out->text = side_tls_summary(&report->conn->server, out->room);
}

static void
value_method(const struct report *report, struct report_value *out)
{
	if (report->session)
		field_span(report->session->asked.method, out);
}

static void
value_host(const struct report *report, struct report_value *out)
{
	if (report->session)
		field_span(report->session->asked.host, out);
}

static void
value_path(const struct report *report, struct report_value *out)
{
	if (report->session)
		field_span(report->session->asked.path, out);
}

static void
value_status(const struct report *report, struct report_value *out)
{
	if (report->session && report->session->asked.status)
		field_number(report->session->asked.status, out);
}

static void
value_ms(const struct report *report, struct report_value *out)
{
	field_number(report->ms, out);
}

static void
value_connect_us(const struct report *report, struct report_value *out)
{
	field_number(report->conn->connect_us, out);
}

static void
value_response_us(const struct report *report, struct report_value *out)
{
	if (report->conn->response_us)
		field_number(report->conn->response_us, out);
}

static void
value_up(const struct report *report, struct report_value *out)
{
	field_number(report->up, out);
}

static void
value_down(const struct report *report, struct report_value *out)
{
	field_number(report->down, out);
}

static void
value_exchanges(const struct report *report, struct report_value *out)
{
	const struct talk *talk = report->conn->talk;

	if (talk && talk->n_exchanges && report->what != REPORT_EXCHANGE)
		field_number(talk->n_exchanges, out);
}

static void
value_sample(const struct report *report, struct report_value *out)
{
	if (report->one_in > 1)
		field_number(report->one_in, out);
}

static void
value_end(const struct report *report, struct report_value *out)
{
	out->text = report_end_name(report);
}

static void
value_words(const struct report *report, struct report_value *out)
{
	out->text = report_end_words(report, out->room);
}

static void
value_event(const struct report *report, struct report_value *out)
{
	out->text = report_names[report->what];
}

static void
value_time(const struct report *report, struct report_value *out)
{
	uint64_t now = clock_wall_ms();
	time_t seconds = (time_t)(now / 1000);
	struct tm utc;
	size_t len;

	(void)report;
	gmtime_r(&seconds, &utc);
	len = strftime(out->room, sizeof(out->room), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(out->room + len, sizeof(out->room) - len, ".%03uZ", (unsigned)(now % 1000));
	out->text = out->room;
}

static void
value_worker(const struct report *report, struct report_value *out)
{
	field_number(report->conn->way->child->index, out);
}

static void (*const report_fields[LOG_FIELDS_END])(const struct report *, struct report_value *) = {
#define REPORT_FIELD(name, doc) [LOG_FIELD_##name] = value_##name,
	LOG_FIELDS(REPORT_FIELD)
#undef REPORT_FIELD
};

/* Of a server that was not asked there is nothing to say. */
static bool
field_is_of_server(enum log_field_id id)
{
	return id == LOG_FIELD_server || id == LOG_FIELD_address || id == LOG_FIELD_source ||
	       id == LOG_FIELD_server_tls || id == LOG_FIELD_connect_us || id == LOG_FIELD_response_us;
}

bool
report_field(const struct report *report, enum log_field_id id, struct report_value *out)
{
	out->text = NULL;
	out->is_number = false;
	if (!report->ours || !field_is_of_server(id))
		report_fields[id](report, out);
	return out->text || out->is_number;
}

/* ---- a line as the operator wants it ---- */

/* Between quotes or not, it is one word or one string: nothing in it can end it early. */
static void
format_text(const char *text, struct text *line)
{
	while (*text) {
		size_t len = strcspn(text, "\"\\");

		text_plain(line, text, len);
		text += len;
		if (!*text)
			break;
		text_puts(line, "\\");
		text_add(line, text++, 1);
	}
}

void
report_format(const struct report *report, const struct exchange_log *log, struct text *line)
{
	struct report_value value;

	line->len = 0;
	for (uint32_t i = 0; i < log->n_pieces; i++) {
		const struct log_piece *piece = &log->pieces[i];

		text_add(line, (const char *)piece->text.at, piece->text.len);
		if (piece->field < 0)
			continue;
		if (!report_field(report, (enum log_field_id)piece->field, &value))
			text_puts(line, "-");
		else if (value.is_number)
			text_uint(line, value.number);
		else
			format_text(value.text, line);
	}
}
