/* Persistence by cookie.
 *
 * insert: the cookie is ours, and names the server by a keyed hash of its name. Nothing is stored: it
 * means the same after a restart, and on another balancer with the same key.
 *
 * learn: the cookie is the servers' own. Its value, as a server sets it, is remembered with the server;
 * only a hash of it is kept, because the value itself is often all that a login needs. */
#include "api/persistence.h"

#include <arpa/inet.h>

#include "api/hash.h"
#include "jar.h"

enum {
	COOKIE_TRIES = 8,         /* cookies of our name that are looked at; a browser sends one or two */
	COOKIE_KEY_LEAST = 16,
	COOKIE_NAME_MOST = 64,
	COOKIE_WORD_MOST = 255,
	COOKIE_HASHED = 17,       /* length of a key that is a hash: 4 and 16 are addresses */
};

enum { MODE_INSERT, MODE_LEARN };
enum { SWITCH_AUTO, SWITCH_ON, SWITCH_OFF };
enum { SAMESITE_OFF, SAMESITE_LAX, SAMESITE_STRICT, SAMESITE_NONE };
enum { SEND_MISSING, SEND_ALWAYS };
enum { FALLBACK_OFF, FALLBACK_SOURCE };

struct cookie_conf {
	struct sy_choice mode;
	const char *name, *path, *domain;
	struct sy_choice secure, httponly, samesite, send;
	struct sy_secret key;
	const char *key_text;
	struct sy_choice fallback;
	uint32_t mask4, mask6;
	struct sy_msec timeout;
	bool refresh;
	struct sy_hash_key hash;  /* made of the key */
};

static const char *const cookie_modes[] = { "insert", "learn", NULL };
static const char *const cookie_switches[] = { "auto", "on", "off", NULL };
static const char *const cookie_samesites[] = { "off", "lax", "strict", "none", NULL };
static const char *const cookie_sends[] = { "missing", "always", NULL };
static const char *const cookie_fallbacks[] = { "off", "source", NULL };

#define COOKIE(field, label, ...) SY_ROW(struct cookie_conf, field, label, __VA_ARGS__)

static const struct sy_row cookie_rows[] = {
	COOKIE(mode, "mode", .words = cookie_modes, .preset = "insert",
	       .doc = "insert: a cookie of ours names the server, and nothing is stored here. learn: the "
	              "cookie that the servers set themselves is remembered with the server that set it."),
	COOKIE(name, "name", .preset = "LBID",
	       .doc = "Name of the cookie. Lync and Skype for Business want MS-WSMAN, and that one is set "
	              "as they demand: readable by scripts, without an end, in every answer to a request "
	              "that came without it."),
	COOKIE(path, "path", .preset = "/", .doc = "Path that browsers send it for; with insert."),
	COOKIE(domain, "domain",
	       .doc = "Domain whose hosts browsers send it to; without it the host that set it only."),
	COOKIE(secure, "secure", .words = cookie_switches, .preset = "auto",
	       .doc = "Whether browsers send it over TLS only; auto: when it was set over TLS."),
	COOKIE(httponly, "httponly", .words = cookie_switches, .preset = "auto",
	       .doc = "Whether it is kept from scripts; auto: yes, unless the name is MS-WSMAN."),
	COOKIE(samesite, "samesite", .words = cookie_samesites, .preset = "off",
	       .doc = "Whether browsers send it with requests that other sites cause. off says nothing, "
	              "which most browsers take for lax; none needs secure."),
	COOKIE(send, "send", .words = cookie_sends, .preset = "missing",
	       .doc = "missing: it is set in each answer whose request did not name the server that "
	              "answers, also on one connection. always: in each answer."),
	COOKIE(key, "key",
	       .doc = "File with the secret, 16 bytes or more, that the cookie's value is made with. "
	              "Balancers with the same one understand each other's cookies."),
	COOKIE(key_text, "key-text",
	       .doc = "The same as a text in the configuration. Without either, who knows a server's name "
	              "can choose that server."),
	COOKIE(fallback, "fallback", .words = cookie_fallbacks, .preset = "off",
	       .doc = "source: clients that show no cookie are remembered by their address."),
	COOKIE(mask4, "mask4", .min = 1, .max = 32, .preset = "32",
	       .doc = "Bits of an IPv4 address that count, with fallback source."),
	COOKIE(mask6, "mask6", .min = 1, .max = 128, .preset = "64",
	       .doc = "Bits of an IPv6 address that count, with fallback source."),
	COOKIE(timeout, "timeout", .min = SY_SECOND, .max = 28 * SY_DAY, .preset = "30m",
	       .doc = "How long what is stored here is remembered: learned cookies, and addresses."),
	COOKIE(refresh, "refresh", .preset = "on", .doc = "Each exchange starts that time anew."),
	SY_ROW_END
};

