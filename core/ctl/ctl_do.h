/* The commands that do more than ask once. */
#ifndef CTL_CTL_DO_H
#define CTL_CTL_DO_H

#include "ctl/ctl.h"

int ctl_passwd(struct ctl *ctl);
int ctl_top(struct ctl *ctl);
int ctl_plan(struct ctl *ctl);
int ctl_trace(struct ctl *ctl);
/* explain --config: the answer of the API's kind, or NULL after a message. */
json_t *ctl_explain(struct ctl *ctl);

#endif
