/* The report of crowd-report.c for programs. */
#include "crowd.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void
json_string(FILE *to, const char *text)
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
json_deeds(const uint64_t deeds[CROWD_DEEDS], const char *before, FILE *to)
{
	static const char *const names[] = {
	    [DEED_SIGN_IN] = "sign_ins", [DEED_REDIRECT] = "redirects", [DEED_KEEP_ALIVE] = "keep_alives",
	    [DEED_CALL] = "calls",       [DEED_CUT] = "calls_cut",      [DEED_MEETING] = "meetings",
	    [DEED_SHARE] = "shares",     [DEED_ALLOCATION] = "allocations", [DEED_MEDIA] = "media",
	};

	for (int i = 0; i < CROWD_DEEDS; i++)
		fprintf(to, "%s\"%s\": %" PRIu64, i ? ", " : before, names[i], deeds[i]);
}

static void
json_target(const struct crowd *crowd, const struct crowd_target *target, FILE *to)
{
	char addr[ADDR_TEXT];
	const char *comma = "";

	fprintf(to, "    {\"name\": ");
	json_string(to, target->name);
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
		json_string(to, crowd->servers[i]);
		fprintf(to, ": %" PRIu64, target->by_server[i].exchanges);
		comma = ", ";
	}
	fprintf(to, "}");
	json_deeds(target->deeds, ", ", to);
	fprintf(to, "}");
}

static void
json_times(const struct crowd_times *times, const char *name, FILE *to)
{
	fprintf(to,
		"  \"%s\": {\"count\": %" PRIu64 ", \"p50\": %.3f, \"p99\": %.3f, "
		"\"longest\": %.3f},\n",
		name, times->count, times_percentile(times, 50) * 1000,
		times_percentile(times, 99) * 1000, times->longest * 1000);
}

static void
json_servers(const struct crowd *crowd, FILE *to)
{
	fprintf(to, "  \"servers\": {");
	for (int i = 0; i < crowd->server_count; i++) {
		uint64_t sum = 0;

		for (int j = 0; j < crowd->target_count; j++)
			sum += crowd->targets[j].by_server[i].exchanges;
		fprintf(to, "%s", i ? ", " : "");
		json_string(to, crowd->servers[i]);
		fprintf(to, ": %" PRIu64, sum);
	}
	fprintf(to, "},\n");
}

static void
json_faults(const struct crowd *crowd, FILE *to)
{
	fprintf(to, "  \"failures\": [");
	for (int i = 0; i < CROWD_FAULTS && crowd->faults[i].target; i++) {
		const struct crowd_fault *fault = &crowd->faults[i];

		fprintf(to, "%s\n    {\"target\": ", i ? "," : "");
		json_string(to, fault->target->name);
		fprintf(to, ", \"words\": ");
		json_string(to, fault->words);
		fprintf(to, ", \"example\": ");
		json_string(to, fault->example);
		fprintf(to, ", \"count\": %" PRIu64 ", \"first_s\": %.3f, \"last_s\": %.3f}",
			fault->count, fault->first, fault->last);
	}
	fprintf(to, "],\n  \"failures_in_other_words\": %" PRIu64 "\n", crowd->unkept);
}

static void
json_write(const struct crowd *crowd, FILE *to)
{
	struct lab_buf reasons = {0};
	bool well = report_verdict(crowd, &reasons);

	buf_add(&reasons, "", 1);
	fprintf(to, "{\n  \"well\": %s,\n  \"reasons\": ", well ? "true" : "false");
	json_string(to, buf_front(&reasons));
	buf_free(&reasons);
	fprintf(to,
		",\n  \"seconds\": %.3f,\n  \"clients\": %" PRIu32 ",\n  \"exchanges\": %" PRIu64
		",\n  \"failed\": %" PRIu64 ",\n  \"moved\": %" PRIu64 ",\n  \"again\": %" PRIu64
		",\n  \"strayed\": %" PRIu64 ",\n  \"switched\": %" PRIu64 ",\n  \"connections\": %" PRIu64
		",\n  \"bytes\": %" PRIu64 ",\n",
		crowd->ended - crowd->started, crowd->client_count, crowd->exchanges, crowd->failed,
		crowd->moved, crowd->again, crowd->strayed, crowd->switched, crowd->connections, crowd->bytes);
	json_deeds(crowd->deeds, "  ", to);
	fprintf(to, ",\n");
	json_times(&crowd->answer_times, "answer_ms", to);
	json_times(&crowd->connect_times, "connect_ms", to);
	json_servers(crowd, to);
	fprintf(to, "  \"targets\": [\n");
	for (int i = 0; i < crowd->target_count; i++) {
		json_target(crowd, &crowd->targets[i], to);
		fprintf(to, "%s\n", i + 1 < crowd->target_count ? "," : "");
	}
	fprintf(to, "  ],\n");
	json_faults(crowd, to);
	fprintf(to, "}\n");
}

int
report_json(const struct crowd *crowd, const char *path, struct lab_err *err)
{
	FILE *to = strcmp(path, "-") ? fopen(path, "we") : stdout;
	int failed;

	if (!to)
		return err_set(err, "cannot write %s: %s", path, strerror(errno));
	json_write(crowd, to);
	failed = to == stdout ? fflush(to) : fclose(to);
	return failed ? err_set(err, "cannot write %s: %s", path, strerror(errno)) : 0;
}
