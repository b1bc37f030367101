/* Text for people: a growing buffer, and values printed and parsed as operators write them. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "api/addr.h"
#include "api/span.h"

/* A buffer that grows; text.at is always terminated by NUL once something was added. */
struct text {
	char *at;
	size_t len, size;
};

/* Makes room for `more` bytes and a NUL. */
void text_reserve(struct text *text, size_t more);

static inline void
text_add(struct text *text, const char *bytes, size_t len)
{
	if (text->size <= len || text->len >= text->size - len)
		text_reserve(text, len);
	if (len > 0)
		memcpy(text->at + text->len, bytes, len);
	text->len += len;
	text->at[text->len] = '\0';
}

static inline void
text_puts(struct text *text, const char *words)
{
	text_add(text, words, strlen(words));
}

void text_uint(struct text *text, uint64_t n);  /* as "%" PRIu64, without its price */
__attribute__((format(printf, 2, 3))) void text_printf(struct text *text, const char *format, ...);
/* As a JSON string with quotes; bytes that are not UTF-8 become U+FFFD. */
void text_json(struct text *text, const char *bytes, size_t len);
/* For logs and terminals: control characters and bytes that are not UTF-8 appear as \n, \x1b. */
void text_plain(struct text *text, const char *bytes, size_t len);
void text_free(struct text *text);
/* Where to cut UTF-8 so that at most `most` bytes are left and no character is broken. */
size_t text_cut(const char *words, size_t len, size_t most);

/* Printed forms return `out`. */
#define ADDR_TEXT_SIZE 56
const char *addr_text(const struct sy_addr *addr, char out[static ADDR_TEXT_SIZE]);      /* 192.0.2.1:5061 [2001:db8::1]:5061 */
const char *addr_ip_text(const struct sy_addr *addr, char out[static ADDR_TEXT_SIZE]);   /* without port */
const char *net_text(const struct sy_net *net, char out[static ADDR_TEXT_SIZE]);
/* "192.0.2.1", "192.0.2.1:80", "[::1]:80", "::1", "*:80" (0.0.0.0). Numeric only. */
bool addr_parse(const char *text, struct sy_addr *out);
/* "10.0.0.0/8", "10.1.2.3" (/32); refuses bits set behind the prefix. */
bool net_parse(const char *text, struct sy_net *out);

#define DURATION_TEXT_SIZE 24
const char *duration_text(uint64_t ms, char out[static DURATION_TEXT_SIZE]);  /* exact: 1500ms 30m 90s */
const char *age_text(uint64_t ms, char out[static DURATION_TEXT_SIZE]);       /* rough: 3d4h 12m5s 4s */
bool duration_parse(const char *text, uint64_t *ms);    /* a bare number is seconds */
const char *bytes_text(uint64_t n, char out[static DURATION_TEXT_SIZE]);      /* exact: 64k 1500 */
bool bytes_parse(const char *text, uint64_t *n);
bool uint_parse(const char *text, uint64_t *n);         /* decimal digits only, no overflow */

/* The nearest of `words` (NULL at the end) by edit distance (Damerau-Levenshtein), or NULL when
 * none is near enough to be what was meant. */
const char *text_nearest(const char *word, const char *const *words);

#endif
