#define _GNU_SOURCE 1
#include "proc/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

static struct {
	int fd;
	struct sockaddr_un to;
	socklen_t to_len;
	bool watchdog;
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char watchdog_usec[24];
} notify_state = { .fd = -1 };

/* Our own children must not speak to systemd in our name. */
void
notify_forget(void)
{
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void
notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	const char *watchdog = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	struct sockaddr_un *to = &notify_state.to;
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len >= sizeof(to->sun_path) || (*path != '/' && *path != '@')) {
		if (len > 0)
			log_warn("$NOTIFY_SOCKET is not usable: \"%s\" (neither an absolute path nor @name)", path);
		notify_forget();
		return;
	}
	to->sun_family = AF_UNIX;
	memcpy(to->sun_path, path, len + 1);
	notify_state.to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (*path == '@')
		to->sun_path[0] = '\0';
	else
		notify_state.to_len++;
	memcpy(notify_state.socket, path, len + 1);
	snprintf(notify_state.watchdog_usec, sizeof(notify_state.watchdog_usec), "%s",
	         watchdog ? watchdog : "");
	notify_state.watchdog = watchdog && atoll(watchdog) > 0 && (!pid || atoll(pid) == getpid());
	notify_state.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify_state.fd < 0)
		log_warn("cannot make a socket for $NOTIFY_SOCKET: %s", strerror(errno));
	notify_forget();
}

void
notify_hand_on(void)
{
	if (notify_state.fd < 0)
		return;
	setenv("NOTIFY_SOCKET", notify_state.socket, 1);
	if (notify_state.watchdog)
		setenv("WATCHDOG_USEC", notify_state.watchdog_usec, 1);
}

bool
notify_watchdog(void)
{
	return notify_state.fd >= 0 && notify_state.watchdog;
}

void
notify(const char *format, ...)
{
	char words[1024];
	va_list args;
	int len;

	if (notify_state.fd < 0)
		return;
	va_start(args, format);
	len = vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	if (len >= (int)sizeof(words))
		len = (int)sizeof(words) - 1;
	if (len > 0 && sendto(notify_state.fd, words, (size_t)len, MSG_NOSIGNAL,
	                      (const struct sockaddr *)&notify_state.to, notify_state.to_len) < 0)
		log_debug("cannot tell systemd: %s", strerror(errno));
}
