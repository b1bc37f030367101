#include "share/recorder.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "share/areas.h"
#include "share/seq.h"

/* In front of each row's rings; deaths and written in that of ROW_FOLDED only. */
struct recorder_head {
	_Atomic uint64_t n[RECORDER_RINGS]; /* records ever, by the row's process */
	_Atomic uint64_t deaths;  /* by the master */
	_Atomic uint64_t written; /* by the console */
	uint64_t reserved[3];
};

_Static_assert(sizeof(struct recorder_head) == 64, "the records behind it begin at a cache line");

static uint32_t
recorder_room(uint32_t n, enum recorder_ring ring)
{
	return ring == RECORDER_ENDED ? n : n / 4;
}

size_t
recorder_area_size(uint32_t n)
{
	return sizeof(struct recorder_head) + (n + n / 4 * 2) * sizeof(struct record);
}

static struct recorder_head *
recorder_head(const struct board *board, unsigned row)
{
	must(row < BOARD_ROWS);
	return board_area(board, AREA_RECORDER, row * recorder_area_size(board->head->size.records));
}

static struct record *
recorder_ring(const struct board *board, unsigned row, enum recorder_ring ring)
{
	uint32_t n = board->head->size.records;
	struct record *first = (struct record *)(recorder_head(board, row) + 1);

	for (unsigned i = 0; i < (unsigned)ring; i++)
		first += recorder_room(n, (enum recorder_ring)i);
	return first;
}

bool
recorder_on(const struct board *board)
{
	return board->head->size.records > 0;
}

/* The number is 0 while the rest is written. */
static void
recorder_put(struct board *board, unsigned row, enum recorder_ring ring, struct record *record)
{
	_Atomic uint64_t *n = &recorder_head(board, row)->n[ring];
	uint64_t number = atomic_load_explicit(n, memory_order_relaxed) + 1;
	uint32_t room = recorder_room(board->head->size.records, ring);
	struct record *place = recorder_ring(board, row, ring) + (number - 1) % room;

	record->pid = (uint32_t)board_process(board, row)->pid;
	__atomic_store_n(&place->number, 0, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_release);
	seq_put((char *)place + sizeof(place->number), (char *)record + sizeof(record->number),
	        sizeof(*record) - sizeof(record->number));
	__atomic_store_n(&place->number, number, __ATOMIC_RELEASE);
	atomic_store_explicit(n, number, memory_order_release);
}

void
recorder_line(struct board *board, unsigned row, uint64_t now_ms, unsigned level, const char *words,
              size_t len)
{
	struct record record = { .at_ms = now_ms, .kind = RECORD_LINE, .level = (uint16_t)level };

	if (!recorder_on(board))
		return;
	memcpy(record.line, words, text_cut(words, len, sizeof(record.line) - 1));
	recorder_put(board, row, RECORDER_LINES, &record);
}

void
recorder_end(struct board *board, unsigned row, uint64_t now_ms, struct record *record, bool failed)
{
	record->at_ms = now_ms;
	record->level = 0;
	recorder_put(board, row, failed ? RECORDER_FAILED : RECORDER_ENDED, record);
}

/* False: it is torn, or another one by now. */
static bool
recorder_read(const struct record *place, uint64_t number, struct record *out)
{
	if (__atomic_load_n(&place->number, __ATOMIC_ACQUIRE) != number)
		return false;
	seq_copy(out, place, sizeof(*out));
	atomic_thread_fence(memory_order_acquire);
	return __atomic_load_n(&place->number, __ATOMIC_RELAXED) == number;
}

void
recorder_each(const struct board *board, unsigned row, enum recorder_ring ring,
              bool (*each)(void *context, unsigned row, const struct record *record), void *context)
{
	uint32_t room = recorder_room(board->head->size.records, ring);
	const struct record *first = recorder_ring(board, row, ring);
	uint64_t n = atomic_load_explicit(&recorder_head(board, row)->n[ring], memory_order_acquire);
	struct record record;

	for (uint64_t i = n; room && i > 0 && i + room > n; i--)
		if (recorder_read(&first[(i - 1) % room], i, &record) && !each(context, row, &record))
			return;
}

void
recorder_died(struct board *board)
{
	atomic_fetch_add_explicit(&recorder_head(board, ROW_FOLDED)->deaths, 1, memory_order_release);
}

uint64_t
recorder_deaths(const struct board *board)
{
	return atomic_load_explicit(&recorder_head(board, ROW_FOLDED)->deaths, memory_order_acquire);
}

uint64_t
recorder_written(const struct board *board)
{
	return atomic_load_explicit(&recorder_head(board, ROW_FOLDED)->written, memory_order_relaxed);
}

void
recorder_wrote(struct board *board, uint64_t deaths)
{
	atomic_store_explicit(&recorder_head(board, ROW_FOLDED)->written, deaths, memory_order_relaxed);
}
