/* Traces: the workers record what some connections say (way/trace.h); what each of them has is put in
 * one capture file, in the order of time. One trace at a time. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "role/access.h"
#include "role/api.h"
#include "way/trace.h"

enum {
	TRACE_SECONDS = 10,
	TRACE_BYTES = 16 << 20,
	TRACE_LEAST_BYTES = 65536,
};

/* ---- it begins ---- */

static unsigned
trace_workers(struct board *board)
{
	unsigned n = 0;

	for (unsigned row = ROW_WORKER; row < BOARD_ROWS; row++)
		n += board_process(board, row)->pid != 0;
	return n ? n : 1;
}

static bool
trace_runs(const struct console *console)
{
	return console->trace.until_ms > console->child->now_ms;
}

static void
trace_begun(struct request *request, bool ok, const char *text)
{
	const char *problem = json_string_value(json_array_get(request->gathered, 0));

	if (ok && !problem) {
		request_json(request, json_pack("{s:b, s:s}", "ok", 1, "message", request->console->trace.words));
		return;
	}
	request->console->trace.until_ms = 0;
	request_error(request, 409, "%s", problem ? problem : text);
}

/* False: answered. */
static bool
trace_number(struct request *request, const char *name, uint64_t least, uint64_t most, uint64_t *out)
{
	const json_t *value = json_object_get(request->args, name);

	if (!value)
		return true;
	if (json_is_integer(value) && json_integer_value(value) >= (json_int_t)least &&
	    json_integer_value(value) <= (json_int_t)most) {
		*out = (uint64_t)json_integer_value(value);
		return true;
	}
	request_error(request, 400, "%s is a number from %" PRIu64 " to %" PRIu64, name, least, most);
	return false;
}

/* Whom it is about, as the workers read it. False: answered. */
static bool
trace_whom(struct request *request, char *out, size_t len)
{
	const char *service = json_string_value(json_object_get(request->args, "service"));
	const char *client = json_string_value(json_object_get(request->args, "client"));
	struct sy_net net;

	if (!service && !client) {
		request_error(request, 400, "say whose: \"service\": a name, or \"client\": an address or network");
		return false;
	}
	if (service && !api_find_service(request, service))
		return false;
	if (client && !net_parse(client, &net)) {
		request_error(request, 400, "client is an address or a network such as 192.0.2.0/24, not %s",
		              client);
		return false;
	}
	snprintf(out, len, "%s%s%s%s%s", service ? "service=" : "", service ? service : "",
	         service && client ? " " : "", client ? "client=" : "", client ? client : "");
	return true;
}

void
api_trace(struct request *request)
{
	struct console *console = request->console;
	bool decrypted = json_is_true(json_object_get(request->args, "decrypted"));
	uint64_t seconds = TRACE_SECONDS, bytes = TRACE_BYTES;
	char whom[200], text[320];

	if (!trace_whom(request, whom, sizeof(whom)) ||
	    !trace_number(request, "seconds", 1, TRACE_MOST_MS / 1000, &seconds) ||
	    !trace_number(request, "bytes", TRACE_LEAST_BYTES, TRACE_MOST_BYTES, &bytes))
		return;
	if (decrypted && !console->child->current->config->global.console.trace_decrypted) {
		request_error(request, 403, "what is said within TLS is not shown: the configuration has no "
		              "console { trace-decrypted on; }");
		return;
	}
	if (trace_runs(console)) {
		request_error(request, 409, "there is one already: %s; POST /v1/trace/end fetches it",
		              console->trace.words);
		return;
	}
	console->trace.until_ms = console->child->now_ms + seconds * 1000 + TRACE_KEPT_MS;
	snprintf(console->trace.words, sizeof(console->trace.words), "%.100s, %" PRIu64 " s%s, by %.60s",
	         whom, seconds, decrypted ? ", decrypted" : "",
	         request->who.user[0] ? request->who.user : "somebody");
	snprintf(text, sizeof(text), "%s decrypted=%d bytes=%" PRIu64 " ms=%" PRIu64, whom, decrypted,
	         bytes / trace_workers(console->child->board), seconds * 1000);
	request_ask(request, CONTROL_ASK, ASK_TRACE, text, trace_begun);
}

/* ---- it ends ---- */

struct trace_part {
	const char *at, *end;
};

static void
trace_gather(struct request *request, const char *bytes, size_t len)
{
	uint64_t n = len;

	if (len < sizeof(struct trace_summary))
		return;
	text_add(&request->raw, (const char *)&n, sizeof(n));
	text_add(&request->raw, bytes, len);
}

