/* Host names to addresses, in the loader only. */
#ifndef CONF_RESOLVE_H
#define CONF_RESOLVE_H

#include "conf/names.h"
#include "conf/tree.h"

/* Remembers answers, so that a name is asked once for all places where it stands. */
struct resolver {
	struct arena *arena;
	struct names *known;
	struct complaints *complaints;
};

/* Fills node->found for arguments from `first` on, `n` of them: what is no address (with or without
 * port, * and /udp are fine) is looked up, and complained about when that fails. */
void resolve_args(struct resolver *resolver, struct node *node, uint32_t first, uint32_t n);

#endif
