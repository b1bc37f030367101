/* Probes over TCP, and TLS on top of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "net/socket.h"
#include "role/probe_run.h"

static bool
stream_tls(const struct probe *probe)
{
	return probe->question->plan->transport == SY_OVER_TLS;
}

static void
stream_gone(struct probe *probe)
{
	ev_io_stop(probe->engine->loop, &probe->io);
	SSL_free(probe->ssl);
	probe->ssl = NULL;
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
	probe_gone(probe);
}

/* Reading and writing, whatever is beneath. */

static enum probe_io
stream_read(struct probe *probe, size_t *got, int *want)
{
	ssize_t n;

	*got = 0;
	if (probe->ssl)
		return probe_tls_read(probe, probe->engine->scratch, PROBE_SCRATCH, got, want);
	*want = EV_READ;
	n = recv(probe->fd, probe->engine->scratch, PROBE_SCRATCH, 0);
	if (n > 0)
		*got = (size_t)n;
	else if (n == 0)
		return PROBE_IO_END;
	else
		return errno == EAGAIN || errno == EINTR ? PROBE_IO_AGAIN : PROBE_IO_ERROR;
	return PROBE_IO_DONE;
}

static enum probe_io
stream_write(struct probe *probe, size_t *sent, int *want)
{
	ssize_t n;

	*sent = 0;
	if (probe->ssl)
		return probe_tls_write(probe, probe->out, sent, want);
	*want = EV_WRITE;
	n = send(probe->fd, probe->out.at, probe->out.len, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? PROBE_IO_AGAIN : PROBE_IO_ERROR;
	*sent = (size_t)n;
	return PROBE_IO_DONE;
}

/* errno 0: it was TLS that failed, not the socket. */
static void
stream_broken(struct probe *probe)
{
	if (probe->ssl && errno == 0)
		probe_down(probe, "TLS: %s", probe_tls_words());
	else
		probe_error(probe, "connection", errno);
}

/* Talking. */

static void
stream_send(struct probe *probe)
{
	int want = EV_WRITE;

	while (probe->out.len) {
		size_t sent;

		switch (stream_write(probe, &sent, &want)) {
		case PROBE_IO_DONE:
			probe->out = sy_span(probe->out.at + sent, probe->out.len - sent);
			probe->exchanged = true;
			break;
		case PROBE_IO_AGAIN:
			probe_watch(probe, want);
			return;
		case PROBE_IO_END:
			probe_down(probe, "the server closed the connection before it was asked");
			return;
		case PROBE_IO_ERROR:
			stream_broken(probe);
			return;
		}
	}
	probe_watch(probe, EV_READ);
}

/* Keeps what the module has seen without coming to a judgement. */
static bool
stream_keep(struct probe *probe, size_t got)
{
	if (probe->in_len + got > PROBE_INPUT)
		return false;
	if (probe->in_len + got > probe->in_size) {
		probe->in_size = probe->in_size ? probe->in_size : 2048;
		while (probe->in_size < probe->in_len + got)
			probe->in_size *= 2;
		probe->in = must_realloc(probe->in, probe->in_size);
	}
	memcpy(probe->in + probe->in_len, probe->engine->scratch, got);
	probe->in_len += got;
	return true;
}

static void
stream_talk(struct probe *probe)
{
	int want = EV_READ;
	size_t got;

	switch (stream_read(probe, &got, &want)) {
	case PROBE_IO_DONE:
		probe->exchanged = true;
		if (stream_keep(probe, got))
			probe_take(probe, sy_span(probe->in, probe->in_len), false);
		else
			probe_down(probe, "no end of the answer after %u KiB", PROBE_INPUT / 1024);
		return;
	case PROBE_IO_AGAIN:
		probe_watch(probe, want);
		return;
	case PROBE_IO_END:
		probe->eof = true;
		probe_take(probe, sy_span(probe->in, probe->in_len), true);
		return;
	case PROBE_IO_ERROR:
		stream_broken(probe);
		return;
	}
}

/* Beginning. */

static void
stream_handshake(struct probe *probe)
{
	int want = EV_READ;

	if (probe_tls_handshake(probe, &want) == PROBE_IO_AGAIN) {
		probe_watch(probe, want);
		return;
	}
	probe->exchanged = true;
	if (probe->tls.established)
		probe_begin(probe);
	else {
		const struct probe_question *question = probe->question;
		struct sy_probe_step step;

		probe->phase = PROBE_TALKING;
		step = question->ops->start(question->conf, probe->state, &probe->facts);
		if (step.what == SY_PROBE_WAIT || step.what == SY_PROBE_SEND)
			probe_down(probe, "TLS handshake failed: %s", probe->tls.problem);
		else
			probe_step(probe, &step);
	}
}

/* An error makes a socket readable, too: one that is only writable is connected, and need not be
 * asked. */
static void
stream_connected(struct probe *probe, int events)
{
	int error = events & EV_READ ? socket_error(probe->fd) : 0;

	if (error) {
		probe_error(probe, "connect", error);
		return;
	}
	if (probe->question->plan->local)
		socket_local(probe->fd, &probe->facts.local);
	if (!stream_tls(probe)) {
		probe_begin(probe);
		return;
	}
	probe->phase = PROBE_HANDSHAKE;
	if (probe_tls_open(probe))
		stream_handshake(probe);
	else
		probe_failed(probe, "TLS: %s", probe_tls_words());
}

/* Ending. */

static void
stream_drain(struct probe *probe)
{
	ssize_t n = recv(probe->fd, probe->engine->scratch, PROBE_SCRATCH, 0);

	if (n > 0 && (probe->drained += (size_t)n) < PROBE_DRAIN)
		return;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	stream_gone(probe);
}

static void
stream_end(struct probe *probe)
{
	/* A connection on which nothing was said ends well with a FIN, and it saves calls. */
	if (probe->fd < 0 || !probe->exchanged || (probe->eof && !probe->ssl)) {
		stream_gone(probe);
		return;
	}
	if (probe->ssl)
		probe_tls_end(probe);
	if (shutdown(probe->fd, SHUT_WR) < 0) {
		stream_gone(probe);
		return;
	}
	probe_last(probe, PROBE_CLOSE_MS);
	probe_watch(probe, EV_READ);
	stream_drain(probe);
}

static void
stream_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct probe *probe = container_of(io, struct probe, io);

	(void)loop;
	switch (probe->phase) {
	case PROBE_CONNECTING:
		stream_connected(probe, events);
		return;
	case PROBE_HANDSHAKE:
		stream_handshake(probe);
		return;
	case PROBE_TALKING:
		if (probe->out.len)
			stream_send(probe);
		else
			stream_talk(probe);
		return;
	case PROBE_CLOSING:
		stream_drain(probe);
		return;
	case PROBE_WAITING:
	case PROBE_RUNNING:
		break;
	}
	must(!"a stream in a phase that it cannot have");
}

static void
stream_open(struct probe *probe)
{
	struct outgoing way = { .to = probe->question->to };

	ev_init(&probe->io, stream_ready);
	probe->fd = socket_connect(&way);
	if (probe->fd < 0)
		probe_error(probe, "connect", errno);
	else
		probe_watch(probe, EV_READ | EV_WRITE);
}

const struct probe_transport probe_stream = {
	.open = stream_open,
	.send = stream_send,
	.end = stream_end,
	.cut = stream_gone,
	.late = stream_gone,
};
