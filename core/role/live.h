/* What the web page sees move: once a second the state and the numbers of every service and seat are
 * measured and compared with the last time; what differs is rendered once, for all who watch
 * (console_stream.c). A page loads the whole (GET /v1/live), then applies what comes: values are
 * absolute, and each event has the number of its measurement, so a page drops what it has already.
 *
 * Services and seats are told by their index, which holds for one generation; a pool's servers stand
 * in the seats of a service in order, those of other pools behind them, the sorry pool last. */
#ifndef ROLE_LIVE_H
#define ROLE_LIVE_H

#include "role/console.h"

enum {
	LIVE_FRESH_MS = 1500,     /* GET /v1/live measures anew when the last time is longer ago */
	STREAM_EVENTS = 8,        /* kept for those who read slowly; who is further behind starts over */
	STREAM_CLIENTS = 64,
	HISTORY_HOUR = 180, HISTORY_HOUR_STEP_S = 20,
	HISTORY_DAY = 240, HISTORY_DAY_STEP_S = 360,
};

struct live_seat {
	uint8_t state;            /* in live_words */
	uint32_t active;
	uint32_t rate_10;         /* new exchanges in 10 s */
	uint32_t weight;
	uint64_t why;             /* a hash of the reason; 0 while all is well */
	uint64_t total;
};

struct live_service {
	uint32_t state;           /* no gaps: compared as bytes */
	uint32_t active;
	uint32_t rate_10;
	uint32_t response_us;
	uint64_t up, down;        /* bytes in a second */
	uint64_t why;
};

struct live {
	uint64_t number;          /* of the last measurement */
	uint64_t measured_ms;
	uint64_t generation;
	uint64_t events_told;
	struct text whole;        /* GET /v1/live, rendered for whole_number */
	uint64_t whole_number;
};

enum history_metric { HISTORY_RATE, HISTORY_ACTIVE, HISTORY_UP, HISTORY_DOWN, HISTORY_RESPONSE,
	              HISTORY_METRICS };

/* A ring of means; NaN: nothing was measured. */
struct history_ring {
	uint64_t slot;            /* the one that `sum` is for: monotonic seconds / step */
	uint32_t n;               /* samples in `sum` */
	double sum[HISTORY_METRICS];
};

struct history {
	struct history_ring hour_ring, day_ring;
	float hour[HISTORY_HOUR][HISTORY_METRICS];
	float day[HISTORY_DAY][HISTORY_METRICS];
};

/* Per service and generation, in service->run. */
struct service_view {
	uint64_t last_total, last_up, last_down;
	uint64_t last_ms;
	double rate, up_rate, down_rate;
	uint32_t response_us;
	struct history *history;  /* handed on from generation to generation; NULL before the switch */
	struct live_service live;
	struct live_seat *seats;
	uint32_t first_seat, n_seats;
};

extern const char *const live_words[]; /* NULL at the end */

/* console_live.c */
uint8_t live_state(const char *word); /* the place in live_words */
bool live_usable(uint8_t state);          /* takes new clients, or is not known not to */
void live_measure(struct console *console);
/* console_live_text.c: JSON. */
void live_tell_seat(struct text *out, uint32_t index, const struct live_seat *seat,
                    const char *why, uint64_t since_wall_ms, bool *comma);
void live_tell_service(struct text *out, uint32_t index, const struct live_service *service,
                       const char *why, bool *comma);
const struct text *live_whole(struct console *console);

/* console_stream.c */
void stream_open(struct request *request);
enum MHD_Result stream_send(struct request *request);
void stream_push(struct console *console, const char *json, size_t len);
/* Ends those of one entrance, or all (NULL). */
void streams_end(struct console *console, struct entrance *entrance);

/* console_history.c */
struct history *history_new(void);
void history_add(struct history *history, uint64_t now_ms, const double sample[HISTORY_METRICS]);
/* Moves the histories of services that stay, frees the others', makes those that are new. */
void history_switch(struct generation *old, struct generation *current);
/* Those of a generation that nobody uses any more. */
void history_drop(struct generation *generation);

#endif
