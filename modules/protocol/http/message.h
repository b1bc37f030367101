/* HTTP/1.x as it lies in a window: the head of a message, read strictly and without copying. What two
 * readers could take for different things (two lengths, a length and a coding, lone line feeds,
 * folded lines, blanks before a colon, ...) is refused: such a message would be one request for us
 * and two for a server.
 *
 * A head is looked for first (head_scan(), which goes on where it stopped, so that a head that comes
 * byte by byte costs no more than one that comes at once), then read in one go. All spans point into
 * the bytes that were read. */
#ifndef PROTOCOL_HTTP_MESSAGE_H
#define PROTOCOL_HTTP_MESSAGE_H

#include <stdbool.h>

#include "api/span.h"

enum {
	MESSAGE_FIELDS = 256,     /* most fields of a head */
	MESSAGE_METHOD = 32,      /* longest method */
};

/* Fields that somebody here looks at. */
#define MESSAGE_KNOWN(X) \
	X(HOST, "host") \
	X(CONTENT_LENGTH, "content-length") \
	X(TRANSFER_ENCODING, "transfer-encoding") \
	X(CONNECTION, "connection") \
	X(KEEP_ALIVE, "keep-alive") \
	X(PROXY_CONNECTION, "proxy-connection") \
	X(TE, "te") \
	X(TRAILER, "trailer") \
	X(UPGRADE, "upgrade") \
	X(HTTP2_SETTINGS, "http2-settings") \
	X(EXPECT, "expect") \
	X(AUTHORIZATION, "authorization") \
	X(PROXY_AUTHORIZATION, "proxy-authorization") \
	X(WWW_AUTHENTICATE, "www-authenticate") \
	X(PROXY_AUTHENTICATE, "proxy-authenticate") \
	X(PERSISTENT_AUTH, "persistent-auth") \
	X(COOKIE, "cookie") \
	X(SET_COOKIE, "set-cookie") \
	X(X_FORWARDED_FOR, "x-forwarded-for") \
	X(X_FORWARDED_PROTO, "x-forwarded-proto") \
	X(X_FORWARDED_HOST, "x-forwarded-host") \
	X(X_FORWARDED_PORT, "x-forwarded-port") \
	X(X_REAL_IP, "x-real-ip") \
	X(FORWARDED, "forwarded") \
	X(STRICT_TRANSPORT_SECURITY, "strict-transport-security")

enum field_id {
	FIELD_OTHER,
#define MESSAGE_ENUM(id, name) FIELD_##id,
	MESSAGE_KNOWN(MESSAGE_ENUM)
#undef MESSAGE_ENUM
	FIELD_IDS
};

struct field {
	struct sy_span name, value; /* the value without blanks around it */
	uint8_t id;               /* enum field_id */
	bool gone;                /* left out when the head is written anew */
};

/* Where the search for the end of a head stands. Zeroed before the first call. */
struct head_scan {
	uint32_t seen;            /* bytes that were looked at */
	uint32_t line;            /* where the line in hand begins */
	uint32_t first;           /* length of the first line with its end; 0: not complete */
	bool whole;               /* the end was found */
};

enum head_state {
	HEAD_MORE,
	HEAD_WHOLE,               /* scan->seen bytes */
	HEAD_BARE_LF,             /* a line that does not end with CR LF */
	HEAD_LONG,                /* a line is longer than it may be, complete or not */
};

/* What a head may have. */
struct head_limits {
	uint32_t line;            /* first line */
	uint32_t field;           /* one field, name and all */
	uint32_t fields;          /* how many */
};

struct message {
	struct sy_span head;      /* whole, with the empty line */
	/* Request: */
	struct sy_span method, target;
	struct sy_span path;      /* of the target, with the query; "*" */
	struct sy_span host;      /* Host field, or the authority of an absolute target; may be empty */
	/* Response: */
	uint32_t status;
	struct sy_span phrase;
	/* Both: */
	uint32_t minor;           /* HTTP/1.minor */
	bool chunked, has_length, close, keep_alive, upgrade, te_trailers, expects;
	uint64_t length;          /* when it has one */
	uint32_t n;
	/* When it is refused: what the client is told, and words for the operator. */
	uint32_t refusal;
	const char *problem;
	struct field field[MESSAGE_FIELDS];
};

enum head_state head_scan(struct head_scan *scan, struct sy_span in, const struct head_limits *limits);
/* Could this be the beginning of a request? Said before the head is whole, so that nobody waits for the
 * end of what is none. */
bool head_begins(struct sy_span in);
/* False: refused, see refusal and problem. What it holds is then of no use. */
bool message_request(struct message *message, struct sy_span head, const struct head_limits *limits);
bool message_response(struct message *message, struct sy_span head, const struct head_limits *limits);
/* One line of trailers, without its end. NULL, or what is wrong with it. */
const char *message_trailer(struct sy_span line);

/* Without regard to case; the word is in lower case. */
bool span_is(struct sy_span text, const char *word);
/* With regard to it. */
bool span_same(struct sy_span text, const char *word);
bool span_equal(struct sy_span a, struct sy_span b);
/* The next element of a list with commas, without blanks around it; skips empty ones. False: no more. */
bool span_element(struct sy_span *list, struct sy_span *element);
bool span_lists(struct sy_span list, const char *word);
/* Is it made of characters that a token may have, and not empty? */
bool span_is_token(struct sy_span text);
/* Can it stand in a field? */
bool span_is_value(struct sy_span text);
/* Can it be a request's target, or a part of one? */
bool span_is_target(struct sy_span text);
struct sy_span span_trim(struct sy_span text);

/* What Connection lists is between its sender and us: those fields are gone (RFC 9110 7.6.1),
 * but for those that say where the message ends. */
void message_unlist(struct message *message);

#endif
