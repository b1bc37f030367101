/* GET /metrics: what is counted, for Prometheus. Label values come from the configuration and from
 * the table of reasons, never from the network, so there is an end to them.
 *
 * One list of families makes both formats: Prometheus' text (0.0.4), and OpenMetrics for those who
 * ask for it, which names counters without _total in their head lines and ends with # EOF. Ten
 * thousand seats are a hundred thousand lines: labels are rendered once, and numbers without printf. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "base/text.h"
#include "role/api.h"
#include "role/live.h"
#include "share/persist.h"
#include "share/reasons.h"

enum metric_type { METRIC_GAUGE, METRIC_COUNTER };

struct metric_subject {           /* a service, or a seat of it */
	uint32_t labels, labels_len; /* in metrics->labels: service="a",pool="b",server="c" */
	struct board_tally sum;
	uint8_t state;
	uint32_t weight, latency_us, servers, usable, wanted;
	uint64_t changes;
	const struct service *service;
	uint32_t cell;
};

struct metrics {
	struct request *request;
	struct text out, labels;
	bool open;                /* OpenMetrics */
	struct metric_subject *services, *seats;
	uint32_t n_services, n_seats;
	const char *name;         /* of the family in work, with its ending */
	size_t name_len;
};

static void
metrics_label(struct text *out, const char *name, const char *value)
{
	if (out->len && out->at[out->len - 1] == '"')
		text_add(out, ",", 1);
	text_puts(out, name);
	text_add(out, "=\"", 2);
	for (; *value; value++)
		if (*value == '\n')
			text_add(out, "\\n", 2);
		else if (*value == '"' || *value == '\\')
			text_add(out, (char[]){ '\\', *value }, 2);
		else
			text_add(out, value, 1);
	text_add(out, "\"", 1);
}

/* The name is written in full: what is found by grep here is what stands in a dashboard. */
static void
metrics_family(struct metrics *metrics, const char *name, enum metric_type type, const char *unit,
               const char *help)
{
	size_t len = strlen(name);
	int head = (int)(metrics->open && type == METRIC_COUNTER ? len - strlen("_total") : len);

	text_printf(&metrics->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", head, name, help, head, name,
	            type == METRIC_COUNTER ? "counter" : "gauge");
	if (metrics->open && unit)
		text_printf(&metrics->out, "# UNIT %.*s %s\n", head, name, unit);
	metrics->name = name;
	metrics->name_len = len;
}

