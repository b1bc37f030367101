/* The console: an unprivileged process that tells what it reads from the board and asks the master
 * for what must be done. HTTP comes in over a UNIX socket (the file's permissions are the access
 * control) and over loopback TCP; who may do what: access.h.
 *
 * A request that needs an answer of other processes waits: the connection is suspended, the question
 * has a number, and the DONE of that number goes on with it. */
#ifndef ROLE_CONSOLE_H
#define ROLE_CONSOLE_H

#include <jansson.h>

#include "base/text.h"
#include "proc/child.h"
#include "role/console_mhd.h"

enum {
	CONSOLE_LISTENERS = 16,
	CONSOLE_EVENTS = 512,
	CONSOLE_BODY = 65536,     /* most bytes of a request's body */
	CONSOLE_WAIT_MS = 60000,  /* for other processes to answer */
	CONSOLE_PEERS = 512,      /* connections of one entrance */
	CONSOLE_REQUEST_MS = 10000, /* a request must be complete by then */
	CONSOLE_PATH = 256,
};

/* A state change, kept for those who ask what happened. */
struct event {
	uint64_t wall_ms;
	char words[200];
};

struct entrance {                     /* a socket that people come in by */
	struct console *console;
	uint64_t listener;        /* 0: the control socket */
	int fd;
	struct MHD_Daemon *daemon;
	ev_io io, accept;
	ev_timer timer;
	struct link peers, arrivals; /* the latter are not the library's yet */
	unsigned n_peers, n_arrivals;
};

enum peer_way { PEER_CONTROL, PEER_LOOPBACK, PEER_SERVICE };

/* Who is at the other end of a connection. */
struct peer {
	struct link link;         /* in entrance->peers */
	struct entrance *entrance;
	enum peer_way way;
	struct sy_addr addr;      /* not of the control socket */
	uint32_t uid;             /* of the control socket */
	int32_t pid;
	char subject[65];         /* common name of a verified client certificate */
	int fd;
	bool known;               /* the library has it */
	uint64_t since_ms;        /* nothing was asked since; 0: a request is being answered */
};

enum role { ROLE_NONE, ROLE_LOOK, ROLE_OPERATE };

struct who {
	enum role role;
	char user[80];            /* "": nobody in particular */
	struct session *session;  /* access.h; or NULL */
	bool by_certificate, by_basic;
};

struct address {                  /* where a listener of the workers really is */
	uint64_t listener;
	char text[64];
};

/* What two configurations are compared by. */
struct trial_state {
	uint64_t servers, usable, total, failed;
};

struct trial_watch {
	uint64_t until_wall_ms;   /* 0: nothing is on trial */
	bool known;               /* `before` is */
	struct trial_state before;
	unsigned worse;           /* beats in a row */
};

/* The flight recorder shall be written to a file. */
struct recorder_due {
	uint64_t at_ms;           /* 0: it need not */
	uint64_t wrote_ms;        /* the last time; 0: never */
	char why[200];
};

/* What the workers trace, as they were asked. */
struct trace_state {
	uint64_t until_ms;        /* nobody has fetched it by then; 0: nothing is traced */
	char words[200];          /* whose it is, and of what */
};

struct console {
	struct child *child;
	struct entrance entrances[CONSOLE_LISTENERS];
	struct address *addresses;
	unsigned n_addresses;
	struct event *events;     /* a ring of CONSOLE_EVENTS */
	uint64_t n_events;        /* ever */
	struct link waiting;      /* requests that wait for an answer */
	uint64_t questions;       /* the number of the last one */
	struct live *live;        /* live.h */
	struct history *history;  /* of all services together */
	struct link streams;      /* those who watch; n_streams */
	unsigned n_streams;
	uint64_t n_streamed;      /* events ever */
	struct text *streamed;    /* a ring of STREAM_EVENTS */
	struct access *access;    /* access.h */
	struct trial_watch trial;
	struct notify *notify;    /* console_notify.c */
	struct recorder_due recorder; /* recorder.h */
	struct trace_state trace; /* api_trace.c */
};

struct request {
	struct link link;         /* in console->waiting */
	struct console *console;
	struct MHD_Connection *connection;
	struct entrance *entrance;
	struct peer *peer;
	struct who who;
	const struct route *route;
	char path[CONSOLE_PATH];  /* as asked for, cut */
	char cookie[160];         /* to be set */
	unsigned retry_s;         /* for Retry-After; 0: none */
	char *tail;               /* what the * of the route's path stood for, decoded */
	char body[CONSOLE_BODY + 1];
	size_t body_len;
	bool too_big;
	json_t *args;             /* the body, when it was a JSON object; else NULL */
	unsigned status;          /* 0: not answered yet */
	json_t *answer;           /* or text */
	char *text;
	size_t text_len;
	const char *type;         /* of the text or the constant; NULL: plain text */
	const void *constant;     /* or this, which stays; text_len */
	bool streams;             /* or events, from now on */
	bool waits, suspended;
	uint64_t question;
	uint64_t until_ms;
	json_t *gathered;         /* arrays that processes sent, merged */
	/* Or whoever wants their answers as they are. */
	void (*gather)(struct request *request, const char *bytes, size_t len);
	struct text raw;          /* for `gather` */
	void (*done)(struct request *request, bool ok, const char *text);
};

