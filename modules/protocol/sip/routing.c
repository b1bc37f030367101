#include "routing.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "value.h"

static const char routing_cookie[] = "z9hG4bK";

enum { ROUTING_COOKIE = sizeof(routing_cookie) - 1 };

void
routing_address(const struct sy_addr *addr, char out[static ROUTING_TEXT])
{
	if (!inet_ntop(addr->family == SY_IPV6 ? AF_INET6 : AF_INET, addr->ip, out, ROUTING_TEXT))
		*out = '\0';
}

/* ---- hashes ---- */

static uint64_t
routing_mix(const struct token_key *key, uint64_t hash, struct sy_span text)
{
	uint64_t both[2] = { hash, sy_hash(&key->first, text) };

	return sy_hash(&key->second, sy_span(both, sizeof(both)));
}

static bool
routing_has_cookie(struct sy_span branch)
{
	return branch.len > ROUTING_COOKIE && memcmp(branch.at, routing_cookie, ROUTING_COOKIE) == 0;
}

uint64_t
routing_transaction(const struct sip_message *message, const struct token_key *key)
{
	bool follows = sip_method_is(message, "ACK") || sip_method_is(message, "CANCEL");
	uint64_t hash = routing_mix(key, 1, follows ? sy_span("INVITE", 6) : message->method);
	struct sip_via via;

	if (sip_via_parts(message->via, &via))
		hash = routing_mix(key, hash, via.sent_by);
	if (routing_has_cookie(message->branch))
		return routing_mix(key, hash, message->branch);
	hash = routing_mix(key, hash, message->uri);
	hash = routing_mix(key, hash, message->from_tag);
	hash = routing_mix(key, hash, message->call_id);
	return routing_mix(key, hash + message->cseq, message->via);
}

uint64_t
routing_asked(const struct sip_message *message, const struct token_key *key)
{
	bool follows = sip_method_is(message, "ACK") || sip_method_is(message, "CANCEL");
	uint64_t hash = routing_mix(key, 4, message->branch);

	return routing_mix(key, hash, follows ? sy_span("INVITE", 6) : message->method);
}

uint64_t
routing_dialog(const struct sip_message *message, const struct token_key *key)
{
	uint64_t hash = routing_mix(key, 2, message->call_id);

	return routing_mix(key, hash + message->cseq, message->from_tag);
}

/* ---- whose a Route is ---- */

