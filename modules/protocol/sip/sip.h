/* protocol sip carries SIP in one of three ways (WIRE.md 1):
 *
 * - pass-through: TLS that ends at the server, with client certificates and signatures intact. The
 *   first bytes must be a ClientHello, or a SIP start line; the rest is a tunnel (pass.c);
 * - connection: one client connection to one server connection, every message framed and checked, none
 *   altered. What is open is known, so that a drain does not cut it (connection.c, book.c);
 * - proxy: each request is balanced for itself, over TCP, TLS and UDP (proxy.h). */
#ifndef PROTOCOL_SIP_SIP_H
#define PROTOCOL_SIP_SIP_H

#include "api/hello.h"
#include "api/protocol.h"
#include "book.h"
#include "message.h"
#include "reply.h"

enum { SIP_MODE_PASS, SIP_MODE_CONNECTION, SIP_MODE_PROXY };
enum { SIP_EXPECT_ANY, SIP_EXPECT_TLS, SIP_EXPECT_SIP };
enum { SIP_COMPRESSION_REFUSE, SIP_COMPRESSION_OPAQUE };
enum { SIP_LOAD_CONNECTIONS, SIP_LOAD_REGISTRATIONS, SIP_LOAD_DIALOGS, SIP_LOAD_TRANSACTIONS };
enum { SIP_PATH_ON, SIP_PATH_SUPPORTED, SIP_PATH_OFF };

enum {
	SIP_TEXT = 512,           /* of the facts of a session */
	SIP_WINDOW = SIP_HEAD_MOST + 1,
};

struct sip_conf {
	struct sy_choice mode, expect, compression, load;
	struct sy_list server_names;
	struct sy_msec header_timeout, body_timeout;
	struct sy_bytes body_limit;
	uint32_t retry_after_s;
	bool keep_dialogs;
	/* Mode proxy. */
	struct sy_secret key;
	const char *client_side;
	struct sy_addr server_side;
	struct sy_choice path;
	struct sy_msec ring_timeout;
	uint32_t open_requests;
	bool record_route, overload_control;
};

struct sip_session {
	union {
		struct sy_hello hello;    /* pass-through */
		struct {
			char text[SIP_TEXT];      /* what the spans of the facts point to */
			size_t text_len;
		} facts;
	};
	struct sip_scan scan[2];
	struct book book;
	struct proxy *proxy;          /* mode proxy: of a client */
	struct transaction *transaction; /* mode proxy: of a request */
	struct reply *reply;          /* to the first request, until the server says something */
	struct reply *said;           /* what EMIT and CLOSE show, until the next call */
	bool passing[2];              /* a message of this side is on its way */
	bool routed;
	bool compressed;              /* the server has agreed to compression */
	bool half_ping;               /* one CRLF of a keep-alive was taken, its second one not yet */
};

/* pass.c */
struct sy_verdict sip_pass(struct sy_session *session, struct sy_span in);

/* connection.c */
struct sy_verdict sip_connection(struct sy_session *session, enum sy_side side, struct sy_span in);
struct sy_packet_verdict sip_packet(struct sy_session *session, enum sy_side side, struct sy_span in);

/* sip.c: takes what persistence and rules want to know; the spans are the session's own. */
void sip_facts(struct sy_session *session, const struct sip_message *message);
/* The server's final answer to what was asked first. */
void sip_answered(struct sy_session *session, const struct sip_message *message);
/* What is not SIP ends the connection. */
struct sy_verdict sip_refuse(struct sy_session *session, const char *reason);

#endif
