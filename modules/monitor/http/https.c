/* The same as monitor http, over TLS. */
#include <stdlib.h>

#include "web.h"

enum { HTTPS_VERSIONS = 4 };

struct https_conf {
	struct web_conf web;
	const char *name;
	bool verify;
	struct sy_file ca, certificate;
	struct sy_secret key;
	struct sy_list versions;
	char sni[256];            /* what is asked for when no name is given: the host, without port */
};

static const struct sy_row https_rows[] = {
	WEB_ROWS(struct https_conf),
	SY_ROW(struct https_conf, name, "name",
	       .doc = "Server name to ask for (SNI), and to look for in the certificate with verify on; the "
	              "host when not given."),
	SY_ROW(struct https_conf, verify, "verify", .preset = "off",
	       .doc = "on: a server whose certificate is not signed by a known authority, is out of date or "
	              "does not hold the name counts as down."),
	SY_ROW(struct https_conf, ca, "ca",
	       .doc = "File with the authorities' certificates (PEM) for verify; the system's when not given."),
	SY_ROW(struct https_conf, certificate, "certificate",
	       .doc = "File with a certificate to show to servers that ask for one (PEM, chain behind it)."),
	SY_ROW(struct https_conf, key, "key",
	       .doc = "File with the key to that certificate; the certificate's own file when not given."),
	SY_ROW(struct https_conf, versions, "versions",
	       .doc = "Versions to offer: TLSv1.0, TLSv1.1, TLSv1.2, TLSv1.3; all when not given."),
	SY_ROW_END
};

static int
https_check_versions(const struct sy_list *versions, struct sy_err *err)
{
	static const char *const known[HTTPS_VERSIONS] = { "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3" };
	unsigned given = 0;

	for (uint32_t i = 0; i < versions->n; i++) {
		unsigned at = 0;

		while (at < HTTPS_VERSIONS && strcmp(known[at], versions->at[i]) != 0)
			at++;
		if (at == HTTPS_VERSIONS)
			return sy_fail(err, "versions %.40s: TLSv1.0, TLSv1.1, TLSv1.2 and TLSv1.3 are known",
			               versions->at[i]);
		given |= 1u << at;
	}
	/* A client offers a range. */
	while (given && !(given & 1))
		given >>= 1;
	if (given & (given + 1))
		return sy_fail(err, "versions: those between the oldest and the newest must be given, too");
	return 0;
}

/* "web.example.net:8443" and "[2001:db8::1]:8443" without the port. */
static void
https_sni(struct https_conf *https)
{
	const char *host = https->web.host ? https->web.host : "";
	size_t len = strcspn(host, ":");

	if (*host == '[')
		len = strcspn(++host, "]");
	if (len < sizeof(https->sni))
		memcpy(https->sni, host, len);
}

static int
https_check(void *conf, struct sy_err *err)
{
	struct https_conf *https = conf;

	if (https->ca.path && !https->verify)
		return sy_fail(err, "ca is given, but verify is off: say \"verify on\"");
	if (https->key.path && !https->certificate.path)
		return sy_fail(err, "key is given, but no certificate");
	if (https->verify && !https->name && !https->web.host)
		return sy_fail(err, "verify on needs a name to look for in the certificate: name or host");
	if (https_check_versions(&https->versions, err) != 0)
		return -1;
	https_sni(https);
	return web_check(&https->web, err);
}

static void
https_release(void *conf)
{
	web_release(&((struct https_conf *)conf)->web);
}

static const char *
https_name(const struct https_conf *https)
{
	return https->name ? https->name : *https->sni ? https->sni : NULL;
}

static struct sy_probe_plan
https_plan(const void *conf)
{
	const struct https_conf *https = conf;

	return (struct sy_probe_plan){
		.transport = SY_OVER_TLS,
		.tls_name = https_name(https),
		.tls_ca = https->ca.content,
		.tls_verify = https->verify,
		.tls_certificate = https->certificate.content,
		.tls_key = https->key.content,
		.tls_alpn = "http/1.1",
		.tls_versions = https->versions,
	};
}

static struct sy_probe_step
https_start(const void *conf, void *state, const struct sy_probe *probe)
{
	const struct https_conf *https = conf;
	const struct sy_probe_tls *seen = probe->tls;

	if (!seen->established)
		return sy_judge(SY_PROBE_DOWN, "TLS handshake failed: %s",
		                seen->problem ? seen->problem : "for an unknown reason");
	if (https->verify && !seen->verified)
		return sy_judge(SY_PROBE_DOWN, "the certificate is not trusted: %s",
		                seen->problem ? seen->problem : "for an unknown reason");
	if (https->verify && !seen->name_matches)
		return sy_judge(SY_PROBE_DOWN, "the certificate does not hold the name %s",
		                https_name(https));
	return web_start(&https->web, state, probe);
}

static struct sy_probe_step
https_data(const void *conf, void *state, const struct sy_probe *probe, struct sy_span in, bool closed)
{
	(void)state, (void)probe;
	return web_data(&((const struct https_conf *)conf)->web, in, closed);
}

static const struct sy_monitor https_ops = {
	.size = sizeof(https_ops),
	.state_size = sizeof(struct web_state),
	.plan = https_plan,
	.start = https_start,
	.data = https_data,
};

SY_MODULE(SY_MONITOR, "https",
	.version = "1.1",
	.summary = "Asks a web server for a page over TLS and judges by status, content and certificate.",
	.conf_size = sizeof(struct https_conf),
	.rows = https_rows,
	.check = https_check,
	.release = https_release,
	.ops = &https_ops);