static uint32_t
trace_32(const char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void
trace_add_32(struct text *out, uint32_t value)
{
	text_add(out, (const char *)&value, sizeof(value));
}

static void
trace_option(struct text *out, unsigned code, const char *bytes, size_t len)
{
	trace_add_32(out, code | (uint32_t)len << 16);
	text_add(out, bytes, len);
	text_add(out, "\0\0\0", (4 - len % 4) % 4);
}

/* Closes a block that begins at `start`. */
static void
trace_block_end(struct text *out, size_t start)
{
	uint32_t len = (uint32_t)(out->len - start) + 8;

	trace_add_32(out, 0); /* the end of the options */
	trace_add_32(out, len);
	memcpy(out->at + start + 4, &len, sizeof(len));
}

/* Section Header Block, and an Interface Description Block for each side. */
static void
trace_head(struct text *out, const char *words)
{
	static const char program[] = "Steelyard " PACKAGE_VERSION;
	static const char *const names[] = { "clients", "servers" };
	size_t start = out->len;

	trace_add_32(out, 0x0a0d0d0a);
	trace_add_32(out, 0);
	trace_add_32(out, 0x1a2b3c4d);
	trace_add_32(out, 1);
	trace_add_32(out, UINT32_MAX); /* of a length that is not told */
	trace_add_32(out, UINT32_MAX);
	trace_option(out, 1, words, strlen(words));
	trace_option(out, 4, program, sizeof(program) - 1);
	trace_block_end(out, start);
	for (unsigned i = 0; i < 2; i++) {
		start = out->len;
		trace_add_32(out, 1);
		trace_add_32(out, 0);
		trace_add_32(out, 101); /* LINKTYPE_RAW */
		trace_add_32(out, 0);
		trace_option(out, 2, names[i], strlen(names[i]));
		trace_option(out, 9, "\6", 1); /* microseconds */
		trace_block_end(out, start);
	}
}

static uint64_t
trace_time(const struct trace_part *part)
{
	if (part->end - part->at < 32)
		return UINT64_MAX;
	return (uint64_t)trace_32(part->at + 12) << 32 | trace_32(part->at + 16);
}

static void
trace_merge(struct trace_part *parts, unsigned n, struct text *out)
{
	for (;;) {
		struct trace_part *first = NULL;
		uint32_t len;

		for (unsigned i = 0; i < n; i++)
			if (trace_time(&parts[i]) != UINT64_MAX &&
			    (!first || trace_time(&parts[i]) < trace_time(first)))
				first = &parts[i];
		if (!first)
			return;
		len = trace_32(first->at + 4);
		if (len < 32 || len > (size_t)(first->end - first->at))
			len = (uint32_t)(first->end - first->at);
		text_add(out, first->at, len);
		first->at += len;
	}
}

static void
trace_ended(struct request *request, bool ok, const char *text)
{
	struct trace_part parts[BOARD_WORKERS];
	struct trace_summary sum = { 0 }, one;
	struct text out = { 0 };
	unsigned n = 0;
	char words[400];

	request->console->trace.until_ms = 0;
	for (size_t at = 0; at + sizeof(uint64_t) <= request->raw.len && n < BOARD_WORKERS;) {
		uint64_t len;

		memcpy(&len, request->raw.at + at, sizeof(len));
		at += sizeof(len);
		memcpy(&one, request->raw.at + at, sizeof(one));
		sum.packets += one.packets;
		sum.conns += one.conns;
		sum.left_out += one.left_out;
		sum.full |= one.full;
		parts[n++] = (struct trace_part){ request->raw.at + at + sizeof(one),
		                                  request->raw.at + at + len };
		at += len;
	}
	if (n == 0) {
		request_error(request, 404, "no trace is there to be fetched%s%s", ok ? "" : ": ",
		              ok ? "" : text);
		return;
	}
	snprintf(words, sizeof(words), "%s: %u packets of %u connections; %s", request->console->trace.words,
	         sum.packets, sum.conns, sum.full ? "there were more bytes than it could take"
	         : sum.left_out ? "there were more connections than it could take" : "nothing was left out");
	trace_head(&out, words);
	trace_merge(parts, n, &out);
	request_rendered(request, "application/x-pcapng", out.at, out.len);
}

void
api_trace_end(struct request *request)
{
	request->gather = trace_gather;
	request_ask(request, CONTROL_ASK, ASK_TRACE_END, "", trace_ended);
}
