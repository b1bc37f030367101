/* A span is bytes that somebody else owns: borrowed until the callee returns. Who keeps bytes
 * copies them. A span is not terminated by NUL, and may hold any byte. */
#ifndef SY_API_SPAN_H
#define SY_API_SPAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sy_span {
	const uint8_t *at;
	size_t len;
};

static inline struct sy_span
sy_span(const void *at, size_t len)
{
	return (struct sy_span){ (const uint8_t *)at, len };
}

static inline struct sy_span
sy_span_text(const char *text)
{
	return sy_span(text, text ? strlen(text) : 0);
}

#endif
