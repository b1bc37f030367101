/* Whether a server's answers find their way here: it is asked for a connection by a client that is not
 * there. Any answer will do, a refusal as well: it came back. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "base/must.h"
#include "net/socket.h"
#include "role/routing.h"

enum {
	ASK_WAIT_MS = 3000,       /* one SYN more after a second */
	ASK_AT_ONCE = 256,
};

struct asked {
	const struct gen_route *route;
	struct sy_addr from;
	int error;                /* 0: connected */
};

/* Addresses for examples (RFC 5737, RFC 3849): nobody's, so they show the way to anybody. */
static struct sy_addr
ask_client(const char *text, unsigned family)
{
	struct sy_addr addr;

	if (*text && addr_parse(text, &addr) && addr.family == family && addr.port == 0)
		return addr;
	must(addr_parse(family == SY_IPV4 ? "192.0.2.1" : "2001:db8::1", &addr));
	return addr;
}

static int
ask_connect(struct asked *asked, struct pollfd *wait)
{
	struct outgoing way = {
		.to = asked->route->server, .from = asked->from, .transparent = true,
	};

	wait->fd = socket_connect(&way);
	wait->events = POLLOUT;
	asked->error = wait->fd < 0 ? errno : ETIMEDOUT;
	return wait->fd;
}

/* So many at the same time; each until it is settled or time is over. */
static void
ask_some(struct asked *asked, unsigned n)
{
	uint64_t end_ms = clock_ms() + ASK_WAIT_MS, now_ms;
	struct pollfd wait[ASK_AT_ONCE];
	unsigned left = 0;

	for (unsigned i = 0; i < n; i++)
		left += ask_connect(&asked[i], &wait[i]) >= 0;
	while (left > 0 && (now_ms = clock_ms()) < end_ms) {
		if (poll(wait, n, (int)(end_ms - now_ms)) < 0 && errno != EINTR)
			break;
		for (unsigned i = 0; i < n; i++) {
			if (wait[i].fd < 0 || !wait[i].revents)
				continue;
			asked[i].error = socket_error(wait[i].fd);
			close(wait[i].fd);
			wait[i].fd = -1;
			left--;
		}
	}
	for (unsigned i = 0; i < n; i++)
		if (wait[i].fd >= 0)
			close(wait[i].fd);
}

static json_t *
ask_words(const struct asked *asked)
{
	char server[ADDR_TEXT_SIZE], from[ADDR_TEXT_SIZE];
	bool back = asked->error == 0 || asked->error == ECONNREFUSED;
	const char *words = asked->error == 0 ? "it accepted a connection"
	                  : back ? "it refused a connection, and said so"
	                  : asked->error == ETIMEDOUT
	                  ? "nothing came back: its way to clients must lead through this machine (the "
	                    "server's default gateway, or a route), and no firewall may drop this"
	                  : strerror(asked->error);

	return json_pack("{s:s, s:s, s:b, s:s}", "server", addr_text(&asked->route->server, server),
	                 "client", addr_ip_text(&asked->from, from), "answers", back, "words", words);
}

static void
ask_send(struct child *child, const struct control_message *message, json_t *list)
{
	struct control_record record = {
		.type = CONTROL_ANSWER, .flags = CONTROL_OK, .row = child->row, .id = message->record.id,
		.value = message->record.value,
	};
	char *text = json_dumps(list, JSON_COMPACT);
	struct sy_err err;
	int fd = text ? memfd_sealed("steelyard-answer", text, strlen(text), &err) : -1;

	if (fd < 0)
		child_send(child, &record, "[]", 2, NULL, 0);
	else
		child_send(child, &record, NULL, 0, &fd, 1);
	if (fd >= 0)
		close(fd);
	free(text);
}

void
routing_ask(struct child *child, const struct routing_plan *plan, const struct control_message *message)
{
	struct asked *asked = must_alloc((plan->n + 1) * sizeof(*asked));
	json_t *list = json_array();
	unsigned n = 0;

	for (size_t i = 0; i < plan->n; i++)
		if (plan->routes[i].transparent && n < ASK_AT_ONCE)
			asked[n++] = (struct asked){
				.route = &plan->routes[i],
				.from = ask_client(message->text, plan->routes[i].server.family),
			};
	ask_some(asked, n);
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, ask_words(&asked[i]));
	ask_send(child, message, list);
	json_decref(list);
	free(asked);
}
