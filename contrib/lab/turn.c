#include "turn.h"

#include <string.h>

const char turn_user[] = "lab-user", turn_password[] = "lab-password";

struct sy_addr
turn_from(const struct lab_addr *addr)
{
	struct sy_addr out = {.family = SY_NO_ADDR};

	out.port = addr_port(addr);
	if (addr->any.sa_family == AF_INET) {
		out.family = SY_IPV4;
		memcpy(out.ip, &addr->v4.sin_addr, 4);
	} else {
		out.family = SY_IPV6;
		memcpy(out.ip, &addr->v6.sin6_addr, 16);
	}
	return out;
}

struct lab_addr
turn_to(const struct sy_addr *addr)
{
	struct lab_addr out = {.len = sizeof(out.v4)};

	if (addr->family == SY_IPV4) {
		out.v4.sin_family = AF_INET;
		memcpy(&out.v4.sin_addr, addr->ip, 4);
	} else {
		out.len = sizeof(out.v6);
		out.v6.sin6_family = AF_INET6;
		memcpy(&out.v6.sin6_addr, addr->ip, 16);
	}
	addr_set_port(&out, addr->port);
	return out;
}