static void
metrics_digits(struct text *out, uint64_t n)
{
	char digits[20], *at = digits + sizeof(digits);

	do
		*--at = (char)('0' + n % 10);
	while (n /= 10);
	text_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

static void
metrics_head(struct metrics *metrics, const char *labels, size_t len, const char *more)
{
	struct text *out = &metrics->out;

	text_add(out, metrics->name, metrics->name_len);
	if (len || *more) {
		text_add(out, "{", 1);
		text_add(out, labels, len);
		if (*more)
			text_puts(out, more);
		text_add(out, "}", 1);
	}
	text_add(out, " ", 1);
}

static void
metrics_line(struct metrics *metrics, const struct metric_subject *subject, const char *more,
             uint64_t value)
{
	metrics_head(metrics, metrics->labels.at + subject->labels, subject->labels_len, more);
	metrics_digits(&metrics->out, value);
	text_add(&metrics->out, "\n", 1);
}

static void
metrics_micros(struct metrics *metrics, const struct metric_subject *subject, uint64_t us)
{
	char fraction[8];

	metrics_head(metrics, metrics->labels.at + subject->labels, subject->labels_len, "");
	metrics_digits(&metrics->out, us / 1000000);
	snprintf(fraction, sizeof(fraction), ".%06u", (unsigned)(us % 1000000));
	text_add(&metrics->out, fraction, 7);
	text_add(&metrics->out, "\n", 1);
}

static void
metrics_single(struct metrics *metrics, const char *name, enum metric_type type, const char *unit,
               const char *help, const char *value)
{
	metrics_family(metrics, name, type, unit, help);
	text_printf(&metrics->out, "%s %s\n", name, value);
}

static const char *
metrics_number(uint64_t n, char out[static 24])
{
	snprintf(out, 24, "%" PRIu64, n);
	return out;
}

static const char *
metrics_seconds(uint64_t ms, char out[static 24])
{
	snprintf(out, 24, "%" PRIu64 ".%03u", ms / 1000, (unsigned)(ms % 1000));
	return out;
}

/* Everything is read once, so that the families agree with each other. */
static void
metrics_read_seat(struct metrics *metrics, const struct service *service,
                  const struct target *target, const struct seat *seat)
{
	struct console *console = metrics->request->console;
	struct metric_subject *at = &metrics->seats[metrics->n_seats++];
	struct cell_health health;

	*at = (struct metric_subject){ .labels = (uint32_t)metrics->labels.len, .service = service,
	                               .cell = seat->cell };
	text_add(&metrics->labels, "", 0);
	at->state = live_state(seat_state(console, service, seat, &health));
	at->latency_us = health.latency_us;
	at->changes = health.changes;
	at->weight = seat_weight(console, seat);
	board_sum(console->child->board, seat->cell, &at->sum);
	metrics_label(&metrics->labels, "service", service->name);
	metrics_label(&metrics->labels, "pool", target->pool->name);
	metrics_label(&metrics->labels, "server", seat->server->name);
	at->labels_len = (uint32_t)metrics->labels.len - at->labels;
	text_add(&metrics->labels, " ", 1);
}

static void
metrics_read(struct metrics *metrics)
{
	struct console *console = metrics->request->console;
	const struct config *config = console->child->current->config;
	uint32_t seats = 0;
	char why[512];

	for (uint32_t i = 0; i < config->n_services; i++)
		seats += ((struct service_view *)config->services[i].run)->n_seats;
	metrics->services = must_alloc((config->n_services + 1) * sizeof(*metrics->services));
	metrics->seats = must_alloc((seats + 1) * sizeof(*metrics->seats));
	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct service *service = &config->services[i];
		const struct target *target;
		struct metric_subject *at = &metrics->services[metrics->n_services++];
		uint32_t first = metrics->n_seats;

		*at = (struct metric_subject){ .labels = (uint32_t)metrics->labels.len,
		                               .service = service, .cell = service->cell };
		at->state = live_state(service_state(console, service, why, sizeof(why)));
		at->wanted = service->settings.minimum_up ? service->settings.minimum_up : 1;
		at->servers = service->target.pool->n_servers;
		board_sum(console->child->board, service->cell, &at->sum);
		metrics_label(&metrics->labels, "service", service->name);
		at->labels_len = (uint32_t)metrics->labels.len - at->labels;
		text_add(&metrics->labels, " ", 1);
		for (uint32_t t = 0; (target = service_target(service, t)); t++)
			for (uint32_t k = 0; k < target->pool->n_servers; k++)
				metrics_read_seat(metrics, service, target, &target->seats[k]);
		for (uint32_t k = first; k < first + at->servers; k++)
			at->usable += live_usable(metrics->seats[k].state);
	}
}

/* What services and seats have in common comes from one table. */
static uint64_t
value_active(const struct metric_subject *at)
{
	return at->sum.active;
}

static uint64_t
value_total(const struct metric_subject *at)
{
	return at->sum.total;
}

static uint64_t
value_connect_failures(const struct metric_subject *at)
{
	return at->sum.connect_failures;
}

static uint64_t
value_refused(const struct metric_subject *at)
{
	return at->sum.refused;
}

static uint64_t
value_failed(const struct metric_subject *at)
{
	return at->sum.failed;
}

static uint64_t
value_service_up(const struct metric_subject *at)
{
	return live_usable(at->state) || strcmp(live_words[at->state], "degraded") == 0;
}

static uint64_t
value_servers(const struct metric_subject *at)
{
	return at->servers;
}

static uint64_t
value_usable(const struct metric_subject *at)
{
	return at->usable;
}

static uint64_t
value_wanted(const struct metric_subject *at)
{
	return at->wanted;
}

static uint64_t
value_server_up(const struct metric_subject *at)
{
	return strcmp(live_words[at->state], "down") != 0 && strcmp(live_words[at->state], "unused") != 0;
}

static uint64_t
value_accepting(const struct metric_subject *at)
{
	return live_usable(at->state);
}

static uint64_t
value_weight(const struct metric_subject *at)
{
	return at->weight;
}

static uint64_t
value_changes(const struct metric_subject *at)
{
	return at->changes;
}

struct metric_row {
	const char *name, *help;
	enum metric_type type;
	uint64_t (*value)(const struct metric_subject *at);
};

