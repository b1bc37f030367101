#define _GNU_SOURCE 1
#include "meeting.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

const char meeting_host[] = "meet.lab.test", meeting_page[] = "/meet/standup";

enum { MEETING_PROOF = 16 };

static void
meeting_prove(const char *text, size_t len, char proof[static 2 * MEETING_PROOF + 1])
{
	static const char secret[] = "what all servers of the lab know";
	uint8_t mac[EVP_MAX_MD_SIZE] = {0};
	unsigned mac_len = sizeof(mac);

	HMAC(EVP_sha256(), secret, (int)sizeof(secret) - 1, (const uint8_t *)text, len, mac, &mac_len);
	for (int i = 0; i < MEETING_PROOF; i++)
		snprintf(proof + 2 * i, 3, "%02x", mac[i]);
}

const char *
meeting_token(const char *meeting, const char *user, char token[static MEETING_TOKEN])
{
	char proof[2 * MEETING_PROOF + 1];
	int len = snprintf(token, MEETING_TOKEN - sizeof(proof), "%.60s/%.60s", meeting, user);

	meeting_prove(token, (size_t)len, proof);
	token[len] = '/';
	strcpy(token + len + 1, proof);
	return token;
}

bool
meeting_admits(const char *token, size_t len)
{
	char proof[2 * MEETING_PROOF + 1];

	if (len <= sizeof(proof))
		return false;
	meeting_prove(token, len - sizeof(proof), proof);
	return token[len - sizeof(proof)] == '/' &&
	       !memcmp(token + len - sizeof(proof) + 1, proof, sizeof(proof) - 1);
}

int
meeting_read(struct meeting_frame *frame, const char *bytes, size_t len)
{
	const uint8_t *at = (const uint8_t *)bytes;
	size_t size;

	if (len < MEETING_FRAME)
		return 0;
	size = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
	if (!size || size > MEETING_MOST || at[4] < MEETING_JOIN || at[4] > MEETING_BYE)
		return -1;
	*frame = (struct meeting_frame){
	    .kind = at[4], .bytes = bytes + MEETING_FRAME, .len = size - 1};
	return len >= MEETING_FRAME + frame->len;
}

void
meeting_begin(struct lab_buf *buf, enum meeting_kind kind, size_t len)
{
	uint8_t head[MEETING_FRAME] = {(uint8_t)((len + 1) >> 24), (uint8_t)((len + 1) >> 16),
				       (uint8_t)((len + 1) >> 8), (uint8_t)(len + 1), (uint8_t)kind};

	buf_add(buf, head, sizeof(head));
}

void
meeting_say(struct lab_buf *buf, enum meeting_kind kind, const void *bytes, size_t len)
{
	meeting_begin(buf, kind, len);
	buf_add(buf, bytes, len);
}
