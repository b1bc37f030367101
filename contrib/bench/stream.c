#include "stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t
stream_plain_result(struct stream *stream, ssize_t n, bool writing)
{
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR) {
		stream->want_write = writing;
		return STREAM_WAIT;
	}
	stream->error = strerrordesc_np(errno);
	return STREAM_FAILED;
}

/* What an OpenSSL call that did not succeed means. */
static int
stream_tls_result(struct stream *stream, int result)
{
	int saved = errno;

	switch (SSL_get_error(stream->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		stream->want_write = false;
		return STREAM_WAIT;
	case SSL_ERROR_WANT_WRITE:
		stream->want_write = true;
		return STREAM_WAIT;
	case SSL_ERROR_ZERO_RETURN:
		return STREAM_EOF;
	case SSL_ERROR_SYSCALL:
		stream->error = saved ? strerrordesc_np(saved) : "end of file inside TLS";
		break;
	default:
		stream->error = ERR_reason_error_string(ERR_peek_error());
		if (!stream->error)
			stream->error = "TLS error";
	}
	ERR_clear_error();
	return STREAM_FAILED;
}

ssize_t
stream_read(struct stream *stream, void *buf, size_t len)
{
	size_t n = 0;
	int result;

	if (!stream->ssl)
		return stream_plain_result(stream, recv(stream->fd, buf, len, 0), false);
	errno = 0;
	result = SSL_read_ex(stream->ssl, buf, len, &n);
	return result == 1 ? (ssize_t)n : stream_tls_result(stream, result);
}

ssize_t
stream_write(struct stream *stream, const void *buf, size_t len)
{
	size_t n = 0;
	int result;

	if (!stream->ssl)
		return stream_plain_result(stream, send(stream->fd, buf, len, MSG_NOSIGNAL), true);
	errno = 0;
	result = SSL_write_ex(stream->ssl, buf, len, &n);
	if (result == 1)
		return (ssize_t)n;
	result = stream_tls_result(stream, result);
	if (result == STREAM_EOF) {
		stream->error = "peer ended TLS";
		return STREAM_FAILED;
	}
	return result;
}

int
stream_handshake(struct stream *stream)
{
	int result;

	if (!stream->ssl)
		return 1;
	errno = 0;
	result = SSL_do_handshake(stream->ssl);
	if (result == 1)
		return 1;
	result = stream_tls_result(stream, result);
	if (result == STREAM_EOF) {
		stream->error = "peer ended TLS in the handshake";
		return STREAM_FAILED;
	}
	return result;
}

void
stream_close(struct stream *stream)
{
	if (stream->ssl) {
		SSL_shutdown(stream->ssl);
		SSL_free(stream->ssl);
		ERR_clear_error();
	}
	if (stream->fd >= 0)
		close(stream->fd);
	stream->ssl = NULL;
	stream->fd = -1;
}
