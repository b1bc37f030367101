#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum {
	V2_HEAD = 16,             /* signature, version and command, family, length */
	V2_INET = 12,
	V2_INET6 = 36,
	TLV_CRC32C = 0x03,
	TLV_NOOP = 0x04,
	TLV_UNIQUE_ID = 0x05,
	TLV_SSL = 0x20,
	TLV_SSL_CN = 0x22,
	TLV_PROOF = 0xe0,         /* the first of those that everybody may use as he likes */
	PROOF_LEN = 3 + 8 + 8,    /* with its head: milliseconds, hash */
	SSL_HEAD = 5,             /* client, verify */
	UNIQUE_ID_MAX = 128,
};

static const uint8_t v2_signature[12] = {
	0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a
};

/* Headers are short and few: bit by bit is fast enough and needs no table. */
uint32_t
proxy_crc32c(uint32_t crc, const uint8_t *at, size_t len)
{
	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= at[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0x82f63b78 & (0 - (crc & 1)));
	}
	return ~crc;
}

static enum proxy_read
proxy_wrong(struct proxy_header *out, const char *problem)
{
	out->problem = problem;
	return PROXY_WRONG;
}

/* Decimal without sign or leading zeros, up to 65535; the whole word. */
static bool
v1_port(const char *word, uint16_t *out)
{
	unsigned long value = 0;
	size_t len = strlen(word);

	if (len < 1 || len > 5 || (word[0] == '0' && len > 1))
		return false;
	for (; *word; word++) {
		if (*word < '0' || *word > '9')
			return false;
		value = value * 10 + (unsigned long)(*word - '0');
	}
	*out = (uint16_t)value;
	return value <= 65535;
}

static bool
v1_addr(const char *word, enum sy_family family, struct sy_addr *out)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	*out = (struct sy_addr){ .family = (uint8_t)family };
	if (inet_pton(family == SY_IPV4 ? AF_INET : AF_INET6, word, out->ip) != 1)
		return false;
	if (family == SY_IPV6 && memcmp(out->ip, mapped, sizeof(mapped)) == 0) {
		memmove(out->ip, out->ip + 12, 4);
		memset(out->ip + 4, 0, 12);
		out->family = SY_IPV4;
	}
	return true;
}

/* `line` is a copy without CRLF, ended by NUL, and holds no other NUL. */
static enum proxy_read
v1_words(char *line, struct proxy_header *out)
{
	char *words[6], *rest = line;
	unsigned n = 0;
	enum sy_family family;

	while (n < 6 && rest)
		words[n++] = strsep(&rest, " ");
	if (n >= 2 && strcmp(words[1], "UNKNOWN") == 0) {
		out->local = true;
		return PROXY_DONE;
	}
	if (n != 6 || rest)
		return proxy_wrong(out, "PROXY v1 line needs six words with single spaces");
	if (strcmp(words[1], "TCP4") == 0)
		family = SY_IPV4;
	else if (strcmp(words[1], "TCP6") == 0)
		family = SY_IPV6;
	else
		return proxy_wrong(out, "PROXY v1 family is none of TCP4, TCP6, UNKNOWN");
	if (!v1_addr(words[2], family, &out->source))
		return proxy_wrong(out, "PROXY v1 source is no address of its family");
	if (!v1_addr(words[3], family, &out->destination))
		return proxy_wrong(out, "PROXY v1 destination is no address of its family");
	if (!v1_port(words[4], &out->source.port))
		return proxy_wrong(out, "PROXY v1 source port is not 0..65535 in plain decimal");
	if (!v1_port(words[5], &out->destination.port))
		return proxy_wrong(out, "PROXY v1 destination port is not 0..65535 in plain decimal");
	return PROXY_DONE;
}

