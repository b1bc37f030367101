#include "proxy.h"

#include <stdio.h>
#include <stdlib.h>

#include "rewrite.h"
#include "value.h"

enum {
	FORWARD_HOST = 300,
	FORWARD_FIELDS = 4 * FORWARD_HOST + 3 * TOKEN_MOST + 400,
	FORWARD_ACK = 256,
};

static const char *const forward_via[] = { "UDP", "TCP", "TLS" };
static const char *const forward_parameter[] = { "", ";transport=tcp", ";transport=tls" };

enum forward_transport { FORWARD_UDP, FORWARD_TCP, FORWARD_TLS };

/* One side of us, as it is named to those who are there. */
struct hop {
	char host[FORWARD_HOST];
	enum forward_transport transport;
};

/* ---- names ---- */

static enum forward_transport
forward_transport(bool datagram, bool secure)
{
	return datagram ? FORWARD_UDP : secure ? FORWARD_TLS : FORWARD_TCP;
}

static void
forward_host(const struct sy_addr *addr, char out[static FORWARD_HOST])
{
	char text[ROUTING_TEXT];

	routing_address(addr, text);
	snprintf(out, FORWARD_HOST, addr->family == SY_IPV6 ? "[%s]:%u" : "%s:%u", text, addr->port);
}

/* Towards servers we are what the settings say, or what the client found. */
static void
forward_server_side(const struct sy_session *session, struct hop *out)
{
	const struct sip_conf *conf = session->conf;

	forward_host(conf->server_side.family ? &conf->server_side : &session->facts.service, out->host);
}

static void
forward_client_side(const struct sy_session *session, const struct sy_addr *addr, struct hop *out)
{
	const struct sip_conf *conf = session->conf;

	if (conf->client_side)
		snprintf(out->host, sizeof(out->host), "%s", conf->client_side);
	else
		forward_host(addr, out->host);
}

/* Where the message comes from, and where it goes. */
static void
forward_hops(const struct sy_session *session, const struct transaction *t, struct hop *from, struct hop *to)
{
	from->transport = forward_transport(session->datagram, session->facts.secure);
	to->transport = forward_transport(session->server_datagram, session->server_secure);
	if (t->to_flow) {
		forward_server_side(session, from);
		forward_client_side(session, &session->flow_service, to);
	} else {
		forward_client_side(session, &session->facts.service, from);
		forward_server_side(session, to);
	}
}

void
forward_self(const struct sy_session *session, const struct token_key *key, struct routing_self *out)
{
	const struct sip_conf *conf = session->conf;

	*out = (struct routing_self){ .key = *key, .port = session->facts.service.port,
	                              .advertised = conf->client_side };
	routing_address(&session->facts.service, out->address);
}

/* ---- fields of ours ---- */

static void
forward_flow(struct token *token, struct sy_span flow)
{
	token->kind = TOKEN_FLOW;
	token->flow_len = (uint8_t)(flow.len < SY_FLOW_MOST ? flow.len : SY_FLOW_MOST);
	if (token->flow_len)
		memcpy(token->flow, flow.at, token->flow_len);
}

/* Who is told `hop` sends by it to whom the token names. */
static size_t
forward_route(char *at, size_t room, const char *name, const struct hop *hop, const struct token *token,
              const struct transaction *t, const struct sip_message *message, bool bound)
{
	char text[TOKEN_MOST];
	bool sips = message->uri.len > 5 && sip_is(sy_span(message->uri.at, 5), "sips:");
	size_t len = token_write(token, &t->key, bound ? message->call_id : sy_span("", 0), text);

	return (size_t)snprintf(at, room, "%s: <%s:%.*s@%s%s;lr>\r\n", name, sips ? "sips" : "sip", (int)len, text,
	                        hop->host, sips ? "" : forward_parameter[hop->transport]);
}

