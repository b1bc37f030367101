/* The directives of protocol http, and what involves more than one of them. */
#include "settings.h"

#include "rules.h"

static const char *const change_words[] = { "set", "add", "remove", "replace", NULL };
static const char *const rule_tls_words[] = { "any", "on", "off", NULL };
static const char *const pin_words[] = { "auto", "on", "off", NULL };
static const char *const upgrade_words[] = { "websocket", "any", "off", NULL };
static const char *const underscores_words[] = { "drop", "refuse", "pass", NULL };
static const char *const forward_words[] = { "x-forwarded", "forwarded", "both", "off", NULL };

static const struct sy_row change_rows[] = {
	SY_ROW(struct change, what, "change", .flags = SY_REQUIRED | SY_ARGUMENT, .words = change_words,
	       .doc = "set: the field has this value alone. add: one more such field. remove: none is left. "
	              "replace: in the values of such fields, what the pattern finds becomes the text "
	              "behind it."),
	SY_ROW(struct change, name, "name", .flags = SY_REQUIRED | SY_ARGUMENT,
	       .doc = "Name of the field."),
	SY_ROW(struct change, value, "value", .flags = SY_ARGUMENT,
	       .doc = "Value, with variables such as %host; for replace the pattern."),
	SY_ROW(struct change, with, "with", .flags = SY_ARGUMENT,
	       .doc = "For replace: what takes the place of what was found, with \\1 and so on."),
	SY_ROW_END
};

static const struct sy_row match_rows[] = {
	SY_ROW(struct match, name, "name", .flags = SY_REQUIRED | SY_ARGUMENT, .doc = "Its name."),
	SY_ROW(struct match, value, "value", .flags = SY_ARGUMENT,
	       .doc = "Words for its value: WORD, WORD*, *WORD, *WORD*, ~PATTERN, each with ! for not. Without "
	              "any: it must be there."),
	SY_ROW_END
};

static const struct sy_row rewrite_rows[] = {
	SY_ROW(struct rewrite, from, "from", .flags = SY_REQUIRED | SY_ARGUMENT,
	       .doc = "Pattern (PCRE2) for the path without its query."),
	SY_ROW(struct rewrite, to, "to", .flags = SY_REQUIRED | SY_ARGUMENT,
	       .doc = "What takes the place of what was found, with \\1 and so on."),
	SY_ROW_END
};

static const struct sy_row page_rows[] = {
	SY_ROW(struct page, status, "status", .flags = SY_REQUIRED | SY_ARGUMENT, .min = 400, .max = 599,
	       .doc = "Status of the answers: 503 or 502-504."),
	SY_ROW(struct page, file, "file", .flags = SY_REQUIRED | SY_ARGUMENT,
	       .doc = "The page; its type comes from the name's ending (html, txt, json)."),
	SY_ROW_END
};

#define WORDS_DOC " Words are WORD, WORD*, *WORD, *WORD*, ~PATTERN, each with ! for not."

