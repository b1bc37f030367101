/* Persistence by what HTTP and SIP show, through dlopen: cookies of ours and of the servers, fields,
 * hosts, paths, parameters, calls, users, and clients behind proxies. */
#define _GNU_SOURCE 1
#include "module.h"

#include "api/hash.h"
#include "api/persistence.h"
#include "base/hash.h"
#include "base/text.h"

static struct arena *arena;

static const struct sy_server servers[] = {
	{ .id = 1, .name = "fe1" }, { .id = 2, .name = "fe2" }, { .id = 3, .name = "fe3" },
};
enum { SERVERS = sizeof(servers) / sizeof(*servers) };

static const char *
get(const char *fields)
{
	static char head[4096];

	snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
	return head;
}

/* Which server the request names; -1: none. */
static int
named(const struct used *used, const char *fields)
{
	struct sy_facts facts = { .head = sy_span_text(get(fields)) };
	const struct sy_persistence *ops = used->ops;

	return ops->named(used->conf, &facts, servers, SERVERS);
}

/* What the answer of fe2 tells. */
static const char *
mark_of(const struct used *used, bool secure, bool was_named)
{
	static char out[1024];
	struct sy_facts facts = { .secure = secure, .head = sy_span_text(get("")) };
	const struct sy_persistence *ops = used->ops;
	size_t len = ops->mark(used->conf, &facts, &servers[1], was_named, out, sizeof(out));

	out[len] = '\0';
	return out;
}

/* "LBID=0123456789abcdef" of that. */
static const char *
cookie_of(const struct used *used)
{
	static char pair[256];

	sscanf(mark_of(used, false, false), "Set-Cookie: %200[^;]", pair);
	return pair;
}

static void
test_hash(void)
{
	uint8_t bytes[70];
	bool same = true;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	for (unsigned len = 0; len <= sizeof(bytes); len++)
		same &= sy_hash(&(struct sy_hash_key){ 5, 6 }, sy_span(bytes, len)) ==
		        hash_64(&(struct hash_key){ 5, 6 }, bytes, len);
	ok(same, "modules hash as the core does");
}

#define KEY "key-text \"0123456789 abcdef\"; "

static void
test_insert(void)
{
	struct used used = module_use(arena, SY_PERSISTENCE, "cookie", KEY, NULL, 0);
	struct used again = module_use(arena, SY_PERSISTENCE, "cookie", KEY "name OTHER;", NULL, 0);
	struct used other = module_use(arena, SY_PERSISTENCE, "cookie", "key-text \"0123456789 abcdeg\";",
	                               NULL, 0);
	const char *pair = cookie_of(&used);
	char fields[1024], value[64];

	has_str(mark_of(&used, false, false), "; Path=/; HttpOnly\r\n", "the cookie: %s", pair);
	has_str(mark_of(&used, true, false), "; Path=/; Secure; HttpOnly\r\n", "over TLS it is secure");
	is_str(mark_of(&used, false, true), "", "who named the server gets none");
	ok(!strstr(mark_of(&used, false, false), "fe2"), "the name of the server is not told");
	sscanf(pair, "LBID=%60s", value);
	is_uint(strlen(value), 16, "16 digits");
	snprintf(fields, sizeof(fields), "Cookie: %s\r\n", pair);
	is_int(named(&used, fields), 1, "it names its server");
	is_int(named(&other, fields), -1, "not where the key is another");
	snprintf(fields, sizeof(fields), "Cookie: OTHER=%s\r\n", value);
	is_int(named(&again, fields), 1, "the same key elsewhere: the same value");
	snprintf(fields, sizeof(fields), "Cookie: a=b; LBID=\"%s\" ; c=\"d;e\"\r\n", value);
	is_int(named(&used, fields), 1, "in quotes, between others");
	snprintf(fields, sizeof(fields), "Cookie: LBID=0000000000000000; LBID=x;;=; LBID = %s\r\n", value);
	is_int(named(&used, fields), 1, "the one of several that names a server");
	snprintf(fields, sizeof(fields), "COOKIE:a=b\r\nx: y\r\ncookie:\t LBID=%s\r\n", value);
	is_int(named(&used, fields), 1, "in the second of two fields");
	snprintf(fields, sizeof(fields), "Cookie: lbid=%s; XLBID=%s; LBID2=%s\r\n", value, value, value);
	is_int(named(&used, fields), -1, "not under another name, nor in other letters");
	snprintf(fields, sizeof(fields), "X-Cookie: LBID=%s\r\nSet-Cookie: LBID=%s\r\n", value, value);
	is_int(named(&used, fields), -1, "not in another field");
	snprintf(fields, sizeof(fields), "Cookie: LBID=%s0\r\nCookie: LBID=%.15s\r\n", value, value);
	is_int(named(&used, fields), -1, "not longer, not shorter");
	is_int(named(&used, ""), -1, "without a cookie");
}

