#include "crowd.h"

#include <stdlib.h>
#include <string.h>

const char target_usage[] =
    "A target is NAME ADDRESS:PORT tcp|tls|udp, and then any of\n"
    "  short=N long=N    clients of each kind (default: --short and --long)\n"
    "  tls-name=NAME     sent as SNI and, with --state, verified\n"
    "  answers-port=N    the server's port that must answer\n"
    "  sees=client       the server must see the client's own address\n"
    "  web=connection    a web service: users at desks log on with NTLM, phones do not; each\n"
    "                    exchange has a session of its own\n"
    "  web=cookie        the same, with sessions that outlive connections by the cookie MS-WSMAN\n"
    "  optional          no failure if nothing answers there at all\n";

static int
target_setting(struct crowd_target *target, const char *word, struct lab_err *err)
{
	const char *value = strchr(word, '=');
	size_t len = value ? (size_t)(value++ - word) : strlen(word);
	uint64_t number;

	if (!strcmp(word, "optional")) {
		target->optional = true;
		return 0;
	}
	if (!strcmp(word, "sees=client")) {
		target->sees_client = true;
		return 0;
	}
	if (!strcmp(word, "web=connection") || !strcmp(word, "web=cookie")) {
		target->web = strcmp(value, "cookie") ? CROWD_WEB_CONNECTION : CROWD_WEB_COOKIE;
		return 0;
	}
	if (value && len == 8 && !memcmp(word, "tls-name", len)) {
		target->tls_name = strdup(value);
		return target->tls_name ? 0 : err_set(err, "out of memory");
	}
	if (value && len == 12 && !memcmp(word, "answers-port", len)) {
		if (text_number(value, 1, UINT16_MAX, &number, err))
			return -1;
		target->answers_port = (uint16_t)number;
		return 0;
	}
	if (value && ((len == 5 && !memcmp(word, "short", len)) ||
		      (len == 4 && !memcmp(word, "long", len)))) {
		if (text_number(value, 0, 100000, &number, err))
			return -1;
		*(len == 5 ? &target->shorts : &target->longs) = (int)number;
		return 0;
	}
	return err_set(err,
		       "\"%s\" is not a setting of a target: short=N, long=N, tls-name=NAME, "
		       "answers-port=N, sees=client, web=connection, web=cookie or optional",
		       word);
}

int
target_add(struct crowd *crowd, int count, char **words, struct lab_err *err)
{
	struct crowd_target *targets, *target;

	if (count < 3)
		return err_set(err, "a target is NAME ADDRESS:PORT tcp|tls|udp [settings]");
	targets = realloc(crowd->targets, ((size_t)crowd->target_count + 1) * sizeof(*targets));
	if (!targets)
		return err_set(err, "out of memory");
	crowd->targets = targets;
	target = &targets[crowd->target_count];
	memset(target, 0, sizeof(*target));
	target->shorts = target->longs = -1;
	if (strlen(words[0]) >= sizeof(target->name))
		return err_set(err, "\"%s\" is too long for a name: at most %zu characters",
			       words[0], sizeof(target->name) - 1);
	strcpy(target->name, words[0]);
	for (int i = 0; i < crowd->target_count; i++)
		if (!strcmp(targets[i].name, target->name))
			return err_set(err, "there are two targets named %s", target->name);
	if (addr_parse(&target->addr, words[1], err) ||
	    transport_parse(&target->transport, words[2], err))
		return -1;
	for (int i = 3; i < count; i++)
		if (target_setting(target, words[i], err))
			return -1;
	if (target->tls_name && target->transport != LAB_TLS)
		return err_set(err, "tls-name is for tls targets, %s is %s", target->name,
			       transport_name(target->transport));
	if (target->web && target->transport == LAB_UDP)
		return err_set(err, "web services are not on udp, %s is", target->name);
	crowd->target_count++;
	return 0;
}
