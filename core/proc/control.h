/* What master and children say to each other: fixed records over one SOCK_SEQPACKET socketpair for
 * each child, with text behind and descriptors beside (SCM_RIGHTS). End-of-file means that the other
 * side died.
 *
 * Start:    master -> child  LOG, GENERATION, then LISTEN for each socket (workers), then SWITCH
 *           child -> master  BOUND, then READY after the SWITCH
 * Reload:   master -> child  GENERATION;  child -> master BOUND (ok or not);
 *           master -> child  LISTEN for new sockets, SWITCH, UNLISTEN for old ones; or FORGET
 *           child -> master  RELEASED when the last exchange of an old generation has ended
 * Health:   checker -> master -> workers, console  CHANGED; worker -> master -> checker SUSPECT
 * Console:  console -> master COMMAND, answered by DONE; console -> master -> the others ASK,
 *           answered by ANSWER from each, forwarded to the console, closed by DONE when all have. */
#ifndef PROC_CONTROL_H
#define PROC_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/err.h"

enum control_type {
	CONTROL_READY = 1,
	CONTROL_GENERATION,       /* fds: generation, secrets (or none: flag), modules */
	CONTROL_BOUND,            /* flags CONTROL_OK or not; text: why not */
	CONTROL_SWITCH,
	CONTROL_FORGET,
	CONTROL_RELEASED,
	CONTROL_LISTEN,           /* id: listener; value: slot; fd. id 0: what belongs to no listener, the control
	                             socket for the console, way/hop.h's for a worker. To the console for each listener of the
	                             workers, too: slot 0, no fd, text: the real address (port 0 in the
	                             configuration means any) */
	CONTROL_UNLISTEN,         /* id: listener; value: slot */
	CONTROL_LOG,              /* fd: new log descriptor; value: target | format << 8 | level << 16 */
	CONTROL_STOP,             /* flags CONTROL_GRACEFUL; value: ms that connections may still take, 0 no end */
	CONTROL_CHANGED,          /* id: the cell that changed on the board (seat or server); value: 1 when
	                             it is not usable any more */
	CONTROL_SUSPECT,          /* id: cell of a seat whose connects fail */
	CONTROL_COMMAND,          /* id: question; value: enum control_command; text: arguments */
	CONTROL_DONE,             /* id: question; flags CONTROL_OK; text: words for the operator; fd: memfd with
	                             all of them when they are longer than CONTROL_TEXT */
	CONTROL_ASK,              /* id: question; value: enum control_ask; text: arguments */
	CONTROL_ANSWER,           /* id: question; row: who answers; fd: memfd with the answer, or text */
	CONTROL_LOADED,           /* loader: fds as in GENERATION; text: warnings */
	CONTROL_REFUSED,          /* loader: fd: memfd with all messages */
	CONTROL_TRIAL,            /* to the console: value: wall time in ms until which the configuration in use
	                             must be confirmed; 0: it need not (any more) */
};

enum control_flag {
	CONTROL_OK = 1,
	CONTROL_GRACEFUL = 2,
	CONTROL_SECRETS = 4,      /* GENERATION, LOADED: the second descriptor is the secrets */
};

enum control_command {
	COMMAND_RELOAD = 1,       /* DONE comes when it is finished or refused, with all messages. text: empty,
	                             or how many ms it is on trial */
	COMMAND_WISH,             /* text: "CELL WISH" or "CELL weight N|configured"; CELL decimal board index */
	COMMAND_ROTATE_LOGS,
	COMMAND_STOP,             /* text: "now" or "graceful" */
	COMMAND_LOG_LEVEL,        /* text: err|warn|info|debug, until the next reload */
	COMMAND_CONFIRM,          /* what is on trial stays */
	COMMAND_BACK,             /* text: why what is on trial is worse than what was before */
};

enum control_ask {
	ASK_CONNECTIONS = 1,      /* text: "service=NAME server=NAME client=ADDR limit=N", each optional; a JSON
	                             array in the answer's memfd */
	ASK_CLEAR_CONNECTIONS,    /* close what matches (same text), with the reason "closed by the operator" */
	ASK_MEMORY,               /* JSON object: what is held, by kind */
	ASK_CHECK_NOW,            /* checker: text: seat cell, or empty for all */
	ASK_ROUTES,               /* routing: text: a client's address, or empty; a JSON array of what servers
	                             answered to it */
	ASK_TRACE,                /* workers: text as trace_begin() wants it, way/trace.h; JSON array in the answer:
	                             empty, or why not */
	ASK_TRACE_END,            /* workers: struct trace_summary and blocks of pcapng; nothing when none is there */
};

struct control_record {
	uint16_t type;            /* enum control_type */
	uint16_t flags;           /* enum control_flag */
	uint32_t row;             /* ANSWER: board row of the process that answers */
	uint64_t generation;
	uint64_t id;
	uint64_t value;
};

enum {
	CONTROL_TEXT = 16384,     /* most bytes of text in one record; more goes into a memfd */
	CONTROL_FDS = 80,
};

struct control_message {
	struct control_record record;
	size_t len;
	char text[CONTROL_TEXT + 1]; /* ends with NUL */
	int fds[CONTROL_FDS];     /* close-on-exec; the receiver owns them */
	unsigned n_fds;
	bool fds_lost;            /* some came, and this process has no descriptor left for them: n_fds is 0 */
};

/* Sockets: close-on-exec, non-blocking, big buffers. */
int control_pair(int *ours, int *theirs, struct sy_err *err);
/* 0 sent; -1 with errno: EAGAIN (peer does not read), EPIPE (dead). The fds stay the caller's. */
int control_send(int fd, const struct control_record *record, const char *text, size_t len,
                 const int *fds, unsigned n_fds);
/* 1 a message, 0 end of file, -1 with errno: EAGAIN nothing now; EBADMSG a malformed one, which is
 * never patched over: a child dies of it (must), the master kills the child that sent it. */
int control_receive(int fd, struct control_message *out);
/* Closes what the receiver did not take (took ones are -1). */
void control_close_fds(struct control_message *message);

#endif
