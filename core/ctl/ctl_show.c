/* Answers of the API as tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "ctl/ctl_do.h"
#include "ctl/ctl_show.h"

#define TITLES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static const char *
text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static json_int_t
number_of(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static const char *
clock_text(json_int_t wall_ms, char *out, size_t len)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(out, len, "%Y-%m-%d %H:%M:%S", &tm);
	return out;
}

int
show_status(struct ctl *ctl)
{
	char path[64] = "/v1/status", age[32], amount[32];
	json_t *json, *item;
	json_int_t now;
	struct table *table;
	size_t i;
	bool well;
	int code;

	json = ctl_get(ctl, "GET", path, NULL, &code);
	if (!json)
		return code;
	now = number_of(json, "now");
	well = json_is_true(json_object_get(json, "well"));
	printf("steelyard %s, up %s, generation %lld: %lld services, %lld connections, %.1f/s\n\n",
	       text_of(json, "version"), age_since(number_of(json, "started"), now, age, sizeof(age)),
	       (long long)number_of(json, "generation"), (long long)number_of(json, "services_total"),
	       (long long)number_of(json, "active"), json_number_value(json_object_get(json, "rate")));
	if (number_of(json, "trial_until"))
		printf("This configuration is on trial until %s: steelyardctl confirm\n\n",
		       clock_text(number_of(json, "trial_until"), age, sizeof(age)));
	table = table_new(TITLES("SERVICE", "STATE", ">UP", ">ACTIVE", ">RATE/S", "WHY"));
	json_array_foreach(json_object_get(json, "services"), i, item) {
		table_cell(table, text_of(item, "name"));
		table_cell(table, text_of(item, "state"));
		table_cellf(table, "%lld/%lld", (long long)number_of(item, "up"),
		            (long long)number_of(item, "servers"));
		table_cell(table, amount_text(number_of(item, "active"), amount, sizeof(amount)));
		table_cellf(table, "%.1f", json_number_value(json_object_get(item, "rate")));
		table_cell(table, text_of(item, "why"));
	}
	table_print(table, ctl->colour);
	if (json_array_size(json_object_get(json, "wrong"))) {
		printf("\n");
		table = table_new(TITLES("SERVER", "SERVICE", "STATE", ">FOR", "WHY"));
		json_array_foreach(json_object_get(json, "wrong"), i, item) {
			table_cell(table, text_of(item, "server"));
			table_cell(table, text_of(item, "service"));
			table_cell(table, text_of(item, "state"));
			table_cell(table, age_since(number_of(item, "since"), now, age, sizeof(age)));
			table_cell(table, text_of(item, "why"));
		}
		table_print(table, ctl->colour);
	}
	json_decref(json);
	return well ? CTL_OK : CTL_FAILED;
}

/* "  requests_invite 12, ..." in lines that fit; what is 0 stays away. */
static void
show_figures(const char *who, const json_t *figures)
{
	enum { WIDTH = 80 };
	const char *name;
	const json_t *value;
	size_t column = 0;

	json_object_foreach((json_t *)figures, name, value) {
		char amount[32], item[96];
		size_t len;

		if (!json_integer_value(value))
			continue;
		len = (size_t)snprintf(item, sizeof(item), "%s %s", name,
		                       amount_text(json_integer_value(value), amount, sizeof(amount)));
		if (column && column + 2 + len < WIDTH)
			column += (size_t)printf(", %s", item);
		else
			column = (size_t)printf("%s%s%s%s", column ? ",\n    " : "  ",
			                        column ? "" : who, column ? "" : ": ", item);
	}
	if (column)
		printf("\n");
}

/* Of a server that drains: "12 allocations left, the last one ends in 8m 20s at the latest". */
static const char *
forecast_text(const json_t *seat, json_int_t now, char *out, size_t size)
{
	json_int_t until = number_of(seat, "until");
	char time[DURATION_TEXT_SIZE];

	if (strncmp(text_of(seat, "state"), "drain", 5) != 0 || !json_object_get(seat, "load_unit"))
		return NULL;
	snprintf(out, size, "%lld %s left", (long long)number_of(seat, "load"), text_of(seat, "load_unit"));
	if (until > now)
		snprintf(out + strlen(out), size - strlen(out), ", the last one ends in %s at the latest",
		         duration_text((uint64_t)(until - now + 999) / 1000 * 1000, time));
	return out;
}

