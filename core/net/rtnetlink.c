#include "net/rtnetlink.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/must.h"

enum { RTNETLINK_WAIT_S = 2 };

struct rtnetlink_message {
	struct nlmsghdr header;
	union {
		struct fib_rule_hdr rule;
		struct rtmsg route;
	} is;
	char attributes[256];
};

_Static_assert(sizeof(struct fib_rule_hdr) == sizeof(struct rtmsg), "attributes begin at one place");

/* ---- messages ---- */

static unsigned
rtnetlink_family(unsigned family)
{
	return family == SY_IPV4 ? AF_INET : AF_INET6;
}

static size_t
rtnetlink_size(const struct sy_addr *addr)
{
	return addr->family == SY_IPV4 ? 4 : 16;
}

static void
rtnetlink_begin(struct rtnetlink_message *message, unsigned type, unsigned flags)
{
	memset(message, 0, sizeof(*message));
	message->header.nlmsg_type = (uint16_t)type;
	message->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	message->header.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg));
}

static void
rtnetlink_add(struct rtnetlink_message *message, unsigned type, const void *bytes, size_t len)
{
	struct rtattr *attribute = (void *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));
	size_t end = NLMSG_ALIGN(message->header.nlmsg_len) + RTA_LENGTH(len);

	must(end <= sizeof(*message));
	attribute->rta_type = (uint16_t)type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(attribute), bytes, len);
	message->header.nlmsg_len = (uint32_t)end;
}

static void
rtnetlink_add_u32(struct rtnetlink_message *message, unsigned type, uint32_t value)
{
	rtnetlink_add(message, type, &value, sizeof(value));
}

/* ---- a question and its answer ---- */

static int
rtnetlink_open(void)
{
	struct timeval limit = { .tv_sec = RTNETLINK_WAIT_S };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

/* The answer's length in `out`, or 0 when it was a mere yes. -1 with errno: what the kernel said. */
static ssize_t
rtnetlink_talk(const struct rtnetlink_message *message, void *out, size_t size)
{
	const struct nlmsghdr *header = out;
	const struct nlmsgerr *failed = NLMSG_DATA((struct nlmsghdr *)out);
	int fd = rtnetlink_open(), error;
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	if (send(fd, message, message->header.nlmsg_len, 0) >= 0) {
		do
			n = recv(fd, out, size, 0);
		while (n < 0 && errno == EINTR);
	}
	error = errno;
	close(fd);
	errno = error;
	if (n < 0)
		return -1;
	if ((size_t)n < sizeof(*header) || header->nlmsg_len > (size_t)n) {
		errno = EBADMSG;
		return -1;
	}
	if (header->nlmsg_type != NLMSG_ERROR)
		return n;
	if ((size_t)n < NLMSG_LENGTH(sizeof(*failed))) {
		errno = EBADMSG;
		return -1;
	}
	errno = -failed->error;
	return failed->error ? -1 : 0;
}

static int
rtnetlink_do(const struct rtnetlink_message *message)
{
	_Alignas(struct nlmsghdr) char answer[4096];

	return rtnetlink_talk(message, answer, sizeof(answer)) < 0 ? -1 : 0;
}

/* ---- rule and route ---- */

static int
rtnetlink_rule(unsigned type, unsigned flags, unsigned family, uint32_t table)
{
	struct rtnetlink_message message;
	uint8_t ours = RTNETLINK_OURS;

	rtnetlink_begin(&message, type, NLM_F_ACK | flags);
	message.is.rule.family = (uint8_t)rtnetlink_family(family);
	message.is.rule.action = FR_ACT_TO_TBL;
	rtnetlink_add_u32(&message, FRA_PRIORITY, RTNETLINK_PRIORITY);
	rtnetlink_add_u32(&message, FRA_FWMARK, table);
	rtnetlink_add_u32(&message, FRA_FWMASK, 0xffffffff);
	rtnetlink_add_u32(&message, FRA_TABLE, table);
	rtnetlink_add(&message, FRA_PROTOCOL, &ours, sizeof(ours));
	return rtnetlink_do(&message);
}

/* `local default dev lo`, in our table. */
static int
rtnetlink_route(unsigned type, unsigned flags, unsigned family, uint32_t table)
{
	struct rtnetlink_message message;

	rtnetlink_begin(&message, type, NLM_F_ACK | flags);
	message.is.route.rtm_family = (uint8_t)rtnetlink_family(family);
	message.is.route.rtm_table = RT_TABLE_UNSPEC;
	message.is.route.rtm_protocol = RTNETLINK_OURS;
	message.is.route.rtm_scope = RT_SCOPE_HOST;
	message.is.route.rtm_type = RTN_LOCAL;
	rtnetlink_add_u32(&message, RTA_TABLE, table);
	rtnetlink_add_u32(&message, RTA_OIF, if_nametoindex("lo"));
	return rtnetlink_do(&message);
}

int
rtnetlink_take_marked(unsigned family, uint32_t table, struct sy_err *err)
{
	if (rtnetlink_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, family, table) != 0 && errno != EEXIST)
		return sy_fail(err, "IPv%u: the local route in table %u cannot be made: %s", family, table,
		               errno == ENETDOWN ? "interface lo is down" : strerror(errno));
	if (rtnetlink_rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family, table) != 0 && errno != EEXIST)
		return sy_fail(err, "IPv%u: the policy rule for mark %u cannot be made: %s", family, table,
		               strerror(errno));
	return 0;
}

