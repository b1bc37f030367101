#include "base/slab.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/list.h"
#include "base/must.h"
#include "base/poison.h"

#define SLAB_RUN 65536
#define SLAB_ALIGN 16
#define SLAB_FEWEST 8 /* blocks in a run, else runs are larger */

struct slab_block {
	struct slab_block *next;
};

/* The head of a run. A run is aligned to its size, so that a block finds it by a mask. */
struct slab_run {
	struct link link;
	struct slab *slab;
	struct slab_block *given; /* came back */
	uint32_t used;
	uint32_t fresh;           /* blocks from here on were never touched */
} __attribute__((aligned(64)));

struct slab {
	struct link partial, full;
	struct slab_run *reserve; /* empty, in no list */
	size_t block, run;        /* sizes */
	uint32_t per_run;
	size_t in_use;
};

struct slab *
slab_new(size_t block_size)
{
	struct slab *slab = must_alloc(sizeof(*slab));

	must(block_size <= (size_t)1 << 30);
	if (block_size < sizeof(struct slab_block))
		block_size = sizeof(struct slab_block);
	slab->block = (block_size + POISON_GAP + SLAB_ALIGN - 1) & ~(size_t)(SLAB_ALIGN - 1);
	slab->run = SLAB_RUN;
	while (slab->run - sizeof(struct slab_run) < slab->block * SLAB_FEWEST)
		slab->run *= 2;
	slab->per_run = (uint32_t)((slab->run - sizeof(struct slab_run)) / slab->block);
	link_init(&slab->partial);
	link_init(&slab->full);
	return slab;
}

/* Neighbours of an aligned mapping are usually aligned, too; else map twice as much and trim. */
static void *
slab_map(size_t size)
{
	char *at, *start;

	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	if (((uintptr_t)at & (size - 1)) == 0)
		return at;
	munmap(at, size);
	at = mmap(NULL, size * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	start = at + (size - ((uintptr_t)at & (size - 1))) % size;
	if (start > at)
		munmap(at, (size_t)(start - at));
	munmap(start + size, size - (size_t)(start - at));
	return start;
}

static void
slab_unmap(struct slab_run *run, size_t size)
{
	poison_unroot(run, size);
	unpoison(run, size);
	munmap(run, size);
}

static struct slab_run *
slab_more(struct slab *slab)
{
	struct slab_run *run = slab->reserve;

	if (run) {
		slab->reserve = NULL;
	} else {
		run = slab_map(slab->run);
		if (!run)
			return NULL;
		run->slab = slab;
		poison(run + 1, slab->run - sizeof(*run));
		poison_root(run, slab->run);
	}
	link_init(&run->link);
	list_append(&slab->partial, &run->link);
	return run;
}

void *
slab_take(struct slab *slab)
{
	struct slab_run *run;
	struct slab_block *block;

	if (!list_empty(&slab->partial))
		run = container_of(slab->partial.next, struct slab_run, link);
	else
		run = slab_more(slab);
	if (!run)
		return NULL;
	if (run->given) {
		block = run->given;
		unpoison(block, slab->block - POISON_GAP);
		run->given = block->next;
	} else {
		block = (void *)((char *)(run + 1) + run->fresh++ * slab->block);
		unpoison(block, slab->block - POISON_GAP);
	}
	slab->in_use++;
	if (++run->used == slab->per_run) {
		list_remove(&run->link);
		list_append(&slab->full, &run->link);
	}
	return block;
}

void
slab_give(struct slab *slab, void *block)
{
	struct slab_run *run = (void *)((uintptr_t)block & ~(uintptr_t)(slab->run - 1));
	struct slab_block *given = block;

	if (!block)
		return;
	must(run->slab == slab && run->used > 0);
	given->next = run->given;
	run->given = given;
	poison(block, slab->block);
	slab->in_use--;
	if (run->used-- == slab->per_run) {
		list_remove(&run->link);
		list_append(&slab->partial, &run->link);
	}
	if (run->used > 0)
		return;
	list_remove(&run->link);
	if (slab->reserve)
		slab_unmap(run, slab->run);
	else
		slab->reserve = run;
}

static void
slab_unmap_all(struct slab *slab, struct link *runs)
{
	list_each_safe (link, runs)
		slab_unmap(container_of(link, struct slab_run, link), slab->run);
}

void
slab_free(struct slab *slab)
{
	if (!slab)
		return;
	slab_unmap_all(slab, &slab->partial);
	slab_unmap_all(slab, &slab->full);
	if (slab->reserve)
		slab_unmap(slab->reserve, slab->run);
	free(slab);
}

size_t
slab_in_use(const struct slab *slab)
{
	return slab->in_use;
}
