/* Web conferencing over TLS (PSOM), passed through. What the protocol says inside of TLS is not public,
 * so this module claims to understand no more than it does:
 *
 * - where TLS passes through, the client's first message must be a ClientHello, and may be held to the
 *   names that the Edge has; who speaks something else (a browser without TLS, a scanner) is counted by
 *   what it speaks, and sent away before a server hears of it;
 * - where TLS ends here (laboratories), the names are looked at as well, and an operator who has the
 *   specification can have the lengths of frames checked: where the length stands and what it counts is
 *   configuration, not knowledge.
 *
 * A connection is one meeting: it may be quiet for half an hour and last for hours. It is busy as long
 * as it lives, so a gentle drain lets it end by itself. Which server the meeting is on is in a token
 * inside of TLS, and any Edge will do: affinity is per connection. */
#include <string.h>

#include "api/hello.h"
#include "api/protocol.h"

enum {
	PSOM_CLOSE,
	PSOM_PASS,
};

struct psom_frame {
	uint32_t offset;
	struct sy_choice size, endian;
	uint32_t adjust;
	struct sy_bytes max;
	bool checked;
};

struct psom_conf {
	struct sy_list names;
	struct sy_choice nameless, browsers, strangers;
	struct sy_msec deadline;
	struct psom_frame frame;
};

static const char *const psom_policies[] = { "close", "pass", NULL };
static const char *const psom_sizes[] = { "1", "2", "4", NULL };
static const char *const psom_endians[] = { "big", "little", NULL };

static const struct sy_row psom_frame_rows[] = {
	SY_ROW(struct psom_frame, checked, "check", .preset = "off",
	       .doc = "on: each frame of either side must have a length that fits; the connection is closed "
	              "when one has not. Only where TLS ends here."),
	SY_ROW(struct psom_frame, offset, "offset", .max = 64, .preset = "0",
	       .doc = "Bytes of a frame before its length."),
	SY_ROW(struct psom_frame, size, "size", .words = psom_sizes, .preset = "2",
	       .doc = "Bytes that the length takes."),
	SY_ROW(struct psom_frame, endian, "endian", .words = psom_endians, .preset = "big",
	       .doc = "Which byte of the length comes first."),
	SY_ROW(struct psom_frame, adjust, "adjust", .max = 4096, .preset = "0",
	       .doc = "Added to the length it gives the size of the whole frame: what stands before and is "
	              "not counted."),
	SY_ROW(struct psom_frame, max, "max", .min = 1, .max = 1 << 30, .preset = "64k",
	       .doc = "Largest frame."),
	SY_ROW_END
};

static const struct sy_row psom_rows[] = {
	SY_ROW(struct psom_conf, names, "names",
	       .doc = "Server names (SNI) that clients may ask for, *.DOMAIN for all of one domain; others are "
	              "closed. Without it all are good."),
	SY_ROW(struct psom_conf, nameless, "nameless", .words = psom_policies, .preset = "pass",
	       .doc = "Clients that ask for no name, as old Windows does."),
	SY_ROW(struct psom_conf, browsers, "browsers", .words = psom_policies, .preset = "pass",
	       .doc = "Clients that offer HTTP in their hello (ALPN): browsers and scanners, which no server of "
	              "this kind answers. They are counted in any case."),
	SY_ROW(struct psom_conf, strangers, "strangers", .words = psom_policies, .preset = "close",
	       .doc = "Clients whose first bytes are no ClientHello. They are counted in any case."),
	SY_ROW(struct psom_conf, deadline, "deadline", .min = 100, .max = SY_HOUR, .preset = "10s",
	       .doc = "How long the ClientHello may take."),
	SY_ROW_IN(struct psom_conf, frame, "frame", psom_frame_rows,
	       .doc = "Checks of lengths, for operators who have the specification of what is spoken."),
	SY_ROW_END
};

enum {
	PSOM_HELLOS,
	PSOM_NAMELESS,
	PSOM_WRONG_NAME,
	PSOM_BROWSERS,
	PSOM_CLEAR_HTTP,
	PSOM_SSLV2,
	PSOM_GARBAGE,
	PSOM_BAD_HELLO,
	PSOM_FRAMES,
	PSOM_BAD_FRAME,
};

static const struct sy_figure psom_counters[] = {
	[PSOM_HELLOS] = { "hellos", "Clients that began with a good ClientHello." },
	[PSOM_NAMELESS] = { "nameless", "Clients that asked for no server name." },
	[PSOM_WRONG_NAME] = { "wrong_name", "Clients that asked for a name that is not served here." },
	[PSOM_BROWSERS] = { "browsers", "Clients that offered HTTP in their hello." },
	[PSOM_CLEAR_HTTP] = { "clear_http", "Clients that spoke HTTP without TLS." },
	[PSOM_SSLV2] = { "sslv2", "Clients that spoke SSL 2." },
	[PSOM_GARBAGE] = { "garbage", "Clients that spoke something else without TLS." },
	[PSOM_BAD_HELLO] = { "bad_hello", "Clients whose ClientHello was malformed." },
	[PSOM_FRAMES] = { "frames", "Frames whose length was checked." },
	[PSOM_BAD_FRAME] = { "bad_frames", "Frames whose length did not fit." },
	{ NULL, NULL },
};

