/* Memory that is shared between processes or sealed for good. */
#ifndef BASE_MEMFD_H
#define BASE_MEMFD_H

#include <stddef.h>

#include "api/err.h"

/* A memfd of `size` bytes sealed against resizing; -1 with err. Pages are taken only when touched. */
int memfd_shared(const char *name, size_t size, struct sy_err *err);
/* A memfd that holds `bytes`, sealed against any change. */
int memfd_sealed(const char *name, const void *bytes, size_t len, struct sy_err *err);
/* Maps the whole; *len is set. NULL with err. Read-write only for memfd_shared ones. */
void *memfd_map(int fd, int writable, size_t *len, struct sy_err *err);

#endif
