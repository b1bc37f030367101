/*
 * server.h: the lab's servers. One process plays one server or several; a server is a name, an
 * address and a role; a role is the list of services that the table in service.c gives it; a
 * service is a port, a transport and the handler that speaks there.
 *
 *	struct lab ── struct lab_server ── struct lab_listener ── struct lab_conn
 *	              (fe1, front-end)     (5061, tls)            (a client)
 *	                                        │                      │
 *	                                   struct lab_service ─── struct lab_handler
 *	                                   (row of the table)     (handler-NAME.c)
 *
 * Handlers compute, conn.c and listener.c do the input and output: a handler takes bytes from
 * conn->in, adds bytes to conn->out and says what is next. To give a port a deeper behaviour, write
 * another handler-NAME.c and put it into the table.
 */
#ifndef LAB_SERVER_H
#define LAB_SERVER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"
#include "loop.h"
#include "pki.h"
#include "stream.h"
#include "text.h"
#include "web.h"

struct lab_conn;
struct lab_listener;

/* What a handler answers when it has looked at what there is. */
enum handler_next {
	HANDLER_WAIT,   /* call again when there is more input, when output has drained, or woken */
	HANDLER_FINISH, /* that was all: flush the output, then close */
	HANDLER_RESET,  /* close at once, with a reset */
};

struct lab_handler {
	const char *name;
	/* Bytes of zeroed memory that each connection gets, in conn->state. */
	size_t state_size;
	/* Looks at conn->in, consumes what it understands (buf_drop), answers to conn->out, but no
	 * more than CONN_OUT_HIGH and one answer. Sets conn->busy while an answer is owed. Called
	 * after each change, and now and then without one. */
	enum handler_next (*stream)(struct lab_conn *conn);
	/* Frees what the state owns; may be NULL. */
	void (*stream_end)(struct lab_conn *conn);
	/* Answers one datagram in answer, or leaves it empty. NULL where the handler has no UDP. */
	void (*datagram)(struct lab_listener *listener, const char *bytes, size_t len,
			 const struct lab_addr *peer, struct lab_buf *answer);
};

extern const struct lab_handler handler_say, handler_sip, handler_web, handler_turn, handler_psom,
    handler_control;

enum {
	SERVICE_OPTIONAL = 1, /* opened only when asked for: farms without it are the rule */
	SERVICE_ASKS = 2,     /* asks clients for a certificate, goes on without */
	SERVICE_MUTUAL = 4,   /* refuses clients without a certificate */
	SERVICE_SENDS_HOME = 8, /* a registrar sends its users to the pool's own name, where there is TLS */
};

struct lab_service {
	const char *name;
	uint16_t port;
	enum lab_transport transport;
	unsigned flags;
	const struct lab_handler *handler;
};

struct lab_role {
	const char *name;
	const char *const *names; /* of the pool, in each server's certificate */
	const struct lab_service *services;
	int count;
	bool made; /* from a list on the command line: freed with its server */
};

/* The role of that name, or NULL. */
const struct lab_role *service_role(const char *name);

/* Makes a role from a list such as "5061/tls,80/tcp:web,0/udp"; port 0 lets the kernel choose.
 * NULL and err if not understood. */
const struct lab_role *service_make_role(const char *list, struct lab_err *err);

/* Frees what service_make_role() made; leaves the table's roles alone. */
void service_free_role(const struct lab_role *role);

/* The names of all roles, for messages. */
const char *service_role_names(void);

/* How a port behaves; tests change it (handler-control.c). */
enum listener_mode {
	LISTENER_UP,
	LISTENER_DOWN,   /* closed; what was connected was reset */
	LISTENER_SHUT,   /* closed, but what is connected is served on */
	LISTENER_MUTE,   /* accepts, takes everything, answers nothing */
	LISTENER_REFUSE, /* accepts and resets */
	LISTENER_DRAIN,  /* serves on, and the registrar takes nothing new */
};

struct lab_listener {
	struct lab_server *server;
	const struct lab_service *service;
	struct lab_addr addr; /* with the port that is really used */
	int fd;               /* -1 while closed */
	ev_io io;
	ev_timer pause; /* runs while accepting rests for want of descriptors */
	enum listener_mode mode;
	struct lab_conn *conns;
	uint64_t accepted, open, exchanges, failed;
	uint64_t mixed, strayed; /* faults of who is in between, see handler-web.c and handler-sip.c */
	uint64_t users; /* signed in, in a meeting, with an allocation: now */
};