static void
test_attributes(void)
{
	static const struct {
		const char *settings, *secure, *plain;
	} cases[] = {
		{ "secure on;", "; Path=/; Secure; HttpOnly\r\n", "; Path=/; Secure; HttpOnly\r\n" },
		{ "secure off; httponly off;", "; Path=/\r\n", "; Path=/\r\n" },
		{ "path /a; domain example.net;", "; Path=/a; Domain=example.net; Secure; HttpOnly\r\n",
		  "; Path=/a; Domain=example.net; HttpOnly\r\n" },
		{ "samesite lax;", "; Path=/; Secure; HttpOnly; SameSite=Lax\r\n",
		  "; Path=/; HttpOnly; SameSite=Lax\r\n" },
		{ "samesite none; httponly off;", "; Path=/; Secure; SameSite=None\r\n", "; Path=/\r\n" },
		{ "name MS-WSMAN;", "; Path=/; Secure\r\n", "; Path=/\r\n" },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct used used = module_use(arena, SY_PERSISTENCE, "cookie", cases[i].settings, NULL, 0);
		const char *at = strchr(mark_of(&used, true, false), ';');

		is_str(at ? at : "", cases[i].secure, "%s over TLS", cases[i].settings);
		at = strchr(mark_of(&used, false, false), ';');
		is_str(at ? at : "", cases[i].plain, "%s in clear", cases[i].settings);
	}
}

/* What Lync demands of a balancer, rule by rule. */
static void
test_wsman(void)
{
	struct used used = module_use(arena, SY_PERSISTENCE, "cookie", KEY "name MS-WSMAN;", NULL, 0);
	struct used always = module_use(arena, SY_PERSISTENCE, "cookie", KEY "name MS-WSMAN; send always;",
	                                NULL, 0);
	const char *mark = mark_of(&used, true, false);
	char fields[600];

	ok(strncmp(mark, "Set-Cookie: MS-WSMAN=", 21) == 0, "the name to the letter");
	ok(!strcasestr(mark, "expires") && !strcasestr(mark, "max-age"), "it ends with the browser");
	ok(!strcasestr(mark, "httponly"), "scripts can read it");
	is_str(mark_of(&used, true, false), mark, "each request without it gets it, again and again");
	is_str(mark_of(&used, true, true), "", "a request that brought it does not");
	snprintf(fields, sizeof(fields), "Cookie: %s\r\n", cookie_of(&used));
	is_int(named(&used, fields), 1, "it names the server, not the client");
	is_str(mark_of(&always, true, true), mark, "send always: in each answer");
}

static struct sy_key
key_of(const struct used *used, const struct sy_facts *facts)
{
	const struct sy_persistence *ops = used->ops;
	struct sy_key key;

	memset(&key, 0xa5, sizeof(key));
	ops->key(used->conf, facts, &key);
	return key;
}

static bool
same(struct sy_key a, struct sy_key b)
{
	return a.len == b.len && memcmp(a.bytes, b.bytes, a.len) == 0;
}

static const char *
print_of(const struct used *used, struct sy_key key)
{
	static char out[128];
	const struct sy_persistence *ops = used->ops;

	if (!key.len)
		return "none";
	return ops->print(used->conf, &key, out, sizeof(out));
}

static struct sy_key
learned(const struct used *used, const char *fields)
{
	const struct sy_persistence *ops = used->ops;
	char head[1024];
	struct sy_key key = { .len = 1 };

	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n%s\r\n", fields);
	ops->learn(used->conf, sy_span_text(head), &key);
	return key;
}

