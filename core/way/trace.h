/* A trace: what the connections and flows of one service, or of some clients, say on both of their
 * sides, as packets of a capture file, with what was decided as comments on them. The packets are made
 * up here from what is relayed: addresses and bytes are those of the wire; sequence numbers count from
 * the first packet of the trace, and there is no retransmission, no window, no checksum but the IP
 * header's. What TLS that ends here carried has its length, and its bytes only if `decrypted` was asked
 * for.
 *
 * One trace at a time, bounded in time, bytes and number; when it is full it keeps what it has. Without
 * one, way->trace is NULL, and that is all that the way looks at. While there is one nothing is spliced.
 *
 * trace.c knows whom it is about; trace_packet.c makes the packets (pcapng). */
#ifndef WAY_TRACE_H
#define WAY_TRACE_H

#include "way/flow.h"

enum {
	TRACE_MOST_MS = 600000,
	TRACE_KEPT_MS = 60000,    /* it waits so long to be fetched */
	TRACE_MOST_BYTES = 64 << 20,
	TRACE_CONNS = 1024,       /* connections and flows in one trace, at most; a power of two */
};

enum trace_side { TRACE_CLIENTS, TRACE_SERVERS };

/* TCP's flags. */
enum { TRACE_FIN = 1, TRACE_SYN = 2, TRACE_RST = 4, TRACE_PUSH = 8, TRACE_ACK = 16 };

/* One of the two connections of a connection. */
struct trace_half {
	struct sy_addr peer, own; /* who is spoken to, and who we are to him */
	uint32_t said[2];         /* sequence numbers: by the peer, by us */
	bool open;
	bool fin[2];              /* who has ended it, in the same order */
};

struct trace_conn {
	uint64_t id;              /* 0: free */
	bool datagrams;
	bool ended;
	struct trace_half half[2]; /* by enum trace_side */
};

struct trace {
	struct way *way;
	struct {
		char service[80];         /* "": any */
		struct sy_net client;     /* family SY_NO_ADDR: any */
		bool decrypted;
		uint64_t most_bytes;
	} of;
	uint64_t since_ms;
	struct text out;          /* blocks of pcapng */
	uint32_t n_packets, n_conns;
	uint32_t left_out;        /* connections for which there was no place */
	bool full, over;          /* no more bytes; no more time */
	struct ev_timer timer;
	struct trace_conn conns[TRACE_CONNS];
};

/* What precedes the blocks in the answer to ASK_TRACE_END. */
struct trace_summary {
	uint32_t packets, conns, left_out, full;
};

/* "service=NAME client=NETWORK decrypted=0|1 bytes=N ms=N". NULL, or why not. */
const char *trace_begin(struct way *way, const char *text);
/* Appends the summary and the blocks, and ends it. Nothing when there is none. */
void trace_end(struct way *way, struct text *out);
/* When the loop has ended. */
void trace_free(struct way *way);

/* Hooks of the way; each is called only when way->trace is set. */
void trace_read(struct conn *conn, const struct side *side, struct sy_span bytes);
void trace_written(struct conn *conn, const struct side *side, struct sy_span bytes);
void trace_eof(struct conn *conn, const struct side *side);
void trace_shut(struct conn *conn, const struct side *side);
/* An exchange has its connection to a server. */
void trace_served(struct conn *conn);
void trace_connect_failed(struct conn *conn);
/* The connection to the server is closed, or left for others to use. */
void trace_left(struct conn *conn, bool reset);
void trace_closed(struct conn *conn, const char *words);
/* A datagram of the flow's client that was sent to the server, or the other way round. */
void trace_datagram(const struct flow *flow, bool from_client, struct sy_span bytes);

/* trace_packet.c. `by_peer`: it goes from the peer to us. */
struct trace_packet {
	const struct trace_conn *conn;
	enum trace_side side;
	bool by_peer;
	unsigned flags;           /* TCP */
	struct sy_span bytes;
	bool secret;              /* the bytes are not shown */
	const char *comment;      /* or NULL */
};
void trace_packet(struct trace *trace, const struct trace_packet *packet);

#endif
