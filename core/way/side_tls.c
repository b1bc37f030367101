#include "way/side_tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "base/must.h"
#include "base/slab.h"
#include "net/tls_park.h"
#include "way/handshakes.h"
#include "way/side.h"

enum {
	TLS_RECORD = 16000,       /* written at once: fits a chunk, so that it can be repeated from there */
	TLS_REST_MS = 2000,       /* unused for so long, and up to twice that, it is parked */
};

/* ---- at rest ---- */

static void tls_rest(struct timer_entry *entry, uint64_t now_ms);

static void
tls_rest_later(struct side_tls *tls, uint64_t now_ms)
{
	timeq_arm(timeq_get(tls->way->child->timeouts, TLS_REST_MS, tls_rest), &tls->rest, now_ms);
}

static void
tls_rest(struct timer_entry *entry, uint64_t now_ms)
{
	struct side_tls *tls = container_of(entry, struct side_tls, rest);

	/* Whom nobody has answered yet gets its tickets now. */
	(void)side_tls_send(tls, sy_span(NULL, 0));
	if (now_ms >= tls->used_ms + TLS_REST_MS)
		tls->parked = tls_park(tls->ssl);
	else
		tls_rest_later(tls, now_ms);
}

/* For every call of OpenSSL. */
SSL *
side_tls_awake(struct side_tls *tls)
{
	tls->used_ms = tls->way->child->now_ms;
	if (tls->parked) {
		tls_unpark(tls->ssl, tls->parked);
		tls->parked = NULL;
		tls_rest_later(tls, tls->used_ms);
	}
	return tls->ssl;
}

/* ---- beginning ---- */

static struct side_tls *
tls_new(struct conn *conn, struct side *side)
{
	struct way *way = conn->way;
	struct side_tls *tls;

	if (!way->tls_slab) {
		way->tls_slab = slab_new(sizeof(*tls));
		way->records.bytes = must_alloc(SIDE_TLS_RECORDS);
	}
	tls = slab_take(way->tls_slab);
	if (!tls)
		return NULL;
	*tls = (struct side_tls){ .way = way, .side = side, .readable = true };
	timer_init(&tls->rest);
	timer_init(&tls->slow_timer);
	link_init(&tls->under_way);
	/* What came behind a PROXY header. */
	if (!side_keep(way)) {
		slab_give(way->tls_slab, tls);
		return NULL;
	}
	tls->raw = side->in;
	side->in = NULL;
	return tls;
}

static bool
tls_begin(struct side *side, struct side_tls *tls, SSL *ssl)
{
	tls->ssl = ssl;
	side->tls = tls;
	tls->used_ms = tls->way->child->now_ms;
	if (ssl)
		tls_rest_later(tls, tls->used_ms);
	else
		side_tls_drop(side, false);
	return ssl != NULL;
}

bool
side_tls_accept(struct conn *conn, const struct tls *tls)
{
	struct side_tls *new = tls_new(conn, &conn->client);
	BIO *bio = new ? side_tls_bio(new) : NULL;

	return new && tls_begin(&conn->client, new, bio ? tls_accept(tls->run, bio) : NULL);
}

bool
side_tls_connect(struct conn *conn, const struct tls *tls)
{
	struct side_tls *new = tls_new(conn, &conn->server);
	const struct server *server = conn->seat->server;
	BIO *bio = new ? side_tls_bio(new) : NULL;

	return new && tls_begin(&conn->server, new,
	                        bio ? tls_connect(tls->run, bio, server->host, &conn->server_addr,
	                                          server->id ^ conn->server_addr.port) : NULL);
}

/* ---- results ---- */

/* What OpenSSL waits for, or errno. `reading`: it was a read. */
static int
tls_result(struct side_tls *tls, int result, bool reading)
{
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		if (!reading)
			tls->write_wants_read = true;
		return EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		if (reading)
			tls->read_wants_write = true;
		return EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		/* An end without close_notify in the middle of something. */
		return tls->error ? tls->error : ECONNRESET;
	default:
		return EPROTO;
	}
}

