/* Sessions with servers. They belong to the worker and not to a generation, so a reload does not
 * forget them. A table of fixed size: who falls into the place of another takes it over. */
#include <stdlib.h>

#include "base/must.h"
#include "net/tls_own.h"

enum {
	SESSIONS_PLACES = 1024,   /* servers */
	SESSIONS_EACH = 4,        /* tickets of one: each is used once */
};

struct tls_sessions {
	struct place {
		uint64_t key;
		unsigned n;
		SSL_SESSION *at[SESSIONS_EACH]; /* the newest last */
	} places[SESSIONS_PLACES];
};

static struct place *
sessions_place(struct tls_sessions *sessions, uint64_t key)
{
	return &sessions->places[key % SESSIONS_PLACES];
}

static void
sessions_empty(struct place *place)
{
	while (place->n)
		SSL_SESSION_free(place->at[--place->n]);
}

/* One came, with the handshake or after it. Kept: 1. */
static int
sessions_new(SSL *ssl, SSL_SESSION *session)
{
	uint64_t key = (uintptr_t)SSL_get_app_data(ssl);
	struct place *place = sessions_place(tls_of(ssl)->shared->sessions, key);

	if (!SSL_SESSION_is_resumable(session))
		return 0;
	if (place->key != key)
		sessions_empty(place);
	place->key = key;
	if (place->n == SESSIONS_EACH) {
		SSL_SESSION_free(place->at[0]);
		for (unsigned i = 1; i < SESSIONS_EACH; i++)
			place->at[i - 1] = place->at[i];
		place->n--;
	}
	place->at[place->n++] = session;
	return 1;
}

struct tls_sessions *
tls_sessions_new(void)
{
	struct tls_sessions *sessions = calloc(1, sizeof(*sessions));

	must(sessions);
	return sessions;
}

void
tls_sessions_free(struct tls_sessions *sessions)
{
	for (unsigned i = 0; i < SESSIONS_PLACES; i++)
		sessions_empty(&sessions->places[i]);
	free(sessions);
}

void
tls_sessions_use(SSL_CTX *ctx)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, sessions_new);
}

void
tls_sessions_offer(struct tls_sessions *sessions, SSL *ssl, uint64_t key)
{
	struct place *place;
	SSL_SESSION *session;

	/* As much of it as a pointer holds, here and when one comes. */
	key = (uintptr_t)key;
	place = sessions_place(sessions, key);
	SSL_set_app_data(ssl, (void *)(uintptr_t)key);
	if (place->key != key || place->n == 0)
		return;
	session = place->at[place->n - 1];
	SSL_set_session(ssl, session);
	/* From TLS 1.3 on who reuses a ticket can be recognised (RFC 8446, C.4). */
	if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
		place->n--;
		SSL_SESSION_free(session);
	}
}
