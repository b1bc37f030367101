/* What an answer to a probe means for the server's health (WIRE.md 1.3). */
#ifndef MONITOR_SIP_JUDGE_H
#define MONITOR_SIP_JUDGE_H

#include "../../protocol/sip/message.h"
#include "api/monitor.h"

struct judge {
	struct sy_ranges healthy;   /* n 0: what is usual for the method */
	struct sy_list schemes;     /* that a challenge must offer */
	bool registers;             /* the question was a REGISTER */
	bool away_is_down;          /* a redirection is down, and not draining */
};

/* A final response to our request. */
struct sy_probe_step judge_answer(const struct judge *judge, const struct sip_message *answer);

#endif
