/* Whether this machine is as snat off, outbound-snat and snat ADDRESSES need it: what the kernel answers
 * when it is asked about the packets that will come. Needs no rights. */
#ifndef ROLE_PREFLIGHT_H
#define ROLE_PREFLIGHT_H

#include "conf/config.h"

struct finding {
	const char *name;         /* "forwarding"; the manual has a line for each */
	const struct service *service; /* one that it concerns */
	const struct node *at;    /* the statement that makes it a condition */
	const char *words;        /* what, and what would be right */
};

struct preflight {
	const struct config *config;
	bool in_use;              /* the configuration is: what manage-routing makes should be there */
	bool leftovers;           /* only what an instance that was killed has left; with in_use */
	struct sy_addr client;    /* a client to think of; SY_NO_ADDR: anybody */
	void (*say)(void *context, const struct finding *finding); /* once for each fact */
	void *context;
};

void preflight(const struct preflight *preflight);

#endif
