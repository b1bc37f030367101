/* The inside of the probe engine, for the files probe*.c. */
#ifndef ROLE_PROBE_RUN_H
#define ROLE_PROBE_RUN_H

#include <openssl/ssl.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/list.h"
#include "role/probe.h"

enum {
	PROBE_INPUT = 128 * 1024,   /* most that a server may say before the verdict */
	PROBE_SCRATCH = 64 * 1024,
	PROBE_OUTPUT = 4096,        /* of a program; the rest is read and forgotten */
	PROBE_DRAIN = 256 * 1024,   /* read after the verdict, at most, before the connection is cut */
	PROBE_CLOSE_MS = 1000,
	PROBE_TERM_MS = 1000,       /* from SIGTERM to SIGKILL */
	PROBE_LATE_MS = 50,         /* a timer that comes so late says more about us than about the server */
	PROBE_GRACE_MS = 50,
};

enum probe_phase {
	PROBE_WAITING,
	PROBE_CONNECTING,
	PROBE_HANDSHAKE,
	PROBE_TALKING,
	PROBE_RUNNING,
	PROBE_CLOSING,
};

struct probe {
	struct probes *engine;
	const struct probe_question *question;
	void *owner;
	bool wanted;              /* the verdict: not given yet, and not abandoned */
	struct link link;         /* engine->waiting, open or closing */
	enum probe_phase phase;
	bool eof;                 /* the server has said all */
	bool graced;              /* was given a little more time already */
	bool exchanged;           /* bytes went one way or the other */
	bool holding;             /* the timer is that of `held`, not the timeout's */
	struct ev_io io;
	int fd;                   /* socket, or the pipe of a program; -1: none */
	struct timer_entry timer;
	uint64_t started_us;
	struct sy_probe facts;
	struct sy_span out;       /* still to be sent; the module's memory */
	struct timer_entry again; /* datagrams: when that is sent once more */
	uint64_t again_ms;
	char *in;                 /* received so far, when the first read did not settle it */
	size_t in_len, in_size;
	size_t drained;
	SSL *ssl;
	struct sy_probe_tls tls;
	struct sy_probe_step held; /* what it means when the server stays silent */
	uint64_t held_us;         /* since when */
	struct ev_io exit;        /* a program's pidfd */
	pid_t pid;
	uint16_t echo;            /* sequence number */
	bool echoing;
	_Alignas(max_align_t) unsigned char state[]; /* the module's */
};

struct probes {
	struct ev_loop *loop;
	struct timeq_set *timeouts;
	const struct probe_ops *ops;
	unsigned most;
	struct probes_count count;
	struct link waiting, open, closing;
	struct ev_prepare pump;   /* starts those that wait */
	uint64_t random;
	struct probe_echo *echo;
	char scratch[PROBE_SCRATCH];
};

/* Carries out a step of the module. The probe may be gone afterwards. */
void probe_step(struct probe *probe, const struct sy_probe_step *step);
/* Ends it: the core's own judgement in words, about the server. */
__attribute__((format(printf, 2, 3))) void probe_down(struct probe *probe, const char *format, ...);
/* The same, about this side. */
__attribute__((format(printf, 2, 3))) void probe_failed(struct probe *probe, const char *format, ...);
/* Ends it by an error number of a socket call, on either side. */
void probe_error(struct probe *probe, const char *doing, int error);
/* The transport is there. */
void probe_begin(struct probe *probe);
/* Takes it from all lists and frees it. Descriptors must be closed already. */
void probe_gone(struct probe *probe);
/* After the verdict: how long the rest may take. */
void probe_last(struct probe *probe, uint64_t ms);
/* Bytes of the server, or a datagram; the module is asked. */
void probe_take(struct probe *probe, struct sy_span in, bool closed);
void probe_watch(struct probe *probe, int events);

/* By transport. open: starts it. end: after the verdict; calls probe_gone() now or later. cut: at once.
 * send: the bytes in probe->out. */
struct probe_transport {
	void (*open)(struct probe *probe);
	void (*send)(struct probe *probe);
	void (*end)(struct probe *probe);
	void (*cut)(struct probe *probe);
	void (*late)(struct probe *probe); /* the time for the rest is up */
};

extern const struct probe_transport probe_stream, probe_datagram, probe_icmp, probe_program;

void probe_program_run(struct probe *probe, const char *const *argv);

/* TLS beneath a stream. want: the events to wait for. */
enum probe_io { PROBE_IO_DONE, PROBE_IO_AGAIN, PROBE_IO_END, PROBE_IO_ERROR };
bool probe_tls_open(struct probe *probe);
/* DONE: the handshake ended, well or not; probe->tls says which. */
enum probe_io probe_tls_handshake(struct probe *probe, int *want);
enum probe_io probe_tls_read(struct probe *probe, void *to, size_t size, size_t *got, int *want);
enum probe_io probe_tls_write(struct probe *probe, struct sy_span bytes, size_t *sent, int *want);
/* Says goodbye if the connection allows it. */
void probe_tls_end(struct probe *probe);
/* What went wrong, for people; a constant string, or in a buffer that the next call overwrites. */
const char *probe_tls_words(void);

void probe_echo_free(struct probes *probes);

#endif