static enum proxy_read
v1_read(struct sy_span in, struct proxy_header *out)
{
	char line[PROXY_V1_MAX + 1];
	size_t look = in.len < PROXY_V1_MAX ? in.len : PROXY_V1_MAX;
	const uint8_t *end = memchr(in.at, '\n', look);
	size_t len;

	if (memchr(in.at, 0, end ? (size_t)(end - in.at) : look))
		return proxy_wrong(out, "PROXY v1 line holds a NUL byte");
	if (!end) {
		if (in.len >= PROXY_V1_MAX)
			return proxy_wrong(out, "PROXY v1 line does not end within 107 bytes");
		return PROXY_MORE;
	}
	len = (size_t)(end - in.at);
	if (in.at[len - 1] != '\r')
		return proxy_wrong(out, "PROXY v1 line does not end with CRLF");
	if (memchr(in.at, '\r', len - 1))
		return proxy_wrong(out, "PROXY v1 line holds a stray CR");
	memcpy(line, in.at, len - 1);
	line[len - 1] = '\0';
	out->len = len + 1;
	return v1_words(line, out);
}

static void
v2_addr(const uint8_t *ip, const uint8_t *port, size_t size, struct sy_addr *out)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	*out = (struct sy_addr){ .family = size == 4 ? SY_IPV4 : SY_IPV6 };
	if (size == 16 && memcmp(ip, mapped, sizeof(mapped)) == 0) {
		out->family = SY_IPV4;
		memcpy(out->ip, ip + 12, 4);
	} else {
		memcpy(out->ip, ip, size);
	}
	out->port = (uint16_t)(port[0] << 8 | port[1]);
}

/* Walks the TLVs behind the addresses, `at` from the start of the header. */
static enum proxy_read
v2_extras(struct sy_span header, size_t at, struct proxy_header *out)
{
	static const uint8_t none[4];
	bool summed = false;

	while (at < header.len) {
		const uint8_t *tlv = header.at + at;
		size_t len;

		if (header.len - at < 3)
			return proxy_wrong(out, "PROXY v2 TLV is cut off");
		len = (size_t)tlv[1] << 8 | tlv[2];
		if (header.len - at - 3 < len)
			return proxy_wrong(out, "PROXY v2 TLV is longer than the header");
		if (tlv[0] == TLV_UNIQUE_ID && len > UNIQUE_ID_MAX)
			return proxy_wrong(out, "PROXY v2 unique id is longer than 128 bytes");
		if (tlv[0] == TLV_CRC32C) {
			uint32_t told, made;

			if (len != 4 || summed)
				return proxy_wrong(out, "PROXY v2 checksum is not one of 4 bytes");
			summed = true;
			told = (uint32_t)tlv[3] << 24 | (uint32_t)tlv[4] << 16 |
			       (uint32_t)tlv[5] << 8 | tlv[6];
			made = proxy_crc32c(0, header.at, at + 3);
			made = proxy_crc32c(made, none, sizeof(none));
			made = proxy_crc32c(made, tlv + 7, header.len - at - 7);
			if (told != made)
				return proxy_wrong(out, "PROXY v2 checksum is wrong");
		}
		at += 3 + len;
	}
	return PROXY_DONE;
}