/* Two, one for each direction (RFC 5658): the upper one is for who hears the request. */
static size_t
forward_record(char *at, size_t room, const struct sy_session *session, const struct transaction *t,
               const struct hop *from, const struct hop *to, const struct sip_message *message)
{
	struct token there = { .kind = TOKEN_SERVER }, back = { .kind = TOKEN_SERVER };
	size_t n;

	if (t->to_flow) {
		back.addr = session->facts.client;
		back.addr.port = 0;
		forward_flow(&there, session->facts.flow);
	} else {
		there.addr = session->server;
		forward_flow(&back, session->flow);
	}
	n = forward_route(at, room, "Record-Route", to, &back, t, message, true);
	return n + forward_route(at + n, room - n, "Record-Route", from, &there, t, message, true);
}

static bool
forward_makes_dialog(const struct sip_message *message)
{
	return !message->to_tag.len && (sip_method_is(message, "INVITE") || sip_method_is(message, "SUBSCRIBE") ||
	                                sip_method_is(message, "REFER") || sip_method_is(message, "NOTIFY"));
}

/* RFC 3327. */
static bool
forward_wants_path(const struct sy_session *session, const struct transaction *t,
                   const struct sip_message *message)
{
	const struct sip_conf *conf = session->conf;
	struct sy_span rest = message->head, list, value;

	if (t->to_flow || !sip_method_is(message, "REGISTER") || conf->path.index == SIP_PATH_OFF)
		return false;
	if (conf->path.index == SIP_PATH_ON)
		return true;
	for (struct sy_span line = sip_line(&rest); line.len; line = sip_line(&rest))
		if (sip_field_is(line, "supported", 'k', &list))
			while (sip_next_value(&list, &value))
				if (sip_is(value, "path"))
					return true;
	return false;
}

static size_t
forward_via_line(char *at, size_t room, const struct sy_session *session, const struct transaction *t,
                 const struct hop *to)
{
	const struct sip_conf *conf = session->conf;

	return (size_t)snprintf(at, room, "Via: SIP/2.0/%s %s;branch=%s%s%s\r\n", forward_via[to->transport],
	                        to->host, t->branch, to->transport == FORWARD_UDP ? ";rport" : "",
	                        conf->overload_control && !t->to_flow ? ";oc;oc-algo=\"loss\"" : "");
}

static size_t
forward_fields(char *out, const struct sy_session *session, const struct transaction *t,
               const struct sip_message *message)
{
	const struct sip_conf *conf = session->conf;
	struct token flow = { .kind = TOKEN_FLOW };
	struct hop from, to;
	size_t n;

	forward_hops(session, t, &from, &to);
	n = forward_via_line(out, FORWARD_FIELDS, session, t, &to);
	if (conf->record_route && forward_makes_dialog(message))
		n += forward_record(out + n, FORWARD_FIELDS - n, session, t, &from, &to, message);
	if (forward_wants_path(session, t, message)) {
		forward_flow(&flow, session->flow);
		n += forward_route(out + n, FORWARD_FIELDS - n, "Path", &to, &flow, t, message, false);
	}
	return n;
}

/* ---- messages ---- */

static struct reply *
forward_make(const struct sip_message *message, const struct rewrite *how, struct sy_span body)
{
	size_t most = rewrite_most(message, how);
	struct reply *reply = malloc(sizeof(*reply) + most + body.len);

	if (!reply)
		return NULL;
	reply->len = rewrite(message, how, (uint8_t *)reply->bytes, most);
	if (body.len)
		memcpy(reply->bytes + reply->len, body.at, body.len);
	reply->len += body.len;
	return reply;
}

/* A branch is one server's (RFC 3261 16.6 step 8). */
static void
forward_branch(const struct sy_session *session, struct transaction *t, const struct sip_message *message)
{
	struct token token = {
		.attempt = t->n_avoid, .loop = t->routing.hash,
		.transaction = routing_transaction(message, &t->key),
	};
	char text[TOKEN_MOST];
	size_t len;

	forward_flow(&token, session->flow);
	token.kind = TOKEN_BRANCH;
	len = token_write(&token, &t->key, message->call_id, text);
	snprintf(t->branch, sizeof(t->branch), "z9hG4bK%.*s", (int)len, text);
}

