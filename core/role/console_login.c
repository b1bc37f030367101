/* Names and passwords. Hashing is slow on purpose, and the console does nothing else meanwhile: so
 * who fails often waits before the next try, and all together get a few tries a second. */
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/text.h"
#include "role/access.h"
#include "role/api.h"

/* The slot of one source or name: its own, a stale one, or the oldest of a few. */
static struct login_slot *
login_slot(struct console *console, uint64_t id)
{
	struct access *access = console->access;
	uint64_t now_ms = console->child->now_ms;
	struct login_slot *best = &access->slots[id % LOGIN_SLOTS];

	for (unsigned i = 0; i < 8; i++) {
		struct login_slot *slot = &access->slots[(id + i) % LOGIN_SLOTS];

		if (slot->id == id && now_ms < slot->since_ms + LOGIN_WINDOW_MS)
			return slot;
		if (slot->since_ms < best->since_ms)
			best = slot;
	}
	*best = (struct login_slot){ .id = id, .since_ms = now_ms };
	return best;
}

static struct login_slot *
login_slot_source(struct request *request)
{
	struct sy_addr source = request->peer->addr;

	source = sy_addr_mask(source, source.family == SY_IPV6 ? 64 : 32);
	return login_slot(request->console, hash_64(&request->console->access->key, &source, sizeof(source)));
}

static struct login_slot *
login_slot_user(struct request *request, const char *name)
{
	return login_slot(request->console, hash_64(&request->console->access->key, name, strlen(name)));
}

static bool
login_may_try(struct request *request, const struct login_slot *source, const struct login_slot *user)
{
	struct access *access = request->console->access;
	uint64_t now_ms = request->console->child->now_ms;
	const struct login_slot *full = source->failures >= LOGIN_TRIES_SOURCE ? source
	                              : user->failures >= LOGIN_TRIES_USER ? user : NULL;

	if (full) {
		request->retry_s = (unsigned)((full->since_ms + LOGIN_WINDOW_MS - now_ms) / 1000 + 1);
		request_error(request, 429, "too many failed logins %s: wait %u s",
		              full == source ? "from this address" : "with this name", request->retry_s);
		return false;
	}
	if (now_ms / 1000 != access->second_ms / 1000) {
		access->second_ms = now_ms;
		access->this_second = 0;
	}
	if (++access->this_second > LOGIN_A_SECOND) {
		request->retry_s = 1;
		request_error(request, 429, "too many logins at this moment: try again");
		return false;
	}
	return true;
}

static bool
login_hash_fits(const char *password, const char *wanted)
{
	struct crypt_data *data = must_alloc(sizeof(*data));
	const char *made;
	bool fits;

	memset(data, 0, sizeof(*data));
	made = crypt_rn(password, wanted, data, (int)sizeof(*data));
	fits = made && access_equal(made, wanted);
	explicit_bzero(data, sizeof(*data));
	free(data);
	return fits;
}

/* What is hashed against; when the name is not known the same work is done, so that the time tells
 * nothing. */
static const char *
login_wanted(struct console *console, const struct console_user *user)
{
	struct access *access = console->access;

	if (user && user->password)
		return user->password;
	if (!access->nobody[0] &&
	    !crypt_gensalt_rn("$y$", 0, NULL, 0, access->nobody, (int)sizeof(access->nobody)))
		return "*";
	return access->nobody;
}

const struct console_user *
login_check(struct request *request, const char *name, const char *password)
{
	const struct config *config = request->console->child->current->config;
	const struct console_user *user = config->users ? users_find(config->users, name) : NULL;
	struct login_slot *of_source = login_slot_source(request), *of_user = login_slot_user(request, name);

	if (!config->users) {
		request_error(request, 403, "nobody can log in: the console's block has no users");
		return NULL;
	}
	if (!login_may_try(request, of_source, of_user)) {
		audit_login(request, name, "refused: too many tries", false);
		return NULL;
	}
	if (login_hash_fits(password, login_wanted(request->console, user)) && user && user->password)
		return user;
	of_source->failures++;
	of_user->failures++;
	audit_login(request, name, "refused: wrong name or password", false);
	request_error(request, 401, "wrong name or password");
	return NULL;
}

