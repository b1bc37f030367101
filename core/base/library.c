#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

int
library_load(const char *soname, const char *who, const struct library_call *calls, struct sy_err *err)
{
	void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return sy_fail(err, "%s needs the library %s, which cannot be loaded: %s", who, soname, dlerror());
	for (; calls->name; calls++) {
		void *call = dlsym(library, calls->name);

		if (!call)
			return sy_fail(err, "%s needs another version of the library %s: %s", who, soname,
			               dlerror());
		memcpy(calls->at, &call, sizeof(call));
	}
	return 0;
}
