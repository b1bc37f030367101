/* A protocol that looks at the first line only: "TENANT name", then whatever the client likes. The
 * name becomes the session of the exchange, which persistence (persistence/tenant.c) and logs use.
 * Who says anything else is told so, and sent away. */
#include <api/protocol.h>

#include <ctype.h>

struct tenant_conf {
	bool strip;
	struct sy_msec deadline;
};

static const struct sy_row tenant_rows[] = {
	SY_ROW(struct tenant_conf, strip, "strip", .preset = "off",
	       .doc = "The first line is taken away; the server does not see it."),
	SY_ROW(struct tenant_conf, deadline, "deadline", .min = 100, .max = SY_HOUR,
	       .preset = "10s",
	       .doc = "How long the first line may take."),
	SY_ROW_END
};

static const char tenant_word[] = "TENANT ";

enum {
	TENANT_WORD = sizeof(tenant_word) - 1,
	TENANT_NAME = 40,
	TENANT_LINE = TENANT_WORD + TENANT_NAME + 2, /* with CR LF */
};

/* One client connection. */
struct tenant {
	bool routed;              /* the name is known, and the core was asked for a server */
	uint32_t line;            /* bytes of the first line that are still to be taken away */
	char name[TENANT_NAME];
};

static struct sy_verdict
tenant_refuse(const char *reason)
{
	return (struct sy_verdict){
		.what = SY_CLOSE,
		.bytes = sy_span_text("ERROR the first line must be: TENANT name\n"),
		.reason = reason,
	};
}

/* Length of the name in a whole line; 0 when that is not as it should be. */
static uint32_t
tenant_name(const uint8_t *line, uint32_t len)
{
	uint32_t end = len - (len > 1 && line[len - 2] == '\r' ? 2 : 1);

	if (end <= TENANT_WORD || end - TENANT_WORD > TENANT_NAME)
		return 0;
	for (uint32_t i = TENANT_WORD; i < end; i++)
		if (!isalnum(line[i]) && !strchr("-_.@", line[i]))
			return 0;
	return end - TENANT_WORD;
}

/* The first line: who is it? */
static struct sy_verdict
tenant_greet(struct sy_session *session, struct sy_span in)
{
	const struct tenant_conf *conf = session->conf;
	struct tenant *tenant = session->state;
	size_t seen = in.len < TENANT_LINE ? in.len : TENANT_LINE;
	const uint8_t *end = memchr(in.at, '\n', seen);
	uint32_t len = end ? (uint32_t)(end - in.at) + 1 : 0, name;

	if (memcmp(in.at, tenant_word, seen < TENANT_WORD ? seen : TENANT_WORD) != 0)
		return tenant_refuse("the first line does not begin with TENANT");
	if (!len && seen == TENANT_LINE)
		return tenant_refuse("the first line is too long");
	if (!len)
		return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = conf->deadline.ms };
	name = tenant_name(in.at, len);
	if (!name)
		return tenant_refuse("the name is empty, too long, or has other characters than "
	                             "letters, digits and - _ . @");
	/* What the facts point to must stay where it is; the client's bytes need not. */
	memcpy(tenant->name, in.at + TENANT_WORD, name);
	session->facts.session = sy_span(tenant->name, name);
	tenant->routed = true;
	tenant->line = conf->strip ? len : 0;
	return (struct sy_verdict){ .what = SY_ROUTE };
}

/* Called for the client's bytes until it says ROUTE; then, when the server is connected, again with
 * the same bytes, until it says TUNNEL. A server that speaks first may be heard before that. */
static struct sy_verdict
tenant_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in,
            bool eof)
{
	struct tenant *tenant = session->state;
	uint32_t line = tenant->line;

	(void)exchange, (void)eof; /* the core knows what an end in the middle of a NEED means */
	if (side == SY_SERVER)
		return (struct sy_verdict){ .what = SY_PASS, .n = in.len };
	if (!tenant->routed)
		return in.len ? tenant_greet(session, in) : (struct sy_verdict){ .what = SY_NEED };
	tenant->line = 0;
	if (line)
		return (struct sy_verdict){ .what = SY_DROP, .n = line };
	return (struct sy_verdict){ .what = SY_TUNNEL };
}

static const struct sy_protocol tenant = {
	.size = sizeof(struct sy_protocol),
	.flags = SY_STREAMS | SY_FIRST_ONLY,
	.load_unit = "connections",
	.session_size = sizeof(struct tenant),
	.window = TENANT_LINE,
	.data = tenant_data,
};

SY_MODULE(SY_PROTOCOL, "tenant",
	.version = "1.0",
	.summary = "Routes a connection by its first line, \"TENANT name\".",
	.conf_size = sizeof(struct tenant_conf),
	.rows = tenant_rows,
	.ops = &tenant,
);
