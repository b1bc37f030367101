#include "stun.h"

enum {
	ATTR_MAPPED = 0x0001, ATTR_USERNAME = 0x0006, ATTR_INTEGRITY = 0x0008, ATTR_ERROR = 0x0009,
	ATTR_LIFETIME = 0x000d, ATTR_MS_ALTERNATE = 0x000e, ATTR_MS_DESTINATION = 0x0011,
	ATTR_PEER = 0x0012, ATTR_DATA = 0x0013, ATTR_REALM = 0x0014, ATTR_NONCE = 0x0015,
	ATTR_RELAYED = 0x0016, ATTR_INTEGRITY_256 = 0x001c, ATTR_XOR_MAPPED = 0x0020,
	ATTR_MS_XOR_MAPPED = 0x8020, ATTR_ALTERNATE = 0x8023, ATTR_FINGERPRINT = 0x8028,
	STUN_FINGERPRINT_XOR = 0x5354554e,
};

struct stun_walk {
	struct sy_span in;
	struct stun *out;
	bool sealed;              /* an integrity was there */
	bool last;                /* the fingerprint was there */
};

static bool
stun_is_ms(struct sy_span in)
{
	return in.len >= STUN_HEADER + 8 && stun_32(in.at + STUN_HEADER) == 0x000f0004 &&
	       stun_32(in.at + STUN_HEADER + 4) == STUN_MS_COOKIE;
}

static void
stun_type_rfc(uint16_t type, struct stun *out)
{
	static const uint8_t methods[] = {
		[1] = STUN_BINDING, [3] = STUN_ALLOCATE, [4] = STUN_REFRESH, [6] = STUN_SEND,
		[7] = STUN_DATA, [8] = STUN_PERMISSION, [9] = STUN_CHANNEL_BIND, [10] = STUN_CONNECT,
		[11] = STUN_CONNECTION_BIND, [12] = STUN_CONNECTION_ATTEMPT,
	};
	unsigned method = (type & 0x000fu) | (type & 0x00e0u) >> 1 | (type & 0x3e00u) >> 2;

	out->class = (enum stun_class)((type & 0x0010u) >> 4 | (type & 0x0100u) >> 7);
	if (method < sizeof(methods))
		out->method = (enum stun_method)methods[method];
}

/* The bits of these types are no class and method: Send is 0004, with no answer. */
static void
stun_type_ms(uint16_t type, struct stun *out)
{
	static const struct {
		uint16_t type;
		uint8_t class, method;
	} types[] = {
		{ 0x0003, STUN_REQUEST, STUN_ALLOCATE }, { 0x0103, STUN_SUCCESS, STUN_ALLOCATE },
		{ 0x0113, STUN_ERROR, STUN_ALLOCATE }, { 0x0004, STUN_INDICATION, STUN_SEND },
		{ 0x0115, STUN_INDICATION, STUN_DATA },
		{ 0x0006, STUN_REQUEST, STUN_ACTIVE_DESTINATION },
		{ 0x0106, STUN_SUCCESS, STUN_ACTIVE_DESTINATION },
		{ 0x0116, STUN_ERROR, STUN_ACTIVE_DESTINATION },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].type != type)
			continue;
		out->class = (enum stun_class)types[i].class;
		out->method = (enum stun_method)types[i].method;
	}
}

/* key: what the address is XORed with, 16 bytes; NULL: plain. The port is XORed with the first two. */
static struct sy_addr
stun_address(struct sy_span value, const uint8_t *key)
{
	struct sy_addr addr = { .family = SY_NO_ADDR };
	size_t size;

	if (value.len < 8 || value.at[1] < 1 || value.at[1] > 2)
		return addr;
	size = value.at[1] == 1 ? 4 : 16;
	if (value.len < 4 + size)
		return addr;
	addr.family = size == 4 ? SY_IPV4 : SY_IPV6;
	addr.port = (uint16_t)(stun_16(value.at + 2) ^ (key ? stun_16(key) : 0));
	for (size_t i = 0; i < size; i++)
		addr.ip[i] = value.at[4 + i] ^ (key ? key[i] : 0);
	return addr;
}

static void
stun_error_code(struct sy_span value, struct stun *out)
{
	unsigned hundreds;

	if (value.len < 4)
		return;
	hundreds = value.at[2] & 7u;
	if (hundreds < 3 || hundreds > 6 || value.at[3] > 99)
		return;
	out->error = (uint16_t)(hundreds * 100 + value.at[3]);
	out->reason = sy_span(value.at + 4, value.len - 4);
}

static void
stun_take_rfc(uint16_t type, struct sy_span value, struct stun *out)
{
	switch (type) {
	case ATTR_REALM:
		out->realm = value;
		break;
	case ATTR_NONCE:
		out->nonce = value;
		break;
	case ATTR_MAPPED:
		if (!out->mapped.family)
			out->mapped = stun_address(value, NULL);
		break;
	/* The cookie and the transaction are what addresses are XORed with. */
	case ATTR_XOR_MAPPED:
		out->mapped = stun_address(value, out->tid);
		break;
	case ATTR_RELAYED:
		out->relayed = stun_address(value, out->tid);
		break;
	case ATTR_PEER:
		out->peer = stun_address(value, out->tid);
		break;
	case ATTR_ALTERNATE:
		out->alternate = stun_address(value, NULL);
		break;
	default:
		break;
	}
}

