/* Reads the head of a message of HTTP or SIP field by field, as sy_facts.head and sy_persistence.learn()
 * show it: a first line, fields, an empty line or the end. Whatever the bytes are, nothing outside of
 * them is looked at. A line that continues the one before it, and one without a colon, are passed over.
 *
 *	struct sy_head head = sy_head(facts->head);
 *
 *	while (sy_head_next(&head))
 *		if (sy_span_is(head.name, "cookie"))
 *			... head.value ...
 */
#ifndef SY_API_HEAD_H
#define SY_API_HEAD_H

#include <stdbool.h>

#include "api/span.h"

struct sy_head {
	struct sy_span rest;
	struct sy_span name, value; /* of the field in hand, without blanks around them */
};

/* The line without its end, and moves *in behind it. */
static inline struct sy_span
sy_head_line(struct sy_span *in)
{
	const uint8_t *end = in->len ? (const uint8_t *)memchr(in->at, '\n', in->len) : NULL;
	size_t len = end ? (size_t)(end - in->at) : in->len;
	struct sy_span line = sy_span(in->at, len);

	*in = sy_span(in->at + len + (end != NULL), in->len - len - (end != NULL));
	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static inline struct sy_span
sy_span_trim(struct sy_span text)
{
	while (text.len && (*text.at == ' ' || *text.at == '\t'))
		text = sy_span(text.at + 1, text.len - 1);
	while (text.len && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
		text.len--;
	return text;
}

static inline uint8_t
sy_lower(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;
}

/* The same word, whatever the case of its letters. */
static inline bool
sy_span_is(struct sy_span text, const char *word)
{
	for (size_t i = 0; i < text.len; i++)
		if (!word[i] || sy_lower(text.at[i]) != sy_lower((uint8_t)word[i]))
			return false;
	return word[text.len] == '\0';
}

static inline struct sy_head
sy_head(struct sy_span bytes)
{
	struct sy_head head = { .rest = bytes };

	if (bytes.len)
		sy_head_line(&head.rest);
	return head;
}

static inline bool
sy_head_next(struct sy_head *head)
{
	while (head->rest.len) {
		struct sy_span line = sy_head_line(&head->rest);
		const uint8_t *colon = line.len ? (const uint8_t *)memchr(line.at, ':', line.len) : NULL;

		if (!line.len)
			return false;
		if (!colon || *line.at == ' ' || *line.at == '\t')
			continue;
		head->name = sy_span_trim(sy_span(line.at, (size_t)(colon - line.at)));
		head->value = sy_span_trim(sy_span(colon + 1, line.len - (size_t)(colon - line.at) - 1));
		return true;
	}
	return false;
}

/* The next of the parts that `mark` separates, without blanks around it, and moves *in behind it. */
static inline bool
sy_span_part(struct sy_span *in, uint8_t mark, struct sy_span *part)
{
	const uint8_t *end = in->len ? (const uint8_t *)memchr(in->at, mark, in->len) : NULL;
	size_t len = end ? (size_t)(end - in->at) : in->len;

	if (!in->at || (!in->len && !end))
		return false;
	*part = sy_span_trim(sy_span(in->at, len));
	*in = sy_span(in->at + len + (end != NULL), in->len - len - (end != NULL));
	return true;
}

#endif
