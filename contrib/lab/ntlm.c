#include "ntlm.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "md4.h"

const char ntlm_password[] = "lab-password", ntlm_domain[] = "LAB";

enum {
	/* [MS-NLMP] 2.2.2.5 */
	NTLM_UNICODE = 0x1,
	NTLM_REQUEST_TARGET = 0x4,
	NTLM_NTLM = 0x200,
	NTLM_ALWAYS_SIGN = 0x8000,
	NTLM_TARGET_DOMAIN = 0x10000,
	NTLM_EXTENDED = 0x80000,
	NTLM_TARGET_INFO = 0x800000,
	/* 2.2.2.1 */
	NTLM_AV_END = 0,
	NTLM_AV_COMPUTER = 1,
	NTLM_AV_DOMAIN = 2,
	/* where payload begins, and fields */
	NTLM_CHALLENGE_HEAD = 56,
	NTLM_AUTHENTICATE_HEAD = 64,
	NTLM_PROOF = 16,
	NTLM_BLOB_HEAD = 28, /* of what follows the proof, up to the target information */
};

static const char ntlm_signature[8] = "NTLMSSP";

/* ---- bytes ---- */

static unsigned
ntlm_get(const struct ntlm_message *message, size_t at, unsigned bytes)
{
	unsigned n = 0;

	for (unsigned i = 0; i < bytes && at + i < message->len; i++)
		n |= (unsigned)message->bytes[at + i] << 8 * i;
	return n;
}

static void
ntlm_put(struct ntlm_message *message, size_t at, unsigned bytes, unsigned n)
{
	for (unsigned i = 0; i < bytes; i++)
		message->bytes[at + i] = (uint8_t)(n >> 8 * i);
}

/* Writes a field (length, room, offset) at `at` for the bytes that were added from `from` on. */
static void
ntlm_field(struct ntlm_message *message, size_t at, size_t from)
{
	unsigned len = (unsigned)(message->len - from);

	ntlm_put(message, at, 2, len);
	ntlm_put(message, at + 2, 2, len);
	ntlm_put(message, at + 4, 4, (unsigned)from);
}

/* What a field points to, and its length; NULL: it points beyond the message. */
static const uint8_t *
ntlm_part(const struct ntlm_message *message, size_t at, size_t *len)
{
	size_t offset = ntlm_get(message, at + 4, 4);

	*len = ntlm_get(message, at, 2);
	return offset <= message->len && *len <= message->len - offset ? message->bytes + offset : NULL;
}

static void
ntlm_add(struct ntlm_message *message, const void *bytes, size_t len)
{
	if (len > NTLM_MESSAGE - message->len)
		len = NTLM_MESSAGE - message->len;
	memcpy(message->bytes + message->len, bytes, len);
	message->len += len;
}

/* UTF-16 of ASCII; returns its length. */
static size_t
ntlm_wide(uint8_t *out, size_t size, const char *text, bool upper)
{
	size_t len = 0;

	for (; *text && len + 2 <= size; text++) {
		out[len++] = (uint8_t)(upper ? toupper((unsigned char)*text) : *text);
		out[len++] = 0;
	}
	return len;
}

static void
ntlm_add_wide(struct ntlm_message *message, const char *text)
{
	message->len += ntlm_wide(message->bytes + message->len, NTLM_MESSAGE - message->len, text, false);
}

/* The text of a field; false: it is too long, or no ASCII. */
static bool
ntlm_narrow(const struct ntlm_message *message, size_t at, char text[static NTLM_NAME])
{
	size_t len;
	const uint8_t *wide = ntlm_part(message, at, &len);

	if (!wide || len % 2 || len / 2 >= NTLM_NAME)
		return false;
	for (size_t i = 0; i < len; i += 2) {
		if (wide[i + 1] || wide[i] <= ' ' || wide[i] > '~')
			return false;
		text[i / 2] = (char)wide[i];
	}
	text[len / 2] = 0;
	return true;
}

static void
ntlm_begin(struct ntlm_message *message, unsigned type, size_t head)
{
	memset(message, 0, sizeof(*message));
	memcpy(message->bytes, ntlm_signature, sizeof(ntlm_signature));
	message->len = head;
	ntlm_put(message, 8, 4, type);
}

bool
ntlm_decode(struct ntlm_message *message, const char *text, size_t len)
{
	uint8_t bytes[NTLM_TEXT];
	int got;

	while (len && text[len - 1] == ' ')
		len--;
	if (!len || len >= NTLM_TEXT || len % 4)
		return false;
	got = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
	if (got < 0)
		return false;
	for (size_t i = len; i && text[i - 1] == '=' && got; i--)
		got--;
	message->len = 0;
	ntlm_add(message, bytes, (size_t)got);
	return message->len == (size_t)got;
}

void
ntlm_encode(const struct ntlm_message *message, char text[static NTLM_TEXT])
{
	EVP_EncodeBlock((unsigned char *)text, message->bytes, (int)message->len);
}

int
ntlm_type(const struct ntlm_message *message)
{
	unsigned type = ntlm_get(message, 8, 4);

	if (message->len < 12 || memcmp(message->bytes, ntlm_signature, sizeof(ntlm_signature)))
		return 0;
	return type >= 1 && type <= 3 ? (int)type : 0;
}

/* ---- the three messages: 2.2.1 ---- */

void
ntlm_negotiate(struct ntlm_message *message)
{
	ntlm_begin(message, 1, 32);
	ntlm_put(message, 12, 4,
		 NTLM_UNICODE | NTLM_REQUEST_TARGET | NTLM_NTLM | NTLM_ALWAYS_SIGN | NTLM_EXTENDED);
}