static void
stun_take_ms(uint16_t type, struct sy_span value, struct stun *out)
{
	switch (type) {
	case ATTR_REALM: /* the two are swapped */
		out->nonce = value;
		break;
	case ATTR_NONCE:
		out->realm = value;
		break;
	case ATTR_MAPPED: /* it is the relay's */
		out->relayed = stun_address(value, NULL);
		break;
	case ATTR_MS_XOR_MAPPED:
		out->mapped = stun_address(value, out->tid);
		break;
	case ATTR_PEER:
	case ATTR_MS_DESTINATION:
		out->peer = stun_address(value, NULL);
		break;
	case ATTR_MS_ALTERNATE:
		out->alternate = stun_address(value, NULL);
		break;
	default:
		break;
	}
}

static void
stun_take(uint16_t type, struct sy_span value, struct stun *out)
{
	switch (type) {
	case ATTR_USERNAME:
		out->user = sy_span(value.at, value.len < STUN_USER_MOST ? value.len : STUN_USER_MOST);
		break;
	case ATTR_ERROR:
		stun_error_code(value, out);
		break;
	case ATTR_LIFETIME:
		out->has_lifetime = value.len == 4;
		out->lifetime_s = out->has_lifetime ? stun_32(value.at) : 0;
		break;
	case ATTR_DATA:
		out->data = value;
		out->has_data = true;
		break;
	default:
		if (out->dialect == STUN_RFC)
			stun_take_rfc(type, value, out);
		else
			stun_take_ms(type, value, out);
	}
}

static enum stun_flaw
stun_fingerprint(struct stun_walk *walk, size_t at, struct sy_span value)
{
	struct sy_span before = sy_span(walk->in.at, at);
	uint32_t wanted;

	if (value.len != 4)
		return STUN_ATTRIBUTES;
	wanted = stun_32(value.at) ^ STUN_FINGERPRINT_XOR;
	if (stun_crc(0, before, false) != wanted && stun_crc(0, before, true) != wanted)
		return STUN_FINGERPRINT;
	walk->last = true;
	return STUN_FINE;
}

static enum stun_flaw
stun_attribute(struct stun_walk *walk, size_t at, uint16_t type, struct sy_span value)
{
	if (walk->last)
		return STUN_ORDER;
	if (type == ATTR_FINGERPRINT && walk->out->dialect == STUN_RFC)
		return stun_fingerprint(walk, at, value);
	if (type == ATTR_INTEGRITY || (type == ATTR_INTEGRITY_256 && walk->out->dialect == STUN_RFC)) {
		if (walk->sealed && type == ATTR_INTEGRITY)
			return STUN_ORDER;
		walk->sealed = true;
		walk->out->integrity_at = (uint32_t)at;
		return STUN_FINE;
	}
	/* RFC 8489 14.5: what follows the integrity is not to be believed. Microsoft's messages are read
	 * to the end by their peers. */
	if (walk->sealed && walk->out->dialect == STUN_RFC)
		return STUN_ORDER;
	stun_take(type, value, walk->out);
	return STUN_FINE;
}

static enum stun_flaw
stun_walk(struct sy_span in, struct stun *out, bool padded)
{
	struct stun_walk walk = { .in = in, .out = out };
	size_t at = STUN_HEADER;

	while (at < in.len) {
		enum stun_flaw flaw;
		size_t len, whole;

		if (in.len - at < 4)
			return STUN_ATTRIBUTES;
		len = stun_16(in.at + at + 2);
		whole = padded ? (len + 3) / 4 * 4 : len;
		if (in.len - at - 4 < whole)
			return STUN_ATTRIBUTES;
		flaw = stun_attribute(&walk, at, stun_16(in.at + at), sy_span(in.at + at + 4, len));
		if (flaw != STUN_FINE)
			return flaw;
		at += 4 + whole;
	}
	return STUN_FINE;
}

static void
stun_begin(struct sy_span in, enum stun_dialect dialect, struct stun *out)
{
	*out = (struct stun){ .dialect = dialect, .tid = in.at + 4 };
	if (dialect == STUN_RFC)
		stun_type_rfc(stun_16(in.at), out);
	else
		stun_type_ms(stun_16(in.at), out);
}

bool
stun_head(struct sy_span in, struct stun *out)
{
	bool rfc = stun_32(in.at + 4) == STUN_COOKIE;

	if (in.at[0] > 3 || (!rfc && !stun_is_ms(in)))
		return false;
	stun_begin(in, rfc ? STUN_RFC : STUN_MS, out);
	return true;
}

enum stun_flaw
stun_read(struct sy_span in, struct stun *out)
{
	enum stun_flaw flaw;

	if (in.len < STUN_HEADER)
		return STUN_SHORT;
	if (in.at[0] > 3)
		return STUN_KIND;
	if (in.len != stun_size(in))
		return in.len < stun_size(in) ? STUN_SHORT : STUN_LONG;
	if (stun_32(in.at + 4) == STUN_COOKIE) {
		stun_begin(in, STUN_RFC, out);
		return in.len % 4 ? STUN_ATTRIBUTES : stun_walk(in, out, true);
	}
	if (!stun_is_ms(in))
		return STUN_KIND;
	stun_begin(in, STUN_MS, out);
	flaw = stun_walk(in, out, false);
	if (flaw == STUN_FINE)
		return flaw;
	/* Some peers pad all the same. */
	stun_begin(in, STUN_MS, out);
	return stun_walk(in, out, true);
}
