/* Dropping privileges for good. */
#ifndef PROC_PRIVILEGES_H
#define PROC_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "api/err.h"

enum { KEEP_NET_RAW = 1, KEEP_NET_BIND = 2, KEEP_NET_ADMIN = 4 };

/* Becomes uid/gid with no supplementary groups and exactly the capabilities named in keep (effective,
 * permitted; not inheritable), no_new_privs, not dumpable unless the sanitizers want it. When the process is not root, does
 * nothing and succeeds. */
int privileges_drop(uid_t uid, gid_t gid, unsigned keep, struct sy_err *err);

#endif
