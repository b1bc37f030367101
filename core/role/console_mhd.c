#include "config.h"
#include "role/console_mhd.h"

#include "base/library.h"

struct mhd mhd;

int
mhd_load(struct sy_err *err)
{
#define MHD_CALL(name) { "MHD_" #name, &mhd.name },
	static const struct library_call calls[] = { MHD_CALLS(MHD_CALL) { NULL, NULL } };
#undef MHD_CALL

	return mhd.run ? 0 : library_load(MICROHTTPD_SONAME, "the console", calls, err);
}