int
rtnetlink_leave_marked(unsigned family, uint32_t table, struct sy_err *err)
{
	while (rtnetlink_rule(RTM_DELRULE, 0, family, table) == 0)
		;
	if (errno != ENOENT && errno != EAFNOSUPPORT && errno != EOPNOTSUPP)
		return sy_fail(err, "IPv%u: the policy rule for mark %u cannot be removed: %s", family, table,
		               strerror(errno));
	if (rtnetlink_route(RTM_DELROUTE, 0, family, table) != 0 && errno != ESRCH && errno != ENOENT &&
	    errno != EAFNOSUPPORT && errno != EOPNOTSUPP)
		return sy_fail(err, "IPv%u: the local route in table %u cannot be removed: %s", family, table,
		               strerror(errno));
	return 0;
}

/* ---- which way ---- */

static void
rtnetlink_read(const struct nlmsghdr *header, struct rtnetlink_way *out)
{
	const struct rtmsg *route = NLMSG_DATA((struct nlmsghdr *)(uintptr_t)header);
	struct rtattr *attribute = RTM_RTA((struct rtmsg *)(uintptr_t)route);
	int len = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*route)));

	out->local = route->rtm_type == RTN_LOCAL;
	for (; RTA_OK(attribute, len); attribute = RTA_NEXT(attribute, len)) {
		size_t size = RTA_PAYLOAD(attribute);

		if (attribute->rta_type == RTA_OIF && size == sizeof(out->interface))
			memcpy(&out->interface, RTA_DATA(attribute), size);
		if (attribute->rta_type == RTA_GATEWAY && (size == 4 || size == 16)) {
			out->gateway.family = size == 4 ? SY_IPV4 : SY_IPV6;
			memcpy(out->gateway.ip, RTA_DATA(attribute), size);
		}
	}
}

int
rtnetlink_ask(const struct sy_addr *to, const struct sy_addr *from, unsigned interface, uint32_t mark,
              struct rtnetlink_way *out, struct sy_err *err)
{
	_Alignas(struct nlmsghdr) char answer[4096];
	const struct nlmsghdr *header = (const void *)answer;
	struct rtnetlink_message message;
	ssize_t n;

	*out = (struct rtnetlink_way){ .error = 0 };
	rtnetlink_begin(&message, RTM_GETROUTE, 0);
	message.is.route.rtm_family = (uint8_t)rtnetlink_family(to->family);
	message.is.route.rtm_dst_len = (uint8_t)(rtnetlink_size(to) * 8);
	rtnetlink_add(&message, RTA_DST, to->ip, rtnetlink_size(to));
	if (from) {
		message.is.route.rtm_src_len = (uint8_t)(rtnetlink_size(from) * 8);
		rtnetlink_add(&message, RTA_SRC, from->ip, rtnetlink_size(from));
		rtnetlink_add_u32(&message, RTA_IIF, interface);
	}
	if (mark)
		rtnetlink_add_u32(&message, RTA_MARK, mark);
	n = rtnetlink_talk(&message, answer, sizeof(answer));
	if (n < 0) {
		out->error = errno;
		return 0;
	}
	if (header->nlmsg_type != RTM_NEWROUTE || header->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtmsg)))
		return sy_fail(err, "the kernel's answer about a route is not understood");
	rtnetlink_read(header, out);
	return 0;
}
