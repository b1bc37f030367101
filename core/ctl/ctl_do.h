/* The commands that do more than ask once. */
#ifndef CTL_CTL_DO_H
#define CTL_CTL_DO_H

#include "ctl/ctl.h"

int ctl_passwd(struct ctl *ctl);

#endif
