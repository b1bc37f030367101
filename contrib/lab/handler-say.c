/*
 * The service that says who it is, on TCP, TLS and UDP. The client sends lines
 *
 *	LAB <id> <text>
 *
 * and each is answered by
 *
 *	<server> <port> <client's address:port> <id> <text>
 *
 * Some texts ask for more than an echo (TCP and TLS only):
 *
 *	BULK <n>   first n bytes of the pattern (buf.h), then the answer
 *	SINK <n>   n bytes of the pattern follow the line; the answer ends with "ok" or
 *	           "differs <at>"
 *	WAIT <ms>  the answer comes after so many milliseconds
 *	CLOSE      the answer, then the end of the connection
 *	RESET      no answer: the connection is reset
 *
 * What is not understood is answered with "<server> <port> <client> ERROR <words>", and the
 * connection ends.
 */
#include "server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	SAY_LINE_MAX = 65536,
	SAY_CHUNK = 16384,
	SAY_ID_MAX = 64,
	SAY_WAIT_MAX = 3600 * 1000,
};

enum say_mode {
	SAY_LINES,
	SAY_BULK,
	SAY_SINK,
	SAY_WAIT,
};

struct say_state {
	enum say_mode mode;
	uint64_t done, total;  /* bytes of the pattern */
	uint64_t differs;      /* first wrong byte; total: none */
	struct lab_buf answer; /* owed when the mode is over */
};

_Static_assert(sizeof(struct say_state) <= SAY_STATE_SIZE, "SAY_STATE_SIZE is too small");

static void
say_who(struct lab_buf *out, const struct lab_listener *listener, const struct lab_addr *peer)
{
	char text[ADDR_TEXT];

	buf_print(out, "%s %u %s ", listener->server->name, addr_port(&listener->addr),
		  addr_text(peer, text));
}

/* The parts of a line; what they point to is the line itself. */
struct say_line {
	const char *id, *text;
	int id_len, text_len;
};

/* NULL, or what is wrong with the line. */
static const char *
say_parse(struct say_line *line, const char *bytes, size_t len)
{
	const char *end = bytes + len, *space;

	if (len && end[-1] == '\r')
		end--;
	if (end - bytes < 5 || memcmp(bytes, "LAB ", 4))
		return "expected: LAB <id> <text>";
	line->id = bytes + 4;
	space = memchr(line->id, ' ', (size_t)(end - line->id));
	line->text = space ? space + 1 : end;
	line->text_len = (int)(end - line->text);
	if ((space ? space : end) - line->id > SAY_ID_MAX || space == line->id)
		return "the id must have 1 to 64 characters";
	line->id_len = (int)((space ? space : end) - line->id);
	return NULL;
}

static void
say_answer(struct lab_buf *out, const struct lab_listener *listener, const struct lab_addr *peer,
	   const struct say_line *line)
{
	say_who(out, listener, peer);
	buf_add(out, line->id, (size_t)line->id_len);
	buf_add(out, " ", line->text_len ? 1 : 0);
	buf_add(out, line->text, (size_t)line->text_len);
}

static void
say_error(struct lab_buf *out, const struct lab_listener *listener, const struct lab_addr *peer,
	  const char *words)
{
	say_who(out, listener, peer);
	buf_print(out, "ERROR %s\n", words);
}

/* Reads "VERB <number>"; true if the text is that verb. A number that is none makes words. */
static bool
say_verb(const struct say_line *line, const char *verb, uint64_t max, uint64_t *number,
	 const char **words)
{
	size_t len = strlen(verb);
	char digits[24];
	struct lab_err err;

	if ((size_t)line->text_len <= len || memcmp(line->text, verb, len) ||
	    line->text[len] != ' ')
		return false;
	snprintf(digits, sizeof(digits), "%.*s", line->text_len - (int)len - 1,
		 line->text + len + 1);
	if (text_number(digits, 0, max, number, &err))
		*words = "BULK, SINK and WAIT take a whole number";
	return true;
}

static bool
say_is(const struct say_line *line, const char *verb)
{
	return (size_t)line->text_len == strlen(verb) && !memcmp(line->text, verb, strlen(verb));
}

