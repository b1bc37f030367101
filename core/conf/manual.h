/* The reference of all directives, from the rows. */
#ifndef CONF_MANUAL_H
#define CONF_MANUAL_H

#include "api/err.h"
#include "base/text.h"

/* As mdoc(7), sections only: the core's blocks, then every module in module_dir. -1 with err when a
 * module there cannot be opened. */
int manual_print(const char *module_dir, struct text *out, struct sy_err *err);

#endif
