#include "crowd.h"

#include <stdlib.h>
#include <string.h>

static const char target_words[] =
    "A target is NAME ADDRESS:PORT tcp|tls|udp, and then any of\n"
    "  short=N long=N    clients of each kind (default: --short and --long)\n"
    "  tls-name=NAME     sent as SNI and, with --state, verified\n"
    "  host=NAME         the same without TLS: the Host of a web service\n"
    "  answers-port=N    the server's port that must answer\n"
    "  sees=client       the server must see the client's own address\n"
    "  optional          no failure if nothing answers there at all\n"
    "and what its clients speak; without it, the lab's own lines:\n";

static const struct crowd_protocol *const target_protocols[] = {
    &protocol_web, &protocol_sip, &protocol_psom, &protocol_turn,
};

enum { TARGET_PROTOCOLS = sizeof(target_protocols) / sizeof(target_protocols[0]) };

void
target_usage(FILE *to)
{
	fputs(target_words, to);
	for (int i = 0; i < TARGET_PROTOCOLS; i++)
		fputs(target_protocols[i]->help, to);
}

/* 1: it is no protocol's setting. */
static int
target_protocol(struct crowd_target *target, const char *word, size_t len, const char *value,
		struct lab_err *err)
{
	for (int i = 0; i < TARGET_PROTOCOLS; i++) {
		const struct crowd_protocol *protocol = target_protocols[i];

		if (strlen(protocol->setting) != len || memcmp(protocol->setting, word, len))
			continue;
		target->protocol = protocol;
		return protocol->set(target, value, err);
	}
	return 1;
}

static int
target_setting(struct crowd_target *target, const char *word, struct lab_err *err)
{
	const char *value = strchr(word, '=');
	size_t len = value ? (size_t)(value++ - word) : strlen(word);
	uint64_t number;
	int speaks = target_protocol(target, word, len, value, err);

	if (speaks != 1)
		return speaks;
	if (!strcmp(word, "optional")) {
		target->optional = true;
		return 0;
	}
	if (!strcmp(word, "sees=client")) {
		target->sees_client = true;
		return 0;
	}
	if (value && ((len == 8 && !memcmp(word, "tls-name", len)) ||
		      (len == 4 && !memcmp(word, "host", len)))) {
		free(target->host);
		target->host = strdup(value);
		return target->host ? 0 : err_set(err, "out of memory");
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
		       "\"%s\" is not a setting of a target: short=N, long=N, tls-name=NAME, host=NAME, "
		       "answers-port=N, sees=client, optional, web=..., sip=..., psom or turn",
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
	target->protocol = &protocol_say;
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
	if (target->host && target->transport != LAB_TLS && target->protocol != &protocol_web)
		return err_set(err, "names are for tls targets and web services, %s is %s", target->name,
			       transport_name(target->transport));
	if (target->transport == LAB_UDP && !target->protocol->repeat)
		return err_set(err, "on udp only turn is spoken, %s needs that", target->name);
	crowd->target_count++;
	return 0;
}
