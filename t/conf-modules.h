/* Modules that are no files, for tests of the configuration: one of each kind, and a monitor that
 * has a row of every type. */
#ifndef T_CONF_MODULES_H
#define T_CONF_MODULES_H

#include <string.h>

#include "api/monitor.h"
#include "api/persistence.h"
#include "api/protocol.h"
#include "api/scheduler.h"

struct every_inner {
	bool deep;
	struct sy_file ca;
};

/* A block that is given any number of times, with another one inside. */
struct every_hop {
	const char *to;
	uint32_t cost;
};

struct every_rule {
	struct sy_choice action;
	const char *name, *value;
	struct sy_list tags;
	struct every_inner inner;
	struct sy_blocks hops;    /* struct every_hop */
};

struct every {
	bool flag, flag_given;
	uint32_t number;
	struct sy_msec time;
	struct sy_bytes size;
	struct sy_rate rate;
	struct sy_choice choice;
	const char *text;
	struct sy_addr addr, addr_port;
	struct sy_addrs addrs;
	struct sy_nets nets;
	struct sy_list list;
	struct sy_ranges ranges;
	struct sy_file file;
	struct sy_secret secret;
	struct every_inner inner;
	struct sy_blocks rules;   /* struct every_rule */
	bool checked;
};

static const char *const every_words[] = { "red", "green", "blue", NULL };

static const struct sy_row every_inner_rows[] = {
	SY_ROW(struct every_inner, deep, "deep", .preset = "on", .doc = "Deep."),
	SY_ROW(struct every_inner, ca, "ca", .doc = "A file."),
	SY_ROW_END
};

static const char *const every_actions[] = { "set", "remove", NULL };

static const struct sy_row every_hop_rows[] = {
	SY_ROW(struct every_hop, to, "to", .flags = SY_ARGUMENT | SY_REQUIRED, .doc = "Where to."),
	SY_ROW(struct every_hop, cost, "cost", .max = 9, .preset = "1", .doc = "Cost."),
	SY_ROW_END
};

static const struct sy_row every_rule_rows[] = {
	SY_ROW(struct every_rule, action, "action", .words = every_actions,
	       .flags = SY_ARGUMENT | SY_REQUIRED, .doc = "What to do."),
	SY_ROW(struct every_rule, name, "name", .flags = SY_ARGUMENT | SY_REQUIRED, .doc = "Name."),
	SY_ROW(struct every_rule, value, "value", .flags = SY_ARGUMENT, .doc = "Value."),
	SY_ROW(struct every_rule, tags, "tags", .preset = "p q", .doc = "Tags."),
	SY_ROW_IN(struct every_rule, inner, "inner", every_inner_rows, .doc = "Inner."),
	SY_ROWS_IN(struct every_rule, hops, "hop", every_hop_rows, struct every_hop, .doc = "Hops."),
	SY_ROW_END
};

static const struct sy_row every_rows[] = {
    SY_ROW(struct every, flag, "flag", .preset = "off", SY_GIVEN(struct every, flag_given),
	   .doc = "Flag."),
    SY_ROW(struct every, number, "number", .min = 3, .max = 7, .preset = "5", .doc = "Number."),
    SY_ROW(struct every, time, "time", .min = SY_SECOND, .max = SY_DAY, .preset = "1500ms",
	   .doc = "Time."),
    SY_ROW(struct every, size, "size", .max = 1 << 20, .preset = "64k", .doc = "Size."),
    SY_ROW(struct every, rate, "rate", .preset = "7/s", .doc = "Rate."),
    SY_ROW(struct every, choice, "choice", .words = every_words, .preset = "green",
	   .doc = "Choice."),
    SY_ROW(struct every, text, "text", .preset = "two words", .doc = "Text."),
    SY_ROW(struct every, addr, "addr", .flags = SY_NO_PORT, .doc = "Address."),
    SY_ROW(struct every, addr_port, "addr-port", .flags = SY_PORT, .doc = "Address and port."),
    SY_ROW(struct every, addrs, "addrs", .preset = "127.0.0.1 [::1]:80", .doc = "Addresses."),
    SY_ROW(struct every, nets, "nets", .preset = "10.0.0.0/8 ::1", .doc = "Networks."),
    SY_ROW(struct every, list, "list", .preset = "a b c", .doc = "List."),
    SY_ROW(struct every, ranges, "ranges", .min = 100, .max = 599, .preset = "200-399,401 500",
	   .doc = "Ranges."),
    SY_ROW(struct every, file, "file", .doc = "File."),
    SY_ROW(struct every, secret, "secret", .doc = "Secret."),
    SY_ROW_IN(struct every, inner, "inner", every_inner_rows, .doc = "Inner."),
    SY_ROWS_IN(struct every, rules, "rule", every_rule_rows, struct every_rule, .doc = "Rules."),
    SY_ROW_END};

static int
every_check(void *conf, struct sy_err *err)
{
	struct every *every = conf;

	if (every->flag && every->number == 7)
		return sy_fail(err, "flag and number 7 do not go together");
	every->checked = true;
	return 0;
}

static struct sy_probe_plan
every_plan(const void *conf)
{
	(void)conf;
	return (struct sy_probe_plan){ .transport = SY_OVER_ICMP };
}

static struct sy_probe_step
every_start(const void *conf, void *state, const struct sy_probe *probe)
{
	(void)conf, (void)state, (void)probe;
	return sy_judge(SY_PROBE_UP, "always");
}

static int
first_pick(const void *conf, const struct sy_set *set, const void *table,
	   const struct sy_draw *draw)
{
	(void)conf, (void)table, (void)draw;
	return set->n ? 0 : -1;
}

static struct sy_persist_life
keep_life(const void *conf)
{
	(void)conf;
	return (struct sy_persist_life){ 1000, true };
}

static void
keep_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	(void)conf, (void)facts;
	out->len = 0;
}

static const char *
keep_print(const void *conf, const struct sy_key *key, char *out, size_t len)
{
	(void)conf, (void)key, (void)len;
	*out = '\0';
	return out;
}

static const struct sy_monitor every_ops = { .size = sizeof(struct sy_monitor), .plan = every_plan,
					     .start = every_start };
static const struct sy_scheduler first_ops = { .size = sizeof(struct sy_scheduler),
					       .pick = first_pick };
static const struct sy_persistence keep_ops = { .size = sizeof(struct sy_persistence),
						.life = keep_life, .key = keep_key,
						.print = keep_print };
static const struct sy_protocol both_ops = { .size = sizeof(struct sy_protocol),
					     .flags = SY_STREAMS | SY_DATAGRAMS,
					     .load_unit = "connections" };

static const struct sy_module test_modules[] = {
	{ .kind = SY_PROTOCOL, .name = "tcp", .ops = &both_ops },
	{ .kind = SY_SCHEDULER, .name = "least-connections", .ops = &first_ops },
	{ .kind = SY_PERSISTENCE, .name = "keep", .ops = &keep_ops },
	{ .kind = SY_MONITOR, .name = "every", .ops = &every_ops, .rows = every_rows,
	  .conf_size = sizeof(struct every), .check = every_check },
};

__attribute__((unused)) static const struct sy_module *
test_module(void *context, enum sy_kind kind, const char *name, struct sy_err *err)
{
	(void)context;
	for (size_t i = 0; i < sizeof(test_modules) / sizeof(test_modules[0]); i++)
		if (test_modules[i].kind == kind && strcmp(test_modules[i].name, name) == 0)
			return &test_modules[i];
	sy_fail(err, "there is no such module");
	return NULL;
}

#endif