/* host, or host:port: as it was written. */
static bool
routing_is_advertised(struct sy_span host, uint16_t port, const char *advertised)
{
	const char *colon = strrchr(advertised, ':');
	size_t len = strlen(advertised);
	bool has_port = colon && !strchr(colon, ']') && (colon == strchr(advertised, ':') || colon[-1] == ']');

	if (has_port)
		len = (size_t)(colon - advertised);
	if (*advertised == '[' && len > 2)
		advertised++, len -= 2;
	if (host.len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((host.at[i] | 0x20) != ((uint8_t)advertised[i] | 0x20))
			return false;
	return !has_port || !port || port == (uint16_t)atoi(colon + 1);
}

static bool
routing_is_self(struct sy_span uri, const struct routing_self *self)
{
	struct sy_span host = sip_uri_host(uri);
	uint16_t port = sip_uri_port(uri);

	if (!host.len)
		return false;
	if (sip_is(host, self->address) && (port ? port == self->port : self->port == 5060 || self->port == 5061))
		return true;
	return self->advertised && routing_is_advertised(host, port, self->advertised);
}

/* A dialog's tokens are bound to it, a registration's to nothing. */
static bool
routing_token(struct sy_span uri, const struct sip_message *message, const struct token_key *key,
              struct token *out)
{
	struct sy_span user = sip_uri_user(uri);

	if (!user.len)
		return false;
	if (token_read(user, key, message->call_id, out))
		return out->kind != TOKEN_BRANCH;
	return token_read(user, key, sy_span("", 0), out) && out->kind == TOKEN_FLOW;
}

/* True: it is ours to take away. Each time that a dialog's first request passes us it gets two Routes, one for
 * each direction; what follows these two is for the next time that the request comes by. */
static bool
routing_route(struct sy_span value, const struct sip_message *message, const struct routing_self *self,
              struct routing *out)
{
	struct sy_span uri = sip_uri(value);
	struct token token;

	if (routing_token(uri, message, &self->key, &token)) {
		if (out->paired || (out->told && out->token.kind == token.kind))
			return false;
		out->paired = out->told;
		if (!out->told)
			out->token = token;
		out->told = true;
		return true;
	}
	if (out->told || !routing_is_self(uri, self))
		return false;
	out->forged = out->forged || sip_uri_user(uri).len > 0;
	return true;
}

/* The values that are not ours: how many, the first and the last. */
struct routing_others {
	uint32_t n;
	struct sy_span first, last;
};

static void
routing_routes(struct sy_span rest, const struct sip_message *message, const struct routing_self *self,
               struct routing *out, struct routing_others *others)
{
	struct sy_span list, value;
	bool ours = true;

	for (struct sy_span line = sip_line(&rest); line.len; line = sip_line(&rest)) {
		if (!sip_field_is(line, "route", 0, &list))
			continue;
		while (sip_next_value(&list, &value)) {
			ours = ours && routing_route(value, message, self, out);
			out->own += ours;
			if (ours)
				continue;
			out->hash = (uint32_t)routing_mix(&self->key, out->hash, value);
			if (!others->n++)
				others->first = value;
			others->last = value;
		}
	}
}

/* Who is next does not say that it routes loosely: the Route becomes the Request-URI, which goes to its end
 * (RFC 3261 16.6 step 6). */
static void
routing_next(const struct routing_others *others, struct sy_span uri, struct routing *out)
{
	struct sy_span next = others->n > out->strict ? sip_uri(others->first) : sy_span(NULL, 0);

	if (!sip_uri_is_plausible(next) || !sip_uri_host(next).len || sip_uri_has(next, "lr"))
		return;
	out->last = out->strict ? out->uri : uri;
	out->uri = next;
	out->own++;
}

/* A Via of ours whose branch has the same hash: a loop. Another one: a spiral, which is allowed. */
static void
routing_vias(struct sy_span rest, const struct sip_message *message, const struct routing_self *self,
             struct routing *out)
{
	struct sy_span list, value, branch;
	struct token token;

	for (struct sy_span line = sip_line(&rest); line.len; line = sip_line(&rest)) {
		if (!sip_field_is(line, "via", 'v', &list))
			continue;
		while (sip_next_value(&list, &value))
			if (sip_via(value, &branch) && routing_has_cookie(branch) &&
			    token_read(sy_span(branch.at + ROUTING_COOKIE, branch.len - ROUTING_COOKIE), &self->key,
			               message->call_id, &token) && token.kind == TOKEN_BRANCH)
				out->loops = out->loops || token.loop == out->hash;
	}
}

void
routing_read(const struct sip_message *message, const struct routing_self *self, struct routing *out)
{
	struct routing_others others = { 0 };
	struct sy_span rest = message->head;
	struct token token;

	*out = (struct routing){ .own = 0 };
	(void)sip_line(&rest);
	out->hash = (uint32_t)routing_mix(&self->key, 3, message->uri);
	routing_routes(rest, message, self, out, &others);
	/* Who routes strictly puts the Route into the Request-URI (RFC 3261 16.4). */
	if (others.n && sip_uri_is_plausible(sip_uri(others.last)) &&
	    routing_token(message->uri, message, &self->key, &token)) {
		out->strict = true;
		out->uri = sip_uri(others.last);
		out->token = token;
		out->told = true;
	}
	routing_next(&others, message->uri, out);
	out->hash = (uint32_t)routing_mix(&self->key, out->hash, message->from_tag);
	out->hash = (uint32_t)routing_mix(&self->key, out->hash + message->cseq, message->to_tag);
	if (out->told)
		out->hash = (uint32_t)routing_mix(&self->key, out->hash + out->token.kind,
		                                  sy_span(out->token.flow, out->token.flow_len));
	routing_vias(rest, message, self, out);
}

bool
routing_branch(const struct sip_message *message, const struct token_key *key, struct token *out)
{
	struct sy_span branch = message->branch;

	return routing_has_cookie(branch) &&
	       token_read(sy_span(branch.at + ROUTING_COOKIE, branch.len - ROUTING_COOKIE), key, message->call_id,
	                  out) && out->kind == TOKEN_BRANCH;
}
