/* The role that sets up this machine for snat off and outbound-snat: a process of its own, which may
 * change routes and packet rules (CAP_NET_ADMIN) and does nothing else. It runs only with
 * `manage-routing on`.
 *
 *	nftables   table inet steelyard-N: packets of the servers that belong to a transparent socket of
 *	           this machine get the mark N; servers' own connections get the service's address
 *	rule       packets with mark N are looked up in routing table N
 *	route      there, everything is for this machine
 *
 * All is made for all configurations that are alive: an old one's servers go when its last connection
 * has ended. It is made again when somebody took it away, replaced at a start, removed at a stop, and
 * left for the successor when this process dies. Nothing else is touched.
 *
 *	routing.c        the process: generations come and go
 *	routing_rules.c  nftables
 *	routing_ask.c    whether servers' answers find their way here */
#ifndef ROLE_ROUTING_H
#define ROLE_ROUTING_H

#include "base/text.h"
#include "conf/generation.h"
#include "proc/child.h"

/* Servers by address; several generations add to it. */
struct routing_plan {
	uint32_t table;
	struct gen_route *routes; /* n, sorted by server; each once */
	size_t n;
};

/* The rules of a plan as nft reads them: replace all that were there. */
void rules_text(const struct routing_plan *plan, struct text *out);
/* Before the first change to this machine: the library that makes rules. -1 with err. */
int rules_load(struct sy_err *err);
/* -1 with err. */
int rules_run(const char *commands, struct sy_err *err);
/* False: somebody took them away. */
bool rules_are_there(uint32_t table);
int rules_remove(uint32_t table, struct sy_err *err);

/* Connects to the servers of the plan with the address of a client, `text` or one that is nobody's;
 * answers the console. */
void routing_ask(struct child *child, const struct routing_plan *plan, const struct control_message *message);

#endif
