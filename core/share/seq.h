/* Sequence locks: one writer, readers that never take anything. The number is odd while the writer
 * writes; a reader copies and looks whether the number stayed. A writer that is killed leaves it
 * odd: readers give up after a bounded number of tries, and whoever repairs makes it even again. */
#ifndef SHARE_SEQ_H
#define SHARE_SEQ_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SEQ_SPINS = 200,  /* enough for a writer that runs on another core */
	SEQ_YIELDS = 20,  /* for one that was interrupted */
};

static inline void
seq_begin(_Atomic uint32_t *seq)
{
	uint32_t was = atomic_load_explicit(seq, memory_order_relaxed);

	/* Odd already: a predecessor was killed. It stays odd, and moves on for readers to see. */
	atomic_store_explicit(seq, (was + 1) | 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

static inline void
seq_end(_Atomic uint32_t *seq)
{
	uint32_t was = atomic_load_explicit(seq, memory_order_relaxed);

	atomic_store_explicit(seq, was + (was & 1), memory_order_release);
}

static inline uint32_t
seq_look(const _Atomic uint32_t *seq)
{
	return atomic_load_explicit(seq, memory_order_acquire);
}

/* True when nobody wrote since `was`, which seq_look() gave. */
static inline bool
seq_same(const _Atomic uint32_t *seq, uint32_t was)
{
	atomic_thread_fence(memory_order_acquire);
	return !(was & 1) && atomic_load_explicit(seq, memory_order_relaxed) == was;
}

/* Between tries; false when it was tried often enough. */
static inline bool
seq_again(unsigned *tries)
{
	if (++*tries > SEQ_SPINS)
		sched_yield();
	return *tries < SEQ_SPINS + SEQ_YIELDS;
}

/* Copies out of memory that another process may be writing, word by word: len and both addresses
 * are multiples of 4. */
static inline void
seq_copy(void *to, const void *from, size_t len)
{
	const uint32_t *source = from;
	uint32_t *words = to;

	for (size_t i = 0; i < len / 4; i++)
		words[i] = __atomic_load_n(&source[i], __ATOMIC_RELAXED);
}

/* The other direction. */
static inline void
seq_put(void *to, const void *from, size_t len)
{
	const uint32_t *words = from;
	uint32_t *target = to;

	for (size_t i = 0; i < len / 4; i++)
		__atomic_store_n(&target[i], words[i], __ATOMIC_RELAXED);
}

#endif