static void
ntlm_add_pair(struct ntlm_message *message, unsigned what, const char *text)
{
	uint8_t wide[2 * NTLM_NAME];
	size_t len = ntlm_wide(wide, sizeof(wide), text, true);

	ntlm_put(message, message->len, 2, what);
	ntlm_put(message, message->len + 2, 2, (unsigned)len);
	message->len += 4;
	ntlm_add(message, wide, len);
}

void
ntlm_challenge(struct ntlm_message *message, const uint8_t nonce[static NTLM_NONCE],
	       const char *computer)
{
	size_t from;

	ntlm_begin(message, 2, NTLM_CHALLENGE_HEAD);
	ntlm_put(message, 20, 4,
		 NTLM_UNICODE | NTLM_REQUEST_TARGET | NTLM_NTLM | NTLM_ALWAYS_SIGN |
		     NTLM_TARGET_DOMAIN | NTLM_EXTENDED | NTLM_TARGET_INFO);
	memcpy(message->bytes + 24, nonce, NTLM_NONCE);
	from = message->len;
	ntlm_add_wide(message, ntlm_domain);
	ntlm_field(message, 12, from);
	from = message->len;
	ntlm_add_pair(message, NTLM_AV_DOMAIN, ntlm_domain);
	ntlm_add_pair(message, NTLM_AV_COMPUTER, computer);
	ntlm_add_pair(message, NTLM_AV_END, "");
	ntlm_field(message, 40, from);
}

static void
ntlm_hmac(const uint8_t key[static 16], const void *bytes, size_t len, uint8_t out[static 16])
{
	unsigned out_len = 16;

	if (!HMAC(EVP_md5(), key, 16, bytes, len, out, &out_len))
		memset(out, 0, 16);
}

/* 3.3.2: the key that a password gives somebody, and with it the proof that he knows it. */
static void
ntlm_prove(const char *user, const char *domain, const char *password,
	   const uint8_t nonce[static NTLM_NONCE], const uint8_t *blob, size_t blob_len,
	   uint8_t proof[static NTLM_PROOF])
{
	uint8_t wide[4 * NTLM_NAME], hash[16], key[16], both[NTLM_NONCE + NTLM_MESSAGE];
	size_t len = ntlm_wide(wide, sizeof(wide), password, false);

	md4(wide, len, hash);
	len = ntlm_wide(wide, sizeof(wide) / 2, user, true);
	len += ntlm_wide(wide + len, sizeof(wide) - len, domain, false);
	ntlm_hmac(hash, wide, len, key);
	memcpy(both, nonce, NTLM_NONCE);
	memcpy(both + NTLM_NONCE, blob, blob_len);
	ntlm_hmac(key, both, NTLM_NONCE + blob_len, proof);
}

int
ntlm_authenticate(struct ntlm_message *message, const struct ntlm_message *challenge,
		  const char *user, const uint8_t own[static NTLM_NONCE], struct lab_err *err)
{
	uint8_t blob[NTLM_MESSAGE] = {1, 1}, proof[NTLM_PROOF];
	size_t info_len, from, blob_len;
	const uint8_t *info = ntlm_part(challenge, 40, &info_len);

	if (ntlm_type(challenge) != 2 || challenge->len < NTLM_CHALLENGE_HEAD || !info || !info_len ||
	    info_len > NTLM_MESSAGE / 2)
		return err_set(err, "the server's challenge of NTLM is not understood");
	memcpy(blob + 16, own, NTLM_NONCE);
	memcpy(blob + NTLM_BLOB_HEAD, info, info_len);
	blob_len = NTLM_BLOB_HEAD + info_len + 4;
	ntlm_prove(user, ntlm_domain, ntlm_password, challenge->bytes + 24, blob, blob_len, proof);
	ntlm_begin(message, 3, NTLM_AUTHENTICATE_HEAD);
	ntlm_put(message, 60, 4, ntlm_get(challenge, 20, 4));
	from = message->len;
	ntlm_add_wide(message, ntlm_domain);
	ntlm_field(message, 28, from);
	from = message->len;
	ntlm_add_wide(message, user);
	ntlm_field(message, 36, from);
	ntlm_field(message, 12, message->len); /* no answer in the manner of LAN Manager */
	ntlm_field(message, 44, message->len);
	ntlm_field(message, 52, message->len);
	from = message->len;
	ntlm_add(message, proof, sizeof(proof));
	ntlm_add(message, blob, blob_len);
	ntlm_field(message, 20, from);
	return 0;
}

int
ntlm_verify(const struct ntlm_message *message, const uint8_t nonce[static NTLM_NONCE],
	    const char *password, char user[static NTLM_NAME], struct lab_err *err)
{
	char domain[NTLM_NAME];
	uint8_t proof[NTLM_PROOF];
	size_t len;
	const uint8_t *answer = ntlm_part(message, 20, &len);

	if (ntlm_type(message) != 3 || message->len < NTLM_AUTHENTICATE_HEAD || !answer)
		return err_set(err, "that is no answer to a challenge");
	if (len < NTLM_PROOF + NTLM_BLOB_HEAD || answer[NTLM_PROOF] != 1)
		return err_set(err, "the answer is not of NTLM version 2");
	if (!ntlm_narrow(message, 36, user) || !ntlm_narrow(message, 28, domain) || !*user)
		return err_set(err, "the user's name or domain is missing, too long, or no ASCII");
	ntlm_prove(user, domain, password, nonce, answer + NTLM_PROOF, len - NTLM_PROOF, proof);
	if (CRYPTO_memcmp(proof, answer, NTLM_PROOF))
		return err_set(err, "%s does not prove that he knows the password", user);
	return 0;
}
