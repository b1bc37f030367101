/*
 * The servers behind the proxies under measurement: answers the requests of load (wire.h) over TCP,
 * TLS, HTTP, HTTPS and UDP, and counts what it did. It does as little as it can for each, since it
 * shares a core with load. SIGUSR1 prints the counters as a line of JSON, and so does the end.
 */
#include "stream.h"
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ORIGIN_EVENTS 256
#define ORIGIN_ACCEPTS 64    /* per wake-up of a listener */
#define ORIGIN_DATAGRAMS 64  /* per system call */
#define ORIGIN_DATAGRAM 2048 /* longest datagram */
#define ORIGIN_LISTENERS 64
#define ORIGIN_OWED 256 /* HTTP requests of one connection read ahead of their replies */

enum origin_tag { ORIGIN_SIGNAL, ORIGIN_LISTENER, ORIGIN_UDP, ORIGIN_CONN };

struct origin_listener {
	enum origin_tag tag; /* ORIGIN_LISTENER or ORIGIN_UDP */
	bool http;
	bool tls;
	int fd;
	uint32_t address; /* network byte order; what UDP replies say of their server */
};

struct origin_conn {
	enum origin_tag tag;
	bool http;
	bool writing; /* epoll waits for room, not for bytes */
	struct stream stream;
	uint32_t server; /* the address that the peer connected to */
	union {
		struct wire_request request;
		uint8_t bytes[WIRE_REQUEST_SIZE];
	} in;
	size_t in_len;	 /* raw: bytes of the request; HTTP: of its start line, at most 4 */
	unsigned ending; /* HTTP: how much of CR LF CR LF was seen */
	unsigned owed;	 /* HTTP: replies not yet begun */
	uint64_t position, size; /* of the reply under way; equal: none is */
};

static struct {
	int epoll;
	SSL_CTX *tls;
	struct origin_listener listeners[ORIGIN_LISTENERS];
	size_t listener_count;
	uint64_t accepts, requests, datagrams, bad, open;
	char http_reply[256 + WIRE_BODY_SIZE];
	size_t http_reply_len;
} origin;

static _Noreturn void
origin_die(const char *what, const char *why)
{
	fprintf(stderr, "origin: %s: %s\n", what, why);
	exit(2);
}

static void
origin_watch(int op, int fd, uint32_t events, void *who)
{
	struct epoll_event event = {.events = events, .data.ptr = who};

	if (epoll_ctl(origin.epoll, op, fd, &event) < 0)
		origin_die("epoll_ctl", strerror(errno));
}

static void
origin_print(void)
{
	printf("{\"accepts\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"datagrams\":%" PRIu64
	       ",\"bad\":%" PRIu64 ",\"open\":%" PRIu64 "}\n",
	       origin.accepts, origin.requests, origin.datagrams, origin.bad, origin.open);
	fflush(stdout);
}

static void
origin_close(struct origin_conn *conn)
{
	stream_close(&conn->stream);
	free(conn);
	origin.open--;
}

/* The next bytes of the reply under way; *from stays valid until the next call. */
static size_t
origin_reply_bytes(const struct origin_conn *conn, const uint8_t **from)
{
	static uint8_t first[WIRE_COMPARE];
	size_t run, left = conn->size - conn->position;

	if (conn->http) {
		*from = (const uint8_t *)origin.http_reply + conn->position;
		return left;
	}
	if (conn->position >= sizeof(first)) {
		*from = wire_pattern(conn->position, &run);
		return left < run ? left : run;
	}
	memcpy(first, wire_pattern(0, &run), sizeof(first));
	wire_head_make((struct wire_head *)(void *)first, conn->server, conn->in.request.id);
	*from = first + conn->position;
	run = sizeof(first) - conn->position;
	return left < run ? left : run;
}

/* Sends what is owed; false when the connection is over. */
static bool
origin_send(struct origin_conn *conn)
{
	const uint8_t *from;
	size_t len;
	ssize_t n;

	for (;;) {
		if (conn->position == conn->size) {
			if (conn->owed == 0)
				return true;
			conn->owed--;
			conn->position = 0;
			conn->size = origin.http_reply_len;
		}
		len = origin_reply_bytes(conn, &from);
		n = stream_write(&conn->stream, from, len);
		if (n <= 0)
			return n == STREAM_WAIT;
		conn->position += (uint64_t)n;
	}
}

static bool
origin_take_raw(struct origin_conn *conn, size_t n)
{
	conn->in_len += n;
	if (conn->in_len < WIRE_REQUEST_SIZE)
		return true;
	conn->in_len = 0;
	if (!wire_request_ok(&conn->in.request)) {
		origin.bad++;
		return false;
	}
	origin.requests++;
	conn->position = 0;
	conn->size = conn->in.request.reply_size;
	return true;
}

