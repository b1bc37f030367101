/* What the flight recorder holds (share/recorder.h), told: what has ended lately, and all of it in the
 * order of time. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/text.h"
#include "role/api.h"
#include "role/recorder.h"
#include "share/reasons.h"
#include "way/choose.h"

enum { RECORDER_LIMIT = 1000 };

static const char *const record_kinds[] = { "line", "connection", "flow", "exchange" };
static const char *const record_levels[] = { "err", "warn", "info", "debug" };

/* ---- one record ---- */

static void
record_process(unsigned row, char *out, size_t len)
{
	if (row >= ROW_WORKER)
		snprintf(out, len, "worker %u", row - ROW_WORKER);
	else
		snprintf(out, len, "%s", row == ROW_CHECKER ? "checker" : row == ROW_CONSOLE ? "console"
		                                                                             : "master");
}

static void
record_addr(json_t *json, const char *name, const struct sy_addr *addr)
{
	char text[ADDR_TEXT_SIZE];

	if (addr->family)
		json_object_set_new(json, name, json_string(addr_text(addr, text)));
}

/* What is cut may end in the middle of a character. */
static void
record_text(json_t *json, const char *name, const char *words)
{
	struct text plain = { 0 };

	if (!*words)
		return;
	text_plain(&plain, words, strlen(words));
	json_object_set_new(json, name, json_string(plain.at));
	text_free(&plain);
}

static void
record_ended(json_t *json, const struct record_end *end)
{
	char id[17];

	snprintf(id, sizeof(id), "%llx", (unsigned long long)end->id);
	json_object_set_new(json, "id", json_string(id));
	record_text(json, "service", end->service);
	record_addr(json, "client", &end->client);
	record_addr(json, "vip", &end->vip);
	record_text(json, "server", end->server_name);
	record_addr(json, "address", &end->server);
	if (end->why != RECORD_NO_SERVER)
		json_object_set_new(json, "why", json_string(choose_why_words[end->why]));
	record_text(json, "asked", end->asked);
	if (end->status)
		json_object_set_new(json, "status", json_integer(end->status));
	json_object_set_new(json, "ms", json_integer((json_int_t)end->ms));
	json_object_set_new(json, "bytes_up", json_integer((json_int_t)end->up));
	json_object_set_new(json, "bytes_down", json_integer((json_int_t)end->down));
	json_object_set_new(json, "end", json_string(reason_rows[end->reason].name));
	json_object_set_new(json, "words", json_string(reason_rows[end->reason].words));
	if (end->error)
		json_object_set_new(json, "error", json_string(strerror(end->error)));
}

uint64_t
recorder_offset(void)
{
	return clock_wall_ms() - clock_ms();
}

json_t *
record_json(unsigned row, const struct record *record, uint64_t offset)
{
	char process[24];
	json_t *json;

	record_process(row, process, sizeof(process));
	json = json_pack("{s:I, s:s, s:i, s:s}", "time",
	                 (json_int_t)(offset + record->at_ms), "process", process,
	                 "pid", (int)record->pid, "what", record_kinds[record->kind]);
	if (record->kind != RECORD_LINE) {
		record_ended(json, &record->end);
		return json;
	}
	json_object_set_new(json, "level", json_string(record_levels[record->level]));
	record_text(json, "words", record->line);
	return json;
}

/* ---- many ---- */

struct recorder_filter {
	const char *service, *server, *end;
	struct sy_net client;     /* family SY_NO_ADDR: any */
	bool failed_only;
};

/* Those that match, the newest first, `limit` of each ring at most. */
struct recorder_gather {
	struct recorder_found *found;
	size_t n, size, ring, limit;
	const struct recorder_filter *filter;
};

static bool
recorder_matches(const struct recorder_filter *filter, const struct record *record)
{
	const struct record_end *end = &record->end;

	if (record->kind == RECORD_LINE)
		return !filter->service && !filter->server && !filter->end &&
		       filter->client.addr.family == SY_NO_ADDR;
	if (record->kind > RECORD_EXCHANGE || end->reason >= REASONS_END)
		return false;
	if (filter->service && strncmp(filter->service, end->service, sizeof(end->service) - 1) != 0)
		return false;
	if (filter->server &&
	    strncmp(filter->server, end->server_name, sizeof(end->server_name) - 1) != 0)
		return false;
	if (filter->end && strcmp(filter->end, reason_rows[end->reason].name) != 0)
		return false;
	return filter->client.addr.family == SY_NO_ADDR || sy_net_has(&filter->client, &end->client);
}

static bool
recorder_take(void *context, unsigned row, const struct record *record)
{
	struct recorder_gather *gather = context;

	if (!recorder_matches(gather->filter, record))
		return true;
	if (gather->n == gather->size) {
		gather->size = gather->size ? gather->size * 2 : 256;
		gather->found = must_realloc(gather->found, gather->size * sizeof(*gather->found));
	}
	gather->found[gather->n++] = (struct recorder_found){ .row = row, .record = *record };
	return ++gather->ring < gather->limit;
}

static int
recorder_newest(const void *a, const void *b)
{
	const struct recorder_found *x = a, *y = b;

	return x->record.at_ms < y->record.at_ms ? 1 : x->record.at_ms > y->record.at_ms ? -1 : 0;
}

static struct recorder_found *
recorder_gather(struct board *board, const struct recorder_filter *filter, unsigned first_ring,
                size_t limit, size_t *n)
{
	struct recorder_gather gather = { .filter = filter, .limit = limit };

	for (unsigned row = 0; row < BOARD_ROWS && limit; row++)
		for (unsigned ring = first_ring; ring < RECORDER_RINGS; ring++) {
			gather.ring = 0;
			recorder_each(board, row, (enum recorder_ring)ring, recorder_take, &gather);
		}
	if (gather.n)
		qsort(gather.found, gather.n, sizeof(*gather.found), recorder_newest);
	*n = gather.n < limit ? gather.n : limit;
	return gather.found;
}

struct recorder_found *
recorder_all(struct board *board, size_t limit, size_t *n)
{
	static const struct recorder_filter any;

	return recorder_gather(board, &any, RECORDER_LINES, limit, n);
}

/* ---- the API ---- */

static void
recorder_answer(struct request *request, const char *name, unsigned first_ring,
                const struct recorder_filter *filter)
{
	size_t n, limit = request_number(request, "limit", RECORDER_LIMIT);
	uint64_t offset = recorder_offset();
	struct recorder_found *found = recorder_gather(request->console->child->board, filter,
	                                               first_ring, limit, &n);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, record_json(found[i].row, &found[i].record, offset));
	free(found);
	request_json(request, json_pack("{s:o}", name, list));
}

void
api_recorder(struct request *request)
{
	static const struct recorder_filter any;

	recorder_answer(request, "records", RECORDER_LINES, &any);
}

void
api_ended(struct request *request)
{
	struct recorder_filter filter = {
		.service = request_query(request, "service"),
		.server = request_query(request, "server"),
		.end = request_query(request, "end"),
	};

	if (api_client_net(request, &filter.client))
		recorder_answer(request, "connections", RECORDER_FAILED, &filter);
}
