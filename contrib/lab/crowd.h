/*
 * crowd.h: a crowd of clients. Each target (a service of the farm, seen from outside) has short
 * clients, which connect, have one exchange and close, and long ones, which stay and have an
 * exchange every now and then. Every answer is checked to the last byte, and counted for the server
 * that gave it.
 *
 * A connection that is lost is tried once more, a moment later: that is what a client does which
 * knows one address and has a user waiting. If the second try succeeds in time, the exchange has
 * moved (another server answered) or was had again (the one that the lost connection had). If not,
 * it has failed. A wrong answer, and no answer on a connection that stands, has failed at once.
 *
 * The moment is there because a process that is killed closes its connections before its ports: a
 * client on the same machine that comes back within microseconds finds the dying port still open.
 *
 *	              connected          TLS done            answered
 *	PAUSED ─> CONNECT ─> HANDSHAKE ─> EXCHANGE ─> short ─> (ENDING ─>) PAUSED
 *	  ^           ^                      ^    └──> long ──> WAITING ─┐
 *	  │           └── lost: once more    └───────── interval ───────┘
 *	  └────────────── failed
 */
#ifndef LAB_CROWD_H
#define LAB_CROWD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "addr.h"
#include "buf.h"
#include "loop.h"
#include "stream.h"
#include "text.h"

enum {
	CROWD_SERVERS = 64, /* servers that can be told apart */
	CROWD_FAULTS = 64,  /* kinds of failure that are kept in words */
	CROWD_NAME = 41,
	CROWD_WORDS = 384,
	CROWD_TIMES = 96, /* classes of the time histogram */
};

/* Exchanges of one server at one target. */
struct crowd_count {
	uint64_t exchanges, before; /* before: at the last tick of the display */
	double last;                /* when the last one was */
};

/* Whether a target is asked as a web service (crowd-web.c), and how long its sessions live. */
enum crowd_web_kind {
	CROWD_WEB_NONE,
	CROWD_WEB_CONNECTION,
	CROWD_WEB_COOKIE,
};

struct crowd_web;

struct crowd_target {
	char name[CROWD_NAME];
	char *tls_name; /* sent as SNI and verified; NULL: neither */
	struct lab_addr addr;
	enum lab_transport transport;
	uint16_t answers_port; /* the server's port that must answer; 0: any */
	bool sees_client;      /* the server must see the client's own address */
	bool optional;         /* no failure if nothing answers there at all */
	enum crowd_web_kind web;
	bool answered;
	int shorts, longs;
	int open; /* connections that stand now */
	uint64_t connections, exchanges, before, failed, moved, again, switched, unanswered, strayed;
	double slowest;
	struct crowd_count by_server[CROWD_SERVERS];
};

/* One kind of failure at one target. */
struct crowd_fault {
	const struct crowd_target *target; /* NULL: this place is free */
	char words[CROWD_WORDS];           /* the same for each case */
	char example[CROWD_WORDS];         /* of the first case */
	uint64_t count;
	double first, last;
};

/* Times in classes, each a fifth longer than the one before, from 10 microseconds on. */
struct crowd_times {
	uint64_t classes[CROWD_TIMES], count;
	double longest;
};

enum client_phase {
	CLIENT_PAUSED,
	CLIENT_CONNECT,
	CLIENT_HANDSHAKE,
	CLIENT_EXCHANGE,
	CLIENT_WAITING, /* connected, between two exchanges */
	CLIENT_ENDING,  /* has said its end and waits for the server's */
	CLIENT_DONE,
};

enum client_kind {
	CLIENT_TEXT,
	CLIENT_BULK, /* the answer is large */
	CLIENT_SINK, /* the question is large */
};

struct crowd_client {
	struct crowd *crowd;
	struct crowd_target *target;
	bool stays; /* a long client */
	uint32_t number;
	enum client_phase phase;
	struct lab_stream stream;
	struct lab_addr source; /* what the socket was bound to */
	ev_io io;
	ev_timer timer;
	struct lab_buf in, out;
	enum client_kind kind;
	uint64_t sequence;    /* of exchanges */
	uint64_t moved_bytes; /* of the bulk or sink */
	char expected[320];   /* what follows server, port and peer in the answer */
	double asked, began;  /* times of this question and of this connection */
	bool half_closed;
	bool settled;       /* the first exchange is over, well or not */
	int server;         /* index of the one that answered last; -1: none yet */
	int lost_server;    /* the same, on this connection or the one just lost */
	bool second_try;    /* the connection before this one was lost */
	double retry_until; /* then the second try has failed */
	char lost[CROWD_WORDS];
	struct crowd_web *web; /* of a web service's user */
};

enum crowd_stage {
	CROWD_WAITS, /* until every target answers */
	CROWD_RUNS,
	CROWD_ENDS, /* what is under way is finished, nothing new begins */
};

