/* Persistence by a field of the head, of HTTP or SIP. */
#include "shown.h"

struct header_conf {
	struct shown_conf shown;
	const char *name;
};

static const struct sy_row header_rows[] = {
	SY_ROW(struct header_conf, name, "name", .flags = SY_REQUIRED,
	       .doc = "Name of the field, such as X-Session; the first one of that name counts."),
	SHOWN_ROWS(struct header_conf, "20m"),
	SY_ROW_END
};

static int
header_check(void *conf, struct sy_err *err)
{
	const struct header_conf *header = conf;
	const char *at = header->name;

	while (*at > ' ' && *at < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", *at))
		at++;
	if (at == header->name || *at)
		return sy_fail(err, "name \"%.80s\": that is no name of a field", header->name);
	return 0;
}

static void
header_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	const struct header_conf *header = conf;
	struct sy_head head = sy_head(facts->head);

	out->len = 0;
	while (sy_head_next(&head)) {
		if (!sy_span_is(head.name, header->name))
			continue;
		shown_key(head.value, false, out);
		return;
	}
}

static const struct sy_persistence header = {
	.size = sizeof(header), .life = shown_life, .key = header_key, .print = shown_print,
};

SY_MODULE(SY_PERSISTENCE, "header",
	.version = "1.0",
	.summary = "Requests with the same value in a field of their head come to the same server; for "
	           "protocols that read HTTP or SIP.",
	.conf_size = sizeof(struct header_conf),
	.rows = header_rows,
	.check = header_check,
	.ops = &header,
);