static void
test_learn(void)
{
	struct used used = module_use(arena, SY_PERSISTENCE, "cookie", "mode learn; name SID;", NULL, 0);
	struct sy_facts facts = { .head = sy_span_text("GET / HTTP/1.1\r\nCookie: x=1; SID=secret\r\n\r\n") };
	struct sy_key key = key_of(&used, &facts);
	struct sy_addr client;

	ok(key.len > 0, "a request with the servers' cookie has a key");
	ok(!memmem(key.bytes, key.len, "secret", 6) && !strstr(print_of(&used, key), "secret"),
	   "which does not tell the cookie: %s", print_of(&used, key));
	ok(same(learned(&used, "Set-Cookie: SID=secret; Path=/; HttpOnly\r\n"), key), "an answer that sets it has "
	   "the same");
	ok(same(learned(&used, "set-cookie: SID=old\r\nSet-Cookie: y=z\r\nSet-Cookie:SID=\"secret\"\r\n"), key),
	   "the last one counts");
	is_uint(learned(&used, "Set-Cookie: sid=secret\r\nX: SID=secret\r\n").len, 0, "another name does not");
	is_uint(learned(&used, "Set-Cookie: SID=; Path=/\r\n").len, 0, "an empty one is none");
	is_uint(learned(&used, "Set-Cookie: SID=secret; Max-Age=0\r\n").len, 0, "one that is taken back is none");
	is_uint(learned(&used, "Set-Cookie: SID=secret; max-age = -1\r\n").len, 0, "nor a second way to do so");
	ok(learned(&used, "Set-Cookie: SID=secret; Max-Age=600\r\n").len > 0, "one with an age is one");
	is_int(named(&used, "Cookie: SID=secret\r\n"), -1, "a learned cookie names nobody by itself");
	is_str(mark_of(&used, false, false), "", "and we set none");
	facts.head = sy_span_text("GET / HTTP/1.1\r\n\r\n");
	addr_parse("192.0.2.7:80", &client);
	facts.client = client;
	is_uint(key_of(&used, &facts).len, 0, "without the cookie there is no key");
	used = module_use(arena, SY_PERSISTENCE, "cookie", "fallback source; mask4 24;", NULL, 0);
	is_str(print_of(&used, key_of(&used, &facts)), "192.0.2.0/24", "but with a fallback: the address");
	addr_parse("[2001:db8:1:2:3::]:80", &facts.client);
	is_str(print_of(&used, key_of(&used, &facts)), "2001:db8:1:2::/64", "IPv6, too");
}

struct shown_case {
	const char *module, *settings;
	struct { const char *head, *host, *path, *session, *user, *sni; } facts;
	const char *key;
};

static const struct shown_case shown_cases[] = {
	{ "header", "name X-Session;", { .head = "GET / HTTP/1.1\r\nx-session:  A b \r\nX-Session: 2\r\n\r\n" },
	  "A b" },
	{ "header", "name X-Session;", { .head = "GET / HTTP/1.1\r\nX-Other: 1\r\n\r\nX-Session: 2" }, "none" },
	{ "header", "name X-Session;", { .head = "GET / HTTP/1.1\r\nX-Session:\r\n\r\n" }, "none" },
	{ "header", "name X-Session;", { .head = "X-Session: in the first line\nA: b\n X-Session: c\n" }, "none" },
	{ "host", "", { .host = "Web.Example.NET:8080" }, "web.example.net" },
	{ "host", "", { .host = "[2001:DB8::1]:80" }, "[2001:db8::1]" },
	{ "host", "", { .host = "a.example." }, "a.example" },
	{ "host", "", { .sni = "sni.example" }, "sni.example" },
	{ "host", "", { .host = "" }, "none" },
	{ "url", "", { .path = "/a/b/c?d=/e" }, "/a/b/c" },
	{ "url", "query on;", { .path = "/a/b?c=/d" }, "/a/b?c=/d" },
	{ "url", "depth 1;", { .path = "/a/b/c?d" }, "/a" },
	{ "url", "depth 2;", { .path = "/a/b/c?d" }, "/a/b" },
	{ "url", "depth 2;", { .path = "/a?x/b" }, "/a" },
	{ "url", "", { .path = "" }, "none" },
	{ "query", "name m;", { .path = "/join?x=1&m=4711&m=2" }, "4711" },
	{ "query", "name m;", { .path = "/join?mm=1&m" }, "none" },
	{ "query", "name m;", { .path = "/m=1" }, "none" },
	{ "query", "name m;", { .path = "/?m=" }, "none" },
	{ "sip", "", { .session = "a84b@host", .user = "sip:bob@x" }, "a84b@host" },
	{ "sip", "by aor;", { .session = "a84b@host", .user = "sip:bob@x" }, "sip:bob@x" },
	{ "sip", "", { .user = "sip:bob@x" }, "none" },
};

