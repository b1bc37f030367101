/* explain --config FILE: the question, and what the running daemon knows of its servers and clients, go
 * to the loader (steelyardd --explain), which makes the pick by that file. Nothing is changed by it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memfd.h"
#include "base/text.h"
#include "ctl/ctl_do.h"

static json_t *
explain_list(struct ctl *ctl, const char *path, const char *name)
{
	int status = 0;
	char *answer = ctl_http(ctl, "GET", path, NULL, &status);
	json_t *json = answer ? json_loads(answer, 0, NULL) : NULL;
	json_t *list = status == 200 ? json_incref(json_object_get(json, name)) : NULL;

	json_decref(json);
	free(answer);
	return list ? list : json_array();
}

/* Those that the client has open at the service; exchanges of one connection count as that. */
static json_int_t
explain_open(struct ctl *ctl)
{
	char path[300] = "/v1/connections";
	json_t *list, *conn;
	json_int_t n = 0;
	size_t i;

	ctl_query(path, sizeof(path), "service", ctl->argv[0]);
	ctl_query(path, sizeof(path), "client", ctl->client);
	ctl_query(path, sizeof(path), "limit", "100000");
	list = explain_list(ctl, path, "connections");
	json_array_foreach(list, i, conn)
		n += !json_object_get(conn, "parent");
	json_decref(list);
	return n;
}

/* A service that does not run yet has nobody who is kept. */
static json_t *
explain_ask(struct ctl *ctl)
{
	char kept[300] = "/v1/persistence";

	ctl_query(kept, sizeof(kept), "service", ctl->argv[0]);
	ctl_query(kept, sizeof(kept), "limit", "1000000");
	ctl_query(kept, sizeof(kept), "client", ctl->client);
	return json_pack("{s:s, s:s, s:s*, s:o, s:o, s:I}", "service", ctl->argv[0], "client", ctl->client,
	                 "pool", ctl->pool, "services", explain_list(ctl, "/v1/services", "services"),
	                 "persistence", explain_list(ctl, kept, "entries"), "connections", explain_open(ctl));
}

json_t *
ctl_explain(struct ctl *ctl)
{
	const char *args[] = { "--explain", "-c", ctl->config, ctl->modules ? "-m" : NULL, ctl->modules,
	                       NULL };
	json_t *ask = explain_ask(ctl), *answer = NULL;
	char *text = json_dumps(ask, JSON_COMPACT);
	struct text out = { 0 };
	struct sy_err err;
	int in = memfd_sealed("steelyard-question", text ? text : "", text ? strlen(text) : 0, &err);

	if (in >= 0 && lseek(in, 0, SEEK_SET) == 0 && ctl_spawn(ctl, args, in, &out) && out.at)
		answer = json_loads(out.at, 0, NULL);
	if (in >= 0)
		close(in);
	if (!answer)
		fprintf(stderr, "steelyardctl: %s does not tell where %s would go\n", ctl->config, ctl->client);
	text_free(&out);
	free(text);
	json_decref(ask);
	return answer;
}
