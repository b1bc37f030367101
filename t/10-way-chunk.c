/* Chunks: windows and queues give back what was put in, in order, and all memory in the end. */
#include "net/chunk.h"

#include <string.h>

#include "t/tap.h"

static uint8_t pattern[1 << 20];

static void
try_window(struct chunk_pool *pool)
{
	struct chunk *window = NULL;
	size_t put = 0, dropped = 0;
	bool same = true;

	ok(window_put(pool, &window, sy_span(pattern, 100), 4000), "100 bytes into a window of 4000");
	is_uint(chunk_span(window).len, 100, "are there");
	window_drop(pool, &window, 100);
	ok(!window && chunk_pool_used(pool) == 0, "an empty window is given back");

	/* Always more put than dropped, until it is large. */
	while (put - dropped < 300000 && same) {
		same = window_put(pool, &window, sy_span(pattern + put % 1000, 7000), 16384);
		put += 7000;
		same &= memcmp(chunk_span(window).at, pattern + dropped % 1000, 1) == 0;
		window_drop(pool, &window, 1000);
		dropped += 1000;
	}
	ok(same, "a window grows as it is filled, and keeps the order");
	is_uint(chunk_span(window).len, put - dropped, "nothing is lost");
	window_drop(pool, &window, put - dropped);
	is_uint(chunk_pool_used(pool), 0, "all is given back");

	ok(!window_put(pool, &window, sy_span(pattern, 1), CHUNK_MOST + 1) && !window,
	   "a window can be too large");
	ok(window_put(pool, &window, sy_span(pattern, 1), CHUNK_MOST), "the largest can be had");
	is_uint(window_room(window), CHUNK_MOST - 1, "with all its room");
	window_drop(pool, &window, 1);
}

static void
try_queue(struct chunk_pool *pool)
{
	struct chunk *queue = NULL;
	size_t put = 0, out = 0;
	bool same = true;

	for (unsigned turn = 0; turn < 200 && same; turn++) {
		size_t n = 1 + turn * 97 % 9000;

		same = queue_put(pool, &queue, sy_span(pattern + put, n));
		put += n;
		for (unsigned some = 0; some < turn % 3 && queue && same; some++) {
			struct sy_span first = chunk_span(queue);
			size_t take = first.len > 500 ? first.len - 500 : first.len;

			same = memcmp(first.at, pattern + out, first.len) == 0;
			queue_drop(pool, &queue, take);
			out += take;
		}
	}
	ok(same, "a queue keeps the order");
	is_uint(queue_len(queue), put - out, "and all bytes");
	queue_drop(pool, &queue, (put - out) / 2);
	is_uint(queue_len(queue), put - out - (put - out) / 2, "half of them dropped at once");
	queue_free(pool, &queue);
	ok(!queue && chunk_pool_used(pool) == 0, "all is given back");
	ok(queue_put(pool, &queue, sy_span(pattern, 10)) && chunk_pool_used(pool) <= 4096,
	   "ten bytes take a small chunk");
	queue_free(pool, &queue);
}

/* Queues as streams have them: taken out, put together, seen in one piece. */
static void
try_pieces(struct chunk_pool *pool)
{
	static uint8_t got[100000];
	struct chunk *one = NULL, *two = NULL;
	size_t len;

	for (size_t at = 0; at < 30000; at += 1000)
		queue_put(pool, &one, sy_span(pattern + at, 1000));
	for (size_t at = 30000; at < 60000; at += 3000)
		queue_put(pool, &two, sy_span(pattern + at, 3000));
	queue_join(&one, &two);
	ok(!two && queue_len(one) == 60000, "one behind the other");
	len = queue_take(pool, &one, got, 777);
	ok(len == 777 && memcmp(got, pattern, 777) == 0, "the first bytes are taken out");
	ok(queue_gather(pool, &one) && !one->next, "the rest in one piece");
	ok(chunk_span(one).len == 59223 && memcmp(chunk_span(one).at, pattern + 777, 59223) == 0,
	   "all of it, in order");
	len = queue_take(pool, &one, got, sizeof(got));
	ok(len == 59223 && !one, "more than there is cannot be taken");
	for (unsigned i = 0; i < 11; i++)
		queue_put(pool, &one, sy_span(pattern, sizeof(pattern) < 100000 ? sizeof(pattern) : 100000));
	len = queue_len(one);
	ok(queue_gather(pool, &one) && queue_len(one) == len, "what is larger than the largest chunk is more than one");
	queue_free(pool, &one);
	ok(chunk_pool_used(pool) == 0, "all is given back");
}

int
main(void)
{
	struct chunk_pool *pool = chunk_pool_new();

	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 31 + i / 251);
	for (size_t i = 0; i < 100000; i++)
		pattern[i] = (uint8_t)(i % 1000 * 7);
	try_window(pool);
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 31 + i / 251);
	try_queue(pool);
	try_pieces(pool);
	chunk_pool_free(pool);
	return done_testing();
}
