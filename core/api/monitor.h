/* A monitor asks and judges. The core makes the connection, keeps the time, counts rise and fall,
 * and combines results; the module says what to send and what an answer means, in words.
 *
 * Scenario (http): the core connects, calls start(): the module answers SY_PROBE_SEND with a request.
 * Bytes arrive, the core calls data() with everything received so far until the module is content:
 * SY_PROBE_UP or SY_PROBE_DOWN with a reason. Out of time, refused, reset: the core judges by
 * itself, in words, and never asks the module. */
#ifndef SY_API_MONITOR_H
#define SY_API_MONITOR_H

#include "api/addr.h"
#include "api/module.h"

enum sy_transport {
	SY_OVER_TCP,
	SY_OVER_TLS,
	SY_OVER_UDP,
	SY_OVER_ICMP,
	SY_OVER_PROGRAM, /* no connection: start() names a program, exited() judges */
};

enum sy_probe_what {
	SY_PROBE_WAIT,     /* for more bytes */
	SY_PROBE_SEND,     /* send `bytes`, then wait; borrowed from the module's state */
	SY_PROBE_UP,
	SY_PROBE_DOWN,
	SY_PROBE_DRAINING, /* alive, wants no new clients */
	SY_PROBE_RUN,      /* run argv (SY_OVER_PROGRAM) */
};

struct sy_probe_step {
	enum sy_probe_what what;
	struct sy_span bytes;         /* SEND */
	const char *const *argv;      /* RUN: absolute path first, NULL at the end */
	int weight_percent;           /* UP: 1..100 of the configured weight; 0: says nothing */
	bool warn;                    /* UP: the reason is something that an operator should read */
	uint32_t hold_ms;             /* WAIT: a server that stays silent and connected for so long, or for
	                               * what is left of the timeout, is UP with `reason`; 0: it must speak */
	char reason[160];             /* UP: what was seen; DOWN, DRAINING: what was wrong, in words */
};

/* Facts about the TLS handshake, for monitors over SY_OVER_TLS. */
struct sy_probe_tls {
	bool established;             /* handshake done */
	bool server_hello;            /* the server answered our hello with one of its own and a certificate */
	bool wants_client_certificate;
	bool verified;                /* chain leads to a known CA, dates are good */
	bool name_matches;            /* the wanted name; true when none was wanted */
	int days_left;                /* of the server's certificate; negative: expired */
	const char *version;          /* "TLSv1.3" */
	const char *problem;          /* the library's words when not established or not verified, or NULL */
};

struct sy_probe {
	struct sy_addr server;        /* where the probe goes, port included */
	struct sy_addr local;         /* where it comes from, when the plan asked for it */
	const char *service;          /* names for what is sent and for programs */
	const char *server_name;
	uint64_t random;
	const struct sy_probe_tls *tls; /* NULL unless SY_OVER_TLS */
};

/* What a monitor wants of the core for one use: asked once per generation. */
struct sy_probe_plan {
	enum sy_transport transport;
	uint32_t port;                /* 0: the port of the server in the service */
	bool local;                   /* sy_probe.local is wanted: costs a system call per probe */
	uint32_t local_port;          /* SY_OVER_UDP: all probes of this use come from this port of ours; 0: any */
	uint32_t repeat_ms;           /* SY_OVER_UDP: what was sent last is sent again after so long, then twice
	                               * as long, ... (RFC 8489 6.2.1, RFC 3261 17.1.2.2); 0: once only */
	/* SY_OVER_TLS: */
	const char *tls_name;         /* SNI and name to verify; NULL: none */
	struct sy_span tls_ca;        /* PEM; len 0: the system's store */
	bool tls_verify;
	struct sy_span tls_certificate, tls_key; /* client certificate, PEM; len 0: none */
	const char *tls_alpn;         /* NULL: none */
	struct sy_list tls_versions;  /* "TLSv1.2" and the like, from the oldest to the newest to offer; n 0: all */
};

struct sy_monitor {
	uint32_t size;       /* sizeof(struct sy_monitor) */
	uint32_t state_size; /* zeroed before each probe */
	struct sy_probe_plan (*plan)(const void *conf);
	/* The transport is there (for TLS: the handshake ended, well or not; see tls). */
	struct sy_probe_step (*start)(const void *conf, void *state, const struct sy_probe *probe);
	/* Everything received so far (streams), or one datagram; closed: the server has sent all.
	 * SY_OVER_ICMP: the bytes that came back. SY_OVER_PROGRAM: what it wrote, at most some KiB, told
	 * once, just before exited(); the step is not looked at.
	 * Optional for monitors that judge in start(). */
	struct sy_probe_step (*data)(const void *conf, void *state, const struct sy_probe *probe,
	                             struct sy_span in, bool closed);
	/* SY_OVER_PROGRAM: exit status 0..255, or -1 when killed by `signal`. */
	struct sy_probe_step (*exited)(const void *conf, void *state, const struct sy_probe *probe,
	                               int status, int signal);
};

/* A step that ends the probe, with words. */
__attribute__((format(printf, 2, 3))) static inline struct sy_probe_step
sy_judge(enum sy_probe_what what, const char *format, ...)
{
	struct sy_probe_step step = { .what = what };
	va_list args;

	va_start(args, format);
	vsnprintf(step.reason, sizeof(step.reason), format, args);
	va_end(args);
	return step;
}

#endif
