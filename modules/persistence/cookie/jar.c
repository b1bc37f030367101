#include "jar.h"

static struct sy_span
jar_unquote(struct sy_span value)
{
	if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
		return sy_span(value.at + 1, value.len - 2);
	return value;
}

/* "name=value"; without an = there is no name. */
static bool
jar_pair(struct sy_span pair, const char *name, struct sy_span *value)
{
	const uint8_t *equals = pair.len ? memchr(pair.at, '=', pair.len) : NULL;
	struct sy_span own;

	if (!equals)
		return false;
	own = sy_span_trim(sy_span(pair.at, (size_t)(equals - pair.at)));
	if (own.len != strlen(name) || memcmp(own.at, name, own.len) != 0)
		return false;
	*value = jar_unquote(sy_span_trim(sy_span(equals + 1, pair.len - (size_t)(equals - pair.at) - 1)));
	return true;
}

struct jar
jar_open(struct sy_span head, const char *name)
{
	return (struct jar){ .name = name, .head = sy_head(head) };
}

bool
jar_next(struct jar *jar, struct sy_span *value)
{
	struct sy_span pair;

	for (;;) {
		while (sy_span_part(&jar->pairs, ';', &pair))
			if (jar_pair(pair, jar->name, value))
				return true;
		do
			if (!sy_head_next(&jar->head))
				return false;
		while (!sy_span_is(jar->head.name, "cookie"));
		jar->pairs = jar->head.value;
	}
}

/* Max-Age of 0 or less ends the cookie's life at once. */
static bool
jar_taken_back(struct sy_span attributes)
{
	struct sy_span part;

	while (sy_span_part(&attributes, ';', &part)) {
		const uint8_t *equals = part.len ? memchr(part.at, '=', part.len) : NULL;
		struct sy_span value;

		if (!equals || !sy_span_is(sy_span_trim(sy_span(part.at, (size_t)(equals - part.at))), "max-age"))
			continue;
		value = sy_span_trim(sy_span(equals + 1, part.len - (size_t)(equals - part.at) - 1));
		if (value.len && (value.at[0] == '-' || (value.len == 1 && value.at[0] == '0')))
			return true;
	}
	return false;
}

bool
jar_set(struct sy_span head, const char *name, struct sy_span *value)
{
	struct sy_head fields = sy_head(head);
	bool found = false;

	while (sy_head_next(&fields)) {
		struct sy_span pair;

		if (!sy_span_is(fields.name, "set-cookie") || !sy_span_part(&fields.value, ';', &pair) ||
		    !jar_pair(pair, name, value))
			continue;
		found = value->len > 0 && !jar_taken_back(fields.value);
	}
	return found;
}