/* Requests have no body here: each ends with an empty line. */
static bool
origin_take_http(struct origin_conn *conn, const char *bytes, size_t n)
{
	static const char end[] = "\r\n\r\n", start[] = "GET ";

	for (size_t i = 0; i < n; i++) {
		if (conn->in_len < sizeof(start) - 1 && bytes[i] != start[conn->in_len++]) {
			origin.bad++;
			return false;
		}
		if (bytes[i] == end[conn->ending])
			conn->ending++;
		else
			conn->ending = bytes[i] == '\r';
		if (conn->ending < sizeof(end) - 1)
			continue;
		conn->ending = 0;
		conn->in_len = 0;
		conn->owed++;
		origin.requests++;
	}
	return true;
}

/* Reads and answers as long as both go on; false when the connection is over. */
static bool
origin_serve(struct origin_conn *conn)
{
	static char bytes[16384];
	ssize_t n;
	bool whole;

	for (;;) {
		if (!origin_send(conn))
			return false;
		if (conn->position < conn->size || conn->owed >= ORIGIN_OWED)
			return true;
		if (conn->http)
			n = stream_read(&conn->stream, bytes, sizeof(bytes));
		else
			n = stream_read(&conn->stream, conn->in.bytes + conn->in_len,
					WIRE_REQUEST_SIZE - conn->in_len);
		if (n <= 0)
			return n == STREAM_WAIT;
		whole = conn->http || (size_t)n == WIRE_REQUEST_SIZE - conn->in_len;
		if (!(conn->http ? origin_take_http(conn, bytes, (size_t)n)
				 : origin_take_raw(conn, (size_t)n)))
			return false;
		if (!conn->stream.ssl) {
			/* The next request cannot have come yet: it follows the reply. Not to ask
			 * for it saves a system call per request. */
			if (!origin_send(conn))
				return false;
			if (whole)
				return true;
		}
	}
}

static void
origin_conn_event(struct origin_conn *conn)
{
	bool writing;

	if (!origin_serve(conn)) {
		origin_close(conn);
		return;
	}
	writing = conn->position < conn->size || (conn->stream.ssl && conn->stream.want_write);
	if (writing == conn->writing)
		return;
	conn->writing = writing;
	origin_watch(EPOLL_CTL_MOD, conn->stream.fd, writing ? EPOLLOUT : EPOLLIN, conn);
}

static void
origin_accept(const struct origin_listener *listener)
{
	struct origin_conn *conn;
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	int fd, on = 1;

	for (int i = 0; i < ORIGIN_ACCEPTS; i++) {
		fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
				origin_die("accept", strerror(errno));
			return;
		}
		conn = calloc(1, sizeof(*conn));
		if (!conn)
			origin_die("accept", "out of memory");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
			conn->server = address.sin_addr.s_addr;
		conn->tag = ORIGIN_CONN;
		conn->http = listener->http;
		conn->stream.fd = fd;
		if (listener->tls) {
			conn->stream.ssl = SSL_new(origin.tls);
			if (!conn->stream.ssl || SSL_set_fd(conn->stream.ssl, fd) != 1)
				origin_die("SSL_new", "out of memory");
			SSL_set_accept_state(conn->stream.ssl);
		}
		origin.accepts++;
		origin.open++;
		origin_watch(EPOLL_CTL_ADD, fd, EPOLLIN, conn);
	}
}

/* Sends each datagram back with a reply's head in place of the request's. */
static void
origin_echo(const struct origin_listener *listener)
{
	static uint8_t bytes[ORIGIN_DATAGRAMS][ORIGIN_DATAGRAM];
	static struct sockaddr_in from[ORIGIN_DATAGRAMS];
	struct iovec parts[ORIGIN_DATAGRAMS];
	struct mmsghdr messages[ORIGIN_DATAGRAMS] = {0};
	struct wire_request *request;
	int got, sent, kept = 0;

	for (int i = 0; i < ORIGIN_DATAGRAMS; i++) {
		parts[i] = (struct iovec){.iov_base = bytes[i], .iov_len = sizeof(bytes[i])};
		messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
						      .msg_namelen = sizeof(from[i]),
						      .msg_iov = &parts[i],
						      .msg_iovlen = 1};
	}
	got = recvmmsg(listener->fd, messages, ORIGIN_DATAGRAMS, 0, NULL);
	for (int i = 0; i < got; i++) {
		request = (struct wire_request *)(void *)bytes[i];
		if (messages[i].msg_len < WIRE_REQUEST_SIZE || !wire_request_ok(request)) {
			origin.bad++;
			continue;
		}
		wire_head_make((struct wire_head *)(void *)bytes[i], listener->address,
			       request->id);
		parts[i].iov_len = messages[i].msg_len;
		messages[kept++].msg_hdr = messages[i].msg_hdr;
	}
	for (int done = 0; done < kept; done += sent) {
		sent = sendmmsg(listener->fd, messages + done, (unsigned)(kept - done), 0);
		if (sent <= 0)
			break; /* load counts what it misses */
		origin.datagrams += (uint64_t)sent;
	}
}

