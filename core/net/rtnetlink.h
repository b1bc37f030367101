/* What the kernel does with packets, asked and told over rtnetlink: policy rules, routes, and the
 * question which way a packet would take. Each call opens a socket, waits for the kernel, closes it. */
#ifndef NET_RTNETLINK_H
#define NET_RTNETLINK_H

#include <stdbool.h>
#include <stdint.h>

#include "api/addr.h"
#include "api/err.h"

enum {
	RTNETLINK_OURS = 83,      /* who made a rule or route (rtm_protocol); none that iproute2 knows */
	RTNETLINK_PRIORITY = 83,  /* of our rules: after the local table, before anybody's who does not care */
};

/* Packets with the mark `table` are looked up in the table of that number, and there everything is for
 * this machine. What is there already is fine. Needs CAP_NET_ADMIN. -1 with err. */
int rtnetlink_take_marked(unsigned family, uint32_t table, struct sy_err *err);
/* Undoes it, and nothing else; what is not there is fine. */
int rtnetlink_leave_marked(unsigned family, uint32_t table, struct sy_err *err);

struct rtnetlink_way {
	int error;                /* errno of a packet that goes nowhere; 0: the rest counts */
	bool local;               /* it is for this machine */
	unsigned interface;       /* index; where it leaves */
	struct sy_addr gateway;   /* SY_NO_ADDR: the destination is on that network itself */
};

/* Which way a packet of ours to `to` takes; or, with `from` and the index of an interface, one that
 * comes in there with that source and that mark. Any user may ask. -1 with err: the kernel was not
 * understood. */
int rtnetlink_ask(const struct sy_addr *to, const struct sy_addr *from, unsigned interface, uint32_t mark,
                  struct rtnetlink_way *out, struct sy_err *err);

#endif
