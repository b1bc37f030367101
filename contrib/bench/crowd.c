/* The load generator's TCP connections: each opens, asks, listens, and asks again or opens anew. */
#include "load.h"
#include "reply.h"
#include "stream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CROWD_BUFFER (256 * 1024)
#define CROWD_RETRY (10 * (LOAD_SECOND / 1000))
#define CROWD_OPENING 64 /* plan->hold: connections opened side by side */

enum crowd_state { CROWD_RESTING, CROWD_GREETING, CROWD_ASKING, CROWD_LISTENING };

struct crowd_conn {
	struct stream stream;
	enum crowd_state state;
	bool writing; /* epoll waits for room */
	unsigned source;
	unsigned done; /* exchanges on this connection */
	uint64_t id;
	uint64_t began; /* the exchange under way */
	uint64_t due;	/* RESTING: when to go on; 0: when told */
	size_t sent;	/* bytes of the request */
	SSL_SESSION *session;
	struct wire_request request;
	struct reply *reply;
};

static struct {
	const struct load_plan *plan;
	int epoll;
	struct crowd_conn *conns;
	unsigned opened; /* plan->hold: connections begun so far */
	unsigned quiet;	 /* connections that wait to be told */
	char http_request[256];
	size_t http_request_len;
} crowd;

static const char *
crowd_doing(const struct crowd_conn *conn)
{
	switch (conn->state) {
	case CROWD_RESTING:
		return "idle";
	case CROWD_GREETING:
		return "handshake";
	case CROWD_ASKING:
		return conn->done ? "request" : "connect";
	case CROWD_LISTENING:
		return "reply";
	}
	return "?";
}

static void
crowd_fail(struct crowd_conn *conn, const char *why)
{
	load_failed(crowd_doing(conn), why);
	if (crowd.plan->hold && conn->due == 0 && conn->state == CROWD_RESTING)
		crowd.quiet--;
	stream_close(&conn->stream);
	conn->state = CROWD_RESTING;
	conn->due = load_now() + (crowd.plan->pace ? crowd.plan->pace : CROWD_RETRY);
}

static void
crowd_watch(struct crowd_conn *conn, int op, bool writing)
{
	struct epoll_event event = {.events = writing ? EPOLLOUT : EPOLLIN, .data.ptr = conn};

	conn->writing = writing;
	if (epoll_ctl(crowd.epoll, op, conn->stream.fd, &event) < 0)
		load_die("epoll_ctl", strerror(errno));
}

/* Keeps the newest ticket of this connection for its successor. */
static int
crowd_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct crowd_conn *conn = SSL_get_app_data(ssl);

	SSL_SESSION_free(conn->session);
	conn->session = session;
	return 1;
}

static void
crowd_bind(int fd, unsigned source)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(0x7f000100 + source)};
	int on = 1;

	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		load_die("bind", strerror(errno));
}

static void
crowd_ask(struct crowd_conn *conn, uint64_t now)
{
	conn->began = now;
	conn->id++;
	conn->sent = 0;
	if (crowd.plan->http) {
		reply_expect_http(conn->reply, crowd.plan->cookie);
	} else {
		wire_request_make(&conn->request, crowd.plan->reply_size, conn->id);
		reply_expect_raw(conn->reply, conn->id, crowd.plan->reply_size);
	}
	conn->state = CROWD_ASKING;
}

