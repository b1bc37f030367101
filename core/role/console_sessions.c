/* Sessions: in the console's memory, lost with it. */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/must.h"
#include "role/access.h"

static void
session_secret(char out[static SESSION_KEY + 1])
{
	uint8_t bytes[SESSION_KEY / 2];

	must(getrandom(bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes));
	for (unsigned i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

struct access *
access_new(void)
{
	struct access *access = must_alloc(sizeof(*access));

	memset(access, 0, sizeof(*access));
	must(getrandom(&access->key, sizeof(access->key), 0) == (ssize_t)sizeof(access->key));
	return access;
}

uint64_t
session_user_hash(struct console *console, const struct console_user *user)
{
	struct text line = { 0 };
	uint64_t hash;

	text_printf(&line, "%s:%s:%d", user->name, user->password ? user->password : "", user->operate);
	hash = hash_64(&console->access->key, line.at, line.len);
	text_free(&line);
	return hash;
}

void
session_end(struct session *session)
{
	explicit_bzero(session, sizeof(*session));
}

/* A place that is free, or the one that was not used for the longest time. */
struct session *
session_new(struct console *console, const struct console_user *user, const struct sy_addr *source)
{
	struct access *access = console->access;
	struct session *session = &access->sessions[0];

	for (unsigned i = 0; i < SESSIONS_MOST && session->key[0]; i++)
		if (!access->sessions[i].key[0] || access->sessions[i].used_ms < session->used_ms)
			session = &access->sessions[i];
	session_end(session);
	session_secret(session->key);
	session_secret(session->token);
	snprintf(session->user, sizeof(session->user), "%s", user->name);
	session->was = session_user_hash(console, user);
	session->began_ms = session->used_ms = console->child->now_ms;
	session->source = *source;
	return session;
}

/* A browser keeps the second kind from everything that is not TLS and this very host. */
const char *
session_cookie(const struct request *request)
{
	return request->peer->way == PEER_SERVICE ? "__Host-steelyard" : "steelyard";
}

static const struct console_user *
session_user(struct console *console, const struct session *session)
{
	const struct config *config = console->child->current->config;
	uint64_t now_ms = console->child->now_ms;
	const struct console_user *user;

	if (now_ms > session->used_ms + config->global.console.session_timeout.ms ||
	    now_ms > session->began_ms + SESSION_LONGEST_MS || !config->users)
		return NULL;
	user = users_find(config->users, session->user);
	return user && session_user_hash(console, user) == session->was ? user : NULL;
}

struct session *
session_find(struct request *request, const struct console_user **user)
{
	struct access *access = request->console->access;
	const char *key = mhd.lookup_connection_value(request->connection, MHD_COOKIE_KIND,
	                                              session_cookie(request));

	if (!key || strlen(key) != SESSION_KEY)
		return NULL;
	for (unsigned i = 0; i < SESSIONS_MOST; i++) {
		struct session *session = &access->sessions[i];

		if (!session->key[0] || !access_equal(session->key, key))
			continue;
		*user = session_user(request->console, session);
		if (!*user) {
			session_end(session);
			return NULL;
		}
		session->used_ms = request->console->child->now_ms;
		return session;
	}
	return NULL;
}

void
sessions_look(struct console *console)
{
	for (unsigned i = 0; i < SESSIONS_MOST; i++) {
		struct session *session = &console->access->sessions[i];

		if (session->key[0] && !session_user(console, session))
			session_end(session);
	}
}
