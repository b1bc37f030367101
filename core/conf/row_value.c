/* Words of the file into fields of structs, by type. */
#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "conf/rows.h"

enum { RANGES_MAX = 4096 };

struct row_parse {
	struct arena *arena;
	const struct sy_row *row;
	struct complaints *complaints;
};

/* "tries 99: a number from 1 to 16 (default 3) is expected". */
static bool
row_wrong(const struct row_parse *parse, const struct row_value *value, const char *more)
{
	struct text range = { 0 };

	rows_range_text(parse->row, &range);
	complain(parse->complaints, value->at, "%s %s: %s is expected%s%s", parse->row->name,
		 *value->text ? value->text : "\"\"", range.at, *more ? "; " : "", more);
	text_free(&range);
	return false;
}

static bool
row_within(const struct sy_row *row, uint64_t n)
{
	return n >= row->min && (row->max == 0 || n <= row->max);
}

static bool
row_bool(const struct row_parse *parse, const struct row_value *value, bool *out)
{
	*out = strcmp(value->text, "on") == 0;
	return *out || strcmp(value->text, "off") == 0 || row_wrong(parse, value, "");
}

static bool
row_uint(const struct row_parse *parse, const struct row_value *value, uint32_t *out)
{
	uint64_t n;

	if (!uint_parse(value->text, &n) || n > UINT32_MAX || !row_within(parse->row, n))
		return row_wrong(parse, value, "");
	*out = (uint32_t)n;
	return true;
}

static bool
row_msec(const struct row_parse *parse, const struct row_value *value, struct sy_msec *out)
{
	if (!duration_parse(value->text, &out->ms))
		return row_wrong(parse, value,
				 "units are ms, s, m, h and d; a bare number is seconds");
	return row_within(parse->row, out->ms) || row_wrong(parse, value, "");
}

static bool
row_bytes(const struct row_parse *parse, const struct row_value *value, struct sy_bytes *out)
{
	if (!bytes_parse(value->text, &out->n))
		return row_wrong(parse, value, "units are k, m and g, powers of 1024");
	return row_within(parse->row, out->n) || row_wrong(parse, value, "");
}

static bool
row_rate(const struct row_parse *parse, const struct row_value *value, struct sy_rate *out)
{
	const char *slash = strchr(value->text, '/');
	size_t len = slash ? (size_t)(slash - value->text) : strlen(value->text);
	char digits[16] = "";
	uint64_t n;

	if (len < sizeof(digits))
		memcpy(digits, value->text, len);
	if ((slash && strcmp(slash, "/s") != 0) || !uint_parse(digits, &n) || n > UINT32_MAX ||
	    !row_within(parse->row, n))
		return row_wrong(parse, value, "");
	out->per_second = (uint32_t)n;
	return true;
}

static bool
row_choice(const struct row_parse *parse, const struct row_value *value, struct sy_choice *out)
{
	const char *near;
	char more[128] = "";

	for (out->index = 0; parse->row->words[out->index]; out->index++)
		if (strcmp(parse->row->words[out->index], value->text) == 0)
			return true;
	near = text_nearest(value->text, parse->row->words);
	if (near)
		snprintf(more, sizeof(more), "did you mean %s?", near);
	return row_wrong(parse, value, more);
}

/* ---- addresses ---- */

bool
host_port_split(const char *text, struct host_port *out)
{
	const char *host = text, *end, *port = NULL;

	*out = (struct host_port){ 0 };
	if (*text == '[') {
		host = text + 1;
		end = strchr(host, ']');
		if (!end || (end[1] && end[1] != ':'))
			return false;
		port = end[1] ? end + 2 : NULL;
	} else {
		end = strchr(text, ':');
		if (end && strchr(end + 1, ':'))
			end = NULL; /* a bare IPv6 address */
		port = end ? end + 1 : NULL;
		if (!end)
			end = text + strlen(text);
	}
	if (end == host || (size_t)(end - host) >= sizeof(out->host) ||
	    (port && (!*port || strlen(port) >= sizeof(out->port))))
		return false;
	memcpy(out->host, host, (size_t)(end - host));
	out->has_port = port != NULL;
	if (port)
		strcpy(out->port, port);
	return true;
}

static bool
row_port(const char *text, uint16_t *port)
{
	uint64_t n;

	if (!uint_parse(text, &n) || n == 0 || n > UINT16_MAX)
		return false;
	*port = (uint16_t)n;
	return true;
}

static bool
row_addr(const struct row_parse *parse, const struct row_value *value, struct sy_addr *out)
{
	const struct sy_row *row = parse->row;
	struct host_port split;
	uint16_t port = 0;

	if (!host_port_split(value->text, &split))
		return row_wrong(parse, value, "");
	if (value->found.len)
		snprintf(split.host, sizeof(split.host), "%s", (const char *)value->found.at);
	if (!addr_parse(split.host, out))
		return row_wrong(parse, value,
				 "names are looked up when the file is loaded, not here");
	if (split.has_port && (row->flags & SY_NO_PORT))
		return row_wrong(parse, value, "");
	if (!split.has_port && (row->flags & SY_PORT))
		return row_wrong(parse, value, "");
	if (split.has_port && !row_port(split.port, &port))
		return row_wrong(parse, value, "a port is a number from 1 to 65535");
	out->port = port;
	return true;
}

static bool
row_addrs(const struct row_parse *parse, const struct row_value *values, uint32_t n,
	  struct sy_addrs *out)
{
	struct sy_addr *at = arena_array(parse->arena, struct sy_addr, n);
	bool good = true;

	for (uint32_t i = 0; i < n; i++)
		good &= row_addr(parse, &values[i], &at[i]);
	*out = (struct sy_addrs){ at, n };
	return good;
}

