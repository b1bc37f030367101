/* One end of a transport connection, IPv4 or IPv6, compact: 20 bytes, compared with memcmp().
 * IPv4 uses the first 4 bytes of ip, the rest is zero. An IPv4-mapped IPv6 address never appears:
 * whoever reads one from the kernel stores it as IPv4. */
#ifndef SY_API_ADDR_H
#define SY_API_ADDR_H

#include <stdint.h>

enum sy_family {
	SY_NO_ADDR = 0,
	SY_IPV4 = 4,
	SY_IPV6 = 6,
};

struct sy_addr {
	uint8_t ip[16];  /* network byte order */
	uint16_t port;   /* host byte order; 0 where a port means nothing */
	uint8_t family;  /* enum sy_family */
	uint8_t zero;    /* always 0, so that memcmp() is equality */
};

_Static_assert(sizeof(struct sy_addr) == 20, "compared with memcmp and stored on the board");

/* A network: addr.ip with all bits behind `bits` zero. */
struct sy_net {
	struct sy_addr addr;
	uint8_t bits; /* 0..32 or 0..128 */
};

struct sy_nets {
	const struct sy_net *at;
	uint32_t n;
};

/* Clears all bits of the address behind the first `bits`, and the port. */
static inline struct sy_addr
sy_addr_mask(struct sy_addr addr, unsigned bits)
{
	unsigned size = addr.family == SY_IPV4 ? 4 : 16;

	for (unsigned i = 0; i < size; i++, bits = bits > 8 ? bits - 8 : 0)
		if (bits < 8)
			addr.ip[i] &= (uint8_t)(0xff00u >> bits);
	addr.port = 0;
	return addr;
}

static inline int
sy_net_has(const struct sy_net *net, const struct sy_addr *addr)
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;

	if (net->addr.family != addr->family)
		return 0;
	if (__builtin_memcmp(net->addr.ip, addr->ip, whole) != 0)
		return 0;
	return rest == 0 || ((net->addr.ip[whole] ^ addr->ip[whole]) >> (8 - rest)) == 0;
}

static inline int
sy_nets_have(const struct sy_nets *nets, const struct sy_addr *addr)
{
	for (uint32_t i = 0; i < nets->n; i++)
		if (sy_net_has(&nets->at[i], addr))
			return 1;
	return 0;
}

#endif