static void
test_shown(void)
{
	for (unsigned i = 0; i < sizeof(shown_cases) / sizeof(*shown_cases); i++) {
		const struct shown_case *at = &shown_cases[i];
		struct used used = module_use(arena, SY_PERSISTENCE, at->module, at->settings, NULL, 0);
		struct sy_facts facts = {
			.head = sy_span_text(at->facts.head), .host = sy_span_text(at->facts.host),
			.path = sy_span_text(at->facts.path), .session = sy_span_text(at->facts.session),
			.user = sy_span_text(at->facts.user), .sni = sy_span_text(at->facts.sni),
		};

		is_str(print_of(&used, key_of(&used, &facts)), at->key, "%s { %s }", at->module, at->settings);
	}
}

static void
test_long(void)
{
	struct used used = module_use(arena, SY_PERSISTENCE, "sip", "", NULL, 0);
	struct used host = module_use(arena, SY_PERSISTENCE, "host", "", NULL, 0);
	char one[400], two[400];
	struct sy_facts a = { .session = sy_span(one, 39) }, b = { .session = sy_span(two, 39) };

	memset(one, 'a', sizeof(one));
	memset(two, 'a', sizeof(two));
	two[300] = 'b';
	is_uint(key_of(&used, &a).len, 39, "39 bytes are their own key");
	a.session.len = b.session.len = 400;
	is_uint(key_of(&used, &a).len, SY_KEY_MAX, "longer ones are hashed");
	ok(!same(key_of(&used, &a), key_of(&used, &b)), "all bytes count");
	a.session.len = b.session.len = 300;
	ok(same(key_of(&used, &a), key_of(&used, &b)), "and none behind");
	a.session.len = 299;
	ok(!same(key_of(&used, &a), key_of(&used, &b)), "nor is the length forgotten");
	has_str(print_of(&used, key_of(&used, &b)), "aaaaaaaaaaaaaaaaaaaaaaa... #", "an operator sees how it begins");
	memset(two, 'A', sizeof(two));
	a.host = sy_span(one, 200), b.host = sy_span(two, 200);
	ok(same(key_of(&host, &a), key_of(&host, &b)), "long hosts fold, too");
}

static const struct {
	const char *field, *value, *client;
} forwarded_cases[] = {
	{ "x-forwarded-for", "X-Forwarded-For: 192.0.2.9", "192.0.2.9" },
	{ "x-forwarded-for", "x-forwarded-for: 203.0.113.1, 192.0.2.9", "192.0.2.9" },
	{ "x-forwarded-for", "X-Forwarded-For: 203.0.113.1, 192.0.2.9, 10.0.0.7", "192.0.2.9" },
	{ "x-forwarded-for", "X-Forwarded-For: 203.0.113.1\r\nX: y\r\nX-Forwarded-For: 192.0.2.9,10.1.1.1", "192.0.2.9" },
	{ "x-forwarded-for", "X-Forwarded-For: 10.0.0.3, 10.0.0.4", "10.0.0.3" },
	{ "x-forwarded-for", "X-Forwarded-For: 192.0.2.9, junk", "10.0.0.1" },
	{ "x-forwarded-for", "X-Forwarded-For: 192.0.2.9, junk, 10.0.0.4", "10.0.0.4" },
	{ "x-forwarded-for", "X-Forwarded-For: 192.0.2.9:4711", "192.0.2.9" },
	{ "x-forwarded-for", "X-Forwarded-For: [2001:db8::9]:443", "2001:db8::/64" },
	{ "x-forwarded-for", "X-Forwarded-For: 2001:db8::9", "2001:db8::/64" },
	{ "x-forwarded-for", "X-Forwarded-For: ::ffff:192.0.2.9", "192.0.2.9" },
	{ "x-forwarded-for", "X-Forwarded-For: ", "10.0.0.1" },
	{ "x-forwarded-for", "Forwarded: for=192.0.2.9", "10.0.0.1" },
	{ "forwarded", "Forwarded: for=192.0.2.9;proto=https;by=10.0.0.9", "192.0.2.9" },
	{ "forwarded", "Forwarded: For=\"[2001:db8::9]:443\";proto=http, for=10.0.0.4", "2001:db8::/64" },
	{ "forwarded", "Forwarded: for=192.0.2.9;x=\"a,b;for=192.0.2.1\", for=10.0.0.2", "192.0.2.9" },
	{ "forwarded", "Forwarded: for=192.0.2.9, for=_hidden, for=10.0.0.4", "10.0.0.4" },
	{ "forwarded", "Forwarded: for=192.0.2.9, proto=http", "10.0.0.1" },
	{ "forwarded", "X-Forwarded-For: 192.0.2.9", "10.0.0.1" },
};

