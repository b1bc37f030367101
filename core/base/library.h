/* Libraries that one role alone uses. Were they linked, every process would pay for them, with the pages that
 * the dynamic linker writes to: libmicrohttpd and what it brings along take 400 KiB of each process. */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H

#include "api/err.h"

struct library_call {
	const char *name;
	void *at;                 /* of the pointer to the function */
};

/* Loads it for the rest of this process's life and fills in the pointers. The list ends with a name NULL.
 * `who`: needs it. -1 with err. */
int library_load(const char *soname, const char *who, const struct library_call *calls, struct sy_err *err);

#endif
