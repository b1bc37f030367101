/* Parts of making a tree complete, see normal.c. For the loader's second half only. */
#ifndef CONF_NORMAL_H
#define CONF_NORMAL_H

#include "conf/gathered.h"

/* Pairs of certificate and key, with their contents. What rows say of the block is not done here. */
void normal_tls(struct gathered *gathered, struct complaints *complaints, struct node *tls,
		const struct sy_row *rows);

#endif
