#include "answer.h"

#include <strings.h>

/* The next line without its end, and moves *in behind it; at NULL when it is not complete. */
static struct sy_span
answer_line(struct sy_span *in)
{
	const uint8_t *end = in->len ? memchr(in->at, '\n', in->len) : NULL;
	struct sy_span line;

	if (!end)
		return sy_span(NULL, 0);
	line = sy_span(in->at, (size_t)(end - in->at));
	*in = sy_span(end + 1, in->len - line.len - 1);
	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static int
answer_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static struct sy_span
answer_trim(struct sy_span text)
{
	while (text.len && (*text.at == ' ' || *text.at == '\t'))
		text = sy_span(text.at + 1, text.len - 1);
	while (text.len && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
		text.len--;
	return text;
}

static int
answer_is(struct sy_span text, const char *word)
{
	return text.len == strlen(word) && strncasecmp((const char *)text.at, word, text.len) == 0;
}

/* "HTTP/1.1 200 OK". The little that is there of a line may already show that it is something else. */
static const char *
answer_status(struct sy_span line, int complete, struct answer *out)
{
	static const char start[] = "HTTP/1.";
	size_t common = line.len < 7 ? line.len : 7;

	if (common && memcmp(line.at, start, common) != 0)
		return "it does not begin with HTTP/1.";
	if (!complete)
		return NULL;
	if (line.len < 12 || !answer_digit(line.at[7]) || line.at[8] != ' ' ||
	    !answer_digit(line.at[9]) || !answer_digit(line.at[10]) || !answer_digit(line.at[11]) ||
	    (line.len > 12 && line.at[12] != ' ') || line.at[9] == '0')
		return "its first line holds no status";
	out->status = (line.at[9] - '0') * 100 + (line.at[10] - '0') * 10 + (line.at[11] - '0');
	out->phrase = line.len > 12 ? answer_trim(sy_span(line.at + 12, line.len - 12))
	                            : sy_span(NULL, 0);
	return NULL;
}

static const char *
answer_length(struct sy_span value, struct answer *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < value.len; i++) {
		if (!answer_digit(value.at[i]) || n > UINT64_MAX / 10 - 9)
			return "its Content-Length is no number";
		n = n * 10 + (uint64_t)(value.at[i] - '0');
	}
	if (!value.len)
		return "its Content-Length is empty";
	out->length = n;
	return NULL;
}

static const char *
answer_field(struct sy_span line, struct answer *out)
{
	const uint8_t *colon = memchr(line.at, ':', line.len);
	struct sy_span name, value;

	if (!colon)
		return NULL;
	name = sy_span(line.at, (size_t)(colon - line.at));
	value = answer_trim(sy_span(colon + 1, line.len - name.len - 1));
	if (answer_is(name, "content-length"))
		return answer_length(value, out);
	/* chunked is the last coding, if it is there at all */
	if (answer_is(name, "transfer-encoding") && value.len >= 7 &&
	    answer_is(sy_span(value.at + value.len - 7, 7), "chunked"))
		out->chunked = 1;
	return NULL;
}

/* One head, from its first line to the empty one. */
static enum answer_state
answer_head(struct sy_span *in, struct answer *out)
{
	struct sy_span line = answer_line(in);

	out->problem = answer_status(line.at ? line : *in, line.at != NULL, out);
	while (line.at && !out->problem) {
		line = answer_line(in);
		if (line.at && line.len == 0)
			return ANSWER_HEAD;
		if (line.at)
			out->problem = answer_field(line, out);
	}
	return out->problem ? ANSWER_BAD : ANSWER_MORE;
}

enum answer_state
answer_read(struct sy_span in, int bodiless, struct answer *out)
{
	struct sy_span rest = in;
	enum answer_state state;

	do {
		*out = (struct answer){ .length = UINT64_MAX };
		state = answer_head(&rest, out);
	} while (state == ANSWER_HEAD && out->status < 200);
	if (state == ANSWER_MORE && in.len > ANSWER_HEAD_MOST) {
		out->problem = "its head is longer than 64 KiB";
		return ANSWER_BAD;
	}
	if (state != ANSWER_HEAD)
		return state;
	out->body = rest;
	if (bodiless || out->status == 204 || out->status == 304)
		out->chunked = 0, out->length = 0;
	else if (out->chunked)
		out->length = UINT64_MAX;
	return ANSWER_HEAD;
}

/* Who takes the pieces of a body, in order. Returns whether it has all that it wants. */
struct answer_taker {
	int (*take)(struct answer_taker *taker, struct sy_span piece);
	size_t seen;
};

/* Knuth, Morris and Pratt: the needle may lie across any number of pieces. */
struct answer_search {
	struct answer_taker taker;
	struct sy_span needle;
	uint8_t back[ANSWER_NEEDLE_MOST + 1];
	size_t matched;
};

static size_t
answer_advance(const struct answer_search *search, size_t matched, uint8_t byte)
{
	while (matched && search->needle.at[matched] != byte)
		matched = search->back[matched - 1];
	return matched + (search->needle.at[matched] == byte);
}

static int
answer_feed(struct answer_taker *taker, struct sy_span piece)
{
	struct answer_search *search = (struct answer_search *)taker;

	for (size_t i = 0; i < piece.len && taker->seen < ANSWER_BODY_MOST; i++, taker->seen++) {
		search->matched = answer_advance(search, search->matched, piece.at[i]);
		if (search->matched == search->needle.len)
			return 1;
	}
	return 0;
}

static void
answer_prepare(struct answer_search *search, struct sy_span needle)
{
	size_t matched = 0;

	*search = (struct answer_search){ .taker = { answer_feed, 0 }, .needle = needle };
	for (size_t i = 1; i < needle.len; i++) {
		matched = answer_advance(search, matched, needle.at[i]);
		search->back[i] = (uint8_t)matched;
	}
}

/* The number in the line before a chunk; -1 when it is none. */
static int64_t
answer_chunk_size(struct sy_span line)
{
	int64_t n = 0;
	size_t i = 0;

	for (; i < line.len && i < 15; i++) {
		uint8_t c = line.at[i];
		int digit = answer_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
		          : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

		if (digit < 0)
			break;
		n = n * 16 + digit;
	}
	if (i == 0 || (i < line.len && line.at[i] != ';' && line.at[i] != ' ' && line.at[i] != '\t'))
		return -1;
	return n;
}

static enum answer_found
answer_chunks(struct sy_span in, struct answer_taker *taker)
{
	while (taker->seen < ANSWER_BODY_MOST) {
		struct sy_span line = answer_line(&in);
		int64_t size;
		size_t here;

		if (!line.at)
			return in.len > 1024 ? ANSWER_BROKEN : ANSWER_NOT_YET;
		size = answer_chunk_size(line);
		if (size < 0)
			return ANSWER_BROKEN;
		if (size == 0)
			return ANSWER_NEVER;
		here = in.len < (uint64_t)size ? in.len : (size_t)size;
		if (taker->take(taker, sy_span(in.at, here)))
			return ANSWER_FOUND;
		if (here < (uint64_t)size)
			break;
		in = sy_span(in.at + here, in.len - here);
		if (!in.len)
			break;
		line = answer_line(&in); /* the end of the chunk */
		if (!line.at)
			break;
		if (line.len)
			return ANSWER_BROKEN;
	}
	return taker->seen < ANSWER_BODY_MOST ? ANSWER_NOT_YET : ANSWER_NEVER;
}

/* The body, piece by piece. */
static enum answer_found
answer_walk(const struct answer *answer, struct answer_taker *taker, int closed)
{
	struct sy_span body = answer->body;
	enum answer_found found;

	if (answer->chunked) {
		found = answer_chunks(body, taker);
		return found == ANSWER_NOT_YET && closed ? ANSWER_NEVER : found;
	}
	if (body.len > answer->length)
		body.len = (size_t)answer->length;
	if (taker->take(taker, body))
		return ANSWER_FOUND;
	return closed || body.len == answer->length || taker->seen == ANSWER_BODY_MOST
	     ? ANSWER_NEVER : ANSWER_NOT_YET;
}

enum answer_found
answer_find(const struct answer *answer, struct sy_span needle, int closed)
{
	struct answer_search search;

	if (!needle.len)
		return ANSWER_FOUND;
	if (needle.len > ANSWER_NEEDLE_MOST)
		return ANSWER_NEVER;
	answer_prepare(&search, needle);
	return answer_walk(answer, &search.taker, closed);
}

struct answer_copy {
	struct answer_taker taker;
	uint8_t *out;
};

static int
answer_keep(struct answer_taker *taker, struct sy_span piece)
{
	struct answer_copy *copy = (struct answer_copy *)taker;
	size_t room = ANSWER_BODY_MOST - taker->seen;
	size_t n = piece.len < room ? piece.len : room;

	if (copy->out && n)
		memcpy(copy->out + taker->seen, piece.at, n);
	taker->seen += n;
	return 0;
}

enum answer_found
answer_collect(const struct answer *answer, uint8_t *out, size_t *len, int closed)
{
	struct answer_copy copy = { .taker = { answer_keep, 0 }, .out = out };
	enum answer_found found = answer_walk(answer, &copy.taker, closed);

	*len = copy.taker.seen;
	return found;
}
