#include "chunked.h"

#include "message.h"

enum chunked_state { AT_SIZE, IN_DATA, AT_END_OF_DATA, IN_TRAILERS };

static struct chunk
chunked_bad(const char *problem)
{
	return (struct chunk){ .what = CHUNK_BAD, .problem = problem };
}

static int
chunked_digit(uint8_t byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	byte |= 0x20;
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* A line with its end: its length, 0 when it is not complete. */
static size_t
chunked_line(struct sy_span in, size_t most, const char **problem)
{
	const uint8_t *lf = in.len ? memchr(in.at, '\n', in.len < most ? in.len : most) : NULL;
	size_t len = lf ? (size_t)(lf - in.at) + 1 : 0;

	if (!lf && in.len >= most)
		*problem = "a line between chunks is too long";
	else if (lf && (len < 2 || lf[-1] != '\r'))
		*problem = "a line between chunks does not end with CR LF";
	return len;
}

/* ";name=value" of any number, in the characters of a field. */
static bool
chunked_extension(struct chunked *chunked, struct sy_span text)
{
	if (!text.len)
		return true;
	chunked->extensions += (uint32_t)text.len;
	text = span_trim(text);
	return text.len && *text.at == ';' && span_is_value(text);
}

static struct chunk
chunked_size(struct chunked *chunked, struct sy_span in)
{
	const char *problem = NULL;
	size_t len = chunked_line(in, CHUNKED_LINE, &problem), i = 0;
	uint64_t size = 0;

	/* What cannot be a size is not waited for. */
	if (in.len && chunked_digit(in.at[0]) < 0)
		return chunked_bad("a chunk has no size");
	if (problem)
		return chunked_bad(problem);
	if (!len)
		return (struct chunk){ .what = CHUNK_MORE };
	for (; chunked_digit(in.at[i]) >= 0; i++) {
		if (i == 16 || size > (uint64_t)INT64_MAX >> 4)
			return chunked_bad("the size of a chunk is too large");
		size = size << 4 | (uint64_t)chunked_digit(in.at[i]);
	}
	if (!chunked_extension(chunked, sy_span(in.at + i, len - 2 - i)))
		return chunked_bad("the size of a chunk is no number");
	if (chunked->extensions > CHUNKED_EXTENSIONS)
		return chunked_bad("the extensions of chunks are too long");
	chunked->left = size;
	chunked->state = size ? IN_DATA : IN_TRAILERS;
	return (struct chunk){ .what = CHUNK_FRAME, .n = len };
}

static struct chunk
chunked_trailers(struct chunked *chunked, struct sy_span in)
{
	const char *problem = NULL;
	size_t len = chunked_line(in, CHUNKED_TRAILER, &problem);

	if (problem)
		return chunked_bad(problem);
	if (!len)
		return (struct chunk){ .what = CHUNK_MORE };
	if (len == 2)
		return (struct chunk){ .what = CHUNK_LAST, .n = len };
	chunked->trailers += (uint32_t)len;
	if (chunked->trailers > CHUNKED_TRAILERS)
		return chunked_bad("the trailers are too long");
	problem = message_trailer(sy_span(in.at, len - 2));
	return problem ? chunked_bad(problem) : (struct chunk){ .what = CHUNK_TRAILER, .n = len };
}

struct chunk
chunked_next(struct chunked *chunked, struct sy_span in)
{
	size_t n;

	switch ((enum chunked_state)chunked->state) {
	case AT_SIZE:
		return chunked_size(chunked, in);
	case IN_DATA:
		if (!in.len)
			break;
		n = in.len < chunked->left ? in.len : (size_t)chunked->left;
		chunked->left -= n;
		if (!chunked->left)
			chunked->state = AT_END_OF_DATA;
		return (struct chunk){ .what = CHUNK_DATA, .n = n };
	case AT_END_OF_DATA:
		if ((in.len > 0 && in.at[0] != '\r') || (in.len > 1 && in.at[1] != '\n'))
			return chunked_bad("a chunk is longer than its size");
		if (in.len < 2)
			break;
		chunked->state = AT_SIZE;
		return (struct chunk){ .what = CHUNK_FRAME, .n = 2 };
	case IN_TRAILERS:
		return chunked_trailers(chunked, in);
	}
	return (struct chunk){ .what = CHUNK_MORE };
}

uint64_t
chunked_ahead(struct chunked *chunked, uint64_t most)
{
	uint64_t n = chunked->left < most ? chunked->left : most;

	if (chunked->state != IN_DATA)
		return 0;
	chunked->left -= n;
	if (!chunked->left)
		chunked->state = AT_END_OF_DATA;
	return n;
}

struct chunked_run
chunked_pass(struct chunked *chunked, struct sy_span in)
{
	struct chunked_run run = { .n = 0 };

	for (;;) {
		struct chunk chunk = chunked_next(chunked, sy_span(in.at + run.n, in.len - run.n));

		if (chunk.what == CHUNK_BAD)
			run.problem = chunk.problem;
		if (chunk.what == CHUNK_BAD || chunk.what == CHUNK_MORE)
			return run;
		run.n += chunk.n;
		run.data += chunk.what == CHUNK_DATA ? chunk.n : 0;
		run.last = chunk.what == CHUNK_LAST;
		if (run.last)
			return run;
	}
}