enum route_access { ACCESS_OPEN, ACCESS_LOOK, ACCESS_OPERATE };

struct route {
	const char *method, *path;
	enum route_access access;
	void (*handle)(struct request *request);
	const char *doc;
	/* Names of what may be given, in the query or (POST) in the body: texts, and in the body what is none. */
	const char *takes, *takes_more;
};

/* console_routes.c: all of them, NULL path at the end. */
extern const struct route console_routes[];

/* console_args.c: nothing is given that the route does not take. False: answered. */
bool args_check(struct request *request);

/* console_http.c */
void entrance_open(struct console *console, uint64_t listener, int fd);
void entrance_close(struct console *console, uint64_t listener);
void entrances_run(struct console *console); /* after requests were resumed */
void entrances_hear_out(struct console *console); /* half a second at most */
void http_headers(struct MHD_Response *response, const char *type);

/* console_door.c */
void door_readable(struct ev_loop *loop, struct ev_io *io, int events);
void door_connection(void *context, struct MHD_Connection *connection, void **state,
                     enum MHD_ConnectionNotificationCode code);
struct peer *door_peer(struct MHD_Connection *connection);
void door_beat(struct entrance *entrance);
/* Somebody was accepted, or had an answer, within the last second, and asks nothing at the moment. */
bool door_has_fresh(const struct entrance *entrance);
void door_close_arrivals(struct entrance *entrance);

/* console_request.c: how a handler answers. Exactly one of these. */
void request_json(struct request *request, json_t *answer);       /* takes the reference */
void request_text(struct request *request, char *text);           /* takes the memory */
/* The same with its type and length: a rendered document, or one that is part of the program. */
void request_rendered(struct request *request, const char *type, char *text, size_t len);
void request_constant(struct request *request, const char *type, const void *bytes, size_t len);
void request_stream(struct request *request);                     /* see live.h */
__attribute__((format(printf, 3, 4))) void request_error(struct request *request, unsigned status,
                                                         const char *format, ...);
/* Or it asks the master (COMMAND, ASK), and `done` answers later. */
void request_ask(struct request *request, enum control_type type, uint64_t what, const char *text,
                 void (*done)(struct request *request, bool ok, const char *text));
const char *request_query(struct request *request, const char *name);  /* ?name=value or NULL */
/* The number in ?name=, or `otherwise`. */
uint64_t request_number(struct request *request, const char *name, uint64_t otherwise);
/* Answers that arrive, and those that never do. */
void requests_message(struct console *console, struct control_message *message);
void requests_expire(struct console *console, bool all);
/* The entrance they came in by is closed. */
void requests_leave(struct console *console, const struct entrance *entrance);
void request_end(struct request *request);

/* console_view.c: states in words, from the board. */
const char *service_state(struct console *console, const struct service *service, char *why,
                          size_t len);
const char *seat_state(struct console *console, const struct service *service,
                       const struct seat *seat, struct cell_health *health);
json_t *view_service(struct console *console, const struct service *service);
uint32_t seat_weight(struct console *console, const struct seat *seat);
/* Where a listener really is; `out` is used when nobody has told yet. */
const char *view_address(const struct console *console, const struct listener *listener,
                         char out[static ADDR_TEXT_SIZE]);
/* What the server has in the protocol's unit, and when that ends: adds it where the protocol tells. */
void view_forecast(struct console *console, const struct service *service, const struct seat *seat,
                   json_t *object);
json_t *view_seat(struct console *console, const struct service *service,
                  const struct target *target, const struct seat *seat);
void view_prepare(struct generation *generation);
void view_beat(struct console *console);

/* console_trial.c */
void trial_begin(struct console *console); /* a reload for a trial is asked for: this is what was before */
void trial_until(struct console *console, uint64_t until_wall_ms);
void trial_beat(struct console *console);

/* console_notify.c: who is told, and of what (notify { }). */
struct notify *notify_new(void);
void notify_switched(struct console *console);
void notify_beat(struct console *console);
void notify_stop(struct console *console);

/* console_events.c */
__attribute__((format(printf, 2, 3))) void event_add(struct console *console, const char *format, ...);
void event_changed(struct console *console, uint32_t cell);
json_t *events_json(struct console *console, unsigned limit);

#endif