static void
show_service(struct ctl *ctl, const json_t *service)
{
	json_int_t now = (json_int_t)clock_wall_ms();
	const json_t *item;
	struct table *table;
	size_t i;
	char age[32], active[32], total[32], bytes[32], left[128];

	printf("%s: %s%s%s\n", text_of(service, "name"), text_of(service, "state"),
	       text_of(service, "why")[0] ? ": " : "", text_of(service, "why"));
	printf("  %s, %s%s%s, pool %s\n", text_of(service, "protocol"), text_of(service, "scheduler"),
	       text_of(service, "persistence")[0] ? ", persistence " : "",
	       text_of(service, "persistence"), text_of(service, "pool"));
	printf("  %s:%lld\n  listens on", text_of(service, "file"),
	       (long long)number_of(service, "line"));
	json_array_foreach(json_object_get(service, "listeners"), i, item)
		printf(" %s%s", text_of(item, "address"),
		       strcmp(text_of(item, "transport"), "udp") == 0 ? "/udp" : "");
	printf("\n  %s active, %s in all (%.1f/s), %lld refused, %lld failed\n",
	       amount_text(number_of(service, "active"), active, sizeof(active)),
	       amount_text(number_of(service, "total"), total, sizeof(total)),
	       json_number_value(json_object_get(service, "rate")),
	       (long long)number_of(service, "refused"), (long long)number_of(service, "failed"));
	table = table_new(TITLES("  SERVER", "ADDRESS", "STATE", ">FOR", ">WEIGHT", ">ACTIVE", ">TOTAL",
	                         ">BYTES"));
	json_array_foreach(json_object_get(service, "servers"), i, item) {
		table_cellf(table, "  %s%s", text_of(item, "name"),
		            json_is_true(json_object_get(item, "sorry")) ? " (sorry)" : "");
		table_cell(table, text_of(item, "address"));
		table_cell(table, text_of(item, "state"));
		table_cell(table, age_since(number_of(item, "since"), now, age, sizeof(age)));
		table_cellf(table, "%lld", (long long)number_of(item, "weight"));
		table_cell(table, amount_text(number_of(item, "active"), active, sizeof(active)));
		table_cell(table, amount_text(number_of(item, "total"), total, sizeof(total)));
		table_cell(table, amount_text(number_of(item, "bytes_up") + number_of(item, "bytes_down"),
		                              bytes, sizeof(bytes)));
		if (forecast_text(item, now, left, sizeof(left)))
			table_note(table, left);
		else if (strcmp(text_of(item, "state"), "up") != 0 && text_of(item, "why")[0])
			table_note(table, text_of(item, "why"));
	}
	table_print(table, ctl->colour);
	show_figures(text_of(service, "protocol"), json_object_get(service, "figures"));
	json_array_foreach(json_object_get(service, "servers"), i, item)
		show_figures(text_of(item, "name"), json_object_get(item, "figures"));
}

int
show_services(struct ctl *ctl)
{
	char path[512] = "/v1/services";
	json_t *json, *item;
	size_t i;
	int code;

	if (ctl->argc > 0)
		snprintf(path, sizeof(path), "/v1/services/%s", ctl->argv[0]);
	json = ctl_get(ctl, "GET", path, NULL, &code);
	if (!json)
		return code;
	if (ctl->argc > 0)
		show_service(ctl, json);
	json_array_foreach(json_object_get(json, "services"), i, item) {
		if (i)
			printf("\n");
		show_service(ctl, item);
	}
	json_decref(json);
	return CTL_OK;
}

