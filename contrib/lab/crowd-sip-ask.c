/* The requests of crowd-sip.c, as Microsoft's clients make them: epid, ms-keep-alive, NTLM in gssapi-data. */
#include "crowd-sip.h"

#include <inttypes.h>
#include <string.h>

const char *
sip_method(enum sip_step step)
{
	static const char *const methods[] = {
	    [SIP_KNOCK] = "REGISTER", [SIP_NEGOTIATE] = "REGISTER", [SIP_SIGN_IN] = "REGISTER",
	    [SIP_INVITE] = "INVITE",  [SIP_BYE] = "BYE",            [SIP_OPTIONS] = "OPTIONS",
	    [SIP_REPORT] = "SERVICE", [SIP_SIGN_OUT] = "REGISTER",  [SIP_DONE] = "",
	};

	return methods[step];
}

/* The fields that all requests have. */
static void
sip_begin(struct crowd_client *client, const char *method)
{
	struct crowd_sip *sip = client->state;
	struct lab_buf *out = &client->out;
	bool registers = !strcmp(method, "REGISTER");
	char own[ADDR_TEXT];

	addr_text(&client->source, own);
	buf_print(out, "%s sip:%slab.test SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s.%" PRIu64 "\r\n",
		  method, registers ? "" : "echo@", client->goal->transport == LAB_TLS ? "TLS" : "TCP",
		  own, client->expected, sip->messages);
	buf_print(out, "Max-Forwards: 70\r\nFrom: <sip:%s@lab.test>;tag=%" PRIu32 ";epid=%08" PRIx32 "\r\n",
		  sip->user, client->number, client->number);
	buf_print(out, "To: <sip:%s@lab.test>%s%s\r\nCall-ID: %s\r\nCSeq: %" PRIu32 " %s\r\n",
		  registers ? sip->user : "echo", *sip->to_tag ? ";tag=" : "", sip->to_tag,
		  client->expected, sip->cseq, method);
	buf_print(out, "Contact: <sip:%s@%s;transport=%s>\r\nUser-Agent: lab-crowd\r\n", sip->user, own,
		  client->goal->transport == LAB_TLS ? "tls" : "tcp");
}

static void
sip_body(struct lab_buf *out, const char *type, const char *body)
{
	buf_print(out, "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", type, strlen(body), body);
}

static void
sip_authorization(struct crowd_client *client, const char *data)
{
	buf_print(&client->out,
		  "Authorization: NTLM qop=\"auth\", realm=\"SIP Communications Service\", "
		  "targetname=\"%s\", gssapi-data=\"%s\", version=4\r\n",
		  client->goal->host ? client->goal->host : "lab.test", data);
}

/* A dialog has one Call-ID, and so have the registrations of one connection; the rest are for themselves. */
static void
sip_name(struct crowd_client *client)
{
	struct crowd_sip *sip = client->state;

	sip->messages++;
	sip->cseq++;
	if (sip->step == SIP_BYE) {
		strcpy(client->expected, sip->call);
		return;
	}
	sip->to_tag[0] = 0;
	snprintf(client->expected, sizeof(sip->call), "%04x.%" PRIu32 ".%" PRIu64, client->crowd->id,
		 client->number, sip->messages);
	if (sip->step == SIP_INVITE)
		strcpy(sip->call, client->expected);
}

void
sip_request(struct crowd_client *client)
{
	struct crowd_sip *sip = client->state;
	struct lab_buf *out = &client->out;
	char text[NTLM_TEXT];

	sip_name(client);
	sip_begin(client, sip_method(sip->step));
	switch (sip->step) {
	case SIP_SIGN_IN:
	case SIP_NEGOTIATE:
		text[0] = 0;
		if (sip->step == SIP_SIGN_IN)
			ntlm_encode(&sip->message, text);
		sip_authorization(client, text);
		/* fallthrough */
	case SIP_KNOCK:
	case SIP_SIGN_OUT:
		buf_print(out, "ms-keep-alive: UAC;hop-hop=yes\r\nExpires: %d\r\nContent-Length: 0\r\n\r\n",
			  sip->step == SIP_SIGN_OUT ? 0 : 600);
		return;
	case SIP_INVITE:
		sip_body(out, "application/sdp",
			 "v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=lab\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
			 "m=audio 9 RTP/AVP 0\r\n");
		return;
	case SIP_REPORT:
		sip_body(out, "application/xml", "<report xmlns=\"urn:lab\"/>");
		return;
	case SIP_BYE:
	case SIP_OPTIONS:
	case SIP_DONE:
		break;
	}
	buf_print(out, "Content-Length: 0\r\n\r\n");
}

void
sip_ack(struct crowd_client *client)
{
	sip_begin(client, "ACK");
	buf_print(&client->out, "Content-Length: 0\r\n\r\n");
}
