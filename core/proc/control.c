#define _GNU_SOURCE 1
#include "proc/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/must.h"

enum { CONTROL_BUFFER = 4 << 20 };

static int
control_enlarge(int fd)
{
	int size = CONTROL_BUFFER;

	/* The first is for root; the second is cut to the system's limit. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
		return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

int
control_pair(int *ours, int *theirs, struct sy_err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return sy_fail(err, "cannot make a control socket: %s", strerror(errno));
	if (control_enlarge(pair[0]) != 0 || control_enlarge(pair[1]) != 0) {
		sy_fail(err, "cannot set the buffer of a control socket: %s", strerror(errno));
		close(pair[0]);
		close(pair[1]);
		return -1;
	}
	*ours = pair[0];
	*theirs = pair[1];
	return 0;
}

union control_space {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * CONTROL_FDS)];
};

int
control_send(int fd, const struct control_record *record, const char *text, size_t len,
             const int *fds, unsigned n_fds)
{
	struct iovec parts[2] = {
		{ .iov_base = (void *)(uintptr_t)record, .iov_len = sizeof(*record) },
		{ .iov_base = (void *)(uintptr_t)text, .iov_len = len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = len > 0 ? 2 : 1 };
	union control_space space;
	ssize_t sent;

	must(len <= CONTROL_TEXT && n_fds <= CONTROL_FDS);
	if (n_fds > 0) {
		struct cmsghdr *header;

		memset(&space, 0, sizeof(space));
		message.msg_control = space.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
	}
	do
		sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return 0;
	/* Too many descriptors on their way, or no memory now: the peer has to read first. */
	if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM || errno == EWOULDBLOCK)
		errno = EAGAIN;
	else if (errno == ECONNRESET || errno == ENOTCONN || errno == ECONNREFUSED)
		errno = EPIPE;
	return -1;
}

void
control_close_fds(struct control_message *message)
{
	for (unsigned i = 0; i < message->n_fds; i++)
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	message->n_fds = 0;
}

static void
control_take_fds(struct msghdr *header, struct control_message *out)
{
	out->n_fds = 0;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		size_t n;

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		n = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		must(out->n_fds + n <= CONTROL_FDS);
		memcpy(out->fds + out->n_fds, CMSG_DATA(part), n * sizeof(int));
		out->n_fds += (unsigned)n;
	}
}

int
control_receive(int fd, struct control_message *out)
{
	struct iovec parts[2] = {
		{ .iov_base = &out->record, .iov_len = sizeof(out->record) },
		{ .iov_base = out->text, .iov_len = CONTROL_TEXT },
	};
	union control_space space;
	struct msghdr header = {
		.msg_iov = parts,
		.msg_iovlen = 2,
		.msg_control = space.bytes,
		.msg_controllen = sizeof(space.bytes),
	};
	ssize_t n;
	int resets = 0;

	out->n_fds = 0;
	out->len = 0;
	/* A peer that died with unread records first gives ECONNRESET, then what it had sent. */
	do
		n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ < 2)));
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return 0;
	if (n < 0)
		return -1;
	control_take_fds(&header, out);
	/* There is room for all that may be sent, so with room left it was descriptors that ran out. */
	out->fds_lost = header.msg_flags & MSG_CTRUNC && out->n_fds < CONTROL_FDS;
	if ((size_t)n < sizeof(out->record) || header.msg_flags & MSG_TRUNC ||
	    (header.msg_flags & MSG_CTRUNC && !out->fds_lost)) {
		control_close_fds(out);
		errno = EBADMSG;
		return -1;
	}
	if (out->fds_lost)
		control_close_fds(out);
	out->len = (size_t)n - sizeof(out->record);
	out->text[out->len] = '\0';
	return 1;
}
