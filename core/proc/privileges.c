#define _GNU_SOURCE 1
#include "proc/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PRIVILEGES_SANITIZED 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define PRIVILEGES_SANITIZED 1
#endif
#ifndef PRIVILEGES_SANITIZED
#define PRIVILEGES_SANITIZED 0
#endif

static unsigned
privileges_mask(unsigned keep)
{
	return (keep & KEEP_NET_RAW ? 1u << CAP_NET_RAW : 0) |
	       (keep & KEEP_NET_BIND ? 1u << CAP_NET_BIND_SERVICE : 0) |
	       (keep & KEEP_NET_ADMIN ? 1u << CAP_NET_ADMIN : 0);
}

/* capset(2) directly: libcap would be one more library for one call. */
static int
privileges_set(unsigned mask)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = mask, .permitted = mask },
	};

	return (int)syscall(SYS_capset, &header, data);
}

/* What is out of the bounding set cannot come back through a set-uid program. Numbers that this
 * kernel does not know are the end. */
static int
privileges_bound(unsigned mask)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		if (cap < 32 && mask & 1u << cap)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			return errno == EINVAL ? 0 : -1;
	}
	return 0;
}

int
privileges_drop(uid_t uid, gid_t gid, unsigned keep, struct sy_err *err)
{
	unsigned mask = privileges_mask(keep);
	const char *what;

	if (geteuid() != 0)
		return 0;
	if (what = "bounding set", privileges_bound(mask) != 0)
		goto failed;
	if (what = "keep capabilities", prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
		goto failed;
	if (what = "supplementary groups", setgroups(0, NULL) != 0)
		goto failed;
	if (what = "group", setresgid(gid, gid, gid) != 0)
		goto failed;
	if (what = "user", setresuid(uid, uid, uid) != 0)
		goto failed;
	if (what = "capabilities; was it started without one that it is to keep?", privileges_set(mask) != 0)
		goto failed;
	if (what = "no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		goto failed;
	/* The leak checker traces its own process. */
	if (what = "dumpable", prctl(PR_SET_DUMPABLE, PRIVILEGES_SANITIZED, 0, 0, 0) != 0)
		goto failed;
	/* For good: the way back must be closed. */
	if (uid != 0 && (setuid(0) == 0 || geteuid() != uid))
		return sy_fail(err, "cannot drop privileges: the way back to root is still open");
	return 0;
failed:
	return sy_fail(err, "cannot drop privileges to uid %u, gid %u (%s): %s", (unsigned)uid,
	               (unsigned)gid, what, strerror(errno));
}
