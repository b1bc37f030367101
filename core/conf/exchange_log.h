/* exchange-log { }: which ends of connections, flows and exchanges have a line in the log, and what it
 * looks like. The fields that a line may hold are listed here; way/report_fields.c knows their values.
 *
 * Scenario: a farm with 2,000 requests a second logs one in a hundred of those that went well, all that
 * took longer than two seconds, none of the monitoring station's, and every error:
 *
 *	exchange-log {
 *		keep 1/100;
 *		rule none { clients 192.0.2.9; }
 *		rule all { slow 2s; }
 *	} */
#ifndef CONF_EXCHANGE_LOG_H
#define CONF_EXCHANGE_LOG_H

#include "api/err.h"
#include "api/rows.h"
#include "base/arena.h"

/* The order is that of a line without a format. */
#define LOG_FIELDS(X) \
	X(id, "of the connection, as steelyardctl connections shows it") \
	X(parent, "id of the connection that carries this exchange beside others (HTTP/2)") \
	X(service, "the virtual service") \
	X(client, "address and port of the client") \
	X(via, "who connected, when a PROXY header named the client") \
	X(vip, "address and port that the client connected to") \
	X(source, "our address and port towards the server") \
	X(server, "name of the server") \
	X(address, "its address and port") \
	X(why, "why this server; answered-here: none was asked") \
	X(tls, "version and cipher of the client's TLS") \
	X(sni, "the name that it asked for") \
	X(server_tls, "version and cipher towards the server") \
	X(method, "what was asked, of the exchange or of the last one: GET, INVITE") \
	X(host, "the host that was asked for") \
	X(path, "the path, without the query") \
	X(status, "the answer to it: 200") \
	X(ms, "how long it lasted, in milliseconds") \
	X(connect_us, "how long the server took to accept the connection, in microseconds") \
	X(response_us, "how long the server took to say something, in microseconds") \
	X(up, "bytes of the client") \
	X(down, "bytes of the server") \
	X(exchanges, "how many exchanges the connection had, when it can have several") \
	X(sample, "one in so many such lines was kept, when that is not all") \
	X(end, "why it ended, in a word") \
	X(words, "the same in a sentence") \
	X(event, "connection, flow or exchange") \
	X(time, "2026-11-26T15:44:08.123Z") \
	X(worker, "number of the worker")

enum log_field_id {
#define LOG_FIELD_ENUM(name, doc) LOG_FIELD_##name,
	LOG_FIELDS(LOG_FIELD_ENUM)
#undef LOG_FIELD_ENUM
	LOG_FIELDS_END,
	LOG_FIELDS_IN_LINE = LOG_FIELD_words, /* the rest is for formats only */
};

extern const char *const log_field_names[LOG_FIELDS_END + 1]; /* NULL at the end */

/* A piece of a format: literal text, then maybe a field. */
struct log_piece {
	struct sy_span text;
	int field;                /* enum log_field_id; -1: none */
};

/* The first rule that fits decides. A condition that is not given fits. */
struct exchange_rule {
	const char *keep;
	struct sy_list services, servers, ends;
	struct sy_nets clients;
	struct sy_ranges status;
	struct sy_msec slow;
	uint32_t one_in;          /* of `keep`; 0: none */
};

struct exchange_log {
	bool exchanges;           /* those within a connection have lines, too */
	const char *format;       /* NULL: as the log's own */
	const char *keep;
	struct sy_blocks rules;   /* struct exchange_rule */
	/* By exchange_log_bind(): */
	const struct log_piece *pieces; /* of the format; NULL: none */
	uint32_t n_pieces;
	uint32_t one_in;
};

/* The end of an exchange whose connection goes on. */
#define EXCHANGE_DONE "done"

/* One that has ended. */
struct exchange_end {
	const char *service, *server, *end; /* server NULL: none */
	const struct sy_addr *client;
	uint32_t status;          /* 0: not known */
	uint64_t ms;
	bool error;
};

extern const struct sy_row exchange_log_rows[];

/* What the rows cannot check alone. -1 with err, which names the directive. */
int exchange_log_bind(struct arena *arena, struct exchange_log *log, struct sy_err *err);
/* One in how many of its kind has a line; 0: none. Errors always have. */
uint32_t exchange_log_keep(const struct exchange_log *log, const struct exchange_end *end);

#endif