static const struct metric_row service_rows[] = {
	{ "steelyard_service_up", "1 while the service takes new clients on its own pool.", METRIC_GAUGE,
	  value_service_up },
	{ "steelyard_service_servers", "Servers in the pool of the service.", METRIC_GAUGE, value_servers },
	{ "steelyard_service_servers_accepting", "Servers that take new clients.", METRIC_GAUGE,
	  value_usable },
	{ "steelyard_service_servers_wanted", "Servers that must take new clients (minimum-up).",
	  METRIC_GAUGE, value_wanted },
	{ "steelyard_service_active_connections", "Exchanges that are open now.", METRIC_GAUGE,
	  value_active },
	{ "steelyard_service_connections_total", "Exchanges that were begun.", METRIC_COUNTER, value_total },
	{ "steelyard_service_connect_failures_total", "Connects to servers that failed.", METRIC_COUNTER,
	  value_connect_failures },
	{ "steelyard_service_refused_total", "Exchanges refused by a limit.", METRIC_COUNTER,
	  value_refused },
	{ "steelyard_service_failed_total", "Exchanges that ended with an error.", METRIC_COUNTER,
	  value_failed },
};

static const struct metric_row seat_rows[] = {
	{ "steelyard_server_up", "1 unless the checks say that the server is down.", METRIC_GAUGE,
	  value_server_up },
	{ "steelyard_server_accepting", "1 while the server takes new clients: up, not drained, not disabled.",
	  METRIC_GAUGE, value_accepting },
	{ "steelyard_server_weight", "Weight in use.", METRIC_GAUGE, value_weight },
	{ "steelyard_server_active_connections", "Exchanges that are open now.", METRIC_GAUGE, value_active },
	{ "steelyard_server_connections_total", "Exchanges that were begun.", METRIC_COUNTER, value_total },
	{ "steelyard_server_connect_failures_total", "Connects that failed.", METRIC_COUNTER,
	  value_connect_failures },
	{ "steelyard_server_state_changes_total", "How often the checks changed their mind.",
	  METRIC_COUNTER, value_changes },
};

static void
metrics_rows(struct metrics *metrics, const struct metric_row *rows, size_t n_rows,
             const struct metric_subject *subjects, uint32_t n)
{
	for (size_t row = 0; row < n_rows; row++) {
		metrics_family(metrics, rows[row].name, rows[row].type, NULL, rows[row].help);
		for (uint32_t i = 0; i < n; i++)
			metrics_line(metrics, &subjects[i], "", rows[row].value(&subjects[i]));
	}
}

static void
metrics_bytes(struct metrics *metrics, const char *name, const struct metric_subject *subjects,
              uint32_t n)
{
	metrics_family(metrics, name, METRIC_COUNTER, "bytes",
	               "Bytes relayed, from clients to servers (up) and back (down).");
	for (uint32_t i = 0; i < n; i++) {
		metrics_line(metrics, &subjects[i], ",direction=\"up\"", subjects[i].sum.bytes_up);
		metrics_line(metrics, &subjects[i], ",direction=\"down\"", subjects[i].sum.bytes_down);
	}
}

/* The states as words: 1 for the one that holds. Few, so that every one always has its line. */
static void
metrics_states(struct metrics *metrics)
{
	static const char *const words[] = { "up", "degraded", "sorry", "down", "disabled", "unused" };

	metrics_family(metrics, "steelyard_service_state", METRIC_GAUGE, NULL,
	               "1 for the state that the service is in.");
	for (uint32_t i = 0; i < metrics->n_services; i++)
		for (unsigned k = 0; k < sizeof(words) / sizeof(*words); k++) {
			const struct metric_subject *at = &metrics->services[i];
			char more[40];

			snprintf(more, sizeof(more), ",state=\"%s\"", words[k]);
			metrics_line(metrics, at, more, strcmp(live_words[at->state], words[k]) == 0);
		}
}

/* Errors always have their line, so that the first one is seen as an increase; the others once they
 * have happened. */
static void
metrics_reasons(struct metrics *metrics)
{
	struct board *board = metrics->request->console->child->board;

	metrics_family(metrics, "steelyard_service_closes_total", METRIC_COUNTER, NULL,
	               "How connections ended; error: the service's or a server's fault.");
	for (uint32_t i = 0; i < metrics->n_services; i++) {
		uint64_t counts[BOARD_REASONS];

		board_sum_reasons(board, metrics->services[i].service->cell, counts);
		for (unsigned reason = 1; reason < REASONS_END; reason++) {
			char more[80];

			if (!counts[reason] && !reason_rows[reason].error)
				continue;
			snprintf(more, sizeof(more), ",reason=\"%s\",error=\"%s\"",
			         reason_rows[reason].name, reason_rows[reason].error ? "yes" : "no");
			metrics_line(metrics, &metrics->services[i], more, counts[reason]);
		}
	}
}