static enum proxy_read
v2_read(struct sy_span in, struct proxy_header *out)
{
	size_t rest, addrs;
	uint8_t family, command;

	if (in.len > 12 && (in.at[12] >> 4 != 2 || (in.at[12] & 15) > 1))
		return proxy_wrong(out, "PROXY v2 version or command is unknown");
	if (in.len < V2_HEAD)
		return PROXY_MORE;
	command = in.at[12] & 15;
	family = in.at[13];
	rest = (size_t)in.at[14] << 8 | in.at[15];
	if (family >> 4 > 3 || (family & 15) > 2)
		return proxy_wrong(out, "PROXY v2 family or transport is unknown");
	if (V2_HEAD + rest > PROXY_V2_MAX)
		return proxy_wrong(out, "PROXY v2 header is longer than 4096 bytes");
	if (in.len < V2_HEAD + rest)
		return PROXY_MORE;
	out->len = V2_HEAD + rest;
	out->local = command == 0 || (family != 0x11 && family != 0x21);
	if (command == 0)
		return PROXY_DONE;
	addrs = family >> 4 == 1 ? V2_INET : family >> 4 == 2 ? V2_INET6
	      : family >> 4 == 3 ? 216 : 0;
	if (rest < addrs)
		return proxy_wrong(out, "PROXY v2 header is too short for its addresses");
	if (family == 0x11) {
		v2_addr(in.at + 16, in.at + 24, 4, &out->source);
		v2_addr(in.at + 20, in.at + 26, 4, &out->destination);
	} else if (family == 0x21) {
		v2_addr(in.at + 16, in.at + 48, 16, &out->source);
		v2_addr(in.at + 32, in.at + 50, 16, &out->destination);
	}
	/* Of the unspecified family nothing is known, not even where TLVs would begin. */
	if (family >> 4 == 0)
		return PROXY_DONE;
	out->extras = sy_span(in.at + V2_HEAD + addrs, out->len - V2_HEAD - addrs);
	return v2_extras(sy_span(in.at, out->len), V2_HEAD + addrs, out);
}

enum proxy_read
proxy_header_read(struct sy_span in, struct proxy_header *out)
{
	size_t look;

	*out = (struct proxy_header){ .len = 0 };
	look = in.len < sizeof(v2_signature) ? in.len : sizeof(v2_signature);
	if (memcmp(in.at, v2_signature, look) == 0)
		return look < sizeof(v2_signature) ? PROXY_MORE : v2_read(in, out);
	look = in.len < 6 ? in.len : 6;
	if (memcmp(in.at, "PROXY ", look) != 0)
		return proxy_wrong(out, "no PROXY header, although the sender is in accept-proxy-from");
	return look < 6 ? PROXY_MORE : v1_read(in, out);
}

static size_t
v1_make(const struct sy_addr *source, const struct sy_addr *destination, char *out)
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	int family = source->family == SY_IPV4 ? AF_INET : AF_INET6;

	if (source->family != destination->family || source->family == SY_NO_ADDR)
		return (size_t)sprintf(out, "PROXY UNKNOWN\r\n");
	inet_ntop(family, source->ip, from, sizeof(from));
	inet_ntop(family, destination->ip, to, sizeof(to));
	return (size_t)snprintf(out, PROXY_MADE_MAX, "PROXY %s %s %s %u %u\r\n",
	                        source->family == SY_IPV4 ? "TCP4" : "TCP6", from, to,
	                        source->port, destination->port);
}

static size_t
v2_make(const struct sy_addr *source, const struct sy_addr *destination, uint8_t *out)
{
	size_t size = source->family == SY_IPV4 ? 4 : 16, at = V2_HEAD;

	memcpy(out, v2_signature, sizeof(v2_signature));
	if (source->family != destination->family || source->family == SY_NO_ADDR) {
		memcpy(out + 12, "\x20\x00\x00\x00", 4);
		return V2_HEAD;
	}
	out[12] = 0x21;
	out[13] = size == 4 ? 0x11 : 0x21;
	out[14] = 0;
	out[15] = (uint8_t)(2 * size + 4);
	memcpy(out + at, source->ip, size);
	memcpy(out + at + size, destination->ip, size);
	at += 2 * size;
	out[at++] = (uint8_t)(source->port >> 8);
	out[at++] = (uint8_t)source->port;
	out[at++] = (uint8_t)(destination->port >> 8);
	out[at++] = (uint8_t)destination->port;
	return at;
}

size_t
proxy_header_make(unsigned version, const struct sy_addr *source,
                  const struct sy_addr *destination, uint8_t out[static PROXY_MADE_MAX])
{
	if (version == 1)
		return v1_make(source, destination, (char *)out);
	return v2_make(source, destination, out);
}

