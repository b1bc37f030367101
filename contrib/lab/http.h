/*
 * http.h: as much of HTTP/1.1 as the lab's web services and their clients need: whole messages whose
 * length is said by Content-Length. Written apart from the balancer's own reader, so that the one can
 * be tested by the other.
 */
#ifndef LAB_HTTP_H
#define LAB_HTTP_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_HEAD_MAX = 65536, HTTP_BODY_MAX = 1 << 20 };

/* A message in somebody's buffer; it points there. */
struct http_message {
	const char *head, *body;
	size_t head_len, body_len; /* the head with the empty line behind it */
};

enum http_got {
	HTTP_MORE,  /* it is not complete */
	HTTP_WHOLE, /* head_len + body_len bytes of the buffer are the message */
	HTTP_BAD,   /* too long, chunked, or with a length that is none */
};

enum http_got http_parse(struct http_message *message, const char *bytes, size_t len);

/* The value of the nth field of that name, from 0 on, without blanks around it; NULL: there is none. */
const char *http_field(const struct http_message *message, const char *name, int nth, size_t *len);

/* Whether one of the fields of that name has the text in its value, in any case of letters. */
bool http_has(const struct http_message *message, const char *name, const char *text);

/* The status of an answer; 0: it is none. */
int http_status(const struct http_message *message);

/* Copies len bytes as text, shortened to what fits. */
void http_copy(char *to, size_t size, const char *from, size_t len);

#endif
