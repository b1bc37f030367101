/* A persistence for tests of the way: by the session that the protocol names; servers tell keys, and
 * clients are told their server. */
#include "api/persistence.h"

static struct sy_persist_life
marks_life(const void *conf)
{
	(void)conf;
	return (struct sy_persist_life){ .timeout_ms = 60000, .refresh = true };
}

static void
marks_copy(struct sy_span from, struct sy_key *out)
{
	out->len = (uint8_t)(from.len < SY_KEY_MAX ? from.len : SY_KEY_MAX);
	memcpy(out->bytes, from.at, out->len);
}

static void
marks_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	(void)conf;
	marks_copy(facts->session, out);
}

static const char *
marks_print(const void *conf, const struct sy_key *key, char *out, size_t len)
{
	(void)conf;
	snprintf(out, len, "%.*s", key->len, (const char *)key->bytes);
	return out;
}

static size_t
marks_mark(const void *conf, const struct sy_facts *facts, const struct sy_server *server, bool named,
           char *out, size_t size)
{
	(void)conf;
	return (size_t)snprintf(out, size, "mark %s named=%d head=%.*s", server->name, named,
	                        (int)facts->head.len, (const char *)facts->head.at);
}

static void
marks_learn(const void *conf, struct sy_span said, struct sy_key *out)
{
	(void)conf;
	marks_copy(said, out);
}

static const struct sy_persistence marks = {
	.size = sizeof(struct sy_persistence),
	.life = marks_life,
	.key = marks_key,
	.print = marks_print,
	.mark = marks_mark,
	.learn = marks_learn,
};

SY_MODULE(SY_PERSISTENCE, "marks",
	.version = "1.0",
	.summary = "By what the protocol calls its session.",
	.ops = &marks,
);