/* What can be told of it later without OpenSSL. */
static void
tls_note(struct side_tls *tls)
{
	char sni[256];
	size_t n = SSL_is_server(tls->ssl) ? tls_sni(tls->ssl, sni, sizeof(sni)) : 0;

	tls->secured = true;
	handshakes_end(tls);
	tls->version = SSL_get_version(tls->ssl);
	tls->cipher = SSL_get_cipher_name(tls->ssl);
	tls->resumed = SSL_session_reused(tls->ssl);
	tls->sni = n ? strndup(sni, n) : NULL;
}

/* Sends what the handshake has gathered. False: it must wait for room. */
static bool
tls_send_flight(struct side_tls *tls)
{
	if (!tls->flight || side_tls_send(tls, sy_span(NULL, 0)) == 0)
		return true;
	tls->read_wants_write = errno == EAGAIN;
	if (errno != EAGAIN && !tls->error)
		tls->error = (int16_t)errno;
	return false;
}

/* From TLS 1.3 on a server's last words are tickets: they leave with the first bytes of the answer, or when
 * tls_rest() comes by, if the request has come with the end of the handshake. Else at once: a client without
 * TCP_NODELAY says nothing before this end is acknowledged, which alone would take 40 ms. */
static bool
tls_has_request(const struct side_tls *tls)
{
	return SSL_is_server(tls->ssl) && SSL_version(tls->ssl) >= TLS1_3_VERSION &&
	       (tls->raw || tls->way->records.owner == tls || SSL_has_pending(tls->ssl));
}

enum side_secure
side_tls_secure(struct side *side)
{
	struct side_tls *tls = side->tls;
	int done, result;

	ERR_clear_error();
	tls->read_wants_write = tls->write_wants_read = false;
	done = SSL_do_handshake(side_tls_awake(tls));
	result = done == 1 ? 0 : tls_result(tls, done, true);
	if (done == 1 && tls_has_request(tls))
		result = 0;
	else if (!tls_send_flight(tls) && (result == 0 || result == EAGAIN))
		result = tls->read_wants_write ? EAGAIN : ECONNRESET;
	if (result == 0) {
		tls_note(tls);
		/* What came with the end of the handshake is there to be read. */
		side->ready |= EV_READ;
		return SECURE_DONE;
	}
	if (result != EAGAIN)
		return SECURE_FAILED;
	if (!tls->read_wants_write)
		side->ready &= (uint8_t)~EV_READ;
	return SECURE_WAIT;
}

void
side_tls_words(struct conn *conn, struct side *side)
{
	char words[TLS_WORDS];

	free(conn->problem);
	conn->problem = NULL;
	if (side->tls)
		conn->problem = strdup(tls_words(side_tls_awake(side->tls), side->tls->error, words));
}

/* ---- reading and writing ---- */

static bool
tls_has_more(const struct side_tls *tls)
{
	return tls->raw || tls->way->records.owner == tls || tls->readable ||
	       SSL_has_pending(tls->ssl);
}

ssize_t
side_tls_read(struct side *side, uint8_t *to, size_t len)
{
	struct side_tls *tls = side->tls;
	size_t n;
	int error;

	ERR_clear_error();
	tls->read_wants_write = false;
	if (SSL_read_ex(side_tls_awake(tls), to, len, &n) == 1) {
		if (!tls_has_more(tls))
			side->ready &= (uint8_t)~EV_READ;
		return (ssize_t)n;
	}
	error = tls_result(tls, 0, true);
	if (error == EAGAIN && !tls->readable)
		side->ready &= (uint8_t)~EV_READ;
	if (error == 0) {
		side->ready &= (uint8_t)~EV_READ;
		return 0;
	}
	errno = error;
	return -1;
}

