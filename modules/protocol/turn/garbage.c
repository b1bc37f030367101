/* What is no TURN: counted by what is wrong with it. */
#include "turn.h"

static const struct {
	enum turn_counter counter;
	const char *words;
} flaw_rows[] = {
	[STUN_FINE] = { COUNT_GARBAGE_KIND, "nothing is wrong with it" },
	[STUN_SHORT] = { COUNT_GARBAGE_LENGTH, "STUN: shorter than its header says" },
	[STUN_LONG] = { COUNT_GARBAGE_LENGTH, "STUN: longer than its header says" },
	[STUN_KIND] = { COUNT_GARBAGE_KIND, "neither STUN nor TURN: no cookie of either dialect" },
	[STUN_ATTRIBUTES] = { COUNT_GARBAGE_ATTRIBUTES,
	                      "STUN: the attributes do not end where the message ends" },
	[STUN_ORDER] = { COUNT_GARBAGE_ATTRIBUTES,
	                 "STUN: an attribute stands behind the integrity or the fingerprint" },
	[STUN_FINGERPRINT] = { COUNT_GARBAGE_FINGERPRINT, "STUN: the fingerprint is wrong" },
};

enum turn_counter
turn_flaw_counter(enum stun_flaw flaw)
{
	return flaw_rows[flaw].counter;
}

const char *
turn_flaw_words(enum stun_flaw flaw)
{
	return flaw_rows[flaw].words;
}
