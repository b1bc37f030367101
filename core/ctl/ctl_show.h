/* The commands that look. */
#ifndef CTL_CTL_SHOW_H
#define CTL_CTL_SHOW_H

#include "ctl/ctl.h"

int show_status(struct ctl *ctl);
int show_services(struct ctl *ctl);
int show_servers(struct ctl *ctl);
int show_connections(struct ctl *ctl);
int show_persistence(struct ctl *ctl);
int show_processes(struct ctl *ctl);
int show_generations(struct ctl *ctl);
int show_checks(struct ctl *ctl);
int show_events(struct ctl *ctl);
int show_explain(struct ctl *ctl);
int show_preflight(struct ctl *ctl);
int show_recorder(struct ctl *ctl); /* ctl_recorder.c, as the next one */
int show_ended(struct ctl *ctl);
int show_config(struct ctl *ctl);

#endif
