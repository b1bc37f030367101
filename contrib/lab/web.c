#define _GNU_SOURCE 1
#include "web.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WEB_SLOTS = 4096 }; /* they grow by so many */

const char web_cookie[] = "MS-WSMAN";

/* ---- sessions ---- */

static void
web_grow(struct web_sessions *web)
{
	struct web_slot *slots =
	    realloc(web->slots, ((size_t)web->count + WEB_SLOTS) * sizeof(*slots));

	if (!slots)
		abort();
	memset(slots + web->count, 0, WEB_SLOTS * sizeof(*slots));
	web->slots = slots;
	web->next = web->count;
	web->count += WEB_SLOTS;
}

void
web_session_begin(struct web_sessions *web, const char *server, char *id, size_t size)
{
	struct web_slot *slot;
	uint32_t at = 0;

	if (!web->birth && RAND_bytes((unsigned char *)&web->birth, sizeof(web->birth)) != 1)
		abort();
	for (at = 0; at < web->count && web->slots[web->next].turn % 2; at++)
		web->next = (web->next + 1) % web->count;
	if (at == web->count)
		web_grow(web);
	slot = &web->slots[web->next];
	slot->turn++;
	slot->asked = 0;
	snprintf(id, size, "%s.%08" PRIx32 ".%" PRIu32 ".%" PRIu32, server, web->birth, web->next,
		 slot->turn);
}

bool
web_session_use(struct web_sessions *web, const char *id, bool end, uint64_t *asked)
{
	uint32_t birth, at, turn;
	const char *dot = strchr(id, '.');

	if (!dot || sscanf(dot, ".%" SCNx32 ".%" SCNu32 ".%" SCNu32, &birth, &at, &turn) != 3 ||
	    birth != web->birth || at >= web->count || turn % 2 == 0 || web->slots[at].turn != turn)
		return false;
	*asked = ++web->slots[at].asked;
	web->slots[at].turn += end;
	return true;
}

void
web_sessions_free(struct web_sessions *web)
{
	free(web->slots);
}

/* ---- the cookie ---- */

static bool
web_cookie_in(const char *text, char *value, size_t size)
{
	for (; *text; text += strcspn(text, ";"), text += *text == ';') {
		text += strspn(text, " ");
		if (strncmp(text, web_cookie, sizeof(web_cookie) - 1) || text[sizeof(web_cookie) - 1] != '=')
			continue;
		text += sizeof(web_cookie);
		http_copy(value, size, text, strcspn(text, "; "));
		return true;
	}
	return false;
}

bool
web_cookie_find(const struct http_message *message, const char *field, char *value, size_t size)
{
	char text[1024];
	bool found = false;
	const char *at;
	size_t len;

	for (int nth = 0; (at = http_field(message, field, nth, &len)); nth++) {
		http_copy(text, sizeof(text), at, len);
		found |= web_cookie_in(text, value, size);
	}
	return found;
}

const char *
web_cookie_wrong(const struct http_message *message)
{
	static const char *const bad[] = {"expires", "max-age", "httponly"};
	char text[1024], value[128];
	const char *at;
	size_t len;

	for (int nth = 0; (at = http_field(message, "Set-Cookie", nth, &len)); nth++) {
		http_copy(text, sizeof(text), at, len);
		if (!web_cookie_in(text, value, sizeof(value)))
			continue;
		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			if (strcasestr(text, bad[i]))
				return "MS-WSMAN is set with an end, or kept from scripts";
	}
	return NULL;
}
