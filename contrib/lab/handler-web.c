/*
 * A web service, as far as it goes now: it says who it is in the line protocol of handler-say.c,
 * and answers HTTP/1.x GET and HEAD with a page of the same words, one request per connection, so
 * that curl and http monitors have something to look at.
 */
#define _GNU_SOURCE 1
#include "server.h"

#include <string.h>

enum { WEB_HEAD_MAX = 65536 };

static bool
web_begins(const struct lab_conn *conn, const char *word)
{
	size_t len = strlen(word);

	return conn->in.len >= len && !memcmp(buf_front(&conn->in), word, len);
}

static void
web_answer(struct lab_conn *conn, const char *status)
{
	struct lab_buf page = {0};
	char peer[ADDR_TEXT];

	buf_print(&page, "%s %u %s\n", conn->listener->server->name,
		  addr_port(&conn->listener->addr), addr_text(&conn->peer, peer));
	buf_print(&conn->out,
		  "HTTP/1.1 %s\r\nServer: %s\r\nContent-Type: text/plain\r\n"
		  "Content-Length: %zu\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
		  status, conn->listener->server->name, page.len);
	if (!web_begins(conn, "HEAD "))
		buf_add(&conn->out, buf_front(&page), page.len);
	buf_free(&page);
	conn_exchange_done(conn);
}

static enum handler_next
web_stream(struct lab_conn *conn)
{
	bool request = web_begins(conn, "GET ") || web_begins(conn, "HEAD ");
	const char *head = buf_front(&conn->in);

	if (!request)
		return handler_say.stream(conn);
	if (memmem(head, conn->in.len, "\r\n\r\n", 4) || memmem(head, conn->in.len, "\n\n", 2)) {
		web_answer(conn, "200 OK");
		return HANDLER_FINISH;
	}
	if (conn->in.len > WEB_HEAD_MAX) {
		web_answer(conn, "431 Request Header Fields Too Large");
		return HANDLER_FINISH;
	}
	return HANDLER_WAIT;
}

static void
web_stream_end(struct lab_conn *conn)
{
	handler_say.stream_end(conn);
}

const struct lab_handler handler_web = {
    .name = "web",
    .state_size = SAY_STATE_SIZE, /* it gets all that is not HTTP */
    .stream = web_stream,
    .stream_end = web_stream_end,
};
