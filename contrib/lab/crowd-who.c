/* Who answers, and whom does it see? The servers say so of themselves, each protocol in its own place. */
#include "crowd.h"

#include <string.h>

/* Cuts the next word off; its length is 0 if there is none. */
static const char *
who_word(const char **text, const char *end, size_t *len)
{
	const char *word = *text, *space = memchr(word, ' ', (size_t)(end - word));

	*len = (size_t)((space ? space : end) - word);
	*text = space ? space + 1 : end;
	return word;
}

static const char *
who_is_seen(const struct crowd_client *client, const char *peer, size_t len)
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

const char *
who_answered(struct crowd_client *client, const char *text, size_t len, int *server)
{
	size_t name_len, port_len, peer_len;
	const char *end = text + len;
	const char *name = who_word(&text, end, &name_len);
	const char *port = who_word(&text, end, &port_len);
	const char *peer = who_word(&text, end, &peer_len);
	char want[8];

	if (!peer_len)
		return "the answer does not say which server it is from";
	snprintf(want, sizeof(want), "%u", client->goal->answers_port);
	if (client->goal->answers_port &&
	    (port_len != strlen(want) || memcmp(port, want, port_len)))
		return "another port of the server answered";
	*server = count_server(client->crowd, name, name_len);
	if (*server < 0)
		return "more servers answer than can be told apart";
	return who_is_seen(client, peer, peer_len);
}

const struct crowd_target *
who_target(const struct crowd *crowd, const char *name, uint16_t port)
{
	for (int i = 0; i < crowd->target_count; i++) {
		const struct crowd_target *target = &crowd->targets[i];

		if (port ? target->host && !strcmp(target->host, name) &&
			       addr_port(&target->addr) == port
			 : !strcmp(target->name, name))
			return target;
	}
	return NULL;
}
