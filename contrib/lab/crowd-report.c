/* The end of it: a table and a verdict for people, the same as JSON for tests. */
#include "crowd.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Whether the server carried an exchange at any target. */
static bool
report_carried(const struct crowd *crowd, const char *name, size_t len)
{
	for (int i = 0; i < crowd->server_count; i++) {
		if (strlen(crowd->servers[i]) != len || memcmp(crowd->servers[i], name, len))
			continue;
		for (int j = 0; j < crowd->target_count; j++)
			if (crowd->targets[j].by_server[i].exchanges)
				return true;
	}
	return false;
}

bool
report_verdict(const struct crowd *crowd, struct lab_buf *reasons)
{
	const char *name = crowd->expect ? crowd->expect : "";
	size_t start = reasons->len;

	for (int i = 0; i < crowd->target_count; i++) {
		const struct crowd_target *target = &crowd->targets[i];
		char addr[ADDR_TEXT];

		if (!target->exchanges && !target->optional)
			buf_print(reasons, "%s (%s) carried no traffic\n", target->name,
				  addr_text(&target->addr, addr));
		if (target->failed)
			buf_print(reasons, "%s: %" PRIu64 " failed\n", target->name,
				  target->failed);
	}
	for (size_t len; *name; name += len + (name[len] == ',')) {
		len = strcspn(name, ",");
		if (len && !report_carried(crowd, name, len))
			buf_print(reasons, "%.*s answered nothing\n", (int)len, name);
	}
	return reasons->len == start;
}

static void
report_table(const struct crowd *crowd, FILE *to)
{
	int order[CROWD_SERVERS], servers = count_order(crowd, order);

	fprintf(to, "\n%-18s %-22s %9s", "service", "address", "exchanges");
	for (int i = 0; i < servers; i++)
		fprintf(to, " %8.8s", crowd->servers[order[i]]);
	fprintf(to, " %6s %6s %6s %9s\n", "moved", "again", "failed", "slowest");
	for (int i = 0; i < crowd->target_count; i++) {
		const struct crowd_target *target = &crowd->targets[i];
		char addr[ADDR_TEXT];

		fprintf(to, "%-18.18s %-22s %9" PRIu64, target->name,
			addr_text(&target->addr, addr), target->exchanges);
		for (int j = 0; j < servers; j++)
			fprintf(to, " %8" PRIu64, target->by_server[order[j]].exchanges);
		fprintf(to, " %6" PRIu64 " %6" PRIu64 " %6" PRIu64 " %6.1f ms%s\n", target->moved,
			target->again, target->failed, target->slowest * 1000,
			target->optional && !target->exchanges ? "  unused" : "");
	}
}

void
report_print(struct crowd *crowd, FILE *to)
{
	struct lab_buf reasons = {0};
	bool well = report_verdict(crowd, &reasons);
	double seconds = crowd->ended - crowd->started;

	report_table(crowd, to);
	fprintf(to,
		"\n%" PRIu64 " exchanges in %.1f s over %" PRIu64 " connections, %.1f MB; "
		"answers: half within %.2f ms, 99 of 100 within %.2f ms, all within %.2f ms\n",
		crowd->exchanges, seconds, crowd->connections, (double)crowd->bytes / 1e6,
		times_percentile(&crowd->answer_times, 50) * 1000,
		times_percentile(&crowd->answer_times, 99) * 1000,
		crowd->answer_times.longest * 1000);
	fprintf(to,
		"connections lost and tried once more: %" PRIu64 " moved to another server, "
		"%" PRIu64 " answered again by the same\n",
		crowd->moved, crowd->again);
	if (crowd->strayed)
		fprintf(to, "web sessions that were not found again: %" PRIu64 "\n", crowd->strayed);
	for (int i = 0; i < CROWD_FAULTS && crowd->faults[i].target; i++) {
		const struct crowd_fault *fault = &crowd->faults[i];

		fprintf(to, "failed: %s: %" PRIu64 " x %s", fault->target->name, fault->count,
			fault->words);
		fprintf(to, " (%.1f s to %.1f s%s%s)\n", fault->first, fault->last,
			*fault->example ? "; " : "", fault->example);
	}
	if (crowd->unkept)
		fprintf(to, "and %" PRIu64 " failures in other words\n", crowd->unkept);
	if (well)
		fprintf(to, "well: every service carried traffic, no exchange failed\n");
	else
		fprintf(to, "NOT well:\n%.*s", (int)reasons.len, buf_front(&reasons));
	fflush(to);
	buf_free(&reasons);
}

static void
report_string(FILE *to, const char *text)
{
	fputc('"', to);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(to, "\\%c", c);
		else if (c < 0x20 || c > 0x7e)
			fprintf(to, "\\u%04x", c);
		else
			fputc(c, to);
	}
	fputc('"', to);
}

