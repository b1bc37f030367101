/* Asks a web server for a page and judges by the status, and by what the page contains. */
#include "web.h"

struct http_conf {
	struct web_conf web;
};

static const struct sy_row http_rows[] = {
	WEB_ROWS(struct http_conf),
	SY_ROW_END
};

static int
http_check(void *conf, struct sy_err *err)
{
	return web_check(&((struct http_conf *)conf)->web, err);
}

static void
http_release(void *conf)
{
	web_release(&((struct http_conf *)conf)->web);
}

static struct sy_probe_plan
http_plan(const void *conf)
{
	(void)conf;
	return (struct sy_probe_plan){ .transport = SY_OVER_TCP };
}

static struct sy_probe_step
http_start(const void *conf, void *state, const struct sy_probe *probe)
{
	return web_start(&((const struct http_conf *)conf)->web, state, probe);
}

static struct sy_probe_step
http_data(const void *conf, void *state, const struct sy_probe *probe, struct sy_span in, bool closed)
{
	(void)state, (void)probe;
	return web_data(&((const struct http_conf *)conf)->web, in, closed);
}

static const struct sy_monitor http_ops = {
	.size = sizeof(http_ops),
	.state_size = sizeof(struct web_state),
	.plan = http_plan,
	.start = http_start,
	.data = http_data,
};

SY_MODULE(SY_MONITOR, "http",
	.version = "1.1",
	.summary = "Asks a web server for a page and judges by status and content.",
	.conf_size = sizeof(struct http_conf),
	.rows = http_rows,
	.check = http_check,
	.release = http_release,
	.ops = &http_ops);
