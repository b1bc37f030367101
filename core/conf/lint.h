/* What a service is for, and what that forbids or wants: knowledge of the farms that this program is
 * made for. A configuration can be free of errors and still sign people out after eleven minutes;
 * these rules say so. They apply to services that name their role, are carried out by the loader only,
 * and each can be switched off in the service's block by its name. */
#ifndef CONF_LINT_H
#define CONF_LINT_H

#include "conf/bind.h"

/* settings.role, in the order of lint_roles. */
enum role {
	ROLE_NONE,
	ROLE_FRONT_END,           /* SIP and conferencing ports of Front Ends and Directors */
	ROLE_WEB_INTERNAL,        /* their web services for those inside: 443, 80 */
	ROLE_WEB_EXTERNAL,        /* and for those outside: 4443, 8080 */
	ROLE_REVERSE_PROXY,       /* the latter as the world sees them: 443 -> 4443, 80 -> 8080 */
	ROLE_EDGE_ACCESS,
	ROLE_EDGE_WEBCONF,
	ROLE_EDGE_AV,
	ROLE_EDGE_INTERNAL,
	ROLE_MEDIATION,
	ROLE_OFFICE_WEB,
	ROLE_EXCHANGE,
	ROLE_XMPP,
	ROLE_SIP,                 /* without Microsoft: Kamailio, Asterisk, gateways */
	ROLE_TURN,
	ROLE_WEB,
};

extern const char *const lint_roles[];

/* The lint statements of a service say what they may. */
void lint_check_statements(struct binder *binder, const struct service *service);
/* All rules, over all services; the configuration is otherwise free of errors. */
void lint(struct binder *binder);

/* lint_certificate.c: what the certificates of a service's listeners should hold, and do not. Returns
 * the first name, or beginning of one, that is missing; NULL: none. */
const char *lint_missing_name(const struct service *service);

#endif
