/* Asks a STUN or TURN server, as deep as is wanted: from a Binding to bytes that went through its relay.
 * Standard servers, and the A/V Edges of Lync and Skype for Business. */
#include "ask.h"

enum { PSEUDO_ANSWER = 83, TURN_REPEAT_MS = 500 };

static const char *const turn_transports[] = { "udp", "tcp", "tls", "pseudo-tls", NULL };
static const char *const turn_dialects[] = { "rfc", "microsoft", NULL };
static const char *const turn_depths[] = { "binding", "challenge", "allocate", "relay", NULL };

static const struct sy_row turn_rows[] = {
	SY_ROW(struct turn_conf, transport, "transport", .words = turn_transports, .preset = "udp",
	       .doc = "How the server is spoken to; pseudo-tls is the hello of Microsoft's TURN on port 443 "
	              "that only looks like TLS."),
	SY_ROW(struct turn_conf, dialect, "dialect", .words = turn_dialects, .preset = "rfc",
	       .doc = "rfc: RFC 8489 and 8656; microsoft: as A/V Edges speak it."),
	SY_ROW(struct turn_conf, depth, "depth", .words = turn_depths, .preset = "challenge",
	       .doc = "How much is asked: a binding; an Allocate until the server asks for credentials; an "
	              "allocation, made and given back; the same with bytes that go through the relay and come "
	              "back. Only the last two see that a server drains or has no room."),
	SY_ROW(struct turn_conf, username, "username",
	       .doc = "User for the depths allocate and relay; one of its own, with a quota of its own."),
	SY_ROW(struct turn_conf, password, "password", .doc = "File with the user's password."),
	SY_ROW(struct turn_conf, shared_secret, "shared-secret",
	       .doc = "File with the secret that the server shares with those who make credentials for a time "
	              "(instead of a password)."),
	SY_ROW(struct turn_conf, local_port, "local-port", .max = 65535, .preset = "33478",
	       .doc = "Port of ours that questions of the depth challenge come from over UDP, while it is free: "
	              "servers remember for a minute who asked and did not go on, and one port is one who "
	              "asked; 0: any."),
	SY_ROW(struct turn_conf, name, "name",
	       .doc = "Server name for TLS (SNI), and to look for in the certificate with verify on."),
	SY_ROW(struct turn_conf, verify, "verify", .preset = "off",
	       .doc = "on: over TLS, a server whose certificate is not good counts as down."),
	SY_ROW(struct turn_conf, ca, "ca",
	       .doc = "File with the authorities' certificates (PEM) for verify; the system's when not given."),
	SY_ROW_END
};

static int
turn_check(void *conf, struct sy_err *err)
{
	const struct turn_conf *turn = conf;
	bool credentials = turn->password.path || turn->shared_secret.path;

	if (turn->dialect.index == STUN_MS && turn->depth.index == DEPTH_BINDING)
		return sy_fail(err, "depth: Microsoft's servers have no Binding; say \"depth challenge\"");
	if (turn->dialect.index == STUN_MS && turn->transport.index == TURN_TLS)
		return sy_fail(err, "transport: Microsoft's servers speak no TLS here; say \"pseudo-tls\"");
	if (turn->dialect.index == STUN_RFC && turn->transport.index == TURN_PSEUDO)
		return sy_fail(err, "transport: pseudo-tls belongs to \"dialect microsoft\"");
	if (turn->depth.index >= DEPTH_ALLOCATE && (!turn->username || !credentials))
		return sy_fail(err, "depth %s needs username, and password or shared-secret",
		               turn_depths[turn->depth.index]);
	if (turn->username && strlen(turn->username) > 200)
		return sy_fail(err, "username: at most 200 bytes are possible");
	if (turn->password.path && turn->shared_secret.path)
		return sy_fail(err, "password and shared-secret: one of them is enough");
	return 0;
}

static struct sy_probe_plan
turn_plan(const void *conf)
{
	static const enum sy_transport over[] = { SY_OVER_UDP, SY_OVER_TCP, SY_OVER_TLS, SY_OVER_TCP };
	const struct turn_conf *turn = conf;

	return (struct sy_probe_plan){
		.transport = over[turn->transport.index],
		.local = turn->depth.index == DEPTH_BINDING,
		/* An allocation that was given back is forgotten, but not at once: the next one from there
		 * would be refused (437). */
		.local_port = turn->depth.index == DEPTH_CHALLENGE ? turn->local_port : 0,
		.repeat_ms = TURN_REPEAT_MS,
		.tls_name = turn->name,
		.tls_ca = turn->ca.content,
		.tls_verify = turn->verify,
	};
}

