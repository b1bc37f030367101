/* The control socket: made under another name and moved into place, so that nobody ever sees it with
 * the wrong owner or mode, and what a killed predecessor left is replaced in one step. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "role/master.h"

enum { DOOR_BACKLOG = 128, DOOR_TRY_AGAIN_MS = 50 };

#define DOOR_SUFFIX ".new"

/* The length was looked at before. */
static void
door_name(const char *path, const char *suffix, struct sockaddr_un *out)
{
	int most = (int)(sizeof(out->sun_path) - sizeof(DOOR_SUFFIX));

	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	snprintf(out->sun_path, sizeof(out->sun_path), "%.*s%s", most, path, suffix);
}

/* Whether somebody answers behind the socket that is there. */
static bool
door_lives(const char *path)
{
	struct sockaddr_un name;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool lives;

	if (fd < 0)
		return false;
	door_name(path, "", &name);
	lives = connect(fd, (const struct sockaddr *)&name, sizeof(name)) == 0 || errno == EAGAIN;
	close(fd);
	return lives;
}

/* A predecessor's console may need a moment to leave. */
static int
door_is_free(const char *path, bool patient, struct sy_err *err)
{
	uint64_t until = clock_ms() + (patient ? MASTER_TAKEOVER_MS : 0);
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return sy_fail(err, "cannot make the control socket %s: there is something else of that name",
		               path);
	while (door_lives(path)) {
		if (clock_ms() >= until)
			return sy_fail(err, "cannot make the control socket %s: another instance answers there",
			               path);
		poll(NULL, 0, DOOR_TRY_AGAIN_MS);
	}
	return 0;
}

/* /run is empty after a boot; systemd makes the folder, others may not. */
static void
door_make_folder(const char *path)
{
	char folder[GEN_PATH];
	char *slash;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash && slash != folder) {
		*slash = '\0';
		mkdir(folder, 0755);
	}
}

int
door_allow(const struct gen_head *head, const char *path, struct sy_err *err)
{
	if (!path[0] || (chmod(path, head->control_mode & 0777) == 0 &&
	                 (geteuid() != 0 || chown(path, 0, head->control_gid) == 0)))
		return 0;
	return sy_fail(err, "cannot set mode %o and group %u of the control socket %s: %s",
	               head->control_mode, head->control_gid, path, strerror(errno));
}

static int
door_put(int fd, const struct gen_head *head, struct control_socket *out, struct sy_err *err)
{
	struct sockaddr_un name;
	struct stat st;

	door_name(head->control_path, DOOR_SUFFIX, &name);
	unlink(name.sun_path);
	if (bind(fd, (const struct sockaddr *)&name, sizeof(name)) != 0)
		return sy_fail(err, "cannot make the control socket %s: %s", head->control_path,
		               strerror(errno));
	if (door_allow(head, name.sun_path, err) != 0) {
		unlink(name.sun_path);
		return -1;
	}
	if (listen(fd, DOOR_BACKLOG) != 0 || stat(name.sun_path, &st) != 0 ||
	    rename(name.sun_path, head->control_path) != 0) {
		sy_fail(err, "cannot make the control socket %s: %s", head->control_path, strerror(errno));
		unlink(name.sun_path);
		return -1;
	}
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	return 0;
}

int
door_open(const struct gen_head *head, bool patient, struct control_socket *out, struct sy_err *err)
{
	struct sockaddr_un name;

	*out = (struct control_socket){ .fd = -1 };
	if (!head->control_path[0])
		return 0;
	if (strlen(head->control_path) + sizeof(DOOR_SUFFIX) > sizeof(name.sun_path))
		return sy_fail(err, "cannot make the control socket %s: the path is too long",
		               head->control_path);
	door_make_folder(head->control_path);
	if (door_is_free(head->control_path, patient, err) != 0)
		return -1;
	memcpy(out->path, head->control_path, sizeof(out->path));
	out->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (out->fd < 0)
		return sy_fail(err, "cannot make the control socket %s: %s", head->control_path,
		               strerror(errno));
	if (door_put(out->fd, head, out, err) == 0)
		return 0;
	close(out->fd);
	out->fd = -1;
	return -1;
}

void
door_close(struct control_socket *door)
{
	struct stat st;

	if (door->fd < 0)
		return;
	close(door->fd);
	door->fd = -1;
	if (stat(door->path, &st) == 0 && st.st_dev == door->dev && st.st_ino == door->ino)
		unlink(door->path);
}