struct lab_server {
	struct lab *lab;
	char *name;
	const struct lab_role *role;
	struct lab_addr addr;
	SSL_CTX *tls;
	struct lab_listener *listeners;
	int count;
	struct web_sessions web;
};

struct lab {
	struct ev_loop *loop;
	struct lab_server *servers;
	int count;
	struct lab_server control; /* one listener, on a UNIX socket */
	bool optional;             /* open optional services as well */
	bool verbose;              /* say why connections failed */
	bool stay;                 /* TURN: the 401 names no Alternate Server */
	double keep_alive;         /* seconds that a registrar lets its clients be silent */
	bool stopping;
	uint64_t open; /* connections to all servers, without the control socket's */
	double grace;  /* seconds that connections have to end by themselves when stopping */
	ev_timer deadline;
};

/* Opens the port (listener->addr) and begins to accept. 0, or -1 and err. */
int listener_open(struct lab_listener *listener, struct lab_err *err);

/* Accepts what has connected until now. */
void listener_accept_pending(struct lab_listener *listener);

/* Closes the port. Connections live on. */
void listener_close(struct lab_listener *listener);

/* Changes the behaviour. 0, or -1 and err when a port cannot be opened again. */
int listener_set_mode(struct lab_listener *listener, enum listener_mode mode, struct lab_err *err);

/* Resets all connections that came through the listener. */
void listener_reset(struct lab_listener *listener);

const char *listener_mode_name(enum listener_mode mode);

enum {
	CONN_OUT_HIGH = 64 * 1024, /* the handler isn't called while so much output waits */
};

enum conn_phase {
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_FLUSH,  /* the last answers are on their way; nothing more is read */
	CONN_LINGER, /* all is said; wait for the other side's end */
};

struct lab_conn {
	struct lab_listener *listener;
	struct lab_conn *next, **link; /* in listener->conns; *link == conn */
	struct lab_stream stream;
	struct lab_addr peer;
	ev_io io;
	ev_timer timer;
	enum conn_phase phase;
	struct lab_buf in, out;
	bool eof;   /* the other side has no more to say */
	bool busy;  /* the handler owes an answer */
	bool woken; /* the time that conn_wake() asked for has come */
	uint64_t exchanges;
	void *state; /* the handler's */
};

/* Takes over an accepted descriptor and serves it. */
void conn_open(struct lab_listener *listener, int fd, const struct lab_addr *peer);

/* Has the handler called again after so many seconds, with conn->woken set. */
void conn_wake(struct lab_conn *conn, double seconds);

/* Counts an exchange that is over. */
void conn_exchange_done(struct lab_conn *conn);

/* Closes at once and frees. */
void conn_close(struct lab_conn *conn, bool reset);

/* Reads, has the handler look, writes, ends what is over. The connection may be gone afterwards.
 * While the server stops, connections end here that have had an answer and wait for none. */
void conn_run(struct lab_conn *conn);

/* Adds a server to lab->servers; address and role are text. 0, or -1 and err. */
int lab_add(struct lab *lab, const char *name, const char *address, const char *role,
	    struct lab_err *err);

/* Issues the certificates (days valid, kept in state unless NULL), opens all ports, and the control
 * socket unless its path is NULL. 0, or -1 and err. */
int lab_open(struct lab *lab, const char *state, int days, const char *control,
	     struct lab_err *err);

/* "fe1:sip=127.0.0.1:5061/tls fe1:...", for all ports; the caller frees it. */
struct lab_buf lab_ports(const struct lab *lab);

/* A connection is gone; while stopping, the last one ends the loop. */
void lab_conn_ended(struct lab *lab);

/* Closes everything at once and frees. */
void lab_close(struct lab *lab);

/* Begins to stop: no new connections, what is under way may end within lab->grace; then the loop is
 * left. A second call ends at once. */
void lab_stop(struct lab *lab);

/* Sends one command to the control socket of a running lab server and prints what it answers.
 * The exit status: 0 if the command was carried out. */
int ask(const char *path, int count, char **words);

#endif