static const struct sy_row rule_rows[] = {
	SY_ROW(struct rule, host, "host",
	       .doc = "The host that is asked for, without port; *.example.net is any below it." WORDS_DOC),
	SY_ROW(struct rule, path, "path",
	       .doc = "The path without its query, decoded (%2f is a slash), with . and .. resolved; /owa/* is all "
	              "below it. Of "
	              "a pattern \\1 to \\9 may be used by redirect, rewrite and request-header." WORDS_DOC),
	SY_ROW(struct rule, method, "method", .doc = "The method of the request."),
	SY_ROWS_IN(struct rule, query, "query", match_rows, struct match,
	       .doc = "A parameter of the query (query NAME WORD); all that are given must match."),
	SY_ROWS_IN(struct rule, header, "header", match_rows, struct match,
	       .doc = "A field of the request (header NAME WORD); all that are given must match."),
	SY_ROWS_IN(struct rule, cookie, "cookie", match_rows, struct match,
	       .doc = "A cookie of the request (cookie NAME WORD); all that are given must match."),
	SY_ROW(struct rule, source, "source", .doc = "Networks of clients."),
	SY_ROW(struct rule, source_not, "source-not", .doc = "Networks of clients that it is not for."),
	SY_ROW(struct rule, tls, "tls", .words = rule_tls_words, .preset = "any",
	       .doc = "Whether the client's connection is TLS."),
	SY_ROW(struct rule, sni, "sni", .doc = "The name that the client's TLS asked for."),
	SY_ROW(struct rule, certificate, "certificate",
	       .doc = "Subject of the client's verified certificate (CN=...,O=...); * is any."),
	SY_ROW(struct rule, pool, "pool", .doc = "Pool that serves the request."),
	SY_ROW(struct rule, deny, "deny", .preset = "off", .doc = "The answer is 403."),
	SY_ROW(struct rule, redirect, "redirect",
	       .doc = "The answer is a redirect to this address, such as https://%host%target."),
	SY_ROW(struct rule, redirect_status, "redirect-status", .min = 301, .max = 308, .preset = "302",
	       .doc = "Status of the redirect: 301, 302, 303, 307 or 308."),
	SY_ROW(struct rule, answer, "answer", .min = 200, .max = 599, .preset = "200",
	       SY_GIVEN(struct rule, answers),
	       .doc = "The answer is given here, with this status."),
	SY_ROW(struct rule, body, "body", .doc = "File with the body of the answer."),
	SY_ROW(struct rule, set_host, "set-host",
	       .doc = "Host that the server is asked for instead of the client's."),
	SY_ROWS_IN(struct rule, rewrite, "rewrite", rewrite_rows, struct rewrite,
	       .doc = "Changes the path that the server is asked for (rewrite PATTERN TEXT); one after the "
	              "other."),
	SY_ROWS_IN(struct rule, request_header, "request-header", change_rows, struct change,
	       .doc = "As in the service, for requests that match."),
	SY_ROWS_IN(struct rule, response_header, "response-header", change_rows, struct change,
	       .doc = "As in the service, for answers to requests that match."),
	SY_ROW_END
};

const struct sy_row settings_rows[] = {
	SY_ROW(struct http_conf, header_timeout, "header-timeout", .min = 100, .max = SY_HOUR, .preset = "15s",
	       .doc = "How long the head of a request may take from its first byte on."),
	SY_ROW(struct http_conf, body_rate, "body-rate", .max = 1000000, .preset = "240",
	       .doc = "Bytes per second that the body of a request must bring, after 10 seconds of grace for "
	              "each 16 KiB. RPC_IN_DATA and RPC_OUT_DATA may take their time. 0: so may all."),
	SY_ROW(struct http_conf, keepalive_timeout, "keepalive-timeout", .max = SY_DAY, .preset = "75s",
	       .doc = "How long a client's connection may wait for the next request, unless it is pinned. 0: "
	              "for idle-timeout."),
	SY_ROW(struct http_conf, line_limit, "line-limit", .min = 256, .max = 65536, .preset = "16k",
	       .doc = "Longest first line of a request, which is the longest address; more is answered with "
	              "414."),
	SY_ROW(struct http_conf, field_limit, "field-limit", .min = 256, .max = 131072, .preset = "64k",
	       .doc = "Longest field of a head; Kerberos makes them long. More is answered with 431."),
	SY_ROW(struct http_conf, head_limit, "head-limit", .min = 1024, .max = 262144, .preset = "128k",
	       .doc = "Longest head."),
	SY_ROW(struct http_conf, fields_limit, "fields-limit", .min = 10, .max = 256, .preset = "200",
	       .doc = "Most fields of a head."),
	SY_ROW(struct http_conf, body_limit, "body-limit", .preset = "0",
	       .doc = "Longest body of a request; more is answered with 413. 0: any."),
	SY_ROW(struct http_conf, underscores, "underscores", .words = underscores_words, .preset = "drop",
	       .doc = "Fields with _ in their name, which servers take for -: drop them, refuse the request, or "
	              "pass them on."),
	SY_ROW(struct http_conf, pin, "pin", .words = pin_words, .preset = "auto",
	       .doc = "Whether a client's connection keeps its own connection to one server. auto: as soon as "
	              "NTLM or Negotiate is seen, whose logon is the connection's; another client's request "
	              "would be taken for this user's. on: always. off: never; for servers that are known not "
	              "to log on connections."),
	SY_ROW(struct http_conf, upgrade, "upgrade", .words = upgrade_words, .preset = "websocket",
	       .doc = "Which upgrades of a connection are passed on; h2c never is."),
	SY_ROW(struct http_conf, forward, "forward", .words = forward_words, .preset = "x-forwarded",
	       .doc = "How servers are told of the client: X-Forwarded-For, -Proto, -Host and -Port, or Forwarded "
	              "(RFC 7239). What the client itself says in such fields is thrown away, unless it is in "
	              "trust. off: nothing is added or taken away."),
	SY_ROW(struct http_conf, trust, "trust",
	       .doc = "Networks of proxies in front, whose forwarding fields are kept and continued."),
	SY_ROW(struct http_conf, set_host, "set-host",
	       .doc = "Host that servers are asked for; the client's own when not given."),
	SY_ROW(struct http_conf, hsts, "hsts", .max = 3650 * SY_DAY, .preset = "0",
	       .doc = "Browsers are told to come with TLS only for so long (Strict-Transport-Security). 0: they "
	              "are not."),
	SY_ROW(struct http_conf, redirect, "redirect",
	       .doc = "Whatever no rule is for is redirected to this address: https://%host%target sends all "
	              "to TLS."),
	SY_ROW(struct http_conf, redirect_status, "redirect-status", .min = 301, .max = 308, .preset = "302",
	       .doc = "Status of that redirect: 301, 302, 303, 307 or 308."),
	SY_ROWS_IN(struct http_conf, page, "page", page_rows, struct page,
	       .doc = "A page for answers of our own: page 502-504 sorry.html."),
	SY_ROWS_IN(struct http_conf, request_header, "request-header", change_rows, struct change,
	       .doc = "Changes a field of requests: request-header set X-Service %service."),
	SY_ROWS_IN(struct http_conf, response_header, "response-header", change_rows, struct change,
	       .doc = "Changes a field of answers: response-header remove X-Powered-By."),
	SY_ROWS_IN(struct http_conf, rule, "rule", rule_rows, struct rule,
	       .doc = "What becomes of requests that match. All that is given must match; the first rule that "
	              "does is the one that counts. Variables in texts are %host, %path, %query, %target, "
	              "%method, %scheme, %client, %port, %service, %server, %sni and %certificate; %% is a "
	              "percent sign."),
	SY_ROW(struct http_conf, http2, "http2", .preset = "off",
	       .doc = "HTTP/2 towards clients. Listeners with TLS offer it by themselves (ALPN), those without "
	              "take it from clients that know. Servers are asked with HTTP/1.1. A client that logs on "
	              "with NTLM or Negotiate is sent back to HTTP/1.1; so pin on does not go with it."),
	SY_ROW(struct http_conf, http2_streams, "http2-streams", .min = 1, .max = 1000, .preset = "100",
	       .doc = "Requests that an HTTP/2 connection may have under way."),
	SY_ROW_END
};

