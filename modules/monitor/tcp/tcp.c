/* Connects. Optionally sends some bytes, and looks for others in what the server says: enough for a
 * banner (SMTP, IMAP) or a fixed question and answer. */
#define _GNU_SOURCE 1 /* memmem */
#include <string.h>

#include "api/monitor.h"

enum {
	TCP_BYTES = 512,
};

struct tcp_bytes {
	uint32_t len;
	uint8_t at[TCP_BYTES];
};

struct tcp_conf {
	const char *send_text, *expect_text;
	struct sy_choice match;
	uint32_t within;
	struct tcp_bytes send, expect;  /* derived */
};

static const char *const tcp_matches[] = { "contains", "prefix", NULL };

static const struct sy_row tcp_rows[] = {
	SY_ROW(struct tcp_conf, send_text, "send",
	       .doc = "Bytes to send once the connection is there; \\r, \\n, \\t, \\\\ and \\xHH stand for "
	              "what cannot be written (in single quotes, so that they arrive here)."),
	SY_ROW(struct tcp_conf, expect_text, "expect",
	       .doc = "Bytes that the server must say to count as up, written as in send; without it a "
	              "connection is enough."),
	SY_ROW(struct tcp_conf, match, "match", .words = tcp_matches, .preset = "contains",
	       .doc = "Whether the answer must begin with what is expected, or contain it somewhere."),
	SY_ROW(struct tcp_conf, within, "within", .min = 1, .max = 65536, .preset = "4096",
	       .doc = "How many bytes of the answer are looked at."),
	SY_ROW_END
};

static int
tcp_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0'
	     : c >= 'a' && c <= 'f' ? c - 'a' + 10
	     : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One byte as written; moves *text on. -1: not understood. */
static int
tcp_byte(const char **text)
{
	const char *at = *text;
	int byte;

	*text = at + 1;
	if (*at != '\\')
		return (uint8_t)*at;
	*text = at + 2;
	switch (at[1]) {
	case 'r':
		return '\r';
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case '\\':
		return '\\';
	case 'x':
		if (tcp_digit(at[2]) < 0 || tcp_digit(at[3]) < 0)
			return -1;
		byte = tcp_digit(at[2]) * 16 + tcp_digit(at[3]);
		*text = at + 4;
		return byte;
	default:
		return -1;
	}
}

static int
tcp_read(const char *name, const char *text, struct tcp_bytes *out, struct sy_err *err)
{
	out->len = 0;
	while (text && *text) {
		const char *from = text;
		int byte = tcp_byte(&text);

		if (byte < 0)
			return sy_fail(err, "%s: \"%.4s\" is not understood: \\r, \\n, \\t, \\\\ and \\xHH (two "
			               "hexadecimal digits) are", name, from);
		if (out->len == TCP_BYTES)
			return sy_fail(err, "%s: more than %u bytes", name, TCP_BYTES);
		out->at[out->len++] = (uint8_t)byte;
	}
	return 0;
}

static int
tcp_check(void *conf, struct sy_err *err)
{
	struct tcp_conf *tcp = conf;

	if (tcp_read("send", tcp->send_text, &tcp->send, err) != 0 ||
	    tcp_read("expect", tcp->expect_text, &tcp->expect, err) != 0)
		return -1;
	if (tcp->expect.len > tcp->within)
		return sy_fail(err, "expect: %u bytes cannot be found within %u", tcp->expect.len,
		               tcp->within);
	return 0;
}

static struct sy_probe_plan
tcp_plan(const void *conf)
{
	(void)conf;
	return (struct sy_probe_plan){ .transport = SY_OVER_TCP };
}

static struct sy_probe_step
tcp_start(const void *conf, void *state, const struct sy_probe *probe)
{
	const struct tcp_conf *tcp = conf;

	(void)state, (void)probe;
	if (tcp->send.len)
		return (struct sy_probe_step){ .what = SY_PROBE_SEND,
		                               .bytes = sy_span(tcp->send.at, tcp->send.len) };
	if (tcp->expect.len)
		return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
	return sy_judge(SY_PROBE_UP, "connected");
}

/* The beginning of what the server said, as far as it can be shown. */
static const char *
tcp_show(struct sy_span in, char out[static 48])
{
	size_t n = 0;

	for (; n < in.len && n < 47 && in.at[n] >= ' ' && in.at[n] < 0x7f; n++)
		out[n] = (char)in.at[n];
	out[n] = '\0';
	return out;
}

static struct sy_probe_step
tcp_data(const void *conf, void *state, const struct sy_probe *probe, struct sy_span in, bool closed)
{
	const struct tcp_conf *tcp = conf;
	size_t len = in.len < tcp->within ? in.len : tcp->within;
	char shown[48];
	bool wrong;

	(void)state, (void)probe;
	if (!tcp->expect.len)
		return sy_judge(SY_PROBE_UP, "answered");
	if (tcp->match.index == 0) {
		if (len && memmem(in.at, len, tcp->expect.at, tcp->expect.len))
			return sy_judge(SY_PROBE_UP, "the expected answer");
		wrong = len == tcp->within;
	} else {
		size_t common = len < tcp->expect.len ? len : tcp->expect.len;

		wrong = common && memcmp(in.at, tcp->expect.at, common) != 0;
		if (!wrong && common == tcp->expect.len)
			return sy_judge(SY_PROBE_UP, "the expected answer");
	}
	if (wrong || (closed && in.len))
		return sy_judge(SY_PROBE_DOWN, "not the expected answer, but \"%s\"", tcp_show(in, shown));
	return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
}

static const struct sy_monitor tcp_ops = {
	.size = sizeof(tcp_ops),
	.plan = tcp_plan,
	.start = tcp_start,
	.data = tcp_data,
};

SY_MODULE(SY_MONITOR, "tcp",
	.version = "1.0",
	.summary = "Connects; optionally sends bytes and looks for others in the answer.",
	.conf_size = sizeof(struct tcp_conf),
	.rows = tcp_rows,
	.check = tcp_check,
	.ops = &tcp_ops);
