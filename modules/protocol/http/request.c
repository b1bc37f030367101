/* The head of a request: what is asked, what becomes of it, and how it goes to the server. */
#include <stdlib.h>
#include <strings.h>

#include "http.h"
#include "rules.h"

struct head_limits
request_limits(const struct http_conf *conf)
{
	return (struct head_limits){
		.line = (uint32_t)conf->line_limit.n,
		.field = (uint32_t)conf->field_limit.n,
		.fields = conf->fields_limit,
	};
}

/* The scheme of credentials or of a challenge: the first word of each element. */
bool
request_binds(struct sy_span credentials)
{
	struct sy_span element;

	while (span_element(&credentials, &element)) {
		size_t len = 0;

		while (len < element.len && element.at[len] != ' ' && element.at[len] != '\t')
			len++;
		element.len = len;
		if (span_is(element, "ntlm") || span_is(element, "negotiate") ||
		    span_is(element, "kerberos") || span_is(element, "nego2"))
			return true;
	}
	return false;
}

static void
request_count(struct sy_session *session, struct sy_span method)
{
	enum http_counter counter = COUNT_OTHER;

	if (span_is(method, "get"))
		counter = COUNT_GET;
	else if (span_is(method, "post"))
		counter = COUNT_POST;
	else if (span_is(method, "head"))
		counter = COUNT_HEAD;
	else if (span_is(method, "put"))
		counter = COUNT_PUT;
	else if (span_is(method, "options"))
		counter = COUNT_OPTIONS;
	else if (span_is(method, "rpc_in_data") || span_is(method, "rpc_out_data"))
		counter = COUNT_RPC;
	sy_count(session, counter, 1);
}

/* ---- what is kept of it ---- */

/* Lower case, without port and without the dot that a whole name may end with; the brackets of an IPv6
 * address stay. */
static struct sy_span
request_host(struct sy_span host, char *room)
{
	size_t len = 0;

	for (bool inside = false; len < host.len; len++) {
		uint8_t byte = host.at[len];

		inside = byte == '[' || (inside && byte != ']');
		if (byte == ':' && !inside)
			break;
		room[len] = (char)(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
	}
	if (len > 1 && room[len - 1] == '.')
		len--;
	return sy_span(room, len);
}

/* For logs: without the query, and cut when it is long. */
static void
request_words(struct http *http, const struct sy_facts *facts, struct sy_asked *asked)
{
	const struct sy_span parts[] = { facts->method, facts->host, facts->path };
	struct sy_span *told[] = { &asked->method, &asked->host, &asked->path };
	size_t len = 0;

	asked->status = 0;
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t start = len;

		for (size_t k = 0; k < parts[i].len && len < HTTP_ASKED; k++) {
			if (i == 2 && parts[i].at[k] == '?')
				break;
			http->asked[len++] = (char)parts[i].at[k];
		}
		*told[i] = sy_span(http->asked + start, len - start);
	}
}

/* The head, the host in lower case, and the decoded path: facts must stay where they are while the core
 * looks for a server, and the client's bytes need not. */
static bool
request_keep(struct sy_session *session, struct message *message, struct scene *scene,
             const struct head_limits *limits)
{
	struct http *http = session->state;
	bool paths = http_conf(session)->rule.n > 0;
	size_t host = message->host.len, path = paths ? message->path.len + 1 : 0;
	struct sy_facts *facts = &session->facts;
	char *rest;

	http->head_len = message->head.len;
	http->kept = malloc(http->head_len + host + path + 1);
	if (!http->kept)
		return false;
	memcpy(http->kept, message->head.at, http->head_len);
	/* Once more, for spans that point to what is kept: it is the same text. */
	if (!message_request(message, sy_span(http->kept, http->head_len), limits))
		return false;
	rest = http->kept + http->head_len;
	facts->head = message->head;
	facts->method = message->method;
	facts->path = message->path;
	facts->host = request_host(message->host, rest);
	scene->request = message;
	scene->session = session;
	scene->captures.n = 0;
	scene->unclear = false;
	scene->path = paths ? rules_path(message->path, rest + host, &scene->unclear) : sy_span(NULL, 0);
	request_words(http, facts, &session->asked);
	return true;
}

/* ---- how it goes to the server ---- */