static struct sy_probe_step
turn_begin(const struct turn_conf *turn, struct ask *ask, const struct sy_probe *probe)
{
	return ask_say(turn, ask, probe, turn->depth.index == DEPTH_BINDING ? ASK_BINDING : ASK_CHALLENGE);
}

static struct sy_probe_step
turn_start(const void *conf, void *state, const struct sy_probe *probe)
{
	const struct turn_conf *turn = conf;
	const struct sy_probe_tls *tls = probe->tls;

	if (tls && !tls->established)
		return sy_judge(SY_PROBE_DOWN, "TLS handshake failed: %s",
		                tls->problem ? tls->problem : "for an unknown reason");
	if (tls && turn->verify && !(tls->verified && tls->name_matches))
		return sy_judge(SY_PROBE_DOWN, "the certificate is not trusted: %s",
		                tls->problem ? tls->problem : "it does not hold the name");
	if (turn->transport.index == TURN_PSEUDO)
		return ask_say(turn, state, probe, ASK_HELLO);
	return turn_begin(turn, state, probe);
}

/* The parts of it that are the same always. */
static bool
turn_is_hello(struct sy_span in)
{
	static const uint8_t head[] = { 0x16, 3, 1, 0, 0x4e, 2, 0, 0, 0x46, 3, 1 };
	static const uint8_t tail[] = { 0, 0x18, 0, 0x0e, 0, 0, 0 };
	size_t len = in.len < sizeof(head) ? in.len : sizeof(head);

	if (memcmp(in.at, head, len) != 0)
		return false;
	return in.len < PSEUDO_ANSWER ||
	       memcmp(in.at + PSEUDO_ANSWER - sizeof(tail), tail, sizeof(tail)) == 0;
}

/* The message at the front of a stream; len 0: it is not there in full. */
static struct sy_span
turn_next(const struct turn_conf *turn, struct sy_span in, size_t *size)
{
	size_t before = turn->dialect.index == STUN_MS ? MS_FRAME : 0;

	*size = 0;
	if (in.len < before + STUN_HEADER)
		return sy_span(in.at, 0);
	*size = before ? before + stun_16(in.at + 2) : stun_size(in);
	if (in.len < *size)
		return sy_span(in.at, 0);
	return sy_span(in.at + before, *size - before);
}

static struct sy_probe_step
turn_stream(const struct turn_conf *turn, struct ask *ask, const struct sy_probe *probe, struct sy_span in)
{
	struct sy_probe_step step = { .what = SY_PROBE_WAIT };

	while (step.what == SY_PROBE_WAIT && ask->used < in.len) {
		struct sy_span rest = sy_span(in.at + ask->used, in.len - ask->used), message;
		size_t size;

		if (ask->step == ASK_HELLO) {
			if (!turn_is_hello(rest))
				return sy_judge(SY_PROBE_DOWN, rest.at[0] == 0x15
				                ? "answers Microsoft's hello with a TLS alert: a real TLS server"
				                : "does not answer Microsoft's hello as it should");
			if (rest.len < PSEUDO_ANSWER)
				return step;
			ask->used += PSEUDO_ANSWER;
			return turn_begin(turn, ask, probe);
		}
		if (turn->dialect.index == STUN_MS &&
		    (rest.at[0] != MS_FRAME_CONTROL || (rest.len > 1 && rest.at[1])))
			return sy_judge(SY_PROBE_DOWN, "the answer is no frame of Microsoft's TURN");
		if (turn->dialect.index == STUN_RFC && rest.at[0] > 3)
			return sy_judge(SY_PROBE_DOWN, "the answer is no STUN message");
		message = turn_next(turn, rest, &size);
		if (!message.len)
			return step;
		ask->used += size;
		step = ask_heard(turn, ask, probe, message);
	}
	return step;
}

static struct sy_probe_step
turn_heard(const void *conf, void *state, const struct sy_probe *probe, struct sy_span in, bool closed)
{
	const struct turn_conf *turn = conf;

	(void)closed;
	if (turn->transport.index == TURN_UDP)
		return ask_heard(turn, state, probe, in);
	return turn_stream(turn, state, probe, in);
}

static const struct sy_monitor turn_ops = {
	.size = sizeof(turn_ops),
	.state_size = sizeof(struct ask),
	.plan = turn_plan,
	.start = turn_start,
	.data = turn_heard,
};

SY_MODULE(SY_MONITOR, "turn",
	.version = "1.0",
	.summary = "Asks a STUN or TURN server, standard or Microsoft's: up to an allocation and bytes through "
	           "its relay.",
	.conf_size = sizeof(struct turn_conf),
	.rows = turn_rows,
	.check = turn_check,
	.ops = &turn_ops);
