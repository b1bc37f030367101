/* What is seen of a frame before libnghttp2 reads it: abuse, and numbers of requests that are used again. */
#include "h2.h"

static bool
guard_too_many(struct h2 *h2, uint32_t *counter, uint32_t most)
{
	if (h2->session->now_ms - h2->period_ms > H2_PERIOD_MS) {
		h2->period_ms = h2->session->now_ms;
		h2->resets = h2->glitches = 0;
	}
	return ++*counter > most;
}

void
h2_guard_reset(struct h2 *h2)
{
	sy_count(h2->session, COUNT_H2_RESETS, 1);
	if (guard_too_many(h2, &h2->resets, H2_RESETS))
		h2->abuse = "the client takes its requests back, one after the other (rapid reset)";
}

void
h2_guard_cut(struct h2 *h2, uint32_t id)
{
	h2->cut[h2->n_cut++ % H2_CUT] = id;
}

/* Numbers go up (RFC 9113 5.1.1). HEADERS of one that is over are wrong (5.1), unless the client cannot know
 * yet that it is; libnghttp2 does not tell these cases apart, and ignores them. */
static bool
guard_is_reused(const struct h2 *h2, uint32_t id)
{
	if (id > h2->last || !(id & 1) || nghttp2_session_get_stream_user_data(h2->ng, (int32_t)id))
		return false;
	for (unsigned i = 0; i < H2_CUT; i++)
		if (h2->cut[i] == id)
			return false;
	return true;
}

/* The head of a frame, before libnghttp2 sees it. */
void
h2_guard(struct h2 *h2)
{
	uint32_t id = (uint32_t)(h2->head[5] & 0x7f) << 24 | (uint32_t)h2->head[6] << 16 |
	              (uint32_t)h2->head[7] << 8 | h2->head[8];
	uint32_t len = (uint32_t)h2->head[0] << 16 | (uint32_t)h2->head[1] << 8 | h2->head[2];
	uint8_t type = h2->head[3], flags = h2->head[4];
	bool glitch = type == NGHTTP2_SETTINGS || type == NGHTTP2_PING || type == NGHTTP2_PRIORITY ||
	              type == NGHTTP2_RST_STREAM || type > NGHTTP2_CONTINUATION ||
	              (type == NGHTTP2_DATA && !len && !(flags & NGHTTP2_FLAG_END_STREAM)) ||
	              (type == NGHTTP2_CONTINUATION && !len);

	h2->left = len;
	h2->reused = type == NGHTTP2_HEADERS && guard_is_reused(h2, id);
	if (type == NGHTTP2_HEADERS)
		h2->block = h2->continuations = 0;
	if (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION)
		h2->block += len;
	if (type == NGHTTP2_CONTINUATION && ++h2->continuations > H2_CONTINUATIONS)
		h2->abuse = "a head is spread over too many frames (CONTINUATION flood)";
	if (h2->block > http_conf(h2->session)->head_limit.n + H2_FIELDS_EXTRA)
		h2->abuse = "a head is longer than head-limit";
	if (glitch && guard_too_many(h2, &h2->glitches, H2_GLITCHES))
		h2->abuse = "the client floods us with frames that bring nothing";
}