/* Fields that are of this connection only, and those that are written anew. */
static bool
request_stays(const struct http *http, const struct field *field)
{
	switch (field->id) {
	case FIELD_HOST:
	case FIELD_CONNECTION:
	case FIELD_KEEP_ALIVE:
	case FIELD_PROXY_CONNECTION:
	case FIELD_TE:
	case FIELD_HTTP2_SETTINGS:
	case FIELD_CONTENT_LENGTH:
	case FIELD_TRANSFER_ENCODING:
		return false;
	case FIELD_UPGRADE:
		return http->upgrade;
	case FIELD_EXPECT:
		return !http->old;
	default:
		return true;
	}
}

static void
request_drop(struct message *message, unsigned id)
{
	for (uint32_t i = 0; i < message->n; i++)
		if (message->field[i].id == id)
			message->field[i].gone = true;
}

/* The values of such fields in a row, with what we add behind them. */
static void
request_append(struct message *message, struct out *out, const char *name, unsigned id,
               const char *value)
{
	out_text(out, name);
	out_bytes(out, ": ", 2);
	for (uint32_t i = 0; i < message->n; i++) {
		struct field *field = &message->field[i];

		if (field->id != id || field->gone)
			continue;
		field->gone = true;
		if (!field->value.len)
			continue;
		out_span(out, field->value);
		out_bytes(out, ", ", 2);
	}
	out_text(out, value);
	out_bytes(out, "\r\n", 2);
}

static bool
request_has(const struct message *message, unsigned id)
{
	for (uint32_t i = 0; i < message->n; i++)
		if (message->field[i].id == id && !message->field[i].gone)
			return true;
	return false;
}

static void
request_forward_x(const struct sy_session *session, struct message *message, struct out *out)
{
	char addr[OUT_ADDR];

	request_append(message, out, "X-Forwarded-For", FIELD_X_FORWARDED_FOR,
	               addr_words(&session->facts.client, addr));
	if (!request_has(message, FIELD_X_FORWARDED_PROTO))
		out_field(out, "X-Forwarded-Proto", sy_span_text(session->facts.secure ? "https" : "http"));
	if (!request_has(message, FIELD_X_FORWARDED_HOST))
		out_field(out, "X-Forwarded-Host", message->host);
	if (!request_has(message, FIELD_X_FORWARDED_PORT)) {
		out_text(out, "X-Forwarded-Port: ");
		out_number(out, session->facts.service.port);
		out_text(out, "\r\n");
	}
}

/* RFC 7239: an IPv6 address in brackets and quotes; a host that is more than a token in quotes. */
static void
request_forward_rfc(const struct sy_session *session, struct message *message, struct out *out)
{
	bool six = session->facts.client.family == SY_IPV6;
	struct out value = { .at = NULL };
	char addr[OUT_ADDR];

	out_text(&value, six ? "for=\"[" : "for=");
	out_text(&value, addr_words(&session->facts.client, addr));
	out_text(&value, six ? "]\"" : "");
	out_text(&value, session->facts.secure ? ";proto=https" : ";proto=http");
	if (message->host.len) {
		out_text(&value, ";host=\"");
		out_span(&value, message->host);
		out_text(&value, "\"");
	}
	out_bytes(&value, "", 1);
	out->failed = out->failed || value.failed;
	if (!value.failed)
		request_append(message, out, "Forwarded", FIELD_FORWARDED, value.at);
	out_free(&value);
}

static void
request_forward(const struct sy_session *session, struct message *message, struct out *out)
{
	static const uint8_t fields[] = {
		FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_PROTO, FIELD_X_FORWARDED_HOST,
		FIELD_X_FORWARDED_PORT, FIELD_X_REAL_IP, FIELD_FORWARDED,
	};
	const struct http_conf *conf = http_conf(session);
	unsigned how = conf->forward.index;

	if (how == FORWARD_OFF)
		return;
	if (!sy_nets_have(&conf->trust, &session->facts.client))
		for (unsigned i = 0; i < sizeof(fields); i++)
			request_drop(message, fields[i]);
	if (how == FORWARD_X || how == FORWARD_BOTH)
		request_forward_x(session, message, out);
	if (how == FORWARD_RFC || how == FORWARD_BOTH)
		request_forward_rfc(session, message, out);
}