static void
metrics_times(struct metrics *metrics)
{
	metrics_family(metrics, "steelyard_service_response_seconds", METRIC_GAUGE, "seconds",
	               "Smoothed time until a server answered; 0: not known.");
	for (uint32_t i = 0; i < metrics->n_services; i++)
		metrics_micros(metrics, &metrics->services[i],
		               ((struct service_view *)metrics->services[i].service->run)->response_us);
	metrics_family(metrics, "steelyard_server_check_seconds", METRIC_GAUGE, "seconds",
	               "What the last good check took; 0: none yet.");
	for (uint32_t i = 0; i < metrics->n_seats; i++)
		metrics_micros(metrics, &metrics->seats[i], metrics->seats[i].latency_us);
}

/* One figure of one protocol, over the services or servers that speak it. */
static void
metrics_figure(struct metrics *metrics, const struct sy_module *module, const char *subject,
               const struct sy_figure *figure, enum metric_type type, unsigned i,
               const struct metric_subject *subjects, uint32_t n)
{
	struct board *board = metrics->request->console->child->board;
	char name[128];

	snprintf(name, sizeof(name), "steelyard_%s_%s_%s%s", subject, module->name, figure->name,
	         type == METRIC_COUNTER ? "_total" : "");
	for (char *at = name; *at; at++)
		if (*at == '-')
			*at = '_';
	metrics_family(metrics, name, type, NULL, figure->doc);
	for (uint32_t k = 0; k < n; k++) {
		struct board_figures sum;

		if (subjects[k].service->protocol.module != module)
			continue;
		board_sum_figures(board, subjects[k].cell, &sum);
		metrics_line(metrics, &subjects[k], "",
		             type == METRIC_COUNTER ? sum.counter[i] : sum.gauge[i]);
	}
}

static void
metrics_protocol(struct metrics *metrics, const struct sy_module *module)
{
	const struct sy_protocol *protocol = module->ops;

	for (unsigned i = 0; protocol->gauges && protocol->gauges[i].name; i++) {
		metrics_figure(metrics, module, "service", &protocol->gauges[i], METRIC_GAUGE, i,
		               metrics->services, metrics->n_services);
		metrics_figure(metrics, module, "server", &protocol->gauges[i], METRIC_GAUGE, i,
		               metrics->seats, metrics->n_seats);
	}
	for (unsigned i = 0; protocol->counters && protocol->counters[i].name; i++) {
		metrics_figure(metrics, module, "service", &protocol->counters[i], METRIC_COUNTER, i,
		               metrics->services, metrics->n_services);
		metrics_figure(metrics, module, "server", &protocol->counters[i], METRIC_COUNTER, i,
		               metrics->seats, metrics->n_seats);
	}
}

/* Each protocol once, where its first service stands. */
static void
metrics_protocols(struct metrics *metrics)
{
	for (uint32_t i = 0; i < metrics->n_services; i++) {
		const struct sy_module *module = metrics->services[i].service->protocol.module;
		uint32_t first = 0;

		while (metrics->services[first].service->protocol.module != module)
			first++;
		if (first == i)
			metrics_protocol(metrics, module);
	}
}

struct process_metric {
	const char *name, *help, *unit;
	enum metric_type type;
};

/* In the order of process_value. */
static const struct process_metric process_metrics[] = {
	{ "steelyard_process_beat_age_seconds", "Time since the process was last alive; over a few "
	  "seconds: it hangs.", "seconds", METRIC_GAUGE },
	{ "steelyard_process_start_time_seconds", "When it was started, as seconds since 1970.", "seconds",
	  METRIC_GAUGE },
	{ "steelyard_process_starts_total", "How often it was started.", NULL, METRIC_COUNTER },
	{ "steelyard_process_generation", "The configuration that it uses.", NULL, METRIC_GAUGE },
	{ "steelyard_process_generations", "Configurations that it still holds.", NULL, METRIC_GAUGE },
	{ "steelyard_process_connections", "Connections that it has open.", NULL, METRIC_GAUGE },
};

static const char *
process_value(unsigned which, const struct board_process *process, uint64_t now_ms,
              char out[static 24])
{
	switch (which) {
	case 0:
		return metrics_seconds(now_ms > process->beat_ms ? now_ms - process->beat_ms : 0, out);
	case 1:
		return metrics_seconds(process->started_wall_ms, out);
	case 2:
		return metrics_number(process->spawns, out);
	case 3:
		return metrics_number(process->generation, out);
	case 4:
		return metrics_number(process->generations, out);
	default:
		return metrics_number(process->connections, out);
	}
}

