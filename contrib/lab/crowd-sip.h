/* crowd-sip.h: one user, gateway or server of crowd-sip.c, and what it asks (crowd-sip-ask.c). */
#ifndef LAB_CROWD_SIP_H
#define LAB_CROWD_SIP_H

#include "crowd.h"
#include "sip.h"

enum sip_kind {
	SIP_USER,
	SIP_CALLER,
	SIP_SERVICE,
};

enum sip_step {
	SIP_KNOCK, /* REGISTER without credentials */
	SIP_NEGOTIATE,
	SIP_SIGN_IN,
	SIP_INVITE,
	SIP_BYE,
	SIP_OPTIONS,
	SIP_REPORT,
	SIP_SIGN_OUT,
	SIP_DONE,
};

struct crowd_sip {
	enum sip_step step;
	bool home;    /* this connection goes where the user was sent */
	bool in_call, called;
	uint32_t cseq;
	uint64_t messages;
	char user[NTLM_NAME], to_tag[SIP_WORD], call[SIP_WORD];
	struct ntlm_message message;
};

/* The method of the step's request. */
const char *sip_method(enum sip_step step);

/* Puts the step's request into client->out. */
void sip_request(struct crowd_client *client);

/* The same with the ACK to the 200 of an INVITE. */
void sip_ack(struct crowd_client *client);

#endif