int
show_servers(struct ctl *ctl)
{
	char path[512] = "/v1/servers", active[32], total[32], left[128];
	json_int_t now = (json_int_t)clock_wall_ms();
	json_t *json, *item, *seat;
	struct table *table;
	size_t i, k;
	int code;

	if (ctl->argc > 0)
		ctl_query(path, sizeof(path), "server", ctl->argv[0]);
	json = ctl_get(ctl, "GET", path, NULL, &code);
	if (!json)
		return code;
	table = table_new(TITLES("SERVER", "POOL", "ADDRESS", "STATE", ">ACTIVE", ">TOTAL",
	                         "NOT UP IN"));
	json_array_foreach(json_object_get(json, "servers"), i, item) {
		struct text where = { 0 };

		table_cell(table, text_of(item, "name"));
		table_cell(table, text_of(item, "pool"));
		table_cell(table, text_of(item, "address"));
		table_cell(table, text_of(item, "state"));
		table_cell(table, amount_text(number_of(item, "active"), active, sizeof(active)));
		table_cell(table, amount_text(number_of(item, "total"), total, sizeof(total)));
		json_array_foreach(json_object_get(item, "services"), k, seat)
			if (strcmp(text_of(seat, "state"), "up") != 0 &&
			    strcmp(text_of(seat, "state"), "unchecked") != 0)
				text_printf(&where, "%s%s (%s%s%s)", where.len ? ", " : "",
				            text_of(seat, "service"), text_of(seat, "state"),
				            forecast_text(seat, now, left, sizeof(left)) ? ": " : "",
				            forecast_text(seat, now, left, sizeof(left)) ? left : "");
		table_cell(table, where.at);
		text_free(&where);
	}
	table_print(table, ctl->colour);
	json_decref(json);
	return CTL_OK;
}

static int
show_live(struct ctl *ctl)
{
	char path[1024] = "/v1/connections", age[DURATION_TEXT_SIZE], idle[DURATION_TEXT_SIZE];
	char up[32], down[32];
	json_t *json, *item;
	struct table *table;
	size_t i;
	int code;

	ctl_query(path, sizeof(path), "service", ctl->service);
	ctl_query(path, sizeof(path), "server", ctl->server);
	ctl_query(path, sizeof(path), "client", ctl->client);
	ctl_query(path, sizeof(path), "limit", ctl->limit);
	json = ctl_get(ctl, "GET", path, NULL, &code);
	if (!json)
		return code;
	table = table_new(TITLES("CLIENT", "SERVICE", "SERVER", "ADDRESS", ">AGE", ">IDLE", ">UP",
	                         ">DOWN"));
	json_array_foreach(json_object_get(json, "connections"), i, item) {
		table_cell(table, text_of(item, "client"));
		table_cell(table, text_of(item, "service"));
		table_cell(table, text_of(item, "server"));
		table_cell(table, text_of(item, "server_address"));
		table_cell(table, age_text((uint64_t)number_of(item, "age_ms"), age));
		table_cell(table, age_text((uint64_t)number_of(item, "idle_ms"), idle));
		table_cell(table, amount_text(number_of(item, "bytes_up"), up, sizeof(up)));
		table_cell(table, amount_text(number_of(item, "bytes_down"), down, sizeof(down)));
	}
	table_print(table, ctl->colour);
	json_decref(json);
	return CTL_OK;
}

int
show_connections(struct ctl *ctl)
{
	if (ctl->ended)
		return show_ended(ctl);
	return show_live(ctl);
}

