#include "stream.h"

#include <errno.h>
#include <ev.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The reason of a failed TLS call in words; the verification result says more than OpenSSL's. */
static ssize_t
stream_tls_failed(struct lab_stream *stream, const char *doing, int kind, int saved,
		  struct lab_err *err)
{
	unsigned long code = ERR_peek_error();
	const char *reason = ERR_reason_error_string(code);
	long verdict = SSL_get_verify_result(stream->ssl);

	if (verdict != X509_V_OK && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		err_set(err, "TLS: the certificate is not accepted: %s",
			X509_verify_cert_error_string(verdict));
	else if (reason)
		err_set(err, "TLS: %s: %s", doing, reason);
	else if (kind == SSL_ERROR_SYSCALL && saved)
		err_set(err, "%s", strerror(saved));
	else
		err_set(err, "TLS: %s: closed by the other side", doing);
	ERR_clear_error();
	return STREAM_FAILED;
}

static ssize_t
stream_tls_result(struct lab_stream *stream, int result, const char *doing, struct lab_err *err)
{
	int saved = errno, kind;

	if (result > 0)
		return result;
	kind = SSL_get_error(stream->ssl, result);
	switch (kind) {
	case SSL_ERROR_WANT_READ:
		stream->wants |= EV_READ;
		return STREAM_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		stream->wants |= EV_WRITE;
		return STREAM_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return STREAM_END;
	default:
		return stream_tls_failed(stream, doing, kind, saved, err);
	}
}

static ssize_t
stream_tcp_result(ssize_t result, struct lab_err *err)
{
	if (result >= 0)
		return result;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return STREAM_AGAIN;
	err_set(err, "%s", strerror(errno));
	return STREAM_FAILED;
}

int
stream_secure(struct lab_stream *stream, SSL_CTX *tls, bool server, struct lab_err *err)
{
	stream->ssl = SSL_new(tls);
	if (!stream->ssl || !SSL_set_fd(stream->ssl, stream->fd)) {
		ERR_clear_error();
		return err_set(err, "TLS: no memory for a connection");
	}
	if (server)
		SSL_set_accept_state(stream->ssl);
	else
		SSL_set_connect_state(stream->ssl);
	return 0;
}

int
stream_handshake(struct lab_stream *stream, struct lab_err *err)
{
	ssize_t result;

	if (!stream->ssl)
		return 1;
	ERR_clear_error();
	result = stream_tls_result(stream, SSL_do_handshake(stream->ssl), "handshake", err);
	if (result == STREAM_END) {
		err_set(err, "TLS: handshake: closed by the other side");
		return STREAM_FAILED;
	}
	return (int)result;
}

ssize_t
stream_read(struct lab_stream *stream, void *bytes, size_t len, struct lab_err *err)
{
	if (!stream->ssl)
		return stream_tcp_result(recv(stream->fd, bytes, len, 0), err);
	ERR_clear_error();
	return stream_tls_result(stream, SSL_read(stream->ssl, bytes, (int)len), "read", err);
}

ssize_t
stream_write(struct lab_stream *stream, const void *bytes, size_t len, struct lab_err *err)
{
	ssize_t result;

	if (!stream->ssl)
		return stream_tcp_result(send(stream->fd, bytes, len, MSG_NOSIGNAL), err);
	ERR_clear_error();
	result = stream_tls_result(stream, SSL_write(stream->ssl, bytes, (int)len), "write", err);
	if (result == STREAM_END) {
		err_set(err, "TLS: write: closed by the other side");
		return STREAM_FAILED;
	}
	return result;
}

void
stream_finish(struct lab_stream *stream)
{
	if (stream->ssl && SSL_is_init_finished(stream->ssl)) {
		ERR_clear_error();
		SSL_shutdown(stream->ssl);
		ERR_clear_error();
	}
	shutdown(stream->fd, SHUT_WR);
}

void
stream_close(struct lab_stream *stream, bool reset)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	SSL_free(stream->ssl);
	stream->ssl = NULL;
	if (stream->fd >= 0) {
		if (reset)
			setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(stream->fd);
	}
	stream->fd = -1;
	stream->wants = 0;
}
