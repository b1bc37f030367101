/* What the flight recorder holds, and what was written of it, for people. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "ctl/ctl_show.h"

static const char *
record_text(const json_t *record, const char *name)
{
	const char *text = json_string_value(json_object_get(record, name));

	return text ? text : "";
}

static long long
record_number(const json_t *record, const char *name)
{
	return json_integer_value(json_object_get(record, name));
}

static const char *
record_clock(const json_t *record, char out[static 32])
{
	long long ms = record_number(record, "time");
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t len;

	localtime_r(&seconds, &tm);
	len = strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(out + len, 32 - len, ".%03lld", ms % 1000);
	return out;
}

static void
record_print(const json_t *record)
{
	static const char *const names[] = { "service", "client", "vip", "server", "address", "why", "asked" };
	char when[32];

	printf("%s %s: ", record_clock(record, when), record_text(record, "process"));
	if (strcmp(record_text(record, "what"), "line") == 0) {
		printf("%s%s%s\n", record_text(record, "level"), *record_text(record, "level") ? " " : "",
		       record_text(record, "words"));
		return;
	}
	printf("%s %s:", record_text(record, "what"), record_text(record, "id"));
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (*record_text(record, names[i]))
			printf(" %s=%s", names[i], record_text(record, names[i]));
	if (record_number(record, "status"))
		printf(" status=%lld", record_number(record, "status"));
	printf(" ms=%lld up=%lld down=%lld end=%s%s%s%s\n", record_number(record, "ms"),
	       record_number(record, "bytes_up"), record_number(record, "bytes_down"),
	       record_text(record, "end"), *record_text(record, "error") ? " (" : "",
	       record_text(record, "error"), *record_text(record, "error") ? ")" : "");
}

/* The first line of a file says why it was written. */
static int
recorder_file(const char *path)
{
	FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
	char *line = NULL;
	size_t size = 0;

	if (!in) {
		fprintf(stderr, "steelyardctl: %s: %s\n", path, strerror(errno));
		return CTL_FAILED;
	}
	while (getline(&line, &size, in) > 0) {
		json_t *record = json_loads(line, 0, NULL);
		char when[32];

		if (!record)
			printf("%s", line);
		else if (strcmp(record_text(record, "what"), "recorder") == 0)
			printf("written at %s: %s\n\n", record_clock(record, when), record_text(record, "words"));
		else
			record_print(record);
		json_decref(record);
	}
	free(line);
	if (in != stdin)
		fclose(in);
	return CTL_OK;
}

static int
recorder_list(struct ctl *ctl, const char *path, const char *name)
{
	json_t *json, *list;
	int code;

	json = ctl_get(ctl, "GET", path, NULL, &code);
	if (!json)
		return code;
	list = json_object_get(json, name);
	for (size_t i = json_array_size(list); i-- > 0;)
		record_print(json_array_get(list, i));
	json_decref(json);
	return CTL_OK;
}

int
show_recorder(struct ctl *ctl)
{
	char path[128] = "/v1/recorder";

	if (ctl->argc > 0)
		return recorder_file(ctl->argv[0]);
	ctl_query(path, sizeof(path), "limit", ctl->limit);
	return recorder_list(ctl, path, "records");
}

int
show_ended(struct ctl *ctl)
{
	char path[1024] = "/v1/connections/ended";

	ctl_query(path, sizeof(path), "service", ctl->service);
	ctl_query(path, sizeof(path), "server", ctl->server);
	ctl_query(path, sizeof(path), "client", ctl->client);
	ctl_query(path, sizeof(path), "limit", ctl->limit);
	return recorder_list(ctl, path, "connections");
}
