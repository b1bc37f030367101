#include "base/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void
sink_open_socket(struct sink *sink)
{
	int type = 0;
	socklen_t len = sizeof(type);

	sink->way = SINK_SEND;
	getsockopt(sink->fd, SOL_SOCKET, SO_TYPE, &type, &len);
	sink->datagrams = type == SOCK_DGRAM || type == SOCK_SEQPACKET;
	sink->peer_len = sizeof(sink->peer);
	if (getpeername(sink->fd, (struct sockaddr *)&sink->peer, &sink->peer_len) != 0)
		sink->peer_len = 0;
	sink->remote = sink->peer_len > 0 && sink->peer.ss_family != AF_UNIX;
}

/* O_NONBLOCK belongs to the open file, which others share; one that is opened anew has its own. */
static void
sink_open_again(struct sink *sink)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", sink->fd);
	sink->own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	sink->way = sink->own < 0 ? SINK_POLL : SINK_WRITE;
}

/* systemd names the journal's stream by device and inode; somebody may have redirected us since. */
static bool
sink_is_journal(const struct stat *st)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char mine[48];

	snprintf(mine, sizeof(mine), "%" PRIuMAX ":%" PRIuMAX, (uintmax_t)st->st_dev,
	         (uintmax_t)st->st_ino);
	return stream && strcmp(stream, mine) == 0;
}

void
sink_open(struct sink *sink, int fd)
{
	struct sigaction action;
	struct stat st;

	*sink = (struct sink){ .fd = fd, .own = -1, .way = SINK_WRITE };
	if (fstat(fd, &st) != 0)
		return;
	sink->terminal = S_ISCHR(st.st_mode) && isatty(fd);
	sink->journal = sink_is_journal(&st);
	if (S_ISSOCK(st.st_mode))
		sink_open_socket(sink);
	else if (S_ISFIFO(st.st_mode) || sink->terminal)
		sink_open_again(sink);
	sigaction(SIGPIPE, NULL, &action);
	sink->sigpipe = S_ISFIFO(st.st_mode) && action.sa_handler != SIG_IGN;
}

void
sink_close(struct sink *sink)
{
	if (sink->own >= 0)
		close(sink->own);
	sink->own = -1;
}

/* A pipe without reader kills its writer; not this one. If the process holds SIGPIPE back itself
 * and one is pending, it keeps that. */
static ssize_t
sink_write_pipe(int fd, const char *bytes, size_t len)
{
	static const struct timespec now;
	sigset_t mine, before, pending;
	ssize_t n;
	int error;

	sigemptyset(&mine);
	sigaddset(&mine, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &mine, &before);
	n = write(fd, bytes, len);
	error = errno;
	if (n < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE))
		while (sigtimedwait(&mine, NULL, &now) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return n;
}

static ssize_t
sink_send(const struct sink *sink, const char *bytes, size_t len)
{
	ssize_t n = send(sink->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0 || !sink->datagrams || sink->peer_len == 0)
		return n;
	/* syslogd was started anew: the address is the same, the socket behind it is not. */
	if (errno != ECONNREFUSED && errno != ECONNRESET && errno != ENOTCONN)
		return n;
	if (connect(sink->fd, (const struct sockaddr *)&sink->peer, sink->peer_len) != 0)
		return n;
	return send(sink->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t
sink_write_once(const struct sink *sink, const char *bytes, size_t len)
{
	struct pollfd room = { .fd = sink->fd, .events = POLLOUT };
	int fd = sink->own >= 0 ? sink->own : sink->fd;

	switch (sink->way) {
	case SINK_SEND:
		return sink_send(sink, bytes, len);
	case SINK_POLL:
		if (poll(&room, 1, 0) == 0) {
			errno = EAGAIN;
			return -1;
		}
		break;
	case SINK_WRITE:
		break;
	}
	return sink->sigpipe ? sink_write_pipe(fd, bytes, len) : write(fd, bytes, len);
}

ssize_t
sink_write(const struct sink *sink, const char *bytes, size_t len)
{
	ssize_t n;

	do
		n = sink_write_once(sink, bytes, len);
	while (n < 0 && errno == EINTR);
	return n;
}
