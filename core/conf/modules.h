/* Modules are opened from a private, sealed copy of their file (a memfd named by content hash), so
 * that an upgrade on disk never changes code under a running process, and are never closed. */
#ifndef CONF_MODULES_H
#define CONF_MODULES_H

#include "api/module.h"

/* "protocol", "monitor", ...: names of directives, and of the folders. */
extern const char *const kind_names[SY_KINDS];

/* Loader: finds DIR/KIND/NAME.so, refuses what is not a regular file owned by root (or by this
 * process's own user) or is writable by others, copies it into a sealed memfd, returns that with
 * the content's hash. -1 with err. */
int modules_copy(const char *dir, enum sy_kind kind, const char *name, uint64_t *hash,
		 struct sy_err *err);
/* Opens a private copy and checks it (symbol, sizes, ABI, api_id, kind, name). The same content is
 * opened once in a process. NULL with err, a clear sentence. */
const struct sy_module *modules_open(int fd, uint64_t hash, enum sy_kind kind, const char *name,
				     struct sy_err *err);
/* Names of the modules in DIR/KIND, for "did you mean" and the manual; NULL at the end; freed by
 * the caller in one go with free(). */
const char **modules_names(const char *dir, enum sy_kind kind);

#endif
