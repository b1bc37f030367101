#define _GNU_SOURCE 1
#include "net/tls_park.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <openssl/crypto.h>

#include "base/must.h"

enum {
	PARK_PAGE = 4096,
	PARK_LEAST = 2048,        /* a struct smaller than this is not worth it */
	PARK_GROW = 128,          /* places made at once */
	PARK_WARM = 256,          /* free places that keep their pages */
	PARK_GAP = 8,             /* zeros in a row that are left out */
};
#define PARK_REGION (UINT64_C(8) << 30) /* of addresses, not of memory */

/* Places of one size, side by side: an address tells whether it is one, and no page holds two. */
static struct {
	uint8_t *region;          /* NULL: none, everything is malloc()'s */
	size_t place;             /* bytes of each */
	size_t size;              /* asked for, of each */
	uint32_t made;
	uint32_t *free;           /* a stack, with room for all that were made */
	uint32_t n_free;
	bool wanted;              /* the next that is asked for is a connection */
} park;

struct tls_parked {
	uint32_t size;
	uint8_t bytes[];          /* runs: where, how many (two bytes each), and they */
};

size_t
tls_parked_size(const struct tls_parked *parked)
{
	return sizeof(*parked) + parked->size;
}

/* ---- places ---- */

static bool
park_grow(void)
{
	uint8_t *from = park.region + park.made * park.place;
	size_t len = PARK_GROW * park.place;
	uint32_t *more;

	if (from + len > park.region + PARK_REGION)
		return false;
	more = realloc(park.free, (park.made + PARK_GROW) * sizeof(*more));
	if (!more)
		return false;
	park.free = more;
	if (mprotect(from, len, PROT_READ | PROT_WRITE) < 0)
		return false;
	for (uint32_t i = PARK_GROW; i > 0; i--)
		park.free[park.n_free++] = park.made + i - 1;
	park.made += PARK_GROW;
	return true;
}

static void *
park_take(size_t size)
{
	if (!park.place && size >= PARK_LEAST && size <= UINT16_MAX) {
		park.size = size;
		park.place = (size + PARK_PAGE - 1) / PARK_PAGE * PARK_PAGE;
	}
	if (size != park.size || (park.n_free == 0 && !park_grow()))
		return NULL;
	return park.region + park.free[--park.n_free] * park.place;
}

static bool
park_is_place(const void *at)
{
	return park.region && (const uint8_t *)at >= park.region &&
	       (const uint8_t *)at < park.region + PARK_REGION;
}

static void
park_give(void *at)
{
	if (park.n_free >= PARK_WARM)
		madvise(at, park.place, MADV_DONTNEED);
	park.free[park.n_free++] = (uint32_t)((size_t)((uint8_t *)at - park.region) / park.place);
}

/* ---- what OpenSSL calls ---- */

static void *
park_malloc(size_t size, const char *file, int line)
{
	void *place = NULL;

	(void)file, (void)line;
	if (park.wanted) {
		park.wanted = false;
		place = park_take(size);
	}
	return place ? place : malloc(size);
}

static void *
park_realloc(void *at, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	/* Structs do not grow. */
	must(!park_is_place(at));
	return realloc(at, size);
}

static void
park_free(void *at, const char *file, int line)
{
	(void)file, (void)line;
	if (park_is_place(at))
		park_give(at);
	else
		free(at);
}

/* An address sanitizer sees more where memory comes from malloc(). */
#if defined(__SANITIZE_ADDRESS__)
#define PARK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PARK_SANITIZED 1
#endif
#endif

void
tls_park_prepare(void)
{
#ifndef PARK_SANITIZED
	void *region = mmap(NULL, PARK_REGION, PROT_NONE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (region == MAP_FAILED)
		return;
	if (CRYPTO_set_mem_functions(park_malloc, park_realloc, park_free) != 1) {
		munmap(region, PARK_REGION);
		return;
	}
	/* A huge page would be made whole again behind our back. */
	(void)madvise(region, PARK_REGION, MADV_NOHUGEPAGE);
	/* Keys are in there. */
	(void)madvise(region, PARK_REGION, MADV_DONTDUMP);
	park.region = region;
#else
	(void)park_malloc, (void)park_realloc, (void)park_free;
#endif
}

SSL *
tls_park_new(SSL_CTX *ctx)
{
	SSL *ssl;

	/* The struct is the first thing that is made. Should it not be, in some version to come, it
	 * is not found in its place, and stays as it is. */
	park.wanted = park.region != NULL;
	ssl = SSL_new(ctx);
	park.wanted = false;
	return ssl;
}

/* ---- to rest and back ---- */

/* The next bytes from `at` on that are worth keeping; *end is behind them. */
static size_t
park_run(const uint8_t *bytes, size_t at, size_t *end)
{
	size_t zeros = 0;

	while (at < park.size && !bytes[at])
		at++;
	for (*end = at; *end < park.size && zeros < PARK_GAP; ++*end)
		zeros = bytes[*end] ? 0 : zeros + 1;
	*end -= zeros;
	return at;
}

static size_t
park_pack(const uint8_t *bytes, uint8_t *to)
{
	size_t n = 0, end = 0;

	for (;;) {
		size_t at = park_run(bytes, end, &end), len = end - at;
		uint16_t head[2] = { (uint16_t)at, (uint16_t)len };

		if (len == 0)
			return n;
		if (to) {
			memcpy(to + n, head, sizeof(head));
			memcpy(to + n + sizeof(head), bytes + at, len);
		}
		n += sizeof(head) + len;
	}
}

struct tls_parked *
tls_park(SSL *ssl)
{
	uint8_t *bytes = (uint8_t *)ssl;
	struct tls_parked *parked;
	size_t size;

	if (!park_is_place(ssl))
		return NULL;
	size = park_pack(bytes, NULL);
	parked = size < park.size / 2 ? malloc(sizeof(*parked) + size) : NULL;
	if (!parked)
		return NULL;
	parked->size = (uint32_t)size;
	park_pack(bytes, parked->bytes);
	if (madvise(bytes, park.place, MADV_DONTNEED) == 0)
		return parked;
	OPENSSL_cleanse(parked, tls_parked_size(parked));
	free(parked);
	return NULL;
}

void
tls_unpark(SSL *ssl, struct tls_parked *parked)
{
	uint8_t *bytes = (uint8_t *)ssl;

	for (size_t at = 0; at < parked->size;) {
		uint16_t head[2];

		memcpy(head, parked->bytes + at, sizeof(head));
		memcpy(bytes + head[0], parked->bytes + at + sizeof(head), head[1]);
		at += sizeof(head) + head[1];
	}
	OPENSSL_cleanse(parked, tls_parked_size(parked));
	free(parked);
}
