#include "wire.h"

#include <string.h>

#define WIRE_MAGIC_REQUEST 0x31515953u /* "SYQ1" */
#define WIRE_MAGIC_REPLY 0x31525953u   /* "SYR1" */
#define WIRE_SAMPLE 64

static uint8_t wire_bytes[WIRE_PERIOD + WIRE_COMPARE];

void
wire_init(void)
{
	uint64_t word;

	for (size_t at = 0; at < WIRE_PERIOD; at += sizeof(word)) {
		word = (at + 1) * 0x9e3779b97f4a7c15u;
		memcpy(wire_bytes + at, &word, sizeof(word));
	}
	memcpy(wire_bytes + WIRE_PERIOD, wire_bytes, WIRE_COMPARE);
}

const uint8_t *
wire_pattern(uint64_t position, size_t *run)
{
	size_t at = position % WIRE_PERIOD;

	*run = sizeof(wire_bytes) - at;
	return wire_bytes + at;
}

void
wire_request_make(struct wire_request *request, uint32_t reply_size, uint64_t id)
{
	request->magic = WIRE_MAGIC_REQUEST;
	request->reply_size = reply_size;
	request->id = id;
	memcpy(request->fill, wire_bytes + offsetof(struct wire_request, fill),
	       sizeof(request->fill));
}

bool
wire_request_ok(const struct wire_request *request)
{
	return request->magic == WIRE_MAGIC_REQUEST && request->reply_size >= WIRE_HEAD_SIZE &&
	       request->reply_size <= WIRE_REPLY_MAX &&
	       memcmp(request->fill, wire_bytes + offsetof(struct wire_request, fill),
		      sizeof(request->fill)) == 0;
}

void
wire_head_make(struct wire_head *head, uint32_t server, uint64_t id)
{
	head->magic = WIRE_MAGIC_REPLY;
	head->server = server;
	head->id = id;
}

bool
wire_head_ok(const struct wire_head *head, uint64_t id)
{
	return head->magic == WIRE_MAGIC_REPLY && head->id == id;
}

static bool
wire_same(uint64_t position, const uint8_t *bytes, size_t len)
{
	return memcmp(bytes, wire_bytes + position % WIRE_PERIOD, len) == 0;
}

bool
wire_pattern_ok(uint64_t position, const uint8_t *bytes, size_t len)
{
	size_t at;

	if (len <= WIRE_COMPARE)
		return wire_same(position, bytes, len);
	for (at = 0; at + WIRE_SAMPLE <= len; at += WIRE_COMPARE) {
		if (!wire_same(position + at, bytes + at, WIRE_SAMPLE))
			return false;
	}
	at = len - WIRE_SAMPLE;
	return wire_same(position + at, bytes + at, WIRE_SAMPLE);
}
