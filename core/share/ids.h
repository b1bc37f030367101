/* Ids to places on the board: a place is found without taking anything, and given to an id that
 * has none yet by whoever needs it first.
 *
 * Places are given densely, from 0 upwards, so that a board of 65,536 cells costs what is used of
 * it; the hash table (open addressing, linear probing) holds only their numbers. A place begins
 * with its id. Burying writes the table anew from the places that are left, so it has no
 * tombstones.
 *
 * Finding takes no lock. Claiming and burying do: where slots are used again, two processes that
 * put the same id into the first free slot of their own look at the table may each find another
 * slot (one of them freed in between), and the id would have two places. So one process at a time
 * changes the table; it enters with one compare-and-swap of its pid. When it is killed inside, the
 * next one sees that the pid is gone, writes the table anew if it was being changed, and goes on.
 * All this happens when a configuration is bound, never on the way. */
#ifndef SHARE_IDS_H
#define SHARE_IDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* On the board. Zeroed is empty. */
struct ids_head {
	_Atomic uint32_t inside;  /* pid of the process that changes the table; 0: none */
	_Atomic uint32_t seq;     /* share/seq.h: odd while the table is being changed */
	_Atomic uint32_t used;    /* no place at or above was ever given */
	uint32_t lowest;          /* no place below is free; by the process inside */
};

/* One process's view. */
struct ids {
	struct ids_head *head;
	_Atomic uint32_t *slots;  /* 0 free, else place + 1 */
	uint32_t n_slots;         /* power of two, at least twice the places */
	uint32_t n_places;
	char *places;             /* each begins with _Atomic uint64_t id; 0: free */
	size_t place_size;
};

#define IDS_NONE UINT32_MAX

/* Slots that a table for so many places has. */
uint32_t ids_slots(uint32_t places);
/* IDS_NONE when the id has no place. An id is a good hash, and not 0. */
uint32_t ids_find(const struct ids *ids, uint64_t id);
/* Finds, or gives a place, zeroed but for its id. IDS_NONE when all are taken, or when another
 * process kept the table for ten seconds and is alive (somebody stopped it). */
uint32_t ids_claim(const struct ids *ids, uint64_t id);
/* Frees the places for which `bury` says so (it may clear what is kept elsewhere for the place).
 * Returns how many; 0, too, when another process kept the table. */
size_t ids_bury(const struct ids *ids, bool (*bury)(void *context, uint32_t place, uint64_t id),
                void *context);
/* After the death of the process that had this pid. */
void ids_repair(const struct ids *ids, uint32_t pid);

static inline _Atomic uint64_t *
ids_id(const struct ids *ids, uint32_t place)
{
	return (_Atomic uint64_t *)(void *)(ids->places + (size_t)place * ids->place_size);
}

static inline uint32_t
ids_used(const struct ids *ids)
{
	return atomic_load_explicit(&ids->head->used, memory_order_acquire);
}

#endif
