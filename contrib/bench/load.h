/*
 * The load generator: what it was asked to do, what it counted, and its two kinds of traffic.
 *
 * load.c keeps the time. A run is: warm up; say "begin" and wait for a line on standard input;
 * count for so many seconds; say "end" and wait for a line; stop; print a line of JSON. While it
 * waits, nothing moves, so that who measures the proxy from outside measures what was counted.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#define LOAD_SECOND 1000000000ull

struct load_plan {
	struct sockaddr_in to;
	unsigned sources;     /* client addresses, 127.0.1.1 and up; 0: the kernel's choice */
	unsigned connections; /* or flows: how many at a time */
	unsigned exchanges;   /* on each connection; 0: without end */
	uint32_t reply_size;  /* also the size of a datagram */
	uint64_t pace;	      /* ns from one exchange's beginning to the next one's; 0: at once */
	uint64_t patience;    /* ns until an exchange counts as failed */
	bool http, tls, resume, udp;
	bool hold; /* each connection makes one exchange, then waits to be told */
	const char *name;   /* server name in TLS and HTTP */
	const char *cookie; /* every HTTP reply must set it; NULL: none is looked for */
	SSL_CTX *ctx;
};

/* What ended an exchange, and how often. */
struct load_failure {
	char words[80];
	uint64_t count;
};

#define LOAD_FAILURES 16
#define LOAD_BUCKETS (64 * 40)

struct load_tally {
	uint64_t done, bytes;
	uint64_t failed;
	struct load_failure failures[LOAD_FAILURES];
	uint64_t longest;		/* ns */
	uint32_t buckets[LOAD_BUCKETS]; /* durations: 64 buckets for each doubling */
	uint32_t server;		/* address of the server that answered last */
	char tls[64];
};

/* The one tally; zeroed at "begin", so that failures of the warm-up are kept apart by load.c. */
extern struct load_tally load_tally;

uint64_t
load_now(void);

/* One exchange that began then is over; bytes are those of its reply. */
void
load_done(uint64_t began, uint64_t bytes);

/* One exchange failed while it was doing that ("connecting"), because of this. */
void
load_failed(const char *doing, const char *why);

_Noreturn void
load_die(const char *what, const char *why);

/* TCP connections, with TLS or HTTP on them or without (crowd.c). */
void
crowd_start(const struct load_plan *plan, int epoll);

/* Handles one event of epoll. */
void
crowd_event(void *who);

/* To be called every few milliseconds: what is due or late. */
void
crowd_tick(void);

/* True when every connection is through with its exchanges and waits. */
bool
crowd_quiet(void);

/* One more exchange for each of the connections that wait. */
void
crowd_again(void);

void
crowd_stop(void);

/* UDP flows (flows.c): one datagram under way in each. */
void
flows_start(const struct load_plan *plan, int epoll);

void
flows_event(void *who);

void
flows_tick(void);

void
flows_stop(void);

#endif
