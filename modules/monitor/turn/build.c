#include "build.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { BUILD_MAC = 20, BUILD_BLOCK = 64, BUILD_FINGERPRINT_XOR = 0x5354554e };

static void
build_put(struct build *build, const void *bytes, size_t len)
{
	if (len > BUILD_SIZE - build->len) {
		build->full = true;
		return;
	}
	memcpy(build->bytes + build->len, bytes, len);
	build->len += len;
}

static void
build_16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void
build_32(uint8_t *at, uint32_t value)
{
	build_16(at, value >> 16);
	build_16(at + 2, value & 0xffff);
}

void
build_begin(struct build *build, enum stun_dialect dialect, bool framed, uint16_t type,
            const uint8_t tid[static STUN_TID])
{
	static const uint8_t frame[MS_FRAME] = { MS_FRAME_CONTROL, 0, 0, 0 };
	uint8_t head[4] = { (uint8_t)(type >> 8), (uint8_t)type, 0, 0 };

	build->dialect = dialect;
	build->len = 0;
	build->full = false;
	build->before = framed ? MS_FRAME : 0;
	build_put(build, frame, build->before);
	build_put(build, head, sizeof(head));
	build_put(build, tid, STUN_TID);
	if (dialect == STUN_MS)
		build_number(build, 0x000f, STUN_MS_COOKIE);
}

void
build_bytes(struct build *build, uint16_t type, struct sy_span value)
{
	static const uint8_t zero[4];
	uint8_t head[4];

	build_16(head, type);
	build_16(head + 2, value.len);
	build_put(build, head, sizeof(head));
	build_put(build, value.at, value.len);
	if (build->dialect == STUN_RFC)
		build_put(build, zero, (4 - value.len % 4) % 4);
}

void
build_number(struct build *build, uint16_t type, uint32_t value)
{
	uint8_t bytes[4];

	build_32(bytes, value);
	build_bytes(build, type, sy_span(bytes, sizeof(bytes)));
}

void
build_address(struct build *build, uint16_t type, const struct sy_addr *addr)
{
	const uint8_t *key = build->bytes + build->before + 4;
	bool mix = build->dialect == STUN_RFC;
	size_t size = addr->family == SY_IPV4 ? 4 : 16;
	uint8_t value[20] = { 0, addr->family == SY_IPV4 ? 1 : 2 };

	build_16(value + 2, addr->port ^ (mix ? stun_16(key) : 0u));
	for (size_t i = 0; i < size; i++)
		value[4 + i] = addr->ip[i] ^ (mix ? key[i] : 0);
	build_bytes(build, type, sy_span(value, 4 + size));
}

/* Over the `at` bytes before the attribute, with a header that tells of it as the last. */
static bool
build_mac(const uint8_t *message, size_t at, enum stun_dialect dialect, struct sy_span key,
          uint8_t mac[static BUILD_MAC])
{
	uint8_t copy[BUILD_SIZE + BUILD_BLOCK] = { 0 };
	size_t len = dialect == STUN_MS ? (at + BUILD_BLOCK - 1) / BUILD_BLOCK * BUILD_BLOCK : at;
	unsigned mac_len = BUILD_MAC;

	if (at > BUILD_SIZE)
		return false;
	memcpy(copy, message, at);
	build_16(copy + 2, at - STUN_HEADER + 4 + BUILD_MAC);
	return HMAC(EVP_sha1(), key.at, (int)key.len, copy, len, mac, &mac_len) != NULL;
}

void
build_integrity(struct build *build, struct sy_span key)
{
	uint8_t mac[BUILD_MAC];

	if (build->full || !build_mac(build->bytes + build->before, build->len - build->before,
	                              build->dialect, key, mac)) {
		build->full = true;
		return;
	}
	build_bytes(build, 0x0008, sy_span(mac, sizeof(mac)));
}

struct sy_span
build_end(struct build *build)
{
	uint8_t *message = build->bytes + build->before;
	bool print = build->dialect == STUN_RFC;
	size_t len = build->len - build->before;

	build_16(message + 2, len - STUN_HEADER + (print ? 8 : 0));
	if (print)
		build_number(build, 0x8028, stun_crc(0, sy_span(message, len), false) ^
		                            BUILD_FINGERPRINT_XOR);
	if (build->before)
		build_16(build->bytes + 2, len);
	return sy_span(build->bytes, build->full ? 0 : build->len);
}

bool
build_key(struct sy_span user, struct sy_span realm, struct sy_span password,
          uint8_t key[static BUILD_KEY])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool done = md && EVP_DigestInit_ex(md, EVP_md5(), NULL) == 1 &&
	            EVP_DigestUpdate(md, user.at, user.len) == 1 && EVP_DigestUpdate(md, ":", 1) == 1 &&
	            EVP_DigestUpdate(md, realm.at, realm.len) == 1 && EVP_DigestUpdate(md, ":", 1) == 1 &&
	            EVP_DigestUpdate(md, password.at, password.len) == 1 &&
	            EVP_DigestFinal_ex(md, key, NULL) == 1;

	EVP_MD_CTX_free(md);
	return done;
}

bool
build_verify(struct sy_span in, const struct stun *message, struct sy_span key)
{
	uint8_t mac[BUILD_MAC];
	size_t at = message->integrity_at;

	return at && in.len >= at + 4 + BUILD_MAC && stun_16(in.at + at + 2) == BUILD_MAC &&
	       build_mac(in.at, at, message->dialect, key, mac) &&
	       memcmp(mac, in.at + at + 4, sizeof(mac)) == 0;
}