int
show_persistence(struct ctl *ctl)
{
	char path[1024] = "/v1/persistence", age[DURATION_TEXT_SIZE], left[DURATION_TEXT_SIZE];
	json_t *json, *item;
	struct table *table;
	size_t i;
	bool clear = ctl->argc > 0 && strcmp(ctl->argv[0], "clear") == 0;
	int code;

	if (ctl->argc > 0 && !clear && strcmp(ctl->argv[0], "list") != 0) {
		fprintf(stderr, "steelyardctl: persistence list, or persistence clear\n");
		return CTL_USAGE;
	}
	ctl_query(path, sizeof(path), "service", ctl->service);
	ctl_query(path, sizeof(path), "server", ctl->server);
	ctl_query(path, sizeof(path), "client", ctl->client);
	ctl_query(path, sizeof(path), "limit", ctl->limit);
	json = ctl_get(ctl, clear ? "DELETE" : "GET", path, NULL, &code);
	if (!json)
		return code;
	if (clear) {
		printf("%lld entries cleared\n", (long long)number_of(json, "cleared"));
		json_decref(json);
		return CTL_OK;
	}
	table = table_new(TITLES("CLIENT", "SERVICE", "SERVER", ">AGE", ">LEFT"));
	json_array_foreach(json_object_get(json, "entries"), i, item) {
		table_cell(table, text_of(item, "key"));
		table_cell(table, text_of(item, "service"));
		table_cell(table, text_of(item, "server"));
		table_cell(table, age_text((uint64_t)number_of(item, "age_ms"), age));
		table_cell(table, age_text((uint64_t)number_of(item, "left_ms"), left));
	}
	table_print(table, ctl->colour);
	printf("%lld of %lld entries used", (long long)number_of(json, "used"),
	       (long long)number_of(json, "capacity"));
	if (number_of(json, "left_out"))
		printf("; %lld more match, see --limit", (long long)number_of(json, "left_out"));
	printf("\n");
	json_decref(json);
	return CTL_OK;
}

int
show_processes(struct ctl *ctl)
{
	json_int_t now = (json_int_t)clock_wall_ms();
	json_t *json, *item;
	struct table *table;
	char age[32];
	size_t i;
	int code;

	json = ctl_get(ctl, "GET", "/v1/processes", NULL, &code);
	if (!json)
		return code;
	table = table_new(TITLES("ROLE", ">PID", ">UP", ">STARTS", ">BEAT", ">GEN", ">ALIVE", ">CONNS",
	                         ">RSS KIB"));
	json_array_foreach(json_object_get(json, "processes"), i, item) {
		if (json_object_get(item, "index"))
			table_cellf(table, "%s %lld", text_of(item, "role"),
			            (long long)number_of(item, "index"));
		else
			table_cell(table, text_of(item, "role"));
		table_cellf(table, "%lld", (long long)number_of(item, "pid"));
		table_cell(table, age_since(number_of(item, "started"), now, age, sizeof(age)));
		table_cellf(table, "%lld", (long long)number_of(item, "spawns"));
		table_cellf(table, "%lldms", (long long)number_of(item, "beat_age_ms"));
		table_cellf(table, "%lld", (long long)number_of(item, "generation"));
		table_cellf(table, "%lld", (long long)number_of(item, "generations"));
		table_cellf(table, "%lld", (long long)number_of(item, "connections"));
		if (json_object_get(item, "rss_kib"))
			table_cellf(table, "%lld", (long long)number_of(item, "rss_kib"));
		else
			table_cell(table, "-");
	}
	table_print(table, ctl->colour);
	json_decref(json);
	return CTL_OK;
}

int
show_generations(struct ctl *ctl)
{
	json_t *json, *item;
	struct table *table;
	size_t i;
	int code;

	json = ctl_get(ctl, "GET", "/v1/generations", NULL, &code);
	if (!json)
		return code;
	printf("generation %lld: %lld services, %lld pools, %lld bytes in each process\n",
	       (long long)number_of(json, "current"), (long long)number_of(json, "services"),
	       (long long)number_of(json, "pools"), (long long)number_of(json, "arena_bytes"));
	table = table_new(TITLES("PROCESS", ">PID", ">IN USE", ">ALIVE"));
	json_array_foreach(json_object_get(json, "processes"), i, item) {
		table_cellf(table, "%s %lld", text_of(item, "role"), (long long)number_of(item, "index"));
		table_cellf(table, "%lld", (long long)number_of(item, "pid"));
		table_cellf(table, "%lld", (long long)number_of(item, "generation"));
		table_cellf(table, "%lld", (long long)number_of(item, "alive"));
	}
	table_print(table, ctl->colour);
	json_decref(json);
	return CTL_OK;
}

