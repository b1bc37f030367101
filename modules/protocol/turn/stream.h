/* The parts of reading streams. */
#ifndef TURN_STREAM_H
#define TURN_STREAM_H

#include "turn.h"

enum { PSEUDO_HELLO = 50, PSEUDO_ANSWER = 83 };

enum turn_guess { TURN_NO, TURN_MAYBE, TURN_YES };

/* first.c: what a connection speaks, by its first bytes. Sets state->framing when that is known; else,
 * and for what is no TURN, the verdict is what follows. */
struct sy_verdict turn_first(struct sy_session *session, struct sy_span in);
/* Microsoft's hello, which looks like TLS and is none, and the answer to it. MAYBE: so far. */
enum turn_guess turn_pseudo_hello(struct sy_span in);
enum turn_guess turn_pseudo_answer(struct sy_span in);

struct sy_verdict turn_need(void);
struct sy_verdict turn_close(struct sy_session *session, enum turn_counter counter, const char *words);

#endif