static void
origin_use_certificate(const char *file)
{
	origin.tls = SSL_CTX_new(TLS_server_method());
	if (!origin.tls || SSL_CTX_use_certificate_chain_file(origin.tls, file) != 1 ||
	    SSL_CTX_use_PrivateKey_file(origin.tls, file, SSL_FILETYPE_PEM) != 1)
		origin_die(file, "not a PEM file with a certificate and its key");
	SSL_CTX_set_mode(origin.tls, SSL_MODE_ENABLE_PARTIAL_WRITE |
					     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					     SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_id_context(origin.tls, (const unsigned char *)"bench", 5);
}

/* "tcp:127.0.0.11:6000", with tcp, http, tls, https or udp in front. */
static void
origin_listen(const char *text)
{
	struct origin_listener *listener = &origin.listeners[origin.listener_count];
	struct sockaddr_in address = {.sin_family = AF_INET};
	char kind[8], host[64];
	int type, on = 1, room = 4 << 20;
	unsigned port;
	char rest;

	if (origin.listener_count == ORIGIN_LISTENERS ||
	    sscanf(text, "%7[a-z]:%63[0-9.]:%u%c", kind, host, &port, &rest) != 3 || port > 65535 ||
	    inet_pton(AF_INET, host, &address.sin_addr) != 1)
		origin_die(text, "not KIND:ADDRESS:PORT, or too many of them");
	address.sin_port = htons((uint16_t)port);
	listener->tag = strcmp(kind, "udp") == 0 ? ORIGIN_UDP : ORIGIN_LISTENER;
	listener->http = strncmp(kind, "http", 4) == 0;
	listener->tls = strcmp(kind, "tls") == 0 || strcmp(kind, "https") == 0;
	listener->address = address.sin_addr.s_addr;
	if (!listener->http && !listener->tls && listener->tag != ORIGIN_UDP &&
	    strcmp(kind, "tcp") != 0)
		origin_die(text, "the kind must be tcp, http, tls, https or udp");
	if (listener->tls && !origin.tls)
		origin_die(text, "needs --certificate before it");
	type = listener->tag == ORIGIN_UDP ? SOCK_DGRAM : SOCK_STREAM;
	listener->fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0)
		origin_die("socket", strerror(errno));
	setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (listener->tag == ORIGIN_UDP)
		setsockopt(listener->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    (listener->tag == ORIGIN_LISTENER && listen(listener->fd, 4096) < 0))
		origin_die(text, strerror(errno));
	origin_watch(EPOLL_CTL_ADD, listener->fd, EPOLLIN, listener);
	origin.listener_count++;
}

static void
origin_init(int *signals)
{
	static enum origin_tag tag = ORIGIN_SIGNAL;
	sigset_t set;
	size_t run;

	wire_init();
	origin.http_reply_len =
		(size_t)snprintf(origin.http_reply, sizeof(origin.http_reply),
				 "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\n"
				 "Cache-Control: no-store\r\nContent-Length: %d\r\n\r\n",
				 WIRE_BODY_SIZE);
	memcpy(origin.http_reply + origin.http_reply_len, wire_pattern(0, &run), WIRE_BODY_SIZE);
	origin.http_reply_len += WIRE_BODY_SIZE;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	origin.epoll = epoll_create1(EPOLL_CLOEXEC);
	*signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (origin.epoll < 0 || *signals < 0)
		origin_die("start", strerror(errno));
	origin_watch(EPOLL_CTL_ADD, *signals, EPOLLIN, &tag);
}

/* False when it was asked to end. */
static bool
origin_event(enum origin_tag *tag, int signals)
{
	struct signalfd_siginfo info;

	switch (*tag) {
	case ORIGIN_LISTENER:
		origin_accept((struct origin_listener *)(void *)tag);
		return true;
	case ORIGIN_UDP:
		origin_echo((struct origin_listener *)(void *)tag);
		return true;
	case ORIGIN_CONN:
		origin_conn_event((struct origin_conn *)(void *)tag);
		return true;
	case ORIGIN_SIGNAL:
		if (read(signals, &info, sizeof(info)) != sizeof(info))
			return true;
		if (info.ssi_signo == SIGUSR1)
			origin_print();
		return info.ssi_signo == SIGUSR1;
	}
	return false;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
						{"certificate", required_argument, NULL, 'c'},
						{"seconds", required_argument, NULL, 's'},
						{NULL, 0, NULL, 0}};
	struct epoll_event events[ORIGIN_EVENTS];
	long seconds = 600;
	int c, n, signals;

	origin_init(&signals);
	while ((c = getopt_long(argc, argv, "l:c:s:", options, NULL)) != -1) {
		if (c == 'l')
			origin_listen(optarg);
		else if (c == 'c')
			origin_use_certificate(optarg);
		else if (c == 's')
			seconds = strtol(optarg, NULL, 10);
		else
			return 2;
	}
	if (origin.listener_count == 0 || optind != argc || seconds < 1 || seconds > 3600)
		origin_die("usage", "origin [--seconds N] [--certificate PEM] "
				    "--listen KIND:ADDRESS:PORT ...");
	alarm((unsigned)seconds);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		n = epoll_wait(origin.epoll, events, ORIGIN_EVENTS, -1);
		for (int i = 0; i < n; i++) {
			if (!origin_event(events[i].data.ptr, signals)) {
				origin_print();
				return 0;
			}
		}
	}
}