static void
report_json_target(const struct crowd *crowd, const struct crowd_target *target, FILE *to)
{
	char addr[ADDR_TEXT];
	const char *comma = "";

	fprintf(to, "    {\"name\": ");
	report_string(to, target->name);
	fprintf(to,
		", \"address\": \"%s\", \"transport\": \"%s\", \"optional\": %s, "
		"\"exchanges\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"moved\": %" PRIu64
		", \"again\": %" PRIu64 ", \"strayed\": %" PRIu64 ", \"switched\": %" PRIu64 ", \"unanswered\": %" PRIu64
		", \"connections\": %" PRIu64 ", \"slowest_ms\": %.3f, \"servers\": {",
		addr_text(&target->addr, addr), transport_name(target->transport),
		target->optional ? "true" : "false", target->exchanges, target->failed,
		target->moved, target->again, target->strayed, target->switched, target->unanswered,
		target->connections, target->slowest * 1000);
	for (int i = 0; i < crowd->server_count; i++) {
		if (!target->by_server[i].exchanges)
			continue;
		fprintf(to, "%s", comma);
		report_string(to, crowd->servers[i]);
		fprintf(to, ": %" PRIu64, target->by_server[i].exchanges);
		comma = ", ";
	}
	fprintf(to, "}}");
}

static void
report_json_times(const struct crowd_times *times, const char *name, FILE *to)
{
	fprintf(to,
		"  \"%s\": {\"count\": %" PRIu64 ", \"p50\": %.3f, \"p99\": %.3f, "
		"\"longest\": %.3f},\n",
		name, times->count, times_percentile(times, 50) * 1000,
		times_percentile(times, 99) * 1000, times->longest * 1000);
}

static void
report_json_servers(const struct crowd *crowd, FILE *to)
{
	fprintf(to, "  \"servers\": {");
	for (int i = 0; i < crowd->server_count; i++) {
		uint64_t sum = 0;

		for (int j = 0; j < crowd->target_count; j++)
			sum += crowd->targets[j].by_server[i].exchanges;
		fprintf(to, "%s", i ? ", " : "");
		report_string(to, crowd->servers[i]);
		fprintf(to, ": %" PRIu64, sum);
	}
	fprintf(to, "},\n");
}

static void
report_json_faults(const struct crowd *crowd, FILE *to)
{
	fprintf(to, "  \"failures\": [");
	for (int i = 0; i < CROWD_FAULTS && crowd->faults[i].target; i++) {
		const struct crowd_fault *fault = &crowd->faults[i];

		fprintf(to, "%s\n    {\"target\": ", i ? "," : "");
		report_string(to, fault->target->name);
		fprintf(to, ", \"words\": ");
		report_string(to, fault->words);
		fprintf(to, ", \"example\": ");
		report_string(to, fault->example);
		fprintf(to, ", \"count\": %" PRIu64 ", \"first_s\": %.3f, \"last_s\": %.3f}",
			fault->count, fault->first, fault->last);
	}
	fprintf(to, "],\n  \"failures_in_other_words\": %" PRIu64 "\n", crowd->unkept);
}

static void
report_json_write(const struct crowd *crowd, FILE *to)
{
	struct lab_buf reasons = {0};
	bool well = report_verdict(crowd, &reasons);

	buf_add(&reasons, "", 1);
	fprintf(to, "{\n  \"well\": %s,\n  \"reasons\": ", well ? "true" : "false");
	report_string(to, buf_front(&reasons));
	buf_free(&reasons);
	fprintf(to,
		",\n  \"seconds\": %.3f,\n  \"clients\": %" PRIu32 ",\n  \"exchanges\": %" PRIu64
		",\n  \"failed\": %" PRIu64 ",\n  \"moved\": %" PRIu64 ",\n  \"again\": %" PRIu64
		",\n  \"strayed\": %" PRIu64 ",\n  \"switched\": %" PRIu64 ",\n  \"connections\": %" PRIu64
		",\n  \"bytes\": %" PRIu64 ",\n",
		crowd->ended - crowd->started, crowd->client_count, crowd->exchanges, crowd->failed,
		crowd->moved, crowd->again, crowd->strayed, crowd->switched, crowd->connections, crowd->bytes);
	report_json_times(&crowd->answer_times, "answer_ms", to);
	report_json_times(&crowd->connect_times, "connect_ms", to);
	report_json_servers(crowd, to);
	fprintf(to, "  \"targets\": [\n");
	for (int i = 0; i < crowd->target_count; i++) {
		report_json_target(crowd, &crowd->targets[i], to);
		fprintf(to, "%s\n", i + 1 < crowd->target_count ? "," : "");
	}
	fprintf(to, "  ],\n");
	report_json_faults(crowd, to);
	fprintf(to, "}\n");
}

int
report_json(const struct crowd *crowd, const char *path, struct lab_err *err)
{
	FILE *to = strcmp(path, "-") ? fopen(path, "we") : stdout;
	int failed;

	if (!to)
		return err_set(err, "cannot write %s: %s", path, strerror(errno));
	report_json_write(crowd, to);
	failed = to == stdout ? fflush(to) : fclose(to);
	return failed ? err_set(err, "cannot write %s: %s", path, strerror(errno)) : 0;
}
