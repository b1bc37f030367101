/* Text that is put together: heads and pages. It grows; when there is no memory it says so at the end. */
#ifndef PROTOCOL_HTTP_OUT_H
#define PROTOCOL_HTTP_OUT_H

#include <stdbool.h>

#include "api/addr.h"
#include "api/span.h"

enum { OUT_ADDR = 64 };

struct out {
	char *at;                 /* NULL: nothing yet */
	size_t len, room;
	bool failed;              /* no memory: what it holds is not whole */
};

void out_free(struct out *out);
/* Nothing is in it, and there is room for so much. */
void out_begin(struct out *out, size_t room);
void out_bytes(struct out *out, const void *bytes, size_t len);
void out_text(struct out *out, const char *text);
void out_span(struct out *out, struct sy_span span);
void out_number(struct out *out, uint64_t number);
/* "name: value" and the end of the line. */
void out_field(struct out *out, const char *name, struct sy_span value);
struct sy_span out_said(const struct out *out);

/* The address without its port: 192.0.2.7, 2001:db8::7. Returns text. */
const char *addr_words(const struct sy_addr *addr, char text[static OUT_ADDR]);

#endif
