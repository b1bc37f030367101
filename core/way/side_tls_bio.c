/* What OpenSSL reads from and writes to. Records come from the worker's buffer; those of a handshake are
 * gathered before they go. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/must.h"
#include "net/socket.h"
#include "way/handshakes.h"
#include "way/side_tls.h"

bool
side_tls_keep(struct way *way)
{
	struct side_tls *tls = way->records.owner;
	struct sy_span rest = sy_span(way->records.at, way->records.len);

	if (!tls)
		return true;
	way->records.owner = NULL;
	return rest.len == 0 || window_put(way->chunks, &tls->raw, rest, rest.len);
}

static size_t
tls_serve(struct side_tls *tls, char *to, size_t size)
{
	struct way *way = tls->way;
	struct sy_span have;
	size_t n;

	if (tls->raw)
		have = chunk_span(tls->raw);
	else if (way->records.owner == tls)
		have = sy_span(way->records.at, way->records.len);
	else
		return 0;
	n = have.len < size ? have.len : size;
	memcpy(to, have.at, n);
	if (tls->raw) {
		window_drop(way->chunks, &tls->raw, n);
		return n;
	}
	way->records.at += n;
	way->records.len -= n;
	if (way->records.len == 0)
		way->records.owner = NULL;
	return n;
}

/* Fills the worker's buffer. As recv(). */
static ssize_t
tls_recv(struct side_tls *tls)
{
	struct way *way = tls->way;
	ssize_t n;

	if (!tls->readable) {
		errno = EAGAIN;
		return -1;
	}
	if (!side_tls_keep(way)) {
		errno = ENOMEM;
		return -1;
	}
	n = recv(tls->side->io.fd, way->records.bytes, SIDE_TLS_RECORDS, 0);
	if (n < SIDE_TLS_RECORDS)
		tls->readable = false;
	if (n == 0)
		tls->ended = true;
	if (n > 0) {
		way->records.owner = tls;
		way->records.at = way->records.bytes;
		way->records.len = (size_t)n;
		handshakes_begin(tls);
	}
	return n;
}

static int
tls_bio_read(BIO *bio, char *to, int size)
{
	struct side_tls *tls = BIO_get_data(bio);
	ssize_t n = (ssize_t)tls_serve(tls, to, (size_t)size);

	BIO_clear_retry_flags(bio);
	if (n > 0)
		return (int)n;
	n = tls->ended ? 0 : tls_recv(tls);
	if (n > 0)
		return (int)tls_serve(tls, to, (size_t)size);
	if (n < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	else if (n < 0)
		tls->error = (int16_t)errno;
	return (int)n;
}

ssize_t
side_tls_send(struct side_tls *tls, struct sy_span bytes)
{
	struct side *side = tls->side;

	if (side->wrote && !side->prompt) {
		socket_nodelay(side->io.fd);
		side->prompt = true;
	}
	while (tls->flight || bytes.len > 0) {
		struct sy_span first = tls->flight ? chunk_span(tls->flight) : sy_span(NULL, 0);
		struct sy_span then = tls->flight && tls->flight->next ? sy_span(NULL, 0) : bytes;
		struct iovec parts[2] = {
			{ .iov_base = (void *)(uintptr_t)first.at, .iov_len = first.len },
			{ .iov_base = (void *)(uintptr_t)then.at, .iov_len = then.len },
		};
		struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
		ssize_t n = sendmsg(side->io.fd, &message, MSG_NOSIGNAL | (tls->last ? MSG_MORE : 0));

		if (n < 0)
			return -1;
		side->wrote = true;
		queue_drop(tls->way->chunks, &tls->flight, (size_t)n < first.len ? (size_t)n : first.len);
		if ((size_t)n > first.len)
			return n - (ssize_t)first.len;
	}
	return 0;
}

/* A flight may be several writes, and each ticket is one: they are gathered while the handshake lasts,
 * and side_tls_secure() sends them. */
static int
tls_bio_write(BIO *bio, const char *from, int len)
{
	struct side_tls *tls = BIO_get_data(bio);
	struct sy_span bytes = sy_span(from, (size_t)len);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (!tls->secured) {
		if (queue_put(tls->way->chunks, &tls->flight, bytes))
			return len;
		tls->error = ENOMEM;
		return -1;
	}
	n = side_tls_send(tls, bytes);
	if (n > 0)
		return (int)n;
	tls->side->ready &= (uint8_t)~EV_WRITE;
	if (errno == EAGAIN)
		BIO_set_retry_write(bio);
	else
		tls->error = (int16_t)errno;
	return -1;
}

static long
tls_bio_ctrl(BIO *bio, int what, long number, void *pointer)
{
	const struct side_tls *tls = BIO_get_data(bio);

	(void)number, (void)pointer;
	if (what == BIO_CTRL_FLUSH)
		return 1;
	return what == BIO_CTRL_EOF ? tls->ended : 0;
}

BIO *
side_tls_bio(struct side_tls *tls)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (!method) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "side");
		must(method && BIO_meth_set_read(method, tls_bio_read) &&
		     BIO_meth_set_write(method, tls_bio_write) &&
		     BIO_meth_set_ctrl(method, tls_bio_ctrl));
	}
	bio = BIO_new(method);
	if (!bio)
		return NULL;
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	return bio;
}