static enum handler_next
say_line(struct lab_conn *conn, struct say_state *state, const char *bytes, size_t len)
{
	struct say_line line;
	const char *words = say_parse(&line, bytes, len);
	uint64_t ms = 0;

	if (words) {
		say_error(&conn->out, conn->listener, &conn->peer, words);
		return HANDLER_FINISH;
	}
	if (say_is(&line, "RESET"))
		return HANDLER_RESET;
	state->done = 0;
	if (say_verb(&line, "BULK", UINT64_MAX / 2, &state->total, &words))
		state->mode = SAY_BULK;
	else if (say_verb(&line, "SINK", UINT64_MAX / 2, &state->total, &words))
		state->mode = SAY_SINK;
	else if (say_verb(&line, "WAIT", SAY_WAIT_MAX, &ms, &words))
		state->mode = SAY_WAIT;
	if (words) {
		say_error(&conn->out, conn->listener, &conn->peer, words);
		return HANDLER_FINISH;
	}
	say_answer(state->mode ? &state->answer : &conn->out, conn->listener, &conn->peer, &line);
	if (state->mode) {
		conn->busy = true;
		state->differs = state->total;
		if (state->mode == SAY_WAIT)
			conn_wake(conn, (double)ms / 1000);
		return HANDLER_WAIT;
	}
	buf_add(&conn->out, "\n", 1);
	conn_exchange_done(conn);
	return say_is(&line, "CLOSE") ? HANDLER_FINISH : HANDLER_WAIT;
}

static void
say_answer_owed(struct lab_conn *conn, struct say_state *state)
{
	buf_add(&conn->out, buf_front(&state->answer), state->answer.len);
	if (state->mode == SAY_SINK && state->differs == state->total)
		buf_print(&conn->out, " ok\n");
	else if (state->mode == SAY_SINK)
		buf_print(&conn->out, " differs %" PRIu64 "\n", state->differs);
	else
		buf_add(&conn->out, "\n", 1);
	buf_free(&state->answer);
	state->mode = SAY_LINES;
	conn->busy = false;
	conn_exchange_done(conn);
}

static void
say_sink(struct lab_conn *conn, struct say_state *state)
{
	uint64_t left = state->total - state->done, right;
	size_t len = conn->in.len < left ? conn->in.len : (size_t)left;

	if (!len)
		return;
	right = pattern_differs(buf_front(&conn->in), state->done, len);
	if (right < state->done + len && right < state->differs)
		state->differs = right;
	state->done += len;
	buf_drop(&conn->in, len);
}

/* Goes on with what is under way. True: it is over. */
static bool
say_continue(struct lab_conn *conn, struct say_state *state)
{
	switch (state->mode) {
	case SAY_LINES:
		break;
	case SAY_BULK:
		while (state->done < state->total && conn->out.len < CONN_OUT_HIGH) {
			uint64_t left = state->total - state->done;
			size_t len = left < SAY_CHUNK ? (size_t)left : SAY_CHUNK;

			buf_pattern(&conn->out, state->done, len);
			state->done += len;
		}
		return state->done == state->total;
	case SAY_SINK:
		say_sink(conn, state);
		/* What will never come is not waited for; the answer names the first byte missing.
		 */
		if (conn->eof && state->done < state->total) {
			if (state->differs > state->done)
				state->differs = state->done;
			return true;
		}
		return state->done == state->total;
	case SAY_WAIT:
		return conn->woken;
	}
	return false;
}

static enum handler_next
say_stream(struct lab_conn *conn)
{
	struct say_state *state = conn->state;
	enum handler_next next = HANDLER_WAIT;

	while (next == HANDLER_WAIT && conn->out.len < CONN_OUT_HIGH) {
		const char *bytes = buf_front(&conn->in), *end;

		if (state->mode != SAY_LINES) {
			if (!say_continue(conn, state))
				return HANDLER_WAIT;
			say_answer_owed(conn, state);
			continue;
		}
		end = conn->in.len ? memchr(bytes, '\n', conn->in.len) : NULL;
		if ((end ? (size_t)(end - bytes) : conn->in.len) > SAY_LINE_MAX) {
			say_error(&conn->out, conn->listener, &conn->peer,
				  "a line must not be longer than 65536 bytes");
			return HANDLER_FINISH;
		}
		if (!end)
			return HANDLER_WAIT;
		next = say_line(conn, state, bytes, (size_t)(end - bytes));
		buf_drop(&conn->in, (size_t)(end - bytes) + 1);
	}
	return next;
}

static void
say_stream_end(struct lab_conn *conn)
{
	struct say_state *state = conn->state;

	if (state)
		buf_free(&state->answer);
}

static void
say_datagram(struct lab_listener *listener, const char *bytes, size_t len,
	     const struct lab_addr *peer, struct lab_buf *answer)
{
	struct say_line line;
	const char *words;

	if (len && bytes[len - 1] == '\n')
		len--;
	words = say_parse(&line, bytes, len);
	if (words) {
		say_error(answer, listener, peer, words);
		return;
	}
	say_answer(answer, listener, peer, &line);
	buf_add(answer, "\n", 1);
}

const struct lab_handler handler_say = {
    .name = "say",
    .state_size = SAY_STATE_SIZE,
    .stream = say_stream,
    .stream_end = say_stream_end,
    .datagram = say_datagram,
};