struct crowd {
	struct ev_loop *loop;
	/* settings */
	double wait_for, run_for, pause, interval, ramp;
	double timeout, retry_after, retry_within;
	uint64_t bulk, bulk_every, half_close_every, rounds;
	int shorts, longs;
	bool roam, keep_all, no_udp, with_parent, help;
	struct lab_net net;
	bool has_net;
	const char *json, *expect, *state;
	const char *notes[8];
	int note_count, ready_fd;
	/* what there is */
	SSL_CTX *tls;
	struct crowd_target *targets;
	int target_count;
	struct crowd_client *clients;
	uint32_t client_count;
	char servers[CROWD_SERVERS][CROWD_NAME];
	int server_count;
	/* what happened */
	enum crowd_stage stage;
	uint32_t unsettled, working; /* clients without a first exchange; clients not yet DONE */
	uint64_t source_next, random;
	uint64_t exchanges, before, failed, moved, again, switched, connections, bytes, unkept, strayed;
	struct crowd_times answer_times, connect_times;
	struct crowd_fault faults[CROWD_FAULTS];
	double started, ended, ticked;
	unsigned id;
	ev_timer limit, tick;
	ev_signal term, interrupt;
	bool terminal;
	struct lab_buf screen;
};

/* ---- crowd-target.c ---- */

/* Adds a target from words: NAME ADDRESS:PORT TRANSPORT [setting...]. 0, or -1 and err. */
int target_add(struct crowd *crowd, int count, char **words, struct lab_err *err);

extern const char target_usage[];

enum { TARGET_WORDS = 12 };

/* ---- crowd-options.c ---- */

extern const char options_usage[];

/* Reads the command line and the list of targets. 0, or -1 and err. */
int options_read(struct crowd *crowd, int argc, char **argv, struct lab_err *err);

/* ---- crowd-client.c ---- */

/* Prepares the client; nothing runs yet. */
void client_init(struct crowd_client *client, struct crowd *crowd, struct crowd_target *target,
		 bool stays, uint32_t number);

/* Lets the client begin after so many seconds. */
void client_start(struct crowd_client *client, double after);

/* The crowd ends: a client that has nothing under way is done. */
void client_end(struct crowd_client *client);

/* Closes what is open, whatever it is. */
void client_free(struct crowd_client *client);

/* ---- crowd-exchange.c: the questions, and whether answers are right ---- */

/* Puts the next question into client->out. */
void exchange_ask(struct crowd_client *client);

/* Adds more of a large question to client->out, if there is more. */
void exchange_fill(struct crowd_client *client);

enum exchange_verdict {
	EXCHANGE_MORE, /* the answer is not complete */
	EXCHANGE_RIGHT,
	EXCHANGE_WRONG, /* words and example say what */
	EXCHANGE_ELSEWHERE, /* the server closes; it goes on over a new connection */
};

/* Looks at client->in; *server is the index of the one that answered. */
enum exchange_verdict exchange_check(struct crowd_client *client, int *server, const char **words,
				     char example[static CROWD_WORDS]);

/* ---- crowd-web.c: the same for web services ---- */

/* Gives the client what it needs for that; client_free() frees it. 0, or -1: no memory. */
int web_init(struct crowd_client *client);

/* A connection begins: nobody is logged on. */
void web_connected(struct crowd_client *client);

/* The exchange has failed: the next one begins anew. */
void web_failed(struct crowd_client *client);

/* Whether the server has said that it closes the connection after its last answer. */
bool web_closes(const struct crowd_client *client);

/* As exchange_ask() and exchange_check(), to which an exchange is one question and one answer. */
void web_ask(struct crowd_client *client);
enum exchange_verdict web_check(struct crowd_client *client, int *server, const char **words,
				char example[static CROWD_WORDS]);

/* ---- crowd-count.c ---- */

/* Monotonic seconds. */
double crowd_now(void);

double crowd_random(struct crowd *crowd);

void times_add(struct crowd_times *times, double seconds);

/* The time that so many of 100 stay below. */
double times_percentile(const struct crowd_times *times, double percent);

/* Puts the indices of all servers into order, by name; returns their number. */
int count_order(const struct crowd *crowd, int order[static CROWD_SERVERS]);

/* The index of the server of that name, which is added if it is new; -1 if there are too many. */
int count_server(struct crowd *crowd, const char *name, size_t len);

/* An exchange is over and right. */
void count_answer(struct crowd_client *client, int server);

/* Files a failure under its words. */
void count_fault(struct crowd_client *client, const char *words, const char *example);

/* ---- lab-crowd.c ---- */

/* While the crowd waits: the target has answered. */
void crowd_answered(struct crowd_target *target, struct crowd *crowd);

void crowd_settled(struct crowd *crowd);

void crowd_client_done(struct crowd *crowd);

/* ---- crowd-screen.c, crowd-report.c ---- */

/* Shows how things are: the whole screen on a terminal, a line otherwise. */
void screen_show(struct crowd *crowd);

/* Whether all is well; if not, reasons gets one line for each reason. */
bool report_verdict(const struct crowd *crowd, struct lab_buf *reasons);

/* The table of targets and servers, and the verdict. */
void report_print(struct crowd *crowd, FILE *to);

int report_json(const struct crowd *crowd, const char *path, struct lab_err *err);

#endif
