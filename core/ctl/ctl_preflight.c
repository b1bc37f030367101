/* What of the machine's routing is not as it should be. */
#include <stdio.h>

#include "ctl/ctl_show.h"

static const char *
preflight_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* How many are not well. */
static unsigned
preflight_findings(const struct ctl *ctl, const json_t *list)
{
	struct table *table = table_new((const char *const[]){ "FINDING", "SERVICE", "WHY", NULL });
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		table_cell(table, preflight_text(item, "name"));
		table_cell(table, preflight_text(item, "service"));
		table_cell(table, preflight_text(item, "words"));
	}
	table_print(table, ctl->colour);
	return (unsigned)json_array_size(list);
}

static unsigned
preflight_asked(const struct ctl *ctl, const json_t *list)
{
	struct table *table = table_new((const char *const[]){ "SERVER", "ASKED BY", "BACK", "WHY", NULL });
	const json_t *item;
	unsigned silent = 0;
	size_t i;

	json_array_foreach(list, i, item) {
		bool answers = json_is_true(json_object_get(item, "answers"));

		silent += !answers;
		table_cell(table, preflight_text(item, "server"));
		table_cell(table, preflight_text(item, "client"));
		table_cell(table, answers ? "yes" : "no");
		table_cell(table, preflight_text(item, "words"));
	}
	table_print(table, ctl->colour);
	return silent;
}

int
show_preflight(struct ctl *ctl)
{
	char path[256] = "/v1/preflight";
	const json_t *findings, *asked;
	unsigned wrong = 0;
	json_t *json;
	int code;

	ctl_query(path, sizeof(path), "client", ctl->client);
	json = ctl_get(ctl, "GET", path, NULL, &code);
	if (!json)
		return code;
	findings = json_object_get(json, "findings");
	asked = json_object_get(json, "asked");
	if (json_array_size(findings))
		wrong += preflight_findings(ctl, findings);
	if (json_array_size(findings) && json_array_size(asked))
		printf("\n");
	if (json_array_size(asked))
		wrong += preflight_asked(ctl, asked);
	if (!wrong)
		printf("Nothing stands in the way.\n");
	if (!json_is_true(json_object_get(json, "manage_routing")))
		printf("Servers are asked for the way back only with manage-routing on.\n");
	json_decref(json);
	return wrong ? CTL_FAILED : CTL_OK;
}
