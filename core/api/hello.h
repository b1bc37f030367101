/* Reads the ClientHello that a TLS connection begins with, without answering it: for protocols that
 * route TLS which they do not terminate.
 *
 *	struct sy_hello hello = { 0 };            (kept with the session)
 *	switch (sy_hello_read(in, &hello)) {      (in: all that the client has said)
 *	case SY_HELLO_MORE: return NEED; ...
 *
 * It may be called for each segment with the same bytes and more: what was counted stays counted in
 * the struct, and the hello is parsed once, when all of it is there. It may be spread over records
 * of any size: a reader that sees only the first one can be fooled. What is read is what a server
 * reads: where RFC 8446 4.1.2, 4.2, 5.1, RFC 6066 3 and RFC 7301 3.1 leave no choice, there is
 * none, so that nobody is routed by a name that the server takes for another. What a server may
 * ignore (unknown extensions, GREASE of RFC 8701) is ignored. */
#ifndef SY_API_HELLO_H
#define SY_API_HELLO_H

#include <stdbool.h>

#include "api/span.h"

enum sy_hello_result {
	SY_HELLO_MORE,      /* as far as it goes it is a hello */
	SY_HELLO_DONE,
	SY_HELLO_NOT_TLS,   /* said by the first five bytes at the latest */
	SY_HELLO_BAD,       /* why */
};

/* Bytes of the connection within which the hello must end: what sy_protocol.window should be. */
#define SY_HELLO_WINDOW 16384

struct sy_hello {
	const char *why;         /* BAD: words for the operator, a constant string */
	uint16_t sni_len;        /* 0: the client names no server */
	uint16_t alpn_len;       /* 0: the client names no protocol */
	uint16_t legacy_version; /* 0x0303: TLS 1.2 */
	uint16_t version;        /* the highest that the client speaks, wherever it says so */
	uint16_t ciphers;        /* how many suites it offers */
	bool resumes;            /* it offers a ticket, or a key shared before */
	bool encrypted;          /* it has an encrypted hello inside (ECH): sni is the outer name */
	/* How far the records have been counted. */
	uint16_t at;             /* where the record begins that is not complete */
	uint16_t got;            /* bytes of the message in those before */
	uint16_t need;           /* bytes of the whole message; 0: not known */
	char sni[256];           /* in lower case, without a dot at the end; NUL-terminated */
	uint8_t alpn[256];       /* as on the wire: a byte of length, the name, and so on */
};

/* The message has `left` bytes before it; a vector ends where `left` is `end`. */
struct sy_hello_reader {
	struct sy_span in;
	size_t at, record;       /* the next byte, and how many its record still has */
	size_t left;
	uint32_t seen;           /* extensions, by a bit each */
	const char *why;         /* the first thing that was wrong */
};

static inline size_t
sy_hello_wrong(struct sy_hello_reader *reader, const char *why)
{
	if (!reader->why)
		reader->why = why;
	return 0;
}

/* Moves on to the next record when one is used up. False: there is nothing more. */
static inline bool
sy_hello_ahead(struct sy_hello_reader *reader, size_t end)
{
	if (reader->left > end && reader->record == 0 && reader->in.len - reader->at > 5) {
		const uint8_t *head = reader->in.at + reader->at;

		reader->record = (size_t)head[3] << 8 | head[4];
		reader->at += 5;
	}
	if (reader->left > end && reader->record > 0 && reader->at < reader->in.len)
		return true;
	sy_hello_wrong(reader, "a length in the ClientHello exceeds what it is a part of");
	return false;
}

/* A number of `width` bytes that must lie before `end`. */
static inline size_t
sy_hello_number(struct sy_hello_reader *reader, unsigned width, size_t end)
{
	size_t number = 0;

	for (; width > 0; width--) {
		if (!sy_hello_ahead(reader, end))
			return 0;
		number = number << 8 | reader->in.at[reader->at++];
		reader->record--;
		reader->left--;
	}
	return number;
}

/* A vector whose length has `width` bytes begins. Gives its end, which lies before `end`. */
static inline size_t
sy_hello_vector(struct sy_hello_reader *reader, unsigned width, size_t end)
{
	size_t len = sy_hello_number(reader, width, end);

	if (len <= reader->left - end)
		return reader->left - len;
	sy_hello_wrong(reader, "a length in the ClientHello exceeds what it is a part of");
	return reader->left;
}

static inline void
sy_hello_skip(struct sy_hello_reader *reader, size_t end)
{
	while (reader->left > end && sy_hello_ahead(reader, end)) {
		size_t n = reader->left - end;

		if (n > reader->record)
			n = reader->record;
		if (n > reader->in.len - reader->at)
			n = reader->in.len - reader->at;
		reader->at += n;
		reader->record -= n;
		reader->left -= n;
	}
}