/* Base 64 in place; -1 when it is none. */
static int
login_decode(const char *from, char *out, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	unsigned n_bits = 0;
	size_t len = 0;

	for (; *from && *from != '='; from++) {
		const char *digit = strchr(digits, *from);

		if (!digit || len + 1 >= size)
			return -1;
		bits = bits << 6 | (uint32_t)(digit - digits);
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			out[len++] = (char)(bits >> n_bits & 255);
		}
	}
	out[len] = '\0';
	return strlen(out) == len ? 0 : -1;
}

const struct console_user *
login_basic(struct request *request, const char *header)
{
	struct console *console = request->console;
	struct access *access = console->access;
	const struct config *config = console->child->current->config;
	char plain[USER_NAME_MAX + LOGIN_PASSWORD + 2], *password;
	const struct console_user *user;
	struct text line = { 0 };
	uint64_t hash;

	if (strncmp(header, "Basic ", 6) != 0 || login_decode(header + 6, plain, sizeof(plain)) != 0 ||
	    !(password = strchr(plain, ':'))) {
		request_error(request, 401, "Authorization: Basic with NAME:PASSWORD is understood, nothing else");
		return NULL;
	}
	*password++ = '\0';
	user = config->users ? users_find(config->users, plain) : NULL;
	text_printf(&line, "%s:%s:%llu", plain, password,
	            (unsigned long long)(user ? session_user_hash(console, user) : 0));
	hash = hash_64(&access->key, line.at, line.len);
	explicit_bzero(line.at, line.len);
	text_free(&line);
	for (unsigned i = 0; i < sizeof(access->basics) / sizeof(*access->basics); i++)
		if (user && access->basics[i].hash == hash && console->child->now_ms < access->basics[i].until_ms)
			return user;
	user = login_check(request, plain, password);
	if (user)
		access->basics[access->next_basic++ % (sizeof(access->basics) / sizeof(*access->basics))] =
			(struct basic){ .hash = hash, .until_ms = console->child->now_ms + BASIC_MS };
	explicit_bzero(plain, sizeof(plain));
	return user;
}

static json_t *
login_json(const struct request *request)
{
	static const char *const roles[] = { "none", "look", "operate" };
	static const char *const ways[] = { "control-socket", "loopback", "service" };
	const struct who *who = &request->who;

	return json_pack("{s:s?, s:s, s:s, s:s, s:b}", "user", who->user[0] ? who->user : NULL,
	                 "role", roles[who->role], "way", ways[request->peer->way],
	                 "token", who->session ? who->session->token : "",
	                 "login", request->console->child->current->config->users != NULL);
}

/* Who one is, and what for: the page asks before it draws. */
void
api_session(struct request *request)
{
	request_json(request, login_json(request));
}

static void
login_cookie(struct request *request, const char *value, unsigned long long seconds)
{
	bool secure = request->peer->way == PEER_SERVICE;

	snprintf(request->cookie, sizeof(request->cookie),
	         "%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%llu%s", session_cookie(request), value,
	         seconds, secure ? "; Secure" : "");
}

void
api_login(struct request *request)
{
	const char *name = json_string_value(json_object_get(request->args, "user"));
	const char *password = json_string_value(json_object_get(request->args, "password"));
	const struct console_user *user;

	if (!name || !password || strlen(name) > USER_NAME_MAX || strlen(password) >= LOGIN_PASSWORD) {
		request_error(request, 400, "say {\"user\": NAME, \"password\": PASSWORD}");
		return;
	}
	user = login_check(request, name, password);
	if (!user)
		return;
	if (request->who.session)
		session_end(request->who.session); /* a key that was known before the login is no key */
	request->who.session = session_new(request->console, user, &request->peer->addr);
	request->who.role = user->operate ? ROLE_OPERATE : ROLE_LOOK;
	snprintf(request->who.user, sizeof(request->who.user), "%s", user->name);
	login_cookie(request, request->who.session->key, SESSION_LONGEST_MS / 1000);
	login_slot_source(request)->failures = 0;
	audit_login(request, user->name, "logged in", true);
	request_json(request, login_json(request));
}

void
api_logout(struct request *request)
{
	if (request->who.session) {
		audit_login(request, request->who.user, "logged out", true);
		session_end(request->who.session);
		request->who.session = NULL;
	}
	login_cookie(request, "", 0);
	request_json(request, json_pack("{s:b, s:s}", "ok", 1, "message", "logged out"));
}
