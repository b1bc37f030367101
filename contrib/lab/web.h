/* web.h: the cookie and the sessions of a Front End's web services. */
#ifndef LAB_WEB_H
#define LAB_WEB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http.h"

/* The name that servers and clients want, and no other. */
extern const char web_cookie[];

struct web_slot {
	uint32_t turn; /* odd while a session has this place */
	uint64_t asked;
};

/* The sessions of one server; they are gone with it. */
struct web_sessions {
	uint32_t birth; /* tells what an earlier process made from what this one made */
	struct web_slot *slots;
	uint32_t count, next;
};

/* Begins a session, whose name is SERVER.BIRTH.PLACE.TURN. */
void web_session_begin(struct web_sessions *web, const char *server, char *id, size_t size);

/* Counts a request of that session and ends it if wanted. False: there is none. */
bool web_session_use(struct web_sessions *web, const char *id, bool end, uint64_t *asked);

void web_sessions_free(struct web_sessions *web);

/* The last value of the cookie in fields of that name ("Cookie" or "Set-Cookie"). False: it is not there. */
bool web_cookie_find(const struct http_message *message, const char *field, char *value, size_t size);

/* What is wrong with the attributes of the cookie where an answer sets it; NULL: nothing. */
const char *web_cookie_wrong(const struct http_message *message);

#endif
