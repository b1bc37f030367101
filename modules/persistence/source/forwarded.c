#include "forwarded.h"

#include <arpa/inet.h>

/* Digits of a port, or nothing. */
static bool
forwarded_port(struct sy_span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
	return text.len >= 1 && text.len <= 5;
}

static bool
forwarded_ip(struct sy_span text, struct sy_addr *out)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char copy[INET6_ADDRSTRLEN];
	uint8_t ip[16];

	*out = (struct sy_addr){ .family = SY_NO_ADDR };
	if (!text.len || text.len >= sizeof(copy) || memchr(text.at, 0, text.len))
		return false;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET, copy, out->ip) == 1) {
		out->family = SY_IPV4;
		return true;
	}
	if (inet_pton(AF_INET6, copy, ip) != 1)
		return false;
	out->family = memcmp(ip, mapped, sizeof(mapped)) == 0 ? SY_IPV4 : SY_IPV6;
	memcpy(out->ip, out->family == SY_IPV4 ? ip + 12 : ip, out->family == SY_IPV4 ? 4 : 16);
	return true;
}

/* 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80 */
static bool
forwarded_node(struct sy_span text, struct sy_addr *out)
{
	const uint8_t *end;
	struct sy_span rest;

	if (text.len && *text.at == '[') {
		end = memchr(text.at, ']', text.len);
		if (!end)
			return false;
		rest = sy_span(end + 1, text.len - (size_t)(end - text.at) - 1);
		if (rest.len && (*rest.at != ':' || !forwarded_port(sy_span(rest.at + 1, rest.len - 1))))
			return false;
		return forwarded_ip(sy_span(text.at + 1, (size_t)(end - text.at) - 1), out) &&
		       out->family == SY_IPV6;
	}
	end = text.len ? memchr(text.at, ':', text.len) : NULL;
	rest = end ? sy_span(end + 1, text.len - (size_t)(end - text.at) - 1) : sy_span(NULL, 0);
	if (end && memchr(text.at, '.', (size_t)(end - text.at)) && forwarded_port(rest))
		text.len = (size_t)(end - text.at);
	return forwarded_ip(text, out);
}

/* The next element of a list, and of it the next pair: a comma or a semicolon in quotes ends nothing. */
static bool
forwarded_part(struct sy_span *in, uint8_t mark, struct sy_span *part)
{
	bool quoted = false;
	size_t i = 0;

	if (!in->len)
		return false;
	for (; i < in->len && (quoted || in->at[i] != mark); i++) {
		if (in->at[i] == '"')
			quoted = !quoted;
		else if (in->at[i] == '\\' && quoted && i + 1 < in->len)
			i++;
	}
	*part = sy_span_trim(sy_span(in->at, i));
	i += i < in->len;
	*in = sy_span(in->at + i, in->len - i);
	return true;
}

/* for="[2001:db8::1]:443"; what is hidden ("_gateway", "unknown") cannot be read. */
static bool
forwarded_element(struct sy_span element, struct sy_addr *out)
{
	struct sy_span pair;

	while (forwarded_part(&element, ';', &pair)) {
		const uint8_t *equals = pair.len ? memchr(pair.at, '=', pair.len) : NULL;
		struct sy_span value;

		if (!equals || !sy_span_is(sy_span_trim(sy_span(pair.at, (size_t)(equals - pair.at))), "for"))
			continue;
		value = sy_span_trim(sy_span(equals + 1, pair.len - (size_t)(equals - pair.at) - 1));
		if (value.len >= 2 && *value.at == '"' && value.at[value.len - 1] == '"')
			value = sy_span(value.at + 1, value.len - 2);
		return forwarded_node(value, out);
	}
	return false;
}

bool
forwarded_client(struct sy_span bytes, bool standard, const struct sy_nets *trusted, struct sy_addr *out)
{
	struct sy_head head = sy_head(bytes);
	struct sy_span element;
	struct sy_addr addr, client;
	bool found = false;

	/* From the left: who is not trusted takes the place of all before, and what cannot be read
	 * makes them worthless. */
	while (sy_head_next(&head)) {
		if (!sy_span_is(head.name, standard ? "forwarded" : "x-forwarded-for"))
			continue;
		while (forwarded_part(&head.value, ',', &element)) {
			if (!(standard ? forwarded_element : forwarded_node)(element, &addr)) {
				found = false;
			} else if (!found || !sy_nets_have(trusted, &addr)) {
				client = addr;
				found = true;
			}
		}
	}
	if (found)
		*out = client;
	return found;
}