static bool
row_nets(const struct row_parse *parse, const struct row_value *values, uint32_t n,
	 struct sy_nets *out)
{
	struct sy_net *at = arena_array(parse->arena, struct sy_net, n);
	char meant[ADDR_TEXT_SIZE + 32];
	struct sy_net net;
	bool good = true;

	for (uint32_t i = 0; i < n; i++) {
		char loose[ADDR_TEXT_SIZE], *slash;
		uint64_t bits;

		if (net_parse(values[i].text, &at[i]))
			continue;
		good = false;
		*meant = '\0';
		snprintf(loose, sizeof(loose), "%s", values[i].text);
		slash = strchr(loose, '/');
		if (slash && uint_parse(slash + 1, &bits)) {
			*slash = '\0';
			if (net_parse(loose, &net) && bits <= net.bits) {
				net = (struct sy_net){ sy_addr_mask(net.addr, (unsigned)bits),
						      (uint8_t)bits };
				snprintf(meant, sizeof(meant), "the network is %s",
					 net_text(&net, loose));
			}
		}
		row_wrong(parse, &values[i], meant);
	}
	*out = (struct sy_nets){ at, n };
	return good;
}

/* ---- lists ---- */

static void
row_list(const struct row_parse *parse, const struct row_value *values, uint32_t n,
	 struct sy_list *out)
{
	const char **at = arena_array(parse->arena, const char *, n);

	for (uint32_t i = 0; i < n; i++)
		at[i] = values[i].text;
	*out = (struct sy_list){ at, n };
}

/* "200", "200-399". */
static bool
row_range(const char *text, size_t len, struct sy_range *out)
{
	char copy[32], *dash;
	uint64_t from, to;

	if (len == 0 || len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	dash = strchr(copy, '-');
	if (dash)
		*dash = '\0';
	if (!uint_parse(copy, &from) || !uint_parse(dash ? dash + 1 : copy, &to))
		return false;
	*out = (struct sy_range){ (uint32_t)from, (uint32_t)to };
	return from <= to && to <= UINT32_MAX;
}

static bool
row_ranges(const struct row_parse *parse, const struct row_value *values, uint32_t n,
	   struct sy_ranges *out)
{
	struct sy_range *at;
	uint32_t total = 0;
	bool good = true;

	for (uint32_t i = 0; i < n; i++, total++)
		for (const char *text = values[i].text; *text; text++)
			total += *text == ',';
	if (total > RANGES_MAX)
		return row_wrong(parse, &values[0], "that are too many");
	at = arena_array(parse->arena, struct sy_range, total);
	total = 0;
	for (uint32_t i = 0; i < n; i++) {
		const char *text = values[i].text;

		for (;; text++) {
			size_t len = strcspn(text, ",");

			if (!row_range(text, len, &at[total]) || at[total].from < parse->row->min ||
			    (parse->row->max && at[total].to > parse->row->max)) {
				good = row_wrong(parse, &values[i], "");
				break;
			}
			total++;
			text += len;
			if (!*text)
				break;
		}
	}
	*out = (struct sy_ranges){ at, total };
	return good;
}

bool
row_is_list(const struct sy_row *row)
{
	return row->type == SY_ROW_ADDRS || row->type == SY_ROW_NETS || row->type == SY_ROW_LIST ||
	       row->type == SY_ROW_RANGES;
}

/* ---- all of them ---- */

static bool
row_count(const struct row_parse *parse, const struct row_value *values, uint32_t n)
{
	const struct node *at = values[0].at;
	struct text range = { 0 };
	char more[96] = "";

	if (n == 1)
		return true;
	if (at->last_line > at->line && !row_is_list(parse->row))
		snprintf(more, sizeof(more), "; the statement goes on to line %u: is a ; missing?",
			 at->last_line);
	rows_range_text(parse->row, &range);
	complain(parse->complaints, at, "%s takes one value, %s, and %u are given%s",
		 parse->row->name, range.at, n, more);
	text_free(&range);
	return false;
}

bool
row_parse(struct arena *arena, const struct sy_row *row, const struct row_value *values, uint32_t n,
	  void *field, struct complaints *complaints)
{
	const struct row_parse parse = { arena, row, complaints };
	struct sy_file *file = field;
	struct sy_secret *secret = field;

	if (!row_is_list(row) && !row_count(&parse, values, n))
		return false;
	switch (row->type) {
	case SY_ROW_NONE:
	case SY_ROW_BLOCK:
	case SY_ROW_BLOCKS:
		must(!"a value has a type");
		return false;
	case SY_ROW_POOL:
		return true; /* rows_bind() knows who knows it */
	case SY_ROW_BOOL:
		return row_bool(&parse, values, field);
	case SY_ROW_UINT:
		return row_uint(&parse, values, field);
	case SY_ROW_MSEC:
		return row_msec(&parse, values, field);
	case SY_ROW_BYTES:
		return row_bytes(&parse, values, field);
	case SY_ROW_RATE:
		return row_rate(&parse, values, field);
	case SY_ROW_CHOICE:
		return row_choice(&parse, values, field);
	case SY_ROW_TEXT:
		*(const char **)field = values->text;
		return true;
	case SY_ROW_ADDR:
		return row_addr(&parse, values, field);
	case SY_ROW_ADDRS:
		return row_addrs(&parse, values, n, field);
	case SY_ROW_NETS:
		return row_nets(&parse, values, n, field);
	case SY_ROW_LIST:
		row_list(&parse, values, n, field);
		return true;
	case SY_ROW_RANGES:
		return row_ranges(&parse, values, n, field);
	case SY_ROW_FILE:
		*file = (struct sy_file){ values->text, values->found };
		return true;
	case SY_ROW_SECRET:
		*secret = (struct sy_secret){ values->text, values->found };
		return true;
	}
	return false;
}
