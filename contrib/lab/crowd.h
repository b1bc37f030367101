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
 * What an exchange is depends on what the target speaks (struct crowd_protocol, a file crowd-NAME.c for
 * each): a user who signs in, calls and signs out, a meeting that is joined, an allocation that media go
 * through. A short client has all of it in one exchange. A long one is there after its first exchange (a
 * user is signed in, a meeting joined), goes on in each of the later ones, and leaves in its last.
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

/* What people did, besides exchanges. */
enum crowd_deed {
	DEED_SIGN_IN,
	DEED_REDIRECT, /* a user was sent to the home pool, and went */
	DEED_KEEP_ALIVE,
	DEED_CALL,     /* from INVITE to BYE */
	DEED_CUT,      /* a call that stood when its connection was lost */
	DEED_MEETING,
	DEED_SHARE,
	DEED_ALLOCATION,
	DEED_MEDIA,    /* packets that came back through a relay */
	CROWD_DEEDS,
};

struct crowd_protocol;

struct crowd_target {
	char name[CROWD_NAME];
	char *host; /* the name that it is asked by: SNI, which is verified, and Host; NULL: none */
	struct lab_addr addr;
	enum lab_transport transport;
	uint16_t answers_port; /* the server's port that must answer; 0: any */
	bool sees_client;      /* the server must see the client's own address */
	bool optional;         /* no failure if nothing answers there at all */
	const struct crowd_protocol *protocol;
	int kind;              /* what the protocol makes of the setting's value */
	char *join;            /* of a meeting: the target whose page leads there; NULL: none does */
	bool answered;
	int shorts, longs;
	int open;    /* connections that stand now */
	int present; /* users that are signed in, in a meeting, have an allocation: now */
	uint64_t deeds[CROWD_DEEDS];
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

struct crowd_client {
	struct crowd *crowd;
	struct crowd_target *target;
	bool stays; /* a long client */
	uint32_t number;
	enum client_phase phase;
	struct lab_stream stream;
	struct lab_addr source; /* what the socket was bound to */
	/* Where this connection goes: its target, if the protocol does not send it to another one or to
	 * another address. What it sets here is for the next connection alone. */
	const struct crowd_target *goal, *next_goal; /* next_goal NULL: the client's own */
	struct lab_addr next_addr;                   /* len 0: the goal's */
	bool goes_on; /* the exchange goes on over this connection: it began on another one */
	ev_io io;
	ev_timer timer;
	struct lab_buf in, out;
	uint64_t sequence;    /* of exchanges */
	char expected[320];   /* what the answer must hold */
	double asked, began;  /* times of this question and of this connection */
	double next_at;       /* WAITING: when the next exchange begins */
	double said_at, keep_alive; /* keep_alive: seconds of silence that the server allows; 0: any */
	int repeats;          /* of this datagram */
	bool half_closed;
	bool present;         /* there is something to leave: see struct crowd_target */
	bool leaving;         /* the last exchange */
	bool settled;       /* the first exchange is over, well or not */
	int server;         /* index of the one that answered last; -1: none yet */
	int lost_server;    /* the same, on this connection or the one just lost */
	bool second_try;    /* the connection before this one was lost */
	double retry_until; /* then the second try has failed */
	char lost[CROWD_WORDS];
	void *state; /* the protocol's */
};

enum exchange_verdict {
	EXCHANGE_MORE, /* the answer is not complete, or another question was put into client->out */
	EXCHANGE_RIGHT,
	EXCHANGE_WRONG, /* words and example say what */
	EXCHANGE_ELSEWHERE, /* it goes on over a new connection */
	EXCHANGE_LOST, /* who is in between says, in words, that the server is gone: as if the connection was */
};

/* What clients of a target speak. All but ask and check may be NULL. */
struct crowd_protocol {
	const char *setting; /* of a target, up to its "=" */
	const char *help;
	size_t state_size; /* of zeroed memory for each client, in client->state */
	/* What comes behind "=" in the setting: fills target->kind. 0, or -1 and err. */
	int (*set)(struct crowd_target *target, const char *value, struct lab_err *err);
	/* A connection begins; with client->goes_on in the middle of an exchange. */
	void (*connected)(struct crowd_client *client);
	/* The exchange has failed: the next one begins anew. */
	void (*failed)(struct crowd_client *client);
	/* Puts the first question of an exchange into client->out. */
	void (*ask)(struct crowd_client *client);
	/* Looks at client->in; *server is the index of the one that answered. */
	enum exchange_verdict (*check)(struct crowd_client *client, int *server, const char **words,
				       char example[static CROWD_WORDS]);
	/* Adds more of a large question, if there is more. */
	void (*fill)(struct crowd_client *client);
	/* Whether the server has said that it closes the connection after its last answer. */
	bool (*closes)(const struct crowd_client *client);
	/* Says something that asks nothing: client->keep_alive is over. */
	void (*keep)(struct crowd_client *client);
	/* Says the last datagram again. */
	void (*repeat)(struct crowd_client *client);
	double pace; /* a long client's exchanges are so many times rarer; 0: they are not */
	/* What nobody has done although short clients do it all, in words; NULL: nothing is missing. */
	const char *(*missing)(const struct crowd_target *target);
	bool half_closes; /* short clients may say their end with the question */
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
	uint64_t share, half_close_every, rounds;
	int shorts, longs;
	bool roam, keep_all, with_parent, help;
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
	uint64_t deeds[CROWD_DEEDS];
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

void target_usage(FILE *to);

enum { TARGET_WORDS = 12 };

/* ---- crowd-options.c ---- */

extern const char options_usage[];

/* Reads the command line and the list of targets. 0, or -1 and err. */
int options_read(struct crowd *crowd, int argc, char **argv, struct lab_err *err);

/* ---- crowd-client.c ---- */

/* Prepares the client; nothing runs yet. 0, or -1: out of memory. */
int client_init(struct crowd_client *client, struct crowd *crowd, struct crowd_target *target,
		bool stays, uint32_t number);

/* Lets the client begin after so many seconds. */
void client_start(struct crowd_client *client, double after);

/* The crowd ends: a client that has nothing under way is done. */
void client_end(struct crowd_client *client);

/* Closes what is open, whatever it is. */
void client_free(struct crowd_client *client);

/* Begins an exchange on the connection that stands, or goes on with one. */
void client_ask(struct crowd_client *client);

/* Goes as far as it can now. */
void client_run(struct crowd_client *client);

/* Sets what the connection waits for. */
void client_poll(struct crowd_client *client);

/* ---- crowd-over.c ---- */

/* The timer ends after so many seconds. */
void client_wait(struct crowd_client *client, double seconds);

/* Something moved: the time limit begins anew, but a second try has no more time than it has. */
void client_extend(struct crowd_client *client);

/* Between two exchanges: until the next one, or until it is time to say that we are still there. */
void client_wait_next(struct crowd_client *client);

void client_disconnect(struct crowd_client *client, bool reset);

/* The first exchange is over, well or not. */
void client_settle(struct crowd_client *client);

/* Rests, or ends if the crowd does or this client has had its share. */
void client_rest(struct crowd_client *client, double seconds);

/* Ends, or has a last exchange first: whoever is signed in signs out. */
void client_leave(struct crowd_client *client);

/* The exchange has failed. */
void client_failed(struct crowd_client *client, const char *words, const char *example);

/* The connection is gone, or was refused: once more, or failed. */
void client_lost(struct crowd_client *client, const char *why);

/* No answer in time. */
void client_late(struct crowd_client *client);

/* ---- crowd-connect.c ---- */

/* Opens the socket and begins to connect to client->goal. 1: the connection is refused at once; 0; -1: the
 * client itself cannot. err has the words. */
int connect_begin(struct crowd_client *client, struct lab_err *err);

/* The socket is writable: 0 and the client's own address, or the error's number. */
int connect_done(struct crowd_client *client);

/* ---- crowd-PROTOCOL.c ---- */

extern const struct crowd_protocol protocol_say, protocol_sip, protocol_turn, protocol_psom, protocol_web;

/* ---- crowd-who.c ---- */

/* Looks at "SERVER PORT ADDRESS:PORT", as servers say of themselves and of whom they see. NULL and the
 * server's index, or what is wrong. */
const char *who_answered(struct crowd_client *client, const char *text, size_t len, int *server);

/* The target of that name; with a port, the one with that TLS name and port: the lab has no DNS. NULL: there
 * is none. */
const struct crowd_target *who_target(const struct crowd *crowd, const char *name, uint16_t port);

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

/* Somebody has done that. */
void count_deed(struct crowd_client *client, enum crowd_deed deed);

/* The client is there from now on, or is not any more. */
void count_present(struct crowd_client *client, bool present);

/* How many clients of targets with that protocol, in the first of its kinds, are present. */
int count_all_present(const struct crowd *crowd, const struct crowd_protocol *protocol);

/* Files a failure under its words. */
void count_fault(struct crowd_client *client, const char *words, const char *example);

/* ---- lab-crowd.c ---- */

/* While the crowd waits: the target has answered. */
void crowd_answered(struct crowd_target *target, struct crowd *crowd);

void crowd_settled(struct crowd *crowd);

void crowd_client_done(struct crowd *crowd);

/* ---- crowd-screen.c, crowd-report.c, crowd-json.c ---- */

/* Shows how things are: the whole screen on a terminal, a line otherwise. */
void screen_show(struct crowd *crowd);

/* Whether all is well; if not, reasons gets one line for each reason. */
bool report_verdict(const struct crowd *crowd, struct lab_buf *reasons);

/* The table of targets and servers, and the verdict. */
void report_print(struct crowd *crowd, FILE *to);

int report_json(const struct crowd *crowd, const char *path, struct lab_err *err);

#endif
