/* Directives are rows. A row says which field of a settings struct a directive fills, its range,
 * default, unit and one sentence for the manual. The C type of the field chooses the parser at
 * compile time, so a row cannot disagree with the struct. The same rows are the parser, the
 * printer (-T), the text of error messages and the reference manual.
 *
 *	struct hash_conf { uint32_t table_size; struct sy_msec ttl; };
 *
 *	static const struct sy_row hash_rows[] = {
 *		SY_ROW(struct hash_conf, table_size, "table-size", .min = 101, .max = 1000003,
 *		       .preset = "65537", .doc = "Number of slots; a prime."),
 *		SY_ROW(struct hash_conf, ttl, "ttl", .max = SY_DAY, .preset = "20m",
 *		       .doc = "How long an entry is kept."),
 *		SY_ROW_END
 *	};
 *
 * In the file `table-size 65537;` inside the block, and `table-size=65537` as an argument of the
 * block's own statement, are the same thing.
 *
 * Everything that a bound field points to lives as long as the generation. */
#ifndef SY_API_ROWS_H
#define SY_API_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/addr.h"
#include "api/span.h"

/* Units, distinct so that _Generic can tell them apart. */
struct sy_msec { uint64_t ms; };                     /* 250ms 5s 30m 20h 7d; a bare number is seconds */
struct sy_bytes { uint64_t n; };                     /* 64k 16m 1g, powers of 1024 */
struct sy_rate { uint32_t per_second; };             /* 50/s; a bare number means the same */
struct sy_choice { uint32_t index; };                /* one of row->words, as its position */
struct sy_file { const char *path; struct sy_span content; }; /* read by the loader, inlined */
struct sy_secret { const char *path; struct sy_span content; }; /* the same, for workers and checker; others: at NULL */
struct sy_list { const char *const *at; uint32_t n; };  /* words; the directive may be repeated */
struct sy_range { uint32_t from, to; };
struct sy_ranges { const struct sy_range *at; uint32_t n; };    /* 200-399,401 */
struct sy_addrs { const struct sy_addr *at; uint32_t n; };      /* addresses or names, with or without port */
struct sy_pool { uint32_t index; };                  /* name of a pool, for sy_facts.pool; 0: not given */
/* A block that may be given any number of times: an array of row->size bytes each, in the order of the
 * file. Positional arguments of the statement go to the inner rows with SY_ARGUMENT, one each, in the
 * order of the rows. `header set X-Via steelyard;` and `rule { host a; pool b; }` are such blocks. */
struct sy_blocks { const void *at; uint32_t n; };

#define SY_SECOND UINT64_C(1000)
#define SY_MINUTE (60 * SY_SECOND)
#define SY_HOUR (60 * SY_MINUTE)
#define SY_DAY (24 * SY_HOUR)

enum sy_row_type {
	SY_ROW_NONE = 0,
	SY_ROW_BOOL,   /* bool: on | off */
	SY_ROW_UINT,   /* uint32_t, within min..max */
	SY_ROW_MSEC,
	SY_ROW_BYTES,
	SY_ROW_RATE,
	SY_ROW_CHOICE,
	SY_ROW_TEXT,   /* const char *; NULL when absent and without preset */
	SY_ROW_ADDR,   /* struct sy_addr: address or name, optional port */
	SY_ROW_ADDRS,
	SY_ROW_NETS,   /* 10.0.0.0/8 2001:db8::/32 */
	SY_ROW_LIST,
	SY_ROW_RANGES,
	SY_ROW_FILE,
	SY_ROW_SECRET,
	SY_ROW_BLOCK,  /* a nested block that fills an embedded struct: row->rows */
	SY_ROW_BLOCKS, /* the same, any number of times: struct sy_blocks of row->size */
	SY_ROW_POOL,   /* protocols only: the pool becomes one more target of the service */
};

enum sy_row_flag {
	SY_REQUIRED = 1, /* the block is an error without it */
	SY_PORT = 2,     /* ADDR, ADDRS: a port must be given */
	SY_NO_PORT = 4,  /* ADDR, ADDRS: a port must not be given */
	SY_ARGUMENT = 8, /* inner rows of BLOCKS: takes a positional argument of the statement, too (one
	                  * with a = in it, when no inner row has the name before the =) */
};

struct sy_row {
	const char *name;
	enum sy_row_type type;
	uint32_t offset;            /* of the field in the settings struct */
	uint32_t flags;             /* enum sy_row_flag */
	uint64_t min, max;          /* numbers; max 0: no upper limit */
	const char *preset;         /* default, as it would be written in the file; NULL: none */
	const char *const *words;   /* CHOICE: the allowed words, NULL at the end */
	const struct sy_row *rows;  /* BLOCK, BLOCKS: what may stand inside */
	uint32_t size;              /* BLOCKS: of one element */
	uint32_t given;             /* offset + 1 of a bool set when the file gave it; 0: not wanted */
	const char *doc;            /* one sentence for the manual */
};

#define SY_ROW_TYPE(field) \
	_Generic((field), \
		bool: SY_ROW_BOOL, \
		uint32_t: SY_ROW_UINT, \
		struct sy_msec: SY_ROW_MSEC, \
		struct sy_bytes: SY_ROW_BYTES, \
		struct sy_rate: SY_ROW_RATE, \
		struct sy_choice: SY_ROW_CHOICE, \
		const char *: SY_ROW_TEXT, \
		struct sy_addr: SY_ROW_ADDR, \
		struct sy_addrs: SY_ROW_ADDRS, \
		struct sy_nets: SY_ROW_NETS, \
		struct sy_pool: SY_ROW_POOL, \
		struct sy_list: SY_ROW_LIST, \
		struct sy_ranges: SY_ROW_RANGES, \
		struct sy_file: SY_ROW_FILE, \
		struct sy_secret: SY_ROW_SECRET)

#define SY_ROW(conf, field, label, ...) \
	{ .name = (label), .type = SY_ROW_TYPE(((conf *)0)->field), \
	  .offset = (uint32_t)offsetof(conf, field), __VA_ARGS__ }
#define SY_ROW_IN(conf, field, label, inner, ...) \
	{ .name = (label), .type = SY_ROW_BLOCK, .offset = (uint32_t)offsetof(conf, field), \
	  .rows = (inner), __VA_ARGS__ }
#define SY_ROWS_IN(conf, field, label, inner, element, ...) \
	{ .name = (label), .type = SY_ROW_BLOCKS, \
	  .offset = (uint32_t)(offsetof(conf, field) + 0 * sizeof(((conf *)0)->field.n)), \
	  .rows = (inner), .size = (uint32_t)sizeof(element), __VA_ARGS__ }
#define SY_GIVEN(conf, field) .given = (uint32_t)offsetof(conf, field) + 1
#define SY_ROW_END { .name = NULL }

#endif
