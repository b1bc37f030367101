/* Who may do what at the console.
 *
 * Somebody comes in by one of three ways (struct peer):
 *	the control socket        the file's permissions said yes: may do everything
 *	TCP on loopback           may look, unless `anonymous off`; more after a login
 *	a virtual service with    proved by a PROXY header that only our workers can make; nothing
 *	`send-proxy console`      without a login, or a client certificate that stands in the users file
 *
 * A login makes a session: a random name in a cookie that scripts do not see and other sites cannot
 * send (HttpOnly, SameSite=Strict). What changes things needs the session's second secret, too, in a
 * header of its own (X-Steelyard-Token), so that no page of another site can make a browser do it;
 * and a request that a browser marks as coming from elsewhere is refused before that.
 * Programs may log in with each request (Basic); what was verified is remembered for a while. */
#ifndef ROLE_ACCESS_H
#define ROLE_ACCESS_H

#include "conf/users.h"
#include "role/console.h"

enum {
	SESSIONS_MOST = 256,
	SESSION_KEY = 32,         /* hexadecimal digits: 128 bits */
	SESSION_LONGEST_MS = 12 * 3600 * 1000,
	LOGIN_WINDOW_MS = 300000, /* failures are forgotten after that */
	LOGIN_TRIES_SOURCE = 6,   /* in it, from one address (IPv6: a /64) */
	LOGIN_TRIES_USER = 20,    /* for one name, from everywhere */
	LOGIN_SLOTS = 1024,
	LOGIN_A_SECOND = 10,      /* hashing costs; the console has other things to do */
	LOGIN_PASSWORD = 256,
	BASIC_MS = 60000,         /* a verified password is not hashed again for so long */
};

struct session {
	char key[SESSION_KEY + 1];   /* "": free */
	char token[SESSION_KEY + 1];
	char user[USER_NAME_MAX + 1];
	uint64_t was;             /* hash of the user's line: another one ends the session */
	uint64_t began_ms, used_ms;
	struct sy_addr source;
};

/* One source, or one user name. */
struct login_slot {
	uint64_t id;
	uint64_t since_ms;
	unsigned failures;
};

struct basic {
	uint64_t hash;            /* of name, password and the user's line */
	uint64_t until_ms;
};

struct access {
	struct session sessions[SESSIONS_MOST];
	struct login_slot slots[LOGIN_SLOTS];
	struct basic basics[16];
	unsigned next_basic;
	struct hash_key key;      /* for ids and hashes of this process alone */
	char nobody[64];          /* a salt for names that are not there */
	uint64_t second_ms;
	unsigned this_second;
};

/* console_access.c */
struct access *access_new(void);
/* Fills request->who. False: refused and answered. */
bool access_check(struct request *request);
/* A browser says that another site made it send this. */
bool access_foreign(struct request *request);
/* Equal, in a time that does not tell where they differ. */
bool access_equal(const char *a, const char *b);
void access_source(const struct request *request, char out[static ADDR_TEXT_SIZE]);

/* console_sessions.c */
struct session *session_new(struct console *console, const struct console_user *user,
                            const struct sy_addr *source);
/* The session of the request's cookie, refreshed; NULL: none that holds. */
struct session *session_find(struct request *request, const struct console_user **user);
void session_end(struct session *session);
uint64_t session_user_hash(struct console *console, const struct console_user *user);
const char *session_cookie(const struct request *request);
/* When the configuration changed: those whose user did. */
void sessions_look(struct console *console);

/* console_login.c. NULL, answered, when it is not right or not the time. */
const struct console_user *login_check(struct request *request, const char *name,
                                       const char *password);
/* The same for an Authorization header; remembers. */
const struct console_user *login_basic(struct request *request, const char *header);
void api_login(struct request *request);
void api_logout(struct request *request);
void api_session(struct request *request);

/* console_audit.c: who did what from where, and what came of it: in the log and among the events. */
void audit_request(struct request *request);
void audit_login(struct request *request, const char *user, const char *outcome, bool good);

#endif
