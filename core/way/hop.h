/* From worker to worker: exchanges for a client connection of another process.
 *
 * Each worker has a listening UNIX socket. The master makes it, keeps it open as it keeps listeners', and
 * writes its (abstract) name to the board. Who has an exchange connects and sends a call: for whom. The
 * other one looks for that client, answers with what there is to know of it, and from then on the socket is
 * what a connection to a server would be. Its other end is a connection block like any other (conn.hop): a
 * tunnel between the socket and a strand to the client's session.
 *
 * A call whose client has gone is closed without an answer. What nobody answers ends with connect-timeout:
 * a worker that hangs is waited for by those who want something of it, and by nobody else. */
#ifndef WAY_HOP_H
#define WAY_HOP_H

#include "way/talk.h"

/* Workers of two versions may meet during an upgrade: another layout, another number. */
#define HOP_MAGIC UINT64_C(0x53594c4853504f32)

struct hop_call {
	uint64_t magic;
	struct flow_name name;
	uint32_t from;            /* sy_session.at of the server that asks; 0: not known */
	uint32_t zero;
};

struct hop_answer {
	uint64_t magic;
	struct sy_addr client;    /* the client's own address */
	struct sy_addr service;   /* the one of ours that it uses */
	uint8_t secure, datagram; /* over TLS; over UDP */
	uint8_t full;             /* it has too many exchanges: no more follows */
	uint8_t zero[5];
};

_Static_assert(sizeof(struct hop_answer) == 56, "no bytes between the members");

struct hops *hops_new(struct way *way);
/* When the loop has ended. */
void hops_free(struct hops *hops);
/* The worker's socket; it is the callee's. */
void hops_listen(struct hops *hops, int fd);
/* What a session is told of the client that it has reached. */
void hop_describe(const struct conn *client, struct hop_answer *out);
/* Calls: a socket on which the answer will come, or -1 with errno. Nothing here waits. */
int hop_call(struct board *board, unsigned row, const struct flow_name *name, uint32_t from);

#endif