static void
metrics_processes(struct metrics *metrics)
{
	struct child *child = metrics->request->console->child;
	char value[24];

	for (unsigned which = 0; which < sizeof(process_metrics) / sizeof(*process_metrics); which++) {
		const struct process_metric *metric = &process_metrics[which];

		metrics_family(metrics, metric->name, metric->type, metric->unit, metric->help);
		for (unsigned row = ROW_CHECKER; row < BOARD_ROWS; row++) {
			const struct board_process *process = board_process(child->board, row);
			char name[16] = "checker";

			if (!process->pid)
				continue;
			if (row == ROW_CONSOLE)
				snprintf(name, sizeof(name), "console");
			else if (row == ROW_ROUTING)
				snprintf(name, sizeof(name), "routing");
			else if (row >= ROW_WORKER)
				snprintf(name, sizeof(name), "worker-%u", row - ROW_WORKER);
			text_printf(&metrics->out, "%s{process=\"%s\"} %s\n", metric->name, name,
			            process_value(which, process, child->now_ms, value));
		}
	}
}

static void
metrics_instance(struct metrics *metrics)
{
	struct console *console = metrics->request->console;
	size_t used, capacity;
	char value[24];

	metrics_family(metrics, "steelyard_build_info", METRIC_GAUGE, NULL, "The version, as a label.");
	text_printf(&metrics->out, "steelyard_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	metrics_single(metrics, "steelyard_start_time_seconds", METRIC_GAUGE, "seconds",
	               "When this instance was started, as seconds since 1970.",
	               metrics_seconds(board_started_wall_ms(console->child->board), value));
	metrics_single(metrics, "steelyard_generation", METRIC_GAUGE, NULL,
	               "The configuration in use; it goes up by one with each reload.",
	               metrics_number(console->child->current->number, value));
	metrics_single(metrics, "steelyard_services", METRIC_GAUGE, NULL, "Virtual services.",
	               metrics_number(metrics->n_services, value));
	persist_usage(console->child->board, clock_ms(), &used, &capacity);
	metrics_single(metrics, "steelyard_persistence_entries", METRIC_GAUGE, NULL,
	               "Entries in the table of persistence.", metrics_number(used, value));
	metrics_single(metrics, "steelyard_persistence_capacity", METRIC_GAUGE, NULL,
	               "Entries that the table has room for.", metrics_number(capacity, value));
	metrics_single(metrics, "steelyard_console_streams", METRIC_GAUGE, NULL,
	               "Web pages that are watching.", metrics_number(console->n_streams, value));
}

void
api_metrics(struct request *request)
{
	struct metrics metrics = { .request = request };
	const char *accept = mhd.lookup_connection_value(request->connection, MHD_HEADER_KIND, "Accept");
	uint64_t start_us = clock_us();

	metrics.open = accept && strstr(accept, "application/openmetrics-text") != NULL;
	metrics_read(&metrics);
	metrics_instance(&metrics);
	metrics_processes(&metrics);
	metrics_rows(&metrics, service_rows, sizeof(service_rows) / sizeof(*service_rows),
	             metrics.services, metrics.n_services);
	metrics_bytes(&metrics, "steelyard_service_bytes_total", metrics.services, metrics.n_services);
	metrics_states(&metrics);
	metrics_reasons(&metrics);
	metrics_rows(&metrics, seat_rows, sizeof(seat_rows) / sizeof(*seat_rows), metrics.seats,
	             metrics.n_seats);
	metrics_bytes(&metrics, "steelyard_server_bytes_total", metrics.seats, metrics.n_seats);
	metrics_times(&metrics);
	metrics_protocols(&metrics);
	metrics_family(&metrics, "steelyard_scrape_seconds", METRIC_GAUGE, "seconds",
	               "What it took to make this text.");
	text_printf(&metrics.out, "steelyard_scrape_seconds %.6f\n",
	            (double)(clock_us() - start_us) / 1e6);
	if (metrics.open)
		text_puts(&metrics.out, "# EOF\n");
	free(metrics.services);
	free(metrics.seats);
	text_free(&metrics.labels);
	request_rendered(request, metrics.open
	                 ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
	                 : "text/plain; version=0.0.4; charset=utf-8", metrics.out.at, metrics.out.len);
}
