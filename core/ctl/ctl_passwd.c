/* Lines for the console's users file. */
#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "ctl/ctl_do.h"

enum { PASSWORD_LEAST = 8, PASSWORD_MOST = 255 };

/* From the terminal without echo, or the first line of standard input. */
static bool
passwd_read(const char *prompt, char *out, size_t size)
{
	struct termios was, quiet;
	bool terminal = tcgetattr(0, &was) == 0;
	bool read;

	if (terminal) {
		quiet = was;
		quiet.c_lflag &= (tcflag_t)~ECHO;
		tcsetattr(0, TCSAFLUSH, &quiet);
		fprintf(stderr, "%s: ", prompt);
	}
	read = fgets(out, (int)size, stdin) != NULL;
	if (terminal) {
		tcsetattr(0, TCSAFLUSH, &was);
		fprintf(stderr, "\n");
	}
	if (read)
		out[strcspn(out, "\r\n")] = '\0';
	return read;
}

int
ctl_passwd(struct ctl *ctl)
{
	const char *name = ctl->argv[0], *role = ctl->argc > 1 ? ctl->argv[1] : "operate";
	char password[PASSWORD_MOST + 2] = "", again[PASSWORD_MOST + 2] = "", salt[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data data = { 0 };
	const char *hash;

	if (strchr(name, ':') || strlen(name) > 64 ||
	    (strcmp(role, "look") != 0 && strcmp(role, "operate") != 0)) {
		fprintf(stderr, "steelyardctl: passwd NAME look|operate; a name has at most 64 characters, and no "
		        "colon\n");
		return CTL_USAGE;
	}
	if (!passwd_read("Password", password, sizeof(password)) || strlen(password) < PASSWORD_LEAST ||
	    strlen(password) > PASSWORD_MOST) {
		fprintf(stderr, "steelyardctl: a password has %d to %d bytes\n", PASSWORD_LEAST, PASSWORD_MOST);
		return CTL_FAILED;
	}
	if (isatty(0) && (!passwd_read("The same again", again, sizeof(again)) ||
	                  strcmp(password, again) != 0)) {
		fprintf(stderr, "steelyardctl: that was not the same\n");
		return CTL_FAILED;
	}
	hash = crypt_gensalt_rn("$y$", 0, NULL, 0, salt, sizeof(salt)) ? crypt_r(password, salt, &data) : NULL;
	explicit_bzero(password, sizeof(password));
	explicit_bzero(again, sizeof(again));
	if (!hash || *hash == '*') {
		fprintf(stderr, "steelyardctl: cannot hash it: %s\n", strerror(errno));
		return CTL_FAILED;
	}
	printf("%s:%s:%s\n", name, hash, role);
	return CTL_OK;
}
