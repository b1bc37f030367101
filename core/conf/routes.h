/* What the role `routing` is told: servers whose answers to transparent connections must reach us, and
 * servers whose own connections leave from a service's address. */
#ifndef CONF_ROUTES_H
#define CONF_ROUTES_H

#include "conf/bind.h"

/* outbound-snat: the service has an address for each kind of server, and no other service wants another. */
void check_routes(struct binder *binder);
/* Adds a struct gen_route for each address of a server that is concerned; returns how many. */
uint32_t routes_compile(const struct config *config, struct text *out);

#endif
