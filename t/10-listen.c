/* net/listen: options that accepted sockets inherit, slots, and who is refused. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "net/listen.h"
#include "net/socket.h"
#include "t/tap.h"

static int
option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	getsockopt(fd, level, name, &value, &len);
	return value;
}

static int
open_one(const char *text, bool datagrams, bool shared, struct sy_addr *real, struct sy_err *err)
{
	struct listen_how how = { .datagrams = datagrams, .backlog = 64, .shared = shared };

	err->text[0] = '\0';
	if (!addr_parse(text, &how.addr))
		bail_out("not an address: %s", text);
	return listen_open(&how, real, err);
}

static void
test_tcp(const char *address)
{
	struct sockaddr_storage name;
	struct sy_addr real, again;
	struct sy_err err;
	char text[ADDR_TEXT_SIZE];
	int fd = open_one(address, false, false, &real, &err), second, client, accepted;
	socklen_t len;

	if (fd < 0 && errno == EAFNOSUPPORT) {
		skip("%s", err.text);
		return;
	}
	ok(fd >= 0, "%s: listens %s", address, err.text);
	ok(real.port != 0, "%s: the real port is %u", address, real.port);
	addr_text(&real, text);
	is_int(open_one(text, false, false, &again, &err), -1, "%s: not for another instance", text);
	is_int(errno, EADDRINUSE, "%s: errno", text);
	has_str(err.text, "another program", "%s: and it says why", text);
	second = open_one(text, false, true, &again, &err);
	ok(second >= 0, "%s: another slot of ours %s", text, err.text);
	ok(memcmp(&real, &again, sizeof(real)) == 0, "%s: same port", text);
	is_int(open_one(text, false, false, &again, &err), -1, "%s: still not for others", text);
	close(second);

	client = socket(real.family == SY_IPV6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	len = socket_name(&real, &name);
	is_int(connect(client, (const struct sockaddr *)&name, len), 0, "%s: a client", text);
	accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	ok(accepted >= 0, "%s: is accepted", text);
	is_int(option(accepted, IPPROTO_TCP, TCP_NODELAY), 1, "%s: inherits TCP_NODELAY", text);
	is_int(option(accepted, SOL_SOCKET, SO_KEEPALIVE), 1, "%s: keepalive", text);
	is_int(option(accepted, IPPROTO_TCP, TCP_KEEPIDLE), 60, "%s: after 60 s", text);
	is_int(option(accepted, IPPROTO_TCP, TCP_KEEPINTVL), 15, "%s: each 15 s", text);
	is_int(option(accepted, IPPROTO_TCP, TCP_KEEPCNT), 4, "%s: four times", text);
	close(accepted);
	close(client);
	close(fd);
	fd = open_one(text, false, false, &again, &err);
	ok(fd >= 0, "%s: again at once, in spite of TIME_WAIT %s", text, err.text);
	close(fd);
}

static void
test_udp(void)
{
	struct sy_addr real, other, again;
	struct sy_err err;
	char text[ADDR_TEXT_SIZE];
	int fd = open_one("127.0.0.1:0", true, false, &real, &err), second, third;

	ok(fd >= 0, "udp: listens %s", err.text);
	second = open_one("127.0.0.1:0", true, false, &other, &err);
	ok(second >= 0 && other.port != real.port, "udp: port 0 twice gives two ports");
	addr_text(&real, text);
	is_int(open_one(text, true, false, &again, &err), -1, "udp: not for another instance");
	has_str(err.text, "(udp)", "udp: the message says udp");
	third = open_one(text, true, true, &again, &err);
	ok(third >= 0, "udp: another slot of ours %s", err.text);
	is_int(option(fd, IPPROTO_IP, IP_PKTINFO), 1, "udp: told the address that was used");
	ok(option(fd, SOL_SOCKET, SO_RCVBUF) > 212992 || geteuid() != 0, "udp: room for bursts");
	close(third);
	close(second);
	close(fd);
}

int
main(void)
{
	struct sy_addr real;
	struct sy_err err;
	int fd;

	test_tcp("127.0.0.1:0");
	test_tcp("[::1]:0");
	test_udp();
	fd = open_one("192.0.2.77:0", false, false, &real, &err);
	ok(fd >= 0, "an address that this machine does not have %s", err.text);
	close(fd);
	fd = open_one("*:0", false, false, &real, &err);
	ok(fd >= 0, "all addresses %s", err.text);
	close(fd);
	return done_testing();
}
