/*
 * What load and origin say to each other.
 *
 * A request is 64 bytes: how long the reply shall be, and a number. The reply begins with that
 * number and the address of the server that gave it; the rest is a pattern in which every position
 * has its own bytes, so that what was lost, doubled, shifted or mixed up on the way is seen.
 *
 * Both ends run on one machine: numbers are in its own byte order.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_REQUEST_SIZE 64
#define WIRE_HEAD_SIZE 16
#define WIRE_REPLY_MAX (1024u * 1024 * 1024)
#define WIRE_BODY_SIZE 1024 /* of an HTTP reply: the pattern from position 0 */
#define WIRE_PERIOD (256u * 1024)
#define WIRE_COMPARE 4096 /* compared runs are never longer; the pattern has this margin */

struct wire_request {
	uint32_t magic;
	uint32_t reply_size; /* whole reply, its head included */
	uint64_t id;
	uint8_t fill[WIRE_REQUEST_SIZE - 16];
};

struct wire_head {
	uint32_t magic;
	uint32_t server; /* IPv4 address that took the request, network byte order */
	uint64_t id;
};

_Static_assert(sizeof(struct wire_request) == WIRE_REQUEST_SIZE, "a request is 64 bytes");
_Static_assert(sizeof(struct wire_head) == WIRE_HEAD_SIZE, "a head is 16 bytes");

/* Must be called once before anything else here. */
void
wire_init(void);

/* The pattern at a position of the stream; *run is how many bytes may be read from there. */
const uint8_t *
wire_pattern(uint64_t position, size_t *run);

/* A request for a reply of that size (at least WIRE_HEAD_SIZE). */
void
wire_request_make(struct wire_request *request, uint32_t reply_size, uint64_t id);

/* True if that is a request; whoever answers anything else would hide a broken relay. */
bool
wire_request_ok(const struct wire_request *request);

void
wire_head_make(struct wire_head *head, uint32_t server, uint64_t id);

/* True if that begins the reply to the request of this number. */
bool
wire_head_ok(const struct wire_head *head, uint64_t id);

/* True if the bytes that arrived at this position are the pattern. Up to WIRE_COMPARE bytes are
 * compared whole; of longer runs 64 bytes in every 4096 and the last 64: a load generator that read
 * each of 16 Mi bytes twice would measure itself. */
bool
wire_pattern_ok(uint64_t position, const uint8_t *bytes, size_t len);

#endif