/* False when that failed at once. */
static bool
crowd_open(struct crowd_conn *conn)
{
	const struct load_plan *plan = crowd.plan;
	bool again = conn->id > 0;
	int on = 1;

	conn->done = 0;
	conn->stream.want_write = true;
	conn->stream.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (conn->stream.fd < 0)
		load_die("socket", strerror(errno));
	setsockopt(conn->stream.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (conn->source)
		crowd_bind(conn->stream.fd, conn->source);
	crowd_ask(conn, load_now());
	if (connect(conn->stream.fd, (const struct sockaddr *)&plan->to, sizeof(plan->to)) < 0 &&
	    errno != EINPROGRESS) {
		crowd_fail(conn, strerrordesc_np(errno));
		return false;
	}
	if (plan->tls) {
		conn->state = CROWD_GREETING;
		conn->stream.ssl = SSL_new(plan->ctx);
		if (!conn->stream.ssl || SSL_set_fd(conn->stream.ssl, conn->stream.fd) != 1 ||
		    SSL_set_tlsext_host_name(conn->stream.ssl, plan->name) != 1)
			load_die("SSL_new", "out of memory");
		SSL_set_app_data(conn->stream.ssl, conn);
		SSL_set_connect_state(conn->stream.ssl);
		if (plan->resume && conn->session)
			SSL_set_session(conn->stream.ssl, conn->session);
		else if (plan->resume && again)
			load_failed("handshake", "the server gave no ticket the time before");
	}
	crowd_watch(conn, EPOLL_CTL_ADD, false);
	return true;
}

/* After a whole reply: on to the next exchange, the next connection, or rest. */
static void
crowd_next(struct crowd_conn *conn)
{
	const struct load_plan *plan = crowd.plan;
	uint64_t now;

	load_done(conn->began, plan->http ? WIRE_BODY_SIZE : plan->reply_size);
	if (!plan->http)
		load_tally.server = conn->reply->head.server;
	conn->done++;
	if (plan->hold) {
		conn->state = CROWD_RESTING;
		conn->due = 0;
		crowd.quiet++;
		if (crowd.opened < plan->connections)
			crowd.conns[crowd.opened++].due = 1;
		return;
	}
	if (plan->exchanges && conn->done == plan->exchanges)
		stream_close(&conn->stream);
	if (plan->pace) {
		conn->state = CROWD_RESTING;
		conn->due = conn->began + plan->pace;
		return;
	}
	if (conn->stream.fd < 0) {
		crowd_open(conn);
		return;
	}
	now = load_now();
	crowd_ask(conn, now);
}

static ssize_t
crowd_greet(struct crowd_conn *conn)
{
	int result = stream_handshake(&conn->stream);
	SSL *ssl = conn->stream.ssl;

	if (result != 1)
		return result;
	if (crowd.plan->resume && conn->session && !SSL_session_reused(ssl))
		load_failed("handshake", "a full one, the ticket was not accepted");
	if (!crowd.plan->resume && SSL_session_reused(ssl))
		load_failed("handshake", "resumed, though a full one was asked for");
	if (!load_tally.tls[0])
		snprintf(load_tally.tls, sizeof(load_tally.tls), "%s %s", SSL_get_version(ssl),
			 SSL_get_cipher_name(ssl));
	conn->state = CROWD_ASKING;
	return 1;
}

static ssize_t
crowd_write(struct crowd_conn *conn)
{
	const char *bytes = (const char *)&conn->request;
	size_t len = sizeof(conn->request);
	ssize_t n;

	if (crowd.plan->http) {
		bytes = crowd.http_request;
		len = crowd.http_request_len;
	}
	n = stream_write(&conn->stream, bytes + conn->sent, len - conn->sent);
	if (n > 0)
		conn->sent += (size_t)n;
	if (conn->sent == len) {
		conn->state = CROWD_LISTENING;
		/* The reply cannot be there yet: epoll is asked before the socket is. */
		conn->stream.want_write = false;
		return STREAM_WAIT;
	}
	return n;
}

/* Reads; STREAM_WAIT when there is surely nothing more to be had now. */
static ssize_t
crowd_read(struct crowd_conn *conn)
{
	static uint8_t bytes[CROWD_BUFFER];
	ssize_t n = stream_read(&conn->stream, bytes, sizeof(bytes));

	if (n == STREAM_EOF) {
		crowd_fail(conn, "connection closed");
		return STREAM_WAIT;
	}
	if (n < 0)
		return n;
	switch (conn->state == CROWD_LISTENING ? reply_feed(conn->reply, bytes, (size_t)n)
					       : REPLY_BAD) {
	case REPLY_DONE:
		crowd_next(conn);
		return 1;
	case REPLY_MORE:
		return conn->stream.ssl || (size_t)n == sizeof(bytes) ? 1 : STREAM_WAIT;
	case REPLY_BAD:
		crowd_fail(conn, conn->state == CROWD_LISTENING ? conn->reply->error
								: "bytes nobody asked for");
		return STREAM_WAIT;
	}
	return STREAM_WAIT;
}

/* Does what can be done now, then lets epoll wait for the right thing. */
static void
crowd_advance(struct crowd_conn *conn)
{
	ssize_t result = 1;

	conn->stream.want_write = false;
	while (result > 0 && conn->stream.fd >= 0) {
		switch (conn->state) {
		case CROWD_GREETING:
			result = crowd_greet(conn);
			break;
		case CROWD_ASKING:
			result = crowd_write(conn);
			break;
		case CROWD_LISTENING:
			result = crowd_read(conn);
			break;
		case CROWD_RESTING:
			/* TLS: tickets may be behind the reply, in the same bytes. Plain: epoll
			 * says when something comes. */
			result = conn->stream.ssl ? crowd_read(conn) : STREAM_WAIT;
			break;
		}
	}
	if (result == STREAM_FAILED)
		crowd_fail(conn, conn->stream.error);
	if (conn->stream.fd >= 0 && conn->writing != conn->stream.want_write)
		crowd_watch(conn, EPOLL_CTL_MOD, conn->stream.want_write);
}

void
crowd_event(void *who)
{
	struct crowd_conn *conn = who;
	ssize_t result;

	if (conn->stream.fd < 0)
		return;
	if (conn->state == CROWD_RESTING && !conn->stream.ssl) {
		result = crowd_read(conn);
		if (result == STREAM_FAILED)
			crowd_fail(conn, conn->stream.error);
		return;
	}
	crowd_advance(conn);
}

void
crowd_tick(void)
{
	uint64_t now = load_now();
	struct crowd_conn *conn;

	for (unsigned i = 0; i < crowd.plan->connections; i++) {
		conn = &crowd.conns[i];
		if (conn->state != CROWD_RESTING) {
			if (now > conn->began + crowd.plan->patience)
				crowd_fail(conn, "no end within the time limit");
			continue;
		}
		if (conn->due == 0 || now < conn->due)
			continue;
		if (conn->stream.fd < 0) {
			if (!crowd_open(conn))
				continue;
		} else {
			crowd_ask(conn, now);
		}
		crowd_advance(conn);
	}
}

bool
crowd_quiet(void)
{
	return crowd.quiet == crowd.plan->connections;
}

void
crowd_again(void)
{
	crowd.quiet = 0;
	for (unsigned i = 0; i < crowd.plan->connections; i++)
		crowd.conns[i].due = 1;
	crowd_tick();
}

void
crowd_start(const struct load_plan *plan, int epoll)
{
	struct reply *replies = calloc(plan->connections, sizeof(*replies));
	uint64_t now = load_now();

	crowd.plan = plan;
	crowd.epoll = epoll;
	crowd.conns = calloc(plan->connections, sizeof(*crowd.conns));
	if (!crowd.conns || !replies)
		load_die("crowd", "out of memory");
	crowd.http_request_len = (size_t)snprintf(crowd.http_request, sizeof(crowd.http_request),
						  "GET /bench HTTP/1.1\r\nHost: %s\r\n"
						  "User-Agent: load\r\nAccept: */*\r\n\r\n",
						  plan->name);
	if (plan->ctx) {
		SSL_CTX_set_session_cache_mode(plan->ctx, SSL_SESS_CACHE_CLIENT |
								  SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(plan->ctx, crowd_ticket);
	}
	crowd.opened = plan->hold && plan->connections > CROWD_OPENING ? CROWD_OPENING
								       : plan->connections;
	for (unsigned i = 0; i < plan->connections; i++) {
		crowd.conns[i].stream.fd = -1;
		crowd.conns[i].reply = &replies[i];
		crowd.conns[i].source = plan->sources ? 1 + i % plan->sources : 0;
		if (i < crowd.opened)
			crowd.conns[i].due = now + i * plan->pace / plan->connections;
	}
	crowd_tick();
}

void
crowd_stop(void)
{
	for (unsigned i = 0; i < crowd.plan->connections; i++) {
		stream_close(&crowd.conns[i].stream);
		SSL_SESSION_free(crowd.conns[i].session);
	}
	free(crowd.conns[0].reply);
	free(crowd.conns);
}