/* A list with one name, of the one kind there is: all that servers take. */
static inline void
sy_hello_sni(struct sy_hello_reader *reader, struct sy_hello *out, size_t end)
{
	size_t list = sy_hello_vector(reader, 2, end);
	size_t type = sy_hello_number(reader, 1, list);
	size_t name = sy_hello_vector(reader, 2, list);
	size_t len = reader->left - name;

	if (list != end || name != list || type != 0 || len == 0) {
		sy_hello_wrong(reader, "the server name extension does not hold just one name");
		return;
	}
	if (len >= sizeof(out->sni)) {
		sy_hello_wrong(reader, "the server name is longer than 255 bytes");
		return;
	}
	while (reader->left > name && !reader->why) {
		char c = (char)sy_hello_number(reader, 1, name);

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		/* Colons: some clients put an address here, against RFC 6066. */
		if ((c < 'a' || c > 'z') && (c < '0' || c > ':') && c != '-' && c != '.' &&
		    c != '_')
			sy_hello_wrong(reader, "the server name has bytes that no host name has");
		out->sni[out->sni_len++] = c;
	}
	if (out->sni_len > 1 && out->sni[out->sni_len - 1] == '.')
		out->sni_len--;
	out->sni[out->sni_len] = '\0';
}

static inline bool
sy_hello_grease(const uint8_t *name)
{
	return name[0] == name[1] && (name[0] & 0x0f) == 0x0a;
}

static inline void
sy_hello_alpn(struct sy_hello_reader *reader, struct sy_hello *out, size_t end)
{
	size_t list = sy_hello_vector(reader, 2, end);

	if (list != end || reader->left == list)
		sy_hello_wrong(reader, "the ALPN extension holds no list of names");
	while (reader->left > list && !reader->why) {
		size_t name = sy_hello_vector(reader, 1, list);
		size_t len = reader->left - name, from = out->alpn_len;

		if (len == 0) {
			sy_hello_wrong(reader, "the ALPN extension holds an empty name");
			return;
		}
		if (from + 1 + len > sizeof(out->alpn)) {
			sy_hello_wrong(reader, "the names in the ALPN extension exceed 256 bytes");
			return;
		}
		out->alpn[out->alpn_len++] = (uint8_t)len;
		while (reader->left > name && !reader->why)
			out->alpn[out->alpn_len++] = (uint8_t)sy_hello_number(reader, 1, name);
		if (len == 2 && sy_hello_grease(out->alpn + from + 1))
			out->alpn_len = (uint16_t)from;
	}
}

static inline void
sy_hello_versions(struct sy_hello_reader *reader, struct sy_hello *out, size_t end)
{
	size_t list = sy_hello_vector(reader, 1, end), highest = 0;

	if (list != end || reader->left == list)
		sy_hello_wrong(reader, "the supported versions are no list of versions");
	while (reader->left > list && !reader->why) {
		size_t version = sy_hello_number(reader, 2, list);

		/* Others are GREASE, and drafts. */
		if (version >> 8 == 3 && version > highest)
			highest = version;
	}
	if (highest)
		out->version = (uint16_t)highest;
}

/* None of those that are read may be given twice: which one would the server take? */
static inline void
sy_hello_extension(struct sy_hello_reader *reader, struct sy_hello *out)
{
	size_t type = sy_hello_number(reader, 2, 0);
	size_t end = sy_hello_vector(reader, 2, 0);
	uint32_t bit = type < 32 ? UINT32_C(1) << type : 0;

	switch (type) {
	case 0:
		if (!(reader->seen & bit))
			sy_hello_sni(reader, out, end);
		break;
	case 16:
		if (!(reader->seen & bit))
			sy_hello_alpn(reader, out, end);
		break;
	case 35: /* session_ticket; empty: the client wants one */
		out->resumes |= reader->left > end;
		break;
	case 41: /* pre_shared_key */
		out->resumes = true;
		break;
	case 43:
		bit = UINT32_C(1) << 31;
		if (!(reader->seen & bit))
			sy_hello_versions(reader, out, end);
		break;
	case 0xfe0d:
		out->encrypted = true;
		break;
	}
	if (reader->seen & bit)
		sy_hello_wrong(reader, "the ClientHello has an extension twice");
	reader->seen |= bit;
	sy_hello_skip(reader, end);
}

static inline void
sy_hello_body(struct sy_hello_reader *reader, struct sy_hello *out)
{
	size_t end, len;

	sy_hello_number(reader, 4, 0);
	out->legacy_version = out->version = (uint16_t)sy_hello_number(reader, 2, 0);
	if (out->legacy_version >> 8 != 3)
		sy_hello_wrong(reader, "the ClientHello has no version of TLS");
	if (reader->left < 32)
		sy_hello_wrong(reader, "the ClientHello is cut off");
	if (reader->why)
		return;
	sy_hello_skip(reader, reader->left - 32);
	end = sy_hello_vector(reader, 1, 0);
	if (reader->left - end > 32)
		sy_hello_wrong(reader, "the session id is longer than 32 bytes");
	sy_hello_skip(reader, end);
	end = sy_hello_vector(reader, 2, 0);
	len = reader->left - end;
	if (len == 0 || len % 2 != 0)
		sy_hello_wrong(reader, "the list of cipher suites is empty or cut off");
	out->ciphers = (uint16_t)(len / 2);
	sy_hello_skip(reader, end);
	end = sy_hello_vector(reader, 1, 0);
	if (reader->left == end)
		sy_hello_wrong(reader, "the list of compression methods is empty");
	sy_hello_skip(reader, end);
	if (reader->left == 0 || reader->why)
		return;
	if (sy_hello_vector(reader, 2, 0) != 0)
		sy_hello_wrong(reader, "the ClientHello has something behind its extensions");
	while (reader->left > 0 && !reader->why)
		sy_hello_extension(reader, out);
}