static void
request_body(const struct message *message, struct out *out)
{
	if (message->chunked) {
		out_text(out, "Transfer-Encoding: chunked\r\n");
	} else if (message->has_length) {
		out_text(out, "Content-Length: ");
		out_number(out, message->length);
		out_text(out, "\r\n");
	}
}

static void
request_connection(const struct http *http, const struct message *message, struct out *out)
{
	if (message->te_trailers)
		out_text(out, "TE: trailers\r\n");
	if (http->upgrade || message->te_trailers)
		out_field(out, "Connection", sy_span_text(!http->upgrade ? "TE" : message->te_trailers
		                                          ? "Upgrade, TE" : "Upgrade"));
}

/* HTTP/1.0 need not name a host, and HTTP/1.1 must: it is the address that the client connected to. */
static void
request_host_unnamed(const struct sy_addr *service, struct out *out)
{
	bool six = service->family == SY_IPV6;
	char addr[OUT_ADDR];

	out_text(out, six ? "[" : "");
	out_text(out, addr_words(service, addr));
	out_text(out, six ? "]:" : ":");
	out_number(out, service->port);
}

/* False: what came out of the rewriting of the path is no path. */
static bool
request_write(struct sy_session *session, struct message *message, const struct scene *scene)
{
	const struct http_conf *conf = http_conf(session);
	struct http *http = session->state;
	const struct rule *rule = http->rule;
	const char *host = rule && rule->set_host ? rule->set_host : conf->set_host;
	struct out *out = &http->request;
	bool path = true;

	out_begin(out, http->head_len + 512);
	out_span(out, message->method);
	out_text(out, " ");
	if (rule && rule->rewrite.n && *message->path.at == '/')
		path = rules_rewrite(&rule->rewrite, message->path, out, scene);
	else
		out_span(out, message->path);
	out_text(out, " HTTP/1.1\r\nHost: ");
	if (host)
		rules_expand(out, host, scene);
	else if (!message->host.len)
		request_host_unnamed(&session->facts.service, out);
	else
		out_span(out, message->host);
	out_text(out, "\r\n");
	message_unlist(message);
	request_forward(session, message, out);
	if (rule)
		changes_apply(&rule->request_header, message, out, scene);
	changes_apply(&conf->request_header, message, out, scene);
	for (uint32_t i = 0; i < message->n; i++) {
		const struct field *field = &message->field[i];

		if (field->gone || !request_stays(http, field))
			continue;
		out_span(out, field->name);
		out_bytes(out, ": ", 2);
		out_span(out, field->value);
		out_bytes(out, "\r\n", 2);
	}
	request_body(message, out);
	request_connection(http, message, out);
	out_text(out, "\r\n");
	return path;
}

/* ---- what becomes of it ---- */

/* An upgrade is passed on when it is one of those that are allowed; the servers see no other. */
static bool
request_upgrade(const struct http_conf *conf, const struct message *message)
{
	const struct field *found = NULL;

	if (!message->upgrade || message->minor == 0 || conf->upgrade.index == UPGRADE_OFF)
		return false;
	for (uint32_t i = 0; i < message->n; i++) {
		if (message->field[i].id != FIELD_UPGRADE)
			continue;
		if (found)
			return false;
		found = &message->field[i];
	}
	if (!found || span_lists(found->value, "h2c"))
		return false;
	return conf->upgrade.index == UPGRADE_ANY || span_is(found->value, "websocket");
}

/* NULL, or the reason for which it is refused. */
static const char *
request_underscores(const struct http_conf *conf, struct message *message)
{
	if (conf->underscores.index == UNDERSCORES_PASS)
		return NULL;
	for (uint32_t i = 0; i < message->n; i++) {
		struct field *field = &message->field[i];

		if (!memchr(field->name.at, '_', field->name.len))
			continue;
		if (conf->underscores.index == UNDERSCORES_REFUSE)
			return "the name of a field holds an underscore";
		field->gone = true;
	}
	return NULL;
}