static void
test_forwarded(void)
{
	for (unsigned i = 0; i < sizeof(forwarded_cases) / sizeof(*forwarded_cases); i++) {
		char settings[128], head[512];
		struct sy_facts facts = { .client = { .family = SY_IPV4, .ip = { 10, 0, 0, 1 } } };
		struct used used;

		snprintf(settings, sizeof(settings), "forwarded-from 10.0.0.0/8; forwarded-field %s;",
		         forwarded_cases[i].field);
		used = module_use(arena, SY_PERSISTENCE, "source", settings, NULL, 0);
		snprintf(head, sizeof(head), "GET / HTTP/1.1\r\n%s\r\n\r\n", forwarded_cases[i].value);
		facts.head = sy_span_text(head);
		is_str(print_of(&used, key_of(&used, &facts)), forwarded_cases[i].client, "%s",
		       forwarded_cases[i].value);
		facts.client.ip[0] = 192;
		is_str(print_of(&used, key_of(&used, &facts)), "192.0.0.1", "not from elsewhere");
	}
}

static void
test_wrong(void)
{
	static const char *const wrong[][3] = {
		{ "cookie", "name \"a b\";", "name \"a b\": character 2 cannot stand there" },
		{ "cookie", "name a=b;", "character 2" },
		{ "cookie", "path a;", "path \"a\" does not begin with /" },
		{ "cookie", "path \"/;x\";", "path \"/;x\": character 2" },
		{ "cookie", "domain \"\";", "domain: between 1 and 255" },
		{ "cookie", "name MS-WSMAN; httponly on;", "httponly on: clients of Lync read the cookie" },
		{ "cookie", "samesite none; secure off;", "samesite none: browsers take that with secure only" },
		{ "cookie", "key-text short;", "the key has 5 bytes, and 16 are the least" },
		{ "cookie", "mode learn; " KEY, "a key is for mode insert" },
		{ "cookie", "mode lern;", "did you mean learn?" },
		{ "header", "", "name" },
		{ "header", "name \"a b\";", "that is no name of a field" },
		{ "query", "name a=b;", "that is no name of a parameter" },
		{ "sip", "by user;", "call-id or aor" },
		{ "source", "forwarded-from 10.0.0.1/8;", "the network is 10.0.0.0/8" },
	};
	char problems[600];

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		module_use(arena, SY_PERSISTENCE, wrong[i][0], wrong[i][1], problems, sizeof(problems));
		has_str(problems, wrong[i][2], "%s { %s }", wrong[i][0], wrong[i][1]);
	}
}

/* 64 KiB of nothing but cookies of our name. */
static void
test_many(void)
{
	struct used used = module_use(arena, SY_PERSISTENCE, "cookie", KEY, NULL, 0);
	char *head = arena_alloc(arena, 65536 + 64);
	size_t len = (size_t)sprintf(head, "GET / HTTP/1.1\r\nCookie: ");
	struct sy_facts facts = { 0 };
	const struct sy_persistence *ops = used.ops;

	while (len < 65536)
		len += (size_t)sprintf(head + len, "LBID=0123456789abcdef;");
	facts.head = sy_span(head, len);
	is_int(ops->named(used.conf, &facts, servers, SERVERS), -1, "no server in 64 KiB of cookies");
}

int
main(void)
{
	arena = arena_new();
	test_hash();
	test_insert();
	test_attributes();
	test_wsman();
	test_learn();
	test_shown();
	test_long();
	test_forwarded();
	test_wrong();
	test_many();
	arena_free(arena);
	return done_testing();
}
