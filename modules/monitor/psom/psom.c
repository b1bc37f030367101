/* Web conferencing: a TLS handshake, and then silence. The client speaks first, so a server that is
 * well waits; one whose service is broken behind an open port closes at once. What PSOM itself says is
 * not public, so nothing is sent.
 *
 * Between servers TLS is mutual. A server that asks for a certificate when we have none to show has
 * proved that it is alive by asking: what follows is its refusal, and is not waited for. */
#include "api/monitor.h"

struct psom_conf {
	const char *name;
	bool verify;
	struct sy_file ca;
	struct sy_file certificate;
	struct sy_secret key;
	struct sy_msec hold;
	uint32_t warn_days;
};

static const struct sy_row psom_rows[] = {
	SY_ROW(struct psom_conf, name, "name",
	       .doc = "Server name to ask for (SNI), and to look for in the certificate with verify on."),
	SY_ROW(struct psom_conf, verify, "verify", .preset = "off",
	       .doc = "on: a server whose certificate is not signed by a known authority, is out of date "
	              "or does not hold the name counts as down."),
	SY_ROW(struct psom_conf, ca, "ca",
	       .doc = "File with the authorities' certificates (PEM) for verify; the system's when not "
	              "given."),
	SY_ROW(struct psom_conf, certificate, "certificate",
	       .doc = "File with a certificate to show to servers that ask for one (PEM, chain behind it)."),
	SY_ROW(struct psom_conf, key, "key",
	       .doc = "File with the key to that certificate; the certificate's own file when not given."),
	SY_ROW(struct psom_conf, hold, "hold", .max = SY_MINUTE, .preset = "2s",
	       .doc = "How long the server must keep the connection after the handshake to count as up; no "
	              "longer than the probe's timeout leaves; 0: the handshake is enough."),
	SY_ROW(struct psom_conf, warn_days, "warn-days", .max = 3650, .preset = "14",
	       .doc = "A server whose certificate has fewer days left is up, with a warning; 0: never."),
	SY_ROW_END
};

static int
psom_check(void *conf, struct sy_err *err)
{
	const struct psom_conf *psom = conf;

	if (psom->ca.path && !psom->verify)
		return sy_fail(err, "ca is given, but verify is off: say \"verify on\"");
	if (psom->key.path && !psom->certificate.path)
		return sy_fail(err, "key is given, but no certificate");
	return 0;
}

static struct sy_probe_plan
psom_plan(const void *conf)
{
	const struct psom_conf *psom = conf;

	return (struct sy_probe_plan){
		.transport = SY_OVER_TLS,
		.tls_name = psom->name,
		.tls_ca = psom->ca.content,
		.tls_verify = psom->verify,
		.tls_certificate = psom->certificate.content,
		.tls_key = psom->key.content,
	};
}

/* Up, as far as the handshake goes; the certificate's last days are worth a word. */
static struct sy_probe_step
psom_good(const struct psom_conf *psom, const struct sy_probe_tls *tls, const char *words)
{
	struct sy_probe_step step;

	if (!psom->warn_days || tls->days_left >= (int)psom->warn_days)
		return sy_judge(SY_PROBE_UP, "%s", words);
	step = tls->days_left < 0
	     ? sy_judge(SY_PROBE_UP, "%s; the certificate is out of date since %d days", words,
	                -tls->days_left)
	     : sy_judge(SY_PROBE_UP, "%s; the certificate ends in %d days", words, tls->days_left);
	step.warn = true;
	return step;
}

static struct sy_probe_step
psom_start(const void *conf, void *state, const struct sy_probe *probe)
{
	const struct psom_conf *psom = conf;
	const struct sy_probe_tls *tls = probe->tls;
	bool asked = tls->server_hello && tls->wants_client_certificate;
	struct sy_probe_step step;

	(void)state;
	if (!tls->established && !asked)
		return sy_judge(SY_PROBE_DOWN, "TLS handshake failed: %s",
		                tls->problem ? tls->problem : "for an unknown reason");
	if (psom->verify && !tls->verified)
		return sy_judge(SY_PROBE_DOWN, "the certificate is not trusted: %s",
		                tls->problem ? tls->problem : "for an unknown reason");
	if (psom->verify && !tls->name_matches)
		return sy_judge(SY_PROBE_DOWN, "the certificate does not hold the name %s", psom->name);
	if (asked && !psom->certificate.path)
		return psom_good(psom, tls, "asks for a client certificate, so it is alive");
	if (!tls->established)
		return sy_judge(SY_PROBE_DOWN, "the server refused our certificate: %s",
		                tls->problem ? tls->problem : "for an unknown reason");
	step = psom_good(psom, tls, "handshake done, and the server waits");
	if (psom->hold.ms) {
		step.what = SY_PROBE_WAIT;
		step.hold_ms = (uint32_t)psom->hold.ms;
	}
	return step;
}

/* A server that speaks first is not expected, but nothing says that it must not. */
static struct sy_probe_step
psom_data(const void *conf, void *state, const struct sy_probe *probe, struct sy_span in, bool closed)
{
	const struct psom_conf *psom = conf;

	(void)state;
	if (closed && in.len == 0)
		return sy_judge(SY_PROBE_DOWN, "the server closed the connection right after the handshake: its "
		                               "service does not run");
	return psom_good(psom, probe->tls, "handshake done, and the server speaks");
}

static const struct sy_monitor psom_ops = {
	.size = sizeof(psom_ops),
	.plan = psom_plan,
	.start = psom_start,
	.data = psom_data,
};

SY_MODULE(SY_MONITOR, "psom",
	.version = "1.0",
	.summary = "Makes a TLS handshake and sees whether the server keeps the connection: web conferencing.",
	.conf_size = sizeof(struct psom_conf),
	.rows = psom_rows,
	.check = psom_check,
	.ops = &psom_ops);
