/* Tickets: what a client brings back to be spared the full handshake. All of a session is in it,
 * sealed with the board's keys, so any worker can open it. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "net/tls_own.h"

static int
ticket_mac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
	OSSL_PARAM params[3] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params);
}

static int
ticket_make(struct tls_shared *shared, unsigned char name[16], unsigned char *iv,
            EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct ticket_key *key = &shared->tickets.keys[TICKET_CURRENT];

	memcpy(name, key->name, sizeof(key->name));
	return RAND_bytes(iv, EVP_CIPHER_get_iv_length(shared->cipher)) == 1 &&
	       EVP_EncryptInit_ex2(cipher, shared->cipher, key->aes, iv, NULL) == 1 &&
	       ticket_mac(mac, key) == 1 ? 1 : -1;
}

/* 0: not ours any more, a full handshake then; 1: good; 2: good, but a new one is due. `once`: from
 * TLS 1.3 on clients throw a ticket away when they have used it. */
static int
ticket_open(struct tls_shared *shared, bool once, const unsigned char name[16],
            const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	for (unsigned age = 0; age < TICKET_KEYS; age++) {
		struct ticket_key *key = &shared->tickets.keys[age];

		if (memcmp(name, key->name, sizeof(key->name)) != 0)
			continue;
		if (EVP_DecryptInit_ex2(cipher, shared->cipher, key->aes, iv, NULL) != 1 ||
		    ticket_mac(mac, key) != 1)
			return -1;
		return once || age == TICKET_PREVIOUS ? 2 : 1;
	}
	return 0;
}

static int
ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
           EVP_MAC_CTX *mac, int making)
{
	struct tls_shared *shared = tls_of(ssl)->shared;

	if (!tickets_look(shared->board, &shared->tickets) && shared->tickets.seq & 1)
		return making ? -1 : 0;
	return making ? ticket_make(shared, name, iv, cipher, mac)
	              : ticket_open(shared, SSL_version(ssl) >= TLS1_3_VERSION, name, iv, cipher, mac);
}

void
tls_tickets_use(SSL_CTX *ctx)
{
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
}
