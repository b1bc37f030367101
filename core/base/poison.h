/* Makes AddressSanitizer see the borders and the life of blocks that arena and slab hand out. In
 * ordinary builds all of it is nothing. */
#ifndef BASE_POISON_H
#define BASE_POISON_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_ON 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define POISON_ON 1
#endif

#ifdef POISON_ON
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>

#define POISON_GAP 16

static inline void
poison(const void *at, size_t len)
{
	ASAN_POISON_MEMORY_REGION(at, len);
}

static inline void
unpoison(const void *at, size_t len)
{
	ASAN_UNPOISON_MEMORY_REGION(at, len);
}

/* The leak checker looks for pointers only where it is told to, and not in mmap()ed memory. */
static inline void
poison_root(const void *at, size_t len)
{
	__lsan_register_root_region(at, len);
}

static inline void
poison_unroot(const void *at, size_t len)
{
	__lsan_unregister_root_region(at, len);
}

#else

#define POISON_GAP 0

static inline void
poison(const void *at, size_t len)
{
	(void)at, (void)len;
}

static inline void
unpoison(const void *at, size_t len)
{
	(void)at, (void)len;
}

static inline void
poison_root(const void *at, size_t len)
{
	(void)at, (void)len;
}

static inline void
poison_unroot(const void *at, size_t len)
{
	(void)at, (void)len;
}
#endif

#endif