/* One client connection. */
struct psom {
	bool routed;
	struct sy_hello hello;
};

static int
psom_check(void *conf, struct sy_err *err)
{
	const struct psom_conf *psom = conf;
	const struct psom_frame *frame = &psom->frame;
	uint32_t head = frame->offset + (1u << frame->size.index);

	for (uint32_t i = 0; i < psom->names.n; i++) {
		const char *name = psom->names.at[i], *star = strchr(name, '*');

		if (!*name || strchr(name, '/') || (star && (star != name || name[1] != '.' || !name[2])))
			return sy_fail(err, "names: \"%s\" is no host name; *. may stand at its beginning", name);
	}
	if (frame->checked && head > frame->max.n)
		return sy_fail(err, "frame: max is smaller than the frame's head of %u bytes", head);
	return 0;
}

static struct sy_verdict
psom_refuse(const char *reason)
{
	return (struct sy_verdict){ .what = SY_CLOSE, .reason = reason };
}

/* ---- names ---- */

/* sni is in lower case; names are as the operator wrote them. */
static bool
psom_same(struct sy_span sni, const char *name)
{
	if (strlen(name) != sni.len)
		return false;
	for (size_t i = 0; i < sni.len; i++) {
		char c = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];

		if ((uint8_t)c != sni.at[i])
			return false;
	}
	return true;
}

/* *.example.net stands for one label before it, as in certificates (RFC 6125 6.4.3). */
static bool
psom_matches(struct sy_span sni, const char *name)
{
	const uint8_t *dot;

	if (name[0] != '*')
		return psom_same(sni, name);
	dot = sni.len ? memchr(sni.at, '.', sni.len) : NULL;
	if (!dot || dot == sni.at)
		return false;
	return psom_same(sy_span(dot, sni.len - (size_t)(dot - sni.at)), name + 1);
}

static bool
psom_served(const struct psom_conf *conf, struct sy_span sni)
{
	for (uint32_t i = 0; i < conf->names.n; i++)
		if (psom_matches(sni, conf->names.at[i]))
			return true;
	return conf->names.n == 0;
}

/* h2, http/1.1, http/1.0 among the names offered; each has a byte of length before it. */
static bool
psom_offers_http(const uint8_t *alpn, size_t len)
{
	for (size_t at = 0; at < len; at += 1u + alpn[at]) {
		size_t n = alpn[at];

		if (n > len - at - 1)
			return false;
		if ((n == 2 && memcmp(alpn + at + 1, "h2", 2) == 0) ||
		    (n > 5 && memcmp(alpn + at + 1, "http/", 5) == 0))
			return true;
	}
	return false;
}

/* Whether a client with this name, and these protocols, is welcome. */
static struct sy_verdict
psom_welcome(struct sy_session *session, struct sy_span sni, bool http)
{
	/* Fatal alert unrecognized_name (RFC 6066 3): TLS clients know what to say to their user. */
	static const uint8_t alert[] = { 0x15, 3, 3, 0, 2, 2, 112 };
	const struct psom_conf *conf = session->conf;
	struct psom *psom = session->state;
	struct sy_verdict refused;

	if (!sni.len)
		sy_count(session, PSOM_NAMELESS, 1);
	if (http)
		sy_count(session, PSOM_BROWSERS, 1);
	if (!sni.len && conf->nameless.index == PSOM_CLOSE)
		return psom_refuse("the client asks for no server name");
	if (sni.len && !psom_served(conf, sni)) {
		sy_count(session, PSOM_WRONG_NAME, 1);
		refused = psom_refuse("the client asks for a server name that is not served here");
		/* Where TLS ends here, this would be application data. */
		if (!session->facts.secure)
			refused.bytes = sy_span(alert, sizeof(alert));
		return refused;
	}
	if (http && conf->browsers.index == PSOM_CLOSE)
		return psom_refuse("the client offers HTTP: a browser, or a scanner");
	psom->routed = true;
	session->busy = true;
	return (struct sy_verdict){ .what = SY_ROUTE };
}

/* ---- the first bytes ---- */

/* What a client speaks that does not speak TLS; NULL: too little to tell. */
static const char *
psom_stranger(struct sy_span in, unsigned *counter)
{
	static const char *const methods[] = { "GET ", "HEAD ", "POST ", "PUT ", "OPTIONS ", "CONNECT ",
	                                       "DELETE ", "PROPFIND ", "PRI * ", NULL };
	bool begins = false;

	for (unsigned i = 0; methods[i]; i++) {
		size_t len = strlen(methods[i]);

		if (in.len >= len && memcmp(in.at, methods[i], len) == 0) {
			*counter = PSOM_CLEAR_HTTP;
			return "the client speaks HTTP without TLS: a browser, or a scanner";
		}
		begins |= in.len < len && memcmp(in.at, methods[i], in.len) == 0;
	}
	if (begins || (in.len < 3 && in.at[0] & 0x80))
		return NULL;
	if (in.len >= 3 && in.at[0] & 0x80 && in.at[2] == 1) {
		*counter = PSOM_SSLV2;
		return "the client speaks SSL 2, which nobody should";
	}
	*counter = PSOM_GARBAGE;
	return "the client does not speak TLS";
}