static void
request_note(struct sy_session *session, const struct message *message)
{
	const struct http_conf *conf = http_conf(session);
	struct http *http = session->state;

	http->old = message->minor == 0;
	http->last = message->minor == 0 ? !message->keep_alive : message->close;
	http->head_only = span_same(message->method, "HEAD");
	http->upgrade = request_upgrade(conf, message);
	http->chunks = message->chunked;
	http->left = message->has_length ? message->length : 0;
	http->unhurried = conf->body_rate == 0 || span_is(message->method, "rpc_in_data") ||
	                  span_is(message->method, "rpc_out_data");
	http->pin = http->pin || conf->pin.index == PIN_ON;
	for (uint32_t i = 0; i < message->n && conf->pin.index == PIN_AUTO; i++)
		if ((message->field[i].id == FIELD_AUTHORIZATION ||
		     message->field[i].id == FIELD_PROXY_AUTHORIZATION) &&
		    request_binds(message->field[i].value))
			http->pin = true;
	/* A protocol that was asked for goes to one server, with all that is said in it. */
	session->facts.session = sy_span(NULL, 0);
	session->facts.user = sy_span(NULL, 0);
}

static const char *
request_redirect(struct sy_session *session, const struct rule *rule, const struct scene *scene,
                 uint32_t *status)
{
	const struct http_conf *conf = http_conf(session);
	struct http *http = session->state;
	const char *text = rule && rule->redirect ? rule->redirect
	                 : !rule ? conf->redirect : NULL;

	if (!text)
		return NULL;
	*status = rule ? rule->redirect_status : conf->redirect_status;
	out_begin(&http->request, 256);
	rules_expand(&http->request, text, scene);
	out_bytes(&http->request, "", 1);
	sy_count(session, COUNT_REDIRECTED, 1);
	return http->request.failed ? "/" : http->request.at;
}

/* May it be done twice, with the effect of once? (RFC 9110 9.2.2) */
static bool
request_repeats(struct sy_span method)
{
	static const char *const methods[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		if (span_same(method, methods[i]))
			return true;
	return false;
}

/* The server, or an answer of our own. */
static struct sy_verdict
request_lead(struct sy_session *session, struct message *message, const struct scene *scene)
{
	struct http *http = session->state;
	const struct rule *rule = http->rule;
	bool more = message->chunked || http->left;
	uint32_t status = 0;
	const char *location;

	if (rule && rule->deny) {
		sy_count(session, COUNT_DENIED, 1);
		return answer_say(session, http->head_len, more, 403, NULL, sy_span(NULL, 0), NULL,
		                  "a rule denies the request");
	}
	location = request_redirect(session, rule, scene, &status);
	if (location)
		return answer_say(session, http->head_len, more, status, location, sy_span(NULL, 0), NULL,
		                  "a rule redirects the client");
	if (rule && rule->answers) {
		sy_count(session, COUNT_ANSWERED, 1);
		return answer_say(session, http->head_len, more, rule->answer, NULL, rule->body.content,
		                  rule->body.path ? rule->body.path : "", "a rule answers the request");
	}
	session->facts.pool = rule ? rule->pool.index : 0;
	if (!request_write(session, message, scene))
		return answer_refuse(session, 400, "what a rule makes of the path is no path");
	if (http->request.failed)
		return answer_close(session, 503, "out of memory");
	http->asking = ASK_ROUTED;
	session->once = !request_repeats(message->method);
	session->busy = true;
	return (struct sy_verdict){ .what = SY_ROUTE };
}

struct sy_verdict
request_begin(struct sy_session *session, struct sy_span head)
{
	const struct http_conf *conf = http_conf(session);
	struct head_limits limits = request_limits(conf);
	struct http *http = session->state;
	struct message message;
	struct scene scene;
	bool gave_up = false;
	const char *problem;

	if (!message_request(&message, head, &limits))
		return answer_refuse(session, message.refusal, message.problem);
	request_count(session, message.method);
	if (!request_keep(session, &message, &scene, &limits))
		return answer_close(session, 503, "out of memory");
	request_note(session, &message);
	problem = scene.unclear ? "the path goes up (..) and holds an encoded slash" : request_underscores(conf, &message);
	if (problem)
		return answer_refuse(session, 400, problem);
	if (conf->body_limit.n && http->left > conf->body_limit.n)
		return answer_refuse(session, 413, "the body is longer than body-limit");
	http->rule = rules_find(&conf->rule, &scene, &gave_up);
	if (gave_up)
		return answer_refuse(session, 400, "a rule's pattern took too long");
	return request_lead(session, &message, &scene);
}
