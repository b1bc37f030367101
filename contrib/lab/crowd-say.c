/* The line protocol of handler-say.c from the client's side, for ports whose own nobody knows. */
#include "crowd.h"

#include <inttypes.h>
#include <string.h>

enum { SAY_LINE_MAX = 4096 };

static const char say_text[] =
    "the quick brown fox jumps over the lazy dog, and five boxing wizards jump quickly "
    "past quartz sphinxes that judge black vows";

static void
say_ask(struct crowd_client *client)
{
	uint64_t number = client->sequence;

	snprintf(client->expected, sizeof(client->expected), "%04x.%" PRIu32 ".%" PRIu64 " %.*s",
		 client->crowd->id, client->number, number,
		 (int)(1 + number * 37 % (sizeof(say_text) - 1)), say_text);
	buf_print(&client->out, "LAB %s\n", client->expected);
}

/* What is wrong with the answer's line, or NULL. */
static const char *
say_line(struct crowd_client *client, const char *line, size_t len, int *server)
{
	size_t want = strlen(client->expected);
	const char *text = line;

	for (int words = 0; text && words < 3; words++) {
		text = memchr(text, ' ', (size_t)(line + len - text));
		text += text != NULL;
	}
	if (!text)
		return "the answer is not of the lab's protocol";
	if (len - (size_t)(text - line) != want || memcmp(text, client->expected, want))
		return "the answer does not belong to the question";
	return who_answered(client, line, (size_t)(text - line) - 1, server);
}

static enum exchange_verdict
say_check(struct crowd_client *client, int *server, const char **words,
	  char example[static CROWD_WORDS])
{
	const char *bytes = buf_front(&client->in);
	const char *end = memchr(bytes, '\n', client->in.len);
	size_t len = end ? (size_t)(end - bytes) : client->in.len;

	if (!end && len <= SAY_LINE_MAX)
		return EXCHANGE_MORE;
	*words = end ? say_line(client, bytes, len, server) : "the answer does not end";
	if (!*words && len + 1 < client->in.len)
		*words = "the server said more than was asked";
	if (*words) {
		snprintf(example, CROWD_WORDS, "expected \"... %.100s\", got \"%.*s\"",
			 client->expected, (int)(len > 150 ? 150 : len), bytes);
		return EXCHANGE_WRONG;
	}
	client->crowd->bytes += len + 1;
	buf_drop(&client->in, len + 1);
	return EXCHANGE_RIGHT;
}

const struct crowd_protocol protocol_say = {
    .ask = say_ask,
    .check = say_check,
    .half_closes = true,
};
