/* Asks a SIP server (RFC 3261 11, WIRE.md 1.3): OPTIONS or REGISTER, whose answer must be for this very
 * question, or an empty line that wants one back (RFC 5626 3.5.1). Over TCP, TLS or UDP. */
#include <stdio.h>
#include <string.h>

#include "../../protocol/sip/value.h"
#include "judge.h"

enum { SIP_QUESTION = 1536, SIP_WORD = 200, SIP_T1_MS = 500 };
enum { ASK_OPTIONS, ASK_REGISTER, ASK_PING };
enum { AWAY_DRAINING, AWAY_DOWN };

struct sip_conf {
	struct sy_choice transport, ask, redirected;
	uint32_t max_forwards;
	struct sy_ranges healthy;
	struct sy_list schemes;
	const char *user, *domain;
	const char *name;
	bool verify;
	struct sy_file ca, certificate;
	struct sy_secret key;
	struct judge judge;           /* made of the above by check() */
};

struct sip_state {
	char question[SIP_QUESTION];
	char branch[40], call_id[40];
	size_t read;                  /* bytes of answers that were not the last one */
};

static const char *const sip_transports[] = { "tcp", "tls", "udp", NULL };
static const char *const sip_in_via[] = { "TCP", "TLS", "UDP" };
static const char *const sip_questions[] = { "options", "register", "ping", NULL };
static const char *const sip_aways[] = { "draining", "down", NULL };

static const struct sy_row sip_rows[] = {
	SY_ROW(struct sip_conf, transport, "transport", .words = sip_transports, .preset = "tcp",
	       .doc = "How the server is asked: tcp, tls or udp."),
	SY_ROW(struct sip_conf, ask, "ask", .words = sip_questions, .preset = "options",
	       .doc = "options: an OPTIONS request; register: a REGISTER without credentials, "
	              "which proves that the registrar answers; ping: an empty line that RFC "
	              "5626 servers answer."),
	SY_ROW(struct sip_conf, max_forwards, "max-forwards", .max = 255, .preset = "70",
	       .doc = "Max-Forwards of the question; 0 makes a proxy answer for itself (with 483 "
	              "or 200)."),
	SY_ROW(struct sip_conf, healthy, "healthy", .min = 200, .max = 699,
	       .doc = "Answers that count as up, such as 200-299,401,483; when not given, those "
	              "that show that the server read the question: all 2xx, and 401 403 404 405 "
	              "407 415 416 420 480 481 483 484 488 489 501 513 600 603 606 for options, "
	              "301 302 401 407 423 for register."),
	SY_ROW(struct sip_conf, redirected, "redirected", .words = sip_aways, .preset = "draining",
	       .doc = "What an answer 3xx means that healthy does not hold: the server wants no "
	              "new clients (draining), or is down."),
	SY_ROW(struct sip_conf, schemes, "schemes",
	       .doc = "Schemes that an answer 401 or 407 must offer, such as NTLM Kerberos "
	              "TLS-DSK."),
	SY_ROW(struct sip_conf, user, "user", .preset = "steelyard",
	       .doc = "User part of the address that asks."),
	SY_ROW(struct sip_conf, domain, "domain",
	       .doc = "Domain of the question's addresses; the server's own address when not "
	              "given."),
	SY_ROW(struct sip_conf, name, "name",
	       .doc = "transport tls: server name to ask for (SNI), and to look for in the "
	              "certificate with verify on."),
	SY_ROW(struct sip_conf, verify, "verify", .preset = "off",
	       .doc = "transport tls: a server whose certificate is not trusted or does not hold "
	              "the name counts as down."),
	SY_ROW(struct sip_conf, ca, "ca",
	       .doc = "File with the authorities' certificates (PEM) for verify; the system's "
	              "when not given."),
	SY_ROW(struct sip_conf, certificate, "certificate",
	       .doc = "File with a certificate to show to servers that want one, as those of "
	              "mutual TLS do (PEM, chain behind it)."),
	SY_ROW(struct sip_conf, key, "key",
	       .doc = "File with the key to that certificate; the certificate's own file when "
	              "not given."),
	SY_ROW_END
};

/* Nothing that would end a word of the question. */
static int
sip_check_word(const char *name, const char *word, struct sy_err *err)
{
	size_t len = strlen(word);

	if (len == 0 || len > SIP_WORD)
		return sy_fail(err, "%s: between 1 and %d characters are possible, not %zu", name,
			       SIP_WORD, len);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)word[i] <= ' ' || word[i] == 0x7f || strchr("<>\"@;?", word[i]))
			return sy_fail(
			    err, "%s: \"%s\" holds a character that cannot stand in an address",
			    name, word);
	return 0;
}