static inline enum sy_hello_result
sy_hello_bad(struct sy_hello *out, const char *why)
{
	out->why = why;
	return SY_HELLO_BAD;
}

/* Clients of the nineties, and probes: two bytes of length, 1 for ClientHello, a version. */
static inline enum sy_hello_result
sy_hello_old(struct sy_span in, struct sy_hello *out)
{
	if (in.len > 2 && in.at[2] != 1)
		return SY_HELLO_NOT_TLS;
	if (in.len > 3 && in.at[3] != 3 && in.at[3] != 0)
		return SY_HELLO_NOT_TLS;
	if (in.len < 5)
		return SY_HELLO_MORE;
	if (in.at[3] == 0 && in.at[4] != 2)
		return SY_HELLO_NOT_TLS;
	return sy_hello_bad(out, "a hello of SSL 2: the client must be set to use TLS only");
}

/* The message's own head, from records that have so much of it. */
static inline const char *
sy_hello_head(struct sy_span in, struct sy_hello *out)
{
	struct sy_hello_reader reader = { .in = in, .left = 4 };
	size_t type = sy_hello_number(&reader, 1, 0), len = sy_hello_number(&reader, 3, 0);

	if (type != 1)
		return "the TLS handshake does not begin with a ClientHello";
	if (len > SY_HELLO_WINDOW - 9)
		return "the ClientHello is larger than 16 KiB";
	out->need = (uint16_t)(len + 4);
	return reader.why;
}

/* Counts the records. */
static inline enum sy_hello_result
sy_hello_count(struct sy_span in, struct sy_hello *out)
{
	while (in.len - out->at >= 5) {
		const uint8_t *head = in.at + out->at;
		size_t len = (size_t)head[3] << 8 | head[4], there = in.len - out->at - 5;
		size_t got = out->got + (there < len ? there : len);
		const char *why = NULL;

		if (head[0] != 22 || head[1] != 3)
			return sy_hello_bad(out, "another TLS record amid the ClientHello");
		if (len == 0 || len > 16384)
			return sy_hello_bad(out, "a TLS record that is empty or exceeds 16 KiB");
		if (!out->need && got >= 4)
			why = sy_hello_head(in, out);
		if (why)
			return sy_hello_bad(out, why);
		if (out->need && got >= out->need)
			return SY_HELLO_DONE;
		if (there < len)
			break;
		out->at = (uint16_t)(out->at + 5 + len);
		out->got = (uint16_t)got;
	}
	if (in.len >= SY_HELLO_WINDOW)
		return sy_hello_bad(out, "the ClientHello is larger than 16 KiB");
	return SY_HELLO_MORE;
}

/* `out` is zero before the first call; `in` begins with the client's first byte. */
static inline enum sy_hello_result
sy_hello_read(struct sy_span in, struct sy_hello *out)
{
	struct sy_hello_reader reader = { .in = in };
	enum sy_hello_result result;

	if (in.len == 0)
		return SY_HELLO_MORE;
	if (in.at[0] & 0x80)
		return sy_hello_old(in, out);
	if (in.at[0] != 22 || (in.len > 1 && in.at[1] != 3))
		return SY_HELLO_NOT_TLS;
	if (in.len > SY_HELLO_WINDOW)
		in.len = SY_HELLO_WINDOW;
	if (out->at > in.len)
		out->at = out->got = out->need = 0;
	result = sy_hello_count(in, out);
	if (result != SY_HELLO_DONE)
		return result;
	out->sni_len = out->alpn_len = 0;
	out->resumes = out->encrypted = false;
	reader.left = out->need;
	sy_hello_body(&reader, out);
	return reader.why ? sy_hello_bad(out, reader.why) : SY_HELLO_DONE;
}

/* The names of protocols one after the other: `at` begins as 0; len 0: no more. The first one is
 * what the client likes most. */
static inline struct sy_span
sy_hello_protocol(const struct sy_hello *hello, size_t *at)
{
	struct sy_span name = { 0 };

	if (*at < hello->alpn_len) {
		name = sy_span(hello->alpn + *at + 1, hello->alpn[*at]);
		*at += 1 + name.len;
	}
	return name;
}

static inline bool
sy_hello_offers(const struct sy_hello *hello, struct sy_span protocol)
{
	struct sy_span name;
	size_t at = 0;

	while ((name = sy_hello_protocol(hello, &at)).len > 0)
		if (name.len == protocol.len && memcmp(name.at, protocol.at, name.len) == 0)
			return true;
	return false;
}

#endif
