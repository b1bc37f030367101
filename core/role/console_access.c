/* See access.h. */
#include "role/access.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool
access_equal(const char *a, const char *b)
{
	size_t len = strlen(a);
	unsigned char differs = 0;

	if (strlen(b) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return differs == 0;
}

void
access_source(const struct request *request, char out[static ADDR_TEXT_SIZE])
{
	if (request->peer->way == PEER_CONTROL)
		snprintf(out, ADDR_TEXT_SIZE, "control socket, pid %d", (int)request->peer->pid);
	else
		addr_ip_text(&request->peer->addr, out);
}

static const char *
access_header(struct request *request, const char *name)
{
	return mhd.lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

bool
access_foreign(struct request *request)
{
	const char *site = access_header(request, "Sec-Fetch-Site");
	const char *origin = access_header(request, "Origin"), *host = access_header(request, "Host");
	const char *at;

	if (request->peer->way == PEER_CONTROL)
		return false;
	if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
		return true;
	if (!origin)
		return false;
	at = strstr(origin, "://");
	return !at || !host || strcasecmp(at + 3, host) != 0;
}

static void
access_is(struct request *request, const struct console_user *user)
{
	request->who.role = user->operate ? ROLE_OPERATE : ROLE_LOOK;
	snprintf(request->who.user, sizeof(request->who.user), "%s", user->name);
}

/* False: there was something to be known by, and it was wrong; answered. */
static bool
access_identify(struct request *request)
{
	const struct config *config = request->console->child->current->config;
	const char *basic = access_header(request, "Authorization");
	const struct console_user *user = NULL;

	if (request->peer->way == PEER_CONTROL) {
		request->who.role = ROLE_OPERATE;
		snprintf(request->who.user, sizeof(request->who.user), "uid %u", request->peer->uid);
		return true;
	}
	if (config->users && request->peer->way == PEER_SERVICE && request->peer->subject[0]) {
		user = users_find(config->users, request->peer->subject);
		if (user && !user->password) {
			access_is(request, user);
			request->who.by_certificate = true;
		}
	}
	if (config->users && basic && request->route->access != ACCESS_OPEN) {
		user = login_basic(request, basic);
		if (!user)
			return false;
		access_is(request, user);
		request->who.by_basic = true;
		return true;
	}
	request->who.session = session_find(request, &user);
	if (request->who.session) {
		access_is(request, user);
		request->who.by_certificate = false;
	}
	if (!request->who.role && request->peer->way == PEER_LOOPBACK &&
	    config->global.console.anonymous.index == CONSOLE_ANONYMOUS_LOOK)
		request->who.role = ROLE_LOOK;
	return true;
}

/* What a browser could be made to do by a page of another site needs something that such a page
 * cannot know or cannot send. */
static bool
access_meant(struct request *request)
{
	const char *token = access_header(request, "X-Steelyard-Token");

	if (access_foreign(request)) {
		request_error(request, 403, "this request comes from another site's page: refused");
		return false;
	}
	if (request->peer->way == PEER_CONTROL || request->who.by_basic)
		return true;
	if (request->who.session ? token && access_equal(request->who.session->token, token) : token != NULL)
		return true;
	request_error(request, 403, request->who.session
	              ? "the X-Steelyard-Token header is missing or not that of this session (GET /v1/session "
	                "tells it)"
	              : "the X-Steelyard-Token header is missing: with a certificate any value will do");
	return false;
}

static void
access_refuse(struct request *request, enum role needed)
{
	bool users = request->console->child->current->config->users != NULL;

	if (request->who.user[0])
		request_error(request, 403, "%s may only look: %s %s needs the role operate",
		              request->who.user, request->route->method, request->route->path);
	else if (users)
		request_error(request, 401, "log in first (POST /v1/login): %s",
		              needed == ROLE_OPERATE ? "this changes things" : "nothing is shown without");
	else if (needed == ROLE_OPERATE)
		request_error(request, 403, "%s %s changes things: it is only answered on the control socket, "
		              "or to users who have logged in (console { users FILE; })",
		              request->route->method, request->route->path);
	else
		request_error(request, 403, "nobody can log in here: the console's block has no users");
}

bool
access_check(struct request *request)
{
	enum role needed = request->route->access == ACCESS_OPERATE ? ROLE_OPERATE
	                 : request->route->access == ACCESS_LOOK ? ROLE_LOOK : ROLE_NONE;

	if (!access_identify(request))
		return false;
	if (request->who.role < needed) {
		access_refuse(request, needed);
		return false;
	}
	if (strcmp(request->route->method, "GET") == 0)
		return true;
	if (needed == ROLE_OPERATE)
		return access_meant(request);
	/* Logging in or out, on behalf of another site's page. */
	if (access_foreign(request)) {
		request_error(request, 403, "this request comes from another site's page: refused");
		return false;
	}
	return true;
}
