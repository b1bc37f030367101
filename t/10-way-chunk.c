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
	chunk_pool_free(pool);
	return done_testing();
}