/* ---- settings ---- */

static bool
cookie_is_wsman(const struct cookie_conf *cookie)
{
	return strcmp(cookie->name, "MS-WSMAN") == 0;
}

/* RFC 6265 4.1.1: a token for the name; no semicolons or control characters elsewhere. */
static int
cookie_check_word(const char *what, const char *word, size_t most, const char *bad, struct sy_err *err)
{
	size_t len = strlen(word);

	if (len == 0 || len > most)
		return sy_fail(err, "%s: between 1 and %zu characters are possible, not %zu", what, most, len);
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)word[i] <= ' ' || (uint8_t)word[i] >= 0x7f || strchr(bad, word[i]))
			return sy_fail(err, "%s \"%.80s\": character %zu cannot stand there", what, word, i + 1);
	return 0;
}

static int
cookie_check_key(struct cookie_conf *cookie, struct sy_err *err)
{
	struct sy_span key = cookie->key_text ? sy_span_text(cookie->key_text) : cookie->key.content;

	if (cookie->key.path && cookie->key_text)
		return sy_fail(err, "key and key-text are both given, and one is enough");
	/* Processes that need no secrets have none. */
	if (key.len && key.len < COOKIE_KEY_LEAST)
		return sy_fail(err, "the key has %zu bytes, and %d are the least: "
		               "openssl rand -hex 32 makes a good one", key.len, COOKIE_KEY_LEAST);
	cookie->hash.k0 = sy_hash(&(struct sy_hash_key){ 1, 0 }, key);
	cookie->hash.k1 = sy_hash(&(struct sy_hash_key){ 2, 0 }, key);
	return 0;
}

static int
cookie_check(void *conf, struct sy_err *err)
{
	struct cookie_conf *cookie = conf;

	if (cookie_check_word("name", cookie->name, COOKIE_NAME_MOST, "()<>@,;:\\\"/[]?={}", err) != 0 ||
	    cookie_check_word("path", cookie->path, COOKIE_WORD_MOST, ";", err) != 0 ||
	    (cookie->domain && cookie_check_word("domain", cookie->domain, COOKIE_WORD_MOST, ";", err) != 0))
		return -1;
	if (cookie->path[0] != '/')
		return sy_fail(err, "path \"%s\" does not begin with /", cookie->path);
	if (cookie_is_wsman(cookie) && cookie->httponly.index == SWITCH_ON)
		return sy_fail(err, "httponly on: clients of Lync read the cookie MS-WSMAN by script");
	if (cookie->samesite.index == SAMESITE_NONE && cookie->secure.index == SWITCH_OFF)
		return sy_fail(err, "samesite none: browsers take that with secure only, and secure is off");
	if (cookie->mode.index == MODE_LEARN && (cookie->key.path || cookie->key_text))
		return sy_fail(err, "a key is for mode insert: with learn the cookie is the servers' own");
	return cookie_check_key(cookie, err);
}

static struct sy_persist_life
cookie_life(const void *conf)
{
	const struct cookie_conf *cookie = conf;

	return (struct sy_persist_life){ .timeout_ms = cookie->timeout.ms, .refresh = cookie->refresh };
}

/* ---- keys for the table ---- */

static void
cookie_hashed(struct sy_span value, struct sy_key *out)
{
	static const struct sy_hash_key keys[2] = { { 3, 0 }, { 4, 0 } };

	out->len = COOKIE_HASHED;
	out->bytes[0] = 0;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t hash = sy_hash(&keys[i], value);

		memcpy(out->bytes + 1 + 8 * i, &hash, 8);
	}
}

static void
cookie_source(const struct cookie_conf *cookie, const struct sy_addr *client, struct sy_key *out)
{
	struct sy_addr net;

	out->len = client->family == SY_IPV4 ? 4 : client->family == SY_IPV6 ? 16 : 0;
	net = sy_addr_mask(*client, out->len == 4 ? cookie->mask4 : cookie->mask6);
	memcpy(out->bytes, net.ip, out->len);
}

static void
cookie_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	const struct cookie_conf *cookie = conf;
	struct jar jar = jar_open(facts->head, cookie->name);
	struct sy_span value;

	out->len = 0;
	while (cookie->mode.index == MODE_LEARN && jar_next(&jar, &value)) {
		if (!value.len)
			continue;
		cookie_hashed(value, out);
		return;
	}
	if (cookie->fallback.index == FALLBACK_SOURCE)
		cookie_source(cookie, &facts->client, out);
}