static void
proof_number(uint8_t *out, uint64_t n)
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(n >> (56 - 8 * i));
}

static void
tlv_head(uint8_t *out, unsigned type, size_t len)
{
	out[0] = (uint8_t)type;
	out[1] = (uint8_t)(len >> 8);
	out[2] = (uint8_t)len;
}

size_t
proxy_header_prove(uint8_t *header, size_t len, const struct hash_key *key, uint64_t wall_ms,
                   struct sy_span subject)
{
	/* PP2_CLIENT_SSL, PP2_CLIENT_CERT_CONN; verify 0: it was. */
	static const uint8_t ssl[SSL_HEAD] = { 0x01 | 0x02 };

	if (len <= V2_HEAD)
		return len;
	if (subject.len > PROXY_SUBJECT_MAX)
		subject.len = 0;
	if (subject.len) {
		tlv_head(header + len, TLV_SSL, SSL_HEAD + 3 + subject.len);
		memcpy(header + len + 3, ssl, SSL_HEAD);
		tlv_head(header + len + 3 + SSL_HEAD, TLV_SSL_CN, subject.len);
		memcpy(header + len + 6 + SSL_HEAD, subject.at, subject.len);
		len += 6 + SSL_HEAD + subject.len;
	}
	tlv_head(header + len, TLV_PROOF, PROOF_LEN - 3);
	proof_number(header + len + 3, wall_ms);
	len += PROOF_LEN;
	header[14] = (uint8_t)((len - V2_HEAD) >> 8);
	header[15] = (uint8_t)(len - V2_HEAD);
	proof_number(header + len - 8, hash_64(key, header, len - 8));
	return len;
}

/* The common name in a TLV of TLS: sub-TLVs behind five bytes. */
static void
proof_subject(struct sy_span ssl, char out[static PROXY_SUBJECT_MAX + 1])
{
	for (size_t at = SSL_HEAD; at + 3 <= ssl.len;) {
		size_t len = (size_t)ssl.at[at + 1] << 8 | ssl.at[at + 2];

		if (len > ssl.len - at - 3)
			return;
		if (ssl.at[at] == TLV_SSL_CN && len <= PROXY_SUBJECT_MAX &&
		    !memchr(ssl.at + at + 3, 0, len)) {
			memcpy(out, ssl.at + at + 3, len);
			out[len] = '\0';
			return;
		}
		at += 3 + len;
	}
}

bool
proxy_header_proved(struct sy_span in, const struct proxy_header *header,
                    const struct hash_key *key, uint64_t wall_ms,
                    char subject[static PROXY_SUBJECT_MAX + 1])
{
	const uint8_t *proof;
	uint8_t made[8], differs = 0;
	uint64_t told_ms = 0;

	subject[0] = '\0';
	if (header->local || header->len < PROOF_LEN || header->extras.len < PROOF_LEN)
		return false;
	/* It is the last of them. */
	proof = in.at + header->len - PROOF_LEN;
	if (proof[0] != TLV_PROOF || proof[1] != 0 || proof[2] != PROOF_LEN - 3)
		return false;
	for (unsigned i = 0; i < 8; i++)
		told_ms = told_ms << 8 | proof[3 + i];
	proof_number(made, hash_64(key, in.at, header->len - 8));
	for (unsigned i = 0; i < 8; i++)
		differs |= made[i] ^ proof[11 + i];
	if (differs || told_ms > wall_ms + PROXY_PROOF_MS || wall_ms > told_ms + PROXY_PROOF_MS)
		return false;
	for (size_t at = 0; at + 3 <= header->extras.len;) {
		const uint8_t *tlv = header->extras.at + at;
		size_t len = (size_t)tlv[1] << 8 | tlv[2];

		if (tlv[0] == TLV_SSL)
			proof_subject(sy_span(tlv + 3, len), subject);
		at += 3 + len;
	}
	return true;
}
