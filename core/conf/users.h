/* The console's users: a file with one of them a line,
 *
 *	NAME:PASSWORD:ROLE
 *
 * PASSWORD as crypt(5) writes it ("steelyardctl passwd" makes such lines), or the word `certificate`:
 * then the name is the common name of the certificate that the client showed to the virtual service
 * in front. ROLE is look or operate. Empty lines and those that begin with # do not count. */
#ifndef CONF_USERS_H
#define CONF_USERS_H

#include "conf/config.h"

enum { USER_NAME_MAX = 64 };

struct console_user {
	const char *name;
	const char *password;     /* NULL: by certificate */
	bool operate;
};

struct console_users {
	const struct console_user *at;
	uint32_t n;
};

/* What is wrong with a line is complained about with the file's own name and line. */
void users_parse(struct arena *arena, const struct sy_file *file, const struct node *node,
		 struct console_users *out, struct complaints *complaints);
const struct console_user *users_find(const struct console_users *users, const char *name);

#endif
