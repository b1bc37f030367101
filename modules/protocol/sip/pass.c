#include "sip.h"

static struct sy_verdict
pass_wait(const struct sy_session *session, struct sy_span in)
{
	const struct sip_conf *conf = session->conf;

	return (struct sy_verdict){ .what = SY_NEED,
	                            .deadline_ms = in.len ? conf->header_timeout.ms : 0 };
}

/* A name of the list: "sip.example.com", or "*.example.com" for any one label in front. */
static bool
pass_name_fits(const char *name, struct sy_span sni)
{
	size_t len = strlen(name);
	const uint8_t *dot;

	if (len > 2 && name[0] == '*' && name[1] == '.') {
		dot = sni.len ? memchr(sni.at, '.', sni.len) : NULL;
		if (!dot || dot == sni.at)
			return false;
		sni = sy_span(dot, sni.len - (size_t)(dot - sni.at));
		name++, len--;
	}
	if (len != sni.len)
		return false;
	for (size_t i = 0; i < len; i++)    /* the hello's is in lower case */
		if ((name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]) != sni.at[i])
			return false;
	return true;
}

static bool
pass_name_allowed(const struct sy_list *names, struct sy_span sni)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (pass_name_fits(names->at[i], sni))
			return true;
	return names->n == 0;
}

static struct sy_verdict
pass_hello(struct sy_session *session)
{
	const struct sip_conf *conf = session->conf;
	struct sip_session *state = session->state;
	const struct sy_hello *hello = &state->hello;

	if (conf->expect.index == SIP_EXPECT_SIP)
		return sip_refuse(session, "TLS where SIP in clear is expected");
	session->facts.sni = sy_span(hello->sni, hello->sni_len);
	if (hello->alpn_len > 1)
		session->facts.alpn = sy_span(hello->alpn + 1, hello->alpn[0]);
	if (!pass_name_allowed(&conf->server_names, session->facts.sni))
		return sip_refuse(session, hello->sni_len
			? "the ClientHello asks for a name that is not in server-names"
			: "the ClientHello asks for no name, and server-names wants one");
	return (struct sy_verdict){ .what = SY_TUNNEL };
}

static struct sy_verdict
pass_clear(struct sy_session *session, struct sy_span in)
{
	const struct sip_conf *conf = session->conf;
	struct sip_message message;
	struct sy_span rest = in;

	while (rest.len && (*rest.at == '\r' || *rest.at == '\n'))   /* keep-alives */
		rest = sy_span(rest.at + 1, rest.len - 1);
	switch (sip_read_start(rest, &message)) {
	case SIP_MORE:
	case SIP_BLANK:
		return pass_wait(session, in);
	case SIP_WRONG:
		return sip_refuse(session, conf->expect.index == SIP_EXPECT_SIP ? message.problem
					   : conf->expect.index == SIP_EXPECT_TLS
					       ? "neither TLS nor SIP where TLS is expected"
					       : "neither TLS nor SIP");
	case SIP_MESSAGE:
		break;
	}
	if (conf->expect.index == SIP_EXPECT_TLS)
		return sip_refuse(session, "plain SIP where TLS is expected");
	if (!message.request)
		return sip_refuse(session, "a connection that begins with a response");
	memset(session->state, 0, sizeof(struct sy_hello));  /* it held a hello that was none */
	sip_facts(session, &message);
	return (struct sy_verdict){ .what = SY_TUNNEL };
}

struct sy_verdict
sip_pass(struct sy_session *session, struct sy_span in)
{
	struct sip_session *state = session->state;

	if (!in.len)
		return pass_wait(session, in);
	if (session->facts.secure)
		return pass_clear(session, in);   /* the listener has taken TLS away */
	switch (sy_hello_read(in, &state->hello)) {
	case SY_HELLO_MORE:
		return pass_wait(session, in);
	case SY_HELLO_DONE:
		return pass_hello(session);
	case SY_HELLO_NOT_TLS:
		return pass_clear(session, in);
	case SY_HELLO_BAD:
		break;
	}
	return sip_refuse(session, state->hello.why);
}