ssize_t
side_tls_write(struct side *side, struct sy_span bytes)
{
	struct side_tls *tls = side->tls;
	size_t len = bytes.len < TLS_RECORD ? bytes.len : TLS_RECORD, n;
	int error;

	if (tls->stuck) {
		must(bytes.len >= tls->stuck);
		len = tls->stuck;
	}
	ERR_clear_error();
	tls->write_wants_read = false;
	if (SSL_write_ex(side_tls_awake(tls), bytes.at, len, &n) == 1) {
		tls->stuck = 0;
		return (ssize_t)n;
	}
	error = tls_result(tls, 0, false);
	if (error == EAGAIN)
		tls->stuck = (uint32_t)len;
	errno = error ? error : EPIPE;
	return -1;
}

int
side_tls_end(struct side *side)
{
	struct side_tls *tls = side->tls;
	int done, error;

	ERR_clear_error();
	tls->last = true;
	done = SSL_shutdown(side_tls_awake(tls));
	if (done < 0) {
		error = tls_result(tls, done, false);
		side->end_due = error == EAGAIN && !tls->write_wants_read;
		tls->write_wants_read = false;
		ERR_clear_error();
		if (side->end_due)
			return 0;
	}
	side->end_due = false;
	(void)shutdown(side->io.fd, SHUT_WR);
	return 0;
}

void
side_tls_facts(struct conn *conn, struct sy_facts *facts)
{
	struct side_tls *tls = conn->client.tls;
	const unsigned char *alpn;
	unsigned len;
	SSL *ssl;

	if (!tls)
		return;
	facts->sni = sy_span_text(tls->sni);
	ssl = side_tls_awake(tls);
	SSL_get0_alpn_selected(ssl, &alpn, &len);
	facts->alpn = sy_span(len ? alpn : (const unsigned char *)"", len);
	facts->secure = true;
	facts->certificate = sy_span(conn->way->subject, tls_subject(ssl, conn->way->subject,
	                                                             sizeof(conn->way->subject)));
}

const char *
side_tls_summary(const struct side *side, char out[static 96])
{
	const struct side_tls *tls = side->tls;

	if (!tls || !tls->secured)
		return NULL;
	snprintf(out, 96, "%s %s%s", tls->version, tls->cipher, tls->resumed ? " resumed" : "");
	return out;
}

/* ---- events ---- */

int
side_tls_events(const struct side_tls *tls, int events)
{
	if (!tls->secured)
		return events ? (tls->read_wants_write ? EV_WRITE : EV_READ) : 0;
	if (events & EV_READ && tls->read_wants_write)
		events |= EV_WRITE;
	if (events & EV_WRITE && tls->write_wants_read)
		events |= EV_READ;
	return events;
}

void
side_tls_ready(struct side_tls *tls, int events)
{
	struct side *side = tls->side;

	if (events & EV_READ)
		tls->readable = true;
	if (events & EV_WRITE && tls->read_wants_write)
		side->ready |= EV_READ;
	if (events & EV_READ && tls->write_wants_read)
		side->ready |= EV_WRITE;
}

void
side_tls_drop(struct side *side, bool orderly)
{
	struct side_tls *tls = side->tls;
	struct way *way;

	if (!tls)
		return;
	way = tls->way;
	side->tls = NULL;
	if (way->records.owner == tls)
		way->records.owner = NULL;
	handshakes_end(tls);
	if (tls->raw)
		chunk_give(way->chunks, tls->raw);
	queue_free(way->chunks, &tls->flight);
	if (tls->ssl) {
		side_tls_awake(tls);
		timer_stop(&tls->rest);
		tls->last = true;
		if (orderly && tls->secured && !(SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN))
			SSL_shutdown(tls->ssl);
		/* Else OpenSSL takes the session for a broken one. */
		SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(tls->ssl);
		ERR_clear_error();
	}
	free(tls->sni);
	slab_give(way->tls_slab, tls);
}