struct reply *
forward_request(struct sy_session *session, struct transaction *t, const struct sip_message *message,
                struct sy_span body)
{
	char fields[FORWARD_FIELDS], from[ROUTING_TEXT];
	struct rewrite how = {
		.routes = t->routing.own, .last_route = t->routing.strict, .forwards = true, .length = true,
		.uri = t->routing.uri, .add_route = t->routing.last,
	};

	forward_branch(session, t, message);
	routing_address(&session->facts.client, from);
	how.from = sy_span_text(from);
	how.from_port = session->facts.client.port;
	how.fields = sy_span(fields, forward_fields(fields, session, t, message));
	return forward_make(message, &how, body);
}

struct reply *
forward_answer(const struct sip_message *message, struct sy_span body)
{
	struct rewrite how = { .pops_via = true, .length = true };

	return forward_make(message, &how, body);
}

struct reply *
forward_datagram(const struct sip_message *message, struct sy_span body)
{
	struct rewrite how = { .length = true };

	return forward_make(message, &how, body);
}

/* ---- requests of our own: what hangs on a request that we have sent ---- */

static void
forward_add(struct reply *reply, struct sy_span text)
{
	memcpy(reply->bytes + reply->len, text.at, text.len);
	reply->len += text.len;
}

static void
forward_add_text(struct reply *reply, const char *text)
{
	forward_add(reply, sy_span_text(text));
}

/* The fields that say what it hangs on, of the request as the server knows it. */
static void
forward_add_fields(struct reply *reply, struct sy_span rest, struct sy_span to)
{
	static const struct { const char *name; char compact; } same[] = {
		{ "from", 'f' }, { "call-id", 'i' }, { "route", 0 }, { "to", 't' },
	};
	struct sy_span value;
	bool via = false;

	for (struct sy_span line = sip_line(&rest); line.len; line = sip_line(&rest)) {
		bool first = !via && sip_field_is(line, "via", 'v', &value), wanted = first;

		via = via || first;
		for (unsigned i = 0; i < 4 && !wanted; i++)
			wanted = sip_field_is(line, same[i].name, same[i].compact, &value) && (i < 3 || !to.len);
		if (!wanted)
			continue;
		forward_add(reply, line);
		forward_add_text(reply, "\r\n");
	}
	if (!to.len)
		return;
	forward_add_text(reply, "To: ");
	forward_add(reply, to);
	forward_add_text(reply, "\r\n");
}

static struct reply *
forward_own(struct sy_session *session, struct transaction *t, const char *method, struct sy_span to)
{
	struct sip_scan scan = { 0 };
	struct sip_message sent;
	struct reply *request = transaction_again(session, t), *reply = NULL;
	char line[FORWARD_ACK];

	if (request && sip_read(&scan, sy_span(request->bytes, request->len), UINT32_MAX, &sent) == SIP_MESSAGE)
		reply = malloc(sizeof(*reply) + sent.head.len + to.len + FORWARD_ACK);
	if (reply) {
		struct sy_span rest = sent.head;

		reply->len = 0;
		(void)sip_line(&rest);
		forward_add_text(reply, method);
		forward_add_text(reply, " ");
		forward_add(reply, sent.uri);
		forward_add_text(reply, " SIP/2.0\r\n");
		forward_add_fields(reply, rest, to);
		forward_add(reply, sy_span(line, (size_t)snprintf(line, sizeof(line), "CSeq: %u %s\r\n"
			"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n", sent.cseq, method)));
	}
	free(request);
	return reply;
}

struct reply *
forward_cancel(struct sy_session *session, struct transaction *t)
{
	return forward_own(session, t, "CANCEL", sy_span(NULL, 0));
}

struct reply *
forward_ack(struct sy_session *session, struct transaction *t, const struct sip_message *like)
{
	return forward_own(session, t, "ACK", like->to);
}