static int
settings_status(uint32_t status, struct sy_err *err)
{
	if (status > 303 && status != 307 && status != 308)
		return sy_fail(err, "redirect-status: %u is no redirect; 301, 302, 303, 307 and 308 are", status);
	return 0;
}

static int
settings_limits(const struct http_conf *conf, struct sy_err *err)
{
	if (conf->field_limit.n > conf->head_limit.n || conf->line_limit.n > conf->head_limit.n)
		return sy_fail(err, "head-limit: a whole head cannot be shorter than its longest line "
		               "(line-limit, field-limit)");
	return 0;
}

static int
settings_http2(const struct http_conf *conf, struct sy_err *err)
{
	if (conf->http2 && conf->pin.index == PIN_ON)
		return sy_fail(err, "http2: the requests of one connection go to several servers at once, and pin "
		               "on gives each client one connection to one server: pin auto sends those who log "
		               "on with NTLM or Negotiate back to HTTP/1.1, and pins them there");
	return 0;
}

int
settings_check(void *conf, struct sy_err *err)
{
	struct http_conf *http = conf;

	if (settings_limits(http, err) != 0 || settings_http2(http, err) != 0 || settings_status(http->redirect_status, err) != 0 ||
	    (http->redirect && rules_check_text("redirect", http->redirect, false, err) != 0) ||
	    (http->set_host && rules_check_text("set-host", http->set_host, false, err) != 0))
		return -1;
	if (changes_make("request-header", &http->request_header, true, err) != 0 ||
	    changes_make("response-header", &http->response_header, false, err) != 0 ||
	    rules_make(&http->rule, err) != 0) {
		settings_release(conf);
		return -1;
	}
	return 0;
}

void
settings_release(void *conf)
{
	struct http_conf *http = conf;

	changes_free(&http->request_header);
	changes_free(&http->response_header);
	rules_free(&http->rule);
}
