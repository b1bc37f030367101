/* A slab hands out blocks of one size, for objects that come and go with traffic. Blocks come in
 * runs of about 64 KiB; a run that is empty goes back to the system, except for one kept in
 * reserve. Blocks are not zeroed. */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

struct slab;

struct slab *slab_new(size_t block_size);
void slab_free(struct slab *slab);
/* NULL when the system has no memory: the caller closes that connection. */
void *slab_take(struct slab *slab);
void slab_give(struct slab *slab, void *block);
size_t slab_in_use(const struct slab *slab); /* blocks */

#endif
