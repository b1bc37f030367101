/*
 * ntlm.h: the three messages of NTLM ([MS-NLMP]), as they go over HTTP in base64 (RFC 4559, [MS-NTHT]):
 * the client's NEGOTIATE, the server's CHALLENGE, the client's AUTHENTICATE. Version 2 only, without
 * session keys and signatures, which HTTP does not use. Names and passwords are ASCII.
 */
#ifndef LAB_NTLM_H
#define LAB_NTLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

enum {
	NTLM_MESSAGE = 1024,                       /* the longest that is made or taken */
	NTLM_TEXT = (NTLM_MESSAGE + 2) / 3 * 4 + 1, /* the same in base64 */
	NTLM_NAME = 48,
	NTLM_NONCE = 8,
};

/* Everybody's password in the lab, and the domain that everybody is in. */
extern const char ntlm_password[], ntlm_domain[];

struct ntlm_message {
	uint8_t bytes[NTLM_MESSAGE];
	size_t len;
};

/* What stands in a header, from and to base64. False: it is none, or too long. */
bool ntlm_decode(struct ntlm_message *message, const char *text, size_t len);
void ntlm_encode(const struct ntlm_message *message, char text[static NTLM_TEXT]);

/* 1, 2 or 3; 0: it is no message of NTLM. */
int ntlm_type(const struct ntlm_message *message);

void ntlm_negotiate(struct ntlm_message *message);

/* computer: the server's name. */
void ntlm_challenge(struct ntlm_message *message, const uint8_t nonce[static NTLM_NONCE],
		    const char *computer);

/* The client's answer to a challenge, with a random number of its own. 0, or -1 and err. */
int ntlm_authenticate(struct ntlm_message *message, const struct ntlm_message *challenge,
		      const char *user, const uint8_t own[static NTLM_NONCE], struct lab_err *err);

/* Who answers the challenge, and whether he knows the password. 0 and user, or -1 and err. */
int ntlm_verify(const struct ntlm_message *message, const uint8_t nonce[static NTLM_NONCE],
		const char *password, char user[static NTLM_NAME], struct lab_err *err);

#endif
