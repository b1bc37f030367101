/* Persistence of SIP: the messages of a call, or all that a user does, come to one server. */
#include "shown.h"

enum { BY_CALL_ID, BY_AOR };

struct sip_conf {
	struct shown_conf shown;
	struct sy_choice by;
};

static const char *const sip_bys[] = { "call-id", "aor", NULL };

static const struct sy_row sip_rows[] = {
	SY_ROW(struct sip_conf, by, "by", .words = sip_bys, .preset = "call-id",
	       .doc = "call-id: the messages of a call. aor: those of a user, by the address that is "
	              "registered or called, so that all devices of a user meet on one server."),
	SHOWN_ROWS(struct sip_conf, "1h"),
	SY_ROW_END
};

/* A Call-ID is compared byte by byte (RFC 3261 20.8). Of an AOR the protocol has made the part small
 * that may be written either way. */
static void
sip_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	const struct sip_conf *sip = conf;

	shown_key(sip->by.index == BY_AOR ? facts->user : facts->session, false, out);
}

static const struct sy_persistence sip = {
	.size = sizeof(sip), .life = shown_life, .key = sip_key, .print = shown_print,
};

SY_MODULE(SY_PERSISTENCE, "sip",
	.version = "1.0",
	.summary = "The messages of a call, or all that a user does, come to the same server; for protocols "
	           "that read SIP.",
	.conf_size = sizeof(struct sip_conf),
	.rows = sip_rows,
	.ops = &sip,
);
