/* The line protocol of handler-say.c from the client's side. */
#include "crowd.h"

#include <inttypes.h>
#include <string.h>

enum {
	EXCHANGE_LINE_MAX = 66000,
	EXCHANGE_CHUNK = 16384,
	EXCHANGE_AHEAD = 65536, /* of a large question, no more than this is prepared */
};

static const char exchange_text[] =
    "the quick brown fox jumps over the lazy dog, and five boxing wizards jump quickly "
    "past quartz sphinxes that judge black vows";

void
exchange_ask(struct crowd_client *client)
{
	struct crowd *crowd = client->crowd;
	uint64_t number = ++client->sequence;
	int len;

	if (client->web) {
		web_ask(client);
		return;
	}
	client->kind = CLIENT_TEXT;
	/* Large ones in turn, and not by all clients at once. */
	if (crowd->bulk && client->target->transport != LAB_UDP &&
	    (number + client->number) % crowd->bulk_every == 0)
		client->kind =
		    (number + client->number) / crowd->bulk_every % 2 ? CLIENT_BULK : CLIENT_SINK;
	len = snprintf(client->expected, sizeof(client->expected), "%04x.%" PRIu32 ".%" PRIu64 " ",
		       crowd->id, client->number, number);
	if (client->kind == CLIENT_TEXT)
		snprintf(client->expected + len, sizeof(client->expected) - (size_t)len, "%.*s",
			 (int)(1 + number * 37 % (sizeof(exchange_text) - 1)), exchange_text);
	else
		snprintf(client->expected + len, sizeof(client->expected) - (size_t)len,
			 "%s %" PRIu64, client->kind == CLIENT_BULK ? "BULK" : "SINK", crowd->bulk);
	client->moved_bytes = 0;
	buf_print(&client->out, "LAB %s\n", client->expected);
	if (client->kind == CLIENT_SINK)
		strcat(client->expected, " ok");
	exchange_fill(client);
}

void
exchange_fill(struct crowd_client *client)
{
	uint64_t total = client->crowd->bulk;

	if (client->kind != CLIENT_SINK)
		return;
	while (client->moved_bytes < total && client->out.len < EXCHANGE_AHEAD) {
		uint64_t left = total - client->moved_bytes;
		size_t len = left < EXCHANGE_CHUNK ? (size_t)left : EXCHANGE_CHUNK;

		buf_pattern(&client->out, client->moved_bytes, len);
		client->moved_bytes += len;
	}
}

/* Takes what is there of a large answer. False: it is wrong. */
static bool
exchange_bulk(struct crowd_client *client, char *example)
{
	uint64_t left = client->crowd->bulk - client->moved_bytes, right;
	size_t len = client->in.len < left ? client->in.len : (size_t)left;

	right = pattern_differs(buf_front(&client->in), client->moved_bytes, len);
	if (right < client->moved_bytes + len) {
		snprintf(example, CROWD_WORDS, "byte %" PRIu64 " of %" PRIu64, right,
			 client->crowd->bulk);
		return false;
	}
	client->moved_bytes += len;
	client->crowd->bytes += len;
	buf_drop(&client->in, len);
	return true;
}

/* Cuts the next word off the line; its length is 0 if there is none. */
static const char *
exchange_word(const char **line, const char *end, size_t *len)
{
	const char *word = *line, *space = memchr(word, ' ', (size_t)(end - word));

	*len = (size_t)((space ? space : end) - word);
	*line = space ? space + 1 : end;
	return word;
}

static const char *
exchange_peer(const struct crowd_client *client, const char *peer, size_t len)
{
	char want[ADDR_TEXT];

	if (!client->target->sees_client)
		return NULL;
	addr_text(&client->source, want);
	/* The port may be another one: transparency keeps the address. */
	*strrchr(want, ':') = 0;
	return len > strlen(want) && !memcmp(want, peer, strlen(want)) && peer[strlen(want)] == ':'
		   ? NULL
		   : "the server saw another address than the client's own";
}

/* What is wrong with the answer's line, or NULL. */
static const char *
exchange_line(struct crowd_client *client, const char *line, const char *end, int *server)
{
	size_t name_len, port_len, peer_len, rest;
	const char *name = exchange_word(&line, end, &name_len);
	const char *port = exchange_word(&line, end, &port_len);
	const char *peer = exchange_word(&line, end, &peer_len);
	char want[8];

	rest = (size_t)(end - line);
	if (!peer_len)
		return "the answer is not of the lab's protocol";
	if (rest >= 6 && !memcmp(line, "ERROR ", 6))
		return "the server did not understand the question";
	if (rest != strlen(client->expected) || memcmp(line, client->expected, rest))
		return "the answer does not belong to the question";
	snprintf(want, sizeof(want), "%u", client->target->answers_port);
	if (client->target->answers_port &&
	    (port_len != strlen(want) || memcmp(port, want, port_len)))
		return "another port of the server answered";
	*server = count_server(client->crowd, name, name_len);
	if (*server < 0)
		return "more servers answer than can be told apart";
	return exchange_peer(client, peer, peer_len);
}

enum exchange_verdict
exchange_check(struct crowd_client *client, int *server, const char **words,
	       char example[static CROWD_WORDS])
{
	const char *bytes, *end;
	size_t len;

	example[0] = 0;
	if (client->web)
		return web_check(client, server, words, example);
	if (client->kind == CLIENT_BULK && !exchange_bulk(client, example)) {
		*words = "a large answer arrived with wrong bytes";
		return EXCHANGE_WRONG;
	}
	bytes = buf_front(&client->in);
	end = memchr(bytes, '\n', client->in.len);
	if (!end && client->in.len <= EXCHANGE_LINE_MAX)
		return EXCHANGE_MORE;
	len = end ? (size_t)(end - bytes) + 1 : client->in.len;
	*words = end ? exchange_line(client, bytes, end, server) : "the answer does not end";
	if (!*words && len < client->in.len)
		*words = "the server said more than was asked";
	if (!*words) {
		client->crowd->bytes += len;
		buf_drop(&client->in, len);
		return EXCHANGE_RIGHT;
	}
	snprintf(example, CROWD_WORDS, "expected \"... %.100s\", got \"%.*s\"", client->expected,
		 (int)(len > 150 ? 150 : len - (end != NULL)), bytes);
	return EXCHANGE_WRONG;
}
