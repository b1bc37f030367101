/* Persistence by source address, through dlopen. */
#include "module.h"

#include "api/persistence.h"
#include "base/text.h"

static struct arena *arena;

struct wanted {
	const char *settings, *client, *key;
};

static struct sy_key
key_for(const struct used *used, const char *client)
{
	const struct sy_persistence *ops = used->ops;
	struct sy_facts facts = { .client = { .family = SY_NO_ADDR } };
	struct sy_key key;

	memset(&key, 0xa5, sizeof(key));
	if (*client && !addr_parse(client, &facts.client))
		bail_out("not an address: %s", client);
	ops->key(used->conf, &facts, &key);
	return key;
}

static void
test_keys(void)
{
	static const struct wanted wanted[] = {
		{ "", "192.0.2.7:1000", "192.0.2.7" },
		{ "mask4 32;", "255.255.255.255:1", "255.255.255.255" },
		{ "mask4 24;", "192.0.2.7:1000", "192.0.2.0/24" },
		{ "mask4 1;", "192.0.2.7:1000", "128.0.0.0/1" },
		{ "mask4 31;", "192.0.2.7:1000", "192.0.2.6/31" },
		{ "", "[2001:db8:1:2:3:4:5:6]:99", "2001:db8:1:2::/64" },
		{ "mask6 128;", "[2001:db8:1:2:3:4:5:6]:99", "2001:db8:1:2:3:4:5:6" },
		{ "mask6 52;", "[2001:db8:1:ffff:3:4:5:6]:99", "2001:db8:1:f000::/52" },
		{ "mask6 1;", "[ffff::1]:99", "8000::/1" },
	};

	for (unsigned i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		struct used used = module_use(arena, SY_PERSISTENCE, "source", wanted[i].settings,
	                                      NULL, 0);
		const struct sy_persistence *ops = used.ops;
		struct sy_key key = key_for(&used, wanted[i].client);
		char text[96];

		is_str(ops->print(used.conf, &key, text, sizeof(text)), wanted[i].key,
		       "%s with \"%s\"",
		       wanted[i].client, wanted[i].settings);
	}
}

static void
test_same(void)
{
	struct used used = module_use(arena, SY_PERSISTENCE, "source", "mask4 24;", NULL, 0);
	const struct sy_persistence *ops = used.ops;
	struct sy_key one = key_for(&used, "192.0.2.7:1000"), two = key_for(&used, "192.0.2.250:2");
	struct sy_key other = key_for(&used, "192.0.3.7:1000");
	struct sy_key six = key_for(&used, "[2001:db8::1]:1");
	struct sy_key nobody = key_for(&used, "");
	char text[8];

	ok(one.len == 4 && two.len == 4 && memcmp(one.bytes, two.bytes, 4) == 0,
	   "one network, any address and port: one key");
	ok(memcmp(one.bytes, other.bytes, 4) != 0, "another network: another");
	is_uint(six.len, 16, "IPv6 keys are longer");
	is_uint(nobody.len, 0, "no address: no key");
	ops->print(used.conf, &six, text, sizeof(text));
	is_str(text, "2001:db", "a key is cut to fit");
}

static void
test_settings(void)
{
	static const char *const wrong[][2] = {
		{ "mask4 33;", "mask4" }, { "mask4 0;", "mask4" }, { "mask6 129;", "mask6" },
		{ "timeout 0s;", "timeout" }, { "timeout 29d;", "timeout" },
		{ "refresh maybe;", "refresh" }, { "mask 24;", "mask4" },
	};
	struct used used = module_use(arena, SY_PERSISTENCE, "source", "", NULL, 0);
	const struct sy_persistence *ops = used.ops;
	struct sy_persist_life life = ops->life(used.conf);
	char problems[600];

	ok(life.timeout_ms == 20 * 60000 && life.refresh,
	   "20 minutes, refreshed, unless said otherwise");
	used = module_use(arena, SY_PERSISTENCE, "source", "timeout 90s; refresh off;", NULL, 0);
	life = ops->life(used.conf);
	ok(life.timeout_ms == 90000 && !life.refresh, "as the settings say");
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		module_use(arena, SY_PERSISTENCE, "source", wrong[i][0], problems,
	                   sizeof(problems));
		has_str(problems, wrong[i][1], "%s is refused: %s", wrong[i][0], problems);
	}
}

int
main(void)
{
	arena = arena_new();
	test_keys();
	test_same();
	test_settings();
	arena_free(arena);
	return done_testing();
}