static void
cookie_learn(const void *conf, struct sy_span said, struct sy_key *out)
{
	const struct cookie_conf *cookie = conf;
	struct sy_span value;

	out->len = 0;
	if (cookie->mode.index == MODE_LEARN && jar_set(said, cookie->name, &value))
		cookie_hashed(value, out);
}

static const char *
cookie_print(const void *conf, const struct sy_key *key, char *out, size_t len)
{
	const struct cookie_conf *cookie = conf;
	bool four = key->len == 4;
	uint32_t bits = four ? cookie->mask4 : cookie->mask6;
	char ip[INET6_ADDRSTRLEN] = "?";
	uint64_t hash;

	if (key->len == COOKIE_HASHED) {
		memcpy(&hash, key->bytes + 1, 8);
		snprintf(out, len, "%s #%016llx", cookie->name, (unsigned long long)hash);
		return out;
	}
	if (four || key->len == 16)
		inet_ntop(four ? AF_INET : AF_INET6, key->bytes, ip, sizeof(ip));
	if (bits == (four ? 32 : 128))
		snprintf(out, len, "%s", ip);
	else
		snprintf(out, len, "%s/%u", ip, bits);
	return out;
}

/* ---- our own cookie ---- */

static uint64_t
cookie_name_hash(const struct cookie_conf *cookie, const struct sy_server *server)
{
	return sy_hash(&cookie->hash, sy_span_text(server->name));
}

/* 16 digits, as mark() writes them. */
static bool
cookie_read(struct sy_span value, uint64_t *out)
{
	uint64_t n = 0;

	if (value.len != 16)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		uint8_t c = value.at[i];

		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
		n = n << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	*out = n;
	return true;
}

static int
cookie_named(const void *conf, const struct sy_facts *facts, const struct sy_server *server, uint32_t n)
{
	const struct cookie_conf *cookie = conf;
	struct jar jar = jar_open(facts->head, cookie->name);
	struct sy_span value;
	uint64_t hash;

	if (cookie->mode.index != MODE_INSERT)
		return -1;
	for (unsigned tries = 0; tries < COOKIE_TRIES && jar_next(&jar, &value); tries++)
		for (uint32_t i = 0; cookie_read(value, &hash) && i < n; i++)
			if (cookie_name_hash(cookie, &server[i]) == hash)
				return (int)i;
	return -1;
}

static size_t
cookie_mark(const void *conf, const struct sy_facts *facts, const struct sy_server *server, bool named,
            char *out, size_t size)
{
	static const char *const samesites[] = { "", "; SameSite=Lax", "; SameSite=Strict",
	                                         "; SameSite=None" };
	const struct cookie_conf *cookie = conf;
	uint32_t samesite = cookie->samesite.index;
	bool secure = cookie->secure.index == SWITCH_AUTO ? facts->secure : cookie->secure.index == SWITCH_ON;
	bool hidden = cookie->httponly.index == SWITCH_AUTO ? !cookie_is_wsman(cookie)
	                                                    : cookie->httponly.index == SWITCH_ON;
	int len;

	if (cookie->mode.index != MODE_INSERT || (named && cookie->send.index == SEND_MISSING))
		return 0;
	if (samesite == SAMESITE_NONE && !secure)
		samesite = SAMESITE_OFF; /* browsers would refuse the cookie */
	len = snprintf(out, size, "Set-Cookie: %s=%016llx; Path=%s%s%s%s%s%s\r\n", cookie->name,
	               (unsigned long long)cookie_name_hash(cookie, server), cookie->path,
	               cookie->domain ? "; Domain=" : "", cookie->domain ? cookie->domain : "",
	               secure ? "; Secure" : "", hidden ? "; HttpOnly" : "", samesites[samesite]);
	return len > 0 && (size_t)len < size ? (size_t)len : 0;
}

static const struct sy_persistence cookie = {
	.size = sizeof(cookie),
	.life = cookie_life,
	.key = cookie_key,
	.print = cookie_print,
	.named = cookie_named,
	.mark = cookie_mark,
	.learn = cookie_learn,
};

SY_MODULE(SY_PERSISTENCE, "cookie",
	.version = "1.0",
	.summary = "A cookie brings a browser back to its server; for protocols that read HTTP.",
	.conf_size = sizeof(struct cookie_conf),
	.rows = cookie_rows,
	.check = cookie_check,
	.ops = &cookie,
);