int
show_checks(struct ctl *ctl)
{
	json_int_t now = (json_int_t)clock_wall_ms();
	json_t *json, *item;
	struct table *table;
	char age[32];
	size_t i;
	int code;

	json = ctl_get(ctl, "GET", "/v1/checks", NULL, &code);
	if (!json)
		return code;
	table = table_new(TITLES("SERVER", "SERVICE", "STATE", ">FOR", ">LATENCY", "WHY"));
	json_array_foreach(json_object_get(json, "checks"), i, item) {
		table_cell(table, text_of(item, "server"));
		table_cell(table, text_of(item, "service"));
		table_cell(table, text_of(item, "state"));
		table_cell(table, age_since(number_of(item, "since"), now, age, sizeof(age)));
		table_cellf(table, "%.1fms", (double)number_of(item, "latency_us") / 1000);
		table_cell(table, text_of(item, "why"));
	}
	table_print(table, ctl->colour);
	json_decref(json);
	return CTL_OK;
}

int
show_events(struct ctl *ctl)
{
	char path[128] = "/v1/events", when[64];
	json_t *json, *list;
	int code;

	ctl_query(path, sizeof(path), "limit", ctl->limit);
	json = ctl_get(ctl, "GET", path, NULL, &code);
	if (!json)
		return code;
	list = json_object_get(json, "events");
	for (size_t i = json_array_size(list); i-- > 0;) {
		const json_t *item = json_array_get(list, i);

		printf("%s  %s\n", clock_text(number_of(item, "time"), when, sizeof(when)),
		       text_of(item, "words"));
	}
	json_decref(json);
	return CTL_OK;
}

int
show_explain(struct ctl *ctl)
{
	char path[512] = "/v1/explain";
	json_t *json, *item;
	struct table *table;
	size_t i;
	int code;

	if (!ctl->client) {
		fprintf(stderr, "steelyardctl: explain SERVICE --client ADDRESS [--pool NAME] "
		                "[--config FILE]\n");
		return CTL_USAGE;
	}
	ctl_query(path, sizeof(path), "service", ctl->argv[0]);
	ctl_query(path, sizeof(path), "client", ctl->client);
	ctl_query(path, sizeof(path), "pool", ctl->pool);
	if (ctl->config) {
		json = ctl_explain(ctl);
		code = CTL_FAILED;
	} else {
		json = ctl_get(ctl, "GET", path, NULL, &code);
	}
	if (json && ctl->json) {
		json_dumpf(json, stdout, JSON_COMPACT);
		printf("\n");
		json_decref(json);
		return CTL_OK;
	}
	if (!json)
		return code;
	printf("%s\n", text_of(json, "outcome"));
	json_array_foreach(json_object_get(json, "steps"), i, item)
		printf("  %s\n", json_string_value(item));
	table = table_new(TITLES("  SERVER", "STATE", ">ACTIVE", ">WEIGHT", "WHY"));
	json_array_foreach(json_object_get(json, "servers"), i, item) {
		table_cellf(table, "%s %s", json_is_true(json_object_get(item, "chosen")) ? "*" : " ",
		            text_of(item, "name"));
		table_cell(table, text_of(item, "state"));
		table_cellf(table, "%lld", (long long)number_of(item, "active"));
		table_cellf(table, "%lld", (long long)number_of(item, "weight"));
		table_cell(table, text_of(item, "why"));
	}
	table_print(table, ctl->colour);
	json_decref(json);
	return CTL_OK;
}

int
show_config(struct ctl *ctl)
{
	int status = 0;
	char *text;

	if (strcmp(ctl->argv[0], "config") != 0) {
		fprintf(stderr, "steelyardctl: show config is what there is to show\n");
		return CTL_USAGE;
	}
	text = ctl_http(ctl, "GET", "/v1/config", NULL, &status);
	if (!text)
		return CTL_FAILED;
	fputs(text, status < 400 ? stdout : stderr);
	free(text);
	return status < 400 ? CTL_OK : CTL_FAILED;
}