static struct sy_verdict
psom_strange(struct sy_session *session, struct sy_span in, bool eof)
{
	const struct psom_conf *conf = session->conf;
	struct psom *psom = session->state;
	unsigned counter = PSOM_GARBAGE;
	const char *reason = psom_stranger(in, &counter);

	if (!reason && !eof)
		return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = conf->deadline.ms };
	sy_count(session, counter, 1);
	if (conf->strangers.index == PSOM_CLOSE)
		return psom_refuse(reason ? reason : "the client does not speak TLS");
	psom->routed = true;
	return (struct sy_verdict){ .what = SY_ROUTE };
}

static struct sy_verdict
psom_hello(struct sy_session *session, struct sy_span in, bool eof)
{
	const struct psom_conf *conf = session->conf;
	struct psom *psom = session->state;
	struct sy_hello *hello = &psom->hello;

	/* Not a record of a handshake: what is it then? */
	if (in.at[0] != 0x16)
		return psom_strange(session, in, eof);
	switch (sy_hello_read(in, hello)) {
	case SY_HELLO_MORE:
		break;
	case SY_HELLO_NOT_TLS:
		return psom_strange(session, in, eof);
	case SY_HELLO_BAD:
		sy_count(session, PSOM_BAD_HELLO, 1);
		return psom_refuse(hello->why);
	case SY_HELLO_DONE:
		sy_count(session, PSOM_HELLOS, 1);
		session->facts.sni = sy_span(hello->sni, hello->sni_len);
		if (hello->alpn_len)
			session->facts.alpn = sy_span(hello->alpn + 1, hello->alpn[0]);
		return psom_welcome(session, session->facts.sni,
		                    psom_offers_http(hello->alpn, hello->alpn_len));
	}
	return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = conf->deadline.ms };
}

/* ---- frames, where TLS ends here ---- */

static uint64_t
psom_length(const struct psom_frame *frame, const uint8_t *at, unsigned size)
{
	uint64_t length = 0;

	for (unsigned i = 0; i < size; i++)
		length = length << 8 | at[frame->endian.index == 0 ? i : size - 1 - i];
	return length;
}

static struct sy_verdict
psom_frames(struct sy_session *session, enum sy_side side, struct sy_span in)
{
	const struct psom_conf *conf = session->conf;
	const struct psom_frame *frame = &conf->frame;
	unsigned size = 1u << frame->size.index;
	uint64_t whole;

	if (in.len < frame->offset + size)
		return (struct sy_verdict){ .what = SY_NEED };
	whole = psom_length(frame, in.at + frame->offset, size) + frame->adjust;
	sy_count(session, PSOM_FRAMES, 1);
	if (whole >= frame->offset + size && whole <= frame->max.n)
		return (struct sy_verdict){ .what = SY_PASS, .n = whole };
	sy_count(session, PSOM_BAD_FRAME, 1);
	return psom_refuse(side == SY_CLIENT ? "a frame of the client has a length that does not fit"
	                                     : "a frame of the server has a length that does not fit");
}

static struct sy_verdict
psom_data(struct sy_session *session, enum sy_side side, uint32_t exchange, struct sy_span in, bool eof)
{
	const struct psom_conf *conf = session->conf;
	struct psom *psom = session->state;
	bool frames = session->facts.secure && conf->frame.checked;

	(void)exchange;
	if (psom->routed && frames)
		return psom_frames(session, side, in);
	if (psom->routed)
		return (struct sy_verdict){ .what = SY_TUNNEL };
	if (side == SY_SERVER || in.len == 0)
		return (struct sy_verdict){ .what = SY_NEED, .deadline_ms = conf->deadline.ms };
	if (!session->facts.secure)
		return psom_hello(session, in, eof);
	/* What was agreed is without its byte of length. */
	return psom_welcome(session, session->facts.sni,
	                    session->facts.alpn.len > 1 && session->facts.alpn.at[0] == 'h');
}

static const struct sy_protocol psom_ops = {
	.size = sizeof(psom_ops),
	.flags = SY_STREAMS,
	.load_unit = "connections",
	.counters = psom_counters,
	.session_size = sizeof(struct psom),
	.window = SY_HELLO_WINDOW,
	.data = psom_data,
};

SY_MODULE(SY_PROTOCOL, "psom",
	.version = "1.0",
	.summary = "Web conferencing over TLS, passed through: ClientHello checks, names, and nothing that it "
	           "does not know.",
	.conf_size = sizeof(struct psom_conf),
	.rows = psom_rows,
	.check = psom_check,
	.ops = &psom_ops);
