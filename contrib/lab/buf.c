#include "buf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUF_KEEP = 4096, /* an empty buffer larger than this gives its storage back */
	PATTERN_BLOCK = 16,
};

char *
buf_space(struct lab_buf *buf, size_t more)
{
	if (buf->start && buf->start + buf->len + more > buf->room) {
		memmove(buf->data, buf->data + buf->start, buf->len);
		buf->start = 0;
	}
	if (buf->len + more > buf->room) {
		buf->room = (buf->len + more) * 3 / 2;
		buf->data = realloc(buf->data, buf->room);
		if (!buf->data) {
			fprintf(stderr, "out of memory: %zu bytes for a buffer\n", buf->room);
			abort();
		}
	}
	return buf->data + buf->start + buf->len;
}

void
buf_add(struct lab_buf *buf, const void *bytes, size_t len)
{
	if (!len)
		return;
	memcpy(buf_space(buf, len), bytes, len);
	buf->len += len;
}

void
buf_print(struct lab_buf *buf, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	va_start(args, fmt);
	vsnprintf(buf_space(buf, (size_t)len + 1), (size_t)len + 1, fmt, args);
	va_end(args);
	buf->len += (size_t)len;
}

void
buf_drop(struct lab_buf *buf, size_t len)
{
	buf->start += len;
	buf->len -= len;
	if (buf->len)
		return;
	buf->start = 0;
	if (buf->room > BUF_KEEP)
		buf_free(buf);
}

void
buf_free(struct lab_buf *buf)
{
	free(buf->data);
	memset(buf, 0, sizeof(*buf));
}

static void
pattern_block(char block[PATTERN_BLOCK + 1], uint64_t number)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = PATTERN_BLOCK - 2; i >= 0; i--, number >>= 4)
		block[i] = digits[number & 15];
	block[PATTERN_BLOCK - 1] = '\n';
}

void
buf_pattern(struct lab_buf *buf, uint64_t offset, size_t len)
{
	char *to = buf_space(buf, len);
	char block[PATTERN_BLOCK + 1];

	buf->len += len;
	while (len) {
		size_t skip = offset % PATTERN_BLOCK;
		size_t part = PATTERN_BLOCK - skip < len ? PATTERN_BLOCK - skip : len;

		pattern_block(block, offset / PATTERN_BLOCK);
		memcpy(to, block + skip, part);
		to += part;
		offset += part;
		len -= part;
	}
}

uint64_t
pattern_differs(const void *bytes, uint64_t offset, size_t len)
{
	const char *at = bytes;
	char block[PATTERN_BLOCK + 1];

	while (len) {
		size_t skip = offset % PATTERN_BLOCK;
		size_t part = PATTERN_BLOCK - skip < len ? PATTERN_BLOCK - skip : len;

		pattern_block(block, offset / PATTERN_BLOCK);
		for (size_t i = 0; i < part; i++)
			if (at[i] != block[skip + i])
				return offset + i;
		at += part;
		offset += part;
		len -= part;
	}
	return offset;
}
