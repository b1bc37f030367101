#include "way/ask.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memfd.h"
#include "base/slab.h"
#include "base/text.h"
#include "way/attach.h"
#include "way/flow.h"
#include "way/report.h"
#include "way/trace.h"

enum { ASK_LIMIT = 10000 };

/* "service=NAME server=NAME client=ADDR limit=N", each optional. */
struct ask {
	char words[CONTROL_TEXT + 1];
	const char *service, *server;
	struct sy_net client;     /* family SY_NO_ADDR: any */
	uint64_t limit, n;
	struct text out;
};

static bool
ask_word(struct ask *ask, char *word)
{
	char *value = strchr(word, '=');

	if (!value)
		return false;
	*value++ = '\0';
	if (strcmp(word, "service") == 0)
		ask->service = value;
	else if (strcmp(word, "server") == 0)
		ask->server = value;
	else if (strcmp(word, "client") == 0)
		return net_parse(value, &ask->client);
	else if (strcmp(word, "limit") == 0)
		return uint_parse(value, &ask->limit);
	else
		return false;
	return true;
}

static bool
ask_read(struct ask *ask, const char *text)
{
	char *rest = ask->words, *word;

	memcpy(ask->words, text, strnlen(text, CONTROL_TEXT));
	ask->limit = ASK_LIMIT;
	while ((word = strsep(&rest, " ")))
		if (*word && !ask_word(ask, word))
			return false;
	return true;
}

static bool
ask_matches(const struct ask *ask, const struct conn *conn)
{
	if (conn->hop)
		return false;
	if (ask->service && strcmp(ask->service, conn->service->name) != 0)
		return false;
	if (ask->server && (!conn->seat || strcmp(ask->server, conn->seat->server->name) != 0))
		return false;
	return ask->client.addr.family == SY_NO_ADDR || sy_net_has(&ask->client, &conn->client_addr);
}

static void
ask_list(struct conn *conn, void *context)
{
	struct ask *ask = context;

	if (ask->n >= ask->limit || !ask_matches(ask, conn))
		return;
	text_puts(&ask->out, ask->n++ ? ",\n" : "");
	report_json(conn, &ask->out);
}

static void
ask_clear(struct conn *conn, void *context)
{
	struct ask *ask = context;

	if (ask->n >= ask->limit || !ask_matches(ask, conn))
		return;
	ask->n++;
	way_end(conn, REASON_OPERATOR);
}

static void
ask_list_flow(struct flow *flow, void *context)
{
	struct conn portrait;

	flow_portrait(flow, &portrait);
	ask_list(&portrait, context);
}

static void
ask_clear_flow(struct flow *flow, void *context)
{
	struct ask *ask = context;
	struct conn portrait;

	flow_portrait(flow, &portrait);
	if (ask->n >= ask->limit || !ask_matches(ask, &portrait))
		return;
	ask->n++;
	flow_end(flow, REASON_OPERATOR);
}

static void
ask_memory(struct way *way, struct text *out)
{
	uint32_t flows = way->flows->table.n, conns = way->conns - flows;

	text_printf(out, "{\"connections\":%u,\"connection_bytes\":%zu,\"flows\":%u,"
	            "\"flow_bytes\":%zu,\"chunk_bytes\":%zu,\"scratch_bytes\":%d,\"pipes\":%u,"
	            "\"idle_servers\":%u,"
	            "\"generations\":[",
	            conns, conns * sizeof(struct conn), flows, flows * sizeof(struct flow),
	            chunk_pool_used(way->chunks), WAY_SCRATCH, pipe_pool_open(way->pipes),
	            way->n_aside);
	list_each(link, &way->child->generations) {
		struct generation *generation = container_of(link, struct generation, link);

		text_printf(out, "%s{\"number\":%llu,\"references\":%u,\"bytes\":%zu}",
		            link == way->child->generations.next ? "" : ",",
		            (unsigned long long)generation->number, generation->refs,
		            arena_size(generation->arena));
	}
	text_puts(out, "]}");
}

static void
ask_trace(struct way *way, const char *text, struct text *out)
{
	const char *problem = trace_begin(way, text);

	text_puts(out, "[");
	if (problem)
		text_json(out, problem, strlen(problem));
	text_puts(out, "]");
}

static void
ask_run(struct way *way, struct ask *ask, const struct control_message *message)
{
	if (message->record.value == ASK_MEMORY) {
		ask_memory(way, &ask->out);
	} else if (message->record.value == ASK_TRACE) {
		ask_trace(way, message->text, &ask->out);
	} else if (message->record.value == ASK_TRACE_END) {
		trace_end(way, &ask->out);
	} else if (message->record.value != ASK_CONNECTIONS &&
	           message->record.value != ASK_CLEAR_CONNECTIONS) {
		text_puts(&ask->out, "{}");
	} else if (!ask_read(ask, message->text)) {
		text_puts(&ask->out, message->record.value == ASK_CONNECTIONS ? "[]"
		                                                              : "{\"closed\":0}");
	} else if (message->record.value == ASK_CONNECTIONS) {
		text_puts(&ask->out, "[");
		attach_each(way, ask_list, ask);
		flow_each(way, ask_list_flow, ask);
		text_puts(&ask->out, "]");
	} else {
		attach_each(way, ask_clear, ask);
		flow_each(way, ask_clear_flow, ask);
		text_printf(&ask->out, "{\"closed\":%llu}", (unsigned long long)ask->n);
	}
}

void
ask_answer(struct way *way, const struct control_message *message)
{
	struct control_record record = {
		.type = CONTROL_ANSWER,
		.flags = CONTROL_OK,
		.row = way->row,
		.id = message->record.id,
		.value = message->record.value,
	};
	struct ask *ask = calloc(1, sizeof(*ask));
	struct sy_err err;
	int fd;

	if (!ask) {
		child_send(way->child, &record, "[]", 2, NULL, 0);
		return;
	}
	ask_run(way, ask, message);
	fd = memfd_sealed("steelyard-answer", ask->out.at, ask->out.len, &err);
	if (fd < 0) {
		log_warn("console's question not answered: %s", err.text);
		child_send(way->child, &record, "[]", 2, NULL, 0);
	} else {
		child_send(way->child, &record, NULL, 0, &fd, 1);
		close(fd);
	}
	text_free(&ask->out);
	free(ask);
}
