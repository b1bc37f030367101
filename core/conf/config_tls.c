/* Binding tls blocks, of listeners and of pools. */
#include <string.h>

#include "conf/bind.h"
#include "conf/certificate.h"

static void
tls_certificates(struct binder *binder, const struct node *node, struct tls *tls)
{
	tls->certificates = arena_array(binder->arena, struct tls_certificate,
					bind_count(node, "certificate"));
	for (const struct node *child = node->children; child; child = child->next) {
		struct tls_certificate *certificate = &tls->certificates[tls->n_certificates];

		if (strcmp(child->name, "certificate") != 0)
			continue;
		if (child->n_args != 1) {
			complain(binder->complaints, child,
				 "certificate takes one file; another pair is another statement");
			continue;
		}
		certificate->name = node_arg(child, 0);
		certificate->node = child;
		bind_rows(binder, child, 1, certificate_rows, certificate, NULL);
		tls->n_certificates++;
	}
}

/* Presets are for one side only, so what belongs to the other stays unused. */
static void
tls_check(struct binder *binder, struct tls *tls)
{
	const struct node *node = tls->node;
	uint32_t clients = tls->client_certificate.index;

	if (tls->server && tls->n_certificates == 0)
		complain(binder->complaints, node, "tls of a listener needs a certificate: "
			 "tls { certificate FILE; key FILE; }");
	if (tls->server && clients != CLIENT_CERTIFICATE_NONE && !tls->ca.path)
		complain(binder->complaints, node, "client-certificate needs ca FILE: the authorities that "
			 "sign clients' certificates");
	if (tls->server && clients == CLIENT_CERTIFICATE_NONE && tls->ca.path)
		complain(binder->complaints, node_child(node, "ca"), "ca is for clients' certificates, and "
			 "client-certificate is none: say optional or required");
	if (!tls->server && !tls->verify && (tls->ca.path || tls->crl.path))
		complain(binder->complaints, node_child(node, tls->ca.path ? "ca" : "crl"),
			 "verify is off, so %s would do nothing", tls->ca.path ? "ca" : "crl");
	if (!tls->server && tls->n_certificates > 1)
		complain(binder->complaints, tls->certificates[1].node,
			 "servers can be shown one certificate only");
	if (tls->crl.path && !tls->ca.path)
		complain(binder->complaints, node_child(node, "crl"), "crl needs ca: who signed it?");
	for (uint32_t i = 0; i < tls->alpn.n; i++)
		if (strlen(tls->alpn.at[i]) == 0 || strlen(tls->alpn.at[i]) > 64)
			complain(binder->complaints, node_child(node, "alpn"),
				 "alpn: a name has 1 to 64 characters, such as h2 or http/1.1");
	if (tls->alpn.n > 16)
		complain(binder->complaints, node_child(node, "alpn"), "alpn: at most 16 names");
}

struct tls *
bind_tls(struct binder *binder, const struct node *block, bool server, const char *where)
{
	const struct node *node = bind_one(binder, block, "tls");
	struct tls *tls;

	if (!node)
		return NULL;
	tls = arena_new_of(binder->arena, struct tls);
	tls->server = server;
	tls->node = node;
	tls->where = where;
	tls->id = tree_hash(node);
	bind_rows(binder, node, 0, server ? tls_server_rows : tls_client_rows, tls, tls_others);
	tls_certificates(binder, node, tls);
	/* One that was complained about is none of the known: what follows goes on with the default. */
	if (tls->policy.index > TLS_OLD)
		tls->policy.index = TLS_INTERMEDIATE;
	tls_check(binder, tls);
	/* Only the loader has no board. What it accepts is what the others get. */
	if (!binder->board)
		certificate_examine(tls, binder->complaints);
	tls->next = binder->config->tls;
	binder->config->tls = tls;
	return tls;
}

void
bind_tls_servers(struct binder *binder, const struct tls *tls, const struct pool *pool)
{
	if (!tls || !tls->verify || tls->name || !pool)
		return;
	for (uint32_t i = 0; i < pool->n_servers; i++) {
		const struct server *server = &pool->servers[i];

		if (server->host)
			continue;
		complain_mildly(binder->complaints, tls->node, "server %s is given by its address, and no "
				"name is set: its certificate must hold that address (name HOST; says what "
				"to look for)", server->name);
		return;
	}
}

/* ---- ALPN ---- */

static bool
alpn_has(const struct sy_list *names, const char *name)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (strcmp(names->at[i], name) == 0)
			return true;
	return false;
}

/* Would a client of this listener get to speak it? Without TLS it need not be agreed on. */
static bool
alpn_is_offered(const struct service *service, const char *name)
{
	for (uint32_t i = 0; i < service->n_listeners; i++)
		if (!service->listeners[i].tls || alpn_has(&service->listeners[i].tls->alpn, name))
			return true;
	return service->n_listeners == 0;
}

static void
alpn_listener(struct binder *binder, const struct service *service, struct tls *tls, const struct sy_list *spoken)
{
	if (tls->alpn.n == 0)
		tls->alpn = *spoken;
	for (uint32_t i = 0; i < tls->alpn.n; i++)
		if (!alpn_has(spoken, tls->alpn.at[i]))
			complain(binder->complaints, node_child(tls->node, "alpn"),
				 "alpn %s: protocol %s (%s:%u), as it is set, does not speak that; without alpn "
				 "listeners offer what it speaks", tls->alpn.at[i],
				 service->protocol.module->name, service->protocol.node->file,
				 service->protocol.node->line);
}

void
bind_tls_alpn(struct binder *binder, const struct service *service)
{
	const struct sy_module *module = service->protocol.module;
	const struct sy_protocol *protocol = module ? module->ops : NULL;
	struct sy_list spoken = { .n = 0 };
	const struct tls *last = NULL;

	if (!protocol || !protocol->alpn)
		return;
	spoken.at = protocol->alpn(service->protocol.conf);
	while (spoken.at[spoken.n])
		spoken.n++;
	for (uint32_t i = 0; i < service->n_listeners; i++) {
		struct tls *tls = service->listeners[i].tls;

		if (tls && tls != last)
			alpn_listener(binder, service, tls, &spoken);
		last = tls;
	}
	for (uint32_t i = 0; i < spoken.n; i++)
		if (last && !alpn_is_offered(service, spoken.at[i]))
			complain(binder->complaints, node_child(last->node, "alpn"),
				 "alpn leaves out %s, which protocol %s (%s:%u) speaks: no client could ask for "
				 "it", spoken.at[i], module->name, service->protocol.node->file,
				 service->protocol.node->line);
}