static int
sip_check(void *settings, struct sy_err *err)
{
	struct sip_conf *sip = settings;

	if (sip_check_word("user", sip->user, err) != 0 ||
	    (sip->domain && sip_check_word("domain", sip->domain, err) != 0))
		return -1;
	if (sip->ask.index == ASK_PING && sip->transport.index == SY_OVER_UDP)
		return sy_fail(err,
			       "ask ping: over udp there are no such pings; say \"ask options\"");
	if (sip->ask.index == ASK_PING && sip->healthy.n)
		return sy_fail(err, "healthy: a ping is not answered with a status");
	if (sip->transport.index != SY_OVER_TLS &&
	    (sip->name || sip->verify || sip->ca.path || sip->certificate.path || sip->key.path))
		return sy_fail(err,
			       "name, verify, ca, certificate and key belong to \"transport tls\"");
	if (sip->ca.path && !sip->verify)
		return sy_fail(err, "ca is given, but verify is off: say \"verify on\"");
	if (sip->key.path && !sip->certificate.path)
		return sy_fail(err, "key is given, but no certificate");
	sip->judge = (struct judge){
		.healthy = sip->healthy, .schemes = sip->schemes,
		.registers = sip->ask.index == ASK_REGISTER,
		.away_is_down = sip->redirected.index == AWAY_DOWN,
	};
	return 0;
}

static struct sy_probe_plan
sip_plan(const void *conf)
{
	const struct sip_conf *sip = conf;

	return (struct sy_probe_plan){
		.transport = (enum sy_transport)sip->transport.index,
		.local = sip->ask.index != ASK_PING,
		.repeat_ms = sip->transport.index == SY_OVER_UDP ? SIP_T1_MS : 0,
		.tls_name = sip->name,
		.tls_ca = sip->ca.content,
		.tls_verify = sip->verify,
		.tls_certificate = sip->certificate.content,
		.tls_key = sip->key.content,
	};
}

