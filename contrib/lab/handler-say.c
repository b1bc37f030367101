/*
 * The service that says who it is, for ports of which nobody knows what is spoken there, and for tests. The
 * client sends lines
 *
 *	LAB <id> <text>
 *
 * and each is answered by
 *
 *	<server> <port> <client's address:port> <id> <text>
 *
 * What is not understood is answered with "<server> <port> <client> ERROR <words>", and the
 * connection ends.
 */
#include "server.h"

#include <string.h>

enum {
	SAY_LINE_MAX = 65536,
	SAY_ID_MAX = 64,
};

static void
say_who(struct lab_conn *conn)
{
	char text[ADDR_TEXT];

	buf_print(&conn->out, "%s %u %s ", conn->listener->server->name,
		  addr_port(&conn->listener->addr), addr_text(&conn->peer, text));
}

static enum handler_next
say_error(struct lab_conn *conn, const char *words)
{
	say_who(conn);
	buf_print(&conn->out, "ERROR %s\n", words);
	return HANDLER_FINISH;
}

static enum handler_next
say_line(struct lab_conn *conn, const char *line, size_t len)
{
	const char *id = line + 4, *space;

	if (len && line[len - 1] == '\r')
		len--;
	if (len < 5 || memcmp(line, "LAB ", 4))
		return say_error(conn, "expected: LAB <id> <text>");
	space = memchr(id, ' ', len - 4);
	if (space == id || (space ? (size_t)(space - id) : len - 4) > SAY_ID_MAX)
		return say_error(conn, "the id must have 1 to 64 characters");
	say_who(conn);
	buf_add(&conn->out, id, len - 4);
	buf_add(&conn->out, "\n", 1);
	conn_exchange_done(conn);
	return HANDLER_WAIT;
}

static enum handler_next
say_stream(struct lab_conn *conn)
{
	enum handler_next next = HANDLER_WAIT;

	while (next == HANDLER_WAIT && conn->out.len < CONN_OUT_HIGH) {
		const char *line = buf_front(&conn->in);
		const char *end = memchr(line, '\n', conn->in.len);
		size_t len = end ? (size_t)(end - line) : conn->in.len;

		if (len > SAY_LINE_MAX)
			return say_error(conn, "a line must not be longer than 65536 bytes");
		if (!end)
			break;
		next = say_line(conn, line, len);
		buf_drop(&conn->in, len + 1);
	}
	return next;
}

const struct lab_handler handler_say = {
    .name = "say",
    .stream = say_stream,
};
