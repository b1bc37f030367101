/*
 * buf.h: bytes that wait. Taken from the front, added at the back; the storage grows as needed and
 * is given back when the buffer is freed, or when it is empty and grew large.
 */
#ifndef LAB_BUF_H
#define LAB_BUF_H

#include <stddef.h>
#include <stdint.h>

struct lab_buf {
	char *data; /* the first byte that waits is data[start] */
	size_t start, len, room;
};

/* Makes room for more bytes behind those that wait; returns where they go. Dies when out of memory.
 */
char *buf_space(struct lab_buf *buf, size_t more);

void buf_add(struct lab_buf *buf, const void *bytes, size_t len);

void buf_print(struct lab_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds len bytes of the pattern from position offset on (see pattern_differs). */
void buf_pattern(struct lab_buf *buf, uint64_t offset, size_t len);

/* Takes len bytes from the front. */
void buf_drop(struct lab_buf *buf, size_t len);

void buf_free(struct lab_buf *buf);

/* The first byte that waits; an empty string when there is no storage. */
static inline const char *
buf_front(const struct lab_buf *buf)
{
	return buf->data ? buf->data + buf->start : "";
}

/* A payload whose every 16 bytes name their own position, so that a byte lost, doubled or moved on
 * the way is seen and located. Returns the first position in the payload where bytes, which begin
 * at offset, are not what they should be; offset + len when all are right. */
uint64_t pattern_differs(const void *bytes, uint64_t offset, size_t len);

#endif