/* Address and port as they stand in a Via or a URI. */
static void
sip_print_address(const struct sy_addr *addr, bool port, char out[static 64])
{
	const uint8_t *ip = addr->ip;
	int n = 0;

	if (addr->family == SY_IPV4) {
		n = snprintf(out, 64, "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
	} else {
		for (int i = 0; i < 8; i++)
			n += snprintf(out + n, (size_t)(64 - n), "%s%x", i ? ":" : "[",
				      ip[2 * i] << 8 | ip[2 * i + 1]);
		n += snprintf(out + n, (size_t)(64 - n), "]");
	}
	if (port)
		snprintf(out + n, (size_t)(64 - n), ":%u", addr->port);
}

static struct sy_probe_step
sip_ask(const struct sip_conf *sip, struct sip_state *state, const struct sy_probe *probe)
{
	const char *method = sip->ask.index == ASK_REGISTER ? "REGISTER" : "OPTIONS";
	const char *transport = sip_transports[sip->transport.index];
	char from[64], to[64], host[64], uri[SIP_WORD + 100];
	const char *domain = sip->domain;
	int len;

	sip_print_address(&probe->local, true, from);
	sip_print_address(&probe->server, true, to);
	sip_print_address(&probe->server, false, host);
	if (!domain)
		domain = host;
	if (sip->domain)
		snprintf(uri, sizeof(uri), "sip:%s", domain);
	else
		snprintf(uri, sizeof(uri), "sip:%s;transport=%s", to, transport);
	snprintf(state->branch, sizeof(state->branch), "z9hG4bK%016llx",
		 (unsigned long long)probe->random);
	snprintf(state->call_id, sizeof(state->call_id), "%016llx@steelyard",
	         (unsigned long long)(probe->random * UINT64_C(0x9e3779b97f4a7c15)));
	len = snprintf(
	    state->question, sizeof(state->question),
	    "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s;rport\r\nMax-Forwards: %u\r\n"
	    "From: <sip:%s@%s>;tag=%08x\r\nTo: <sip:%s%s%s>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\n"
	    "Contact: <sip:%s@%s;transport=%s>%s\r\nUser-Agent: steelyard-monitor\r\n"
	    "Accept: application/sdp\r\nContent-Length: 0\r\n\r\n",
	    method, uri, sip_in_via[sip->transport.index], from, state->branch, sip->max_forwards,
	    sip->user, domain, (unsigned)(probe->random >> 32),
	    sip->ask.index == ASK_REGISTER ? sip->user : "",
	    sip->ask.index == ASK_REGISTER ? "@" : "", domain, state->call_id, method, sip->user,
	    from, transport, sip->ask.index == ASK_REGISTER ? ";expires=60" : "");
	return (struct sy_probe_step){.what = SY_PROBE_SEND,
				      .bytes = sy_span(state->question, (size_t)len)};
}

static struct sy_probe_step
sip_start(const void *conf, void *state, const struct sy_probe *probe)
{
	const struct sip_conf *sip = conf;
	const struct sy_probe_tls *tls = probe->tls;

	if (tls && !tls->established)
		return sy_judge(
		    SY_PROBE_DOWN,
		    tls->wants_client_certificate && !sip->certificate.path
			? "TLS handshake failed: %s; the server wants a client certificate"
			: "TLS handshake failed: %s",
		    tls->problem ? tls->problem : "for an unknown reason");
	if (tls && sip->verify && !tls->verified)
		return sy_judge(SY_PROBE_DOWN, "the certificate is not trusted: %s",
		                tls->problem ? tls->problem : "for an unknown reason");
	if (tls && sip->verify && !tls->name_matches)
		return sy_judge(SY_PROBE_DOWN, "the certificate does not hold the name %s",
				sip->name);
	if (sip->ask.index == ASK_PING)
		return (struct sy_probe_step){.what = SY_PROBE_SEND,
					      .bytes = sy_span("\r\n\r\n", 4)};
	return sip_ask(sip, state, probe);
}

static bool
sip_same(struct sy_span have, const char *want)
{
	return have.len == strlen(want) && memcmp(have.at, want, have.len) == 0;
}

/* NULL: this answers our question; else why not. */
static const char *
sip_differs(const struct sip_conf *sip, const struct sip_state *state,
	    const struct sip_message *answer)
{
	if (!sip_same(answer->branch, state->branch))
		return "another branch in Via";
	if (!sip_same(answer->call_id, state->call_id))
		return "another Call-ID";
	if (answer->cseq != 1 ||
	    !sip_same(answer->method, sip->ask.index == ASK_REGISTER ? "REGISTER" : "OPTIONS"))
		return "another CSeq";
	return NULL;
}

/* One message of the server. WAIT: it was not the answer. */
static struct sy_probe_step
sip_message(const struct sip_conf *sip, const struct sip_state *state,
	    const struct sip_message *message)
{
	const char *differs = message->request ? NULL : sip_differs(sip, state, message);

	/* A datagram may be a late one for another probe. */
	if (differs && sip->transport.index != SY_OVER_UDP)
		return sy_judge(SY_PROBE_DOWN, "the answer is not for our question: it has %s",
				differs);
	if (differs || message->request || message->status < 200)
		return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
	return judge_answer(&sip->judge, message);
}

static struct sy_probe_step
sip_pong(struct sy_span in, bool closed)
{
	if (in.len >= 2 && memcmp(in.at, "\r\n", 2) == 0)
		return sy_judge(SY_PROBE_UP, "the ping was answered");
	if (in.len && in.at[0] != '\r')
		return sy_judge(SY_PROBE_DOWN,
				"the ping was answered with something else than an empty line");
	if (closed)
		return sy_judge(SY_PROBE_DOWN,
				"the server closed the connection instead of answering the ping");
	return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
}

static struct sy_probe_step
sip_datagram(const struct sip_conf *sip, const struct sip_state *state, struct sy_span in)
{
	struct sip_message message;

	switch (sip_read_datagram(in, &message)) {
	case SIP_WRONG:
		return sy_judge(SY_PROBE_DOWN, "the answer is no good SIP: %s", message.problem);
	case SIP_MESSAGE:
		return sip_message(sip, state, &message);
	case SIP_BLANK:
	case SIP_MORE:
		break;
	}
	return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
}

static struct sy_probe_step
sip_data(const void *conf, void *memory, const struct sy_probe *probe, struct sy_span in,
	 bool closed)
{
	const struct sip_conf *sip = conf;
	struct sip_state *state = memory;
	enum sip_read got = SIP_BLANK;

	(void)probe;
	if (sip->ask.index == ASK_PING)
		return sip_pong(in, closed);
	if (sip->transport.index == SY_OVER_UDP)
		return sip_datagram(sip, state, in);
	while (state->read < in.len && got != SIP_MORE) {
		struct sip_scan scan = { 0 };
		struct sip_message message;
		struct sy_probe_step step;

		got = sip_read(&scan, sy_span(in.at + state->read, in.len - state->read),
			       UINT32_MAX, &message);
		if (got == SIP_WRONG)
			return sy_judge(SY_PROBE_DOWN, "the answer is no good SIP: %s",
					message.problem);
		if (got == SIP_MESSAGE) {
			step = sip_message(sip, state, &message);
			if (step.what != SY_PROBE_WAIT)
				return step;
		}
		if (got != SIP_MORE && message.len + message.body > in.len - state->read)
			break;   /* what follows the body is not here yet */
		if (got != SIP_MORE)
			state->read += message.len + (size_t)message.body;
	}
	if (closed)
		return sy_judge(SY_PROBE_DOWN,
				"the server closed the connection without an answer");
	return (struct sy_probe_step){ .what = SY_PROBE_WAIT };
}

static const struct sy_monitor sip_ops = {
	.size = sizeof(sip_ops),
	.state_size = sizeof(struct sip_state),
	.plan = sip_plan,
	.start = sip_start,
	.data = sip_data,
};

SY_MODULE(SY_MONITOR, "sip",
	.version = "1.0",
	.summary = "Asks a SIP server by OPTIONS, REGISTER or an empty line, over TCP, TLS or UDP.",
	.conf_size = sizeof(struct sip_conf),
	.rows = sip_rows,
	.check = sip_check,
	.ops = &sip_ops);
