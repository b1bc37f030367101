/* Packets of a trace: an IP header, a TCP or UDP header and the bytes, in an Enhanced Packet Block of
 * pcapng (draft-ietf-opsawg-pcapng). Interface 0 are the clients, 1 the servers; link type RAW. The
 * blocks in front of them are made by who puts the workers' traces together. */
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "way/trace.h"

enum {
	PACKET_HEADERS = 60,      /* IPv6 and TCP */
	PACKET_BLOCK = 6,
	PACKET_OPTION_COMMENT = 1,
	PACKET_OPTION_FLAGS = 2,
	PACKET_COMMENT = 1000,    /* most bytes of one */
};

static void
packet_16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void
packet_32(uint8_t *at, uint32_t value)
{
	packet_16(at, value >> 16);
	packet_16(at + 2, value & 0xffff);
}

/* RFC 791 and 8200. `len`: of what follows the header. Returns the header's. */
static size_t
packet_ip(uint8_t *at, const struct sy_addr *from, const struct sy_addr *to, unsigned protocol,
          size_t len)
{
	uint32_t sum = 0;

	if (from->family == SY_IPV6 || to->family == SY_IPV6) {
		at[0] = 0x60;
		packet_16(at + 4, (uint32_t)len);
		at[6] = (uint8_t)protocol;
		at[7] = 64;
		memcpy(at + 8, from->ip, 16);
		memcpy(at + 24, to->ip, 16);
		return 40;
	}
	at[0] = 0x45;
	packet_16(at + 2, (uint32_t)len + 20);
	at[8] = 64;
	at[9] = (uint8_t)protocol;
	memcpy(at + 12, from->ip, 4);
	memcpy(at + 16, to->ip, 4);
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	packet_16(at + 10, ~(sum + (sum >> 16)) & 0xffff);
	return 20;
}

static size_t
packet_headers(const struct trace_packet *packet, uint8_t at[static PACKET_HEADERS])
{
	const struct trace_half *half = &packet->conn->half[packet->side];
	const struct sy_addr *from = packet->by_peer ? &half->peer : &half->own;
	const struct sy_addr *to = packet->by_peer ? &half->own : &half->peer;
	bool udp = packet->conn->datagrams;
	size_t own = udp ? 8 : 20, len;

	memset(at, 0, PACKET_HEADERS);
	len = packet_ip(at, from, to, udp ? 17 : 6, own + packet->bytes.len);
	at += len;
	packet_16(at, from->port);
	packet_16(at + 2, to->port);
	if (udp) {
		packet_16(at + 4, (uint32_t)(own + packet->bytes.len));
		return len + own;
	}
	packet_32(at + 4, half->said[!packet->by_peer]);
	packet_32(at + 8, packet->flags & TRACE_ACK ? half->said[packet->by_peer] : 0);
	at[12] = 5 << 4;
	at[13] = (uint8_t)packet->flags;
	packet_16(at + 14, 65535);
	return len + own;
}

static void
packet_add_32(struct text *out, uint32_t value)
{
	text_add(out, (const char *)&value, sizeof(value));
}

/* Bytes, filled up to a multiple of four. */
static void
packet_pad(struct text *out, size_t len)
{
	text_add(out, "\0\0\0", (4 - len % 4) % 4);
}

static void
packet_option(struct text *out, unsigned code, const void *bytes, size_t len)
{
	packet_add_32(out, code | (uint32_t)len << 16);
	text_add(out, bytes, len);
	packet_pad(out, len);
}

static uint64_t
packet_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void
trace_packet(struct trace *trace, const struct trace_packet *packet)
{
	uint8_t headers[PACKET_HEADERS];
	size_t len = packet_headers(packet, headers), shown = packet->secret ? 0 : packet->bytes.len;
	uint32_t direction = packet->by_peer ? 1 : 2, whole;
	uint64_t now_us = packet_now_us();
	struct text *out = &trace->out;
	size_t start = out->len;

	if (trace->full || out->len + PACKET_HEADERS + shown + PACKET_COMMENT > trace->of.most_bytes) {
		trace->full = true;
		return;
	}
	packet_add_32(out, PACKET_BLOCK);
	packet_add_32(out, 0);
	packet_add_32(out, packet->side);
	packet_add_32(out, (uint32_t)(now_us >> 32));
	packet_add_32(out, (uint32_t)now_us);
	packet_add_32(out, (uint32_t)(len + shown));
	packet_add_32(out, (uint32_t)(len + packet->bytes.len));
	text_add(out, (const char *)headers, len);
	text_add(out, (const char *)packet->bytes.at, shown);
	packet_pad(out, len + shown);
	if (packet->comment)
		packet_option(out, PACKET_OPTION_COMMENT, packet->comment,
		              text_cut(packet->comment, strlen(packet->comment), PACKET_COMMENT - 100));
	packet_option(out, PACKET_OPTION_FLAGS, &direction, sizeof(direction));
	packet_add_32(out, 0);
	packet_add_32(out, (uint32_t)(out->len - start) + 4);
	whole = (uint32_t)(out->len - start);
	memcpy(out->at + start + 4, &whole, sizeof(whole));
	trace->n_packets++;
}
