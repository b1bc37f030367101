#include "conf/users.h"

#include <string.h>

enum { USERS_MOST = 1000, USERS_LINE = 512 };

static bool
user_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= USER_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@ ") == len;
}

/* Ways of crypt(5) that cost an attacker something: yescrypt, gost-yescrypt, scrypt, bcrypt, SHA-512
 * and SHA-256. */
static bool
user_password_ok(const char *password)
{
	static const char *const ways[] = { "$y$", "$gy$", "$7$", "$2a$", "$2b$", "$2y$", "$6$", "$5$" };

	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (strncmp(password, ways[i], strlen(ways[i])) == 0)
			return strlen(password) > 20;
	return false;
}

/* Fills *user, or says what is wrong with the line. */
static const char *
user_line(struct arena *arena, char *line, struct console_user *user)
{
	char *password = strchr(line, ':'), *role = password ? strchr(password + 1, ':') : NULL;

	if (!role || strchr(role + 1, ':'))
		return "a line is NAME:PASSWORD:ROLE (steelyardctl passwd NAME ROLE makes one)";
	*password++ = *role++ = '\0';
	if (!user_name_ok(line))
		return "a name has 1 to 64 letters, digits, blanks and . _ - @";
	if (strcmp(role, "look") != 0 && strcmp(role, "operate") != 0)
		return "the role is look or operate";
	if (strcmp(password, "certificate") != 0 && !user_password_ok(password))
		return "the password is hashed as crypt(5) says ($y$, $6$, $2b$ and the like), or the word "
		       "certificate";
	user->name = arena_text(arena, line);
	user->password = strcmp(password, "certificate") == 0 ? NULL : arena_text(arena, password);
	user->operate = strcmp(role, "operate") == 0;
	return NULL;
}

void
users_parse(struct arena *arena, const struct sy_file *file, const struct node *node,
	    struct console_users *out, struct complaints *complaints)
{
	const char *at = (const char *)file->content.at, *end = at + file->content.len;
	struct console_user *users = arena_array(arena, struct console_user, USERS_MOST);
	struct node place = *node;

	*out = (struct console_users){ .at = users };
	place.file = file->path;
	place.line = 0;
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at)), *wrong;
		size_t len = (size_t)((stop ? stop : end) - at);
		char line[USERS_LINE];

		place.line++;
		memcpy(line, at, len < sizeof(line) ? len : sizeof(line) - 1);
		line[len < sizeof(line) ? len : sizeof(line) - 1] = '\0';
		at += len + 1;
		if (!line[0] || line[0] == '#')
			continue;
		wrong = len >= sizeof(line) || strlen(line) != len ? "the line is too long, or holds a NUL"
		      : out->n == USERS_MOST ? "more than 1000 users"
		      : user_line(arena, line, &users[out->n]);
		if (!wrong && users_find(out, users[out->n].name))
			wrong = "this name is there twice";
		if (wrong)
			complain(complaints, &place, "%s", wrong);
		else
			out->n++;
	}
	if (out->n == 0)
		complain(complaints, node, "users: nobody is in %s", file->path);
}

const struct console_user *
users_find(const struct console_users *users, const char *name)
{
	for (uint32_t i = 0; i < users->n; i++)
		if (strcmp(users->at[i].name, name) == 0)
			return &users->at[i];
	return NULL;
}
