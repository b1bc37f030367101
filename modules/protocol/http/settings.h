/* The settings of protocol http: structs that the rows of settings.c fill. What stands behind "made by
 * check()" is compiled from what stands before it. */
#ifndef PROTOCOL_HTTP_SETTINGS_H
#define PROTOCOL_HTTP_SETTINGS_H

#include "api/module.h"
#include "wanted.h"

enum change_what { CHANGE_SET, CHANGE_ADD, CHANGE_REMOVE, CHANGE_REPLACE };

/* request-header, response-header */
struct change {
	struct sy_choice what;    /* enum change_what */
	const char *name, *value, *with;
	/* made by check(): */
	struct pattern *pattern;  /* REPLACE */
};

/* header, cookie, query */
struct match {
	const char *name;
	struct sy_list value;
	/* made by check(): */
	struct wanted *words;
};

struct rewrite {
	const char *from, *to;
	/* made by check(): */
	struct pattern *pattern;
};

struct page {
	struct sy_ranges status;
	struct sy_file file;
};

enum rule_tls { RULE_TLS_ANY, RULE_TLS_ON, RULE_TLS_OFF };

struct rule {
	struct sy_list host, method, path, sni, certificate;
	struct sy_nets source, source_not;
	struct sy_choice tls;
	struct sy_blocks header, cookie, query; /* struct match */
	struct sy_pool pool;
	const char *redirect;
	uint32_t redirect_status, answer;
	bool answers;             /* answer was given */
	struct sy_file body;
	bool deny;
	const char *set_host;
	struct sy_blocks rewrite;               /* struct rewrite */
	struct sy_blocks request_header, response_header; /* struct change */
	/* made by check(): */
	struct {
		struct wanted *host, *method, *path, *sni, *certificate;
	} words;
};

enum http_pin { PIN_AUTO, PIN_ON, PIN_OFF };
enum http_upgrade { UPGRADE_WEBSOCKET, UPGRADE_ANY, UPGRADE_OFF };
enum http_underscores { UNDERSCORES_DROP, UNDERSCORES_REFUSE, UNDERSCORES_PASS };
enum http_forward { FORWARD_X, FORWARD_RFC, FORWARD_BOTH, FORWARD_OFF };

struct http_conf {
	struct sy_bytes line_limit, field_limit, head_limit, body_limit;
	uint32_t fields_limit;
	struct sy_msec header_timeout, keepalive_timeout;
	uint32_t body_rate;
	struct sy_choice pin, upgrade, underscores, forward;
	struct sy_nets trust;
	const char *set_host;
	struct sy_msec hsts;
	const char *redirect;
	uint32_t redirect_status;
	struct sy_blocks page;                  /* struct page */
	struct sy_blocks request_header, response_header; /* struct change */
	struct sy_blocks rule;                  /* struct rule */
	bool http2;
	uint32_t http2_streams;
};

extern const struct sy_row settings_rows[];
int settings_check(void *conf, struct sy_err *err);
void settings_release(void *conf);

#endif
