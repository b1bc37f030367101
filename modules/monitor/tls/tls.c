/* Makes a TLS handshake and looks at the server's certificate. Says nothing else.
 *
 * Servers that demand a certificate of their clients (an Edge's 5061, all of mutual TLS) break off
 * when we have none: after they have shown their own. That they got so far proves that they are
 * alive, so it counts as up. */
#include "api/monitor.h"

struct tls_conf {
	const char *name;
	bool verify;
	struct sy_file ca;
	struct sy_file certificate;
	struct sy_secret key;
	uint32_t warn_days, fail_days;
};

static const struct sy_row tls_rows[] = {
	SY_ROW(struct tls_conf, name, "name",
	       .doc = "Server name to ask for (SNI), and to look for in the certificate with verify on."),
	SY_ROW(struct tls_conf, verify, "verify", .preset = "off",
	       .doc = "on: a server whose certificate is not signed by a known authority, is out of date "
	              "or does not hold the name counts as down."),
	SY_ROW(struct tls_conf, ca, "ca",
	       .doc = "File with the authorities' certificates (PEM) for verify; the system's when not "
	              "given."),
	SY_ROW(struct tls_conf, certificate, "certificate",
	       .doc = "File with a certificate to show to servers that ask for one (PEM, chain behind it)."),
	SY_ROW(struct tls_conf, key, "key",
	       .doc = "File with the key to that certificate; the certificate's own file when not given."),
	SY_ROW(struct tls_conf, warn_days, "warn-days", .max = 3650, .preset = "14",
	       .doc = "A server whose certificate has fewer days left is up, with a warning; 0: never."),
	SY_ROW(struct tls_conf, fail_days, "fail-days", .max = 3650, .preset = "0",
	       .doc = "A server whose certificate has fewer days left is down; 0: never."),
	SY_ROW_END
};

static int
tls_check(void *conf, struct sy_err *err)
{
	const struct tls_conf *tls = conf;

	if (tls->ca.path && !tls->verify)
		return sy_fail(err, "ca is given, but verify is off: say \"verify on\"");
	if (tls->key.path && !tls->certificate.path)
		return sy_fail(err, "key is given, but no certificate");
	return 0;
}

static struct sy_probe_plan
tls_plan(const void *conf)
{
	const struct tls_conf *tls = conf;

	return (struct sy_probe_plan){
		.transport = SY_OVER_TLS,
		.tls_name = tls->name,
		.tls_ca = tls->ca.content,
		.tls_verify = tls->verify,
		.tls_certificate = tls->certificate.content,
		.tls_key = tls->key.content,
	};
}

static struct sy_probe_step
tls_days(const struct tls_conf *tls, const struct sy_probe_tls *seen)
{
	struct sy_probe_step step;

	if (tls->fail_days && seen->days_left < (int)tls->fail_days)
		return seen->days_left < 0
		     ? sy_judge(SY_PROBE_DOWN, "the certificate is out of date since %d days",
		                -seen->days_left)
		     : sy_judge(SY_PROBE_DOWN, "the certificate ends in %d days", seen->days_left);
	if (!tls->warn_days || seen->days_left >= (int)tls->warn_days)
		return seen->established
		     ? sy_judge(SY_PROBE_UP, "%s handshake done", seen->version)
		     : sy_judge(SY_PROBE_UP, "asks for a client certificate, so it is alive");
	step = seen->days_left < 0
	     ? sy_judge(SY_PROBE_UP, "handshake done; the certificate is out of date since %d days",
	                -seen->days_left)
	     : sy_judge(SY_PROBE_UP, "handshake done; the certificate ends in %d days", seen->days_left);
	step.warn = true;
	return step;
}

static struct sy_probe_step
tls_start(const void *conf, void *state, const struct sy_probe *probe)
{
	const struct tls_conf *tls = conf;
	const struct sy_probe_tls *seen = probe->tls;

	(void)state;
	if (!seen->established && !(seen->server_hello && seen->wants_client_certificate))
		return sy_judge(SY_PROBE_DOWN, "TLS handshake failed: %s",
		                seen->problem ? seen->problem : "for an unknown reason");
	if (tls->verify && !seen->verified)
		return sy_judge(SY_PROBE_DOWN, "the certificate is not trusted: %s",
		                seen->problem ? seen->problem : "for an unknown reason");
	if (tls->verify && !seen->name_matches)
		return sy_judge(SY_PROBE_DOWN, "the certificate does not hold the name %s", tls->name);
	return tls_days(tls, seen);
}

static const struct sy_monitor tls_ops = {
	.size = sizeof(tls_ops),
	.plan = tls_plan,
	.start = tls_start,
};

SY_MODULE(SY_MONITOR, "tls",
	.version = "1.0",
	.summary = "Makes a TLS handshake and looks at the certificate.",
	.conf_size = sizeof(struct tls_conf),
	.rows = tls_rows,
	.check = tls_check,
	.ops = &tls_ops);
